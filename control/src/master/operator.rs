//! What operators ask of the master.

use meshos_protocol::ids::{AgentId, FrameworkId, RequestId, TaskId};
use meshos_protocol::messages::scheduler::CallError;

use super::{
    OperatorCall,
    agents::InFlight,
    calls::{busy, invalid},
    proposals::{Caller, Purpose},
    state::{Core, Cx},
};
use crate::registry::{AgentState, Command};

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
            OperatorCall::SetWeight { role, weight_millis: 0 } => {
                let error = invalid(format!("the weight of role {role} must be above 0"));
                self.answer(cx, caller, Err(error));
            }
            OperatorCall::SetWeight { role, weight_millis } => {
                let command = Command::SetWeight { role, weight_millis };
                self.propose(cx, command, Purpose::Records, caller);
            }
        }
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
        let changing = self.agents.get(&agent).is_some_and(|agent| agent.in_flight.is_some());
        let error = match self.registry.agent(agent) {
            None => Some(invalid(format!("agent {agent} is not on record"))),
            Some(AgentState::Gone { .. }) => {
                Some(invalid(format!("agent {agent} is gone already")))
            }
            Some(_) if changing => {
                Some(busy(format!("agent {agent} is changing its state, try again")))
            }
            Some(_) => None,
        };
        if let Some(error) = error {
            self.answer(cx, caller, Err(error));
            return;
        }
        let state = AgentState::Gone { at: cx.now.wall };
        self.propose_agent_state(cx, agent, state, InFlight::Gone, caller);
    }
}
