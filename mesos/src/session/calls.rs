//! The framework's calls.

use meshos_protocol::{
    executor::MESSAGE_BYTES_MAX,
    ids::{AgentId, ExecutorId, OfferId, OperationId, TaskId},
    messages::scheduler::{Call, REFUSE_MAX_MS, TaskQuery, UpdateFramework},
    operation::{OperationQuery, OperationState, OperationStatus},
    time::Wall,
};

use super::{KILLS_MAX, Output, Session, Ticket, not_subscribed, tell};
use crate::{
    codec::Refused,
    convert::{
        event,
        framework::{self, Description},
        ids, number, status, task,
    },
    schema::{self, CallType},
};

/// What an HTTP request is answered with, once it is known.
pub(super) enum Reply {
    Now(Result<(), Refused>),
    /// By the leader.
    Later(Box<Call>),
    /// By the leader, who is asked for these tasks.
    Tasks(Vec<TaskQuery>),
}

pub(super) const ACCEPTED: Reply = Reply::Now(Ok(()));

pub(super) fn invalid(why: impl Into<String>) -> Reply {
    Reply::Now(Err(Refused::new(400, why)))
}

impl Session {
    /// The framework calls; `kind` is what [`crate::validate::call`] says of the call.
    pub fn call(
        &mut self,
        call: &schema::Call,
        kind: CallType,
        ticket: Ticket,
        now: Wall,
        out: &mut Vec<Output>,
    ) {
        if self.ended || !self.told_subscribed {
            out.push(Output::Answer(ticket, Err(not_subscribed())));
            return;
        }
        match self.take_call(call, kind, now, out) {
            Reply::Now(answer) => out.push(Output::Answer(ticket, answer)),
            Reply::Later(call) => self.ask(Some(ticket), *call, out),
            Reply::Tasks(tasks) => self.ask_for_part(Some(ticket), tasks, out),
        }
    }

    fn take_call(
        &mut self,
        call: &schema::Call,
        kind: CallType,
        now: Wall,
        out: &mut Vec<Output>,
    ) -> Reply {
        match kind {
            CallType::Teardown => self.tear_down(),
            CallType::Accept => {
                call.accept.iter().for_each(|accept| self.accept(accept, now, out));
                ACCEPTED
            }
            CallType::Decline => {
                call.decline.iter().for_each(|decline| self.decline(decline, out));
                ACCEPTED
            }
            CallType::Revive => {
                let roles = call.revive.as_ref().map(|it| it.roles.as_slice());
                match framework::read_roles(roles.unwrap_or_default()) {
                    Ok(roles) => Reply::Later(Box::new(Call::Revive { roles })),
                    Err(why) => invalid(why),
                }
            }
            CallType::Suppress => {
                let roles = call.suppress.as_ref().map(|it| it.roles.as_slice());
                match framework::read_roles(roles.unwrap_or_default()) {
                    Ok(roles) => Reply::Later(Box::new(Call::Suppress { roles })),
                    Err(why) => invalid(why),
                }
            }
            CallType::Kill => call.kill.as_ref().map_or(ACCEPTED, |kill| self.kill(kill, out)),
            CallType::Shutdown => {
                call.shutdown.as_ref().map_or(ACCEPTED, |it| self.shutdown(it, out))
            }
            CallType::Acknowledge => {
                call.acknowledge.iter().for_each(|it| self.acknowledge(it, out));
                ACCEPTED
            }
            CallType::AcknowledgeOperationStatus => {
                let acknowledged = call.acknowledge_operation_status.iter();
                acknowledged.for_each(|it| self.acknowledge_operation(it, out));
                ACCEPTED
            }
            CallType::Reconcile => {
                call.reconcile.as_ref().map_or(ACCEPTED, |it| self.reconcile(it, now, out))
            }
            CallType::ReconcileOperations => call
                .reconcile_operations
                .as_ref()
                .map_or(ACCEPTED, |it| self.reconcile_operations(it, out)),
            CallType::Request => {
                call.request.as_ref().map_or(ACCEPTED, |request| self.request(request, out))
            }
            CallType::Message => call.message.as_ref().map_or(ACCEPTED, |it| self.message(it, out)),
            CallType::AcceptInverseOffers | CallType::DeclineInverseOffers => {
                self.answer_inverse_offers(call, out);
                ACCEPTED
            }
            CallType::UpdateFramework => {
                call.update_framework.as_ref().map_or(ACCEPTED, |it| self.update_framework(it))
            }
            CallType::Subscribe => invalid("The framework is subscribed on this stream"),
            CallType::Unknown => {
                Reply::Now(Err(Refused::new(501, "The type of the call is not known")))
            }
        }
    }

    fn tear_down(&mut self) -> Reply {
        self.tearing_down = true;
        Reply::Later(Box::new(Call::Teardown))
    }

    fn update_framework(&self, update: &schema::CallUpdateFramework) -> Reply {
        let Some(info) = &update.framework_info else {
            return invalid("'update_framework' has no 'framework_info'");
        };
        let constraints = update.offer_constraints.as_ref();
        let read = framework::read(info, &update.suppressed_roles, constraints);
        let kept = |described: Description| self.fixed.check(&described.fixed).map(|()| described);
        match read.and_then(kept) {
            Ok(Description { info, suppressed, wishes, fixed: _ }) => {
                let (suppressed_roles, wishes) = (suppressed, Some(wishes));
                let update = UpdateFramework { info, suppressed_roles, wishes };
                Reply::Later(Box::new(Call::UpdateFramework(Box::new(update))))
            }
            Err(why) => invalid(why),
        }
    }

    fn decline(&mut self, decline: &schema::CallDecline, out: &mut Vec<Output>) {
        let offers: Vec<OfferId> = decline
            .offer_ids
            .iter()
            .filter_map(|id| ids::read_offer(self.cluster, id.value()))
            .filter(|offer| self.offers.remove(offer).is_some())
            .collect();
        if self.subscribed && !offers.is_empty() {
            let refuse_ms = refuse_ms(decline.filters.as_ref());
            self.send(Call::Decline { offers, refuse_ms }, out);
        }
    }

    fn kill(&mut self, kill: &schema::CallKill, out: &mut Vec<Output>) -> Reply {
        let task = match task::task_id(kill.task_id.as_ref()) {
            Ok(task) => task,
            Err(why) => return invalid(why),
        };
        let grace_ms = match kill.kill_policy.as_ref().map(task::kill_grace).transpose() {
            Ok(grace_ms) => grace_ms.flatten(),
            Err(why) => return invalid(why),
        };
        self.kill_task(task, kill.agent_id.as_ref(), grace_ms, out);
        ACCEPTED
    }

    /// A command's executor has the id of its task, and ends with it. An executor of the framework's own may be called
    /// like one of its tasks, which ends with it all the same.
    fn shutdown(&mut self, shutdown: &schema::CallShutdown, out: &mut Vec<Output>) -> Reply {
        let executor = shutdown.executor_id.as_ref().map(|id| id.value()).unwrap_or_default();
        if let Ok(task) = TaskId::new(executor)
            && (self.tasks.contains_key(&task) || self.pending.contains_key(&task))
        {
            self.kill_task(task, shutdown.agent_id.as_ref(), None, out);
        }
        let agent = self.agent(shutdown.agent_id.as_ref());
        if let (Some(agent), Ok(executor), true) =
            (agent, ExecutorId::new(executor), self.subscribed)
        {
            self.send(Call::ShutdownExecutor { agent, executor }, out);
        }
        ACCEPTED
    }

    /// Best effort: of an executor that is not there, or without a leader, it is lost.
    fn message(&mut self, message: &schema::CallMessage, out: &mut Vec<Output>) -> Reply {
        let data = message.data();
        if data.len() > MESSAGE_BYTES_MAX {
            let bytes = data.len();
            return invalid(format!(
                "The message has {bytes} bytes, at most {MESSAGE_BYTES_MAX} are passed on"
            ));
        }
        let agent = self.agent(message.agent_id.as_ref());
        let executor = message.executor_id.as_ref().map(|id| id.value()).unwrap_or_default();
        if let (Some(agent), Ok(executor), true) =
            (agent, ExecutorId::new(executor), self.subscribed)
        {
            let data = data.to_vec();
            self.send(Call::Message { agent, executor, data }, out);
        }
        ACCEPTED
    }

    fn kill_task(
        &mut self,
        task: TaskId,
        agent: Option<&schema::AgentId>,
        grace_ms: Option<u64>,
        out: &mut Vec<Output>,
    ) {
        let known = self.tasks.get(&task).or_else(|| self.pending.get(&task)).copied();
        let agent = self.agent(agent).or(known);
        if self.kills.len() < KILLS_MAX || self.kills.contains_key(&task) {
            self.kills.insert(task.clone(), (agent, grace_ms));
        }
        if self.subscribed {
            self.send(Call::Kill { task, agent, grace_ms }, out);
        }
    }

    /// Without a leader it is lost: the next one sends the update again.
    fn acknowledge(&mut self, acknowledge: &schema::CallAcknowledge, out: &mut Vec<Output>) {
        let task = task::task_id(acknowledge.task_id.as_ref()).ok();
        let agent = self.agent(acknowledge.agent_id.as_ref());
        let update = ids::read_update(acknowledge.uuid());
        if let (Some(task), Some(agent), Some(update), true) =
            (task, agent, update, self.subscribed)
        {
            self.send(Call::Acknowledge { task, agent, update }, out);
        }
    }

    fn acknowledge_operation(
        &mut self,
        acknowledge: &schema::CallAcknowledgeOperationStatus,
        out: &mut Vec<Output>,
    ) {
        let id = acknowledge.operation_id.as_ref().and_then(|id| OperationId::new(id.value()).ok());
        let agent = self.agent(acknowledge.agent_id.as_ref());
        let uuid = ids::read_operation(acknowledge.uuid());
        if let (Some(id), Some(agent), Some(uuid), true) = (id, agent, uuid, self.subscribed) {
            self.send(Call::AcknowledgeOperation { id, agent, uuid }, out);
        }
    }

    fn reconcile(
        &mut self,
        reconcile: &schema::CallReconcile,
        now: Wall,
        out: &mut Vec<Output>,
    ) -> Reply {
        let mut tasks = Vec::with_capacity(reconcile.tasks.len());
        for asked in &reconcile.tasks {
            match task::task_id(asked.task_id.as_ref()) {
                Ok(task) => {
                    let agent = self.agent(asked.agent_id.as_ref());
                    tasks.push(TaskQuery { task, agent, pending: false });
                }
                // There can be no such task.
                Err(why) => {
                    let state = self.unless_partition_aware(schema::TaskState::Unknown);
                    let what = (state, schema::TaskStatusReason::Reconciliation);
                    let (task, agent) = (asked.task_id.as_ref(), asked.agent_id.as_ref());
                    tell(out, event::update(status::refused(task, agent, what, &why, now)));
                }
            }
        }
        // Without tasks all are meant.
        if tasks.is_empty() && !reconcile.tasks.is_empty() {
            return ACCEPTED;
        }
        Reply::Tasks(tasks)
    }

    fn reconcile_operations(
        &mut self,
        reconcile: &schema::CallReconcileOperations,
        out: &mut Vec<Output>,
    ) -> Reply {
        let mut operations = Vec::with_capacity(reconcile.operations.len());
        for asked in &reconcile.operations {
            let id = asked.operation_id.as_ref().map(|id| id.value()).unwrap_or_default();
            let Ok(id) = OperationId::new(id) else { continue };
            let agent = self.agent(asked.agent_id.as_ref());
            match agent.or_else(|| self.operations.get(&id).copied()) {
                Some(agent) => operations.push(OperationQuery { id, agent }),
                None => {
                    let state = OperationState::Unknown;
                    let message = "Reconciliation: the operation is not known".to_owned();
                    let status = OperationStatus { id, state, message, agent: None, uuid: None };
                    tell(out, event::operation(status::write_operation(self.cluster, &status)));
                }
            }
        }
        if operations.is_empty() {
            return ACCEPTED;
        }
        Reply::Later(Box::new(Call::ReconcileOperations { operations }))
    }

    pub(super) fn agent(&self, id: Option<&schema::AgentId>) -> Option<AgentId> {
        ids::read_agent(self.cluster, id?.value())
    }

    /// The state as it is told to whoever does not tell apart how a task is lost.
    pub(super) fn unless_partition_aware(&self, state: schema::TaskState) -> schema::TaskState {
        if self.subscribe.info.capabilities.partition_aware {
            state
        } else {
            schema::TaskState::Lost
        }
    }
}

/// How long an agent is left out. What is no length of time is as good as nothing said.
pub(super) fn refuse_ms(filters: Option<&schema::Filters>) -> Option<u64> {
    number::millis(filters?.refuse_seconds?, REFUSE_MAX_MS)
}
