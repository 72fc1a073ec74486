//! Disks besides the node's own: volumes lie on the one that they name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use meshos_sdk::protocol::{
    framework::Offer,
    ids::OperationId,
    operation::{Operation, OperationRequest, OperationState, OperationStatus},
    resources::{Amount, Disk, DiskKind, Metadata, Reservation, Resource, Resources, Volume},
    role::Role,
    task::TaskState,
};
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Handling, Note, PATIENCE, poll_until,
    wait_until,
};

use crate::common::shell;

fn reservation() -> Reservation {
    let role = Role::new("db").unwrap();
    Reservation::dynamic(role, "owner", BTreeMap::new(), None).unwrap()
}

/// So much of a disk, reserved, and a volume on it if it has an id.
fn of(disk: &Resource, size: i64, volume: Option<&str>) -> Resources {
    let source = disk.metadata().disk.as_ref().unwrap().source.clone();
    let volume = volume.map(|id| Volume {
        id: id.to_owned(),
        container_path: "data".to_owned(),
        principal: "owner".to_owned(),
    });
    let disk_info = Some(Disk { source, volume }.into());
    let reservation = Some(reservation());
    let metadata = Metadata { reservation, disk: disk_info, ..Metadata::UNRESERVED };
    Resource::new(disk.name().clone(), metadata, Amount::whole(size)).unwrap().into()
}

fn request(id: &str, operation: Operation) -> OperationRequest {
    OperationRequest { id: Some(OperationId::new(id).unwrap()), operation }
}

/// A node with a disk, and a framework that is offered it.
struct Lab {
    cluster: Cluster,
    owner: Framework,
}

impl Lab {
    fn with_disk(disk: &str) -> Self {
        let flags = vec!["--disk".to_owned(), disk.to_owned()];
        let cluster = Cluster::start_with(ClusterOptions { seeds: 1, flags, ..Default::default() });
        let (handling, roles) = (Handling::Keep, vec!["db".to_owned()]);
        let options = FrameworkOptions::new("owner", &[0]);
        let owner = Framework::start(&cluster, FrameworkOptions { handling, roles, ..options });
        Self { cluster, owner }
    }

    fn offer(&self) -> Offer {
        poll_until(PATIENCE, "an offer", || self.owner.open_offers().into_iter().next())
    }

    fn is_over(&self, id: &str) -> OperationStatus {
        self.owner.wait_for(&format!("operation {id} is over"), |notes| {
            notes.iter().find_map(|(_, note)| match note {
                Note::Operation(it) if it.id.as_str() == id && it.state.is_terminal() => {
                    Some(it.clone())
                }
                _ => None,
            })
        })
    }

    fn wait_for_operation(&self, id: &str) {
        let status = self.is_over(id);
        assert_eq!(status.state, OperationState::Finished, "{status:?}");
    }
}

fn disk_of(offer: &Offer, kind: DiskKind) -> Resource {
    let is_it = |resource: &&Resource| {
        let disk = resource.metadata().disk.as_ref();
        disk.and_then(|disk| disk.source.as_ref()).is_some_and(|source| source.kind == kind)
    };
    offer.resources.iter().find(is_it).unwrap().clone()
}

/// The directories of volumes on a disk.
fn volumes_on(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join("meshos-volumes")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('v')).collect()
}

#[test]
fn a_volume_lies_on_the_directory_that_it_names_and_goes_with_what_is_in_it() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::with_disk(&format!("path:{}:500", root.path().display()));
    let offer = lab.offer();
    let disk = disk_of(&offer, DiskKind::Path);
    let volume = of(&disk, 100, Some("tables"));
    let operations = vec![
        request("reserve", Operation::Reserve { resources: of(&disk, 300, None) }),
        request("create", Operation::Create { volumes: volume.clone() }),
    ];
    let mut writer = shell("writer", "echo kept > data/file");
    writer.resources += &volume;
    lab.owner.accept(&offer, operations, vec![writer]);
    lab.wait_for_operation("reserve");
    lab.wait_for_operation("create");
    lab.owner.wait_for_state("writer", TaskState::Finished);
    let [directory] = &volumes_on(root.path())[..] else { panic!("one volume") };
    assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), "kept\n");
    assert!(!lab.cluster.nodes[0].data_dir().join("volumes").exists(), "none on the node's own");
    let offer = poll_until(PATIENCE, "an offer with the volume", || {
        lab.owner.open_offers().into_iter().find(|offer| offer.resources.contains(&volume))
    });
    let destroy = vec![request("destroy", Operation::Destroy { volumes: volume })];
    lab.owner.accept(&offer, destroy, Vec::new());
    lab.wait_for_operation("destroy");
    wait_until("the volume's directory is gone", || volumes_on(root.path()).is_empty());
}

#[test]
fn a_node_whose_disk_is_not_there_or_not_mounted_says_so_and_does_not_start() {
    let root = tempfile::tempdir().unwrap();
    let refused = |disk: String, why: &str| {
        let flags = vec!["--disk".to_owned(), disk];
        let options = ClusterOptions { seeds: 1, flags, ..Default::default() };
        let ended = Cluster::prepare(options).nodes[0].run_to_end();
        assert_eq!(ended.code(), 1, "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
    };
    let there = root.path().display();
    refused(format!("path:{there}/missing:500"), "make the directory");
    refused(format!("mount:{there}:500"), "nothing is mounted there");
}

/// A file system in memory, for as long as this is there.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        let status =
            mount.args(["-t", "tmpfs", "-o", "size=16m", "meshos-test"]).arg(&path).status();
        assert!(status.unwrap().success(), "{path:?} is mounted");
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn root_a_mounted_disk_is_one_volume_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let mounted = Mounted::at(root.path().join("disk"));
    let lab = Lab::with_disk(&format!("mount:{}:16", mounted.0.display()));
    let offer = lab.offer();
    let disk = disk_of(&offer, DiskKind::Mount);
    let volume = of(&disk, 16, Some("tables"));
    let operations = vec![
        request("reserve", Operation::Reserve { resources: of(&disk, 16, None) }),
        request("half", Operation::Create { volumes: of(&disk, 8, Some("half")) }),
        request("create", Operation::Create { volumes: volume.clone() }),
        request("second", Operation::Create { volumes: of(&disk, 8, Some("second")) }),
    ];
    let mut writer = shell("writer", "echo kept > data/file");
    writer.resources += &volume;
    lab.owner.accept(&offer, operations, vec![writer]);
    lab.wait_for_operation("create");
    for refused in ["half", "second"] {
        assert_eq!(lab.is_over(refused).state, OperationState::Error);
    }
    lab.owner.wait_for_state("writer", TaskState::Finished);
    let [directory] = &volumes_on(&mounted.0)[..] else { panic!("one volume") };
    assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), "kept\n");
}
