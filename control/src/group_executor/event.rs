//! Everything that can happen to the executor in the box.

use meshos_protocol::{
    ids::TaskId,
    task::{Exit, Reason, TaskDescription},
};

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Run these tasks, which are a group.
    Launch(Vec<TaskDescription>),
    /// End a task; again, only to end it earlier.
    Kill {
        /// Which.
        task: TaskId,
        /// Overrides the task's own grace period.
        grace_ms: Option<u64>,
    },
    /// A task's process runs.
    Started {
        /// Which.
        task: TaskId,
    },
    /// A task could not be started; nothing of it runs.
    NotStarted {
        /// Which.
        task: TaskId,
        /// Why, by name.
        reason: Reason,
        /// Why, for people.
        message: String,
    },
    /// A task's process is over, and what it left behind is killed.
    Exited {
        /// Which.
        task: TaskId,
        /// How it ended.
        exit: Exit,
    },
    /// End everything.
    Shutdown {
        /// Until the executor itself is ended.
        grace_ms: u64,
    },
    /// Time has passed.
    Tick,
}
