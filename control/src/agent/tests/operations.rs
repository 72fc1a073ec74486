//! Reservations and volumes on the agent: written before they are told, kept over crashes.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{OperationId, OperationUuid, Term},
    messages::agent::{ToAgent, ToLeader},
    operation::{Operation, OperationReport, OperationState},
    resources::{
        Amount, Disk, DiskKind, DiskSource, Metadata, Reservation, Resource, ResourceName,
        Resources, Volume,
    },
    role::Role,
    task::{Reason, TaskState},
};

use super::rig::{CODE_0, F1, Rig, config, killed, launch_of, task};
use crate::agent::{Event, Recovered};

fn uuid(number: u64) -> OperationUuid {
    OperationUuid { term: Term(1), number }
}

fn reservation() -> Option<Reservation> {
    let role = Role::new("db").unwrap();
    Some(Reservation::dynamic(role, "p", BTreeMap::new(), None).unwrap())
}

fn reserved(text: &str) -> Resources {
    let metadata = Metadata { reservation: reservation(), ..Metadata::UNRESERVED };
    let plain: Resources = text.parse().unwrap();
    let one =
        |it: &Resource| Resource::new(it.name().clone(), metadata.clone(), it.value().clone());
    plain.iter().map(|resource| one(resource).unwrap()).collect()
}

fn volume(id: &str, size: i64) -> Resources {
    let (id, container_path) = (id.to_owned(), "data".to_owned());
    let volume = Volume { id, container_path, principal: "p".to_owned() };
    let disk = Some(Disk { source: None, volume: Some(volume) }.into());
    let metadata = Metadata { reservation: reservation(), disk, ..Metadata::UNRESERVED };
    Resource::new(ResourceName::Disk, metadata, Amount::whole(size)).unwrap().into()
}

fn reserve(text: &str) -> Operation {
    Operation::Reserve { resources: reserved(text) }
}

fn create(id: &str, size: i64) -> Operation {
    Operation::Create { volumes: volume(id, size) }
}

fn destroy(id: &str, size: i64) -> Operation {
    Operation::Destroy { volumes: volume(id, size) }
}

impl Rig {
    fn operate(&mut self, number: u64, operation: Operation) {
        let id = Some(OperationId::new(&format!("o{number}")).unwrap());
        let operation = Box::new(operation);
        self.tell(ToAgent::Operate { uuid: uuid(number), framework: Some(F1), id, operation });
    }

    /// What was told of operations since the last look.
    fn answers(&mut self) -> Vec<(u64, OperationState, Resources)> {
        let answers = std::mem::take(&mut self.said).into_iter();
        let answers = answers.filter_map(|message| {
            let ToLeader::Operation { report, resources, .. } = message else { return None };
            Some((report.uuid.number, report.state, resources))
        });
        answers.collect()
    }

    fn states_of_operations(&mut self) -> Vec<(u64, OperationState)> {
        self.answers().into_iter().map(|(number, state, _)| (number, state)).collect()
    }

    fn makes_volumes(&mut self) {
        for (operation, _) in std::mem::take(&mut self.making) {
            self.event(Event::VolumesMade { operation, failure: None });
        }
    }

    /// A volume of 50 of 100 reserved, there and settled.
    fn with_volume() -> Self {
        let mut rig = Self::registered();
        rig.operate(1, reserve("disk:100;cpus:1"));
        rig.operate(2, create("v", 50));
        rig.flush();
        rig.makes_volumes();
        rig.flush();
        assert_eq!(rig.answers().len(), 2);
        for number in [1, 2] {
            rig.tell(ToAgent::SettleOperation { uuid: uuid(number) });
        }
        rig.flush();
        rig
    }
}

fn states(reports: Option<Vec<OperationReport>>) -> Vec<(u64, OperationState)> {
    let reports = reports.expect("this release tells its operations");
    reports.iter().map(|report| (report.uuid.number, report.state)).collect()
}

#[test]
fn an_operation_is_answered_when_it_is_on_disk_and_kept_over_a_crash() {
    let mut rig = Rig::registered();
    rig.operate(1, reserve("cpus:3;mem:1024"));
    assert_eq!(rig.answers(), [], "it is not on disk");
    rig.flush();
    let told = [(1, OperationState::Finished, Resources::new())];
    assert_eq!(rig.answers(), told, "the leader knows what it made of what");
    let expected = reserved("cpus:3;mem:1024") + &"cpus:1;mem:3072;disk:1000".parse().unwrap();

    rig.crash();
    let registration = rig.register_again(2);
    assert_eq!(registration.resources, expected);
    assert_eq!(states(registration.operations), [(1, OperationState::Finished)]);
    // The leader's successor knows it by its uuid.
    rig.operate(1, reserve("cpus:3;mem:1024"));
    assert_eq!(rig.states_of_operations(), [(1, OperationState::Finished)]);
    rig.tell(ToAgent::SettleOperation { uuid: uuid(1) });
    rig.operate(2, Operation::Unreserve { resources: reserved("cpus:3;mem:1024") });
    rig.flush();
    assert_eq!(rig.states_of_operations(), [(2, OperationState::Finished)]);
    let registration = rig.register_again(3);
    assert_eq!(registration.resources, config(1).resources);
    assert_eq!(states(registration.operations), [(2, OperationState::Finished)]);
    assert!(rig.disk.operations.consumed.is_empty(), "{:?}", rig.disk.operations);
}

#[test]
fn what_was_not_durable_is_not_there_after_a_crash() {
    let mut rig = Rig::registered();
    rig.operate(1, reserve("cpus:3"));
    let registration = rig.register_again(2);
    assert_eq!(states(registration.operations), [(1, OperationState::Pending)]);
    assert!(registration.resources.contains(&reserved("cpus:3")), "what follows may use it");
    rig.crash();
    let registration = rig.register_again(3);
    assert_eq!(registration.resources, config(1).resources);
    assert_eq!(states(registration.operations), []);
}

#[test]
fn a_task_starts_on_a_volume_when_that_is_on_disk() {
    let mut rig = Rig::registered();
    rig.operate(1, reserve("disk:100"));
    rig.operate(2, create("v", 50));
    let mut launch = task("t");
    launch.description.resources += &volume("v", 50);
    rig.tell(launch_of(F1, vec![launch]));
    assert!(rig.starts.is_empty());
    rig.flush();
    let [mounted] = &rig.mounted[..] else { panic!("one volume: {:?}", rig.mounted) };
    assert_eq!(mounted.container_path, "data");
    assert_eq!(rig.starts.len(), 1);
    // In use it is not destroyed, and not handed out again.
    rig.said.clear();
    rig.operate(3, destroy("v", 50));
    assert_eq!(rig.states_of_operations(), [(3, OperationState::Failed)]);
    let mut second = task("second");
    second.description.resources += &volume("v", 50);
    rig.tell(launch_of(F1, vec![second]));
    assert_eq!(killed(&rig.update()), (TaskState::Dropped, Some(Reason::ResourcesExceeded)));
    // Its directory was asked for and is there: that is the end of the operation that made it.
    rig.makes_volumes();
    rig.flush();
    assert_eq!(rig.states_of_operations(), [(2, OperationState::Finished)]);
}

#[test]
fn what_a_volume_holds_is_removed_once_its_end_is_on_disk_and_also_after_a_crash() {
    let mut rig = Rig::with_volume();
    let directory = rig.disk.operations.volumes[0].directory.clone();
    rig.operate(3, destroy("v", 50));
    assert!(rig.removing.is_empty());
    rig.flush();
    assert_eq!(rig.removing, std::slice::from_ref(&directory));
    rig.crash();
    assert_eq!(rig.removing, std::slice::from_ref(&directory), "it may be there still");
    // Another of the same name lies elsewhere.
    rig.register_again(2);
    rig.operate(4, create("v", 20));
    rig.flush();
    assert_ne!(rig.disk.operations.volumes[0].directory, directory);
    rig.event(Event::VolumeRemoved { directory });
    rig.flush();
    rig.crash();
    assert!(rig.removing.is_empty());
}

#[test]
fn a_volume_that_is_being_made_is_removed_after_that() {
    let mut rig = Rig::registered();
    rig.operate(1, reserve("disk:100"));
    rig.operate(2, create("v", 50));
    rig.flush();
    let directory = rig.disk.operations.volumes[0].directory.clone();
    rig.operate(3, destroy("v", 50));
    rig.flush();
    assert_eq!(rig.removing.len(), 0, "it may not be there yet");
    rig.makes_volumes();
    assert_eq!(rig.removing, [directory]);
    rig.flush();
    let over = [1, 3, 2].map(|number| (number, OperationState::Finished));
    assert_eq!(rig.states_of_operations(), over);
}

#[test]
fn a_volume_survives_what_the_node_survives() {
    let mut rig = Rig::with_volume();
    let volumes = rig.disk.operations.volumes.clone();
    rig.reboot();
    rig.tell_gone();
    let registration = rig.registration();
    assert_eq!(registration.agent, None);
    assert!(registration.resources.contains(&volume("v", 50)));
    assert_eq!(rig.disk.operations.volumes, volumes);
}

#[test]
fn a_volume_whose_directory_cannot_be_made_is_taken_back() {
    let mut rig = Rig::registered();
    rig.operate(1, reserve("disk:100"));
    rig.operate(2, create("v", 50));
    rig.flush();
    assert_eq!(rig.states_of_operations(), [(1, OperationState::Finished)]);
    let failure = Some("no space left on device".to_owned());
    rig.event(Event::VolumesMade { operation: uuid(2), failure });
    assert_eq!(rig.answers(), [], "it is not on disk that it failed");
    rig.flush();
    let answers = rig.answers();
    let [(2, OperationState::Failed, total)] = &answers[..] else { panic!("{answers:?}") };
    assert!(total.contains(&reserved("disk:100")));
    assert!(rig.disk.operations.volumes.is_empty());
    assert_eq!(rig.removing.len(), 1, "whatever there is of it goes");
}

#[test]
fn the_directories_are_asked_for_again_after_a_crash() {
    let mut rig = Rig::registered();
    rig.operate(1, reserve("disk:100"));
    rig.operate(2, create("v", 50));
    rig.flush();
    rig.crash();
    let registration = rig.register_again(2);
    let expected = [(1, OperationState::Finished), (2, OperationState::Pending)];
    assert_eq!(states(registration.operations), expected);
    rig.makes_volumes();
    assert_eq!(rig.answers(), [], "it is not on disk that it is done");
    rig.flush();
    assert_eq!(rig.states_of_operations(), [(2, OperationState::Finished)]);
    // What was told is not done again: what fails then would take the volume from its framework.
    rig.crash();
    let registration = rig.register_again(3);
    let expected = [(1, OperationState::Finished), (2, OperationState::Finished)];
    assert_eq!(states(registration.operations), expected);
    assert!(rig.making.is_empty(), "{:?}", rig.making);
}

#[test]
fn a_shared_volume_that_a_task_uses_is_not_taken_back() {
    let shared = || -> Resources {
        let one = volume("v", 50).iter().next().unwrap().clone();
        let metadata = Metadata { shared: true, ..one.metadata().clone() };
        Resource::new(ResourceName::Disk, metadata, Amount::whole(50)).unwrap().into()
    };
    let mut rig = Rig::registered();
    rig.operate(1, reserve("disk:100"));
    rig.operate(2, Operation::Create { volumes: shared() });
    let mut launch = task("t");
    launch.description.resources += &shared();
    rig.tell(launch_of(F1, vec![launch]));
    rig.flush();
    assert_eq!(rig.starts.len(), 1);
    let failure = Some("interrupted".to_owned());
    rig.event(Event::VolumesMade { operation: uuid(2), failure });
    rig.flush();
    // The task had its directory made itself.
    assert!(rig.states_of_operations().contains(&(2, OperationState::Finished)));
    assert_eq!((rig.disk.operations.volumes.len(), rig.removing.len()), (1, 0));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut rig = Rig::with_volume();
    let total = rig.agent.view().resources;
    let refused = [
        reserve("cpus:4"),
        create("v", 10),
        create("w", 60),
        destroy("w", 50),
        Operation::Unreserve { resources: reserved("disk:60") },
        Operation::Unreserve { resources: volume("v", 50) },
        Operation::Create { volumes: volume("w", 10) + &volume("v", 10) },
        Operation::Unknown,
    ];
    for (number, operation) in (10..).zip(refused) {
        rig.operate(number, operation.clone());
        let answers = rig.answers();
        let [(_, OperationState::Failed, told)] = &answers[..] else {
            panic!("{operation:?}: {answers:?}")
        };
        assert_eq!(*told, total);
    }
    assert!(rig.pending.is_empty());
}

#[test]
fn a_volume_grows_and_shrinks_where_it_is() {
    let mut rig = Rig::with_volume();
    let volumes = rig.disk.operations.volumes.clone();
    let one = |resources: Resources| resources.iter().next().unwrap().clone();
    let (before, addition) = (one(volume("v", 50)), one(reserved("disk:20")));
    rig.operate(3, Operation::Grow { volume: before, addition });
    let grown = one(volume("v", 70));
    rig.operate(4, Operation::Shrink { volume: grown, subtract: Amount::whole(40) });
    rig.flush();
    let expected = [(3, OperationState::Finished), (4, OperationState::Finished)];
    assert_eq!(rig.states_of_operations(), expected);
    assert!(rig.agent.view().resources.contains(&(volume("v", 30) + &reserved("disk:70"))));
    assert_eq!(rig.disk.operations.volumes, volumes);
    assert!(rig.removing.is_empty() && rig.making.is_empty());
}

#[test]
fn what_may_not_be_on_disk_is_not_told_until_a_restart_has_found_out() {
    let mut rig = Rig::with_volume();
    let total = rig.agent.view().resources;
    rig.operate(3, reserve("cpus:1"));
    rig.operate(4, destroy("v", 50));
    rig.flush_some(1);
    rig.event(Event::StorageFailed { why: "no space left on device".to_owned() });
    rig.pending.clear();
    rig.operate(5, reserve("cpus:1"));
    let expected = [(3, OperationState::Finished), (5, OperationState::Failed)];
    assert_eq!(rig.states_of_operations(), expected);
    let registration = rig.register_again(2);
    let expected = [(3, OperationState::Finished), (4, OperationState::Pending)];
    assert_eq!(states(registration.operations), expected);
    rig.crash();
    let registration = rig.register_again(3);
    assert_eq!(states(registration.operations), [(3, OperationState::Finished)]);
    let reserved = reserve("cpus:1").conversion().unwrap();
    assert_eq!(Some(registration.resources), reserved.apply(&total));
    assert!(rig.removing.is_empty());
}

#[test]
fn a_node_that_has_too_little_for_its_reservations_does_not_start() {
    let rig = Rig::with_volume();
    let found = Recovered { operations: rig.disk.operations.clone(), ..Recovered::default() };
    found.check_fit(&config(1).resources).unwrap();
    let misfit = found.check_fit(&"cpus:4;mem:4096;disk:60".parse().unwrap()).unwrap_err();
    let told = misfit.to_string();
    assert!(told.contains("(disk:40 too little)") && told.contains("--resources"), "{told}");
}

#[test]
fn a_task_may_run_on_when_its_volume_is_counted() {
    let mut rig = Rig::with_volume();
    let mut launch = task("t");
    launch.description.resources = volume("v", 50) + &reserved("cpus:1");
    rig.tell(launch_of(F1, vec![launch]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    rig.flush();
    rig.crash();
    assert_eq!(rig.agent.view().used, volume("v", 50) + &reserved("cpus:1"));
    rig.exits(&container, CODE_0);
}

/// Disk of the role on a disk of its own, and a volume on it.
fn on_disk(kind: DiskKind, root: &str, size: i64, id: Option<&str>) -> Resource {
    let source = Some(DiskSource { kind, root: root.to_owned(), id: String::new() });
    let volume = id.map(|id| Volume {
        id: id.to_owned(),
        container_path: "data".to_owned(),
        principal: "p".to_owned(),
    });
    let disk = Some(Disk { source, volume }.into());
    let metadata = Metadata { reservation: reservation(), disk, ..Metadata::UNRESERVED };
    Resource::new(ResourceName::Disk, metadata, Amount::whole(size)).unwrap()
}

fn unreserved(disk: Resource) -> Resource {
    let metadata = Metadata { reservation: None, ..disk.metadata().clone() };
    Resource::new(disk.name().clone(), metadata, disk.value().clone()).unwrap()
}

#[test]
fn a_volume_lies_on_the_disk_that_it_is_made_of_and_a_mounted_disk_holds_one() {
    let mut config = config(1);
    let disks = [
        on_disk(DiskKind::Path, "/srv/many", 300, None),
        on_disk(DiskKind::Mount, "/mnt/1", 200, None),
        on_disk(DiskKind::Raw, "", 100, None),
    ];
    disks.iter().for_each(|disk| config.resources.insert(unreserved(disk.clone())));
    let mut rig = Rig::registered_with(config);
    rig.operate(1, Operation::Reserve { resources: disks.iter().cloned().collect() });
    let create = |kind, root, size, id| Operation::Create {
        volumes: on_disk(kind, root, size, Some(id)).into(),
    };
    rig.operate(2, create(DiskKind::Path, "/srv/many", 50, "a"));
    rig.operate(3, create(DiskKind::Path, "/srv/many", 60, "b"));
    rig.operate(4, create(DiskKind::Mount, "/mnt/1", 100, "half"));
    rig.operate(5, create(DiskKind::Mount, "/mnt/1", 200, "whole"));
    rig.operate(6, create(DiskKind::Raw, "", 100, "raw"));
    rig.flush();
    rig.makes_volumes();
    rig.flush();
    let mut told = rig.states_of_operations();
    told.sort();
    let (done, failed) = (OperationState::Finished, OperationState::Failed);
    assert_eq!(told, [(1, done), (2, done), (3, done), (4, failed), (5, done), (6, failed)]);
    let places = rig.disk.operations.volumes.iter().map(|volume| volume.directory.clone());
    let places: Vec<_> = places.collect();
    assert_eq!(
        places,
        [
            "/srv/many/meshos-volumes/v1-2-0",
            "/srv/many/meshos-volumes/v1-3-0",
            "/mnt/1/meshos-volumes/v1-5-0",
        ]
    );
    // A part of a volume is none.
    rig.operate(
        7,
        Operation::Destroy { volumes: on_disk(DiskKind::Path, "/srv/many", 20, Some("a")).into() },
    );
    assert_eq!(rig.states_of_operations(), [(7, failed)]);
    rig.operate(
        8,
        Operation::Destroy { volumes: on_disk(DiskKind::Path, "/srv/many", 50, Some("a")).into() },
    );
    rig.flush();
    assert_eq!(rig.removing, [places[0].clone()]);
}
