use std::{fs, io, path::Path};

use meshos_protocol::ids::{ClusterId, Fence, Generation, Term};
use ring::rand::SystemRandom;

use super::{
    atomic::{Step, aside, write_steps},
    *,
};

fn open(path: &Path) -> DataDir {
    DataDir::open(path).unwrap()
}

fn identity_of(path: &Path) -> NodeIdentity {
    open(path).load_or_create(&SystemRandom::new()).unwrap()
}

const OURS: ClusterId = ClusterId::from_u128(0xfeed);
const THEIRS: ClusterId = ClusterId::from_u128(0xbeef);

#[test]
fn an_identity_survives_restarts_and_its_generation_rises() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("data");
    let first = identity_of(&path);
    assert_eq!(first.generation, Generation(0));
    assert_ne!(first.raft_id, 0);
    for start in 1..=3 {
        let data_dir = open(&path);
        let mut identity = data_dir.load_or_create(&SystemRandom::new()).unwrap();
        data_dir.raise_generation(&mut identity).unwrap();
        assert_eq!(identity, NodeIdentity { generation: Generation(start), ..first });
    }
}

#[test]
fn a_wiped_node_gets_new_ids() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("data");
    let first = identity_of(&path);
    fs::remove_dir_all(&path).unwrap();
    let second = identity_of(&path);
    assert_ne!(first.node_id, second.node_id);
    assert_ne!(first.raft_id, second.raft_id);
}

#[test]
fn a_node_that_knows_its_cluster_refuses_any_other() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = open(scratch.path());
    let mut identity = data_dir.load_or_create(&SystemRandom::new()).unwrap();
    data_dir.set_cluster_id(&mut identity, OURS).unwrap();
    data_dir.set_cluster_id(&mut identity, OURS).unwrap();
    let error = data_dir.set_cluster_id(&mut identity, THEIRS).unwrap_err();
    assert!(matches!(error, IdentityError::OtherCluster { ours: OURS, theirs: THEIRS }), "{error}");
    assert_eq!(data_dir.load().unwrap().unwrap().cluster_id, Some(OURS));
}

#[test]
fn one_process_at_a_time_holds_a_data_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let held = open(scratch.path());
    let error = DataDir::open(scratch.path()).unwrap_err();
    assert!(matches!(error, IdentityError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(held);
    open(scratch.path());
}

#[test]
fn a_crash_at_any_point_leaves_the_old_identity_or_the_new() {
    for crash in [Step::Created, Step::HalfWritten, Step::Synced, Step::Renamed] {
        let scratch = tempfile::tempdir().unwrap();
        let old = identity_of(scratch.path());
        let new = NodeIdentity { generation: old.generation.next(), ..old };
        let text = open(scratch.path()).record(&new).to_text();
        let stopped = write_steps(&scratch.path().join("identity"), text.as_bytes(), |step| {
            if step == crash { Err(io::Error::other("power cut")) } else { Ok(()) }
        });
        assert!(stopped.is_err());

        let data_dir = open(scratch.path());
        let mut found = data_dir.load_or_create(&SystemRandom::new()).unwrap();
        assert_eq!(found, if crash == Step::Renamed { new } else { old }, "{crash:?}");
        data_dir.raise_generation(&mut found).unwrap();
        assert_eq!(data_dir.load().unwrap(), Some(found), "writes again after {crash:?}");
        assert!(!aside(&scratch.path().join("identity")).exists());
    }
}

#[test]
fn a_torn_or_changed_file_is_named_and_never_replaced_by_new_ids() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("identity");
    let identity = identity_of(scratch.path());
    let whole = fs::read(&file).unwrap();
    let refused = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        let error = open(scratch.path()).load_or_create(&SystemRandom::new()).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("identity is damaged"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), content, "the damaged file is kept");
    };
    for length in 0..whole.len() {
        refused(&whole[..length]);
    }
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        refused(&changed);
    }
    refused(&[0xff; 100]);
    refused(&vec![b'a'; 1 << 20]);
    fs::write(&file, &whole).unwrap();
    assert_eq!(identity_of(scratch.path()), identity);
}

#[test]
fn an_unreadable_data_directory_says_which_file() {
    let scratch = tempfile::tempdir().unwrap();
    let in_the_way = scratch.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    let error = DataDir::open(&in_the_way).unwrap_err();
    assert!(error.to_string().contains(in_the_way.to_str().unwrap()), "{error}");

    fs::create_dir(scratch.path().join("identity")).unwrap();
    let error = open(scratch.path()).load().unwrap_err();
    assert!(error.to_string().contains("identity"), "{error}");
}

#[test]
fn the_fence_survives_restarts_and_never_goes_back() {
    let scratch = tempfile::tempdir().unwrap();
    let fence = |term| Fence { cluster: OURS, term: Term(term) };
    {
        let data_dir = open(scratch.path());
        let mut store = FenceStore::load(&data_dir).unwrap();
        assert_eq!(store.current(), None);
        store.store(fence(3)).unwrap();
        store.store(fence(3)).unwrap();
        store.store(fence(7)).unwrap();
    }
    let data_dir = open(scratch.path());
    let mut store = FenceStore::load(&data_dir).unwrap();
    assert_eq!(store.current(), Some(fence(7)));
    let stale = store.store(fence(6)).unwrap_err();
    assert!(matches!(stale, IdentityError::StaleFence { .. }), "{stale}");
    let foreign = store.store(Fence { cluster: THEIRS, term: Term(9) }).unwrap_err();
    assert!(matches!(foreign, IdentityError::OtherCluster { .. }), "{foreign}");
    assert_eq!(FenceStore::load(&data_dir).unwrap().current(), Some(fence(7)));

    fs::write(scratch.path().join("fence"), "meshos-fence 1\n").unwrap();
    let torn = FenceStore::load(&data_dir).unwrap_err();
    assert!(matches!(torn, IdentityError::Damaged { .. }), "{torn}");
}

#[test]
fn the_process_that_works_in_a_directory_is_known_while_it_does() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(DataDir::holder(home.path()), None);
    let held = DataDir::open(home.path()).unwrap();
    assert_eq!(DataDir::holder(home.path()), Some(Holder { pid: Some(std::process::id()) }));
    drop(held);
    assert_eq!(DataDir::holder(home.path()), None);
}
