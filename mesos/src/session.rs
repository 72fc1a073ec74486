//! One framework that speaks Mesos's scheduler API, between its HTTP stream and whoever leads.
//!
//! The session outlives leaders: it resumes its subscription at the next one, says there once more what
//! has no answer yet, and asks what became of the tasks and operations that nothing was heard of. An
//! accept is never repeated. The client sees of all that only that its open offers are rescinded.
//!
//! What the framework says of itself, which roles are suppressed and what it wishes of offers is on
//! record and need not be said again. What it asks for is not, and is said to each leader.

mod accept;
mod calls;
mod demand;
mod held;
mod inverse;
mod resume;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{
        AgentId, ClusterId, Fence, FrameworkId, NodeId, OfferId, OperationId, RequestId,
        Subscription, TaskId,
    },
    messages::scheduler::{
        Call, CallError, CallErrorKind, CallFrame, Event, EventFrame, Subscribe, TaskQuery,
    },
    operation::OperationStatus,
    role::Role,
    task::{StatusUpdate, TaskState},
    wishes::OfferWishes,
};

use crate::{
    codec::Refused,
    convert::{
        event,
        framework::{self, Description},
        offer::{self, Place},
        status,
    },
    schema,
};
use resume::{Resuming, TASKS_IN_PIECE};
use waiting::{Waiting, WaitingCalls};

/// The pace of heartbeats when there is nothing to tell.
pub const HEARTBEAT_MS: u64 = 15_000;
/// Kills that are repeated at the next leader; beyond that, further ones are not.
const KILLS_MAX: usize = 10_000;
/// Names an HTTP request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the shell must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send to the leader.
    Send(Box<CallFrame>),
    /// Tell the framework.
    Tell(Box<schema::Event>),
    /// Answer a request; each is answered once.
    Answer(Ticket, Result<(), Refused>),
    /// Close the stream: the leader knows that the subscription is over.
    End,
}

/// Where nodes listen for HTTP.
pub trait Places {
    /// The agent's port of a node, if the node is known.
    fn agent(&self, node: NodeId) -> Option<Place>;
    /// The cluster's port of the leader, if one is known.
    fn leader(&self) -> Option<Place>;
}

/// The session's state.
#[derive(Debug)]
pub struct Session {
    cluster: ClusterId,
    subscribe: Subscribe,
    /// What of the framework's description must not change.
    fixed: framework::Fixed,
    subscription: Option<Subscription>,
    /// The newest leader heard of; events under a lower fence are dropped.
    fence: Option<Fence>,
    /// Whether the present leader has taken the subscription up.
    subscribed: bool,
    told_subscribed: bool,
    /// Whether it asked for something else since the present leader was told.
    demand_untold: bool,
    /// What the framework wishes of offers, until that is on record.
    wishes_untold: Option<BTreeMap<Role, OfferWishes>>,
    /// Roles that are suppressed until then.
    held: BTreeSet<Role>,
    /// Offers that the client may believe open.
    offers: BTreeMap<OfferId, (Role, AgentId)>,
    /// Inverse offers that are not answered.
    inverse: BTreeSet<OfferId>,
    /// Accepted and not heard of.
    pending: BTreeMap<TaskId, AgentId>,
    /// Where each live task runs.
    tasks: BTreeMap<TaskId, AgentId>,
    /// Kills that have not shown an end yet.
    kills: BTreeMap<TaskId, (Option<AgentId>, Option<u64>)>,
    /// Accepted, and it is not known what became of them.
    operations: BTreeMap<OperationId, AgentId>,
    waiting: WaitingCalls,
    /// What the present leader is still to be told.
    resuming: Resuming,
    requests: u64,
    tearing_down: bool,
    ended: bool,
}

impl Session {
    /// A session of a framework that describes itself so. `nonce` makes its subscribe recognisable.
    #[must_use]
    pub fn new(
        cluster: ClusterId,
        framework: Option<FrameworkId>,
        description: Description,
        nonce: String,
    ) -> Self {
        let Description { info, suppressed, wishes, fixed } = description;
        let subscribe = Subscribe {
            framework,
            info,
            suppressed_roles: suppressed,
            resume: None,
            // What an earlier run asked for does not stand.
            demand: Some(Box::default()),
            nonce,
            // Clients of Mesos know nothing of it.
            can_be_asked: false,
        };
        Self {
            cluster,
            held: wishes.keys().cloned().collect(),
            // Those of an earlier run must not stand.
            wishes_untold: (framework.is_some() || !wishes.is_empty()).then_some(wishes),
            subscribe,
            fixed,
            subscription: None,
            fence: None,
            subscribed: false,
            told_subscribed: false,
            demand_untold: false,
            offers: BTreeMap::new(),
            inverse: BTreeSet::new(),
            pending: BTreeMap::new(),
            tasks: BTreeMap::new(),
            kills: BTreeMap::new(),
            operations: BTreeMap::new(),
            waiting: WaitingCalls::default(),
            resuming: Resuming::default(),
            requests: 0,
            tearing_down: false,
            ended: false,
        }
    }

    /// The framework, once it has an id.
    #[must_use]
    pub fn framework(&self) -> Option<FrameworkId> {
        self.subscribe.framework
    }

    /// Whether the framework was told that it is subscribed.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told_subscribed && !self.ended
    }

    /// The leader said something.
    pub fn event(&mut self, frame: EventFrame, places: &dyn Places, out: &mut Vec<Output>) {
        if self.ended || self.fence.is_some_and(|newest| frame.fence.is_stale(newest)) {
            return;
        }
        self.fence = Some(frame.fence);
        match frame.event {
            Event::Subscribed { framework, subscription, .. } => {
                self.subscription = Some(subscription);
                self.subscribe.framework = Some(framework);
                self.taken_up(frame.fence, framework, places, out);
            }
            Event::Offers { offers } => {
                let capabilities = self.subscribe.info.capabilities;
                let mut shown = Vec::with_capacity(offers.len());
                for offer in offers {
                    let place = places.agent(offer.agent.node);
                    shown.push(offer::write(self.cluster, &offer, capabilities, place.as_ref()));
                    self.offers.insert(offer.id, (offer.role, offer.agent));
                }
                tell(out, event::offers(shown));
            }
            Event::Rescind { offers, cause: _ } => self.rescind(offers, out),
            Event::InverseOffers { offers } => self.inverse_offers(&offers, places, out),
            Event::RescindInverseOffers { offers } => self.inverse_rescinded(offers, out),
            Event::Update { status } => self.update(&status, places, out),
            Event::OperationStatus { status } => self.operation_status(&status, out),
            Event::AgentLost { agent } => tell(out, event::agent_lost(self.cluster, agent)),
            Event::ExecutorLost { agent, executor, exit, message: _ } => {
                let cluster = self.cluster;
                tell(out, event::executor_lost(cluster, agent, &executor, exit.as_ref()));
            }
            Event::Message { agent, executor, data } => {
                tell(out, event::message(self.cluster, agent, &executor, data));
            }
            Event::Answered { request, error } => self.answered(request, error, out),
            Event::Error { error } => self.refused(&error, out),
            Event::Unfulfilled { .. }
            | Event::LeaderLost
            | Event::SubscribeAgain
            | Event::Heartbeat
            | Event::Unknown => {}
        }
    }

    fn rescind(&mut self, offers: Vec<OfferId>, out: &mut Vec<Output>) {
        for offer in offers {
            if self.offers.remove(&offer).is_some() {
                tell(out, event::rescind(self.cluster, offer));
            }
        }
    }

    fn update(&mut self, status: &StatusUpdate, places: &dyn Places, out: &mut Vec<Output>) {
        let task = &status.task;
        self.pending.remove(task);
        if status.state.is_terminal() {
            self.tasks.remove(task);
            self.kills.remove(task);
        } else if status.state == TaskState::Unknown {
            // The leader knows of no such task, so there is nothing left to kill.
            self.kills.remove(task);
        } else if let Some(agent) = status.agent {
            self.tasks.insert(task.clone(), agent);
        }
        let place = status.agent.and_then(|agent| places.agent(agent.node));
        let capabilities = self.subscribe.info.capabilities;
        match status::write(self.cluster, status, capabilities, place.as_ref()) {
            Some(shown) => tell(out, event::update(shown)),
            // What the framework is not told it cannot acknowledge.
            None => {
                if let Some((agent, update)) = status.agent.zip(status.update) {
                    self.send(Call::Acknowledge { task: task.clone(), agent, update }, out);
                }
            }
        }
    }

    fn operation_status(&mut self, status: &OperationStatus, out: &mut Vec<Output>) {
        if status.state.is_terminal() {
            self.operations.remove(&status.id);
        }
        tell(out, event::operation(status::write_operation(self.cluster, status)));
    }

    fn answered(&mut self, request: RequestId, error: Option<CallError>, out: &mut Vec<Output>) {
        if self.resuming.answered(request, error.as_ref().map(|error| error.kind)) {
            return;
        }
        let Some(waiting) = self.waiting.remove(request) else { return };
        let Waiting { ticket, call, rest, .. } = waiting;
        if error.is_none() && !rest.is_empty() {
            return self.ask_for_part(ticket, rest, out);
        }
        let Some(ticket) = ticket else { return self.own_answered(&call, error, out) };
        if error.is_none() {
            self.carried_out(&call, out);
        }
        self.release(out);
        let answer = match error {
            None => Ok(()),
            Some(error) => Err(Refused::new(status_of(error.kind), error.message)),
        };
        let teardown = matches!(call, Call::Teardown);
        let over = teardown && answer.is_ok();
        self.tearing_down &= !teardown || over;
        out.push(Output::Answer(ticket, answer));
        if over {
            self.end(out);
        }
    }

    /// The leader does not take the subscription, or takes it no longer.
    fn refused(&mut self, error: &CallError, out: &mut Vec<Output>) {
        if is_passing(error.kind) {
            // The stream closes and is opened again.
            self.subscribed = false;
            return;
        }
        if !self.tearing_down {
            let message = match error.kind {
                CallErrorKind::FailedOver => "Framework failed over",
                CallErrorKind::FrameworkRemoved => "Framework has been removed",
                CallErrorKind::NoLeader
                | CallErrorKind::Invalid
                | CallErrorKind::Forbidden
                | CallErrorKind::NotSubscribed
                | CallErrorKind::Busy
                | CallErrorKind::Unknown => &error.message,
            };
            tell(out, event::error(message));
        }
        self.end(out);
    }

    fn end(&mut self, out: &mut Vec<Output>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        for Waiting { ticket, call, .. } in std::mem::take(&mut self.waiting).into_calls() {
            let torn_down = matches!(call, Call::Teardown);
            let answer = if torn_down { Ok(()) } else { Err(not_subscribed()) };
            out.extend(ticket.map(|ticket| Output::Answer(ticket, answer)));
        }
        out.push(Output::End);
    }

    /// The client has closed its stream: what the leader is told at once.
    #[must_use]
    pub fn left(&self) -> Option<CallFrame> {
        let subscription = self.subscription.filter(|_| !self.ended && self.subscribed)?;
        Some(CallFrame { request: None, subscription, call: Call::Disconnect })
    }

    fn send(&mut self, call: Call, out: &mut Vec<Output>) {
        self.send_as(None, call, out);
    }

    /// Sends a call whose answer is awaited; now, or when there is a leader.
    fn ask(&mut self, ticket: Option<Ticket>, call: Call, out: &mut Vec<Output>) {
        self.ask_with((ticket, call, Vec::new()), out);
    }

    /// Asks for tasks, as many at a time as are asked for in one call.
    fn ask_for_part(
        &mut self,
        ticket: Option<Ticket>,
        mut tasks: Vec<TaskQuery>,
        out: &mut Vec<Output>,
    ) {
        let rest = tasks.split_off(tasks.len().min(TASKS_IN_PIECE));
        self.ask_with((ticket, Call::Reconcile { tasks }, rest), out);
    }

    fn ask_with(
        &mut self,
        (ticket, call, rest): (Option<Ticket>, Call, Vec<TaskQuery>),
        out: &mut Vec<Output>,
    ) {
        let request = self.next_request();
        // In the order in which they came: not ahead of those that still wait for their turn.
        let in_turn = self.subscribed && !self.resuming.is_at_requests();
        let sent = in_turn && !self.waits_for_wishes(&call);
        if let Err(ticket) = self.waiting.insert(request, Waiting { ticket, call, rest, sent }) {
            let refused = Refused::new(503, "Too many calls of the framework wait for the leader");
            out.extend(ticket.map(|ticket| Output::Answer(ticket, Err(refused))));
            return;
        }
        if sent {
            self.send_waiting(request, out);
        }
    }

    fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn send_waiting(&mut self, request: RequestId, out: &mut Vec<Output>) {
        if let Some(waiting) = self.waiting.get_mut(request) {
            waiting.sent = true;
            let call = waiting.call.clone();
            self.send_as(Some(request), call, out);
        }
    }

    /// Nobody waits for the answer to this request any more: the call is not made at a later leader.
    pub fn forget(&mut self, ticket: Ticket) {
        let forgotten = self.waiting.forget(ticket);
        if forgotten.is_some_and(|it| !it.sent && matches!(it.call, Call::Teardown)) {
            self.tearing_down = false;
        }
    }

    fn send_as(&self, request: Option<RequestId>, call: Call, out: &mut Vec<Output>) {
        let subscription = self.subscription.unwrap_or_default();
        out.push(Output::Send(Box::new(CallFrame { request, subscription, call })));
    }
}

fn tell(out: &mut Vec<Output>, event: schema::Event) {
    out.push(Output::Tell(Box::new(event)));
}

/// The answer to calls of a framework that has no stream.
#[must_use]
pub fn not_subscribed() -> Refused {
    Refused::new(403, "Framework is not subscribed")
}

const fn is_passing(kind: CallErrorKind) -> bool {
    matches!(kind, CallErrorKind::NoLeader | CallErrorKind::Busy)
}

const fn status_of(kind: CallErrorKind) -> u16 {
    match kind {
        CallErrorKind::NoLeader | CallErrorKind::Busy => 503,
        CallErrorKind::Forbidden | CallErrorKind::FailedOver | CallErrorKind::NotSubscribed => 403,
        CallErrorKind::Invalid | CallErrorKind::FrameworkRemoved | CallErrorKind::Unknown => 400,
    }
}

#[cfg(test)]
mod tests;
