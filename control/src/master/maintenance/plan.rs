//! What operators plan, begin and end.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, NodeId, RequestId},
    messages::scheduler::CallError,
    task::KILL_GRACE_MAX_MS,
};

use crate::{
    master::{
        agents::InFlight,
        calls::{busy, invalid},
        proposals::{Caller, Purpose},
        state::{Core, Cx},
    },
    registry::{AgentState, Command, Hold, Planned},
};

/// What is planned for nodes; absent: nothing any more.
type Plan = BTreeMap<NodeId, Option<Planned>>;
/// At what agents are to be held; absent: at nothing any more.
type Holds = Vec<(AgentId, Option<Hold>)>;
/// Both, which belong together.
type Judged = Result<(Holds, Plan), CallError>;

impl Core {
    /// Says when nodes will be away, for some or for all.
    pub(in crate::master) fn plan_maintenance(
        &mut self,
        cx: &mut Cx<'_>,
        nodes: Plan,
        replace: bool,
        caller: Caller,
    ) {
        match self.judge_plan(nodes, replace) {
            Ok(Some(command)) => self.propose_plan(cx, command, caller),
            Ok(None) => self.answer(cx, caller, Ok(())),
            Err(error) => self.answer(cx, caller, Err(error)),
        }
    }

    /// The change of the registry; nothing when all is so already.
    fn judge_plan(&self, mut nodes: Plan, replace: bool) -> Result<Option<Command>, CallError> {
        self.may_plan()?;
        for (node, planned) in &mut nodes {
            let before = self.registry.planned(*node);
            if let Some(planned) = planned {
                if before.is_none() {
                    self.agent_of(*node)?;
                }
                planned.begun = before.and_then(|before| before.begun);
            }
        }
        let after = self.registry.planned_with(&nodes, replace).map_err(invalid)?;
        let mut begun = self.registry.maintenance().filter(|(_, planned)| planned.begun.is_some());
        if let Some((node, _)) = begun.find(|(node, _)| !after.contains_key(node)) {
            return Err(in_maintenance(node));
        }
        if self.registry.maintenance().eq(after.iter().map(|(node, planned)| (*node, planned))) {
            return Ok(None);
        }
        let command = Command::SetMaintenance { nodes, replace };
        self.may_record(&command)?;
        Ok(Some(command))
    }

    /// Begins maintenance of nodes that are in windows: nothing more of them is offered, and their tasks are ended where a
    /// grace period is given.
    pub(in crate::master) fn start_maintenance(
        &mut self,
        cx: &mut Cx<'_>,
        nodes: &BTreeMap<NodeId, Option<u64>>,
        request: RequestId,
    ) {
        let judged = self.may_plan().and_then(|()| self.judge_start(cx, nodes));
        self.propose_together(cx, judged, request);
    }

    fn judge_start(&self, cx: &Cx<'_>, nodes: &BTreeMap<NodeId, Option<u64>>) -> Judged {
        let (mut holds, mut plan) = (Holds::new(), Plan::new());
        for (node, grace_max_ms) in nodes {
            let planned = self.planned_for(*node)?;
            let agent = self.agent_of(*node)?;
            self.may_change_agent(agent)?;
            let held = self.registry.hold(agent);
            if matches!(held, Some(Hold::Drain { mark_gone: true, .. })) {
                return Err(invalid(format!(
                    "node {node} is drained to be given up, and one that is given up does not come back from \
                     maintenance: `meshos undrain {node}` first, or leave it out"
                )));
            }
            let hold = match (held, grace_max_ms) {
                (Some(Hold::Drain { grace_max_ms: as_before, .. }), Some(grace_max_ms))
                    if as_before == (*grace_max_ms).min(KILL_GRACE_MAX_MS) =>
                {
                    None
                }
                (_, Some(grace_max_ms)) => Some(Hold::Drain {
                    grace_max_ms: (*grace_max_ms).min(KILL_GRACE_MAX_MS),
                    mark_gone: false,
                    since: cx.now.wall,
                }),
                // It is offered no more already.
                (Some(Hold::Drain { .. } | Hold::Deactivated), None) => None,
                (Some(Hold::Unknown) | None, None) => Some(Hold::Deactivated),
            };
            holds.extend(hold.map(|hold| (agent, Some(hold))));
            if planned.begun.is_none() {
                plan.insert(*node, Some(Planned { begun: Some(cx.now.wall), ..planned.clone() }));
            }
        }
        Ok((holds, plan))
    }

    /// Ends maintenance: the nodes are offered again, and are in no window any more.
    pub(in crate::master) fn stop_maintenance(
        &mut self,
        cx: &mut Cx<'_>,
        nodes: &BTreeSet<NodeId>,
        request: RequestId,
    ) {
        let judged = self.may_plan().and_then(|()| self.judge_stop(nodes));
        self.propose_together(cx, judged, request);
    }

    fn judge_stop(&self, nodes: &BTreeSet<NodeId>) -> Judged {
        let (mut holds, mut plan) = (Holds::new(), Plan::new());
        for node in nodes {
            if self.planned_for(*node)?.begun.is_none() {
                return Err(invalid(format!(
                    "node {node} is not in maintenance: `meshos maintenance start {node}` begins it, and `meshos maintenance clear {node}` takes the node out of its window"
                )));
            }
            plan.insert(*node, None);
            let Some((agent, state)) = self.registry.newest_agent_of(*node) else { continue };
            let drains = match state {
                AgentState::Draining | AgentState::Unreachable { draining: true, .. } => true,
                AgentState::Active
                | AgentState::Unreachable { draining: false, .. }
                | AgentState::Gone { .. }
                | AgentState::Unknown => false,
            };
            if drains || self.registry.hold(agent).is_some() {
                self.may_change_agent(agent)?;
                holds.push((agent, None));
            }
        }
        Ok((holds, plan))
    }

    /// Proposes holds and a change of the plan, of which the operator hears when the last of them is concluded.
    fn propose_together(&mut self, cx: &mut Cx<'_>, judged: Judged, request: RequestId) {
        let caller = Caller::Operator { request };
        let judged = judged.and_then(|(holds, nodes)| {
            let plan = Command::SetMaintenance { nodes, replace: false };
            let hold = |(agent, hold): &(AgentId, Option<Hold>)| {
                self.may_record(&Command::SetHold { agent: *agent, hold: *hold })
            };
            self.may_record(&plan)?;
            holds.iter().try_for_each(hold)?;
            Ok((holds, plan))
        });
        let (holds, plan) = match judged {
            Ok(judged) => judged,
            Err(error) => return self.answer(cx, caller, Err(error)),
        };
        let changes_plan =
            matches!(&plan, Command::SetMaintenance { nodes, .. } if !nodes.is_empty());
        let changes = holds.len() + usize::from(changes_plan);
        if let Err(error) = self.begin_together(request, changes) {
            return self.answer(cx, caller, Err(error));
        }
        if changes == 0 {
            return self.answer(cx, caller, Ok(()));
        }
        for (agent, hold) in holds {
            let command = Command::SetHold { agent, hold };
            self.propose_of_agent(cx, agent, command, InFlight::Held, caller);
        }
        if changes_plan {
            self.propose_plan(cx, plan, caller);
        }
    }

    fn propose_plan(&mut self, cx: &mut Cx<'_>, command: Command, caller: Caller) {
        self.inverse.in_flight = true;
        self.propose(cx, command, Purpose::Maintenance, caller);
    }

    /// A change of the plan has come back.
    pub(in crate::master) fn plan_concluded(&mut self) {
        self.inverse.in_flight = false;
    }

    /// Each change starts from what is on record, so there is one at a time.
    fn may_plan(&self) -> Result<(), CallError> {
        if self.inverse.in_flight {
            return Err(busy("another change of the maintenance windows is on its way, try again"));
        }
        Ok(())
    }

    fn planned_for(&self, node: NodeId) -> Result<&Planned, CallError> {
        self.registry.planned(node).ok_or_else(|| {
            invalid(format!(
                "node {node} is in no maintenance window: `meshos maintenance set {node} --start TIME` puts it into one"
            ))
        })
    }

    fn agent_of(&self, node: NodeId) -> Result<AgentId, CallError> {
        match self.registry.newest_agent_of(node) {
            Some((_, AgentState::Gone { .. })) => Err(invalid(format!("node {node} is gone"))),
            Some((agent, _)) => Ok(agent),
            None => Err(invalid(format!("node {node} is not on record"))),
        }
    }

    /// Who is in maintenance is offered again when that ends, and not otherwise.
    pub(in crate::master) fn may_be_offered_again(&self, agent: AgentId) -> Result<(), CallError> {
        match self.registry.planned(agent.node) {
            Some(planned) if planned.begun.is_some() => Err(in_maintenance(agent.node)),
            Some(_) | None => Ok(()),
        }
    }
}

fn in_maintenance(node: NodeId) -> CallError {
    invalid(format!(
        "node {node} is in maintenance: `meshos maintenance stop {node}` ends that, and has the node offered again"
    ))
}
