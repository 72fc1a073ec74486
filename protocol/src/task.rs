//! Tasks: what a framework asks to run, the states it goes through, and the updates that tell it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    check::{Check, CheckStatus, HealthCheck},
    executor::ExecutorInfo,
    ids::{AgentId, ExecutorId, FrameworkId, TaskId, UpdateId},
    resources::Resources,
    role::Role,
    time::Wall,
};

mod command;
mod group;
mod reason;
mod state;

pub use command::{Command, CommandLine, Uri};
pub use group::{GROUP_BYTES_MAX, GROUP_TASKS_MAX, GroupEnds, GroupMember};
pub use reason::Reason;
pub use state::TaskState;

/// The longest time between SIGTERM and SIGKILL: a day. A task that asks for more is refused; a kill
/// that asks for more waits so long.
pub const KILL_GRACE_MAX_MS: u64 = 24 * 3_600 * 1_000;

/// The longest time that [`TaskDescription::max_completion_ms`] may say: ten years of 365 days.
pub const MAX_COMPLETION_MAX_MS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// The most bytes of data that a task carries for its executor.
pub const DATA_BYTES_MAX: usize = 256 << 10;
/// The most bytes of data in a status update: they are on the agent's disk until it is acknowledged.
pub const STATUS_DATA_BYTES_MAX: usize = 64 << 10;

/// The most bytes of the sentence in an executor's status update; agents cut off the rest.
pub const STATUS_MESSAGE_BYTES_MAX: usize = 16 << 10;

/// The sentence of an executor's status update as agents keep it: at most [`STATUS_MESSAGE_BYTES_MAX`], and no half
/// character.
#[must_use]
pub fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(STATUS_MESSAGE_BYTES_MAX));
    message
}

/// What a framework asks to run on one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDescription {
    /// Chosen by the framework; unique among its live tasks.
    pub task_id: TaskId,
    /// For people; need not be unique.
    #[serde(default)]
    pub name: String,
    /// What it takes from the offer.
    pub resources: Resources,
    /// What runs; [`Command::none`] for a task that an executor of the framework's own runs. Leaders of releases that know no
    /// executors refuse such a task, because its command is empty.
    pub command: Command,
    /// The executor that runs the task. The first task that names it on an agent starts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<Box<ExecutorInfo>>,
    /// The group that it is launched with; then it has an executor, and may have a command beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<GroupMember>>,
    /// For the executor; opaque to meshos, at most [`DATA_BYTES_MAX`].
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<u8>,
    /// Between SIGTERM and SIGKILL when the task is killed; the agent's default when absent, at most
    /// [`KILL_GRACE_MAX_MS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_grace_ms: Option<u64>,
    /// For how long it may run, in milliseconds from when it runs: then its agent kills it, and it fails with
    /// [`Reason::MaxCompletionTimeReached`]. Absent: for ever; at most [`MAX_COMPLETION_MAX_MS`]. Agents of releases that do not
    /// know it let the task run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_ms: Option<u64>,
    /// How its agent finds out whether it is healthy; a task of an executor is checked by that. Agents of releases that do not know
    /// it check nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<Box<HealthCheck>>,
    /// What else its agent asks it, and tells; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<Check>>,
    /// Opaque to meshos, shown to people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A task as the leader hands it to an agent: the description and the role that pays for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLaunch {
    /// What to run.
    pub description: TaskDescription,
    /// The role whose share the resources count against.
    pub role: Role,
    /// What the leader has allocated for the task's executor, when the task is to start it: without it
    /// the executor is there already, or the launch comes too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_resources: Option<Resources>,
}

/// How a task ends whose node an operator drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainKill {
    /// The longest time between SIGTERM and SIGKILL, whatever the task itself asks for.
    pub grace_max_ms: u64,
    /// Whether the node is to be declared gone once it is empty: then the task's end is told as
    /// [`TaskState::GoneByOperator`].
    #[serde(default)]
    pub mark_gone: bool,
}

impl TaskDescription {
    /// The id of the executor that runs the task, if one does.
    pub fn executor_id(&self) -> Option<&ExecutorId> {
        self.executor.as_ref().map(|executor| &executor.id)
    }
}

/// How a task's process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t")]
pub enum Exit {
    /// It exited with this code.
    Code {
        /// 0 to 255.
        code: i32,
    },
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// It is over, and nobody could read how.
    Unreadable {
        /// Why the status is not known, a sentence.
        why: String,
    },
    /// A way that this build does not know.
    #[serde(other)]
    Unknown,
}

/// Who made a status update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The leader: inferred, carries no id, needs no acknowledgement.
    Master,
    /// The agent, from what it saw of the container.
    Agent,
    /// The framework's executor.
    Executor,
    /// A source that this build does not know.
    #[serde(other)]
    Unknown,
}

/// One step in a task's life, told to its framework at least once and in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// The task's framework.
    pub framework: FrameworkId,
    /// The task.
    pub task: TaskId,
    /// Where it runs or ran; absent when no agent is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The state it tells.
    pub state: TaskState,
    /// Why, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why, in a sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Present when the framework must acknowledge it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateId>,
    /// When the step happened, by the clock of whoever made the update.
    pub at: Wall,
    /// Who made it.
    pub source: Source,
    /// The task's executor, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// From the executor, opaque to meshos; at most [`STATUS_DATA_BYTES_MAX`].
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<u8>,
    /// How the process ended, in terminal updates of tasks that had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Whether its health check finds it well, once that is known; false in the end of a task that was killed because it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// What its check has found, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_status: Option<CheckStatus>,
}

/// One task as its agent reports it to a leader: enough to rebuild the leader's picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task's framework.
    pub framework: FrameworkId,
    /// What was asked, and for which role.
    pub launch: TaskLaunch,
    /// The newest state on the agent.
    pub state: TaskState,
    /// Updates that the framework has not acknowledged, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unacknowledged: Vec<StatusUpdate>,
    /// When its agent took it on; agents of earlier releases do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_at: Option<Wall>,
    /// When it began to run, if it has; agents of earlier releases do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// Whether it is healthy, as in [`StatusUpdate::healthy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// What its check has found, as in [`StatusUpdate::check_status`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_status: Option<CheckStatus>,
}

/// A task that is over and that nobody needs any more, as its agent remembers it: so that people
/// still find it, and its log, when the leader has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEnd {
    /// The task's framework.
    pub framework: FrameworkId,
    /// The task.
    pub task: TaskId,
    /// The id of its agent at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// For people.
    pub name: String,
    /// The role that paid for it.
    pub role: Role,
    /// What it held.
    pub resources: Resources,
    /// Terminal.
    pub state: TaskState,
    /// Why, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How its process ended, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// When its agent took it on; 0 when that is not known.
    pub launched_at: Wall,
    /// When it began to run, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// When it ended, by the clock of its agent.
    pub ended_at: Wall,
}
