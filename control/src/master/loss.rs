//! How agents go: lost streams, unreachable, draining, gone.

use std::time::Duration;

use meshos_protocol::{
    ids::{AgentId, NodeId},
    messages::{agent::ToAgent, scheduler::Event as FrameworkEvent},
    task::{Reason, TaskState},
    time::Mono,
};

use super::{
    ConnectionId, Effect,
    agents::{ConnectionPhase, InFlight, Link},
    proposals::Caller,
    registration::DRAINED_AND_GONE,
    state::{Core, Cx},
    timers::Timer,
    updates::Told,
};
use crate::registry::AgentState;

impl Core {
    pub(super) fn agent_disconnected(&mut self, cx: &mut Cx<'_>, connection: ConnectionId) {
        let Some(stream) = self.connections.remove(&connection) else { return };
        if self.nodes.get(&stream.node) == Some(&connection) {
            self.nodes.remove(&stream.node);
        }
        let ConnectionPhase::Registered { agent } = stream.phase else { return };
        let Some(entry) = self.agents.get_mut(&agent) else { return };
        entry.link = Link::Lost { since: cx.now.mono };
        self.counters.agents_disconnected += 1;
        self.pictures.agent_changed(agent);
        self.allocator.set_agent_active(agent, false);
        self.rescind_of_agent(cx, agent);
        self.operators_wait_no_more(cx, agent);
        self.arm_agent_timer(agent);
        self.history_concluded(cx, agent);
    }

    /// The agent says that its node is being stopped: its loss need not be waited for long.
    pub(super) fn on_leaving(&mut self, connection: ConnectionId) {
        if let Some(stream) = self.connections.get(&connection)
            && matches!(stream.phase, ConnectionPhase::Registered { .. })
        {
            self.nodes_leaving.insert(stream.node);
        }
    }

    pub(super) fn peer_down(&mut self, node: NodeId) {
        let known = self.registry.newest_agent_of(node).is_some();
        let room = self.nodes_down.len() < self.config.limits.strangers_down_max;
        if (known || room) && self.nodes_down.insert(node) {
            self.rearm_agent_timer(node);
        }
    }

    pub(super) fn peer_up(&mut self, node: NodeId) {
        if self.nodes_down.remove(&node) {
            self.rearm_agent_timer(node);
        }
        self.heard_again(node);
    }

    /// Gossip says no more of a node. It stays dead for the agent that is waited for.
    pub(super) fn peer_forgotten(&mut self, node: NodeId) {
        let newest = self.registry.newest_agent_of(node).map(|(agent, _)| agent);
        if newest.is_none_or(|agent| !self.agents.contains_key(&agent)) {
            self.nodes_down.remove(&node);
        }
    }

    /// A node that was being stopped is heard of: it has started again.
    pub(super) fn heard_again(&mut self, node: NodeId) {
        if self.nodes_leaving.remove(&node) {
            self.rearm_agent_timer(node);
        }
    }

    fn rearm_agent_timer(&mut self, node: NodeId) {
        if let Some((agent, _)) = self.registry.newest_agent_of(node)
            && self.timers.is_set(Timer::AgentLost(agent))
        {
            self.arm_agent_timer(agent);
        }
    }

    /// Sets when an agent without a stream counts as unreachable.
    pub(super) fn arm_agent_timer(&mut self, agent: AgentId) {
        let Some(since) = self.away_since(agent) else { return };
        let node = agent.node;
        let hurry = self.nodes_down.contains(&node) || self.nodes_leaving.contains(&node);
        let timeout: Duration = if hurry {
            self.config.agent_timeout_dead.min(self.config.agent_timeout)
        } else {
            self.config.agent_timeout
        };
        self.timers.set(Timer::AgentLost(agent), since.after(timeout));
    }

    /// Since when an agent that is expected to be there has had no stream.
    fn away_since(&self, agent: AgentId) -> Option<Mono> {
        match self.agents.get(&agent)?.link {
            Link::Awaited { since } | Link::Lost { since } => Some(since),
            Link::Online { .. } | Link::Unreachable => None,
        }
    }

    /// An agent has been without a stream for too long.
    pub(super) fn agent_timed_out(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let away = self.away_since(agent).is_some();
        let changing = self.agents.get(&agent).is_none_or(|entry| entry.in_flight.is_some());
        if !away || changing {
            return;
        }
        let draining = self.registry.agent(agent) == Some(AgentState::Draining);
        let state = AgentState::Unreachable { since: cx.now.wall, draining };
        self.propose_agent_state(cx, agent, state, InFlight::Unreachable, Caller::Nobody);
    }

    /// An agent is on record as unreachable.
    pub(super) fn agent_unreachable(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let Some(entry) = self.agents.get_mut(&agent) else { return };
        let connection = entry.link.connection();
        entry.link = Link::Unreachable;
        self.counters.agents_unreachable += 1;
        if let Some(connection) = connection {
            // An earlier leader's word, applied late: the agent registers again and is taken back.
            self.close_connection(cx, connection, "it is on record as unreachable");
            if let Some(entry) = self.agents.get_mut(&agent) {
                entry.link = Link::Unreachable;
            }
        }
        self.timers.clear(Timer::AgentLost(agent));
        self.awaited.remove(&agent);
        self.nodes_leaving.remove(&agent.node);
        self.pictures.agent_changed(agent);
        self.rescind_of_agent(cx, agent);
        self.allocator.remove_agent(agent);
        self.drop_executors_of(agent);
        for key in self.tasks.of_agent(agent) {
            let ended = self.tasks.get(&key).is_some_and(|task| task.state.is_terminal());
            if ended {
                continue;
            }
            let told = Told {
                reason: Some(Reason::AgentUnreachable),
                ..Told::state(
                    TaskState::Unreachable,
                    "the agent has not been heard of for too long",
                )
            };
            if self.registry.framework(key.framework).is_some() {
                self.move_by_master(cx, &key, told);
            } else {
                self.drop_ended_framework_task(cx, &key, told);
            }
        }
        self.operations_lost(cx, agent, false);
        self.agent_will_not_report(cx, agent, TaskState::Unreachable, Reason::AgentUnreachable);
        self.tell_all_frameworks(cx, &FrameworkEvent::AgentLost { agent });
    }

    /// An agent is on record as draining: it keeps its tasks and is offered no more.
    pub(super) fn agent_draining(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        self.pictures.agent_changed(agent);
        self.allocator.set_agent_active(agent, false);
        self.rescind_of_agent(cx, agent);
        self.tell_agent(cx, agent, ToAgent::Drain { draining: true });
        if let Some(entry) = self.agents.get_mut(&agent)
            && entry.link == Link::Unreachable
        {
            entry.link = Link::Awaited { since: cx.now.mono };
            self.awaited.insert(agent);
            self.arm_agent_timer(agent);
        }
    }

    /// An agent is on record as gone: its id has ended, and its tasks with it.
    pub(super) fn agent_gone(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        self.rescind_of_agent(cx, agent);
        let Some(entry) = self.agents.remove(&agent) else { return };
        self.awaited.remove(&agent);
        self.pictures.agent_gone(agent, entry.slot);
        self.timers.clear(Timer::AgentLost(agent));
        self.history_concluded(cx, agent);
        self.nodes_leaving.remove(&agent.node);
        self.allocator.remove_agent(agent);
        self.drop_executors_of(agent);
        if let Some(connection) = entry.link.connection() {
            if let Some(stream) = self.connections.get_mut(&connection) {
                stream.phase = ConnectionPhase::Opened;
            }
            let leave = self.is_to_leave(agent);
            let message = match leave {
                true => DRAINED_AND_GONE,
                false => "an operator declared the agent gone: end its tasks, register anew",
            };
            let message = ToAgent::Gone { message: message.to_owned(), leave };
            cx.out.push(Effect::SendToAgent { connection, message });
        }
        for key in self.tasks.of_agent(agent) {
            let told = Told {
                reason: Some(Reason::AgentGone),
                ..Told::state(TaskState::GoneByOperator, "an operator declared the agent gone")
            };
            self.end_by_master(cx, &key, told);
        }
        self.operations_lost(cx, agent, true);
        self.agent_will_not_report(cx, agent, TaskState::GoneByOperator, Reason::AgentGone);
        self.tell_all_frameworks(cx, &FrameworkEvent::AgentLost { agent });
    }
}
