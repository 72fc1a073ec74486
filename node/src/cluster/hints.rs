//! What leaders tell voters of tasks, outside the log: kept for the next leader.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use meshos_protocol::{
    ids::{Fence, FrameworkId, TaskId},
    messages::{
        agent::TaskHint,
        node::{Reply, Request},
    },
};
use tokio::sync::mpsc;

use crate::net::{Net, Target};

/// Tasks a voter remembers; beyond that new ones are not noted.
const HINTS_MAX: usize = 200_000;
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

#[derive(Default)]
struct Hints {
    fence: Option<Fence>,
    tasks: BTreeMap<(FrameworkId, TaskId), TaskHint>,
}

impl HintStore {
    /// Takes hints from the leader under `fence`; those of an earlier leader come too late.
    pub(crate) fn take(&self, fence: Fence, hints: impl IntoIterator<Item = TaskHint>) {
        let mut inner = self.lock();
        if inner.fence.is_some_and(|newest| fence.is_stale(newest)) {
            return;
        }
        inner.fence = Some(fence);
        for hint in hints {
            let key = (hint.framework, hint.task.clone());
            if hint.launch.is_none() {
                inner.tasks.remove(&key);
            } else if inner.tasks.len() < HINTS_MAX || inner.tasks.contains_key(&key) {
                inner.tasks.insert(key, hint);
            }
        }
    }

    /// All live tasks that leaders told of.
    pub(crate) fn all(&self) -> Vec<TaskHint> {
        self.lock().tasks.values().cloned().collect()
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
