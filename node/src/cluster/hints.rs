//! What leaders tell voters of tasks, outside the log: kept for the next leader.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use meshos_control::master::Hints;
use meshos_protocol::{
    ids::Fence,
    messages::{
        agent::TaskHint,
        node::{Reply, Request},
    },
};
use tokio::sync::mpsc;

use crate::net::{Net, Target};

/// Hints that may wait for one voter; beyond that they are dropped, for they are only hints.
const WAITING_MAX: usize = 65_536;
/// Hints in one message.
const BATCH_MAX: usize = 1_000;
/// How long one message may take.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// The hints that this voter keeps in memory.
#[derive(Clone, Default)]
pub(crate) struct HintStore {
    inner: Arc<Mutex<Hints>>,
}

impl HintStore {
    /// See [`Hints::take`].
    pub(crate) fn take(&self, fence: Fence, hints: impl IntoIterator<Item = TaskHint>) {
        self.lock().take(fence, hints);
    }

    /// See [`Hints::all`].
    pub(crate) fn all(&self) -> Vec<TaskHint> {
        self.lock().all()
    }

    /// See [`Hints::live`].
    pub(crate) fn live(&self) -> usize {
        self.lock().live()
    }

    fn lock(&self) -> MutexGuard<'_, Hints> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells hints to the other voters, each at its own pace.
pub(crate) struct HintSender {
    own: HintStore,
    fence: Fence,
    queues: Vec<mpsc::Sender<TaskHint>>,
}

impl HintSender {
    /// Starts a sender to each of `voters`; it ends with this value.
    pub(crate) fn start(net: &Net, fence: Fence, voters: Vec<Target>, own: HintStore) -> Self {
        let others = voters.into_iter().filter(|voter| voter.node != Some(net.node()));
        let queues = others.map(|voter| {
            let (queue, hints) = mpsc::channel(WAITING_MAX);
            tokio::spawn(send_all(net.clone(), fence, voter, hints));
            queue
        });
        Self { own, fence, queues: queues.collect() }
    }

    pub(crate) fn send(&self, hint: TaskHint) {
        for queue in &self.queues {
            if queue.try_send(hint.clone()).is_err() {
                tracing::debug!("a voter is too slow for hints");
            }
        }
        self.own.take(self.fence, [hint]);
    }
}

async fn send_all(net: Net, fence: Fence, voter: Target, mut queue: mpsc::Receiver<TaskHint>) {
    let mut hints = Vec::new();
    while queue.recv_many(&mut hints, BATCH_MAX).await > 0 {
        let request = Request::Hints { fence, hints: std::mem::take(&mut hints) };
        let sent = async { net.link(&voter).await?.request(request, SEND_LIMIT).await };
        match sent.await {
            Ok(Reply::Done) => {}
            Ok(reply) => tracing::debug!(?voter, ?reply, "a voter did not take hints"),
            Err(error) => tracing::debug!(?voter, %error, "hints did not reach a voter"),
        }
    }
}
