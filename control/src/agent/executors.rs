//! The executors of frameworks: containers that run many tasks, over a socket.
//!
//! An executor's record is on disk before it is started, and is removed when it is over and the ends
//! of its tasks are on disk. Its tasks wait in [`Phase::Queued`](super::task::Phase) until it has
//! subscribed, and are handed over once; from then on it tells of them.

mod handover;
mod life;
mod recovery;
mod updates;

pub(super) use updates::{fill_in, keep_id};

use std::sync::Arc;

use meshos_protocol::{
    executor::ExecutorInfo,
    framework::FrameworkInfo,
    ids::{ContainerId, ExecutorId, FrameworkId},
    messages::{agent::ExecutorReport, executor::Event as ExecutorEvent},
    resources::Resources,
    role::Role,
    task::{Exit, Reason, TaskLaunch},
    time::Wall,
};
use serde::{Deserialize, Serialize};

use super::{
    Agent, Effect, WriteId,
    task::{Task, TaskKey},
};
use crate::allowance::{Allowance, Rate};

/// Messages of one executor for its scheduler, in a second.
const MESSAGES_OF_EXECUTOR: Rate = Rate { messages: 1_000, bytes: 4 << 20 };
/// Those of all executors of an agent.
const MESSAGES_OF_AGENT: Rate = Rate { messages: 10_000, bytes: 16 << 20 };

/// Names an executor on its agent.
pub(super) type ExecutorKey = (FrameworkId, ExecutorId);

/// What an agent keeps on disk of one executor. Kept readable by all later builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorRecord {
    /// Whose executor it is.
    pub framework: FrameworkId,
    /// Whom it runs as unless its command says otherwise.
    #[serde(default)]
    pub user: String,
    /// What the framework said of itself when the executor was started, if the leader told that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework_info: Option<Box<FrameworkInfo>>,
    /// Its description.
    pub info: ExecutorInfo,
    /// The role that pays for it.
    pub role: Role,
    /// What it holds, beside its tasks.
    pub resources: Resources,
    /// The container it runs in.
    pub container: ContainerId,
    /// When the launch was accepted.
    pub launched_at: Wall,
    /// Set when it was told to end.
    #[serde(default)]
    pub shutdown_asked: bool,
    /// The program that subscribed last; before any has, the executor was handed no task.
    #[serde(default = "somebody")]
    pub program: Option<u64>,
}

/// Nobody knows whether an executor that an earlier release wrote down has subscribed.
const fn somebody() -> Option<u64> {
    Some(UNKNOWN_PROGRAM)
}

/// A program that has not said which it is.
const UNKNOWN_PROGRAM: u64 = 0;

/// The write that another program than before has subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Introduction {
    write: WriteId,
    /// Whether none had before.
    first: bool,
}

/// Where an executor is between the launch that starts it and its end.
#[derive(Debug, Clone)]
pub(super) enum ExecutorPhase {
    /// Its record is being written; nothing has been started.
    Recording { write: WriteId },
    /// Its container is being prepared and started.
    Starting,
    /// Its container runs.
    Running,
    /// It is over; its record is being removed.
    Ending { write: WriteId, exit: Option<Exit>, message: String },
}

/// One executor.
#[derive(Debug, Clone)]
pub(super) struct Executor {
    /// What is or will be on disk; shared with views.
    pub(super) record: Arc<ExecutorRecord>,
    pub(super) phase: ExecutorPhase,
    /// Whether it holds a subscription now.
    pub(super) subscribed: bool,
    /// Whether the program that holds it knows groups.
    pub(super) knows_groups: bool,
    /// Before that is on disk it is handed no task.
    introducing: Option<Introduction>,
    /// Whether it was told, or made, to end.
    pub(super) terminating: bool,
    /// Why the agent made it end: told of its tasks.
    pub(super) cause: Option<(Reason, String)>,
    /// Whether a container was ever asked for.
    pub(super) contained: bool,
    messages: Allowance,
}

impl Executor {
    pub(super) fn new(record: ExecutorRecord, phase: ExecutorPhase) -> Self {
        Self {
            record: Arc::new(record),
            phase,
            subscribed: false,
            knows_groups: false,
            introducing: None,
            terminating: false,
            cause: None,
            contained: false,
            messages: Allowance::default(),
        }
    }

    pub(super) fn key(&self) -> ExecutorKey {
        (self.record.framework, self.record.info.id.clone())
    }

    /// Whether tasks that wait may be handed over to it now.
    const fn may_be_handed(&self) -> bool {
        self.subscribed && self.introducing.is_none()
    }

    /// Whether tasks may still be given to it.
    pub(super) fn takes_tasks(&self) -> bool {
        !self.terminating && !matches!(self.phase, ExecutorPhase::Ending { .. })
    }

    pub(super) fn report(&self) -> ExecutorReport {
        let record = &self.record;
        ExecutorReport {
            framework: record.framework,
            executor: record.info.id.clone(),
            role: record.role.clone(),
            resources: record.resources.clone(),
            fingerprint: record.info.fingerprint(),
        }
    }
}

/// The executor that runs a task, if one does.
pub(super) fn executor_of(framework: FrameworkId, launch: &TaskLaunch) -> Option<ExecutorKey> {
    launch.description.executor_id().map(|executor| (framework, executor.clone()))
}

impl Task {
    /// The executor that runs it, if one does.
    pub(super) fn executor_key(&self) -> Option<ExecutorKey> {
        executor_of(self.record.framework, &self.record.launch)
    }
}

impl Agent {
    /// The executor that runs a task, if one does.
    pub(super) fn executor_id_of(&self, key: &TaskKey) -> Option<ExecutorId> {
        self.tasks.get(key)?.record.launch.description.executor_id().cloned()
    }

    /// The tasks of an executor that can still change their states, in order.
    pub(super) fn live_tasks_of(&self, key: &ExecutorKey) -> Vec<TaskKey> {
        let tasks = self.tasks.iter().filter(|(_, task)| task.is_live() && task.is_run_by(key));
        tasks.map(|(key, _)| key.clone()).collect()
    }

    /// What an executor and its live tasks may use together.
    fn limits_of(&self, key: &ExecutorKey) -> Resources {
        let own = self.executors.get(key).map(|it| it.record.resources.clone());
        let tasks = self.tasks.values().filter(|task| task.is_live() && task.is_run_by(key));
        let tasks: Resources = tasks.map(|task| &task.record.launch.description.resources).sum();
        own.unwrap_or_default() + &tasks
    }

    /// Its tasks have come or gone: so do the limits of its container.
    pub(super) fn follow_limits(&self, key: &ExecutorKey, effects: &mut Vec<Effect>) {
        let Some(executor) = self.executors.get(key) else { return };
        if let ExecutorPhase::Running = executor.phase {
            let container = executor.record.container.clone();
            effects.push(Effect::LimitContainer { container, resources: self.limits_of(key) });
        }
    }

    /// Says something to an executor that is subscribed. False when it is not.
    pub(super) fn tell_executor(
        &self,
        key: &ExecutorKey,
        event: ExecutorEvent,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(executor) = self.executors.get(key).filter(|it| it.subscribed) else {
            return false;
        };
        let container = executor.record.container.clone();
        effects.push(Effect::TellExecutor { container, event });
        true
    }
}

impl Task {
    fn is_run_by(&self, (framework, executor): &ExecutorKey) -> bool {
        self.record.framework == *framework
            && self.record.launch.description.executor_id() == Some(executor)
    }
}
