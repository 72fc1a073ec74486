//! Accepts, and what becomes of the operations in them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshos_protocol::{
    ids::{AgentId, OfferId, OperationId, OperationUuid},
    messages::scheduler::{Accept, Call, OPERATIONS_PER_CALL_MAX},
    operation::{OperationQuery, OperationRequest, OperationState, OperationStatus},
    task::TaskDescription,
};

use super::{Core, Output, Tell};

/// Statuses remembered, so that one that is sent again is not delivered again.
const SEEN_MAX: usize = 10_000;

/// What the driver keeps of operations.
#[derive(Debug, Default)]
pub(in crate::driver) struct Operations {
    /// Accepted, and it is not known what became of them: where they are done.
    pending: BTreeMap<OperationId, AgentId>,
    seen: BTreeSet<OperationUuid>,
    seen_order: VecDeque<OperationUuid>,
}

impl Operations {
    fn remember(&mut self, uuid: OperationUuid) -> bool {
        if !self.seen.insert(uuid) {
            return false;
        }
        self.seen_order.push_back(uuid);
        if self.seen_order.len() > SEEN_MAX
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    /// Of these, the ones that nothing was heard of meanwhile.
    pub(in crate::driver) fn still_pending(
        &self,
        mut queries: Vec<OperationQuery>,
    ) -> Vec<OperationQuery> {
        queries.retain(|query| self.pending.contains_key(&query.id));
        queries
    }
}

impl Core {
    /// An accept is sent once or never. When no subscription holds, or the offers are void, the
    /// tasks are dropped without asking anybody.
    pub(super) fn accept(
        &mut self,
        offers: Vec<OfferId>,
        operations: Vec<OperationRequest>,
        tasks: Vec<TaskDescription>,
        refuse_ms: Option<u64>,
        out: &mut Vec<Output>,
    ) {
        let of = offers.first().and_then(|offer| self.offers.get(offer)).cloned();
        let open = |offer: &OfferId| self.offers.remove(offer).is_some();
        let open: Vec<OfferId> = offers.iter().copied().filter(open).collect();
        match of.filter(|_| self.subscribed) {
            Some((role, agent)) => {
                self.forget_ends(&tasks);
                self.wants.launched(&role, agent, &tasks);
                self.pending.extend(tasks.iter().map(|task| (task.task_id.clone(), agent)));
                let named = operations.iter().filter_map(|request| request.id.clone());
                self.operations.pending.extend(named.map(|id| (id, agent)));
                let accept = Accept { offers, operations, launch: tasks, refuse_ms };
                self.send(Call::Accept(accept), out);
            }
            None => {
                // What was given along with a void offer is of use elsewhere.
                if self.subscribed && !open.is_empty() {
                    self.send(Call::Decline { offers: open, refuse_ms: Some(0) }, out);
                }
                for id in operations.into_iter().filter_map(|request| request.id) {
                    let status = OperationStatus {
                        id,
                        state: OperationState::Dropped,
                        message: "the operation was not carried out: its offer is void".into(),
                        agent: None,
                        uuid: None,
                    };
                    out.push(Output::Tell(Tell::Operation(status)));
                }
                let reason = self.why_void(&offers);
                tasks.into_iter().for_each(|task| self.drop_task(task, reason, out));
            }
        }
    }

    /// The subscription goes on: the leader is asked for what nothing was heard of.
    pub(super) fn ask_for_operations(&mut self, out: &mut Vec<Output>) {
        let pending = self.operations.pending.iter();
        let queries: Vec<OperationQuery> =
            pending.map(|(id, agent)| OperationQuery { id: id.clone(), agent: *agent }).collect();
        for part in queries.chunks(OPERATIONS_PER_CALL_MAX) {
            self.send(Call::ReconcileOperations { operations: part.to_vec() }, out);
        }
    }

    pub(super) fn operation_status(&mut self, status: OperationStatus, out: &mut Vec<Output>) {
        let acknowledge = status.agent.zip(status.uuid);
        let id = status.id.clone();
        let repeated = acknowledge.is_some_and(|(_, uuid)| !self.operations.remember(uuid));
        if status.state.is_terminal() {
            let waited = self.operations.pending.remove(&id).is_some();
            // An answer without a uuid may come late, after what it would contradict.
            if !repeated && (waited || acknowledge.is_some()) {
                out.push(Output::Tell(Tell::Operation(status)));
            }
        } else {
            out.push(Output::Tell(Tell::Operation(status)));
        }
        if let Some((agent, uuid)) = acknowledge {
            self.send(Call::AcknowledgeOperation { id, agent, uuid }, out);
        }
    }
}
