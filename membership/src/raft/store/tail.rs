//! The newest entries in memory: those that are not on disk yet, and some that are.

use std::{collections::VecDeque, io, sync::Arc};

use super::{
    super::{
        config::{Entry, LogId, Vote},
        record::entry_bytes,
    },
    file::Stored,
};

/// Entries on disk leave memory when more than this is held, in bytes. Followers that keep up are
/// served from memory alone.
const CACHED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the log is, ahead of the disk. Holds no more of the log than it must and may.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    cached: VecDeque<Cached>,
    cached_bytes: usize,
    /// Numbers the appends, so that the writer can say how far it has come.
    sequence: u64,
}

#[derive(Debug)]
struct Cached {
    entry: Arc<Entry>,
    sequence: u64,
    bytes: usize,
}

/// What to read: first these indexes from the file, then these entries.
#[derive(Debug)]
pub(super) struct ReadPlan {
    pub(super) from_file: Option<(u64, u64)>,
    pub(super) from_memory: Vec<Arc<Entry>>,
}

impl Tail {
    pub(super) const fn new(stored: &Stored) -> Self {
        Self {
            vote: stored.vote,
            committed: stored.committed,
            purged: stored.purged,
            last: stored.last,
            cached: VecDeque::new(),
            cached_bytes: 0,
            sequence: 0,
        }
    }

    /// Adds entries, which must follow the last; returns the number of this append.
    pub(super) fn append(&mut self, entries: &[Arc<Entry>]) -> io::Result<u64> {
        self.sequence += 1;
        for entry in entries {
            let id = entry.log_id;
            if self.last.is_some_and(|last| id.index != last.index + 1) {
                let text = format!("entry {} does not follow {:?}", id.index, self.last);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            self.last = Some(id);
            let bytes = entry_bytes(entry);
            self.cached_bytes += bytes;
            let sequence = self.sequence;
            self.cached.push_back(Cached { entry: Arc::clone(entry), sequence, bytes });
        }
        Ok(self.sequence)
    }

    /// Forgets the oldest entries that are on disk, as far as memory is short.
    pub(super) fn evict(&mut self, flushed_sequence: u64) {
        while self.cached_bytes > CACHED_BYTES_MAX
            && self.cached.front().is_some_and(|oldest| oldest.sequence <= flushed_sequence)
        {
            self.pop_front();
        }
    }

    /// Removes all entries after `last`, if there are any.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        while let Some(newest) = self.cached.back()
            && last.is_none_or(|last| newest.entry.log_id.index > last.index)
        {
            self.cached_bytes -= newest.bytes;
            self.cached.pop_back();
        }
        if self.last.is_some_and(|newest| last.is_none_or(|last| last.index < newest.index)) {
            self.last = last;
        }
    }

    /// Removes all entries up to `upto`, which may lie beyond the last.
    pub(super) fn purge(&mut self, upto: LogId) {
        while self.cached.front().is_some_and(|oldest| oldest.entry.log_id.index <= upto.index) {
            self.pop_front();
        }
        self.purged = self.purged.max(Some(upto));
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }

    /// How to read `[from, to)`, cut to what the log holds.
    pub(super) fn plan(&self, from: u64, to: u64) -> ReadPlan {
        let from = from.max(self.purged.map_or(0, |purged| purged.index + 1));
        let to = to.min(self.last.map_or(0, |last| last.index + 1));
        let cached_from = self.cached.front().map_or(u64::MAX, |c| c.entry.log_id.index);
        let file_to = to.min(cached_from);
        let from_memory = self
            .cached
            .iter()
            .map(|cached| &cached.entry)
            .skip_while(|entry| entry.log_id.index < from)
            .take_while(|entry| entry.log_id.index < to)
            .cloned()
            .collect();
        ReadPlan { from_file: (from < file_to).then_some((from, file_to)), from_memory }
    }

    fn pop_front(&mut self) {
        if let Some(oldest) = self.cached.pop_front() {
            self.cached_bytes -= oldest.bytes;
        }
    }
}
