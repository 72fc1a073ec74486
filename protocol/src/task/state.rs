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
    /// Nothing is known of it (also: a state that this build does not know).
    #[serde(other)]
    Unknown,
}

impl TaskState {
    /// Every state, for tables and tests.
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
            | Self::GoneByOperator => true,
            Self::Staging
            | Self::Starting
            | Self::Running
            | Self::Killing
            | Self::Unreachable
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
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
