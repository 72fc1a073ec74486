//! From an instruction to a running container.

use meshos_protocol::{
    framework::FrameworkInfo,
    ids::{ContainerId, FrameworkId},
    messages::agent::ToLeader,
    resources::Resources,
    task::{Reason, TaskLaunch, TaskState},
    time::Now,
};

use super::{
    Agent, Change, Effect, TaskRecord,
    executors::executor_of,
    register::Link,
    task::{Phase, Task, TaskKey},
};

/// Whose tasks are launched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) framework: FrameworkId,
    /// Whom they run as unless they say otherwise.
    pub(super) user: &'a str,
    /// What the framework says of itself, for executors.
    pub(super) info: Option<&'a FrameworkInfo>,
}

impl Agent {
    /// Takes on a task: its record is written, and only then it is started. A task that is known
    /// is never started again; the leader is told what is known.
    pub(super) fn launch(
        &mut self,
        now: Now,
        of: Owner<'_>,
        launch: TaskLaunch,
        effects: &mut Vec<Effect>,
    ) {
        let framework = of.framework;
        let key = (framework, launch.description.task_id.clone());
        if self.tasks.contains_key(&key) {
            self.counters.launches_repeated += 1;
            self.answer_known(now, &key, effects);
            self.tell_not_started(framework, &launch, effects);
            return;
        }
        if let Some((reason, message)) = self.refusal(framework, std::slice::from_ref(&launch)) {
            self.count_refusal(reason);
            self.tell_refused(now, framework, &launch, (reason, message), effects);
            self.tell_not_started(framework, &launch, effects);
            return;
        }
        self.counters.launches += 1;
        self.take_on_executor(now, of, &launch, effects);
        let record = self.new_record(now, of, launch);
        let write = self.write_for(&key, Change::Task(Box::new(record.clone())), effects);
        self.insert(Task::new(record, Phase::Recording { write }, self.first_wait()));
    }

    /// The record of a task that is taken on, after its executor was.
    pub(super) fn new_record(
        &mut self,
        now: Now,
        Owner { framework, user, info: _ }: Owner<'_>,
        launch: TaskLaunch,
    ) -> TaskRecord {
        let executor = executor_of(framework, &launch);
        let container = executor.and_then(|key| self.executors.get(&key));
        let container = container.map(|executor| executor.record.container.clone());
        TaskRecord {
            framework,
            user: user.to_owned(),
            launch,
            container: container.unwrap_or_else(|| self.mint_container('t')),
            state: TaskState::Staging,
            launched_at: now.wall,
            started_at: None,
            unacknowledged: Vec::new(),
            exit: None,
            kill_asked: false,
            drain: None,
            overdue: false,
            checks: None,
            updates_taken: Vec::new(),
        }
    }

    pub(super) fn count_refusal(&mut self, reason: Reason) {
        self.counters.launches_refused += 1;
        self.counters.launches_without_room += u64::from(reason == Reason::ResourcesExceeded);
    }

    /// Tells the leader that a task is not taken on.
    pub(super) fn tell_refused(
        &mut self,
        now: Now,
        framework: FrameworkId,
        launch: &TaskLaunch,
        (reason, message): (Reason, String),
        effects: &mut Vec<Effect>,
    ) {
        let key = (framework, launch.description.task_id.clone());
        let mut status = self.status(now, &key, TaskState::Dropped);
        status.reason = Some(reason);
        status.message = message;
        status.executor = launch.description.executor_id().cloned();
        self.tell(ToLeader::Update { status }, effects);
    }

    /// Why nothing of what is to be launched together can be, if so. Nothing was written of the tasks, so nothing
    /// needs to be written of their refusal: if the answer gets lost, the next registration does not list them.
    pub(super) fn refusal(
        &self,
        framework: FrameworkId,
        launches: &[TaskLaunch],
    ) -> Option<(Reason, String)> {
        if let Some(why) = self.storage.failure() {
            let message = format!("the agent's disk refuses writes: {why}");
            return Some((Reason::StorageFailed, message));
        }
        if self.stopping {
            let message = "the agent's node is being stopped together with its tasks".to_owned();
            return Some((Reason::AgentStopped, message));
        }
        if self.id.is_none() || self.link != Link::Registered {
            let message = "the agent is not registered with this leader".to_owned();
            return Some((Reason::AgentDisconnected, message));
        }
        if self.tasks.len() + launches.len() > self.config.tasks_max {
            let message = format!(
                "the agent keeps {} tasks, ended but unacknowledged ones included, and takes no more",
                self.tasks.len()
            );
            return Some((Reason::TooManyTasks, message));
        }
        let first = launches.first()?;
        if let Some(refusal) = self.executor_refusal(framework, first) {
            return Some(refusal);
        }
        let free = self.free();
        let mut wanted: Resources =
            launches.iter().map(|launch| &launch.description.resources).sum();
        let starts =
            executor_of(framework, first).is_some_and(|key| !self.executors.contains_key(&key));
        if let Some(resources) = first.executor_resources.as_ref().filter(|_| starts) {
            wanted += resources;
        }
        if !free.contains(&wanted) {
            let who = if launches.len() > 1 { "the group" } else { "the task" };
            let message = format!("{who} takes {wanted}, the agent has {free} free");
            return Some((Reason::ResourcesExceeded, message));
        }
        None
    }

    /// Tells the leader the state of a task that it launched although it exists.
    pub(super) fn answer_known(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(key) else { return };
        if matches!(task.phase, Phase::Forgetting { .. }) {
            // Acknowledged, so this is a new task under an old name: a little too early.
            let mut status = self.status(now, key, TaskState::Dropped);
            status.reason = Some(Reason::TaskInvalid);
            status.message = "the agent is still forgetting an earlier task of this id".to_owned();
            self.tell(ToLeader::Update { status }, effects);
            return;
        }
        if task.head().is_some() {
            if self.link == Link::Registered {
                self.send_head_again(now, key, effects);
            }
            return;
        }
        let status = self.status(now, key, task.record.state);
        self.tell(ToLeader::Update { status }, effects);
    }

    pub(super) fn mint_container(&mut self, kind: char) -> ContainerId {
        self.containers_minted += 1;
        let text = format!("{kind}{}-{}", self.config.generation, self.containers_minted);
        ContainerId::new(&text).expect("a letter, two numbers and a dash make a container id")
    }

    /// The record is on disk: the container may start. Preparing it takes long only when there is
    /// something to fetch, so only then that is a step of its own for the framework.
    pub(super) fn start(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(key) else { return };
        if let Some(executor) = task.executor_key() {
            self.queue_task(now, key, &executor, effects);
            return;
        }
        let volumes = self.volumes_of(&task.record.launch.description.resources);
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.contained = true;
        let fetches = !task.record.launch.description.command.uris.is_empty();
        effects.push(Effect::StartContainer {
            container: task.record.container.clone(),
            framework: task.record.framework,
            user: task.record.user.clone(),
            launch: task.record.launch.clone(),
            volumes,
        });
        self.counters.starts += 1;
        self.enter(key, Phase::Starting);
        if fetches {
            self.progress(now, key, TaskState::Starting, effects);
        }
    }

    pub(super) fn container_started(
        &mut self,
        now: Now,
        container: ContainerId,
        pid: u32,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(key) = self.executor_containers.get(&container).cloned() {
            self.executor_started(now, &key, effects);
            return;
        }
        if self.checks.is_probe(&container) {
            return;
        }
        let key = self.containers.get(&container).cloned();
        let task = key.as_ref().and_then(|key| self.tasks.get(key));
        match (key, task.map(|task| &task.phase)) {
            (Some(key), Some(Phase::Starting)) => {
                self.enter(&key, Phase::Running { pid: Some(pid) });
                self.progress(now, &key, TaskState::Running, effects);
            }
            (Some(_), Some(Phase::Running { .. })) => {}
            (Some(key), Some(Phase::Killing { .. })) => {
                self.enter(&key, Phase::Killing { pid: Some(pid) });
                self.destroy(now, &key, effects);
            }
            // Nobody waits for it any more.
            (_, Some(_) | None) => effects.push(Effect::Destroy { container }),
        }
    }
}
