//! Questions and kills that wait for their answers, and those that a busy leader must be asked again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_protocol::{
    framework::FrameworkInfo,
    ids::{RequestId, TaskId},
    messages::scheduler::{Call, TaskQuery},
    operation::OperationQuery,
    role::Role,
};

/// Calls whose answers are awaited; the oldest is not asked again when there are more.
const AWAITED_MAX: usize = 10_000;
/// Calls that wait to be asked again, the same way.
const AGAIN_MAX: usize = 10_000;
/// The wait before a busy leader is asked again; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What may be asked again.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    /// The states of tasks.
    Tasks(Vec<TaskQuery>),
    /// Where operations stand.
    Operations(Vec<OperationQuery>),
    /// The end of a task.
    Kill(TaskId),
    /// That the wishes are put on record.
    Wishes,
    /// That the framework's description is put on record.
    Update(Box<FrameworkInfo>),
    /// Offers in these roles; in all when there are none.
    Revive(BTreeSet<Role>),
}

impl Question {
    /// What a call asks that may be asked again, if it does.
    pub(super) fn of(call: &Call) -> Option<Self> {
        match call {
            Call::Reconcile { tasks } => Some(Self::Tasks(tasks.clone())),
            Call::ReconcileOperations { operations } => Some(Self::Operations(operations.clone())),
            Call::Kill { task, .. } => Some(Self::Kill(task.clone())),
            Call::Wish { .. } => Some(Self::Wishes),
            Call::UpdateFramework(update) => Some(Self::Update(Box::new(update.info.clone()))),
            Call::Revive { roles } => Some(Self::Revive(roles.clone())),
            _ => None,
        }
    }
}

/// What is awaited at the present leader.
#[derive(Debug, Default)]
pub(super) struct Asked {
    awaited: BTreeMap<RequestId, Question>,
    again: Vec<Question>,
    /// How often in a row the leader was busy.
    busy: u32,
}

impl Asked {
    /// A call was sent whose answer has this id.
    pub(super) fn sent(&mut self, request: RequestId, question: Question) {
        self.awaited.insert(request, question);
        if self.awaited.len() > AWAITED_MAX {
            self.awaited.pop_first();
        }
    }

    /// The leader has carried the call out, or never will. What it was.
    pub(super) fn done(&mut self, request: RequestId) -> Option<Question> {
        let question = self.awaited.remove(&request)?;
        self.busy = 0;
        Some(question)
    }

    /// Whether wishes are on their way, or wait to be told again.
    pub(super) fn awaits_wishes(&self) -> bool {
        self.awaited.values().chain(&self.again).any(|question| *question == Question::Wishes)
    }

    /// Whether an update is on its way, or waits to be told again.
    pub(super) fn awaits_update(&self) -> bool {
        let mut all = self.awaited.values().chain(&self.again);
        all.any(|question| matches!(question, Question::Update(_)))
    }

    /// The leader was too busy: says when to ask again, unless that is set already.
    pub(super) fn refused_as_busy(&mut self, request: RequestId) -> Option<Duration> {
        let question = self.awaited.remove(&request)?;
        if self.again.len() >= AGAIN_MAX {
            return None;
        }
        self.again.push(question);
        if self.again.len() > 1 {
            return None;
        }
        let wait = BACKOFF_MIN.saturating_mul(1 << self.busy.min(16)).min(BACKOFF_MAX);
        self.busy = self.busy.saturating_add(1);
        Some(wait)
    }

    /// What is to be asked again, now that the time has come.
    pub(super) fn take_again(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.again)
    }

    /// The subscription is another, or over: everything is asked anew, or nothing.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
