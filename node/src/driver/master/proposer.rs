//! Writes the master's proposals to the registry, in order, many in one entry of the log.

use std::sync::Arc;

use meshos_control::registry::Entry;
use meshos_membership::raft::{COMMAND_BYTES_MAX, RaftGroup};
use meshos_protocol::{codec, ids::Term};
use tokio::sync::mpsc;

use super::Input;

/// Proposals that may wait; a master that is further ahead is deposed.
const WAITING_MAX: usize = 65_536;
/// Proposals in one entry of the log.
const BATCH_MAX: usize = 256;

/// Takes proposals in order.
pub(super) struct Proposer {
    queue: mpsc::Sender<Entry>,
}

impl Proposer {
    /// Starts the task that proposes; it ends with this value, or when a proposal fails.
    pub(super) fn start(raft: Arc<RaftGroup>, term: Term, mailbox: mpsc::Sender<Input>) -> Self {
        let (queue, entries) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            if let Err(error) = propose_all(&raft, term, entries).await {
                tracing::warn!(%error, "a proposal failed: the term is over");
                // The loop is gone when the term is over already.
                let _listening = mailbox.send(Input::ProposalsEnded).await;
            }
        });
        Self { queue }
    }

    /// Queues a proposal; false when the term cannot go on.
    #[must_use]
    pub(super) fn propose(&self, entry: Entry) -> bool {
        self.queue.try_send(entry).is_ok()
    }
}

async fn propose_all(
    raft: &RaftGroup,
    term: Term,
    mut queue: mpsc::Receiver<Entry>,
) -> Result<(), meshos_membership::raft::ProposeError> {
    let mut entries = Vec::with_capacity(BATCH_MAX);
    // Entries of one term are applied in the order of their proposal ids, so one batch waits for
    // the one before it; what arrives meanwhile makes the next.
    while queue.recv_many(&mut entries, BATCH_MAX).await > 0 {
        for command in commands(&entries) {
            raft.propose_in(term, command).await?;
        }
        entries.clear();
    }
    Ok(())
}

/// The entries as one command, or as one each when together they are too long.
fn commands(entries: &[Entry]) -> Vec<Vec<u8>> {
    let together = codec::encode(entries);
    if together.len() <= COMMAND_BYTES_MAX {
        return vec![together];
    }
    entries.iter().map(|entry| codec::encode(std::slice::from_ref(entry))).collect()
}
