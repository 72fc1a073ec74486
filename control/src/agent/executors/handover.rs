//! What goes through an executor's socket but updates: subscriptions, tasks, kills, messages.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    codec::{WIRE_VERSION, WIRE_VERSION_MIN},
    executor::MESSAGE_BYTES_MAX,
    ids::{ContainerId, ExecutorId, FrameworkId, TaskId},
    messages::{
        agent::ToLeader,
        executor::{
            Call, Event as ExecutorEvent, Subscribe, Subscribed, TASKS_PER_SUBSCRIBE_MAX,
            UPDATES_PER_SUBSCRIBE_MAX,
        },
    },
    task::{Reason, TaskState},
    time::{Now, millis},
};

use super::{
    super::{
        Agent, Change, Effect,
        end::End,
        register::Link,
        storage::Waiter,
        task::{Phase, TaskKey},
    },
    Executor, ExecutorKey, ExecutorPhase, Introduction, MESSAGES_OF_AGENT, MESSAGES_OF_EXECUTOR,
    UNKNOWN_PROGRAM,
};

/// What an executor that subscribes knows of the tasks that it was handed.
#[derive(Debug, Clone, Copy)]
enum Memory<'a> {
    /// It was handed none: it never subscribed before.
    Blank,
    /// It has these.
    Of(&'a BTreeSet<TaskId>),
    /// It has these, and all of which it had told.
    OfThoseUntold(&'a BTreeSet<TaskId>),
    /// Its program was started anew in its container, and knows nothing of what the one before it was
    /// handed, which may have begun any of it.
    Lost,
}

impl<'a> Memory<'a> {
    /// That of a program that says which it is, whether it was subscribed before, and what it has;
    /// `recorded` is the one that subscribed last.
    fn of(recorded: Option<u64>, subscribe: &Subscribe, had: &'a BTreeSet<TaskId>) -> Self {
        let Subscribe { program, again, .. } = *subscribe;
        let has = if subscribe.acknowledged_left_out { Self::OfThoseUntold } else { Self::Of };
        match recorded {
            None => Self::Blank,
            Some(UNKNOWN_PROGRAM) if again => has(had),
            Some(_) if program == UNKNOWN_PROGRAM && again => has(had),
            Some(known) if known == program && known != UNKNOWN_PROGRAM => has(had),
            Some(_) => Self::Lost,
        }
    }

    /// Whether it has a task of which it told something (`told`), or nothing yet.
    fn has(self, task: &TaskId, told: bool) -> bool {
        match self {
            Self::Of(had) => had.contains(task),
            Self::OfThoseUntold(had) => told || had.contains(task),
            Self::Blank | Self::Lost => false,
        }
    }
}

impl Agent {
    /// An executor said something; the shell has checked its token and its user.
    pub(in crate::agent) fn executor_called(
        &mut self,
        now: Now,
        container: ContainerId,
        call: Call,
        effects: &mut Vec<Effect>,
    ) {
        let key = self.executor_containers.get(&container).cloned();
        if let Call::Subscribe(subscribe) = call {
            match self.judge_subscribe(key, &subscribe) {
                Ok(key) => self.executor_subscribed(now, &key, subscribe, effects),
                Err(message) => {
                    let event = ExecutorEvent::Error { message };
                    effects.push(Effect::TellExecutor { container, event });
                }
            }
            return;
        }
        let Some(key) = key else { return };
        if !self.executors.get(&key).is_some_and(|executor| executor.subscribed) {
            self.counters.executor_calls_refused += 1;
            return;
        }
        match call {
            Call::Update { status } => self.executor_update(now, &key, status, effects),
            Call::Message { data } => self.message_from_executor(now, key, data, effects),
            Call::Subscribe(_) | Call::Unknown => {}
        }
    }

    fn judge_subscribe(
        &self,
        key: Option<ExecutorKey>,
        subscribe: &Subscribe,
    ) -> Result<ExecutorKey, String> {
        let key = key.ok_or("the executor is not known to the agent any more: end it")?;
        let executor = self.executors.get(&key).ok_or("the executor is not known to the agent")?;
        let (framework, id) = &key;
        if subscribe.framework != *framework
            || subscribe.executor != *id
            || subscribe.container != executor.record.container
        {
            return Err(format!(
                "the token belongs to executor {id} of framework {framework} in container {}",
                executor.record.container
            ));
        }
        if !matches!(executor.phase, ExecutorPhase::Running) {
            return Err("the executor's container does not run".to_owned());
        }
        if subscribe.version < WIRE_VERSION_MIN || subscribe.version_min > WIRE_VERSION {
            return Err(format!(
                "the executor speaks versions {} to {} of the wire, the agent {WIRE_VERSION_MIN} to {WIRE_VERSION}",
                subscribe.version_min, subscribe.version
            ));
        }
        if subscribe.tasks.len() > TASKS_PER_SUBSCRIBE_MAX
            || subscribe.updates.len() > UPDATES_PER_SUBSCRIBE_MAX
        {
            return Err(format!(
                "a subscribe may name {TASKS_PER_SUBSCRIBE_MAX} tasks and {UPDATES_PER_SUBSCRIBE_MAX} updates at most"
            ));
        }
        Ok(key)
    }

    fn executor_subscribed(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        subscribe: Subscribe,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.subscribed = true;
        executor.knows_groups = subscribe.groups;
        let (record, terminating) = (std::sync::Arc::clone(&executor.record), executor.terminating);
        self.deadlines.clear(&super::super::deadlines::Deadline::ExecutorAwaited(key.clone()));
        let subscribed = Subscribed {
            version: WIRE_VERSION.min(subscribe.version),
            executor: record.info.clone(),
            framework: record.framework,
            framework_info: record.framework_info.clone(),
            agent: self.id,
            hostname: self.config.hostname.clone(),
            container: record.container.clone(),
        };
        self.tell_executor(key, ExecutorEvent::Subscribed(Box::new(subscribed)), effects);
        let told = subscribe.updates.iter().map(|status| &status.task);
        let had: BTreeSet<TaskId> = subscribe.tasks.iter().chain(told).cloned().collect();
        let memory = Memory::of(record.program, &subscribe, &had);
        for status in subscribe.updates.iter().cloned() {
            self.executor_update(now, key, status, effects);
        }
        self.compare_tasks(now, key, memory, effects);
        // Behind what was said of the tasks of the program before it.
        self.introduce(key, subscribe.program, effects);
        if terminating {
            let grace_ms = millis(self.shutdown_grace(&record.info));
            self.tell_executor(key, ExecutorEvent::Shutdown { grace_ms }, effects);
            return;
        }
        self.hand_over_all(now, key, effects);
        self.end_idle_executor(now, key, effects);
    }

    /// Writes down which program of an executor is subscribed, if it is another than before.
    fn introduce(&mut self, key: &ExecutorKey, program: u64, effects: &mut Vec<Effect>) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if executor.record.program == Some(program) {
            return;
        }
        let record = std::sync::Arc::make_mut(&mut executor.record);
        let unknown = record.program.replace(program).is_none();
        // The one before it may have come and gone before that was on disk.
        let first = unknown || executor.introducing.is_some_and(|it| it.first);
        let change = Change::Executor(Box::new(record.clone()));
        let write = self.write_waited_for(Waiter::Executor(key.clone()), change, effects);
        if let Some(executor) = self.executors.get_mut(key) {
            executor.introducing = Some(Introduction { write, first });
        }
    }

    /// That an executor has subscribed is on disk: from now on it is handed tasks.
    pub(super) fn executor_introduced(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        first: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.introducing = None;
        if executor.terminating {
            return;
        }
        self.hand_over_all(now, key, effects);
        if first && self.live_tasks_of(key).is_empty() {
            // Its tasks were killed before it was there, so nobody knows of it who would end it.
            self.shut_down_executor(now, key, None, effects);
        }
    }

    /// What of its tasks an executor has that subscribes.
    fn compare_tasks(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        memory: Memory<'_>,
        effects: &mut Vec<Effect>,
    ) {
        for task_key in self.live_tasks_of(key) {
            let Some(task) = self.tasks.get(&task_key) else { continue };
            let Phase::Running { .. } = task.phase else { continue };
            let untouched = task.record.state == TaskState::Staging;
            let kill_asked = task.record.kill_asked;
            match memory {
                memory if memory.has(&task_key.1, !untouched) => {
                    if kill_asked {
                        let grace_ms = self.grace_of_drain(&task_key);
                        self.tell_kill(&task_key, grace_ms, effects);
                    }
                }
                Memory::Blank if untouched && kill_asked => {
                    self.killed_in_group_before_start(now, &task_key, effects);
                }
                Memory::Blank if untouched => self.enter(&task_key, Phase::Queued),
                Memory::Of(_) | Memory::OfThoseUntold(_) if untouched => {
                    let message = "the task's executor was never told of the task";
                    let reason = Some(Reason::LaunchInterrupted);
                    let end = End::new(TaskState::Dropped, reason, message.to_owned());
                    self.finish(now, &task_key, end, effects);
                }
                Memory::Of(_) | Memory::OfThoseUntold(_) | Memory::Blank | Memory::Lost => {
                    let message = "the task's executor does not have the task any more";
                    let reason = Some(Reason::ExecutorTerminated);
                    let end = End::new(TaskState::Failed, reason, message.to_owned());
                    self.finish(now, &task_key, end, effects);
                }
            }
        }
    }

    /// How long a task has that is ended because its node is drained.
    fn grace_of_drain(&self, key: &TaskKey) -> Option<u64> {
        let record = &self.tasks.get(key)?.record;
        let own = record.launch.description.kill_grace_ms;
        record.drain.map(|drain| millis(self.grace_in_drain(own, Some(drain))))
    }

    /// A task's record is on disk: it goes to its executor as soon as that is subscribed.
    pub(in crate::agent) fn queue_task(
        &mut self,
        now: Now,
        task: &TaskKey,
        executor: &ExecutorKey,
        effects: &mut Vec<Effect>,
    ) {
        self.enter(task, Phase::Queued);
        self.queued(now, std::slice::from_ref(task), executor, effects);
    }

    /// A task waits for its executor, or all of a group do.
    pub(in crate::agent) fn queued(
        &mut self,
        now: Now,
        tasks: &[TaskKey],
        executor: &ExecutorKey,
        effects: &mut Vec<Effect>,
    ) {
        let Some(found) = self.executors.get(executor) else {
            for task in tasks {
                let why = "the task's executor is over".to_owned();
                let end = End::new(TaskState::Dropped, Some(Reason::ExecutorTerminated), why);
                self.finish(now, task, end, effects);
            }
            return;
        };
        if found.terminating {
            // They end with their executor.
            return;
        }
        self.follow_limits(executor, effects);
        self.hand_over_all(now, executor, effects);
    }

    fn hand_over_all(&mut self, now: Now, key: &ExecutorKey, effects: &mut Vec<Effect>) {
        if !self.executors.get(key).is_some_and(Executor::may_be_handed) {
            return;
        }
        let queued = |task: &TaskKey| {
            self.tasks.get(task).is_some_and(|task| matches!(task.phase, Phase::Queued))
        };
        let tasks: Vec<TaskKey> = self.live_tasks_of(key).into_iter().filter(queued).collect();
        let mut groups: BTreeMap<TaskId, Vec<TaskKey>> = BTreeMap::new();
        for task in tasks {
            match self.tasks.get(&task).and_then(|task| task.group()).cloned() {
                Some(group) => groups.entry(group).or_default().push(task),
                None => self.hand_over(&task, key, effects),
            }
        }
        for group in groups.values() {
            self.hand_over_group(now, group, key, effects);
        }
    }

    fn hand_over(&mut self, task: &TaskKey, executor: &ExecutorKey, effects: &mut Vec<Effect>) {
        let Some(found) = self.tasks.get(task) else { return };
        let mut description = found.record.launch.description.clone();
        description.executor = None;
        let event = ExecutorEvent::Launch { task: Box::new(description) };
        if self.tell_executor(executor, event, effects) {
            self.counters.tasks_handed_over += 1;
            self.enter(task, Phase::Running { pid: None });
        }
    }

    /// Asks the executor of a running task for its end; again when the executor comes back.
    pub(in crate::agent) fn kill_by_executor(
        &mut self,
        key: &TaskKey,
        grace_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if !task.record.kill_asked {
            task.record_mut().kill_asked = true;
            self.counters.kills += 1;
            self.write_record(key, effects);
        }
        self.tell_kill(key, grace_ms, effects);
    }

    fn tell_kill(&self, key: &TaskKey, grace_ms: Option<u64>, effects: &mut Vec<Effect>) {
        let executor = self.tasks.get(key).and_then(|task| task.executor_key());
        if let Some(executor) = executor {
            let event = ExecutorEvent::Kill { task: key.1.clone(), grace_ms };
            self.tell_executor(&executor, event, effects);
        }
    }

    /// An executor's connection is closed.
    pub(in crate::agent) fn executor_disconnected(&mut self, now: Now, container: &ContainerId) {
        let Some(key) = self.executor_containers.get(container).cloned() else { return };
        let Some(executor) = self.executors.get_mut(&key) else { return };
        let running = matches!(executor.phase, ExecutorPhase::Running);
        if std::mem::take(&mut executor.subscribed) && running && !executor.terminating {
            self.await_executor(now, &key);
        }
    }

    fn message_from_executor(
        &mut self,
        now: Now,
        key: ExecutorKey,
        data: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get_mut(&key) else { return };
        let passes = data.len() <= MESSAGE_BYTES_MAX
            && self.link == Link::Registered
            && executor.messages.take(now.mono, data.len(), MESSAGES_OF_EXECUTOR)
            && self.executor_messages.take(now.mono, data.len(), MESSAGES_OF_AGENT);
        if !passes {
            self.counters.executor_messages_dropped += 1;
            return;
        }
        let (framework, executor) = key;
        self.tell(ToLeader::ExecutorMessage { framework, executor, data }, effects);
    }

    /// A scheduler has a message for one of its executors.
    pub(in crate::agent) fn message_to_executor(
        &mut self,
        framework: FrameworkId,
        executor: ExecutorId,
        data: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let key = (framework, executor);
        if !self.tell_executor(&key, ExecutorEvent::Message { data }, effects) {
            self.counters.executor_messages_dropped += 1;
        }
    }
}
