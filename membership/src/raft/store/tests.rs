use std::{fs, io, path::Path, sync::Arc};

use meshos_disk::Disk;
use openraft::{
    RaftLogReader as _,
    storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt as _},
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt as _,
};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::watch;

mod power;

use super::{
    super::{
        OpenError, RegistryMachine, Release, Timing,
        apply::Applier,
        config::{Command, Entry, Payload, TypeConfig, Vote, log_id},
        releases::Releases,
        snapshot::SnapshotStore,
    },
    *,
};

const RAFT_ID: u64 = 1;

fn entry(term: u64, index: u64) -> Entry {
    let command = Command(index.to_le_bytes().repeat(20));
    Entry { log_id: log_id(term, index), payload: Payload::Normal(command) }
}

fn start(dir: &Path) -> (LogStore, watch::Receiver<Option<Failure>>) {
    let (file, stored) = LogFile::open(dir, RAFT_ID).unwrap();
    let failure = watch::Sender::new(None);
    let failed = failure.subscribe();
    (LogStore::start(file, &stored, failure).unwrap(), failed)
}

/// A log with a vote, twenty entries and a purge, closed.
async fn filled(dir: &Path) -> Stored {
    let (mut store, _) = start(dir);
    store.save_vote(&Vote::new_committed(3, RAFT_ID)).await.unwrap();
    store.blocking_append((0..20).map(|index| entry(3, index))).await.unwrap();
    store.save_committed(Some(log_id(3, 15))).await.unwrap();
    store.purge(log_id(3, 4)).await.unwrap();
    store.close().await;
    let stored = LogFile::open(dir, RAFT_ID).unwrap().1;
    assert_eq!(stored.last, Some(log_id(3, 19)));
    stored
}

struct Nothing;

impl RegistryMachine for Nothing {
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
        Ok(())
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Applier, TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(TempDir, LogStore, Applier), openraft::StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = start(dir.path());
        let snapshots = SnapshotStore::open(dir.path(), watch::Sender::new(None)).unwrap();
        let releases = Arc::new(Releases::new(RAFT_ID, Release::SILENT, Timing::default()));
        let machine =
            Applier::new(Box::new(Nothing), Arc::new(snapshots), Arc::default(), releases);
        Ok((dir, store, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let stored = filled(dir.path()).await;
    assert_eq!(stored.vote, Some(Vote::new_committed(3, RAFT_ID)));
    assert_eq!(stored.committed, Some(log_id(3, 15)));
    assert_eq!(stored.purged, Some(log_id(3, 4)));
    let (mut store, _) = start(dir.path());
    let entries = store.try_get_log_entries(0..100).await.unwrap();
    assert_eq!(entries, (5..20).map(|index| entry(3, index)).collect::<Vec<_>>());
    store.truncate_after(Some(log_id(3, 9))).await.unwrap();
    store.blocking_append([entry(4, 10)]).await.unwrap();
    let expected: Vec<_> = (5..10).map(|index| entry(3, index)).chain([entry(4, 10)]).collect();
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), expected);
    store.close().await;
    let (mut store, _) = start(dir.path());
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), expected);
}

#[tokio::test]
async fn entries_beyond_the_cache_come_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = start(dir.path());
    let large = |index| Entry {
        log_id: log_id(1, index),
        payload: Payload::Normal(Command(vec![u8::try_from(index).unwrap(); 1024 * 1024])),
    };
    for index in 0..10 {
        store.blocking_append([large(index)]).await.unwrap();
    }
    let entries = store.try_get_log_entries(0..10).await.unwrap();
    assert_eq!(entries.len(), 10);
    assert!(entries.iter().enumerate().all(|(i, e)| *e == large(u64::try_from(i).unwrap())));
    // A follower gets about a megabyte at a time, but always something.
    let first = store.limited_get_log_entries(0, 10).await.unwrap();
    assert_eq!(first, vec![large(0)]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (file, _) = LogFile::open_on(&disk, dir.path(), RAFT_ID).unwrap();
    let failure = watch::Sender::new(None);
    let mut failed = failure.subscribe();
    let mut store = LogStore::start(file, &Stored::default(), failure).unwrap();
    store.blocking_append([entry(1, 0)]).await.unwrap();
    disk.set_full(true);
    store.blocking_append([entry(1, 1)]).await.unwrap_err();
    let told = failed.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(told.file.ends_with(LOG_FILE), "{told:?}");
    // It stays so even when there is room again: what is on disk is no longer known.
    disk.set_full(false);
    store.blocking_append([entry(1, 2)]).await.unwrap_err();
    store.save_vote(&Vote::new(9, RAFT_ID)).await.unwrap_err();
}

#[tokio::test]
async fn many_writers_share_an_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = start(dir.path());
    let mut waits = Vec::new();
    for index in 0..200 {
        let (done, wait) = TypeConfig::oneshot::<io::Result<()>>();
        store.append([entry(1, index)], IOFlushed::signal(done)).await.unwrap();
        waits.push(wait);
        // Readable at once, flushed or not.
        assert_eq!(store.try_get_log_entries(index..=index).await.unwrap().len(), 1);
    }
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
}

/// Opens a copy with `bytes` as its log; whatever happens, it is not a panic.
fn open_copy(bytes: &[u8], dir: &Path) -> Result<Stored, OpenError> {
    let copy = tempfile::tempdir().unwrap();
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    fs::write(copy.path().join(LOG_FILE), bytes).unwrap();
    let (file, stored) = LogFile::open(copy.path(), RAFT_ID)?;
    if let Some(last) = stored.last {
        let from = stored.purged.map_or(0, |purged| purged.index + 1);
        let entries = file.read_for_test(from, last.index + 1);
        let expected = (from..=last.index).map(|index| entry(3, index));
        assert_eq!(entries, expected.collect::<Vec<_>>());
    }
    Ok(stored)
}

fn filled_bytes() -> (TempDir, Stored, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stored = runtime.block_on(filled(dir.path()));
    let bytes = fs::read(dir.path().join(LOG_FILE)).unwrap();
    (dir, stored, bytes)
}

#[test]
fn a_truncated_file_is_refused_with_the_way_out() {
    let (dir, stored, bytes) = filled_bytes();
    let mut refused = 0;
    for keep in [0, 1, 100, 511, 4096, 5000, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1] {
        match open_copy(&bytes[..keep], dir.path()) {
            Ok(kept) => assert_eq!(kept, stored, "cut to {keep} bytes"),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains(LOG_FILE) && text.contains("move its data directory"),
                    "{text}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused >= 6, "only {refused} truncations were noticed");
}

#[test]
fn a_lost_file_is_noticed() {
    let (dir, _, _) = filled_bytes();
    fs::remove_file(dir.path().join(LOG_FILE)).unwrap();
    let error = LogFile::open(dir.path(), RAFT_ID).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_file_of_another_log_or_in_use_is_refused() {
    let (dir, _, _) = filled_bytes();
    let error = LogFile::open(dir.path(), 2).unwrap_err();
    assert!(matches!(error, OpenError::OtherLog { found: 1, expected: 2, .. }), "{error}");
    let _open = LogFile::open(dir.path(), RAFT_ID).unwrap();
    let error = LogFile::open(dir.path(), RAFT_ID).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
}

#[test]
fn flipped_bytes_never_panic_and_never_change_what_is_read() {
    let (dir, stored, bytes) = filled_bytes();
    proptest!(ProptestConfig::with_cases(64), |(
        places in proptest::collection::vec((0..bytes.len(), 1u8..), 1..4)
    )| {
        let mut flipped = bytes.clone();
        for (place, with) in places {
            flipped[place] ^= with;
        }
        match open_copy(&flipped, dir.path()) {
            Ok(read) => prop_assert_eq!(&read, &stored),
            Err(error) => {
                prop_assert!(error.to_string().contains(LOG_FILE), "{}", error);
            }
        }
    });
    // The pages in use are a few out of many; flips at the start always hit one.
    let mut noticed = 0;
    for place in (0..512).step_by(64) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 0x55;
        noticed += usize::from(open_copy(&flipped, dir.path()).is_err());
    }
    assert!(noticed > 0);
}
