//! Requests and replies over one stream, many under way at a time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use meshos_protocol::{
    ids::RequestId,
    messages::node::{Reply, ReplyFrame, Request, RequestFrame},
};
use meshos_sdk::wire::{FrameReader, FrameSender, Opened, WireError, WriterOptions, spawn_writer};
use tokio::sync::oneshot;

/// Requests that may wait for their replies on one stream.
const PENDING_MAX: usize = 4_096;

/// Raft's messages from this size on are bulky: a few entries, or a heartbeat, are far below it.
pub(super) const BULKY_BYTES: usize = 64 << 10;
/// Of a stream that gives way to the others of its connection; theirs is 0.
const PRIORITY_BULK: i32 = -1;

/// Whether a request is large, has an answer that may be, or may take long: none that is small and
/// urgent may stand in line behind it.
pub(super) fn is_bulky(request: &Request) -> bool {
    match request {
        Request::Raft { body } => body.len() >= BULKY_BYTES,
        // All of them, since they tell a sequence.
        Request::Hints { .. } | Request::Http { .. } => true,
        Request::Probe { .. }
        | Request::Announce(_)
        | Request::Leader
        | Request::ConfirmLeader { .. }
        | Request::JoinVoters { .. }
        | Request::Sign { .. }
        | Request::Unknown => false,
    }
}

/// Lets the other streams of the connection go first.
pub(super) fn give_way(stream: &quinn::SendStream) {
    // It fails only when the connection is over, which the next write tells.
    let _open = stream.set_priority(PRIORITY_BULK);
}

type Pending = Arc<Mutex<Waiting>>;

#[derive(Default)]
struct Waiting {
    replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    broken: bool,
}

/// The asking side.
pub(super) struct RequestClient {
    sender: FrameSender,
    pending: Pending,
    next: AtomicU64,
}

impl RequestClient {
    /// Uses a freshly opened stream.
    pub(super) fn start(opened: Opened) -> Self {
        let pending = Pending::default();
        tokio::spawn(read_replies(opened.reader, Arc::clone(&pending)));
        let sender = spawn_writer(opened.send, WriterOptions::default());
        Self { sender, pending, next: AtomicU64::new(1) }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.sender.is_closed() || lock(&self.pending).broken
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Reply, WireError> {
        let id = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let (answer, reply) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            if pending.broken {
                return Err(WireError::Lost("the request stream is closed".into()));
            }
            pending.replies.retain(|_, waiting| !waiting.is_closed());
            if pending.replies.len() >= PENDING_MAX {
                return Err(WireError::Full(PENDING_MAX));
            }
            pending.replies.insert(id, answer);
        }
        self.sender.send(&RequestFrame { id, request })?;
        reply.await.map_err(|_| WireError::Lost("the request stream closed".into()))
    }
}

async fn read_replies(mut reader: FrameReader, pending: Pending) {
    loop {
        match reader.read::<ReplyFrame>().await {
            Ok(Some(ReplyFrame { id, reply })) => {
                let waiting = lock(&pending).replies.remove(&id);
                if let Some(waiting) = waiting {
                    // The asker may have given up.
                    let _asked = waiting.send(reply);
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "request stream ended");
                break;
            }
        }
    }
    let mut pending = lock(&pending);
    pending.broken = true;
    pending.replies.clear();
}

fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, Waiting> {
    pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
