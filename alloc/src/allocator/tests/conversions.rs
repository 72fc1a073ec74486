//! Reservations and volumes are made and undone in the ledger.

use std::collections::BTreeMap;

use meshos_protocol::{
    framework::Capabilities,
    ids::FrameworkId,
    operation::Operation,
    resources::{Amount, Disk, Metadata, Reservation, Resource, ResourceName, Resources, Volume},
};
use proptest::prelude::*;

use super::support::{Cluster, agent, resources, role, roles};
use crate::{ConversionError, Grant, OfferMode, Options, Quota};

const FIRST: FrameworkId = FrameworkId(1);

fn reserved(text: &str, name: &str) -> Resources {
    let reservation = Reservation::dynamic(role(name), "p", BTreeMap::new(), None).unwrap();
    let metadata = Metadata { reservation: Some(reservation), ..Metadata::UNRESERVED };
    let one =
        |it: &Resource| Resource::new(it.name().clone(), metadata.clone(), it.value().clone());
    resources(text).iter().map(|resource| one(resource).unwrap()).collect()
}

fn reserve(text: &str, name: &str) -> Operation {
    Operation::Reserve { resources: reserved(text, name) }
}

fn volume(size: i64, name: &str, shared: bool) -> Resources {
    let disk = reserved(&format!("disk:{size}"), name);
    let reservation = disk.iter().next().unwrap().metadata().reservation.clone();
    let volume =
        Volume { id: "v".to_owned(), container_path: "data".to_owned(), ..Volume::default() };
    let disk = Some(Disk { source: None, volume: Some(volume) }.into());
    let metadata = Metadata { reservation, disk, shared, revocable: false };
    Resource::new(ResourceName::Disk, metadata, Amount::whole(size)).unwrap().into()
}

/// Converts a part of an offer, and gives the offer as it is then.
fn convert(
    cluster: &mut Cluster,
    grant: &Grant,
    operation: &Operation,
) -> Result<Grant, ConversionError> {
    let conversion = operation.conversion().unwrap();
    let Grant { agent, framework, role, .. } = grant;
    let done = cluster.allocator.convert_offered(*agent, *framework, role, &conversion);
    cluster.allocator.check_invariants();
    done?;
    let resources = conversion.apply(&grant.resources).unwrap();
    Ok(Grant { resources, ..grant.clone() })
}

#[test]
fn what_is_reserved_in_an_offer_is_its_roles_and_nobody_elses_until_it_is_undone() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["a"]);
    cluster.add_agent(1, "cpus:4;mem:1024");
    let grant = cluster.run().remove(0);
    let grant = convert(&mut cluster, &grant, &reserve("cpus:3;mem:512", "a")).unwrap();
    cluster.decline(&grant, Some(1_000_000));
    cluster.add_framework(2, &["b"]);
    assert_eq!(cluster.offers(), [(2, "b".into(), 1, "cpus:1;mem:512".into())]);

    // The filter was of what was reserved: what is free again is offered as something new.
    let free = Operation::Unreserve { resources: reserved("cpus:3;mem:512", "a") };
    let conversion = free.conversion().unwrap();
    assert_eq!(
        cluster.allocator.convert_free(agent(9), &conversion),
        Err(ConversionError::UnknownAgent)
    );
    cluster.allocator.convert_free(agent(1), &conversion).unwrap();
    cluster.allocator.check_invariants();
    assert_eq!(cluster.offers(), [(1, "a".into(), 1, "cpus:3;mem:512".into())]);
    assert_eq!(cluster.allocator.total().to_string(), "cpus:4;mem:1024");
}

#[test]
fn a_volume_is_accepted_as_what_it_has_become() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["a"]);
    cluster.add_agent(1, "cpus:4;mem:1024;disk:100");
    let grant = cluster.run().remove(0);
    let grant = convert(&mut cluster, &grant, &reserve("disk:60", "a")).unwrap();
    let create = Operation::Create { volumes: volume(50, "a", false) };
    let grant = convert(&mut cluster, &grant, &create).unwrap();
    let used = resources("cpus:1;mem:64") + &volume(50, "a", false);
    cluster.accept(&grant, &used);
    // Used, it cannot be destroyed.
    let destroy = Operation::Destroy { volumes: volume(50, "a", false) };
    let conversion = destroy.conversion().unwrap();
    let refused = cluster.allocator.convert_free(agent(1), &conversion);
    assert_eq!(refused, Err(ConversionError::NotFree));
    let grant = cluster.run().remove(0);
    assert_eq!(convert(&mut cluster, &grant, &destroy).unwrap_err(), ConversionError::NotOffered);
    // Its end frees it, and it is still there.
    cluster.allocator.recover_allocated(agent(1), FIRST, &role("a"), &used);
    cluster.allocator.check_invariants();
    let grant = cluster.run().remove(0);
    assert!(grant.resources.contains(&volume(50, "a", false)));
    let grant = convert(&mut cluster, &grant, &destroy).unwrap();
    assert!(grant.resources.contains(&reserved("disk:50", "a")));
}

#[test]
fn a_shared_volume_is_not_destroyed_while_another_has_it() {
    let shares = Capabilities { shared_resources: true, ..Capabilities::default() };
    let mut cluster = Cluster::new();
    cluster.add_capable(1, &["a"], shares);
    cluster.add_agent(1, "cpus:4;mem:1024;disk:100");
    let grant = cluster.run().remove(0);
    let grant = convert(&mut cluster, &grant, &reserve("disk:60", "a")).unwrap();
    let create = Operation::Create { volumes: volume(60, "a", true) };
    let grant = convert(&mut cluster, &grant, &create).unwrap();
    let task = resources("cpus:1;mem:64") + &volume(60, "a", true);
    cluster.accept(&grant, &task);
    cluster.add_capable(2, &["a"], shares);
    let grant = cluster.run().remove(0);
    assert!(grant.resources.contains(&volume(60, "a", true)), "it is offered while it is used");
    let destroy = Operation::Destroy { volumes: volume(60, "a", true) };
    assert_eq!(convert(&mut cluster, &grant, &destroy).unwrap_err(), ConversionError::InUse);
    cluster.allocator.recover_allocated(agent(1), FIRST, &role("a"), &task);
    let grant = convert(&mut cluster, &grant, &destroy).unwrap();
    assert!(grant.resources.contains(&reserved("disk:60", "a")));
}

#[test]
fn of_several_who_are_offered_the_same_the_first_to_convert_has_it() {
    let options = Options { offers: OfferMode::Optimistic, split: None, ..Options::default() };
    let mut cluster = Cluster::with(options, 7);
    cluster.add_framework(1, &["a"]);
    cluster.add_framework(2, &["b"]);
    cluster.add_agent(1, "cpus:4;mem:1024");
    let grants = cluster.run();
    assert_eq!(grants.len(), 2);
    let (first, second) = (&grants[0], &grants[1]);
    let of = |grant: &Grant| reserve("cpus:4;mem:1024", grant.role.as_str());
    convert(&mut cluster, first, &of(first)).unwrap();
    assert_eq!(
        convert(&mut cluster, second, &of(second)).unwrap_err(),
        ConversionError::NotOffered
    );
}

#[test]
fn what_is_not_reserved_for_the_role_above_any_more_counts_for_who_is_offered_it() {
    let mut cluster = Cluster::new();
    let limit = BTreeMap::from([(ResourceName::Cpus, Amount::whole(3))]);
    cluster.allocator.set_quota(&role("a/b"), Quota { limit, ..Quota::default() });
    cluster.add_framework(1, &["a/b"]);
    cluster.add_agent(1, "cpus:2;mem:1024");
    cluster.add_agent(2, "cpus:3;mem:1024");
    let conversion = reserve("cpus:2", "a").conversion().unwrap();
    cluster.allocator.convert_free(agent(1), &conversion).unwrap();
    let grants = cluster.run();
    let offered: Amount = grants.iter().map(|grant| grant.resources.cpus()).sum();
    assert_eq!(offered, Amount::whole(5), "what is reserved above is beside the limit");
    let grant = grants.iter().find(|grant| grant.agent == agent(1)).unwrap();
    let operation = Operation::Unreserve { resources: reserved("cpus:2", "a") };
    convert(&mut cluster, grant, &operation).unwrap();
    assert!(!cluster.allocator.take_rescinds().is_empty(), "five of three are held");
}

#[test]
fn a_reservation_that_takes_a_role_above_its_limit_takes_its_offers_back() {
    let mut cluster = Cluster::new();
    let limit = BTreeMap::from([(ResourceName::Cpus, Amount::whole(6))]);
    cluster.allocator.set_quota(&role("a"), Quota { limit, ..Quota::default() });
    cluster.add_framework(1, &["a"]);
    cluster.add_agent(1, "cpus:10;mem:1024");
    let grant = cluster.run().remove(0);
    assert_eq!(grant.resources.cpus(), Amount::whole(6));
    let conversion = reserve("cpus:4", "a").conversion().unwrap();
    cluster.allocator.convert_free(agent(1), &conversion).unwrap();
    let back = cluster.allocator.take_rescinds();
    assert_eq!(back.iter().map(|one| one.framework).collect::<Vec<_>>(), [FIRST]);
}

proptest! {
    /// Whatever is reserved, unreserved, accepted and given back, nothing is lost or made, and no
    /// quota is passed.
    #[test]
    fn nothing_is_lost_in_any_order_of_conversions(
        steps in prop::collection::vec((0u8..5, 1i64..4, 0usize..2), 1..60),
        seed: u64,
    ) {
        let names = ["a", "b"];
        let mut cluster = Cluster::seeded(seed);
        let limit = resources("cpus:6").quantities();
        let quota = Quota { limit: limit.iter().map(|(name, amount)| (name.clone(), amount)).collect(), ..Quota::default() };
        cluster.allocator.set_quota(&role("a"), quota);
        for (number, name) in (1..).zip(names) {
            cluster.allocator.add_framework(
                FrameworkId(number),
                &roles(&[name]),
                &roles(&[]),
                Capabilities::default(),
            );
        }
        cluster.add_agent(1, "cpus:8;mem:1024");
        let mut tasks = Vec::new();
        for (kind, size, whose) in steps {
            let (name, text) = (names[whose], format!("cpus:{size}"));
            let reserved = reserved(&text, name);
            for grant in cluster.run() {
                let operation = match kind {
                    0 => Operation::Reserve { resources: reserved.clone() },
                    1 => Operation::Unreserve { resources: reserved.clone() },
                    _ => {
                        let used = grant.resources.intersection(&reserved);
                        cluster.accept(&grant, &used);
                        if !used.is_empty() {
                            tasks.push((grant.framework, grant.role.clone(), used));
                        }
                        continue;
                    }
                };
                let before = cluster.allocator.total().clone();
                match convert(&mut cluster, &grant, &operation) {
                    Ok(grant) => cluster.decline(&grant, None),
                    Err(error) => {
                        let another = grant.role != role(name) && kind == 0;
                        let expected = if another {
                            ConversionError::AnotherRole
                        } else {
                            ConversionError::NotOffered
                        };
                        prop_assert_eq!(error, expected);
                        cluster.decline(&grant, None);
                    }
                }
                prop_assert_eq!(&before, cluster.allocator.total());
            }
            let held = cluster.allocator.roles().into_iter().find(|it| it.role == role("a"));
            let cpus = held.map_or(Amount::ZERO, |it| it.held.get(&ResourceName::Cpus));
            prop_assert!(cpus <= Amount::whole(6), "the limit of role a is passed: {cpus}");
            if kind == 4 && !tasks.is_empty() {
                let (framework, role, used) = tasks.remove(0);
                cluster.allocator.recover_allocated(agent(1), framework, &role, &used);
                cluster.allocator.check_invariants();
            }
        }
    }
}
