//! From an instruction to a running container.

use meshos_protocol::{
    ids::{ContainerId, FrameworkId},
    messages::agent::ToLeader,
    task::{Reason, TaskLaunch, TaskState},
    time::Now,
};

use super::{
    Agent, Change, Effect, TaskRecord,
    executors::executor_of,
    register::Link,
    task::{Phase, Task, TaskKey},
};

impl Agent {
    /// Takes on a task: its record is written, and only then it is started. A task that is known
    /// is never started again; the leader is told what is known.
    pub(super) fn launch(
        &mut self,
        now: Now,
        framework: FrameworkId,
        user: &str,
        launch: TaskLaunch,
        effects: &mut Vec<Effect>,
    ) {
        let key = (framework, launch.description.task_id.clone());
        if self.tasks.contains_key(&key) {
            self.counters.launches_repeated += 1;
            self.answer_known(now, &key, effects);
            self.tell_not_started(framework, &launch, effects);
            return;
        }
        if let Some((reason, message)) = self.refusal(framework, &launch) {
            self.counters.launches_refused += 1;
            self.counters.launches_without_room += u64::from(reason == Reason::ResourcesExceeded);
            let mut status = self.status(now, &key, TaskState::Dropped);
            status.reason = Some(reason);
            status.message = message;
            status.executor = launch.description.executor_id().cloned();
            self.tell(ToLeader::Update { status }, effects);
            self.tell_not_started(framework, &launch, effects);
            return;
        }
        self.counters.launches += 1;
        self.take_on_executor(now, (framework, user), &launch, effects);
        let executor = executor_of(framework, &launch);
        let container = executor.and_then(|key| self.executors.get(&key));
        let container = container.map(|executor| executor.record.container.clone());
        let record = TaskRecord {
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
        };
        let write = self.write_for(&key, Change::Task(Box::new(record.clone())), effects);
        self.insert(Task::new(record, Phase::Recording { write }, self.first_wait()));
    }

    /// Why nothing can be launched, if so. Nothing was written of the task, so nothing needs to be
    /// written of its refusal: if the answer gets lost, the next registration does not list it.
    fn refusal(&self, framework: FrameworkId, launch: &TaskLaunch) -> Option<(Reason, String)> {
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
        if self.tasks.len() >= self.config.tasks_max {
            let message = format!(
                "the agent keeps {} tasks, ended but unacknowledged ones included, and takes no more",
                self.tasks.len()
            );
            return Some((Reason::TooManyTasks, message));
        }
        if let Some(refusal) = self.executor_refusal(framework, launch) {
            return Some(refusal);
        }
        let free = self.free();
        let mut wanted = launch.description.resources.clone();
        let starts =
            executor_of(framework, launch).is_some_and(|key| !self.executors.contains_key(&key));
        if let Some(resources) = launch.executor_resources.as_ref().filter(|_| starts) {
            wanted += resources;
        }
        if !free.contains(&wanted) {
            let message = format!("the task takes {wanted}, the agent has {free} free");
            return Some((Reason::ResourcesExceeded, message));
        }
        None
    }

    /// Tells the leader the state of a task that it launched although it exists.
    fn answer_known(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
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
