//! What a framework is told, by what it says it understands.

use meshos_protocol::{
    framework::Capabilities,
    ids::{FrameworkId, TaskId},
    task::{Reason, Source, StatusUpdate, TaskState},
    time::Wall,
};

/// A task that was not launched, because its offer is void.
pub(super) fn dropped(
    framework: Option<FrameworkId>,
    task: TaskId,
    reason: Reason,
) -> StatusUpdate {
    let message = if reason == Reason::OfferTaken {
        "the task was not launched: another framework was faster to accept what its offer held"
    } else {
        "the task was not launched: its offer is void"
    };
    StatusUpdate {
        framework: framework.unwrap_or(FrameworkId(0)),
        task,
        agent: None,
        state: TaskState::Dropped,
        reason: Some(reason),
        message: message.into(),
        update: None,
        at: Wall(0),
        source: Source::Master,
        executor: None,
        data: Vec::new(),
        exit: None,
        healthy: None,
        check_status: None,
    }
}

/// The update as the framework is to see it; none when it is not to see it.
pub(super) fn shown(capabilities: Capabilities, mut status: StatusUpdate) -> Option<StatusUpdate> {
    if status.state == TaskState::Killing && !capabilities.task_killing_state {
        return None;
    }
    if !capabilities.partition_aware {
        status.state = status.state.without_partitions();
    }
    Some(status)
}
