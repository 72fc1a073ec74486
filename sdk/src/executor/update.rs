//! An update as an executor tells it.

use meshos_protocol::{
    check::CheckStatus,
    ids::TaskId,
    task::{Reason, TaskState},
};

/// A step in a task's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskUpdate {
    pub(super) task: TaskId,
    pub(super) state: TaskState,
    pub(super) reason: Option<Reason>,
    pub(super) message: String,
    pub(super) data: Vec<u8>,
    pub(super) healthy: Option<bool>,
    pub(super) check_status: Option<CheckStatus>,
}

impl TaskUpdate {
    /// The task is in this state: starting, running, killing, finished, failed, killed or error. After
    /// one of the last four nothing more can be told of it.
    pub const fn new(task: TaskId, state: TaskState) -> Self {
        Self {
            task,
            state,
            reason: None,
            message: String::new(),
            data: Vec::new(),
            healthy: None,
            check_status: None,
        }
    }

    /// Why, by name.
    #[must_use]
    pub const fn reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Why, for people.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Whether the task is healthy: executors carry out the health checks of their tasks.
    #[must_use]
    pub const fn healthy(mut self, healthy: bool) -> Self {
        self.healthy = Some(healthy);
        self
    }

    /// What the task's check has found, likewise.
    #[must_use]
    pub const fn check_status(mut self, found: CheckStatus) -> Self {
        self.check_status = Some(found);
        self
    }

    /// For the scheduler; at most [`meshos_protocol::task::STATUS_DATA_BYTES_MAX`] bytes.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }
}
