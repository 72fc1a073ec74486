//! What survives: restarts, kills, and damaged files.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use meshos_disk::Disk;
use tokio::sync::watch;

use super::support::{Cluster, Journal, TIMING, release, voter, wait_until, within};
use crate::raft::{
    Health, OpenError, Options, ProposeError, RaftGroup, SNAPSHOT_EVERY_ENTRIES,
    group::Files,
    snapshot::SnapshotStore,
    store::{LOG_FILE, LogFile, Stored},
};

const CHILD_DIR: &str = "MESHOS_TEST_RAFT_CHILD_DIR";
const CHILD_TEST: &str = "raft::tests::files::a_killed_process_has_what_it_acknowledged";

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_restart_with_everything_acknowledged() {
    let mut cluster = Cluster::formed(3).await;
    for number in 0..10u8 {
        cluster.propose(&[number]).await;
    }
    let (_, led) = cluster.leader().await;
    for number in 1..=3 {
        cluster.drop_node(number).await;
    }
    for number in 1..=3 {
        cluster.start(number).await;
        assert!(cluster.group(number).had_state());
    }
    let (leader, again) = cluster.leader().await;
    assert!(again.term > led.term);
    let commands = cluster.journal(leader).commands();
    let expected: Vec<Vec<u8>> = (0..10u8).map(|number| vec![number]).collect();
    assert_eq!(commands, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_log_after_it_make_the_registry() {
    let mut cluster = Cluster::formed(1).await;
    cluster.propose(b"one").await;
    cluster.group(1).snapshot_now(std::time::Duration::from_secs(30)).await.unwrap();
    cluster.propose(b"two").await;
    cluster.drop_node(1).await;
    cluster.start(1).await;
    cluster.journal(1).wait_for_len(2).await;
    assert_eq!(cluster.journal(1).commands(), [b"one", b"two"]);
    cluster.propose(b"three").await;
    // A snapshot whose bytes changed is not believed.
    cluster.drop_node(1).await;
    let dir = cluster.data_dir(1);
    let snapshot = snapshot_files(&dir).pop().unwrap();
    let mut bytes = fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&snapshot, &bytes).unwrap();
    let opened = RaftGroup::open(cluster.options(1), Journal::default(), cluster.port(1)).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("raft-snapshot-"), "{error}");
    // Half-written, it is as if it were not there; the one before it counts.
    fs::write(snapshot.with_extension("tmp"), &bytes[..middle]).unwrap();
    bytes[middle] ^= 1;
    fs::write(&snapshot, &bytes).unwrap();
    cluster.start(1).await;
    cluster.journal(1).wait_for_len(3).await;
}

fn snapshot_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let items = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    let is_snapshot = |path: &std::path::PathBuf| {
        path.file_name().unwrap().to_str().unwrap().starts_with("raft-snapshot-")
    };
    items.filter(is_snapshot).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_be_restored_is_named() {
    struct Stubborn;
    impl crate::raft::RegistryMachine for Stubborn {
        fn apply(&mut self, _index: u64, _term: u64, _command: &[u8]) -> Result<Vec<u8>, String> {
            Ok(Vec::new())
        }
        fn level(&self) -> u32 {
            1
        }
        fn snapshot(&self) -> Vec<u8> {
            Vec::new()
        }
        fn restore(&mut self, _snapshot: &[u8]) -> Result<(), String> {
            Err("written by a newer release".to_owned())
        }
    }
    let mut cluster = Cluster::formed(1).await;
    cluster.propose(b"one").await;
    cluster.group(1).snapshot_now(std::time::Duration::from_secs(30)).await.unwrap();
    cluster.drop_node(1).await;
    let opened = RaftGroup::open(cluster.options(1), Stubborn, cluster.port(1)).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::Restore(_)), "{error}");
    // The failed attempt has let go of the files.
    cluster.start(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_full_disk_stops_leading_and_says_so() {
    let mut cluster = Cluster::open(1).await;
    cluster.drop_node(1).await;
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let failure = watch::Sender::new(None);
    let files = Files {
        file: LogFile::open_on(&disk, dir.path(), 1).unwrap().0,
        stored: Stored::default(),
        snapshots: SnapshotStore::open(dir.path(), failure.clone()).unwrap(),
        failure,
    };
    let journal = Journal::default();
    let machine = Box::new(journal.clone());
    let options = cluster.options(1);
    let group = RaftGroup::assemble(options, files, machine, cluster.port(1)).await.unwrap();
    cluster.insert(1, group, journal);
    cluster.initialise(1).await;
    cluster.leader().await;
    cluster.propose(b"one").await;
    disk.set_full(true);
    let refused = within("an answer", cluster.group(1).propose(b"two".to_vec())).await;
    assert!(
        matches!(refused, Err(ProposeError::Uncertain | ProposeError::Stopped(_))),
        "{refused:?}"
    );
    let mut health = cluster.group(1).health();
    let told = wait_until("the failure", &mut health, |now| *now != Health::Running).await;
    let Health::StorageFailed { file, error } = told else { panic!("{told:?}") };
    assert!(file.ends_with(LOG_FILE) && !error.is_empty());
    assert!(!cluster.group(1).lease_valid());
    assert!(!cluster.group(1).leadership().borrow().i_lead());
    let refused = cluster.group(1).propose(b"three".to_vec()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::Stopped(_)), "{refused}");
    assert_eq!(cluster.journal(1).commands(), [b"one"]);
}

/// Run by the test below in a process of its own: proposes and prints what was acknowledged, until
/// it is killed.
fn child(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let voter = voter(1);
        let options = Options {
            data_dir: dir.to_owned(),
            raft_id: voter.raft_id,
            node_id: voter.node_id,
            address: voter.address.clone(),
            timing: TIMING,
            release: release(1),
            snapshot_every_entries: SNAPSHOT_EVERY_ENTRIES,
        };
        let network = Arc::new(NoNetwork);
        let group = RaftGroup::open(options, Journal::default(), network).await.unwrap();
        if !group.had_state() {
            group.initialise(&[voter]).await.unwrap();
        }
        let mut leadership = group.leadership();
        leadership.wait_for(|now| now.i_lead()).await.unwrap();
        for number in 0u64.. {
            let applied = group.propose(number.to_le_bytes().to_vec()).await.unwrap();
            println!("acknowledged {number} at {}", applied.index);
        }
    });
}

struct NoNetwork;

#[async_trait::async_trait]
impl crate::raft::RaftNetwork for NoNetwork {
    async fn call(
        &self,
        _target: &crate::raft::Voter,
        _request: Vec<u8>,
        _deadline: std::time::Duration,
    ) -> Result<Vec<u8>, crate::raft::NetworkError> {
        Err(crate::raft::NetworkError::Timeout)
    }
}

#[test]
fn a_killed_process_has_what_it_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        child(Path::new(&dir));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..3u64 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD_TEST, "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut seen = 0;
        for line in output.lines().map_while(Result::ok) {
            if line.contains("acknowledged ") {
                seen += 1;
                if seen == 10 + round {
                    // SIGKILL, with more proposals on their way.
                    process.kill().unwrap();
                    break;
                }
            }
        }
        process.wait().unwrap();
        assert_eq!(seen, 10 + round, "the child ended by itself");
        acknowledged += seen;
        // All that was acknowledged is in the log, and at most the few that were not are beside it.
        let (_, stored) = LogFile::open(dir.path(), 1).unwrap();
        assert!(stored.last.unwrap().index >= acknowledged);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let voter = voter(1);
        let options = Options {
            data_dir: dir.path().to_owned(),
            raft_id: 1,
            node_id: voter.node_id,
            address: voter.address,
            timing: TIMING,
            release: release(1),
            snapshot_every_entries: SNAPSHOT_EVERY_ENTRIES,
        };
        let journal = Journal::default();
        let group = RaftGroup::open(options, journal.clone(), Arc::new(NoNetwork)).await.unwrap();
        let mut leadership = group.leadership();
        wait_until("the leader", &mut leadership, |now| now.i_lead()).await;
        // Each round counted from zero; each must be there in order, without a gap.
        let mut rounds = Vec::new();
        for command in journal.commands() {
            let number = u64::from_le_bytes(command.try_into().unwrap());
            if number == 0 {
                rounds.push(0);
            }
            let next = rounds.last_mut().unwrap();
            assert_eq!(number, *next);
            *next += 1;
        }
        assert_eq!(rounds.len(), 3);
        assert!(rounds.iter().zip(10..).all(|(kept, told)| *kept >= told), "{rounds:?}");
    });
}
