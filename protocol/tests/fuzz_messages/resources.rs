//! Resources in all their forms: reserved once and again, on disks, as volumes, shared, revocable.

use std::collections::BTreeMap;

use meshos_protocol::{
    operation::Operation,
    resources::{
        Amount, Disk, DiskKind, DiskSource, Metadata, Reservation, ReservationKind, Resource,
        ResourceName, Resources, Volume,
    },
    role::Role,
    wishes::FaultDomain,
};

use super::samples::{Target, target};

fn role(name: &str) -> Role {
    Role::new(name).expect("a good role")
}

fn reservations() -> [Reservation; 3] {
    let fixed = Reservation::new(role("team")).expect("a role that can reserve");
    let labels = BTreeMap::from([("why".to_owned(), "load".to_owned())]);
    let dynamic = |name: &str, outer: &Reservation| {
        Reservation::dynamic(role(name), "ops", labels.clone(), Some(outer.clone()))
    };
    let refined = dynamic("team/web", &fixed).expect("below its role");
    let twice = dynamic("team/web/eu", &refined).expect("below its role");
    [fixed, refined, twice]
}

fn disks() -> Vec<Disk> {
    let kinds = [DiskKind::Path, DiskKind::Mount, DiskKind::Block, DiskKind::Raw];
    let source = |kind| DiskSource { kind, root: "/mnt/a".into(), id: "d1".into() };
    let volume = volume();
    let on = |kind| Disk { source: Some(source(kind)), volume: Some(volume.clone()) };
    kinds.into_iter().map(on).chain([Disk { source: None, volume: Some(volume.clone()) }]).collect()
}

fn volume() -> Volume {
    Volume { id: "v1".into(), container_path: "data".into(), principal: "ops".into() }
}

fn metadata() -> Vec<Metadata> {
    let [_, reservation, _] = reservations();
    let kept = |disk: Disk, shared| Metadata {
        reservation: Some(reservation.clone()),
        disk: Some(disk.into()),
        shared,
        revocable: false,
    };
    let volumes = disks().into_iter().map(|disk| kept(disk, false));
    let shared = kept(Disk { source: None, volume: Some(volume()) }, true);
    volumes.chain([shared, Metadata::REVOCABLE, Metadata::UNRESERVED]).collect()
}

fn all() -> Vec<Resource> {
    let disk = |metadata: Metadata| Resource::new(ResourceName::Disk, metadata, Amount::whole(9));
    let reserved = reservations().map(|reservation| {
        let metadata = Metadata { reservation: Some(reservation), ..Metadata::UNRESERVED };
        Resource::new(ResourceName::Cpus, metadata, Amount::from_millis(1_500))
    });
    let volumes = metadata().into_iter().map(disk);
    volumes.chain(reserved).map(|resource| resource.expect("good resources")).collect()
}

pub(crate) fn operations() -> Vec<Operation> {
    let some: Resources = all().into_iter().take(3).collect();
    let (volume, addition) = (all().swap_remove(0), all().swap_remove(1));
    vec![
        Operation::Reserve { resources: some.clone() },
        Operation::Unreserve { resources: some.clone() },
        Operation::Create { volumes: some.clone() },
        Operation::Destroy { volumes: some },
        Operation::Grow { volume: volume.clone(), addition },
        Operation::Shrink { volume, subtract: Amount::whole(1) },
    ]
}

pub(crate) fn targets() -> Vec<Target> {
    let text = "cpus:1.5;mem:512;ports:[31000-31003,31010-31010];bugs:{a,b};cpus(team/web):2";
    let plain: Resources = text.parse().expect("good resources");
    vec![
        target([plain, all().into_iter().collect()]),
        target(all()),
        target(metadata()),
        target(reservations()),
        target([ReservationKind::Static, ReservationKind::Dynamic]),
        target(disks()),
        target([volume()]),
        target([ResourceName::Cpus, ResourceName::Disk]),
        target([Amount::whole(1), Amount::from_millis(-5)]),
        target(operations()),
        target([FaultDomain { region: "eu".into(), zone: "a".into() }]),
    ]
}
