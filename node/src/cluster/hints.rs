//! What leaders tell voters of tasks, outside the log: kept for the next leader.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use meshos_protocol::{
    ids::{AgentId, Fence, FrameworkId, TaskId},
    messages::{
        agent::TaskHint,
        node::{Reply, Request},
    },
};
use tokio::sync::mpsc;

use crate::net::{Net, Target};

/// Tasks a voter remembers; beyond that new ones are not noted.
const HINTS_MAX: usize = 200_000;
/// Ends of tasks that a voter remembers, the newest: as many as a leader shows.
const ENDS_MAX: usize = 1_000;
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
    /// By agent too: what is told late of a task on one agent says nothing of one of its name on another.
    tasks: BTreeMap<Key, TaskHint>,
    ends: Ends,
}

type Key = (FrameworkId, TaskId, AgentId);

fn key_of(hint: &TaskHint) -> Key {
    (hint.framework, hint.task.clone(), hint.agent)
}

/// How the newest ended tasks ended; of each task on an agent the last word.
#[derive(Default)]
struct Ends {
    by_age: BTreeMap<u64, TaskHint>,
    ages: BTreeMap<Key, u64>,
    taken: u64,
}

impl Ends {
    fn take(&mut self, hint: TaskHint) {
        self.taken += 1;
        let key = key_of(&hint);
        if let Some(earlier) = self.ages.insert(key, self.taken) {
            self.by_age.remove(&earlier);
        }
        self.by_age.insert(self.taken, hint);
        if self.by_age.len() > ENDS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.ages.remove(&key_of(&oldest));
        }
    }
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
            let key = key_of(&hint);
            if hint.launch.is_none() {
                inner.tasks.remove(&key);
                if hint.end.is_some() {
                    inner.ends.take(hint);
                }
            } else if inner.tasks.len() < HINTS_MAX || inner.tasks.contains_key(&key) {
                inner.tasks.insert(key, hint);
            }
        }
    }

    /// How the newest ended tasks ended, and then all live ones that leaders told of: a live one may
    /// have the name of one that ended.
    pub(crate) fn all(&self) -> Vec<TaskHint> {
        let inner = self.lock();
        inner.ends.by_age.values().chain(inner.tasks.values()).cloned().collect()
    }

    /// How many live tasks leaders told of.
    pub(crate) fn live(&self) -> usize {
        self.lock().tasks.len()
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

#[cfg(test)]
mod tests {
    use meshos_protocol::{
        ids::{ClusterId, NodeId, Term},
        task::{TaskEnd, TaskState},
        time::Wall,
    };

    use super::*;

    fn fence(term: u64) -> Fence {
        Fence { cluster: ClusterId::from_u128(1), term: Term(term) }
    }

    fn end(number: usize, at: u64) -> TaskHint {
        let task = TaskId::new(&format!("t{number}")).unwrap();
        let (framework, agent) = (FrameworkId(1), AgentId::new(NodeId::from_bits(7), 1));
        let end = TaskEnd {
            framework,
            task: task.clone(),
            agent: Some(agent),
            name: String::new(),
            role: Default::default(),
            resources: Default::default(),
            state: TaskState::Gone,
            reason: None,
            message: String::new(),
            exit: None,
            launched_at: Wall(0),
            started_at: None,
            ended_at: Wall(at),
        };
        TaskHint { framework, task, agent, launch: None, end: Some(Box::new(end)) }
    }

    fn launch() -> meshos_protocol::task::TaskLaunch {
        let description = meshos_sdk::TaskBuilder::shell("t", "true").build().unwrap();
        meshos_protocol::task::TaskLaunch { description, role: Default::default() }
    }

    fn ends(store: &HintStore) -> Vec<u64> {
        store.all().into_iter().filter_map(|hint| Some(hint.end?.ended_at.0)).collect()
    }

    #[test]
    fn the_newest_ends_are_kept_and_of_each_task_the_last_word() {
        let store = HintStore::default();
        store.take(fence(1), [end(1, 10), end(2, 20), end(1, 30)]);
        assert_eq!(ends(&store), [20, 30]);
        store.take(fence(2), (10..8 + ENDS_MAX).map(|number| end(number, 40)));
        assert_eq!(ends(&store)[..3], [20, 30, 40]);
        store.take(fence(2), [end(3, 50)]);
        assert_eq!(ends(&store).len(), ENDS_MAX);
        assert_eq!(ends(&store)[0], 30);
        // One that runs elsewhere under the name of one that ended is another.
        let elsewhere = AgentId::new(NodeId::from_bits(8), 1);
        let launched =
            TaskHint { agent: elsewhere, launch: Some(launch()), end: None, ..end(3, 0) };
        store.take(fence(2), [launched, end(3, 55)]);
        assert_eq!(store.live(), 1);
        store.take(fence(1), [end(4, 60)]);
        assert!(!ends(&store).contains(&60), "an earlier leader's word comes too late");
    }
}
