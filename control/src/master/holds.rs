//! Agents that operators hold: deactivated, or drained until they have no task any more.
//!
//! A hold is on record, so whoever leads goes on with it: each time an agent reports, all its tasks
//! are asked for their end once more, which can only come earlier by that. What was launched before
//! the hold is known here or reported, and so ends like the rest; nothing is launched after it.

use meshos_protocol::{
    ids::{AgentId, NodeId},
    messages::{agent::ToAgent, scheduler::CallError},
    task::DrainKill,
};

use super::{
    DrainView, NodeState,
    agents::{InFlight, Link},
    calls::{busy, invalid},
    proposals::Caller,
    state::{Core, Cx},
    tasks::TaskKey,
};
use crate::registry::{AgentState, Command, Hold};

impl Core {
    /// Wishes for a change of what an agent is held at.
    pub(super) fn propose_hold(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        hold: Option<Hold>,
        caller: Caller,
    ) {
        let command = Command::SetHold { agent, hold };
        if let Err(error) = self.may_record(&command) {
            self.answer(cx, caller, Err(error));
            return;
        }
        self.propose_of_agent(cx, agent, command, InFlight::Held, caller);
    }

    pub(super) fn drain_agent(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        (grace_max_ms, mark_gone): (u64, bool),
        caller: Caller,
    ) {
        if let Err(error) = self.may_change_agent(agent) {
            self.answer(cx, caller, Err(error));
            return;
        }
        let refusal = match self.releases.is_member(agent.node) {
            Some(true) => Some(no_voter_leaves(agent.node)),
            None => Some(busy("it is just being found out which nodes vote: try again")),
            Some(false) => None,
        };
        if let Some(error) = refusal.filter(|_| mark_gone) {
            self.answer(cx, caller, Err(error));
            return;
        }
        match self.registry.hold(agent) {
            Some(Hold::Drain { grace_max_ms: grace, mark_gone: gone, .. })
                if (grace, gone) == (grace_max_ms, mark_gone) =>
            {
                self.answer(cx, caller, Ok(()));
            }
            Some(Hold::Drain { .. } | Hold::Deactivated | Hold::Unknown) | None => {
                let hold = Hold::Drain { grace_max_ms, mark_gone, since: cx.now.wall };
                self.propose_hold(cx, agent, Some(hold), caller);
            }
        }
    }

    pub(super) fn deactivate_agent(&mut self, cx: &mut Cx<'_>, agent: AgentId, caller: Caller) {
        let allowed = self.may_change_agent(agent);
        match (allowed, self.registry.hold(agent)) {
            (Err(error), _) => self.answer(cx, caller, Err(error)),
            (Ok(_), Some(Hold::Deactivated)) => self.answer(cx, caller, Ok(())),
            (Ok(_), Some(Hold::Drain { .. })) => {
                self.answer(cx, caller, Err(drains_already(agent.node)));
            }
            (Ok(_), Some(Hold::Unknown) | None) => {
                self.propose_hold(cx, agent, Some(Hold::Deactivated), caller);
            }
        }
    }

    /// Whatever an operator has kept it from: the agent is offered again.
    pub(super) fn reactivate_agent(&mut self, cx: &mut Cx<'_>, agent: AgentId, caller: Caller) {
        let allowed = self.may_change_agent(agent).and_then(|_| self.may_be_offered_again(agent));
        match (allowed, self.registry.hold(agent)) {
            (Err(error), _) => self.answer(cx, caller, Err(error)),
            (Ok(_), Some(_)) => self.propose_hold(cx, agent, None, caller),
            (Ok(_), None) => self.set_draining(cx, agent, false, caller),
        }
    }

    /// What stands in the way of a drain that leaves the tasks alone, or of its end, if an operator
    /// holds the agent. None when the agent is held at what the caller wants to end.
    pub(super) fn hold_against(&self, agent: AgentId, draining: bool) -> Option<CallError> {
        let node = agent.node;
        match (self.registry.hold(agent)?, draining) {
            (Hold::Drain { .. }, false) => None,
            (Hold::Drain { .. }, true) => Some(drains_already(node)),
            (Hold::Deactivated | Hold::Unknown, true) => Some(invalid(format!(
                "node {node} is deactivated: it is offered no more already, and its tasks go on; to end them, drain it with a grace period"
            ))),
            (Hold::Deactivated | Hold::Unknown, false) => Some(invalid(format!(
                "node {node} is deactivated, not drained: `meshos reactivate {node}` has it offered again"
            ))),
        }
    }

    /// At what an agent is held has changed.
    pub(super) fn hold_recorded(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        self.pictures.agent_changed(agent);
        if !self.registry.takes_tasks(agent) {
            self.rescind_of_agent(cx, agent);
        }
        self.offer_as_held(cx, agent);
        self.go_on_draining(cx, agent);
    }

    /// Has an agent offered again, or not, as it is held and online, and tells it.
    pub(super) fn offer_as_held(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let offered = self.registry.takes_tasks(agent);
        if self.agents.get(&agent).is_some_and(|entry| entry.link.is_in_ledger()) {
            self.allocator.set_agent_active(agent, offered && self.is_online(agent));
        }
        self.tell_agent(cx, agent, ToAgent::Drain { draining: !offered });
    }

    fn is_online(&self, agent: AgentId) -> bool {
        self.agents.get(&agent).is_some_and(|entry| matches!(entry.link, Link::Online { .. }))
    }

    /// How the tasks of an agent end, if an operator lets them.
    fn drain_of(&self, agent: AgentId) -> Option<DrainKill> {
        match self.registry.hold(agent)? {
            Hold::Drain { grace_max_ms, mark_gone, since: _ } => {
                Some(DrainKill { grace_max_ms, mark_gone })
            }
            Hold::Deactivated | Hold::Unknown => None,
        }
    }

    /// Asks for the end of all that is on an agent which is drained and there.
    pub(super) fn go_on_draining(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let Some(drain) = self.drain_of(agent) else { return };
        for key in self.tasks.of_agent(agent) {
            if self.tasks.get(&key).is_some_and(|task| !task.state.is_terminal()) {
                self.send_drain_kill(cx, &key, drain);
            }
        }
        self.tasks_of_agent_ended(cx, agent);
    }

    fn send_drain_kill(&mut self, cx: &mut Cx<'_>, key: &TaskKey, drain: DrainKill) {
        let message = ToAgent::Kill {
            framework: key.framework,
            task: key.task.clone(),
            // For agents whose release knows no drains.
            grace_ms: Some(drain.grace_max_ms),
            drain: Some(drain),
        };
        if self.tell_agent(cx, key.agent, message) {
            self.counters.kills += 1;
        }
    }

    /// The last live task of an agent has ended, or its last task was forgotten.
    pub(super) fn tasks_of_agent_ended(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let Some(drain) = self.drain_of(agent) else { return };
        self.pictures.agent_changed(agent);
        if self.tasks.live_of_agent(agent) == 0 {
            for (framework, executor) in self.executors.names_on(agent) {
                let grace_max_ms = Some(drain.grace_max_ms);
                let message = ToAgent::ShutdownExecutor { framework, executor, grace_max_ms };
                self.tell_agent(cx, agent, message);
            }
        }
        self.conclude_drain(cx, agent);
    }

    /// Declares an agent gone that was drained for that, once nothing is left of it and its node does not
    /// vote, whatever it did when the drain began.
    pub(super) fn conclude_drain(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let gone = self.drain_of(agent).is_some_and(|drain| drain.mark_gone);
        let changing = self.agents.get(&agent).is_none_or(|entry| entry.in_flight.is_some());
        let votes = self.releases.is_member(agent.node) != Some(false);
        if gone && !votes && !changing && self.is_online(agent) && self.is_empty(agent) {
            let state = AgentState::Gone { at: cx.now.wall };
            self.propose_agent_state(cx, agent, state, InFlight::Gone, Caller::Nobody);
        }
    }

    /// Whether an agent that has reported has nothing any more, and all ends were acknowledged.
    fn is_empty(&self, agent: AgentId) -> bool {
        self.agents.get(&agent).is_some_and(|entry| entry.reported)
            && self.tasks.count_of_agent(agent) == 0
            && self.executors.held_on(agent).next().is_none()
    }

    /// Whether a node that was declared gone is to end instead of coming back.
    pub(super) fn is_to_leave(&self, agent: AgentId) -> bool {
        self.drain_of(agent).is_some_and(|drain| drain.mark_gone)
    }

    /// How an agent is shown that is expected to be there, and held.
    pub(super) fn shown_held(&self, agent: AgentId) -> Option<NodeState> {
        Some(match self.registry.hold(agent)? {
            Hold::Deactivated | Hold::Unknown => NodeState::Deactivated,
            Hold::Drain { .. } if self.is_empty(agent) => NodeState::Drained,
            Hold::Drain { .. } => NodeState::Draining,
        })
    }

    /// How an agent is shown that drains without being asked for the end of its tasks.
    pub(super) fn shown_draining(&self, agent: AgentId) -> NodeState {
        let held = self.shown_held(agent);
        held.unwrap_or(if self.is_empty(agent) { NodeState::Drained } else { NodeState::Draining })
    }

    /// How far an agent is with its drain.
    pub(super) fn shown_drain(&self, agent: AgentId) -> Option<DrainView> {
        let Hold::Drain { grace_max_ms, mark_gone, since } = self.registry.hold(agent)? else {
            return None;
        };
        let live = self.tasks.live_of_agent(agent);
        Some(DrainView {
            grace_ms: grace_max_ms,
            mark_gone,
            since,
            tasks_left: live,
            ends_left: self.tasks.count_of_agent(agent).saturating_sub(live),
            executors_left: self.executors.held_on(agent).count(),
        })
    }
}

fn drains_already(node: NodeId) -> CallError {
    invalid(format!(
        "node {node} drains, and its tasks are being ended: `meshos undrain {node}` ends that"
    ))
}

fn no_voter_leaves(node: NodeId) -> CallError {
    invalid(format!(
        "node {node} is a voter, and would be missed: put another node in its place first (`meshos voters`), or drain it without --mark-gone"
    ))
}
