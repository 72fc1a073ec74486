//! Groups: tasks that are launched together or not at all.

use serde::{Deserialize, Serialize};

use crate::ids::TaskId;

/// The most tasks in one group.
pub const GROUP_TASKS_MAX: usize = 100;
/// The most bytes of the descriptions of a group's tasks together: they go to their executor in one frame.
pub const GROUP_BYTES_MAX: usize = 4 << 20;

/// The group that a task is launched with. Its tasks stand one after the other in an accept, name the same
/// executor, and say the same of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// The id of the first of them, which names the group.
    pub first: TaskId,
    /// How many they are; at most [`GROUP_TASKS_MAX`].
    pub size: u32,
    /// What the end of one means for the others.
    #[serde(default, skip_serializing_if = "GroupEnds::is_together")]
    pub ends: GroupEnds,
}

/// What it means for the others of a group that one has failed or was killed; the executor in the box goes
/// by it, others as they like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupEnds {
    /// They are killed, as by Mesos's default executor.
    #[default]
    Together,
    /// They go on.
    Apart,
    /// A way that this build does not know; taken for the first.
    #[serde(other)]
    Unknown,
}

impl GroupEnds {
    fn is_together(&self) -> bool {
        *self == Self::Together
    }
}
