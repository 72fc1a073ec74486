//! What a framework is told, by what it says it understands.

use meshos_protocol::{
    framework::Capabilities,
    task::{StatusUpdate, TaskState},
};

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
