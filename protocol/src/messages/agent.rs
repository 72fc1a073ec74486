//! Between an agent and the leader.

use serde::{Deserialize, Serialize};

use crate::{
    attributes::Attributes,
    framework::FrameworkInfo,
    ids::{
        AgentId, ExecutorId, Fence, FrameworkId, Generation, NodeId, OperationId, OperationUuid,
        TaskId, UpdateId,
    },
    operation::{Operation, OperationReport},
    resources::Resources,
    role::Role,
    task::{DrainKill, Exit, StatusUpdate, TaskEnd, TaskLaunch, TaskReport, TaskState},
    time::Wall,
    wishes::FaultDomain,
};

/// The most tasks in one frame of a registration.
pub const TASKS_PER_REPORT_MAX: usize = 1_000;

/// The most operations that an agent keeps until they are settled; it takes no more then.
pub const OPERATIONS_UNSETTLED_MAX: usize = 1_000;

/// What an agent tells the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ToLeader {
    /// The first frame: who the agent is and what it has.
    Register(Registration),
    /// Tasks that did not fit into the registration.
    Report {
        /// At most [`TASKS_PER_REPORT_MAX`].
        tasks: Vec<TaskReport>,
        /// Whether another report follows.
        more: bool,
    },
    /// A step in a task's life.
    Update {
        /// The step.
        status: StatusUpdate,
    },
    /// The task is over and that is on disk, but its terminal update waits until earlier updates
    /// are acknowledged, or has nobody to go to: its resources are free from now on. Not to be
    /// passed on to the framework.
    TaskEnded {
        /// The task's framework.
        framework: FrameworkId,
        /// The task.
        task: TaskId,
        /// Terminal.
        state: TaskState,
        /// When it ended, by the agent's clock; agents of earlier releases do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Wall>,
    },
    /// What became of an operation: done and on disk, or failed.
    Operation {
        /// The operation.
        report: OperationReport,
        /// All that the agent has now; told with what failed only.
        resources: Resources,
        /// The newest operation that `resources` follow; absent from agents of a release that does not
        /// tell it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        judged: Option<OperationUuid>,
    },
    /// The agent will not come back soon: its node is being stopped.
    Leaving,
    /// The answer to [`ToAgent::TellEnds`], or a part of it, newest first.
    Ends {
        /// At most [`TASKS_PER_REPORT_MAX`].
        ends: Vec<TaskEnd>,
        /// Whether another part follows.
        more: bool,
    },
    /// An executor is over, or was not started, and that is on disk: what it held is free.
    ExecutorEnded {
        /// The executor's framework.
        framework: FrameworkId,
        /// The executor.
        executor: ExecutorId,
        /// How its process ended, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<Exit>,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
    },
    /// From an executor for its framework's scheduler; best effort.
    ExecutorMessage {
        /// The framework.
        framework: FrameworkId,
        /// The executor.
        executor: ExecutorId,
        /// At most [`crate::executor::MESSAGE_BYTES_MAX`].
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// A message that this build does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// An executor as its agent reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorReport {
    /// Its framework.
    pub framework: FrameworkId,
    /// Its id.
    pub executor: ExecutorId,
    /// The role that pays for it.
    pub role: Role,
    /// What it holds, beside its tasks.
    pub resources: Resources,
    /// Of its description: [`crate::executor::ExecutorInfo::fingerprint`].
    pub fingerprint: u64,
}

/// Who an agent is and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The fence that the agent has on disk: the leader must be of this term.
    pub fence: Fence,
    /// The agent's node.
    pub node: NodeId,
    /// The node's start generation.
    pub generation: Generation,
    /// The id from an earlier admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Shown in offers; for locality and for people.
    pub hostname: String,
    /// `host:port` of the node's cluster HTTP port.
    #[serde(default)]
    pub http_address: String,
    /// `host:port` of the node's agent port (TCP for HTTP, UDP for QUIC).
    #[serde(default)]
    pub agent_address: String,
    /// The node's process, for operators on the same machine.
    #[serde(default)]
    pub pid: u32,
    /// The release that runs there.
    #[serde(default)]
    pub version: String,
    /// All that the agent has, as operations have made it.
    pub resources: Resources,
    /// The operations that are not settled, at most [`OPERATIONS_UNSETTLED_MAX`]; absent from an
    /// agent whose release carries none out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<OperationReport>>,
    /// Its executors, at most [`crate::executor::EXECUTORS_PER_AGENT_MAX`]; absent from an agent whose
    /// release knows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<Vec<ExecutorReport>>,
    /// Whether it knows [`ToAgent::LaunchGroup`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub groups: bool,
    /// Its attributes.
    #[serde(default)]
    pub attributes: Attributes,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<FaultDomain>,
    /// Its live tasks and those with unacknowledged updates.
    #[serde(default)]
    pub tasks: Vec<TaskReport>,
    /// Whether [`ToLeader::Report`] follows with more tasks.
    #[serde(default)]
    pub more: bool,
    /// How many ended tasks the agent remembers, to be asked for by [`ToAgent::TellEnds`].
    #[serde(default)]
    pub ends: u32,
}

/// One instruction of a leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToAgentFrame {
    /// Whose word it is; an agent drops lower terms than the one on its disk.
    pub fence: Fence,
    /// What to do.
    pub message: ToAgent,
}

/// What a leader tells an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ToAgent {
    /// The agent is admitted under this id; sent when the whole report is in.
    Registered {
        /// To be kept on disk.
        agent: AgentId,
        /// Whether it is offered no more; it tells the other nodes.
        #[serde(default)]
        draining: bool,
    },
    /// Whether the agent is offered from now on; its tasks go on either way. A hint, repeated at
    /// every registration.
    Drain {
        /// It is offered no more.
        draining: bool,
    },
    /// The agent is not admitted, and asking again would not help: its node is to end.
    Refused {
        /// Why, and what to do about it, for people.
        message: String,
    },
    /// The agent id has ended: end its tasks, forget the id, register anew.
    Gone {
        /// Why, for people.
        message: String,
        /// Whether its node is to end instead of registering anew: an operator has drained it to give
        /// it up. Agents of earlier releases register anew.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leave: bool,
    },
    /// Start tasks. A task that the agent knows is answered with its state.
    Launch {
        /// Whose tasks they are.
        framework: FrameworkId,
        /// Whom they run as unless they say otherwise; empty: the agent's default.
        #[serde(default)]
        user: String,
        /// What the framework says of itself, for executors that these tasks start. Absent when none does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        info: Option<Box<FrameworkInfo>>,
        /// What to start.
        tasks: Vec<TaskLaunch>,
    },
    /// Start the tasks of one group, which name the same executor: all of them or none.
    LaunchGroup {
        /// Whose tasks they are.
        framework: FrameworkId,
        /// As in [`ToAgent::Launch`].
        #[serde(default)]
        user: String,
        /// As in [`ToAgent::Launch`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        info: Option<Box<FrameworkInfo>>,
        /// All tasks of the group. The first carries what their executor is given, when it is to be started.
        tasks: Vec<TaskLaunch>,
    },
    /// End one task.
    Kill {
        /// Whose task it is.
        framework: FrameworkId,
        /// The task.
        task: TaskId,
        /// Overrides the task's own grace period.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_ms: Option<u64>,
        /// Set when it ends because its node is drained: then the grace period is the task's own, and no
        /// longer than this says. Agents of earlier releases go by `grace_ms`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain: Option<DrainKill>,
    },
    /// Do something to the agent's own resources. One that the agent knows is answered again.
    Operate {
        /// Names it, for good.
        uuid: OperationUuid,
        /// Whose it is; absent for an operator's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        framework: Option<FrameworkId>,
        /// The framework's name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<OperationId>,
        /// What to do.
        operation: Box<Operation>,
    },
    /// Whoever asked for the operation knows what became of it: the agent forgets it.
    SettleOperation {
        /// Which.
        uuid: OperationUuid,
    },
    /// The framework has a status update.
    Acknowledge {
        /// Whose task it is.
        framework: FrameworkId,
        /// The task.
        task: TaskId,
        /// The update.
        update: UpdateId,
    },
    /// End an executor and its tasks.
    ShutdownExecutor {
        /// Its framework.
        framework: FrameworkId,
        /// The executor.
        executor: ExecutorId,
        /// The longest time that it has for it, whatever it asks for itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_max_ms: Option<u64>,
    },
    /// From a scheduler for one of its executors; best effort.
    ExecutorMessage {
        /// The framework.
        framework: FrameworkId,
        /// The executor.
        executor: ExecutorId,
        /// At most [`crate::executor::MESSAGE_BYTES_MAX`].
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// The framework has ended: end its tasks and forget their updates.
    CloseFramework {
        /// Which.
        framework: FrameworkId,
    },
    /// Tell of the ended tasks that the agent remembers: history for people, nothing depends on it.
    TellEnds {
        /// Only those that ended after this moment, by the clocks of their agents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Wall>,
        /// At most so many, the newest.
        max: u32,
    },
    /// A message that this build does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// What a leader tells the other voters of a task, outside the log: a hint for the next leader
/// about the tasks of agents that do not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskHint {
    /// Whose task it is.
    pub framework: FrameworkId,
    /// The task.
    pub task: TaskId,
    /// Where it runs.
    pub agent: AgentId,
    /// What it holds; absent when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<TaskLaunch>,
    /// How it has ended, when the leader saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Box<TaskEnd>>,
}
