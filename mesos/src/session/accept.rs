//! Accepts: what of them goes to the leader, and what is refused here.

use std::collections::BTreeSet;

use meshos_protocol::{
    ids::{AgentId, OfferId},
    messages::scheduler::{Accept, Call},
    operation::OperationRequest,
    role::Role,
    task::TaskDescription,
    time::Wall,
};

use super::{Output, Session, calls::refuse_ms, tell};
use crate::{
    convert::{event, group, ids, operation, status, task},
    schema::{
        self, OfferOperation, OfferOperationType as Type, TaskState, TaskStatusReason as Reason,
    },
};

/// What offers are of, as far as they are known.
struct Offered {
    /// That of the first.
    role: Role,
    roles: BTreeSet<Role>,
    agent: AgentId,
}

impl Session {
    pub(super) fn accept(&mut self, accept: &schema::CallAccept, now: Wall, out: &mut Vec<Output>) {
        let named = accept.offer_ids.iter().map(|id| ids::read_offer(self.cluster, id.value()));
        let offers: Option<Vec<OfferId>> = named.collect();
        let offered = self.take_offers(accept);
        let (Some(offers), Some(offered), true) = (offers, offered, self.subscribed) else {
            return self.drop_accept(accept, now, out);
        };
        let (mut operations, mut launch) = (Vec::new(), Vec::new());
        for operation in &accept.operations {
            match operation.r#type() {
                Type::Launch => self.read_launch(operation, &offered, now, &mut launch, out),
                Type::LaunchGroup => self.read_group(operation, &offered, now, &mut launch, out),
                Type::Reserve
                | Type::Unreserve
                | Type::Create
                | Type::Destroy
                | Type::GrowVolume
                | Type::ShrinkVolume
                | Type::CreateDisk
                | Type::DestroyDisk
                | Type::Unknown => operations.extend(self.read_operation(operation, &offered, out)),
            }
        }
        // A kill that is not answered was of an earlier task of that id.
        for task in &launch {
            self.kills.remove(&task.task_id);
        }
        self.pending.extend(launch.iter().map(|task| (task.task_id.clone(), offered.agent)));
        let with_id = operations.iter().filter_map(|request| request.id.clone());
        self.operations.extend(with_id.map(|id| (id, offered.agent)));
        self.launched(&offered.role, offered.agent, &launch);
        let refuse_ms = refuse_ms(accept.filters.as_ref());
        self.send(Call::Accept(Accept { offers, operations, launch, refuse_ms }), out);
    }

    /// The offers are not open any more, whatever becomes of the accept.
    fn take_offers(&mut self, accept: &schema::CallAccept) -> Option<Offered> {
        let mut offered: Option<Offered> = None;
        for id in &accept.offer_ids {
            let id = ids::read_offer(self.cluster, id.value());
            let Some((role, agent)) = id.and_then(|id| self.offers.remove(&id)) else { continue };
            let first = || Offered { role: role.clone(), roles: BTreeSet::new(), agent };
            offered.get_or_insert_with(first).roles.insert(role);
        }
        offered
    }

    fn read_launch(
        &self,
        operation: &OfferOperation,
        offered: &Offered,
        now: Wall,
        launch: &mut Vec<TaskDescription>,
        out: &mut Vec<Output>,
    ) {
        for info in operation.launch.iter().flat_map(|launch| &launch.task_infos) {
            let read = if self.agent(info.agent_id.as_ref()) == Some(offered.agent) {
                self.check_executor(info).and_then(|()| task::read(info, &offered.roles))
            } else {
                Err("Task uses an agent that is not the one of its offers".to_owned())
            };
            match read {
                Ok(task) => launch.push(task),
                Err(why) => {
                    let what = (TaskState::Error, Reason::TaskInvalid);
                    tell_refused(info, what, &why, now, out);
                }
            }
        }
    }

    /// An executor belongs to the framework whose tasks it runs.
    fn check_executor(&self, info: &schema::TaskInfo) -> Result<(), String> {
        let named = info.executor.as_ref().and_then(|executor| executor.framework_id.as_ref());
        let Some(named) = named.map(|id| id.value()).filter(|id| !id.is_empty()) else {
            return Ok(());
        };
        let own = self.subscribe.framework.map(|id| ids::framework(self.cluster, id));
        let own = own.and_then(|id| id.value).unwrap_or_default();
        if named == own {
            return Ok(());
        }
        Err(format!("ExecutorInfo has an invalid FrameworkID (Actual: {named} vs Expected: {own})"))
    }

    /// All tasks of a group are launched, or all are refused for the same reason.
    fn read_group(
        &self,
        operation: &OfferOperation,
        offered: &Offered,
        now: Wall,
        launch: &mut Vec<TaskDescription>,
        out: &mut Vec<Output>,
    ) {
        let elsewhere = tasks_of(operation)
            .find(|info| self.agent(info.agent_id.as_ref()) != Some(offered.agent));
        let read = match (&operation.launch_group, elsewhere) {
            (None, _) => Err("Operation has no 'launch_group'".to_owned()),
            (Some(_), Some(info)) => {
                let id = info.task_id.as_ref().map(|id| id.value()).unwrap_or_default();
                let why = "it uses an agent that is not the one of its offers";
                Err(format!("Task '{id}' is invalid: {why}"))
            }
            (Some(asked), None) => group::read(asked, &offered.roles),
        };
        match read {
            Ok(tasks) => launch.extend(tasks),
            Err(why) => {
                let what = (TaskState::Error, Reason::TaskGroupInvalid);
                let why = format!("Task group is invalid: {why}");
                tasks_of(operation).for_each(|info| tell_refused(info, what, &why, now, out));
            }
        }
    }

    /// An operation without an id has nobody to tell that it is not valid, as in Mesos.
    fn read_operation(
        &self,
        requested: &OfferOperation,
        offered: &Offered,
        out: &mut Vec<Output>,
    ) -> Option<OperationRequest> {
        let id = operation::id(requested.id.as_ref());
        let read = id.and_then(|id| Ok((id, operation::read(requested, &offered.roles)?)));
        match read {
            Ok((id, operation)) => Some(OperationRequest { id, operation }),
            Err(why) => {
                let what = (schema::OperationState::Error, Some(offered.agent));
                self.tell_operation(requested, what, &why, out);
                None
            }
        }
    }

    fn tell_operation(
        &self,
        requested: &OfferOperation,
        (state, agent): (schema::OperationState, Option<AgentId>),
        why: &str,
        out: &mut Vec<Output>,
    ) {
        let Some(id) = &requested.id else { return };
        let status = schema::OperationStatus {
            operation_id: Some(id.clone()),
            state: Some(state.into()),
            message: Some(why.to_owned()),
            agent_id: agent.map(|agent| ids::agent(self.cluster, agent)),
            ..schema::OperationStatus::default()
        };
        tell(out, event::operation(status));
    }

    /// Whether a task of this id is on its way, or live.
    fn knows(&self, info: &schema::TaskInfo) -> bool {
        let id = task::task_id(info.task_id.as_ref());
        id.is_ok_and(|id| self.pending.contains_key(&id) || self.tasks.contains_key(&id))
    }

    /// None of the offers is known to be open, or there is no leader: nothing is asked of anybody, and
    /// what the accept wanted is told to be lost.
    fn drop_accept(&mut self, accept: &schema::CallAccept, now: Wall, out: &mut Vec<Output>) {
        let state = self.unless_partition_aware(TaskState::Dropped);
        let why = "Task launched with invalid offers: they are not open any more";
        for operation in &accept.operations {
            // An accept that is said again must not end what the first one launched or asked for.
            if matches!(operation.r#type(), Type::Launch | Type::LaunchGroup) {
                let tasks = tasks_of(operation).filter(|info| !self.knows(info));
                let what = (state, Reason::InvalidOffers);
                tasks.for_each(|info| tell_refused(info, what, why, now, out));
                continue;
            }
            let id = operation::id(operation.id.as_ref()).ok().flatten();
            if id.is_none_or(|id| !self.operations.contains_key(&id)) {
                let what = (schema::OperationState::Dropped, None);
                let why = "The offers of the operation are not open any more";
                self.tell_operation(operation, what, why, out);
            }
        }
        // Those that are open are free again, without a filter.
        let named =
            accept.offer_ids.iter().filter_map(|id| ids::read_offer(self.cluster, id.value()));
        let offers: Vec<OfferId> = named.collect();
        if self.subscribed && !offers.is_empty() {
            self.send(Call::Decline { offers, refuse_ms: Some(0) }, out);
        }
    }
}

fn tasks_of(operation: &OfferOperation) -> impl Iterator<Item = &schema::TaskInfo> {
    let single = operation.launch.iter().flat_map(|launch| &launch.task_infos);
    let group = operation.launch_group.iter().flat_map(|it| &it.task_group);
    single.chain(group.flat_map(|group| &group.tasks))
}

fn tell_refused(
    info: &schema::TaskInfo,
    what: (TaskState, Reason),
    why: &str,
    now: Wall,
    out: &mut Vec<Output>,
) {
    let (task, agent) = (info.task_id.as_ref(), info.agent_id.as_ref());
    tell(out, event::update(status::refused(task, agent, what, why, now)));
}
