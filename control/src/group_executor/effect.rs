//! Everything that the executor in the box can ask for.

use meshos_protocol::{
    ids::TaskId,
    task::{Reason, TaskDescription, TaskState},
};

/// A wish, carried out in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Prepare a task's directory and start its process; told back by [`super::Event::Started`] or
    /// [`super::Event::NotStarted`].
    Start(Box<TaskDescription>),
    /// SIGTERM to a task's processes.
    Terminate(TaskId),
    /// SIGKILL to a task's processes, and an end to its preparation.
    Destroy(TaskId),
    /// Tell a step in a task's life.
    Tell {
        /// Which task.
        task: TaskId,
        /// Its state.
        state: TaskState,
        /// Why, by name.
        reason: Option<Reason>,
        /// Why, for people.
        message: String,
    },
    /// Nothing is left, and the executor was told to end: it may.
    Stop,
}
