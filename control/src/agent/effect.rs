//! Everything that an agent can ask for, and what it keeps on disk.

use std::sync::Arc;

use meshos_protocol::{
    check::Probe,
    executor::ExecutorInfo,
    ids::{AgentId, ContainerId, ExecutorId, FrameworkId, OperationUuid, TaskId, UpdateId},
    messages::{agent::ToLeader, executor::Event as ExecutorEvent},
    resources::Resources,
    task::{DrainKill, Exit, StatusUpdate, TaskEnd, TaskLaunch, TaskState},
    time::Wall,
};
use serde::{Deserialize, Serialize};

use super::{CheckRecord, ExecutorRecord, OperationsRecord, TaskVolume, WriteId};

/// A wish of the agent, carried out by the shell in the order given.
///
/// **Write before act.** A container is started only after its record is on disk, and a terminal
/// update is sent only after it is: the agent wishes for the second when
/// [`super::Event::Persisted`] tells of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write to disk; the shell groups what is waiting into one durable write.
    Persist {
        /// Told back when durable.
        write: WriteId,
        /// What.
        change: Change,
    },
    /// Start a container.
    StartContainer {
        /// Its name; the shell derives sandbox and control groups from it.
        container: ContainerId,
        /// Whose task it is.
        framework: FrameworkId,
        /// Whom it runs as unless the command says otherwise; empty: the node's default.
        user: String,
        /// What runs.
        launch: TaskLaunch,
        /// The volumes that it holds. Their directories are made when they are not there.
        volumes: Vec<TaskVolume>,
    },
    /// Start the container of an executor.
    StartExecutor {
        /// Its name.
        container: ContainerId,
        /// Whose executor it is.
        framework: FrameworkId,
        /// Whom it runs as unless the command says otherwise; empty: the node's default.
        user: String,
        /// What runs.
        info: Box<ExecutorInfo>,
        /// What it and the tasks that wait for it may use.
        resources: Resources,
    },
    /// Ask a task that runs how it is; told back by [`super::Event::ProbeEnded`], or by [`super::Event::ContainerExited`] for
    /// the command of a probe, which runs in a container of its own within the task's.
    StartProbe {
        /// Names the probe, and its container if it has one.
        probe: ContainerId,
        /// How.
        how: Box<Probe>,
        /// The task.
        task: Arc<TaskRecord>,
    },
    /// Nobody waits for a probe any more, or it takes too long: end it. How it ends is told all the same.
    EndProbe {
        /// Which.
        probe: ContainerId,
    },
    /// Listen on an executor's socket, anew if it was listened on before; until the container is
    /// released.
    ServeExecutor {
        /// Its container.
        container: ContainerId,
    },
    /// Say something to an executor, over the connection on which it spoke last. After an error the
    /// connection is closed.
    TellExecutor {
        /// Its container.
        container: ContainerId,
        /// What.
        event: ExecutorEvent,
    },
    /// Change what a running container may use; only the newest word for it counts.
    LimitContainer {
        /// Which.
        container: ContainerId,
        /// All that it may use.
        resources: Resources,
    },
    /// Make the directories of new volumes, told back by [`super::Event::VolumesMade`]; those that
    /// are there already stay as they are.
    MakeVolumes {
        /// Which operation made the volumes.
        operation: OperationUuid,
        /// Names below the node's directory of volumes, or whole paths on other disks.
        directories: Vec<String>,
    },
    /// Remove what a destroyed volume held, told back by [`super::Event::VolumeRemoved`].
    RemoveVolume {
        /// Its directory, likewise.
        directory: String,
    },
    /// SIGTERM to the container's processes.
    Terminate {
        /// Which.
        container: ContainerId,
    },
    /// SIGKILL to everything in the container.
    Destroy {
        /// Which.
        container: ContainerId,
    },
    /// The container's end is on disk: the launcher may forget it.
    Release {
        /// Which.
        container: ContainerId,
    },
    /// End the node: the cluster does not take it in, or an operator has given it up.
    Halt {
        /// Why, and what to do, a sentence.
        why: String,
        /// Whether that is what somebody wanted: else the node has failed.
        wanted: bool,
    },
    /// Tell the leader, over the open stream.
    SendToLeader(ToLeader),
}

/// One change of what an agent keeps on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The id under which the agent is admitted; none after it was declared gone.
    Agent(Option<AgentId>),
    /// One task, whole.
    Task(Box<TaskRecord>),
    /// The tasks of a group, all of them or, after a crash, none.
    Group(Vec<TaskRecord>),
    /// What operations have made of the agent's resources, whole.
    Operations(Box<OperationsRecord>),
    /// One executor, whole.
    Executor(Box<ExecutorRecord>),
    /// The executor is over, and the ends of its tasks are written.
    ForgetExecutor {
        /// Whose executor it was.
        framework: FrameworkId,
        /// The executor.
        executor: ExecutorId,
    },
    /// The task is over and acknowledged.
    Forget {
        /// Whose task it was.
        framework: FrameworkId,
        /// The task.
        task: TaskId,
        /// How it ended, when that is to be remembered.
        end: Option<Box<RememberedEnd>>,
    },
}

/// One more ended task that an agent remembers, and what goes to make room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedEnd {
    /// Its place among those that are remembered: one above the newest before.
    pub number: u64,
    /// How it ended.
    pub end: Arc<TaskEnd>,
    /// The oldest that stays; all with lower numbers go.
    pub oldest: u64,
}

/// What an agent keeps on disk of one task. Kept readable by all later builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Whose task it is.
    pub framework: FrameworkId,
    /// Whom it runs as unless the command says otherwise.
    #[serde(default)]
    pub user: String,
    /// What was asked.
    pub launch: TaskLaunch,
    /// The container it runs in: its own, or that of its executor.
    pub container: ContainerId,
    /// The newest state.
    pub state: TaskState,
    /// When the launch was accepted.
    pub launched_at: Wall,
    /// When it began to run, if it has.
    #[serde(default)]
    pub started_at: Option<Wall>,
    /// Updates that the framework has not acknowledged, oldest first.
    #[serde(default)]
    pub unacknowledged: Vec<StatusUpdate>,
    /// How it ended.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Set when someone asked for its end.
    #[serde(default)]
    pub kill_asked: bool,
    /// Set when that was because its node is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainKill>,
    /// Set when that was because it ran for longer than it may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// What its checks have found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<CheckRecord>,
    /// The ids of the newest updates that its executor told, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates_taken: Vec<UpdateId>,
}
