//! The states of a task.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a task is in its life; the names are Mesos's without their prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Accepted; the agent has not started it.
    Staging,
    /// Being prepared: fetching, container set-up.
    Starting,
    /// Its process runs.
    Running,
    /// A kill is under way.
    Killing,
    /// Ended by itself with exit status 0.
    Finished,
    /// Ended badly: non-zero exit, a signal, a limit, or it could not be started.
    Failed,
    /// Ended because it was asked to.
    Killed,
    /// The description was invalid; launching it unchanged cannot succeed.
    Error,
    /// The launch never took effect; the task is not and was not running.
    Dropped,
    /// Its agent is there and does not know it.
    Gone,
    /// An operator declared its agent gone.
    GoneByOperator,
    /// Its agent cannot be reached; it may be running and may come back.
    Unreachable,
    /// It was dropped, or its agent is unreachable or gone, or nothing is known of it: what a
    /// framework that is not partition-aware is told in place of these. Made at the edges alone;
    /// one that comes over the wire is unknown.
    #[serde(skip_deserializing)]
    Lost,
    /// Nothing is known of it (also: a state that this build does not know).
    #[serde(other)]
    Unknown,
}

impl TaskState {
    /// Every state that a task can be in, for tables and tests: all but lost, which is only a word for
    /// several of them.
    pub const ALL: [Self; 13] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Error,
        Self::Dropped,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unreachable,
        Self::Unknown,
    ];

    /// Whether the task's life is over: no later state may follow.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Finished
            | Self::Failed
            | Self::Killed
            | Self::Error
            | Self::Dropped
            | Self::Gone
            | Self::GoneByOperator
            | Self::Lost => true,
            Self::Staging
            | Self::Starting
            | Self::Running
            | Self::Killing
            | Self::Unreachable
            | Self::Unknown => false,
        }
    }

    /// What a framework that is not partition-aware is told of this state: lost in place of the
    /// states that tell apart how a task was lost.
    #[must_use]
    pub const fn without_partitions(self) -> Self {
        match self {
            Self::Dropped
            | Self::Gone
            | Self::GoneByOperator
            | Self::Unreachable
            | Self::Lost
            | Self::Unknown => Self::Lost,
            Self::Staging
            | Self::Starting
            | Self::Running
            | Self::Killing
            | Self::Finished
            | Self::Failed
            | Self::Killed
            | Self::Error => self,
        }
    }

    /// Whether executors tell of it; all else is for agents and leaders to say.
    #[must_use]
    pub const fn is_told_by_executors(self) -> bool {
        match self {
            Self::Starting
            | Self::Running
            | Self::Killing
            | Self::Finished
            | Self::Failed
            | Self::Killed
            | Self::Error
            | Self::Dropped
            | Self::Gone => true,
            Self::Staging
            | Self::GoneByOperator
            | Self::Unreachable
            | Self::Lost
            | Self::Unknown => false,
        }
    }

    /// The name as printed and as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Killing => "killing",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Error => "error",
            Self::Dropped => "dropped",
            Self::Gone => "gone",
            Self::GoneByOperator => "gone_by_operator",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn lost_stands_for_what_only_partition_aware_frameworks_tell_apart() {
        let lost: Vec<&str> = TaskState::ALL
            .into_iter()
            .filter(|state| state.without_partitions() == TaskState::Lost)
            .map(TaskState::name)
            .collect();
        assert_eq!(lost, ["dropped", "gone", "gone_by_operator", "unreachable", "unknown"]);
        for state in TaskState::ALL.into_iter().filter(|state| !lost.contains(&state.name())) {
            assert_eq!(state.without_partitions(), state);
        }
        assert!(TaskState::Lost.is_terminal() && !TaskState::ALL.contains(&TaskState::Lost));
    }

    #[test]
    fn nobody_may_say_lost_over_the_wire() {
        assert_eq!(codec::decode(&codec::encode("lost")).ok(), Some(TaskState::Unknown));
        for state in TaskState::ALL {
            assert_eq!(codec::decode(&codec::encode(state.name())).ok(), Some(state));
        }
    }
}
