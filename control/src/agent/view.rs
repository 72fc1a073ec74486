//! An immutable picture of the agent, for reads and metrics.

use std::sync::Arc;

use meshos_protocol::{
    attributes::Attributes,
    ids::{AgentId, Fence, NodeId},
    resources::Resources,
    task::TaskState,
};
use serde::Serialize;

use super::{
    Agent, ExecutorRecord, TaskRecord,
    executors::Executor,
    register::Link,
    task::{Phase, Task},
};

/// The agent at one moment. Tasks are shared with the agent, so a picture is cheap.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// The agent's node.
    pub node: NodeId,
    /// The id under which it is admitted.
    pub agent: Option<AgentId>,
    /// The leader that it obeys.
    pub fence: Option<Fence>,
    /// Whether that leader has its registration.
    pub registered: bool,
    /// Whether it is being stopped together with its tasks.
    pub stopping: bool,
    /// Whether the leader offers it no more.
    pub draining: bool,
    /// Why its disk refuses writes, if it does.
    pub storage_failure: Option<String>,
    /// All that it has.
    pub resources: Resources,
    /// What its tasks and executors hold.
    pub used: Resources,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its tasks, ended but unacknowledged ones included; by framework and task id.
    pub tasks: Vec<TaskView>,
    /// Its executors, by framework and id.
    pub executors: Vec<ExecutorView>,
    /// How many probes of tasks are under way.
    pub probes: usize,
    /// How many checks of tasks wait for a place to be carried out.
    pub checks_waiting: usize,
    /// What it has counted since it started.
    pub counters: Counters,
}

/// One executor at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct ExecutorView {
    /// What is or is about to be on disk.
    pub record: Arc<ExecutorRecord>,
    /// Whether it holds a subscription.
    pub subscribed: bool,
}

/// One task at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct TaskView {
    /// What is or is about to be on disk.
    pub record: Arc<TaskRecord>,
    /// Its first process, while one is known to run.
    pub pid: Option<u32>,
    /// Whether its resources are still taken.
    pub holds_resources: bool,
}

/// What an agent counts, from 0 at every start of its node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Launches taken on.
    pub launches: u64,
    /// Launches answered with dropped.
    pub launches_refused: u64,
    /// Those of them for which there was no room: the leader's books are wrong.
    pub launches_without_room: u64,
    /// Launches of tasks that were known.
    pub launches_repeated: u64,
    /// Containers asked for.
    pub starts: u64,
    /// Tasks whose kill has begun.
    pub kills: u64,
    /// Tasks that ended finished.
    pub tasks_finished: u64,
    /// Tasks that ended failed.
    pub tasks_failed: u64,
    /// Tasks that ended killed.
    pub tasks_killed: u64,
    /// Tasks that were dropped after they had been written.
    pub tasks_dropped: u64,
    /// Probes of tasks begun.
    pub probes: u64,
    /// Probes of health checks that have failed, those within a grace period too.
    pub probes_failed: u64,
    /// Tasks whose kill has begun because their health check failed.
    pub health_kills: u64,
    /// Updates sent, repetitions included.
    pub updates_sent: u64,
    /// Updates sent again because nobody acknowledged them in time.
    pub updates_retried: u64,
    /// Updates acknowledged.
    pub updates_acknowledged: u64,
    /// Executors taken on.
    pub executors: u64,
    /// Tasks handed to executors.
    pub tasks_handed_over: u64,
    /// Calls of executors that they may not make.
    pub executor_calls_refused: u64,
    /// Messages between schedulers and executors that were dropped.
    pub executor_messages_dropped: u64,
    /// Operations on the agent's resources taken on.
    pub operations: u64,
    /// Registrations sent.
    pub registrations: u64,
    /// Instructions dropped because they were given under an old fence.
    pub stale_frames: u64,
    /// Instructions dropped because they were given under a fence that is not confirmed.
    pub unconfirmed_frames: u64,
}

impl Counters {
    pub(super) fn count_end(&mut self, state: TaskState) {
        match state {
            TaskState::Finished => self.tasks_finished += 1,
            TaskState::Failed => self.tasks_failed += 1,
            // Of a node that is drained to be gone.
            TaskState::Killed | TaskState::GoneByOperator => self.tasks_killed += 1,
            TaskState::Dropped => self.tasks_dropped += 1,
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Killing
            | TaskState::Error
            | TaskState::Gone
            | TaskState::Unreachable
            | TaskState::Lost
            | TaskState::Unknown => {}
        }
    }
}

impl Agent {
    /// An immutable picture for HTTP reads and metrics.
    pub fn view(&self) -> View {
        let (probes, checks_waiting) = self.probes();
        View {
            node: self.config.node,
            agent: self.id,
            fence: self.fence,
            registered: self.link == Link::Registered,
            stopping: self.stopping,
            draining: self.draining,
            storage_failure: self.storage.failure().map(str::to_owned),
            resources: self.operations.total.clone(),
            used: self.used.clone(),
            attributes: self.config.attributes.clone(),
            tasks: self.tasks.values().map(TaskView::of).collect(),
            executors: self.executors.values().map(ExecutorView::of).collect(),
            probes,
            checks_waiting,
            counters: self.counters,
        }
    }
}

impl ExecutorView {
    fn of(executor: &Executor) -> Self {
        Self { record: Arc::clone(&executor.record), subscribed: executor.subscribed }
    }
}

impl TaskView {
    fn of(task: &Task) -> Self {
        let pid = match task.phase {
            Phase::Running { pid } | Phase::Killing { pid } => pid,
            Phase::Recording { .. }
            | Phase::Queued
            | Phase::Starting
            | Phase::Ending { .. }
            | Phase::Ended
            | Phase::Forgetting { .. } => None,
        };
        Self { record: Arc::clone(&task.record), pid, holds_resources: task.holds_resources() }
    }
}
