//! What leaders tell voters of tasks, outside the log: kept for the next leader.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use meshos_control::master::{Hints, HintsCursor, bytes_of};
use meshos_protocol::{
    ids::{Fence, Term},
    messages::{
        agent::TaskHint,
        node::{HintsPlace, Reply, Request, Retold},
    },
};
use tokio::{sync::mpsc, time::Instant};

use crate::net::{Net, Target};

/// Hints that may wait for one voter; beyond that they are dropped, for they are only hints.
const WAITING_MAX: usize = 65_536;
/// Hints in one message.
const BATCH_MAX: usize = 1_000;
/// About how many bytes of them; a frame has room for four times as many.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How long one message may take.
const SEND_LIMIT: Duration = Duration::from_secs(2);
/// How often a voter is asked whether it has missed some when there is nothing to tell.
const QUIET: Duration = Duration::from_secs(5);
/// The least time from one telling of everything to the next, for each voter.
const RETELL_PAUSE: Duration = Duration::from_secs(10);

/// The hints that this voter keeps in memory.
#[derive(Clone, Default)]
pub(crate) struct HintStore {
    inner: Arc<Mutex<Hints>>,
}

impl HintStore {
    /// Takes hints from another leader; see [`Hints::hear`]. Leaders of some releases do not count.
    pub(crate) fn hear(
        &self,
        fence: Fence,
        place: Option<HintsPlace>,
        hints: Vec<TaskHint>,
    ) -> bool {
        match place {
            Some(place) => self.lock().hear(fence, place, hints),
            None => {
                self.lock().take(fence, hints);
                true
            }
        }
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
    /// See [`HintsPlace::after`].
    after: Option<Term>,
    queues: BTreeMap<Target, Queue>,
}

/// What waits for one of them.
struct Queue {
    hints: mpsc::Sender<TaskHint>,
    /// Set when there was no room for some.
    overflown: Arc<AtomicBool>,
}

impl HintSender {
    /// Starts to tell `voters`; it ends with this value.
    pub(crate) fn start(
        net: &Net,
        fence: Fence,
        voters: impl Iterator<Item = Target>,
        own: HintStore,
    ) -> Self {
        let after = own.lock().lead(fence);
        let mut sender = Self { net: net.clone(), own, fence, after, queues: BTreeMap::new() };
        sender.follow(voters);
        sender
    }

    /// The group is now this: who has come is told, and says what it has missed; who has left hears nothing more.
    pub(crate) fn follow(&mut self, voters: impl Iterator<Item = Target>) {
        let voters: Vec<Target> = voters.collect();
        self.queues.retain(|voter, _| voters.contains(voter));
        for voter in voters {
            if voter.node != Some(self.net.node()) && !self.queues.contains_key(&voter) {
                let queue = self.tell(voter.clone());
                self.queues.insert(voter, queue);
            }
        }
    }

    fn tell(&self, voter: Target) -> Queue {
        let (hints, waiting) = mpsc::channel(WAITING_MAX);
        let overflown = Arc::<AtomicBool>::default();
        let teller = Teller {
            net: self.net.clone(),
            own: self.own.clone(),
            fence: self.fence,
            after: self.after,
            voter,
            waiting,
            overflown: Arc::clone(&overflown),
            told: 0,
            retold: None,
        };
        tokio::spawn(teller.run());
        Queue { hints, overflown }
    }

    pub(crate) fn send(&self, hint: TaskHint) {
        // First here, so that whoever is told everything hears of it there or from its queue.
        self.own.lock().record(self.fence, hint.clone());
        for queue in self.queues.values() {
            if queue.hints.try_send(hint.clone()).is_err() {
                queue.overflown.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Tells one voter.
struct Teller {
    net: Net,
    own: HintStore,
    fence: Fence,
    after: Option<Term>,
    voter: Target,
    waiting: mpsc::Receiver<TaskHint>,
    overflown: Arc<AtomicBool>,
    /// Hints told since the beginning, those that got lost among them, so that the voter notices.
    told: u64,
    /// When everything was told last.
    retold: Option<Instant>,
}

impl Teller {
    async fn run(mut self) {
        let mut hints = Vec::new();
        // Also when it is closed: nobody wants what is left in it.
        while !self.waiting.is_closed() {
            let received = self.waiting.recv_many(&mut hints, BATCH_MAX);
            if tokio::time::timeout(QUIET, received).await == Ok(0) {
                return;
            }
            if self.overflown.swap(false, Ordering::SeqCst) {
                tracing::debug!(voter = ?self.voter, "a voter is too slow for hints");
                self.told += 1;
            }
            let mut missed = false;
            for batch in batches(std::mem::take(&mut hints)) {
                missed |= self.tell(batch, None).await == Some(Reply::HintsMissed);
            }
            if missed && self.retold.is_none_or(|at| at.elapsed() >= RETELL_PAUSE) {
                self.retell().await;
            }
        }
    }

    /// Tells everything that is known here. What waits is part of it, and what comes meanwhile is told after it.
    async fn retell(&mut self) {
        self.retold = Some(Instant::now());
        self.overflown.store(false, Ordering::SeqCst);
        while self.waiting.try_recv().is_ok() {}
        let mut cursor = HintsCursor::default();
        let mut first = true;
        loop {
            let page = self.own.lock().page(&mut cursor, BATCH_MAX, BATCH_BYTES_MAX);
            let last = page.last;
            let retold = Retold { first, last, all: self.after.is_some() };
            let told = self.tell(page.hints, Some(retold)).await;
            if told != Some(Reply::Done) || last || self.waiting.is_closed() {
                return;
            }
            first = false;
        }
    }

    /// None: it could not be told.
    async fn tell(&mut self, hints: Vec<TaskHint>, retold: Option<Retold>) -> Option<Reply> {
        let place = HintsPlace { number: self.told, after: self.after, retold };
        self.told += u64::try_from(hints.len()).unwrap_or(u64::MAX);
        let request = Request::Hints { fence: self.fence, hints, place: Some(place) };
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

/// Cuts hints into messages; none makes one empty message.
fn batches(hints: Vec<TaskHint>) -> Vec<Vec<TaskHint>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for hint in hints {
        let size = bytes_of(&hint);
        if bytes > 0 && bytes + size > BATCH_BYTES_MAX {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(batch) = batches.last_mut() {
            batch.push(hint);
        }
    }
    batches
}
