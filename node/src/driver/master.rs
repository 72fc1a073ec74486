//! Drives the master: made when this node leads, emptied when it no longer does.

mod flush;
mod proposer;
mod recorder;
mod streams;
mod term;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use meshos_control::master::{
    Explainer, Explanation, MasterConfig, NotExplained, OperatorCall, Question, View,
};
use meshos_membership::{gossip, raft};
use meshos_protocol::{
    ids::{ClusterId, NodeId, Principal},
    messages::{Refusal, scheduler::CallError},
};
use meshos_sdk::wire::Opened;
use tokio::{
    sync::{Mutex, Semaphore, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::Snapshot;
use crate::{
    clock::Clock,
    cluster::{HintStore, RegistryHost},
    net::Net,
};

/// Events that may wait for the master's loop; whoever brings more waits.
const MAILBOX_MAX: usize = 65_536;

/// Explanations that may wait for their turn; more are refused.
const EXPLAIN_WAITING_MAX: usize = 16;
/// The least time between two pictures for explanations.
const EXPLAIN_PAUSE: Duration = Duration::from_millis(20);
/// After a picture the loop is left alone for so many times as long as it took: pictures for
/// explanations take at most a twentieth of its time, whoever asks and however large the cluster is.
const EXPLAIN_REST: u32 = 19;

/// What leading needs.
pub(crate) struct Options {
    pub config: MasterConfig,
    pub raft: Arc<raft::RaftGroup>,
    pub registry: RegistryHost,
    pub hints: HintStore,
    pub gossip: gossip::Handle,
    pub net: Net,
    pub clock: Clock,
    /// Makes a fresh cluster id, when a new cluster forms.
    pub new_cluster_id: fn() -> ClusterId,
    /// Where recordings of terms are kept.
    pub recordings: PathBuf,
    /// The bytes that are recorded of each term; 0: none.
    pub record_bytes: u64,
}

/// What reaches the master's loop from outside.
enum Input {
    Agent { node: NodeId, opened: Opened },
    Relay { gateway: NodeId, principal: Principal, opened: Opened },
    Operator { call: OperatorCall, answer: oneshot::Sender<Result<(), CallError>> },
    Explainer { answer: oneshot::Sender<Pictured> },
    Stream(streams::StreamInput),
    ProposalsEnded,
}

/// What explanations are made of, and how long the loop took to copy it.
struct Pictured {
    explainer: Option<Explainer>,
    took: Duration,
}

/// Why a master did not say what it made of an operator's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOperated {
    /// This node does not lead: it was not handed in.
    NotLeading,
    /// The master ended before it answered; it may have carried the call out.
    Unanswered,
}

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unexplained {
    /// This node does not lead.
    NotLeading,
    /// Too many wait already.
    Busy,
    /// There is nothing of that kind.
    Nothing(NotExplained),
}

/// Lets one question at a time through to the loop, and the next only after a rest.
struct Turnstile {
    waiting: Semaphore,
    /// When the next may go; whoever holds it is the one under way.
    next: Mutex<Instant>,
}

impl Default for Turnstile {
    fn default() -> Self {
        Self { waiting: Semaphore::new(EXPLAIN_WAITING_MAX), next: Mutex::new(Instant::now()) }
    }
}

/// The master while it leads, as the rest of the node reaches it.
struct Port {
    mailbox: mpsc::Sender<Input>,
    view: Snapshot<View>,
}

/// Reaches the master, when this node leads.
#[derive(Clone, Default)]
pub(crate) struct Handle {
    port: Arc<ArcSwapOption<Port>>,
    explaining: Arc<Turnstile>,
}

impl Handle {
    /// Whether this node leads now, for streams that only a leader takes.
    pub(crate) fn admit(&self) -> Result<(), (Refusal, String)> {
        match self.port.load().as_ref() {
            Some(_) => Ok(()),
            None => Err((Refusal::NotLeader, "this node does not lead".into())),
        }
    }

    /// The newest picture, when this node leads.
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.port.load().as_ref().map(|port| port.view.get())
    }

    /// A picture that shows all that has happened until now.
    pub(crate) async fn caught_up(&self) -> Option<Arc<View>> {
        let view = self.port.load().as_ref().map(|port| port.view.clone())?;
        Some(view.caught_up().await)
    }

    /// The picture in which to look for what `known` does not show.
    pub(crate) async fn settled(&self, known: &Arc<View>) -> Option<Arc<View>> {
        let view = self.port.load().as_ref().map(|port| port.view.clone())?;
        Some(view.settled(known).await)
    }

    /// An agent's stream was opened.
    pub(crate) fn agent(&self, node: NodeId, opened: Opened) {
        self.deliver(Input::Agent { node, opened });
    }

    /// A gateway's stream was opened.
    pub(crate) fn relay(&self, gateway: NodeId, principal: Principal, opened: Opened) {
        self.deliver(Input::Relay { gateway, principal, opened });
    }

    /// Asks for something in the name of an operator, and tells what the master said.
    ///
    /// # Errors
    /// When there is no master, or none any more.
    pub(crate) async fn operate(
        &self,
        call: OperatorCall,
    ) -> Result<Result<(), CallError>, NotOperated> {
        let (answer, answered) = oneshot::channel();
        let mailbox = self.port.load().as_ref().map(|port| port.mailbox.clone());
        let mailbox = mailbox.ok_or(NotOperated::NotLeading)?;
        let sent = mailbox.send(Input::Operator { call, answer }).await;
        sent.map_err(|_| NotOperated::NotLeading)?;
        answered.await.map_err(|_| NotOperated::Unanswered)
    }

    /// Why somebody is not offered what it wants, exactly and now. The loop makes a picture for it,
    /// since nobody looks at one otherwise; the answer is worked out beside the loop. One at a time, with
    /// rests in between.
    pub(crate) async fn explain(&self, question: Question) -> Result<Explanation, Unexplained> {
        let _waiting = self.explaining.waiting.try_acquire().map_err(|_| Unexplained::Busy)?;
        let mut next = self.explaining.next.lock().await;
        tokio::time::sleep_until(*next).await;
        // Should the caller go away now, the next one still waits for the least time.
        *next = Instant::now() + EXPLAIN_PAUSE;
        let (answer, answered) = oneshot::channel();
        let port = self.port.load_full().ok_or(Unexplained::NotLeading)?;
        let sent = port.mailbox.send(Input::Explainer { answer }).await;
        sent.map_err(|_| Unexplained::NotLeading)?;
        let Pictured { explainer, took } = answered.await.map_err(|_| Unexplained::NotLeading)?;
        *next = Instant::now() + EXPLAIN_PAUSE.max(took * EXPLAIN_REST);
        drop(next);
        let explainer = explainer.ok_or(Unexplained::NotLeading)?;
        let found = tokio::task::spawn_blocking(move || explainer.explain(&question)).await;
        found.map_err(|_| Unexplained::NotLeading)?.map_err(Unexplained::Nothing)
    }

    fn deliver(&self, input: Input) {
        // A stream that finds no master is closed by being dropped; its peer tries again.
        if let Some(port) = self.port.load().as_ref()
            && port.mailbox.try_send(input).is_err()
        {
            tracing::warn!("the master is gone or too busy for another stream");
        }
    }
}

/// Leads whenever raft says so.
pub(crate) struct Service {
    options: Options,
    handle: Handle,
}

impl Service {
    /// Does nothing before [`Service::run`].
    pub(crate) fn new(options: Options) -> (Self, Handle) {
        let handle = Handle::default();
        (Self { options, handle: handle.clone() }, handle)
    }

    /// Runs until `shutdown`, one term of leadership after the other.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut leadership = self.options.raft.leadership();
        loop {
            let led = leadership.borrow_and_update().led;
            if let Some(led) = led {
                tracing::info!(term = %led.term, "this node leads");
                let ended = term::lead(&self.options, &self.handle, led, shutdown.clone()).await;
                self.handle.port.store(None);
                match ended {
                    Ok(()) => tracing::info!(term = %led.term, "this node leads no more"),
                    Err(error) => tracing::error!(term = %led.term, %error, "leading failed"),
                }
            }
            let changed = async {
                // A term that has ended is not led again, so wait for another.
                let other = |now: &raft::Leadership| now.led.is_some() && now.led != led;
                leadership.wait_for(other).await.is_ok()
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                alive = changed => if !alive { return },
            }
        }
    }
}
