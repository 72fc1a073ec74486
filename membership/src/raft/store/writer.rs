//! The thread that writes: in order, and as much as there is with each fsync.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use openraft::storage::IOFlushed;
use tokio::sync::{Semaphore, oneshot, watch};

use super::{
    super::config::{Entry, LogId, TypeConfig, Vote},
    file::{LogFile, Write},
};

/// Writes that may wait for the disk before their callers wait too.
pub(super) const QUEUE_MAX: usize = 1_024;
/// The most writes in one transaction.
const BATCH_MAX: usize = 512;
/// Writes nobody waits for, held until the next fsync that somebody does wait for.
const LAZY_MAX: usize = 64;
/// How long they are held when nobody comes.
const LAZY_WAIT: Duration = Duration::from_millis(500);

/// The disk failed: the file, and what the system said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) file: PathBuf,
    pub(crate) error: String,
}

impl Failure {
    pub(super) fn to_io(&self) -> io::Error {
        io::Error::other(format!("{}: {}", self.file.display(), self.error))
    }
}

/// One write asked for.
pub(super) enum Op {
    Append { entries: Vec<Arc<Entry>>, sequence: u64, done: IOFlushed<TypeConfig> },
    TruncateFrom(u64),
    PurgeUpto(LogId),
    Vote { vote: Vote, done: oneshot::Sender<io::Result<()>> },
    Committed(Option<LogId>),
    Stop,
}

impl Op {
    /// Whether somebody waits for it to be on disk. What is lost of the others in a crash is found
    /// again: a truncation and a purge are repeated by raft, and what is committed is learnt anew.
    const fn is_lazy(&self) -> bool {
        matches!(self, Self::TruncateFrom(_) | Self::PurgeUpto(_) | Self::Committed(_))
    }

    fn write(&self) -> Option<Write<'_>> {
        match self {
            Self::Append { entries, .. } => Some(Write::Append(entries)),
            Self::TruncateFrom(index) => Some(Write::TruncateFrom(*index)),
            Self::PurgeUpto(log_id) => Some(Write::PurgeUpto(*log_id)),
            Self::Vote { vote, .. } => Some(Write::Vote(*vote)),
            Self::Committed(log_id) => Some(Write::Committed(*log_id)),
            Self::Stop => None,
        }
    }

    fn complete(self, result: Result<(), &Failure>) {
        let result = result.map_err(Failure::to_io);
        match self {
            Self::Append { done, .. } => done.io_completed(result),
            // Whoever asked may have gone; the vote is saved all the same.
            Self::Vote { done, .. } => drop(done.send(result)),
            Self::TruncateFrom(_) | Self::PurgeUpto(_) | Self::Committed(_) | Self::Stop => {}
        }
    }
}

/// What the thread tells the others.
#[derive(Debug)]
pub(super) struct Progress {
    /// The number of the newest append that is on disk.
    pub(super) flushed_sequence: AtomicU64,
    /// Bounds the queue; the thread gives a permit back for every write it takes.
    pub(super) permits: Semaphore,
    /// Set once, by the first write that fails; nothing is written after it.
    pub(super) failure: watch::Sender<Option<Failure>>,
    /// Set when the file is closed.
    pub(super) closed: watch::Sender<bool>,
}

impl Progress {
    pub(super) fn new(failure: watch::Sender<Option<Failure>>) -> Self {
        Self {
            flushed_sequence: AtomicU64::new(0),
            permits: Semaphore::new(QUEUE_MAX),
            failure,
            closed: watch::Sender::new(false),
        }
    }
}

pub(super) struct Writer {
    file: Arc<LogFile>,
    ops: mpsc::Receiver<Op>,
    progress: Arc<Progress>,
    lazy: Vec<Op>,
}

impl Writer {
    /// Starts the thread. It ends at `Op::Stop`, or when nobody can send any more.
    pub(super) fn spawn(
        file: Arc<LogFile>,
        ops: mpsc::Receiver<Op>,
        progress: Arc<Progress>,
    ) -> io::Result<()> {
        let writer = Self { file, ops, progress: Arc::clone(&progress), lazy: Vec::new() };
        std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || {
            writer.run();
            progress.closed.send_replace(true);
        })?;
        Ok(())
    }

    fn run(mut self) {
        let mut batch = Vec::new();
        let mut stopping = false;
        while !stopping && self.fill(&mut batch) {
            stopping = batch.iter().any(|op| matches!(op, Op::Stop));
            if stopping || !batch.iter().all(Op::is_lazy) {
                self.flush(&mut batch);
            } else {
                self.lazy.append(&mut batch);
                if self.lazy.len() > LAZY_MAX {
                    self.flush(&mut batch);
                }
            }
        }
        if !self.lazy.is_empty() {
            self.flush(&mut batch);
        }
    }

    /// Waits for a write and takes all that came with it. False when nobody can send any more.
    fn fill(&mut self, batch: &mut Vec<Op>) -> bool {
        let first = if self.lazy.is_empty() {
            self.ops.recv().ok()
        } else {
            match self.ops.recv_timeout(LAZY_WAIT) {
                Ok(op) => Some(op),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.flush(batch);
                    self.ops.recv().ok()
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => None,
            }
        };
        let Some(first) = first else { return false };
        batch.push(first);
        while batch.len() < BATCH_MAX
            && let Ok(op) = self.ops.try_recv()
        {
            batch.push(op);
        }
        self.progress.permits.add_permits(batch.len());
        true
    }

    /// Writes what was held and the batch, in this order, with one fsync.
    fn flush(&mut self, batch: &mut Vec<Op>) {
        let mut ops = std::mem::take(&mut self.lazy);
        ops.append(batch);
        let result = self.write(&ops);
        if result.is_ok() {
            let newest = ops.iter().filter_map(|op| match op {
                Op::Append { sequence, .. } => Some(*sequence),
                _ => None,
            });
            if let Some(newest) = newest.max() {
                self.progress.flushed_sequence.store(newest, Ordering::Release);
            }
        }
        for op in ops {
            op.complete(result.as_ref().copied());
        }
    }

    fn write(&self, ops: &[Op]) -> Result<(), Failure> {
        if let Some(failure) = self.progress.failure.borrow().clone() {
            return Err(failure);
        }
        let writes = ops.iter().filter_map(Op::write);
        self.file.write(writes).map_err(|error| {
            let file = self.file.path().to_owned();
            tracing::error!(
                file = %file.display(), %error,
                "cannot write the raft log; this node takes no part in raft any more"
            );
            let failure = Failure { file, error: error.to_string() };
            self.progress.failure.send_replace(Some(failure.clone()));
            failure
        })
    }
}
