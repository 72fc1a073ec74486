//! What a leading master holds, and where its events go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_alloc::{Allocator, Options, PolicyChoice};
use meshos_protocol::{
    ids::{AgentId, Fence, FrameworkId, NodeId, RequestId, SessionId},
    messages::{
        agent::{TaskHint, ToAgent},
        scheduler::{CallError, Event as FrameworkEvent},
    },
    time::{Mono, Now, Wall},
};

use super::{
    ConnectionId, Counters, DropReason, Effect, Event, MasterConfig,
    agents::{Agent, Connection, Link},
    executors::Executors,
    frameworks::{Framework, Presence, Session},
    history::History,
    maintenance::Inverse,
    offers::Offers,
    operations::Operations,
    operator::Together,
    proposals::{Caller, Proposals},
    publish::Pictures,
    reconcile::Questions,
    releases::Releases,
    tasks::Tasks,
    timers::{Timer, Timers},
};
use crate::registry::{AgentState, Registry};

/// The moment of an event and the wishes that it leads to.
pub(super) struct Cx<'a> {
    pub(super) now: Now,
    pub(super) out: &'a mut Vec<Effect>,
}

/// A leading master.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: MasterConfig,
    pub(super) fence: Fence,
    pub(super) me: NodeId,
    pub(super) led_since: Wall,
    pub(super) registry: Registry,
    /// The allocation policy in force.
    pub(super) policy: PolicyChoice,
    pub(super) proposals: Proposals,
    /// What operators asked for in one call, and more than one change of the registry.
    pub(super) together: BTreeMap<RequestId, Together>,
    pub(super) releases: Releases,
    pub(super) allocator: Allocator,
    /// When the next allocation run is due; absent while nothing has changed.
    pub(super) allocate_at: Option<Mono>,
    /// When the last run was.
    pub(super) allocated_at: Option<Mono>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    /// The newest stream of each node.
    pub(super) nodes: BTreeMap<NodeId, ConnectionId>,
    /// Nodes that gossip calls dead, from its first word on them to the next.
    pub(super) nodes_down: BTreeSet<NodeId>,
    /// Nodes whose agent said that it is being stopped, until they are heard of again.
    pub(super) nodes_leaving: BTreeSet<NodeId>,
    pub(super) agents: BTreeMap<AgentId, Agent>,
    /// Those of them that are expected to report: what tasks they run is not known yet.
    pub(super) awaited: BTreeSet<AgentId>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(super) offers: Offers,
    pub(super) inverse: Inverse,
    pub(super) operations: Operations,
    pub(super) executors: Executors,
    pub(super) tasks: Tasks,
    pub(super) history: History,
    pub(super) questions: Questions,
    pub(super) timers: Timers,
    pub(super) counters: Counters,
    pub(super) pictures: Pictures,
}

impl Core {
    pub(super) fn new(
        config: MasterConfig,
        fence: Fence,
        me: NodeId,
        registry: Registry,
        hints: Vec<TaskHint>,
        now: Now,
        seed: u64,
    ) -> Self {
        let policy = policy_of(&registry, &config);
        let options = Options {
            policy: policy.build(),
            offers: config.offers,
            min_allocatable: config.min_allocatable.clone(),
            shares_exclude: config.shares_exclude.clone(),
            ..Options::default()
        };
        let mut allocator = Allocator::new(options, seed);
        allocator.set_region(config.region.clone());
        allocator.advance(now.mono);
        let mut core = Self {
            tasks: Tasks::new(config.ended_tasks_max),
            config,
            fence,
            me,
            led_since: now.wall,
            registry: Registry::new(),
            policy,
            proposals: Proposals::default(),
            together: BTreeMap::new(),
            releases: Releases::default(),
            allocator,
            allocate_at: None,
            allocated_at: None,
            connections: BTreeMap::new(),
            nodes: BTreeMap::new(),
            nodes_down: BTreeSet::new(),
            nodes_leaving: BTreeSet::new(),
            agents: BTreeMap::new(),
            awaited: BTreeSet::new(),
            sessions: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            executors: Executors::default(),
            offers: Offers::default(),
            inverse: Inverse::default(),
            operations: Operations::default(),
            history: History::default(),
            questions: Questions::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            pictures: Pictures::default(),
        };
        for (role, weight_millis) in registry.weights() {
            core.allocator.set_weight(role, weight_millis);
            core.pictures.roles_changed();
        }
        for (role, priority) in registry.priorities() {
            core.allocator.set_priority(role, priority);
        }
        for (role, quota) in registry.quotas() {
            core.allocator.set_quota(role, quota.clone());
        }
        core.registry = registry;
        core.expect_agents(now);
        core.expect_frameworks(now);
        core.take_past_use(now);
        core.take_hints(now, hints);
        core.publish(now);
        core
    }

    /// The agents on record are expected to register.
    fn expect_agents(&mut self, now: Now) {
        self.take_plan();
        let on_record: Vec<_> = self.registry.agents().collect();
        for (agent, state) in on_record {
            match state {
                AgentState::Active | AgentState::Draining => self.await_agent(now, agent),
                AgentState::Unreachable { .. } | AgentState::Unknown => {
                    self.insert_agent(agent, Link::Unreachable);
                }
                AgentState::Gone { .. } => self.pictures.agent_changed(agent),
            }
        }
    }

    /// The frameworks on record are expected to come back.
    fn expect_frameworks(&mut self, now: Now) {
        let on_record: Vec<FrameworkId> = self
            .registry
            .frameworks()
            .filter(|(_, record)| record.closed.is_none())
            .map(|(framework, _)| framework)
            .collect();
        for framework in on_record {
            self.insert_framework(now, framework);
        }
        self.pictures.closed_frameworks_at_start(&self.config, &self.registry);
    }

    pub(super) fn on_event(&mut self, cx: &mut Cx<'_>, event: Event) {
        self.allocator.advance(cx.now.mono);
        match event {
            Event::Applied { entry, outcome } => self.on_applied(cx, &entry, &outcome),
            Event::Voters { voters } => self.on_voters(cx, voters),
            Event::AgentConnected { connection, node } => {
                self.agent_connected(cx, connection, node);
            }
            Event::AgentMessage { connection, message } => {
                self.agent_message(cx, connection, message);
            }
            Event::AgentDisconnected { connection } => self.agent_disconnected(cx, connection),
            Event::PeerDown { node } => self.peer_down(node),
            Event::PeerUp { node } => self.peer_up(node),
            Event::PeerForgotten { node } => self.peer_forgotten(node),
            Event::SessionOpened { session, principal, gateway } => {
                self.session_opened(cx, session, principal, gateway);
            }
            Event::Call { session, frame } => self.on_call(cx, session, frame),
            Event::SessionClosed { session } => {
                let grace = self.config.reconnect_grace;
                self.session_closed(cx, session, grace);
            }
            Event::Operator { request, call } => self.on_operator(cx, request, call),
            Event::Tick | Event::Deposed => {}
        }
    }

    /// Operators have chosen an allocation policy.
    pub(super) fn policy_chosen(&mut self, now: Now) {
        let chosen = policy_of(&self.registry, &self.config);
        // The same once more forgets nothing.
        if chosen != self.policy {
            self.policy = chosen;
            self.allocator.set_policy(self.policy.build());
            self.await_past_use(now);
            self.pictures.role_set();
        }
    }

    /// Does what is due.
    pub(super) fn act_on_deadlines(&mut self, cx: &mut Cx<'_>) {
        while let Some(timer) = self.timers.take_due(cx.now.mono) {
            match timer {
                Timer::AgentLost(agent) => self.agent_timed_out(cx, agent),
                Timer::FrameworkAway(framework) => self.framework_timed_out(cx, framework),
                Timer::HistoryOf(agent) => self.history_concluded(cx, agent),
                Timer::PastUse => self.note_past_use(cx),
                Timer::AskAgain(agent, framework) => self.ask_again(agent, framework),
            }
        }
        for agent in self.tasks.take_emptied() {
            self.tasks_of_agent_ended(cx, agent);
        }
        self.expire_offers(cx);
        self.allocator.set_tasks_known(self.awaited.is_empty());
        // What somebody was faster to accept is taken back before anybody else can accept it.
        self.take_back(cx);
        let filters_expire = self.allocator.next_deadline().is_some_and(|at| at <= cx.now.mono);
        if self.allocate_at.is_none() && self.allocator.needs_run() {
            // The first change after a pause is answered at once.
            let rested = self.allocated_at.map(|at| at.after(self.config.batch));
            self.allocate_at = Some(rested.map_or(cx.now.mono, |at| at.max(cx.now.mono)));
        }
        if filters_expire || self.allocate_at.is_some_and(|at| at <= cx.now.mono) {
            self.allocate_at = None;
            self.allocated_at = Some(cx.now.mono);
            self.allocate(cx);
            self.take_back(cx);
            self.expire_offers(cx);
            if self.allocator.needs_run() {
                self.allocate_at = Some(cx.now.mono.after(self.config.batch));
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        [
            self.allocate_at,
            self.timers.next(),
            self.offers.next_deadline(self.config.offer_timeout),
            self.allocator.next_deadline(),
            self.pictures.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Instructs an agent. False when it is not connected.
    pub(super) fn tell_agent(&self, cx: &mut Cx<'_>, agent: AgentId, message: ToAgent) -> bool {
        let link = self.agents.get(&agent).map(|agent| agent.link);
        match link.and_then(Link::connection) {
            None => false,
            Some(connection) => {
                cx.out.push(Effect::SendToAgent { connection, message });
                true
            }
        }
    }

    /// Tells a framework. False when it is not subscribed.
    pub(super) fn tell_framework(
        &self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        event: FrameworkEvent,
    ) -> bool {
        let presence = self.frameworks.get(&framework).map(|framework| framework.presence);
        match presence.and_then(Presence::session) {
            None => false,
            Some(session) => {
                cx.out.push(Effect::SendToFramework { session, event });
                true
            }
        }
    }

    /// Tells all subscribed frameworks.
    pub(super) fn tell_all_frameworks(&self, cx: &mut Cx<'_>, event: &FrameworkEvent) {
        for session in self.frameworks.values().filter_map(|it| it.presence.session()) {
            cx.out.push(Effect::SendToFramework { session, event: event.clone() });
        }
    }

    /// Answers whoever called, if it wanted an answer and is still there.
    pub(super) fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        caller: Caller,
        result: Result<(), CallError>,
    ) {
        if let Err(error) = &result
            && caller != Caller::Nobody
        {
            self.counters.dropped.add(DropReason::of(error.kind));
        }
        match caller {
            Caller::Nobody | Caller::Framework { request: None, .. } => {}
            Caller::Framework { session, request: Some(request) } => {
                if self.sessions.contains_key(&session) {
                    let event = FrameworkEvent::Answered { request, error: result.err() };
                    cx.out.push(Effect::SendToFramework { session, event });
                }
            }
            Caller::Operator { request } => {
                if let Some(result) = self.told_together(request, result) {
                    cx.out.push(Effect::AnswerOperator { request, result });
                }
            }
        }
    }

    /// The filter for what is declined: the default when the call names none.
    pub(super) fn refusal(&self, refuse_ms: Option<u64>) -> Duration {
        refuse_ms.map_or(self.config.refuse_default, Duration::from_millis)
    }
}

/// What operators have chosen, or else the master's default: also when what they chose at another
/// leader means nothing to this one.
fn policy_of(registry: &Registry, config: &MasterConfig) -> PolicyChoice {
    let chosen = registry.policy().and_then(|policy| policy.parse().ok());
    chosen.unwrap_or_else(|| config.policy.clone())
}
