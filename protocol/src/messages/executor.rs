//! Between an agent and an executor, over the unix socket in the executor's sandbox.
//!
//! Frames are those of all streams: a length (four bytes, big-endian) and that many bytes of
//! MessagePack. The executor connects and subscribes; everything else follows
//! [`Event::Subscribed`]. Names are those of Mesos's executor API.
//!
//! What the executor needs to know is in its environment:
//!
//! | variable | value |
//! | --- | --- |
//! | `MESHOS_EXECUTOR_SOCKET` | the path of the socket |
//! | `MESHOS_EXECUTOR_TOKEN` | the token, good for this container alone |
//! | `MESHOS_FRAMEWORK_ID`, `MESHOS_EXECUTOR_ID`, `MESHOS_CONTAINER_ID` | who it is |
//! | `MESHOS_EXECUTOR_RECOVERY_TIMEOUT_MS` | how long it tries to come back when its agent is away |
//! | `MESHOS_EXECUTOR_SHUTDOWN_GRACE_MS` | how long it may take to end when it is told to |

use serde::{Deserialize, Serialize};

use crate::{
    check::CheckStatus,
    executor::ExecutorInfo,
    framework::FrameworkInfo,
    ids::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, UpdateId},
    task::{Reason, TaskDescription, TaskState},
    time::Wall,
};

/// The largest frame of an executor's socket.
pub const FRAME_BYTES_MAX: usize = 8 << 20;
/// The largest frame before the executor has said who it is.
pub const OPENING_BYTES_MAX: usize = 6 << 20;
/// The most updates that a subscribe carries; the others follow it.
pub const UPDATES_PER_SUBSCRIBE_MAX: usize = 1_000;
/// The most tasks that a subscribe names: more than one executor may have.
pub const TASKS_PER_SUBSCRIBE_MAX: usize = 20_000;
/// The most updates of one task that an executor may have on their way without an acknowledgement.
/// An agent remembers twice as many ids, so that it knows those again that are told twice.
pub const UPDATES_IN_FLIGHT_MAX: usize = 16;

/// What the path of the socket is in.
pub const SOCKET_VARIABLE: &str = "MESHOS_EXECUTOR_SOCKET";
/// What the token is in.
pub const TOKEN_VARIABLE: &str = "MESHOS_EXECUTOR_TOKEN";
/// What the framework's id is in.
pub const FRAMEWORK_VARIABLE: &str = "MESHOS_FRAMEWORK_ID";
/// What the executor's id is in.
pub const EXECUTOR_VARIABLE: &str = "MESHOS_EXECUTOR_ID";
/// What the container's id is in.
pub const CONTAINER_VARIABLE: &str = "MESHOS_CONTAINER_ID";
/// What the recovery timeout is in, in milliseconds.
pub const RECOVERY_VARIABLE: &str = "MESHOS_EXECUTOR_RECOVERY_TIMEOUT_MS";
/// What the time for a shutdown is in, in milliseconds.
pub const SHUTDOWN_VARIABLE: &str = "MESHOS_EXECUTOR_SHUTDOWN_GRACE_MS";

/// What an executor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Call {
    /// The first frame of a connection.
    Subscribe(Subscribe),
    /// A step in the life of one of its tasks; acknowledged when it is on the agent's disk.
    Update {
        /// The step.
        status: ExecutorStatus,
    },
    /// For its framework's scheduler; best effort.
    Message {
        /// Opaque; at most [`crate::executor::MESSAGE_BYTES_MAX`].
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// A call that this build does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// Who an executor is, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The newest wire version that it speaks.
    pub version: u32,
    /// The oldest wire version that it understands.
    pub version_min: u32,
    /// From its environment.
    pub token: String,
    /// Its framework.
    pub framework: FrameworkId,
    /// Its id.
    pub executor: ExecutorId,
    /// Its container.
    pub container: ContainerId,
    /// Random; drawn once when the program starts. Another one in the same container has nothing of what
    /// the one before it was handed, so those tasks fail. 0 is not known.
    #[serde(default)]
    pub program: u64,
    /// Whether this program was subscribed before: then it may have been handed tasks.
    #[serde(default)]
    pub again: bool,
    /// Whether it knows [`Event::LaunchGroup`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub groups: bool,
    /// The tasks that it was handed and whose end is not acknowledged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskId>,
    /// Whether `tasks` leave out those of which an update was acknowledged, as Mesos's executors do: these
    /// are as the agent has them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged_left_out: bool,
    /// Updates that are not acknowledged, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<ExecutorStatus>,
}

/// A step in a task's life, from its executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorStatus {
    /// The task.
    pub task: TaskId,
    /// Its state: starting, running, killing, finished, failed, killed, error, dropped or gone.
    pub state: TaskState,
    /// Random; the same however often the step is told.
    pub update: UpdateId,
    /// Why, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For the scheduler; at most [`crate::task::STATUS_DATA_BYTES_MAX`].
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<u8>,
    /// When it happened; the agent's time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Wall>,
    /// Whether the task is healthy, if the executor checks that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// What the task's check has found, if the executor carries it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_status: Option<CheckStatus>,
}

/// What an executor is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Event {
    /// It is subscribed.
    Subscribed(Box<Subscribed>),
    /// Run a task. No task is handed over twice.
    Launch {
        /// The task, without the description of the executor.
        task: Box<TaskDescription>,
    },
    /// Run these tasks, which are a group: all of them or none. Told to executors that say that they
    /// know groups ([`Subscribe::groups`]); no task is handed over twice.
    LaunchGroup {
        /// The tasks, without the description of the executor.
        tasks: Vec<TaskDescription>,
    },
    /// End a task, and tell it by an update. It may come again.
    Kill {
        /// The task.
        task: TaskId,
        /// Overrides the task's own grace period.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_ms: Option<u64>,
    },
    /// An update is on the agent's disk.
    Acknowledged {
        /// The task.
        task: TaskId,
        /// The update.
        update: UpdateId,
    },
    /// From its framework's scheduler; best effort.
    Message {
        /// Opaque.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// End all tasks, tell that, and end.
    Shutdown {
        /// Until it is ended.
        grace_ms: u64,
    },
    /// The subscription is refused, or over for good.
    Error {
        /// A whole sentence.
        message: String,
    },
    /// An event that this build does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// As what an executor is subscribed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The version of the connection.
    pub version: u32,
    /// Its own description, with its data.
    pub executor: ExecutorInfo,
    /// Its framework.
    pub framework: FrameworkId,
    /// What the framework says of itself, as far as the agent knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework_info: Option<Box<FrameworkInfo>>,
    /// Where it runs; absent while the agent is not admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The host name of the agent.
    #[serde(default)]
    pub hostname: String,
    /// Its container.
    pub container: ContainerId,
}
