//! The log after power cuts: at any moment, with any of what was not yet synced on the disk.

use meshos_disk::{Dice, Disk, Progress};

use super::*;
use crate::raft::config::LogId;

/// How many logs live, and how often the power fails for each; the log goes on from what is left.
const LOGS: u64 = 6;
const LIVES: usize = 6;
/// Power cuts looked at in each life, besides the one that ends it.
const CUTS: usize = 20;
const WRITES: usize = 14;

/// What the log is, written down by hand.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: Vec<Entry>,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// What this file holds.
    fn read(file: &LogFile, stored: &Stored) -> Self {
        let from = stored.purged.map_or(0, |purged| purged.index + 1);
        let to = stored.last.map_or(0, |last| last.index + 1);
        let entries = if from < to { file.read_for_test(from, to) } else { Vec::new() };
        let model =
            Self { vote: stored.vote, committed: stored.committed, purged: stored.purged, entries };
        assert_eq!(model.last(), stored.last);
        model
    }
}

/// A log that lives on a disk, with all states that were asked of it.
struct Life {
    disk: Disk,
    store: LogStore,
    term: u64,
    states: Vec<Model>,
}

impl Life {
    fn begin(disk: Disk, term: u64) -> Self {
        let (file, stored) = LogFile::open_on(&disk, Path::new("."), RAFT_ID).unwrap();
        let states = vec![Model::read(&file, &stored)];
        disk.note(Progress::Asked(0));
        disk.note(Progress::Acknowledged(0));
        let store = LogStore::start(file, &stored, watch::Sender::new(None)).unwrap();
        Self { disk, store, term, states }
    }

    /// Notes the state that the next call asks for, in front of it.
    fn ask(&mut self, state: Model) {
        self.states.push(state);
        self.disk.note(Progress::Asked(self.states.len() - 1));
    }

    fn acknowledged(&self) {
        self.disk.note(Progress::Acknowledged(self.states.len() - 1));
    }

    async fn write(&mut self, dice: &mut Dice) {
        let mut next = self.states.last().unwrap().clone();
        match dice.below(8) {
            0 => {
                self.term += 1;
                let vote = Vote::new(self.term, RAFT_ID);
                next.vote = Some(vote);
                self.ask(next);
                self.store.save_vote(&vote).await.unwrap();
                self.acknowledged();
            }
            1 if !next.entries.is_empty() => {
                let kept = dice.below(next.entries.len());
                next.entries.truncate(kept);
                let last = next.last();
                self.ask(next);
                self.store.truncate_after(last).await.unwrap();
            }
            2 if next.entries.len() > 1 => {
                let gone = dice.below(next.entries.len());
                let purged = next.entries[gone].log_id;
                next.entries.drain(..=gone);
                next.purged = Some(purged);
                self.ask(next);
                self.store.purge(purged).await.unwrap();
            }
            3 if next.last().is_some() => {
                next.committed = next.last();
                let committed = next.committed;
                self.ask(next);
                self.store.save_committed(committed).await.unwrap();
            }
            _ => {
                let bytes = dice.below(9_000);
                let new: Vec<Entry> = (next.next_index()..)
                    .take(1 + dice.below(4))
                    .map(|index| Entry {
                        log_id: log_id(self.term, index),
                        payload: Payload::Normal(Command(vec![index.to_le_bytes()[0]; bytes])),
                    })
                    .collect();
                next.entries.extend(new.clone());
                self.ask(next);
                self.store.blocking_append(new).await.unwrap();
                self.acknowledged();
            }
        }
    }
}

/// Opens what is left as a node does at its start, in a file.
fn open_file(bytes: &[u8]) -> Model {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(LOG_FILE), bytes).unwrap();
    fs::write(dir.path().join("raft.id"), b"there was one").unwrap();
    let (file, stored) = LogFile::open(dir.path(), RAFT_ID).unwrap();
    Model::read(&file, &stored)
}

#[tokio::test]
async fn after_any_power_cut_all_that_was_acknowledged_is_there() {
    for seed in 0..LOGS {
        let mut dice = Dice::new(seed);
        // The making is no part of this: it happens under another name.
        let disk = Disk::default();
        drop(LogFile::open_on(&disk, Path::new("."), RAFT_ID).unwrap());
        let made = disk.history();
        let mut bytes = made.after_power_cut(made.moments() - 1, &mut dice);
        for life in 0..LIVES {
            let disk = Disk::new(bytes.clone());
            let mut log = Life::begin(disk.clone(), u64::try_from(life).unwrap() * 100);
            for _ in 0..WRITES {
                log.write(&mut dice).await;
            }
            log.store.close().await;
            let history = disk.history();
            for cut in 0..CUTS {
                let moment = dice.below(history.moments());
                let what = format!("log {seed}, life {life}, power cut at {moment}");
                bytes = history.after_power_cut(moment, &mut dice);
                let opened = LogFile::open_on(&Disk::new(bytes.clone()), Path::new("."), RAFT_ID);
                let (file, stored) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
                let found = Model::read(&file, &stored);
                history.check(moment, &found, &log.states, &what);
                if cut == 0 {
                    assert_eq!(open_file(&bytes), found, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_power_cut_while_the_log_is_made_leaves_none() {
    let disk = Disk::default();
    drop(LogFile::open_on(&disk, Path::new("."), RAFT_ID).unwrap());
    let history = disk.history();
    let mut dice = Dice::new(0);
    for moment in 0..history.moments() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = history.after_power_cut(moment, &mut dice);
        fs::write(dir.path().join("raft.redb.new"), bytes).unwrap();
        let (_, stored) = LogFile::open(dir.path(), RAFT_ID).unwrap();
        assert!(stored.is_pristine());
    }
}
