//! Reservations, disks, and what they allow.

use std::{collections::BTreeMap, sync::Arc};

use super::super::*;
use crate::role::Role;

fn role(name: &str) -> Role {
    name.parse().unwrap()
}

fn dynamic(name: &str, outer: Option<Reservation>) -> Result<Reservation, ReservationError> {
    Reservation::dynamic(role(name), "ops", BTreeMap::new(), outer)
}

fn volume(id: &str, shared: bool, reservation: Option<Reservation>) -> Metadata {
    let volume =
        Volume { id: id.to_owned(), container_path: "data".to_owned(), ..Volume::default() };
    let disk = Disk { source: None, volume: Some(volume) };
    Metadata { reservation, disk: Some(Arc::new(disk)), shared, revocable: false }
}

fn disk(metadata: Metadata) -> Result<Resource, ResourceError> {
    Resource::new(ResourceName::Disk, metadata, Amount::whole(100))
}

#[test]
fn reservations_are_refined_for_roles_below() {
    let outer = dynamic("a", None).unwrap();
    let inner = dynamic("a/b/c", Some(outer.clone())).unwrap();
    assert_eq!(
        (inner.role(), inner.outer(), inner.principal()),
        (&role("a/b/c"), Some(&outer), "ops")
    );
    assert!(inner.is_refined() && !outer.is_refined());
    for (name, message) in [
        ("b", "what is reserved for `a` can be reserved further for roles below it, `b` is not"),
        ("a", "what is reserved for `a` can be reserved further for roles below it, `a` is not"),
        ("*", "a reservation must name a role other than `*`"),
    ] {
        assert_eq!(dynamic(name, Some(outer.clone())).unwrap_err().to_string(), message);
    }
}

#[test]
fn static_and_dynamic_reservations_do_not_add_up() {
    let cpus = |metadata| Resource::new(ResourceName::Cpus, metadata, Amount::whole(1)).unwrap();
    let reserved = Metadata { reservation: dynamic("a", None).ok(), ..Metadata::default() };
    let both: Resources =
        [cpus(Metadata::reserved_for(role("a"))), cpus(reserved)].into_iter().collect();
    assert_eq!(both.len(), 2);
    assert_eq!(both.reserved_for(&role("a")), both);
    assert_eq!(both.cpus(), Amount::whole(2));
}

#[test]
fn everything_survives_the_wire() {
    let refined = dynamic("a/b", dynamic("a", None).ok()).ok();
    let source = DiskSource { kind: DiskKind::Mount, root: "/mnt/1".into(), id: "sdb".into() };
    let mount = Disk { source: Some(source), volume: None };
    let resources: Resources = [
        disk(volume("v", true, refined)).unwrap(),
        disk(Metadata { disk: Some(Arc::new(mount)), ..Metadata::default() }).unwrap(),
        Resource::new(ResourceName::Cpus, Metadata::REVOCABLE, Amount::whole(2)).unwrap(),
    ]
    .into_iter()
    .collect();
    let bytes = rmp_serde::to_vec_named(&resources).unwrap();
    assert_eq!(rmp_serde::from_slice::<Resources>(&bytes).unwrap(), resources);
    assert_eq!(resources.shared().len() + resources.exclusive().len(), 3);
    assert_eq!(resources.revocable().to_string(), "cpus{revocable}:2");
    assert_eq!(resources.non_revocable() + &resources.revocable(), resources);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let reserved = || Reservation::new(role("a"));
    let refused = |metadata| disk(metadata).unwrap_err().to_string();
    assert_eq!(
        refused(volume("v", false, None)),
        "resource `disk`: persistent volume `v` must be reserved for a role"
    );
    assert_eq!(
        refused(Metadata { shared: true, ..Metadata::reserved_for(role("a")) }),
        "resource `disk`: only a persistent volume can be shared"
    );
    assert_eq!(
        refused(Metadata { reservation: reserved(), ..Metadata::REVOCABLE }),
        "resource `disk`: what is revocable can be neither reserved nor a volume"
    );
    let on_memory =
        Resource::new(ResourceName::Mem, volume("v", false, reserved()), Amount::whole(1));
    assert_eq!(on_memory.unwrap_err().to_string(), "resource `mem`: only `disk` can lie on a disk");
    assert!(disk(volume("v", true, reserved())).is_ok());
}

#[test]
fn requests_find_volumes_never_and_revocable_resources_when_they_say_so() {
    let have: Resources = [
        disk(volume("v", false, Reservation::new(role("a")))).unwrap(),
        Resource::new(ResourceName::Cpus, Metadata::REVOCABLE, Amount::whole(2)).unwrap(),
        Resource::unreserved("cpus", Amount::whole(1)).unwrap(),
    ]
    .into_iter()
    .collect();
    let find = |text: &str| have.find(&text.parse().unwrap(), &role("a"));
    assert_eq!(find("cpus:1").unwrap().to_string(), "cpus:1");
    assert_eq!(find("cpus:2"), None);
    assert_eq!(find("disk:1"), None);
    assert_eq!(find("cpus{revocable}:2").unwrap().to_string(), "cpus{revocable}:2");
    assert_eq!(find("cpus{revocable}:2.001"), None);
    let both = "cpus:0.5;cpus{revocable}:1.5";
    assert_eq!(find(both).unwrap().to_string(), both);
}

#[test]
fn a_request_keeps_what_is_revocable_and_nobodys_name() {
    let request = |text: &str| text.parse::<Resources>().unwrap().as_request().to_string();
    assert_eq!(request("cpus:1;cpus(a):2;mem:5"), "cpus:3;mem:5");
    assert_eq!(request("cpus:1;cpus{revocable}:4;cpus(a):2"), "cpus:3;cpus{revocable}:4");
}
