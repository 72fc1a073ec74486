//! What leaders tell voters of tasks, outside the log: kept for the next leader.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use meshos_control::master::{Hints, HintsCursor, HintsPlace};
use meshos_protocol::{
    ids::Fence,
    messages::{
        agent::TaskHint,
        node::{Reply, Request},
    },
};
use tokio::{sync::mpsc, time::Instant};

use crate::net::{Net, Target};

/// Hints that may wait for one voter; beyond that they are dropped, for they are only hints.
const WAITING_MAX: usize = 65_536;
/// Hints in one message.
const BATCH_MAX: usize = 1_000;
/// How long one message may take.
const SEND_LIMIT: Duration = Duration::from_secs(2);
/// How often a voter is asked whether it has missed some while there is nothing to tell.
const QUIET: Duration = Duration::from_secs(5);
/// The least time from one telling of everything to the next, for each voter.
const AFRESH_PAUSE: Duration = Duration::from_secs(10);

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

    /// Takes hints from another leader; see [`Hints::take_counted`]. Leaders of some releases do not count.
    pub(crate) fn hear(
        &self,
        fence: Fence,
        place: Option<HintsPlace>,
        hints: Vec<TaskHint>,
    ) -> bool {
        match place {
            Some(place) => self.lock().take_counted(fence, place, hints),
            None => {
                self.take(fence, hints);
                true
            }
        }
    }

    /// See [`Hints::page`].
    fn page(&self, cursor: &mut HintsCursor) -> Vec<TaskHint> {
        self.lock().page(cursor, BATCH_MAX)
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

/// Tells hints to the other members of the group, each at its own pace.
pub(crate) struct HintSender {
    net: Net,
    own: HintStore,
    fence: Fence,
    queues: BTreeMap<Target, Queue>,
}

/// What waits for one of them.
struct Queue {
    hints: mpsc::Sender<TaskHint>,
    /// Set when there was no room for some.
    overflown: Arc<AtomicBool>,
}

impl HintSender {
    /// Starts to tell `voters`, who were told by the leader before as this node was; it ends with this value.
    pub(crate) fn start(
        net: &Net,
        fence: Fence,
        voters: impl Iterator<Item = Target>,
        own: HintStore,
    ) -> Self {
        let mut sender = Self { net: net.clone(), own, fence, queues: BTreeMap::new() };
        for voter in voters {
            sender.add(voter, false);
        }
        sender
    }

    /// The group is now this: who has come is told all that this node knows, who has left nothing more.
    pub(crate) fn follow(&mut self, voters: impl Iterator<Item = Target>) {
        let voters: Vec<Target> = voters.collect();
        self.queues.retain(|voter, _| voters.contains(voter));
        for voter in voters {
            self.add(voter, true);
        }
    }

    fn add(&mut self, voter: Target, afresh: bool) {
        if voter.node == Some(self.net.node()) || self.queues.contains_key(&voter) {
            return;
        }
        let (hints, waiting) = mpsc::channel(WAITING_MAX);
        let overflown = Arc::<AtomicBool>::default();
        let teller = Teller {
            net: self.net.clone(),
            own: self.own.clone(),
            fence: self.fence,
            voter: voter.clone(),
            overflown: Arc::clone(&overflown),
            told: 0,
            told_afresh: None,
        };
        tokio::spawn(teller.run(waiting, afresh));
        self.queues.insert(voter, Queue { hints, overflown });
    }

    pub(crate) fn send(&self, hint: TaskHint) {
        for queue in self.queues.values() {
            if queue.hints.try_send(hint.clone()).is_err() {
                queue.overflown.store(true, Ordering::Relaxed);
            }
        }
        self.own.take(self.fence, [hint]);
    }
}

/// Tells one voter.
struct Teller {
    net: Net,
    own: HintStore,
    fence: Fence,
    voter: Target,
    overflown: Arc<AtomicBool>,
    /// Hints told since the beginning; also those that got lost, so that the voter notices.
    told: u64,
    told_afresh: Option<Instant>,
}

impl Teller {
    async fn run(mut self, mut queue: mpsc::Receiver<TaskHint>, afresh: bool) {
        if afresh {
            self.tell_afresh().await;
        }
        let mut hints = Vec::new();
        loop {
            let waited = tokio::time::timeout(QUIET, queue.recv_many(&mut hints, BATCH_MAX)).await;
            if waited == Ok(0) {
                return;
            }
            if self.overflown.swap(false, Ordering::Relaxed) {
                tracing::debug!(voter = ?self.voter, "a voter is too slow for hints");
                self.told += 1;
            }
            let missed =
                self.tell(std::mem::take(&mut hints), false).await == Some(Reply::HintsMissed);
            if missed && self.told_afresh.is_none_or(|at| at.elapsed() >= AFRESH_PAUSE) {
                self.tell_afresh().await;
            }
        }
    }

    /// Tells everything once more, from the beginning. What is queued meanwhile is told after it: of each
    /// task the last word counts.
    async fn tell_afresh(&mut self) {
        self.told = 0;
        self.told_afresh = Some(Instant::now());
        let mut cursor = HintsCursor::default();
        let mut page = self.own.page(&mut cursor);
        let mut afresh = true;
        loop {
            let last = page.is_empty();
            if self.tell(page, afresh).await != Some(Reply::Done) || last {
                return;
            }
            afresh = false;
            page = self.own.page(&mut cursor);
        }
    }

    /// None: it could not be told.
    async fn tell(&mut self, hints: Vec<TaskHint>, afresh: bool) -> Option<Reply> {
        let number = self.told;
        self.told += u64::try_from(hints.len()).unwrap_or(u64::MAX);
        let request = Request::Hints { fence: self.fence, hints, number: Some(number), afresh };
        let link = self.net.link(&self.voter);
        let sent = async { link.await?.request(request, SEND_LIMIT).await };
        match sent.await {
            Ok(reply) => {
                if !matches!(reply, Reply::Done | Reply::HintsMissed) {
                    tracing::debug!(voter = ?self.voter, ?reply, "a voter did not take hints");
                }
                Some(reply)
            }
            Err(error) => {
                tracing::debug!(voter = ?self.voter, %error, "hints did not reach a voter");
                None
            }
        }
    }
}
