//! What became of tasks and operations.

use meshos_protocol::{
    framework::Capabilities,
    ids::ClusterId,
    operation::{OperationState, OperationStatus},
    task::{Reason, Source, StatusUpdate, TaskState},
    time::Wall,
};

use super::{check, ids, number, offer::Place};
use crate::schema::{self, TaskStatusReason, TaskStatusSource};

/// Tells a step in a task's life to a framework with these capabilities; nothing when it is not to be
/// told. `place` is where the task's agent listens.
#[must_use]
pub fn write(
    cluster: ClusterId,
    status: &StatusUpdate,
    capabilities: Capabilities,
    place: Option<&Place>,
) -> Option<schema::TaskStatus> {
    if status.state == TaskState::Killing && !capabilities.task_killing_state {
        return None;
    }
    let state =
        if capabilities.partition_aware { status.state } else { status.state.without_partitions() };
    let task = schema::TaskId { value: Some(status.task.as_str().to_owned()) };
    let source = match status.source {
        Source::Master | Source::Unknown => TaskStatusSource::Master,
        Source::Agent => TaskStatusSource::Agent,
        Source::Executor => TaskStatusSource::Executor,
    };
    let by_agent = source != TaskStatusSource::Master;
    let mut message = status.message.clone();
    if matches!(status.reason, Some(Reason::InvalidOffers | Reason::OfferTaken)) {
        message.insert_str(0, "Task launched with invalid offers: ");
    }
    let mut written = schema::TaskStatus {
        task_id: Some(task),
        state: Some(written_state(state).into()),
        message: (!message.is_empty()).then_some(message),
        source: Some(source.into()),
        reason: status.reason.and_then(reason).map(Into::into),
        agent_id: status.agent.map(|agent| ids::agent(cluster, agent)),
        // A command's executor has the id of its task.
        executor_id: by_agent.then(|| {
            let own = status.executor.as_ref().map(|executor| executor.as_str());
            schema::ExecutorId { value: Some(own.unwrap_or(status.task.as_str()).to_owned()) }
        }),
        data: (!status.data.is_empty()).then(|| status.data.clone()),
        timestamp: Some(number::seconds(status.at.0)),
        uuid: status.update.map(|update| update.as_bytes().to_vec()),
        container_status: by_agent.then(|| container_status(place)),
        healthy: status.healthy,
        check_status: status.check_status.map(check::status),
        ..schema::TaskStatus::default()
    };
    if status.state == TaskState::Unreachable {
        written.unreachable_time = Some(time(status.at));
    }
    Some(written)
}

/// A task that never was: told at once, and not to be acknowledged.
#[must_use]
pub fn refused(
    task: Option<&schema::TaskId>,
    agent: Option<&schema::AgentId>,
    (state, reason): (schema::TaskState, TaskStatusReason),
    message: &str,
    now: Wall,
) -> schema::TaskStatus {
    schema::TaskStatus {
        task_id: task.cloned(),
        state: Some(state.into()),
        message: Some(message.to_owned()),
        source: Some(TaskStatusSource::Master.into()),
        reason: Some(reason.into()),
        agent_id: agent.cloned(),
        timestamp: Some(number::seconds(now.0)),
        ..schema::TaskStatus::default()
    }
}

/// Containers share the network of their agent.
pub(crate) fn container_status(place: Option<&Place>) -> schema::ContainerStatus {
    let address = |ip: std::net::IpAddr| schema::NetworkInfoIpAddress {
        protocol: Some(
            if ip.is_ipv4() {
                schema::NetworkInfoProtocol::Ipv4
            } else {
                schema::NetworkInfoProtocol::Ipv6
            }
            .into(),
        ),
        ip_address: Some(ip.to_string()),
    };
    let addresses = place.and_then(|place| place.ip).map(address).into_iter().collect();
    let network = schema::NetworkInfo { ip_addresses: addresses, ..Default::default() };
    schema::ContainerStatus { network_infos: vec![network], ..Default::default() }
}

pub(crate) fn time(at: Wall) -> schema::TimeInfo {
    let nanos = i64::try_from(at.0).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    schema::TimeInfo { nanoseconds: Some(nanos) }
}

pub(crate) const fn written_state(state: TaskState) -> schema::TaskState {
    match state {
        TaskState::Staging => schema::TaskState::Staging,
        TaskState::Starting => schema::TaskState::Starting,
        TaskState::Running => schema::TaskState::Running,
        TaskState::Killing => schema::TaskState::Killing,
        TaskState::Finished => schema::TaskState::Finished,
        TaskState::Failed => schema::TaskState::Failed,
        TaskState::Killed => schema::TaskState::Killed,
        TaskState::Error => schema::TaskState::Error,
        TaskState::Dropped => schema::TaskState::Dropped,
        TaskState::Gone => schema::TaskState::Gone,
        TaskState::GoneByOperator => schema::TaskState::GoneByOperator,
        TaskState::Unreachable => schema::TaskState::Unreachable,
        TaskState::Lost => schema::TaskState::Lost,
        TaskState::Unknown => schema::TaskState::Unknown,
    }
}

/// Mesos's name for it: the nearest one where Mesos has no such reason.
pub(crate) const fn reason(reason: Reason) -> Option<TaskStatusReason> {
    Some(match reason {
        Reason::CommandFailed | Reason::ExitStatusUnreadable => {
            TaskStatusReason::CommandExecutorFailed
        }
        Reason::ContainerLaunchFailed
        | Reason::FetchFailed
        | Reason::StorageFailed
        | Reason::TooManyTasks
        | Reason::AgentTooOld => TaskStatusReason::ContainerLaunchFailed,
        Reason::MemoryLimit => TaskStatusReason::ContainerLimitationMemory,
        Reason::AgentRebooted | Reason::LaunchInterrupted => TaskStatusReason::AgentRestarted,
        Reason::KilledDuringLaunch => TaskStatusReason::TaskKilledDuringLaunch,
        Reason::FrameworkRemoved => TaskStatusReason::FrameworkRemoved,
        Reason::TaskInvalid | Reason::ResourcesExceeded => TaskStatusReason::TaskInvalid,
        Reason::TaskGroupInvalid => TaskStatusReason::TaskGroupInvalid,
        Reason::InvalidOffers | Reason::OfferTaken => TaskStatusReason::InvalidOffers,
        Reason::AgentDisconnected => TaskStatusReason::AgentDisconnected,
        Reason::AgentUnreachable => TaskStatusReason::AgentRemoved,
        Reason::AgentReregistered => TaskStatusReason::AgentReregistered,
        Reason::AgentForgot | Reason::Reconciliation => TaskStatusReason::Reconciliation,
        Reason::AgentGone => TaskStatusReason::AgentRemovedByOperator,
        Reason::AgentDraining => TaskStatusReason::AgentDraining,
        Reason::HealthCheckStatusUpdated | Reason::HealthCheckFailed => {
            TaskStatusReason::TaskHealthCheckStatusUpdated
        }
        Reason::CheckStatusUpdated => TaskStatusReason::TaskCheckStatusUpdated,
        Reason::MaxCompletionTimeReached => TaskStatusReason::MaxCompletionTimeReached,
        Reason::AgentStopped | Reason::ExecutorTerminated => TaskStatusReason::ExecutorTerminated,
        Reason::ExecutorRegistrationTimeout => TaskStatusReason::ExecutorRegistrationTimeout,
        Reason::ExecutorReregistrationTimeout => TaskStatusReason::ExecutorReregistrationTimeout,
        Reason::LeaderChanged => TaskStatusReason::MasterDisconnected,
        // Mesos's executor says why in words alone.
        Reason::TaskGroupEnded | Reason::Unknown => return None,
    })
}

/// Tells where an operation stands.
#[must_use]
pub fn write_operation(cluster: ClusterId, status: &OperationStatus) -> schema::OperationStatus {
    let state = match status.state {
        OperationState::Pending => schema::OperationState::Pending,
        OperationState::Finished => schema::OperationState::Finished,
        OperationState::Failed => schema::OperationState::Failed,
        OperationState::Error => schema::OperationState::Error,
        OperationState::Dropped => schema::OperationState::Dropped,
        OperationState::Unreachable => schema::OperationState::Unreachable,
        OperationState::GoneByOperator => schema::OperationState::GoneByOperator,
        OperationState::Unknown => schema::OperationState::Unknown,
    };
    schema::OperationStatus {
        operation_id: Some(schema::OperationId { value: Some(status.id.as_str().to_owned()) }),
        state: Some(state.into()),
        message: (!status.message.is_empty()).then(|| status.message.clone()),
        uuid: status.uuid.map(ids::operation),
        agent_id: status.agent.map(|agent| ids::agent(cluster, agent)),
        ..schema::OperationStatus::default()
    }
}

#[cfg(test)]
mod tests;
