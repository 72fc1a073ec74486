//! The driver's decisions, without I/O: what to send when, and what to tell the scheduler.

mod answers;
mod inverse;
mod memory;
mod operations;
mod update;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use meshos_protocol::{
    framework::{FrameworkInfo, Offer},
    ids::{
        AgentId, ExecutorId, Fence, FrameworkId, OfferId, RequestId, Subscription, TaskId, UpdateId,
    },
    maintenance::InverseOffer,
    messages::scheduler::{
        Call, CallError, CallErrorKind, CallFrame, Event, EventFrame, RescindCause, Subscribe,
        TASKS_PER_CALL_MAX, TaskQuery,
    },
    operation::{OperationRequest, OperationStatus},
    role::Role,
    task::{Exit, Reason, StatusUpdate, TaskDescription, TaskState},
    wishes::{OfferWishes, ResourceRequest},
};

use super::{
    asked::{Asked, Question},
    edge,
    wants::Wants,
};
use crate::Registered;

/// Kills that are repeated until they show an end; beyond that the oldest is not repeated any more.
pub(super) const KILLS_MAX: usize = 10_000;

/// What the shell must do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Output {
    /// Send to the node.
    Send(Box<CallFrame>),
    /// Tell the scheduler.
    Tell(Tell),
    /// Call [`Core::ask_again`] after this time.
    Wake(Duration),
    /// The subscription is over.
    End(CallError),
}

/// What the scheduler is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tell {
    Registered(Registered),
    Reregistered(Registered),
    Offers(Vec<Offer>),
    Rescinded(OfferId, RescindCause),
    Inverse(Vec<InverseOffer>),
    InverseRescinded(OfferId),
    Update(Box<StatusUpdate>),
    Operation(OperationStatus),
    Disconnected,
    AgentLost(AgentId),
    Message(AgentId, ExecutorId, Vec<u8>),
    ExecutorLost(AgentId, ExecutorId, Option<Exit>),
    Unfulfilled(Role),
    Updated(Result<(), CallError>),
}

/// What the scheduler asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ask {
    Accept {
        offers: Vec<OfferId>,
        operations: Vec<OperationRequest>,
        tasks: Vec<TaskDescription>,
        refuse_ms: Option<u64>,
    },
    Decline {
        offers: Vec<OfferId>,
        refuse_ms: Option<u64>,
    },
    AnswerInverse {
        offers: Vec<OfferId>,
        accepts: bool,
        refuse_ms: Option<u64>,
    },
    Revive {
        roles: BTreeSet<Role>,
    },
    Suppress {
        roles: BTreeSet<Role>,
    },
    Kill {
        task: TaskId,
        grace_ms: Option<u64>,
    },
    Acknowledge {
        task: TaskId,
        agent: AgentId,
        update: UpdateId,
    },
    Reconcile {
        tasks: Vec<TaskQuery>,
    },
    Wish {
        wishes: BTreeMap<Role, OfferWishes>,
    },
    Want {
        role: Role,
        requests: Vec<ResourceRequest>,
        together_within_ms: Option<u64>,
    },
    Update {
        info: Box<FrameworkInfo>,
        suppressed: BTreeSet<Role>,
        wishes: Option<BTreeMap<Role, OfferWishes>>,
    },
    Message {
        agent: AgentId,
        executor: ExecutorId,
        data: Vec<u8>,
    },
    ShutdownExecutor {
        agent: AgentId,
        executor: ExecutorId,
    },
    Teardown,
    Disconnect,
}

/// The driver's state.
#[derive(Debug)]
pub(super) struct Core {
    info: FrameworkInfo,
    /// What is to be on record in its place.
    updating: Option<update::Update>,
    framework: Option<FrameworkId>,
    suppressed: BTreeSet<Role>,
    wants: Wants,
    explicit_acknowledgements: bool,
    nonce: String,
    subscription: Option<Subscription>,
    fence: Option<Fence>,
    /// Whether the present stream's subscription was answered.
    subscribed: bool,
    /// Whether the scheduler believes itself connected.
    told_connected: bool,
    registered_before: bool,
    /// Open offers, each of one agent in one role.
    offers: BTreeMap<OfferId, (Role, AgentId)>,
    /// Offers that were taken back because somebody else was faster, the newest.
    taken: BTreeSet<OfferId>,
    /// Inverse offers that are not answered.
    inverse: BTreeSet<OfferId>,
    /// Accepted and not heard of: (task, agent).
    pending: BTreeMap<TaskId, AgentId>,
    operations: operations::Operations,
    /// Where each live task runs.
    agents: BTreeMap<TaskId, AgentId>,
    /// Kills that have not shown an end yet; repeated after each re-subscription.
    kills: BTreeMap<TaskId, Option<u64>>,
    /// The same in the order in which they were asked for; those that are over are still in it.
    kills_order: VecDeque<TaskId>,
    asked: Asked,
    seen: BTreeSet<UpdateId>,
    seen_order: VecDeque<UpdateId>,
    /// Tasks told to have ended: answers without an id may come late and must not revive them.
    ended: BTreeSet<TaskId>,
    ended_order: VecDeque<TaskId>,
    requests: u64,
}

impl Core {
    pub(super) fn new(
        info: FrameworkInfo,
        framework: Option<FrameworkId>,
        suppressed: BTreeSet<Role>,
        wants: Wants,
        explicit_acknowledgements: bool,
        nonce: String,
    ) -> Self {
        Self {
            info,
            updating: None,
            framework,
            suppressed,
            wants,
            explicit_acknowledgements,
            nonce,
            subscription: None,
            fence: None,
            subscribed: false,
            told_connected: false,
            registered_before: false,
            offers: BTreeMap::new(),
            taken: BTreeSet::new(),
            inverse: BTreeSet::new(),
            pending: BTreeMap::new(),
            operations: operations::Operations::default(),
            agents: BTreeMap::new(),
            kills: BTreeMap::new(),
            kills_order: VecDeque::new(),
            asked: Asked::default(),
            seen: BTreeSet::new(),
            seen_order: VecDeque::new(),
            ended: BTreeSet::new(),
            ended_order: VecDeque::new(),
            requests: 0,
        }
    }

    /// A stream to a node is open: subscribe, or resume.
    pub(super) fn connected(&mut self, out: &mut Vec<Output>) {
        self.subscribed = false;
        let subscribe = Subscribe {
            framework: self.framework,
            info: self.info.clone(),
            suppressed_roles: self.suppressed.iter().chain(self.wants.held()).cloned().collect(),
            resume: self.subscription,
            demand: Some(Box::new(self.wants.subscribing(&self.info.roles))),
            nonce: self.nonce.clone(),
            can_be_asked: true,
        };
        self.send(Call::Subscribe(subscribe), out);
    }

    /// The stream is gone.
    pub(super) fn disconnected(&mut self, out: &mut Vec<Output>) {
        self.subscribed = false;
        self.asked.clear();
        self.void_offers(out);
        if std::mem::take(&mut self.told_connected) {
            out.push(Output::Tell(Tell::Disconnected));
        }
    }

    /// The node said something.
    pub(super) fn event(&mut self, frame: EventFrame, out: &mut Vec<Output>) {
        if self.fence.is_some_and(|newest| frame.fence.is_stale(newest)) {
            return;
        }
        self.fence = Some(frame.fence);
        match frame.event {
            Event::Subscribed { framework, subscription, leader, .. } => {
                let registered = Registered {
                    framework,
                    cluster: frame.fence.cluster,
                    term: frame.fence.term,
                    leader,
                };
                self.subscription = Some(subscription);
                self.framework = Some(framework);
                self.subscribed(registered, out);
            }
            Event::Offers { offers } => {
                let open = offers.iter().map(|it| (it.id, (it.role.clone(), it.agent)));
                self.offers.extend(open);
                out.push(Output::Tell(Tell::Offers(offers)));
            }
            Event::Rescind { offers, cause } => {
                self.rescinded(offers, cause.unwrap_or(RescindCause::Unknown), out);
            }
            Event::InverseOffers { offers } => self.inverse_offers(offers, out),
            Event::RescindInverseOffers { offers } => self.inverse_rescinded(offers, out),
            Event::Update { status } => self.update(status, out),
            Event::OperationStatus { status } => self.operation_status(status, out),
            Event::AgentLost { agent } => out.push(Output::Tell(Tell::AgentLost(agent))),
            Event::Message { agent, executor, data } => {
                out.push(Output::Tell(Tell::Message(agent, executor, data)));
            }
            Event::ExecutorLost { agent, executor, exit, message: _ } => {
                out.push(Output::Tell(Tell::ExecutorLost(agent, executor, exit)));
            }
            Event::LeaderLost => self.disconnected(out),
            Event::SubscribeAgain if self.subscribed => {}
            Event::SubscribeAgain => self.connected(out),
            Event::Error { error } => {
                // Another subscribe may be tried when there is a leader again.
                if error.kind != CallErrorKind::NoLeader {
                    out.push(Output::End(error));
                }
            }
            Event::Answered { request, error } => self.answered(request, error, out),
            Event::Unfulfilled { role } => {
                self.wants.unfulfilled(&role);
                out.push(Output::Tell(Tell::Unfulfilled(role)));
            }
            Event::Heartbeat | Event::Unknown => {}
        }
    }

    fn subscribed(&mut self, registered: Registered, out: &mut Vec<Output>) {
        self.subscribed = true;
        self.told_connected = true;
        self.asked.clear();
        self.void_offers(out);
        let first = !std::mem::replace(&mut self.registered_before, true);
        out.push(Output::Tell(match first {
            true => Tell::Registered(registered),
            false => Tell::Reregistered(registered),
        }));
        // What the leader itself told of a task (unreachable, dropped) carries no id and is not sent
        // again, so all live tasks are asked for, not only those that nothing was heard of.
        let query = |(task, agent): (&TaskId, &AgentId), pending| TaskQuery {
            task: task.clone(),
            agent: Some(*agent),
            pending,
        };
        let pending = self.pending.iter().map(|entry| query(entry, true));
        let live = self.agents.iter().filter(|(task, _)| !self.pending.contains_key(*task));
        let queries: Vec<TaskQuery> =
            pending.chain(live.map(|entry| query(entry, false))).collect();
        for part in queries.chunks(TASKS_PER_CALL_MAX) {
            self.send(Call::Reconcile { tasks: part.to_vec() }, out);
        }
        if self.updating.is_some() {
            self.tell_update(out);
        } else {
            for call in self.wants.untold_demands() {
                self.send(call, out);
            }
            self.tell_wishes(out);
            self.release(out);
        }
        self.ask_for_operations(out);
        let kills = self.kills.clone();
        for (task, grace_ms) in kills {
            self.send_kill(task, grace_ms, out);
        }
    }

    fn send_kill(&mut self, task: TaskId, grace_ms: Option<u64>, out: &mut Vec<Output>) {
        let agent = self.agents.get(&task).or_else(|| self.pending.get(&task)).copied();
        self.send(Call::Kill { task, agent, grace_ms }, out);
    }

    fn update(&mut self, status: StatusUpdate, out: &mut Vec<Output>) {
        let acknowledge = status.agent.zip(status.update);
        self.pending.remove(&status.task);
        if acknowledge.is_none() && self.ended.contains(&status.task) {
            return;
        }
        if let Some((agent, update)) = acknowledge
            && !self.remember(update)
        {
            // Delivered before: the acknowledgement was lost on its way.
            let hidden = edge::shown(self.info.capabilities, status.clone()).is_none();
            if hidden || !self.explicit_acknowledgements {
                let task = status.task;
                self.send(Call::Acknowledge { task, agent, update }, out);
            }
            return;
        }
        if status.state.is_terminal() {
            self.agents.remove(&status.task);
            self.kills.remove(&status.task);
            self.remember_end(&status.task);
        } else if status.state == TaskState::Unknown {
            // The leader knows of no such task, so there is nothing left to kill.
            self.kills.remove(&status.task);
        } else if let Some(agent) = status.agent {
            self.agents.insert(status.task.clone(), agent);
        }
        let task = status.task.clone();
        let shown = edge::shown(self.info.capabilities, status);
        // What the scheduler is not told it cannot acknowledge.
        let acknowledges = shown.is_some() && self.explicit_acknowledgements;
        out.extend(shown.map(|status| Output::Tell(Tell::Update(Box::new(status)))));
        if let Some((agent, update)) = acknowledge.filter(|_| !acknowledges) {
            self.send(Call::Acknowledge { task, agent, update }, out);
        }
    }

    /// The scheduler asks for something.
    pub(super) fn ask(&mut self, ask: Ask, out: &mut Vec<Output>) {
        match ask {
            Ask::Accept { offers, operations, tasks, refuse_ms } => {
                self.accept(offers, operations, tasks, refuse_ms, out);
            }
            Ask::Decline { offers, refuse_ms } => {
                let open: Vec<OfferId> = offers
                    .into_iter()
                    .filter(|offer| self.offers.remove(offer).is_some())
                    .collect();
                if !open.is_empty() {
                    self.send_if_subscribed(Call::Decline { offers: open, refuse_ms }, out);
                }
            }
            Ask::AnswerInverse { offers, accepts, refuse_ms } => {
                self.answer_inverse(offers, accepts, refuse_ms, out);
            }
            Ask::Revive { roles } => {
                self.suppressed.retain(|role| !roles.is_empty() && !roles.contains(role));
                self.send_if_subscribed(Call::Revive { roles }, out);
            }
            Ask::Suppress { roles } => {
                // Of others the leader says that they are not its roles.
                let is_named = |role: &&Role| roles.is_empty() || roles.contains(*role);
                let named: Vec<Role> = self.roles().iter().filter(is_named).cloned().collect();
                self.suppressed.extend(named);
                self.wants.suppressed(&self.suppressed);
                self.send_if_subscribed(Call::Suppress { roles }, out);
            }
            Ask::Kill { task, grace_ms } => {
                self.remember_kill(&task, grace_ms);
                if self.subscribed {
                    self.send_kill(task, grace_ms, out);
                }
            }
            Ask::Acknowledge { task, agent, update } => {
                self.send_if_subscribed(Call::Acknowledge { task, agent, update }, out);
            }
            Ask::Reconcile { tasks } => {
                self.send_if_subscribed(Call::Reconcile { tasks }, out);
            }
            Ask::Wish { wishes } => {
                self.wants.wish(wishes);
                if let Some(update) = &mut self.updating {
                    update.wishes = None;
                }
                if self.subscribed {
                    self.tell_wishes(out);
                }
            }
            Ask::Want { role, requests, together_within_ms } => {
                let now = self.subscribed && self.updating.is_none();
                self.wants.want(&role, &requests, together_within_ms, now);
                if now {
                    self.send(Call::Request { role, requests, together_within_ms }, out);
                }
            }
            Ask::Update { info, suppressed, wishes } => {
                self.update_info(*info, suppressed, wishes, out);
            }
            Ask::Message { agent, executor, data } => {
                self.send_if_subscribed(Call::Message { agent, executor, data }, out);
            }
            Ask::ShutdownExecutor { agent, executor } => {
                self.send_if_subscribed(Call::ShutdownExecutor { agent, executor }, out);
            }
            Ask::Teardown => self.send_if_subscribed(Call::Teardown, out),
            Ask::Disconnect => self.send_if_subscribed(Call::Disconnect, out),
        }
    }

    fn drop_task(&self, task: TaskDescription, reason: Reason, out: &mut Vec<Output>) {
        let status = edge::dropped(self.framework, task.task_id, reason);
        let shown = edge::shown(self.info.capabilities, status);
        out.extend(shown.map(|status| Output::Tell(Tell::Update(Box::new(status)))));
    }

    fn tell_wishes(&mut self, out: &mut Vec<Output>) {
        // Those said after an update are of its roles.
        if self.updating.is_none()
            && let Some(call) = self.wants.untold_wishes()
        {
            self.send(call, out);
        }
    }

    fn send_if_subscribed(&mut self, call: Call, out: &mut Vec<Output>) {
        if self.subscribed {
            self.send(call, out);
        }
    }

    fn send(&mut self, call: Call, out: &mut Vec<Output>) {
        // Answers are asked for where a refusal says something that no event says.
        let question = Question::of(&call);
        let answered =
            question.is_some() || matches!(call, Call::Suppress { .. } | Call::Request { .. });
        let request = answered.then(|| {
            self.requests += 1;
            RequestId(self.requests)
        });
        if let Some((request, question)) = request.zip(question) {
            self.asked.sent(request, question);
        }
        let subscription = self.subscription.unwrap_or_default();
        out.push(Output::Send(Box::new(CallFrame { request, subscription, call })));
    }

    #[cfg(test)]
    pub(super) fn kills(&self) -> (usize, usize) {
        (self.kills.len(), self.kills_order.len())
    }

    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }
}
