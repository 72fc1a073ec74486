//! Operations on their way to agents, and what frameworks are told of them.
//!
//! The agent is the authority of what is reserved on it and which volumes it has. The master
//! converts its ledger when it hands an operation on, so that launches and offers go on from there,
//! and keeps the operation until its agent has answered. What an agent registers with replaces what
//! was assumed; so does what it tells along with a failure.

mod table;
mod tally;

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{AgentId, FrameworkId, OperationId, OperationUuid},
    messages::{
        agent::{OPERATIONS_UNSETTLED_MAX, ToAgent},
        scheduler::{CallError, Event as FrameworkEvent, OPERATIONS_PER_CALL_MAX},
    },
    operation::{Operation, OperationQuery, OperationReport, OperationState, OperationStatus},
    resources::Resources,
};

use super::{
    ConnectionId, DropReason,
    calls::{busy, invalid},
    proposals::Caller,
    state::{Core, Cx},
};
use crate::registry::AgentState;

pub(super) use table::{InFlight, Operations};
pub use tally::{OperationEnd, OperationKind};

impl Core {
    /// Hands an operation, which the ledger has followed already, to its agent.
    pub(super) fn send_operation(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        entry: InFlight,
        operation: Operation,
    ) {
        let uuid = self.operations.mint(self.fence.term);
        let (framework, id) = (entry.framework, entry.id.clone());
        self.operations.insert(agent, uuid, entry);
        self.counters.operations += 1;
        self.note_total(agent);
        let operation = Box::new(operation);
        self.tell_agent(cx, agent, ToAgent::Operate { uuid, framework, id, operation });
    }

    /// Keeps what is shown of an agent in step with the ledger.
    fn note_total(&mut self, agent: AgentId) {
        let total = self.allocator.agent(agent).map(|ledger| ledger.total);
        let facts = self.agents.get_mut(&agent).and_then(|entry| entry.facts.as_mut());
        if let (Some(total), Some(facts)) = (total, facts) {
            std::sync::Arc::make_mut(facts).resources = total;
            self.pictures.agent_changed(agent);
        }
    }

    /// An agent tells what became of an operation.
    pub(super) fn on_operation(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        report: OperationReport,
        (resources, judged): (Resources, Option<OperationUuid>),
    ) {
        let Some(agent) = self.registered_over(connection) else { return };
        if self.operations.get(agent, report.uuid).is_none() {
            self.tell_agent(cx, agent, ToAgent::SettleOperation { uuid: report.uuid });
            return;
        }
        match report.state {
            OperationState::Finished => {}
            OperationState::Failed => {
                self.follow_failure(cx, agent, judged.max(Some(report.uuid)), resources);
            }
            OperationState::Pending => return,
            OperationState::Error
            | OperationState::Dropped
            | OperationState::Unreachable
            | OperationState::GoneByOperator
            | OperationState::Unknown => {
                self.counters.dropped.add(DropReason::BadState);
                return;
            }
        }
        self.conclude_operation(cx, agent, report.uuid, report.state, report.message);
    }

    /// The ledger was ahead of the agent: it takes what the agent has, with what is still on its way
    /// there, which is what came after the operation that was `judged` last.
    fn follow_failure(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        judged: Option<OperationUuid>,
        resources: Resources,
    ) {
        let Some(ledger) = self.allocator.agent(agent) else { return };
        let later = self.operations.by_agent.get(&agent).into_iter().flatten();
        let later = later.filter(|(uuid, entry)| Some(**uuid) > judged && entry.told.is_none());
        let conversions = later.filter_map(|(_, entry)| entry.conversion.as_ref());
        let total = conversions.fold(resources, |total, it| it.apply(&total).unwrap_or(total));
        if total != ledger.total {
            // They may hold what is not there.
            self.rescind_of_agent(cx, agent);
            self.allocator.update_agent(agent, total, ledger.profile);
            self.note_total(agent);
        }
    }

    /// It is known what became of an operation: whoever asked is told, and the agent may forget it
    /// once that is sure to have arrived.
    fn conclude_operation(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        uuid: OperationUuid,
        state: OperationState,
        message: String,
    ) {
        let Some(entry) = self.operations.get(agent, uuid) else { return };
        if entry.told.is_none() {
            self.count_ended(entry.kind, entry.handed_at, state, cx.now.mono);
        }
        let Some(entry) = self.operations.get_mut(agent, uuid) else { return };
        let caller = std::mem::replace(&mut entry.caller, Caller::Nobody);
        let waits = entry.framework.is_some() && entry.id.is_some();
        if waits {
            entry.told = Some((state, message.clone()));
        }
        if caller != Caller::Nobody {
            let done = state == OperationState::Finished;
            let result =
                if done { Ok(()) } else { Err(invalid(format!("nothing was changed: {message}"))) };
            self.answer(cx, caller, result);
        }
        if waits {
            self.tell_operation(cx, agent, uuid);
        } else {
            self.operations.remove(agent, uuid);
            self.tell_agent(cx, agent, ToAgent::SettleOperation { uuid });
        }
    }

    /// Tells a framework where one of its operations stands.
    fn tell_operation(&mut self, cx: &mut Cx<'_>, agent: AgentId, uuid: OperationUuid) {
        let Some(entry) = self.operations.get(agent, uuid) else { return };
        let (Some(framework), Some(id)) = (entry.framework, entry.id.clone()) else { return };
        let uuid = entry.told.is_some().then_some(uuid);
        let (state, message) =
            entry.told.clone().unwrap_or((OperationState::Pending, String::new()));
        let status = OperationStatus { id, state, message, agent: Some(agent), uuid };
        self.tell_framework(cx, framework, FrameworkEvent::OperationStatus { status });
    }

    /// Tells a framework of an operation on the master's own account: nothing is to be acknowledged.
    pub(super) fn tell_unsent_operation(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        (id, agent): (OperationId, Option<AgentId>),
        state: OperationState,
        message: &str,
    ) {
        let message = message.to_owned();
        let status = OperationStatus { id, state, message, agent, uuid: None };
        self.tell_framework(cx, framework, FrameworkEvent::OperationStatus { status });
    }

    /// A framework knows what became of an operation.
    pub(super) fn acknowledge_operation(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        id: &OperationId,
        (agent, uuid): (AgentId, OperationUuid),
    ) {
        let is_it = |entry: &&InFlight| {
            entry.framework == Some(framework)
                && entry.id.as_ref() == Some(id)
                && entry.told.is_some()
        };
        if self.operations.get(agent, uuid).as_ref().is_some_and(is_it) {
            self.operations.remove(agent, uuid);
            // An agent that is away tells it again when it is back.
            self.tell_agent(cx, agent, ToAgent::SettleOperation { uuid });
        }
    }

    /// A framework asks what became of operations that it has heard nothing of.
    pub(super) fn reconcile_operations(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        queries: Vec<OperationQuery>,
    ) -> Result<(), CallError> {
        if queries.len() > OPERATIONS_PER_CALL_MAX {
            let why = format!("more than {OPERATIONS_PER_CALL_MAX} operations in one call");
            return Err(invalid(why));
        }
        for OperationQuery { id, agent } in queries {
            if let Some((agent, uuid)) =
                self.operations.named.get(&(framework, id.clone())).copied()
            {
                self.tell_operation(cx, agent, uuid);
                continue;
            }
            let (state, message) = match self.registry.agent(agent) {
                None => (OperationState::Unknown, "the agent is not known"),
                Some(AgentState::Gone { .. }) => {
                    (OperationState::GoneByOperator, "the agent has been declared gone")
                }
                Some(AgentState::Unreachable { .. } | AgentState::Unknown) => {
                    // It is told now and, unless too many wait for that already, when the agent is back.
                    self.ask_agent(agent, framework, &id);
                    (OperationState::Unreachable, "the agent cannot be reached")
                }
                Some(AgentState::Active | AgentState::Draining) => {
                    if !self.agents.get(&agent).is_some_and(|agent| agent.reported) {
                        if !self.ask_agent(agent, framework, &id) {
                            let why =
                                "too many questions wait for agents to report, ask again later";
                            return Err(busy(why));
                        }
                        continue;
                    }
                    (OperationState::Dropped, NOT_ON_AGENT)
                }
            };
            self.tell_unsent_operation(cx, framework, (id, Some(agent)), state, message);
        }
        Ok(())
    }

    /// Remembers a question until its agent reports. False when too many wait, the framework's own or
    /// all together.
    fn ask_agent(&mut self, agent: AgentId, framework: FrameworkId, id: &OperationId) -> bool {
        let max = self.config.limits.questions_max;
        let mine = self.operations.questions_of(framework);
        let room = self.operations.questions_count < max && mine < (max / QUESTIONERS_MIN).max(1);
        if room {
            self.operations.ask(agent, (framework, id.clone()));
        }
        room
    }

    /// An agent has registered: what it tells of operations is what became of them.
    pub(super) fn take_operations(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        reports: Option<Vec<OperationReport>>,
    ) {
        if reports.is_some() {
            self.operations.capable.insert(agent);
        } else {
            self.operations.capable.remove(&agent);
        }
        let reports = reports.unwrap_or_default().into_iter().take(OPERATIONS_UNSETTLED_MAX);
        let reports: BTreeMap<OperationUuid, OperationReport> =
            reports.map(|report| (report.uuid, report)).collect();
        for uuid in self.operations.of_agent(agent) {
            let in_flight = self.operations.get(agent, uuid).is_some_and(|it| it.told.is_none());
            if in_flight && !reports.contains_key(&uuid) {
                self.drop_operation(cx, agent, uuid, OperationState::Dropped, NOT_ARRIVED);
            }
        }
        for (uuid, report) in reports {
            let OperationReport { uuid: _, framework, id, state, message } = report;
            let framework = framework.filter(|it| self.registry.framework(*it).is_some());
            if self.operations.get(agent, uuid).is_none() {
                // One that was given the name of another, which its framework has yet to acknowledge,
                // has none any more.
                let is_taken = |id: &OperationId| {
                    framework.is_some_and(|framework| self.operations.is_named(framework, id))
                };
                let id = id.filter(|id| framework.is_some() && !is_taken(id));
                let caller = Caller::Nobody;
                let entry = InFlight {
                    framework,
                    id,
                    kind: OperationKind::Unknown,
                    handed_at: None,
                    conversion: None,
                    caller,
                    told: None,
                };
                self.operations.insert(agent, uuid, entry);
            }
            match state {
                OperationState::Finished | OperationState::Failed => {
                    self.conclude_operation(cx, agent, uuid, state, message);
                }
                OperationState::Pending
                | OperationState::Error
                | OperationState::Dropped
                | OperationState::Unreachable
                | OperationState::GoneByOperator
                | OperationState::Unknown => {}
            }
        }
        for (framework, id) in self.operations.take_questions(agent) {
            match self.operations.named.get(&(framework, id.clone())).copied() {
                Some((agent, uuid)) => self.tell_operation(cx, agent, uuid),
                None => {
                    let state = OperationState::Dropped;
                    let named = (id, Some(agent));
                    self.tell_unsent_operation(cx, framework, named, state, NOT_ON_AGENT);
                }
            }
        }
    }

    /// Nothing was done, and nothing will be: whoever asked is told.
    fn drop_operation(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        uuid: OperationUuid,
        state: OperationState,
        why: &str,
    ) {
        let Some(entry) = self.operations.remove(agent, uuid) else { return };
        self.count_ended(entry.kind, entry.handed_at, state, cx.now.mono);
        self.answer(cx, entry.caller, Err(invalid(why)));
        if let (Some(framework), Some(id)) = (entry.framework, entry.id) {
            self.tell_unsent_operation(cx, framework, (id, Some(agent)), state, why);
        }
    }

    /// An agent's stream is lost: operators do not wait for it.
    pub(super) fn operators_wait_no_more(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let node = agent.node;
        let why = format!(
            "node {node} went away before it answered; whether it did it is shown by `meshos reservations` when it is back"
        );
        for uuid in self.operations.of_agent(agent) {
            let Some(entry) = self.operations.get_mut(agent, uuid) else { continue };
            let caller = std::mem::replace(&mut entry.caller, Caller::Nobody);
            self.answer(cx, caller, Err(busy(why.clone())));
        }
    }

    /// An agent counts as unreachable, or is gone: what waits for it is told.
    pub(super) fn operations_lost(&mut self, cx: &mut Cx<'_>, agent: AgentId, gone: bool) {
        let (state, why) = if gone {
            (OperationState::GoneByOperator, "an operator declared the agent gone")
        } else {
            (OperationState::Unreachable, "the agent has not been heard of for too long")
        };
        self.operators_wait_no_more(cx, agent);
        for uuid in self.operations.of_agent(agent) {
            let Some(entry) = self.operations.get(agent, uuid).cloned() else { continue };
            if gone && entry.told.is_none() {
                self.count_ended(entry.kind, entry.handed_at, state, cx.now.mono);
            }
            if let (Some(framework), Some(id), None) = (entry.framework, entry.id, entry.told) {
                self.tell_unsent_operation(cx, framework, (id, Some(agent)), state, why);
            }
            if gone {
                self.operations.remove(agent, uuid);
            }
        }
        let asked = self.operations.take_questions(agent);
        for (framework, id) in asked {
            self.tell_unsent_operation(cx, framework, (id.clone(), Some(agent)), state, why);
            if !gone {
                self.operations.ask(agent, (framework, id));
            }
        }
        if gone {
            self.operations.capable.remove(&agent);
        }
    }

    /// A framework that has come (back) is told all that it has not acknowledged.
    pub(super) fn repeat_operations(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let first = (framework, OperationId::new(" ").expect("a blank is a valid id"));
        let named = self.operations.named.range(first..);
        let mine = named.take_while(|((owner, _), _)| *owner == framework);
        for (agent, uuid) in mine.map(|(_, place)| *place).collect::<Vec<_>>() {
            if self.operations.get(agent, uuid).is_some_and(|entry| entry.told.is_some()) {
                self.tell_operation(cx, agent, uuid);
            }
        }
    }

    /// A framework has ended: nobody acknowledges what became of its operations.
    pub(super) fn forget_operations_of(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        for (agent, uuid) in self.operations.all_of_framework(framework) {
            let Some(mut entry) = self.operations.remove(agent, uuid) else { continue };
            if entry.told.is_some() {
                self.tell_agent(cx, agent, ToAgent::SettleOperation { uuid });
            } else {
                (entry.framework, entry.id) = (None, None);
                self.operations.insert(agent, uuid, entry);
            }
        }
        self.operations.forget_questions_of(framework);
    }
}

const NOT_ARRIVED: &str = "the agent went away before the operation arrived";
const NOT_ON_AGENT: &str =
    "the agent does not know the operation: it never arrived there, or it was settled before";
/// So many frameworks at least share the questions that may wait.
const QUESTIONERS_MIN: usize = 8;
