//! What became of operations, counted by kind.

use meshos_protocol::{
    operation::{Operation, OperationState},
    time::{Mono, millis},
};
use serde::{Serialize, Serializer};

use crate::master::state::Core;

/// Kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    /// Sets resources aside for a role.
    Reserve,
    /// Undoes that.
    Unreserve,
    /// Makes volumes.
    Create,
    /// Ends them.
    Destroy,
    /// Makes a volume larger.
    Grow,
    /// Makes one smaller.
    Shrink,
    /// An earlier leader handed it on, or it is of another release.
    Unknown,
}

impl OperationKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Reserve,
        Self::Unreserve,
        Self::Create,
        Self::Destroy,
        Self::Grow,
        Self::Shrink,
        Self::Unknown,
    ];

    /// The name as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Unreserve => "unreserve",
            Self::Create => "create",
            Self::Destroy => "destroy",
            Self::Grow => "grow",
            Self::Shrink => "shrink",
            Self::Unknown => "unknown",
        }
    }

    pub(in crate::master) const fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Reserve { .. } => Self::Reserve,
            Operation::Unreserve { .. } => Self::Unreserve,
            Operation::Create { .. } => Self::Create,
            Operation::Destroy { .. } => Self::Destroy,
            Operation::Grow { .. } => Self::Grow,
            Operation::Shrink { .. } => Self::Shrink,
            Operation::Unknown => Self::Unknown,
        }
    }
}

/// What became of an operation of some kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationEnd {
    /// What it was.
    pub kind: OperationKind,
    /// Finished, failed, error, dropped or gone by operator.
    pub outcome: OperationState,
}

impl OperationEnd {
    /// Every one that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let outcomes = OperationState::ALL.into_iter().filter(|outcome| outcome.is_terminal());
        outcomes.flat_map(|outcome| OperationKind::ALL.map(|kind| Self { kind, outcome }))
    }
}

/// As `reserve_finished`.
impl Serialize for OperationEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}_{}", self.kind.name(), self.outcome.name()))
    }
}

impl Core {
    /// An operation was not handed on.
    pub(in crate::master) fn count_unsent(&mut self, kind: OperationKind, outcome: OperationState) {
        self.counters.operations_ended.add(OperationEnd { kind, outcome });
    }

    /// It is known what became of an operation that was handed on.
    pub(super) fn count_ended(
        &mut self,
        kind: OperationKind,
        handed_at: Option<Mono>,
        outcome: OperationState,
        now: Mono,
    ) {
        let end = OperationEnd { kind, outcome };
        self.counters.operations_ended.add(end);
        if let Some(handed_at) = handed_at {
            self.counters.operations_ms.add_many(end, millis(now.since(handed_at)));
        }
    }
}
