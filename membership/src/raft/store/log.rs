//! The log as openraft sees it.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering, mpsc},
};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::{oneshot, watch};

use super::{
    super::{
        config::{Entry, LogId, TypeConfig, Vote},
        record::entry_bytes,
    },
    file::{LogFile, Stored},
    tail::Tail,
    writer::{Failure, Op, Progress, Writer},
};

/// The most entries sent to a follower at once, in bytes; one entry is sent whatever its size.
const SEND_BYTES_MAX: usize = 1024 * 1024;

/// A cheap clone; the file closes at [`close`](Self::close) or with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    tail: Arc<Mutex<Tail>>,
    ops: mpsc::Sender<Op>,
    progress: Arc<Progress>,
    /// Weak, so that closing does not wait for whoever holds a clone.
    file: Weak<LogFile>,
}

impl LogStore {
    /// Starts the writer for an open file. A failure of the disk is told to `failure`.
    pub(crate) fn start(
        file: LogFile,
        stored: &Stored,
        failure: watch::Sender<Option<Failure>>,
    ) -> io::Result<Self> {
        let file = Arc::new(file);
        let (ops, queue) = mpsc::channel();
        let progress = Arc::new(Progress::new(failure));
        let store = Self {
            tail: Arc::new(Mutex::new(Tail::new(stored))),
            ops,
            progress: Arc::clone(&progress),
            file: Arc::downgrade(&file),
        };
        Writer::spawn(file, queue, progress)?;
        Ok(store)
    }

    /// Becomes true when the file is closed.
    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.progress.closed.subscribe()
    }

    /// Writes what is queued and closes the file.
    pub(crate) async fn close(&self) {
        let mut closed = self.closed();
        // An error means that the writer has ended already.
        drop(self.send(Op::Stop).await);
        // The sender lives in `self`, so waiting cannot fail.
        drop(closed.wait_for(|closed| *closed).await);
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // Nothing under the lock panics half-way.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, op: Op) -> io::Result<()> {
        let permit = self.progress.permits.acquire().await.map_err(io::Error::other)?;
        permit.forget();
        self.ops.send(op).map_err(|_| self.closed_error())
    }

    fn closed_error(&self) -> io::Error {
        let failure = self.progress.failure.borrow();
        failure.as_ref().map_or_else(|| io::Error::other("the raft log is closed"), Failure::to_io)
    }

    /// Entries `[from, to)`; up to about `bytes_max`, but at least one.
    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let plan = self.tail().plan(from, to);
        let older = match plan.from_file {
            Some((from, to)) => {
                let file = self.file.upgrade().ok_or_else(|| self.closed_error())?;
                tokio::task::spawn_blocking(move || file.read(from, to))
                    .await
                    .map_err(io::Error::other)??
            }
            None => Vec::new(),
        };
        let newer = plan.from_memory.iter().map(|entry| (**entry).clone());
        let mut bytes = 0;
        let entries = older.into_iter().chain(newer).take_while(|entry| {
            let first = bytes == 0;
            bytes += entry_bytes(entry);
            first || bytes <= bytes_max
        });
        Ok(entries.collect())
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, SEND_BYTES_MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.tail().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let tail = self.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, saved) = oneshot::channel();
        self.send(Op::Vote { vote: *vote, done }).await?;
        saved.await.map_err(|_| self.closed_error())??;
        self.tail().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.tail().committed = committed;
        self.send(Op::Committed(committed)).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.tail().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
        let flushed = self.progress.flushed_sequence.load(Ordering::Acquire);
        let sequence = {
            let mut tail = self.tail();
            let sequence = tail.append(&entries)?;
            tail.evict(flushed);
            sequence
        };
        self.send(Op::Append { entries, sequence, done: callback }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.tail().truncate_after(last);
        self.send(Op::TruncateFrom(last.map_or(0, |last| last.index + 1))).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.tail().purge(log_id);
        self.send(Op::PurgeUpto(log_id)).await
    }
}
