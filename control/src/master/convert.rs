//! Operations as frameworks and operators ask for them: judged here, followed by the ledger, handed
//! to the agent.

use meshos_alloc::ConversionError;
use meshos_protocol::{
    ids::{AgentId, FrameworkId, OperationId},
    messages::{agent::OPERATIONS_UNSETTLED_MAX, scheduler::CallError},
    operation::{Conversion, Operation, OperationRequest, OperationState, check_growth},
    resources::{Resource, Resources},
    shown::text_of,
};

use super::{
    accept::Pool,
    agents::Link,
    calls::{busy, invalid},
    operations::{InFlight, OperationKind},
    proposals::Caller,
    state::{Core, Cx},
};
use crate::{agent::clashing_volume, registry::AgentState};

/// The most operations on one agent that a framework may leave without an acknowledgement: a part of
/// what the agent keeps, so that it takes nothing from others.
const UNACKNOWLEDGED_MAX: usize = OPERATIONS_UNSETTLED_MAX / 4;

/// Why an operation is not handed on.
type Refused = (OperationState, String);

fn breaks_a_rule(why: impl Into<String>) -> Refused {
    (OperationState::Error, why.into())
}

impl Core {
    /// Carries the operations of an accept out, in order. True when any was handed on.
    pub(super) fn operate_on_offers(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: AgentId,
        operations: Vec<OperationRequest>,
        pools: &mut [Pool],
    ) -> bool {
        let mut any = false;
        for OperationRequest { id, operation } in operations {
            let taken = if id.as_ref().is_some_and(|id| self.operations.is_named(framework, id)) {
                Err(breaks_a_rule(
                    "another operation of the framework has this id and is not settled",
                ))
            } else {
                self.convert_in_offers(framework, agent, &operation, pools)
            };
            let kind = OperationKind::of(&operation);
            match taken {
                Ok(conversion) => {
                    any = true;
                    let (framework, conversion) = (Some(framework), Some(conversion));
                    let caller = Caller::Nobody;
                    let handed_at = Some(cx.now.mono);
                    let entry =
                        InFlight { framework, id, kind, handed_at, conversion, caller, told: None };
                    self.send_operation(cx, agent, entry, operation);
                }
                Err((state, why)) => {
                    self.counters.dropped.add(super::DropReason::Invalid);
                    self.count_unsent(kind, state);
                    // Said under a name that another has, it would end the other in the framework's eyes.
                    let is_free = |id: &OperationId| !self.operations.is_named(framework, id);
                    if let Some(id) = id.filter(is_free) {
                        let named = (id, Some(agent));
                        self.tell_unsent_operation(cx, framework, named, state, &why);
                    }
                }
            }
        }
        any
    }

    /// None of an accept's operations is carried out.
    pub(super) fn drop_operations(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: Option<AgentId>,
        operations: Vec<OperationRequest>,
        why: &str,
    ) {
        for OperationRequest { id, operation } in operations {
            self.count_unsent(OperationKind::of(&operation), OperationState::Dropped);
            let Some(id) = id else { continue };
            if self.operations.is_named(framework, &id) {
                // Said of the accept's operation it would end the other in the framework's eyes.
                continue;
            }
            self.tell_unsent_operation(cx, framework, (id, agent), OperationState::Dropped, why);
        }
    }

    fn convert_in_offers(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        operation: &Operation,
        pools: &mut [Pool],
    ) -> Result<Conversion, Refused> {
        let conversion =
            operation.conversion().map_err(|error| breaks_a_rule(error.to_string()))?;
        self.check_capable(agent).map_err(|error| (OperationState::Dropped, error.message))?;
        if self.operations.count_of_framework(agent, framework) >= UNACKNOWLEDGED_MAX {
            let why = format!(
                "the framework has {UNACKNOWLEDGED_MAX} operations on this agent that are on their way or that it has not acknowledged, and no more are taken"
            );
            return Err((OperationState::Dropped, why));
        }
        self.check_owner(framework, operation).map_err(breaks_a_rule)?;
        self.check_total(agent, &conversion).map_err(breaks_a_rule)?;
        let mut why = None;
        for pool in pools.iter_mut() {
            let Some(left) = conversion.apply(&pool.left) else { continue };
            let Some(offered) = conversion.apply(&pool.offered) else { continue };
            let done = self.allocator.convert_offered(agent, framework, &pool.role, &conversion);
            match done {
                Ok(()) => {
                    (pool.left, pool.offered) = (left, offered);
                    return Ok(conversion);
                }
                Err(error) => why = Some(error.to_string()),
            }
        }
        Err(breaks_a_rule(why.unwrap_or_else(|| {
            let left: Vec<String> = pools.iter().map(|pool| pool.left.to_string()).collect();
            let (consumed, left) = (&conversion.consumed, left.join(" and "));
            format!("the operation takes {consumed}, its offers have {left} left")
        })))
    }

    /// Whether a framework may reserve for this role and under this principal.
    fn check_owner(&self, framework: FrameworkId, operation: &Operation) -> Result<(), String> {
        let Some(record) = self.registry.framework(framework) else { return Ok(()) };
        let mine = record.principal.as_str();
        let is_mine = |principal: &str| {
            if principal == mine {
                return Ok(());
            }
            Err(format!("it names principal {principal:?}, and the framework is of {mine:?}"))
        };
        match operation {
            Operation::Reserve { resources } => resources.iter().try_for_each(|resource| {
                let Some(reservation) = &resource.metadata().reservation else { return Ok(()) };
                if !record.info.roles.contains(reservation.role()) {
                    let role = reservation.role();
                    return Err(format!(
                        "the framework is not in role {role}, and reserves for it"
                    ));
                }
                is_mine(reservation.principal())
            }),
            Operation::Create { volumes } => volumes.iter().try_for_each(|volume| {
                let disk = volume.metadata().disk.as_ref();
                let volume = disk.and_then(|disk| disk.volume.as_ref());
                volume.map_or(Ok(()), |volume| is_mine(&volume.principal))
            }),
            Operation::Unreserve { .. }
            | Operation::Destroy { .. }
            | Operation::Grow { .. }
            | Operation::Shrink { .. }
            | Operation::Unknown => Ok(()),
        }
    }

    /// Whether the agent carries operations out, and takes one more.
    fn check_capable(&self, agent: AgentId) -> Result<(), CallError> {
        if !self.operations.is_capable(agent) {
            let why = format!("the release of agent {agent} does not know operations: upgrade it");
            return Err(invalid(why));
        }
        if self.operations.count_of(agent) >= OPERATIONS_UNSETTLED_MAX {
            return Err(busy(format!(
                "agent {agent} has {OPERATIONS_UNSETTLED_MAX} operations that nobody has acknowledged, and takes no more"
            )));
        }
        Ok(())
    }

    /// Whether the agent would have volumes of one name, or more entries than it can tell.
    fn check_total(&self, agent: AgentId, conversion: &Conversion) -> Result<(), String> {
        let Some(ledger) = self.allocator.agent(agent) else { return Ok(()) };
        let Some(total) = conversion.apply(&ledger.total) else {
            let there = ledger.total.contains(&conversion.consumed);
            let part = there.then(|| conversion.consumed.to_string());
            return part.map_or(Ok(()), |part| {
                Err(format!("{part} is a part of a volume or of a mounted disk, which come whole"))
            });
        };
        if let Some((role, id)) = clashing_volume(&ledger.total, conversion) {
            return Err(format!("role {role} has a volume {id:?} on this agent already"));
        }
        check_growth(&ledger.total, &total)
    }

    /// An operator's operation on what nobody uses. Offers that hold it are taken back.
    pub(super) fn operate_by_operator(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        operation: Operation,
        caller: Caller,
    ) {
        let kind = OperationKind::of(&operation);
        match self.convert_for_operator(cx, agent, &operation) {
            Ok(conversion) => {
                let (framework, id, told) = (None, None, None);
                let (handed_at, conversion) = (Some(cx.now.mono), Some(conversion));
                let entry = InFlight { framework, id, kind, handed_at, conversion, caller, told };
                self.send_operation(cx, agent, entry, operation);
            }
            Err(error) => {
                self.count_unsent(kind, OperationState::Error);
                self.answer(cx, caller, Err(error));
            }
        }
    }

    fn convert_for_operator(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        operation: &Operation,
    ) -> Result<Conversion, CallError> {
        let node = agent.node;
        match self.registry.agent(agent) {
            None => return Err(invalid(format!("agent {agent} is not on record"))),
            Some(AgentState::Gone { .. }) => {
                return Err(invalid(format!("agent {agent} is gone")));
            }
            Some(_) => {}
        }
        let online =
            self.agents.get(&agent).is_some_and(|it| matches!(it.link, Link::Online { .. }));
        let ledger = self.allocator.agent(agent).filter(|_| online);
        let Some(ledger) = ledger else {
            return Err(busy(format!("node {node} is not connected: try again when it is back")));
        };
        self.check_capable(agent)?;
        let conversion = operation.conversion().map_err(|error| invalid(error.to_string()))?;
        let consumed = &conversion.consumed;
        if !ledger.total.contains(consumed) {
            return Err(invalid(format!(
                "node {node} has no {} of that kind: it has {}",
                text_of(consumed),
                text_of(&ledger.total)
            )));
        }
        self.check_total(agent, &conversion).map_err(invalid)?;
        let unused = ledger.total.saturating_sub(&ledger.allocated);
        let shared = consumed.shared();
        if !unused.contains(&consumed.exclusive())
            || !ledger.allocated.intersection(&shared).is_empty()
        {
            return Err(invalid(format!(
                "tasks use what would be changed on node {node}: {} is not used, {} is wanted",
                text_of(&unused),
                text_of(consumed)
            )));
        }
        loop {
            match self.allocator.convert_free(agent, &conversion) {
                Ok(()) => return Ok(conversion),
                Err(ConversionError::NotFree | ConversionError::InUse)
                    if self.rescind_one_of(cx, agent, consumed) => {}
                Err(error) => return Err(invalid(format!("node {node}: {error}"))),
            }
        }
    }

    /// Takes back one offer of an agent that holds some of these resources. False when there is none.
    fn rescind_one_of(&mut self, cx: &mut Cx<'_>, agent: AgentId, wanted: &Resources) -> bool {
        let is_wanted = |it: &Resource| {
            wanted
                .iter()
                .any(|other| other.name() == it.name() && other.metadata() == it.metadata())
        };
        let holder = self.offers.of_agent(agent).into_iter().find(|id| {
            self.offers.get(*id).is_some_and(|offer| offer.resources.iter().any(is_wanted))
        });
        match holder {
            Some(offer) => {
                self.rescind_wanted(cx, offer);
                true
            }
            None => false,
        }
    }
}
