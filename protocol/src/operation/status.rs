//! Operations on their way, and what became of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Operation;
use crate::ids::{AgentId, FrameworkId, OperationId, OperationUuid};

/// One operation of an accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRequest {
    /// The framework's name for it. With one, its [`OperationStatus`] is told until it is
    /// acknowledged; without, nothing is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<OperationId>,
    /// What is to be done.
    pub operation: Operation,
}

/// Where an operation stands. Names are those of Mesos, without the `OPERATION_` prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// It is on its way to the agent, or being written there.
    Pending,
    /// It is done, and on the agent's disk.
    Finished,
    /// The agent could not do it; nothing has changed.
    Failed,
    /// It breaks a rule; nothing has changed.
    Error,
    /// It did not reach the agent; nothing has changed.
    Dropped,
    /// Its agent cannot be reached: it is told more when that comes back.
    Unreachable,
    /// An operator declared its agent gone.
    GoneByOperator,
    /// A state that this release does not know.
    #[serde(other)]
    Unknown,
}

impl OperationState {
    /// Every state that this release knows.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Finished,
        Self::Failed,
        Self::Error,
        Self::Dropped,
        Self::Unreachable,
        Self::GoneByOperator,
    ];

    /// Whether nothing more will become of the operation.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Finished | Self::Failed | Self::Error | Self::Dropped | Self::GoneByOperator => {
                true
            }
            Self::Pending | Self::Unreachable | Self::Unknown => false,
        }
    }

    /// The name as on the wire and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Dropped => "dropped",
            Self::Unreachable => "unreachable",
            Self::GoneByOperator => "gone_by_operator",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// What a framework is told of an operation that it gave an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStatus {
    /// The framework's name for the operation.
    pub id: OperationId,
    /// Where it stands.
    pub state: OperationState,
    /// Why, for people; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The agent whose resources they are; absent when the offers named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Present when it is to be acknowledged: until then it is told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<OperationUuid>,
}

/// Asks where an operation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationQuery {
    /// The framework's name for it.
    pub id: OperationId,
    /// The agent whose offers were accepted.
    pub agent: AgentId,
}

/// What an agent tells the leader of an operation: as its answer, and at each registration until
/// it is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationReport {
    /// Which.
    pub uuid: OperationUuid,
    /// Whose it is; absent for an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<FrameworkId>,
    /// The framework's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<OperationId>,
    /// Pending, finished or failed.
    pub state: OperationState,
    /// Why it failed, a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
