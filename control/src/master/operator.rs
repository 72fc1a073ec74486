//! What operators ask of the master.

use std::collections::BTreeMap;

use meshos_alloc::Quota;
use meshos_protocol::{
    ids::{AgentId, FrameworkId, RequestId, TaskId},
    messages::scheduler::CallError,
    role::Role,
    task::KILL_GRACE_MAX_MS,
};

use super::{
    OperatorCall,
    agents::InFlight,
    calls::{busy, invalid},
    proposals::Caller,
    state::{Core, Cx},
};
use crate::registry::{AgentState, Command};

/// The highest weight, in thousandths: shares stay exact far beyond it.
pub const WEIGHT_MILLIS_MAX: u64 = 1_000_000_000;
/// How many changes of the registry one call may ask for: few beside those that may be on their way.
const TOGETHER_MAX: usize = 1_000;

/// Changes of the registry that an operator asked for in one call.
#[derive(Debug)]
pub(super) struct Together {
    /// How many are not concluded.
    left: usize,
    /// Why one of them was refused.
    refused: Option<CallError>,
}

fn check_count(changes: usize) -> Result<(), CallError> {
    if changes <= TOGETHER_MAX {
        return Ok(());
    }
    Err(invalid(format!(
        "{changes} changes at once are asked for, at most {TOGETHER_MAX} are made: ask several times"
    )))
}

impl Core {
    pub(super) fn on_operator(&mut self, cx: &mut Cx<'_>, request: RequestId, call: OperatorCall) {
        let caller = Caller::Operator { request };
        if let Err(error) = self.may_propose() {
            self.answer(cx, caller, Err(error));
            return;
        }
        match call {
            OperatorCall::KillTask { framework, task } => {
                let result = self.kill_by_operator(cx, framework, &task);
                self.answer(cx, caller, result);
            }
            OperatorCall::Teardown { framework } => {
                if self.registry.framework(framework).is_some() {
                    self.close_framework(cx, framework, "an operator tore it down", caller);
                } else {
                    let error =
                        invalid(format!("framework {framework} does not exist or has ended"));
                    self.answer(cx, caller, Err(error));
                }
            }
            OperatorCall::MarkAgentGone { agent } => self.mark_agent_gone(cx, agent, caller),
            OperatorCall::SetDraining { agent, draining } => {
                self.set_draining(cx, agent, draining, caller);
            }
            OperatorCall::Drain { agent, grace_max_ms, mark_gone } => {
                let grace_max_ms = grace_max_ms.min(KILL_GRACE_MAX_MS);
                self.drain_agent(cx, agent, (grace_max_ms, mark_gone), caller);
            }
            OperatorCall::Deactivate { agent } => self.deactivate_agent(cx, agent, caller),
            OperatorCall::Reactivate { agent } => self.reactivate_agent(cx, agent, caller),
            OperatorCall::Operate { agent, operation } => {
                self.operate_by_operator(cx, agent, operation, caller);
            }
            OperatorCall::SetWeight { role, weight_millis } => {
                self.set_weights(cx, &[(role, weight_millis)].into(), request);
            }
            OperatorCall::SetWeights { weights } => self.set_weights(cx, &weights, request),
            OperatorCall::SetPriority { role, priority } => {
                self.record(cx, Command::SetPriority { role, priority }, caller);
            }
            OperatorCall::SetQuota { role, quota, force } => {
                self.set_quotas(cx, [(role, quota)].into(), force, request);
            }
            OperatorCall::SetQuotas { quotas, force } => {
                self.set_quotas(cx, quotas, force, request);
            }
            OperatorCall::PlanMaintenance { nodes, replace } => {
                self.plan_maintenance(cx, nodes, replace, caller);
            }
            OperatorCall::StartMaintenance { nodes } => {
                self.start_maintenance(cx, &nodes, request);
            }
            OperatorCall::StopMaintenance { nodes } => self.stop_maintenance(cx, &nodes, request),
            OperatorCall::SetPolicy { policy } => {
                self.record(cx, Command::SetPolicy { policy: policy.to_string() }, caller);
            }
        }
    }

    fn set_weights(&mut self, cx: &mut Cx<'_>, weights: &BTreeMap<Role, u64>, request: RequestId) {
        let wrong = weights.iter().find(|(_, millis)| !(1..=WEIGHT_MILLIS_MAX).contains(*millis));
        if let Some((role, _)) = wrong {
            let error = invalid(format!(
                "the weight of role {role} must be from 0.001 to {}",
                WEIGHT_MILLIS_MAX / 1_000
            ));
            return self.answer(cx, Caller::Operator { request }, Err(error));
        }
        let command = |(role, millis): (&Role, &u64)| Command::SetWeight {
            role: role.clone(),
            weight_millis: *millis,
        };
        self.record_together(cx, weights.iter().map(command).collect(), request);
    }

    fn set_quotas(
        &mut self,
        cx: &mut Cx<'_>,
        quotas: BTreeMap<Role, Quota>,
        force: bool,
        request: RequestId,
    ) {
        let checked = check_count(quotas.len()).and_then(|()| match force {
            true => Ok(()),
            false => self.allocator.check_quotas(&quotas).map_err(|why| invalid(why.to_string())),
        });
        if let Err(error) = checked {
            return self.answer(cx, Caller::Operator { request }, Err(error));
        }
        let command = |(role, quota)| Command::SetQuota { role, quota };
        self.record_together(cx, quotas.into_iter().map(command).collect(), request);
    }

    /// Wishes for several changes of the registry, of which the operator hears when the last of them is
    /// concluded. Nothing is proposed when one of them may not be.
    fn record_together(&mut self, cx: &mut Cx<'_>, commands: Vec<Command>, request: RequestId) {
        let caller = Caller::Operator { request };
        let refused = commands.iter().find_map(|command| self.may_record(command).err());
        let begun = refused.map_or_else(|| self.begin_together(request, commands.len()), Err);
        if let Err(error) = begun {
            return self.answer(cx, caller, Err(error));
        }
        if commands.is_empty() {
            return self.answer(cx, caller, Ok(()));
        }
        for command in commands {
            self.record(cx, command, caller);
        }
    }

    /// So many changes are about to be asked for, of which the operator hears together.
    pub(super) fn begin_together(
        &mut self,
        request: RequestId,
        changes: usize,
    ) -> Result<(), CallError> {
        check_count(changes)?;
        if changes > 1 {
            self.together.insert(request, Together { left: changes, refused: None });
        }
        Ok(())
    }

    /// What an operator is told once this is known too; nothing as long as more of its changes are on
    /// their way. The first refusal is what counts.
    pub(super) fn told_together(
        &mut self,
        request: RequestId,
        result: Result<(), CallError>,
    ) -> Option<Result<(), CallError>> {
        let Some(together) = self.together.get_mut(&request) else { return Some(result) };
        together.left -= 1;
        if together.refused.is_none() {
            together.refused = result.err();
        }
        if together.left > 0 {
            return None;
        }
        let together = self.together.remove(&request)?;
        Some(together.refused.map_or(Ok(()), Err))
    }

    fn kill_by_operator(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        task: &TaskId,
    ) -> Result<(), CallError> {
        let known = self.tasks.find(framework, task, None).map(|(key, _)| key.clone());
        match known {
            Some(key) if self.kill(cx, &key, None) => Ok(()),
            Some(_) => Err(invalid(format!("task {task} of framework {framework} is over"))),
            None => Err(invalid(format!("framework {framework} has no task {task}"))),
        }
    }

    fn mark_agent_gone(&mut self, cx: &mut Cx<'_>, agent: AgentId, caller: Caller) {
        if let Err(error) = self.may_change_agent(agent) {
            self.answer(cx, caller, Err(error));
            return;
        }
        if self.is_connected(agent) {
            let node = agent.node;
            let error = invalid(format!(
                "node {node} is connected, and would come back at once under another agent id: to empty it, `meshos drain {node}`; to give it up, stop it first, or drain it with --grace and --mark-gone"
            ));
            self.answer(cx, caller, Err(error));
            return;
        }
        let state = AgentState::Gone { at: cx.now.wall };
        self.propose_agent_state(cx, agent, state, InFlight::Gone, caller);
    }

    pub(super) fn set_draining(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        draining: bool,
        caller: Caller,
    ) {
        let current = match self.may_change_agent(agent) {
            Ok(current) => current,
            Err(error) => {
                self.answer(cx, caller, Err(error));
                return;
            }
        };
        let begun = self.may_be_offered_again(agent).err().filter(|_| !draining);
        if let Some(error) = begun.or_else(|| self.hold_against(agent, draining)) {
            self.answer(cx, caller, Err(error));
            return;
        }
        match (current, draining) {
            (_, false) if self.registry.hold(agent).is_some() => {
                self.propose_hold(cx, agent, None, caller);
            }
            (AgentState::Active, true) => {
                self.propose_agent_state(
                    cx,
                    agent,
                    AgentState::Draining,
                    InFlight::Draining,
                    caller,
                );
            }
            (AgentState::Draining, false) => {
                self.propose_agent_state(cx, agent, AgentState::Active, InFlight::Active, caller);
            }
            (AgentState::Active, false) | (AgentState::Draining, true) => {
                self.answer(cx, caller, Ok(()));
            }
            (AgentState::Unreachable { .. } | AgentState::Gone { .. } | AgentState::Unknown, _) => {
                let error = invalid(format!(
                    "agent {agent} cannot be reached and is offered nothing: try again when it is back, or declare it gone"
                ));
                self.answer(cx, caller, Err(error));
            }
        }
    }

    /// Whether the agent has a stream here, registered or about to be.
    fn is_connected(&self, agent: AgentId) -> bool {
        let registered =
            self.agents.get(&agent).is_some_and(|entry| entry.link.connection().is_some());
        registered || self.nodes.contains_key(&agent.node)
    }

    /// The state on record of an agent whose state may be changed.
    pub(super) fn may_change_agent(&self, agent: AgentId) -> Result<AgentState, CallError> {
        let changing = self.agents.get(&agent).is_some_and(|agent| agent.in_flight.is_some());
        match self.registry.agent(agent) {
            None => Err(invalid(format!("agent {agent} is not on record"))),
            Some(AgentState::Gone { .. }) => Err(invalid(format!("agent {agent} is gone already"))),
            Some(_) if changing => {
                Err(busy(format!("agent {agent} is changing its state, try again")))
            }
            Some(state) => Ok(state),
        }
    }
}
