//! The one thread that writes the agent's file.

use std::thread;

use meshos_control::agent::{Change, WriteId};
use tokio::sync::mpsc;

use super::AgentStore;

/// Changes that may wait for the disk; an agent that is further ahead is told that the disk failed.
const WAITING_MAX: usize = 100_000;
/// Changes in one transaction.
const BATCH_MAX: usize = 4_096;

/// What became of writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// This write is on disk, and all before it.
    Durable(WriteId),
    /// This write and all after it are not on disk.
    Failed {
        /// A sentence for people.
        why: String,
    },
}

/// Hands changes to the writer.
#[derive(Debug)]
pub(crate) struct StoreHandle {
    queue: mpsc::Sender<(WriteId, Change)>,
}

impl StoreHandle {
    /// Queues a change; false when the writer has stopped or is too far behind.
    #[must_use]
    pub(crate) fn write(&self, write: WriteId, change: Change) -> bool {
        self.queue.try_send((write, change)).is_ok()
    }
}

/// Starts the writer; it ends when the handle is dropped and all is written, or at the first
/// failure.
pub(crate) fn start_writer(
    store: AgentStore,
    written: impl Fn(Written) + Send + 'static,
) -> std::io::Result<(StoreHandle, thread::JoinHandle<()>)> {
    // Unlike that of std it takes memory for what waits, not for what may.
    let (queue, mut changes) = mpsc::channel(WAITING_MAX);
    let thread = thread::Builder::new()
        .name("agent-store".into())
        .spawn(move || write_all(&store, &mut changes, &written))?;
    Ok((StoreHandle { queue }, thread))
}

fn write_all(
    store: &AgentStore,
    queue: &mut mpsc::Receiver<(WriteId, Change)>,
    written: &impl Fn(Written),
) {
    while let Some(first) = queue.blocking_recv() {
        let mut newest = first.0;
        let mut changes = vec![first.1];
        while changes.len() < BATCH_MAX
            && let Ok((write, change)) = queue.try_recv()
        {
            newest = write;
            changes.push(change);
        }
        match store.write(&changes) {
            Ok(()) => written(Written::Durable(newest)),
            Err(error) => {
                tracing::error!(%error, "the agent's records cannot be written");
                return written(Written::Failed { why: error.to_string() });
            }
        }
    }
}
