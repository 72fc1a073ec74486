//! How agents come: streams, registrations, admission.

use meshos_protocol::{
    ids::{AgentId, NodeId},
    messages::agent::{Registration, ToAgent, ToLeader},
    task::TaskReport,
    time::Now,
};

use super::{
    ConnectionId, DropReason, Effect,
    agents::{Agent, Connection, ConnectionPhase, InFlight, Link, Report, Times},
    proposals::{Caller, Purpose},
    state::{Core, Cx},
    timers::Timer,
};
use crate::registry::{AgentState, Command};

/// What a node is told that was given up, and ends.
pub(super) const DRAINED_AND_GONE: &str = "an operator drained the node to give it up, and it is declared gone: started again, it joins as a new agent";

impl Core {
    /// Takes an agent up that is on record.
    pub(super) fn insert_agent(&mut self, agent: AgentId, link: Link) {
        let slot = self.pictures.agent_slot(agent);
        let entry = Agent {
            link,
            facts: None,
            reported: false,
            registered: Times::default(),
            in_flight: None,
            slot,
        };
        self.agents.insert(agent, entry);
    }

    /// Takes an agent up that is on record and expected to register.
    pub(super) fn await_agent(&mut self, now: Now, agent: AgentId) {
        self.insert_agent(agent, Link::Awaited { since: now.mono });
        self.awaited.insert(agent);
        self.arm_agent_timer(agent);
    }

    pub(super) fn agent_connected(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        node: NodeId,
    ) {
        if let Some(older) = self.nodes.get(&node).copied() {
            self.close_connection(cx, older, "a newer stream of the same node replaces it");
        }
        if self.connections.len() >= self.config.limits.connections_max {
            let why = "the limit of agent streams is reached".to_owned();
            cx.out.push(Effect::CloseConnection { connection, why });
            return;
        }
        self.connections.insert(connection, Connection { node, phase: ConnectionPhase::Opened });
        self.nodes.insert(node, connection);
        // What gossip says of it stands: a node that comes and goes while gossip calls it dead is
        // not waited for any longer.
        self.heard_again(node);
    }

    /// Ends a stream from this side.
    pub(super) fn close_connection(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        why: &str,
    ) {
        cx.out.push(Effect::CloseConnection { connection, why: why.to_owned() });
        self.agent_disconnected(cx, connection);
    }

    pub(super) fn agent_message(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        message: ToLeader,
    ) {
        if !self.connections.contains_key(&connection) {
            self.counters.dropped.add(DropReason::UnknownConnection);
            return;
        }
        match message {
            ToLeader::Register(registration) => self.on_register(cx, connection, registration),
            ToLeader::Report { tasks, more } => self.on_report(cx, connection, tasks, more),
            ToLeader::Update { status } => self.on_update(cx, connection, status),
            ToLeader::TaskEnded { framework, task, state, at } => {
                self.on_task_ended(cx, connection, (framework, task), (state, at));
            }
            ToLeader::Operation { report, resources, judged } => {
                self.on_operation(cx, connection, report, (resources, judged));
            }
            ToLeader::ExecutorEnded { framework, executor, exit, message } => {
                self.on_executor_ended(cx, connection, (framework, executor), (exit, message));
            }
            ToLeader::ExecutorMessage { framework, executor, data } => {
                self.on_executor_message(cx, connection, (framework, executor), data);
            }
            ToLeader::Leaving => self.on_leaving(connection),
            ToLeader::Ends { ends, more } => self.on_ends(cx, connection, ends, more),
            ToLeader::Unknown => self.counters.dropped.add(DropReason::Unknown),
        }
    }

    /// The agent that is registered over a stream. What others say that must be registered first is
    /// out of turn: counted, and dropped.
    pub(super) fn registered_over(&mut self, connection: ConnectionId) -> Option<AgentId> {
        let stream = self.connections.get(&connection)?;
        let ConnectionPhase::Registered { agent } = stream.phase else {
            self.counters.dropped.add(DropReason::OutOfTurn);
            return None;
        };
        Some(agent)
    }

    fn on_register(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        mut registration: Registration,
    ) {
        let Some(stream) = self.connections.get_mut(&connection) else { return };
        let wrong = if !matches!(stream.phase, ConnectionPhase::Opened) {
            self.counters.dropped.add(DropReason::OutOfTurn);
            Some("it registered twice on one stream")
        } else if registration.fence != self.fence {
            self.counters.dropped.add(DropReason::WrongFence);
            Some("it registered under the fence of another term or cluster")
        } else if registration.node != stream.node
            || registration.agent.is_some_and(|agent| agent.node != stream.node)
        {
            self.counters.dropped.add(DropReason::Forbidden);
            Some("it registered under the id of another node")
        } else {
            None
        };
        if let Some(why) = wrong {
            self.close_connection(cx, connection, why);
            return;
        }
        let tasks = std::mem::take(&mut registration.tasks);
        let more = registration.more;
        stream.phase = ConnectionPhase::Reporting(Box::new(Report {
            registration,
            tasks: Vec::new(),
            early: Vec::new(),
            admission_asked: false,
        }));
        self.on_report(cx, connection, tasks, more);
    }

    fn on_report(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        tasks: Vec<TaskReport>,
        more: bool,
    ) {
        let Some(stream) = self.connections.get_mut(&connection) else { return };
        let ConnectionPhase::Reporting(report) = &mut stream.phase else {
            // The rest of a report whose registration was answered with "gone".
            self.counters.dropped.add(DropReason::OutOfTurn);
            return;
        };
        report.tasks.extend(tasks);
        if report.tasks.len() > self.config.limits.tasks_per_agent_max {
            self.counters.dropped.add(DropReason::Busy);
            self.close_connection(cx, connection, "it reported more tasks than an agent may have");
            return;
        }
        if more {
            return;
        }
        let phase = std::mem::replace(&mut stream.phase, ConnectionPhase::Opened);
        if let ConnectionPhase::Reporting(report) = phase {
            stream.phase = ConnectionPhase::Admitting(report);
        }
        self.advance_admission(cx, connection);
    }

    /// Takes the admission of a stream whose report is in one step further.
    fn advance_admission(&mut self, cx: &mut Cx<'_>, connection: ConnectionId) {
        let Some(stream) = self.connections.get_mut(&connection) else { return };
        let node = stream.node;
        let ConnectionPhase::Admitting(report) = &mut stream.phase else { return };
        let known = |agent: AgentId, state: Option<AgentState>| match state {
            None | Some(AgentState::Gone { .. }) => None,
            Some(state) => Some((agent, state)),
        };
        let agent = match report.registration.agent {
            Some(claimed) => {
                let found = known(claimed, self.registry.agent(claimed));
                if found.is_none() {
                    self.refuse_gone(cx, connection, claimed);
                    return;
                }
                found
            }
            None => self
                .registry
                .newest_agent_of(node)
                .and_then(|(agent, state)| known(agent, Some(state))),
        };
        let Some((agent, state)) = agent else {
            if !report.admission_asked {
                self.ask_for_admission(cx, connection, node);
            }
            return;
        };
        if self.agents.get(&agent).is_none_or(|agent| agent.in_flight.is_some()) {
            return;
        }
        match state {
            AgentState::Active | AgentState::Draining => {
                self.register_agent(cx, connection, agent);
            }
            AgentState::Unreachable { draining: true, .. } => {
                let (state, in_flight) = (AgentState::Draining, InFlight::Draining);
                self.propose_agent_state(cx, agent, state, in_flight, Caller::Nobody);
            }
            AgentState::Unreachable { draining: false, .. }
            | AgentState::Gone { .. }
            | AgentState::Unknown => {
                let (state, in_flight) = (AgentState::Active, InFlight::Active);
                self.propose_agent_state(cx, agent, state, in_flight, Caller::Nobody);
            }
        }
    }

    /// A node that is not on record wants to be admitted: there must be room for it.
    fn ask_for_admission(&mut self, cx: &mut Cx<'_>, connection: ConnectionId, node: NodeId) {
        let full = self.agents.len() + self.proposals.admissions() >= self.config.nodes_max;
        let Some(stream) = self.connections.get_mut(&connection) else { return };
        if full {
            // The stream stays, silent, until its node ends: closed, it would only come back.
            stream.phase = ConnectionPhase::Opened;
            self.counters.dropped.add(DropReason::Busy);
            let message = ToAgent::Refused { message: self.no_room_for(node) };
            cx.out.push(Effect::SendToAgent { connection, message });
            return;
        }
        if let ConnectionPhase::Admitting(report) = &mut stream.phase {
            report.admission_asked = true;
            let command = Command::AdmitAgent { node };
            self.propose(cx, command, Purpose::AdmitAgent { connection }, Caller::Nobody);
        }
    }

    fn no_room_for(&self, node: NodeId) -> String {
        let nodes_max = self.config.nodes_max;
        let lost = self.agents.values().filter(|agent| agent.link == Link::Unreachable).count();
        let remedy = if lost > 0 {
            format!(
                "{lost} of them cannot be reached: declare those that will not come back gone with `meshos gone NODE --yes`"
            )
        } else {
            "declare a node that is not needed gone with `meshos gone NODE --yes`, or start another cluster".to_owned()
        };
        format!(
            "node {node} is refused: the cluster has reached its limit of {nodes_max} nodes; {remedy}"
        )
    }

    /// The agent quotes an id that has ended: it must register anew.
    fn refuse_gone(&mut self, cx: &mut Cx<'_>, connection: ConnectionId, claimed: AgentId) {
        if let Some(stream) = self.connections.get_mut(&connection) {
            stream.phase = ConnectionPhase::Opened;
        }
        let leave = self.is_to_leave(claimed);
        let message = if leave {
            DRAINED_AND_GONE.to_owned()
        } else {
            format!("agent {claimed} is gone or unknown: register without an id")
        };
        let message = ToAgent::Gone { message, leave };
        cx.out.push(Effect::SendToAgent { connection, message });
    }

    /// Wishes for a change of an agent's state. What happens to the agent waits for it.
    pub(super) fn propose_agent_state(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        state: AgentState,
        in_flight: InFlight,
        caller: Caller,
    ) {
        let command = Command::SetAgentState { agent, state };
        self.propose_of_agent(cx, agent, command, in_flight, caller);
    }

    /// Wishes for a change of one agent, which waits for it.
    pub(super) fn propose_of_agent(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        command: Command,
        in_flight: InFlight,
        caller: Caller,
    ) {
        self.propose(cx, command, Purpose::AgentState { agent }, caller);
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.in_flight = Some(in_flight);
        }
    }

    /// A change of an agent's state has come back, done or refused.
    pub(super) fn agent_state_concluded(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        if let Some(entry) = self.agents.get_mut(&agent) {
            entry.in_flight = None;
            if matches!(entry.link, Link::Awaited { .. } | Link::Lost { .. })
                && !self.timers.is_set(Timer::AgentLost(agent))
            {
                self.arm_agent_timer(agent);
            }
        }
        self.conclude_drain(cx, agent);
        self.advance_node(cx, agent.node);
    }

    fn advance_node(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        if let Some(connection) = self.nodes.get(&node).copied() {
            self.advance_admission(cx, connection);
        }
    }

    /// The registry has admitted an agent, now or before.
    pub(super) fn agent_admitted(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        if !self.agents.contains_key(&agent) {
            self.counters.agents_admitted += 1;
            self.await_agent(cx.now, agent);
        }
        self.advance_node(cx, agent.node);
    }

    /// An admission has come back.
    pub(super) fn admission_concluded(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        refused: Option<&str>,
    ) {
        if let Some(stream) = self.connections.get_mut(&connection)
            && let ConnectionPhase::Admitting(report) = &mut stream.phase
        {
            report.admission_asked = false;
            match refused {
                Some(why) => self.close_connection(cx, connection, why),
                None => self.advance_admission(cx, connection),
            }
        }
    }

    /// An agent is on record as active again.
    pub(super) fn agent_active(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        self.pictures.agent_changed(agent);
        let Some(entry) = self.agents.get_mut(&agent) else { return };
        if entry.link == Link::Unreachable {
            entry.link = Link::Awaited { since: cx.now.mono };
            self.awaited.insert(agent);
            self.arm_agent_timer(agent);
        } else if entry.link.is_in_ledger() {
            self.offer_as_held(cx, agent);
        }
    }

    /// Everything is known and on record: the agent takes part from now on.
    fn register_agent(&mut self, cx: &mut Cx<'_>, connection: ConnectionId, agent: AgentId) {
        let Some(stream) = self.connections.get_mut(&connection) else { return };
        let phase = std::mem::replace(&mut stream.phase, ConnectionPhase::Registered { agent });
        let ConnectionPhase::Admitting(report) = phase else {
            stream.phase = phase;
            return;
        };
        self.counters.agents_registered += 1;
        self.timers.clear(Timer::AgentLost(agent));
        let draining = !self.registry.takes_tasks(agent);
        let message = ToAgent::Registered { agent, draining };
        cx.out.push(Effect::SendToAgent { connection, message });
        self.adopt(cx, connection, agent, *report);
    }
}
