use std::collections::BTreeMap;

use super::*;
use crate::{
    codec,
    resources::{DiskSource, Reservation, ResourceName, Volume},
    role::Role,
};

fn role(name: &str) -> Role {
    Role::new(name).unwrap()
}

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

/// Reserved dynamically for a role, in the place of whatever it was reserved for before.
fn reserved(text: &str, name: &str, outer: Option<Reservation>) -> Resources {
    let reservation = Reservation::dynamic(role(name), "ops", BTreeMap::new(), outer).unwrap();
    let metadata = Metadata { reservation: Some(reservation), ..Metadata::UNRESERVED };
    remade(&resources(text), &metadata)
}

fn remade(resources: &Resources, metadata: &Metadata) -> Resources {
    let one =
        |it: &Resource| Resource::new(it.name().clone(), metadata.clone(), it.value().clone());
    resources.iter().map(|resource| one(resource).unwrap()).collect()
}

fn on_disk(size: i64, source: Option<DiskKind>, volume: bool, shared: bool) -> Resource {
    let source =
        source.map(|kind| DiskSource { kind, root: "/mnt/a".into(), ..DiskSource::default() });
    let volume = volume.then(|| Volume {
        id: "v".into(),
        container_path: "data".into(),
        ..Volume::default()
    });
    let disk = (source.is_some() || volume.is_some()).then(|| Disk { source, volume }.into());
    let metadata = Metadata { disk, shared, ..Metadata::reserved_for(role("db")) };
    Resource::new(ResourceName::Disk, metadata, Amount::whole(size)).unwrap()
}

fn made_of(operation: &Operation) -> (Resources, Resources) {
    let conversion = operation.conversion().unwrap();
    let same = conversion.consumed.quantities() == conversion.converted.quantities();
    assert!(same, "nothing is lost: {conversion:?}");
    (conversion.consumed, conversion.converted)
}

#[test]
fn what_may_be_taken_back_is_neither_reserved_nor_made_a_volume() {
    let by = Reservation::dynamic(role("a"), "ops", BTreeMap::new(), None).unwrap();
    let cpus = resources("cpus:1;cpus{revocable}:4");
    let why = "`cpus{revocable}:4` cannot be reserved or unreserved: it is revocable, so it may be taken back at any time";
    assert_eq!(Operation::reserve(&cpus, &by).unwrap_err().to_string(), why);
    for operation in [
        Operation::Reserve { resources: cpus.revocable() },
        Operation::Unreserve { resources: cpus.revocable() },
    ] {
        assert_eq!(operation.conversion().unwrap_err().to_string(), why);
    }
    let volume = Volume { id: "v".into(), container_path: "data".into(), principal: "ops".into() };
    let disk = Some(Disk { source: None, volume: Some(volume) }.into());
    let kept = Resource::new(
        ResourceName::Disk,
        Metadata { disk, ..Metadata::REVOCABLE },
        Amount::whole(1),
    );
    assert!(kept.is_err(), "{kept:?}");
}

#[test]
fn reserving_adds_a_level_and_unreserving_takes_it_away() {
    let plain = resources("cpus:4;mem:1024;ports:[1-9]");
    let once = reserved("cpus:4;mem:1024;ports:[1-9]", "a", None);
    assert_eq!(
        made_of(&Operation::Reserve { resources: once.clone() }),
        (plain.clone(), once.clone())
    );
    assert_eq!(made_of(&Operation::Unreserve { resources: once.clone() }), (once.clone(), plain));

    let outer = once.iter().next().and_then(|it| it.metadata().reservation.clone());
    let refined = reserved("cpus:4;mem:1024;ports:[1-9]", "a/b", outer);
    assert_eq!(
        made_of(&Operation::Reserve { resources: refined.clone() }),
        (once.clone(), refined.clone())
    );
    assert_eq!(made_of(&Operation::Unreserve { resources: refined.clone() }), (refined, once));
}

#[test]
fn what_is_reserved_by_configuration_may_be_reserved_further_and_no_less() {
    let fixed = resources("cpus(a):4");
    let outer = Reservation::new(role("a"));
    let refined = reserved("cpus:4", "a/b", outer);
    assert_eq!(made_of(&Operation::Reserve { resources: refined }).0, fixed);
    for refused in [fixed, resources("cpus:4")] {
        let operations = [
            Operation::Unreserve { resources: refused.clone() },
            Operation::Reserve { resources: refused },
        ];
        for operation in operations {
            let error = operation.conversion().unwrap_err();
            assert!(matches!(error, OperationError::NotReservedDynamically { .. }), "{error}");
        }
    }
}

#[test]
fn volumes_are_made_of_reserved_disk_and_become_it_again() {
    for (source, shared) in
        [(None, false), (None, true), (Some(DiskKind::Path), false), (Some(DiskKind::Mount), false)]
    {
        let volume = Resources::from(on_disk(100, source, true, shared));
        let disk = Resources::from(on_disk(100, source, false, false));
        let create = Operation::Create { volumes: volume.clone() };
        assert_eq!(made_of(&create), (disk.clone(), volume.clone()));
        assert_eq!(made_of(&Operation::Destroy { volumes: volume.clone() }), (volume, disk));
    }
    let none = Operation::Create { volumes: on_disk(1, None, false, false).into() };
    assert!(matches!(none.conversion(), Err(OperationError::NotAVolume { .. })));
    let kept = Operation::Unreserve { resources: on_disk(1, None, true, false).into() };
    assert!(kept.conversion().unwrap_err().to_string().contains("destroy that first"));
}

#[test]
fn a_volume_grows_by_its_own_disk_and_shrinks_while_something_is_left() {
    let volume = |size| on_disk(size, Some(DiskKind::Path), true, false);
    let disk = |size| on_disk(size, Some(DiskKind::Path), false, false);
    let both = |one: Resource, other: Resource| [one, other].into_iter().collect::<Resources>();
    let grown = made_of(&Operation::Grow { volume: volume(100), addition: disk(50) });
    assert_eq!(grown, (both(volume(100), disk(50)), volume(150).into()));
    let shrunk = made_of(&Operation::Shrink { volume: volume(150), subtract: Amount::whole(50) });
    assert_eq!(shrunk, (volume(150).into(), both(volume(100), disk(50))));

    let shrink =
        |volume, by| Operation::Shrink { volume, subtract: Amount::whole(by) }.conversion();
    assert!(matches!(shrink(volume(50), 50), Err(OperationError::NothingLeft { .. })));
    assert_eq!(shrink(volume(50), 0), Err(OperationError::Empty));
    assert_eq!(shrink(volume(50), -1), Err(OperationError::Empty));
    for fixed in [on_disk(9, None, true, true), on_disk(9, Some(DiskKind::Mount), true, false)] {
        assert!(matches!(shrink(fixed, 1), Err(OperationError::FixedSize { .. })));
    }
    let other = Operation::Grow { volume: volume(100), addition: on_disk(5, None, false, false) };
    assert!(matches!(other.conversion(), Err(OperationError::AnotherDisk { .. })));
    let nothing = Operation::Grow { volume: volume(100), addition: disk(0) };
    assert_eq!(nothing.conversion(), Err(OperationError::Empty));
}

#[test]
fn a_conversion_needs_what_it_consumes() {
    let reserve = Operation::Reserve { resources: reserved("cpus:2", "a", None) };
    let conversion = reserve.conversion().unwrap();
    let after = conversion.apply(&resources("cpus:3;mem:10")).unwrap();
    assert_eq!(after, resources("cpus:1;mem:10") + &reserved("cpus:2", "a", None));
    assert_eq!(conversion.apply(&resources("cpus:1;mem:10")), None);
    assert_eq!(
        Operation::Reserve { resources: Resources::new() }.conversion(),
        Err(OperationError::Empty)
    );
}

#[test]
fn operations_survive_the_wire() {
    let operations = [
        Operation::Reserve { resources: reserved("cpus:2", "a", None) },
        Operation::Grow {
            volume: on_disk(5, None, true, false),
            addition: on_disk(5, None, false, false),
        },
        Operation::Shrink { volume: on_disk(5, None, true, false), subtract: Amount::whole(1) },
    ];
    for operation in operations {
        let bytes = codec::encode(&operation);
        assert_eq!(codec::decode::<Operation>(&bytes).unwrap(), operation);
    }
}
