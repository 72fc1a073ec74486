//! Drives the master: made when this node leads, emptied when it no longer does.

mod proposer;
mod streams;
mod term;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use meshos_control::master::{Explanation, MasterConfig, OperatorCall, View};
use meshos_membership::{gossip, raft};
use meshos_protocol::{
    ids::{ClusterId, FrameworkId, NodeId, Principal},
    messages::{Refusal, scheduler::CallError},
};
use meshos_sdk::wire::Opened;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Snapshot;
use crate::{
    clock::Clock,
    cluster::{HintStore, RegistryHost},
    net::Net,
};

/// Events that may wait for the master's loop; whoever brings more waits.
const MAILBOX_MAX: usize = 65_536;

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
}

/// What reaches the master's loop from outside.
enum Input {
    Agent { node: NodeId, opened: Opened },
    Relay { gateway: NodeId, principal: Principal, opened: Opened },
    Operator { call: OperatorCall, answer: oneshot::Sender<Result<(), CallError>> },
    Explain { framework: FrameworkId, answer: oneshot::Sender<Option<Explanation>> },
    Stream(streams::StreamInput),
    ProposalsEnded,
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

    /// An agent's stream was opened.
    pub(crate) fn agent(&self, node: NodeId, opened: Opened) {
        self.deliver(Input::Agent { node, opened });
    }

    /// A gateway's stream was opened.
    pub(crate) fn relay(&self, gateway: NodeId, principal: Principal, opened: Opened) {
        self.deliver(Input::Relay { gateway, principal, opened });
    }

    /// Asks for something in the name of an operator; none when this node does not lead.
    pub(crate) async fn operate(&self, call: OperatorCall) -> Option<Result<(), CallError>> {
        let (answer, answered) = oneshot::channel();
        let mailbox = self.port.load().as_ref().map(|port| port.mailbox.clone())?;
        mailbox.send(Input::Operator { call, answer }).await.ok()?;
        answered.await.ok()
    }

    /// Why a framework is offered nothing, exactly and now: the one read that the master's loop
    /// answers, since the reasons are not kept while nobody asks. None when this node does not
    /// lead; nothing inside when the framework never existed.
    pub(crate) async fn explain(&self, framework: FrameworkId) -> Option<Option<Explanation>> {
        let (answer, answered) = oneshot::channel();
        let mailbox = self.port.load().as_ref().map(|port| port.mailbox.clone())?;
        mailbox.send(Input::Explain { framework, answer }).await.ok()?;
        answered.await.ok()
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
