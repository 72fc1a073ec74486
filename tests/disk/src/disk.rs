//! The disk, as redb uses it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use super::history::{History, Operation, Progress, apply};

/// A disk in memory that remembers all that was done to it; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    history: History,
    is_full: bool,
}

impl Disk {
    /// A disk that holds a file of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let history = History::new(bytes.clone());
        Self { state: Arc::new(Mutex::new(State { bytes, history, is_full: false })) }
    }

    /// From now on nothing more can be written, until there is room again.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// Notes in the history how far whoever writes has come.
    pub fn note(&self, progress: Progress) {
        self.state().history.push(Operation::Note(progress));
    }

    /// All that was done so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.state().history.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half-way but for want of memory.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.state();
        if state.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        apply(&operation, &mut state.bytes);
        state.history.push(operation);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        u64::try_from(self.state().bytes.len()).map_err(io::Error::other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let state = self.state();
        let found = state.bytes.get(start..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Operation::Length(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.change(Operation::Write { offset, data: data.to_vec() })
    }
}
