//! What agents have besides processors, memory and their own disk.

use std::{collections::BTreeMap, sync::Arc};

use meshos_protocol::resources::{
    Amount, Disk, DiskKind, DiskSource, Metadata, Reservation, Resource, ResourceName, Resources,
    Volume,
};

use super::Chance;

const TOTALS: [&str; 10] = [
    "cpus:4;mem:4096;disk:100;ports:[1-9]",
    "cpus:8;mem:1024;ports:[5-20]",
    "cpus:16;mem:65536;disk:1000;ports:[1-100]",
    "cpus:1;mem:8192",
    "cpus:2;mem:512;gpus:2",
    "cpus:1;mem:64;cpus(a):2;mem(a):128;cpus(a/b):1;mem(z):64;disk(a):80",
    "cpus:0.02;mem:31",
    "mem:4096",
    "cpus(z):3;mem(z):300;disk(z):40;names(z):{x,y}",
    "cpus:4;mem:2048;disk:50;ports:[1-4];names:{x,y,z}",
];

/// All that an agent has.
pub(super) fn total(chance: &mut Chance) -> Resources {
    let mut total: Resources =
        chance.one_of(&TOTALS).parse().expect("a literal that is well-formed");
    add_kinds(&mut total, chance.below(usize::MAX));
    total
}

/// Adds some of the kinds that few agents have, each by two bits of a number.
pub(crate) fn add_kinds(total: &mut Resources, bits: usize) {
    let kinds = [
        of(ResourceName::Cpus, Metadata::REVOCABLE, 2),
        volume("shared", true),
        volume("own", false),
        disk(DiskKind::Path, "/mnt/path", 300),
        disk(DiskKind::Mount, "/mnt/1", 200),
        disk(DiskKind::Mount, "/mnt/2", 100),
        refined(),
    ];
    for (place, kind) in kinds.into_iter().enumerate() {
        if bits >> (2 * place) & 3 == 3 {
            total.insert(kind);
        }
    }
}

fn of(name: ResourceName, metadata: Metadata, amount: i64) -> Resource {
    Resource::new(name, metadata, Amount::whole(amount)).expect("a resource that can be")
}

/// A disk besides the agent's own.
fn disk(kind: DiskKind, root: &str, size: i64) -> Resource {
    let source = DiskSource { kind, root: root.to_owned(), id: String::new() };
    let disk = Some(Arc::new(Disk { source: Some(source), volume: None }));
    of(ResourceName::Disk, Metadata { disk, ..Metadata::UNRESERVED }, size)
}

/// A volume of role `a`, which refines nothing.
fn volume(id: &str, shared: bool) -> Resource {
    let volume = Volume { id: id.to_owned(), ..Volume::default() };
    let disk = Some(Arc::new(Disk { source: None, volume: Some(volume) }));
    let reservation = Reservation::new("a".parse().expect("a role"));
    of(ResourceName::Disk, Metadata { reservation, disk, shared, revocable: false }, 50)
}

/// Processors of role `a` that are reserved further for a role below it.
fn refined() -> Resource {
    let outer = Reservation::new("a".parse().expect("a role"));
    let role = "a/b".parse().expect("a role");
    let inner = Reservation::dynamic(role, "ops", BTreeMap::new(), outer).expect("a role below");
    of(ResourceName::Cpus, Metadata { reservation: Some(inner), ..Metadata::UNRESERVED }, 2)
}
