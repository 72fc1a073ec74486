//! How executors start and end.

use std::time::Duration;

use meshos_protocol::{
    executor::ExecutorInfo,
    ids::FrameworkId,
    messages::{agent::ToLeader, executor::Event as ExecutorEvent},
    resources::Resources,
    role::Role,
    task::{Exit, KILL_GRACE_MAX_MS, Reason, TaskLaunch, TaskState},
    time::{Now, millis},
};

use super::{
    super::{Agent, Change, Effect, deadlines::Deadline, end::End, launch::Owner, storage::Waiter},
    Executor, ExecutorKey, ExecutorPhase, ExecutorRecord, executor_of,
};

impl Agent {
    /// Why a task cannot be given to its executor, if so.
    pub(in crate::agent) fn executor_refusal(
        &self,
        framework: FrameworkId,
        launch: &TaskLaunch,
    ) -> Option<(Reason, String)> {
        let info = launch.description.executor.as_deref()?;
        let key = (framework, info.id.clone());
        let ended = |message: &str| Some((Reason::ExecutorTerminated, message.to_owned()));
        match (self.executors.get(&key), &launch.executor_resources) {
            (Some(executor), _) if !executor.takes_tasks() => {
                ended("the task's executor is ending: launch it again when that is over")
            }
            (Some(executor), _) if executor.record.info != *info => {
                let message = "the agent has an executor of this id with another description";
                Some((Reason::TaskInvalid, message.to_owned()))
            }
            (Some(_), _) => None,
            (None, None) => ended("the task's executor ended before the task arrived"),
            (None, Some(_)) if self.executors.len() >= self.config.executors_max => {
                let count = self.executors.len();
                let message = format!("the agent keeps {count} executors and takes no more");
                Some((Reason::TooManyTasks, message))
            }
            (None, Some(_)) => None,
        }
    }

    /// Takes on the executor of a task that is about to be taken on, if it is to be started.
    pub(in crate::agent) fn take_on_executor(
        &mut self,
        now: Now,
        of: Owner<'_>,
        launch: &TaskLaunch,
        effects: &mut Vec<Effect>,
    ) {
        let Some(info) = launch.description.executor.as_deref() else { return };
        let key = (of.framework, info.id.clone());
        let Some(resources) = &launch.executor_resources else { return };
        if self.executors.contains_key(&key) {
            return;
        }
        let payment = (launch.role.clone(), resources.clone());
        self.record_executor(now, of, info.clone(), payment, effects);
    }

    fn record_executor(
        &mut self,
        now: Now,
        Owner { framework, user, info: owner }: Owner<'_>,
        info: ExecutorInfo,
        (role, resources): (Role, Resources),
        effects: &mut Vec<Effect>,
    ) {
        self.counters.executors += 1;
        let record = ExecutorRecord {
            framework,
            user: user.to_owned(),
            framework_info: owner.map(|info| Box::new(info.clone())),
            info,
            role,
            resources,
            container: self.mint_container('e'),
            launched_at: now.wall,
            shutdown_asked: false,
            program: None,
        };
        let key = (framework, record.info.id.clone());
        let change = Change::Executor(Box::new(record.clone()));
        let write = self.write_waited_for(Waiter::Executor(key), change, effects);
        self.insert_executor(Executor::new(record, ExecutorPhase::Recording { write }));
    }

    /// Puts an executor on the books.
    pub(in crate::agent) fn insert_executor(&mut self, executor: Executor) {
        let key = executor.key();
        self.executor_containers.insert(executor.record.container.clone(), key.clone());
        self.used += &executor.record.resources;
        self.executors.insert(key, executor);
    }

    fn remove_executor(&mut self, key: &ExecutorKey) -> Option<Executor> {
        let executor = self.executors.remove(key)?;
        self.executor_containers.remove(&executor.record.container);
        self.deadlines.clear(&Deadline::ExecutorAwaited(key.clone()));
        self.deadlines.clear(&Deadline::ExecutorDestroy(key.clone()));
        self.used = self.used.saturating_sub(&executor.record.resources);
        Some(executor)
    }

    /// The leader counts what a launch was to give to a new executor, and there is none.
    pub(in crate::agent) fn tell_not_started(
        &mut self,
        framework: FrameworkId,
        launch: &TaskLaunch,
        effects: &mut Vec<Effect>,
    ) {
        let Some(key) = executor_of(framework, launch) else { return };
        if launch.executor_resources.is_some() && !self.executors.contains_key(&key) {
            let message = "the executor was not started, because its first task was refused";
            self.tell_executor_ended(key, None, message.to_owned(), effects);
        }
    }

    fn tell_executor_ended(
        &mut self,
        (framework, executor): ExecutorKey,
        exit: Option<Exit>,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        self.tell(ToLeader::ExecutorEnded { framework, executor, exit, message }, effects);
    }

    /// An executor's record is on disk, or removed.
    pub(in crate::agent) fn executor_written(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        durable: crate::agent::WriteId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get(key) else { return };
        if let Some(introduction) = executor.introducing.filter(|it| it.write == durable) {
            return self.executor_introduced(now, key, introduction.first, effects);
        }
        match &executor.phase {
            ExecutorPhase::Recording { write } if *write == durable => {
                self.start_executor(key, effects);
            }
            ExecutorPhase::Ending { write, .. } if *write == durable => {
                self.executor_forgotten(now, key, effects);
            }
            ExecutorPhase::Recording { .. }
            | ExecutorPhase::Starting
            | ExecutorPhase::Running
            | ExecutorPhase::Ending { .. } => {}
        }
    }

    fn start_executor(&mut self, key: &ExecutorKey, effects: &mut Vec<Effect>) {
        let resources = self.limits_of(key);
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.contained = true;
        executor.phase = ExecutorPhase::Starting;
        let record = &executor.record;
        effects.push(Effect::StartExecutor {
            container: record.container.clone(),
            framework: record.framework,
            user: record.user.clone(),
            info: Box::new(record.info.clone()),
            resources,
        });
        self.counters.starts += 1;
    }

    /// An executor's container runs.
    pub(in crate::agent) fn executor_started(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        let ExecutorPhase::Starting = executor.phase else { return };
        executor.phase = ExecutorPhase::Running;
        if executor.terminating {
            self.destroy_executor(now, key, effects);
            return;
        }
        let container = executor.record.container.clone();
        effects.push(Effect::ServeExecutor { container });
        self.follow_limits(key, effects);
        self.await_executor(now, key);
    }

    /// Sets by when an executor must have subscribed: for the first time, or again.
    pub(super) fn await_executor(&mut self, now: Now, key: &ExecutorKey) {
        let Some(executor) = self.executors.get(key) else { return };
        let timeout = if executor.record.program.is_some() {
            self.config.executor_recovery_timeout
        } else {
            self.config.executor_registration_timeout
        };
        let at = now.mono.after(timeout.max(Duration::from_millis(1)));
        self.deadlines.set(Deadline::ExecutorAwaited(key.clone()), at);
    }

    /// An executor did not subscribe in time.
    pub(in crate::agent) fn executor_overdue(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        let (reason, message) = if executor.record.program.is_some() {
            let ms = millis(self.config.executor_recovery_timeout);
            let why = format!("the executor did not come back to its agent within {ms} ms");
            (Reason::ExecutorReregistrationTimeout, why)
        } else {
            let ms = millis(self.config.executor_registration_timeout);
            let why = format!("the executor did not register with its agent within {ms} ms");
            (Reason::ExecutorRegistrationTimeout, why)
        };
        executor.cause = Some((reason, message));
        self.destroy_executor(now, key, effects);
    }

    /// Tells an executor to end, and sets when it is made to: after the time that it asks for, or
    /// `grace_max` when that is less. Asked for again, that can only come earlier.
    pub(in crate::agent) fn shut_down_executor(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        grace_max: Option<Duration>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if executor.terminating {
            self.hurry_executor(now, key, grace_max);
            return;
        }
        match executor.phase {
            ExecutorPhase::Recording { .. } => {
                let message = "the executor was shut down before it was started".to_owned();
                self.executor_over(now, key, None, (Reason::ExecutorTerminated, message), effects);
            }
            ExecutorPhase::Starting => self.destroy_executor(now, key, effects),
            ExecutorPhase::Running if executor.subscribed => {
                executor.terminating = true;
                std::sync::Arc::make_mut(&mut executor.record).shutdown_asked = true;
                let record = Box::new(executor.record.as_ref().clone());
                let asked = self.shutdown_grace(&record.info);
                let grace = grace_max.map_or(asked, |most| asked.min(most));
                self.write(Change::Executor(record), effects);
                self.deadlines.clear(&Deadline::ExecutorAwaited(key.clone()));
                let grace_ms = millis(grace);
                self.tell_executor(key, ExecutorEvent::Shutdown { grace_ms }, effects);
                self.deadlines.set(Deadline::ExecutorDestroy(key.clone()), now.mono.after(grace));
            }
            ExecutorPhase::Running => self.destroy_executor(now, key, effects),
            ExecutorPhase::Ending { .. } => {}
        }
    }

    fn hurry_executor(&mut self, now: Now, key: &ExecutorKey, grace_max: Option<Duration>) {
        let deadline = Deadline::ExecutorDestroy(key.clone());
        if let (Some(grace), Some(set)) = (grace_max, self.deadlines.get(&deadline)) {
            self.deadlines.set(deadline, set.min(now.mono.after(grace)));
        }
    }

    pub(super) fn shutdown_grace(&self, info: &ExecutorInfo) -> Duration {
        let asked = info.shutdown_grace_ms.map(|ms| ms.min(KILL_GRACE_MAX_MS));
        asked.map_or(self.config.executor_shutdown_grace, Duration::from_millis)
    }

    /// SIGKILL, and again after a while until the container is seen to have ended.
    pub(in crate::agent) fn destroy_executor(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        match executor.phase {
            ExecutorPhase::Recording { .. } => {
                let message = "the executor was ended before it was started".to_owned();
                self.executor_over(now, key, None, (Reason::ExecutorTerminated, message), effects);
                return;
            }
            ExecutorPhase::Ending { .. } => return,
            ExecutorPhase::Starting | ExecutorPhase::Running => {}
        }
        executor.terminating = true;
        let container = executor.record.container.clone();
        self.deadlines.clear(&Deadline::ExecutorAwaited(key.clone()));
        let again = self.config.destroy_retry.max(Duration::from_millis(1));
        self.deadlines.set(Deadline::ExecutorDestroy(key.clone()), now.mono.after(again));
        effects.push(Effect::Destroy { container });
    }

    /// The container of an executor is over: so are its tasks, and then it.
    pub(in crate::agent) fn executor_exited(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        exit: Exit,
        limitation: Option<(Reason, String)>,
        effects: &mut Vec<Effect>,
    ) {
        let message = match &exit {
            Exit::Code { code } => format!("the task's executor exited with status {code}"),
            Exit::Signal { signal } => format!("signal {signal} ended the task's executor"),
            Exit::Unreadable { why } => format!("the task's executor is over: {why}"),
            Exit::Unknown => "the task's executor is over".to_owned(),
        };
        let why = limitation.unwrap_or((Reason::ExecutorTerminated, message));
        self.executor_over(now, key, Some(exit), why, effects);
    }

    /// Nothing of an executor runs any more.
    pub(in crate::agent) fn executor_over(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        exit: Option<Exit>,
        why: (Reason, String),
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if let ExecutorPhase::Ending { .. } = executor.phase {
            return;
        }
        executor.subscribed = false;
        executor.terminating = true;
        // Its container has no limits any more that could follow its tasks.
        executor.phase = ExecutorPhase::Starting;
        let (reason, message) = executor.cause.clone().unwrap_or(why);
        self.deadlines.clear(&Deadline::ExecutorAwaited(key.clone()));
        self.deadlines.clear(&Deadline::ExecutorDestroy(key.clone()));
        for task in self.live_tasks_of(key) {
            let killed = self.tasks.get(&task).filter(|task| task.record.kill_asked);
            let end = match killed.map(|task| task.kill_reason) {
                Some(kill) => {
                    let reason = kill.or(Some(reason));
                    End::new(TaskState::Killed, reason, message.clone())
                }
                None => End::new(TaskState::Failed, Some(reason), message.clone()),
            };
            self.finish(now, &task, end, effects);
        }
        let change = Change::ForgetExecutor { framework: key.0, executor: key.1.clone() };
        let write = self.write_waited_for(Waiter::Executor(key.clone()), change, effects);
        if let Some(executor) = self.executors.get_mut(key) {
            executor.phase = ExecutorPhase::Ending { write, exit, message };
        }
    }

    /// That an executor is over is on disk.
    fn executor_forgotten(&mut self, now: Now, key: &ExecutorKey, effects: &mut Vec<Effect>) {
        let Some(executor) = self.remove_executor(key) else { return };
        if executor.contained {
            effects.push(Effect::Release { container: executor.record.container.clone() });
        }
        if let ExecutorPhase::Ending { exit, message, .. } = executor.phase {
            self.tell_executor_ended(key.clone(), exit, message, effects);
        }
        self.register_when_clear(now, effects);
    }

    /// The disk refuses writes: what was not yet started is not.
    pub(in crate::agent) fn drop_recording_executors(&mut self, effects: &mut Vec<Effect>) {
        let recording =
            |executor: &Executor| matches!(executor.phase, ExecutorPhase::Recording { .. });
        let keys: Vec<ExecutorKey> = self
            .executors
            .iter()
            .filter(|(_, executor)| recording(executor))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.remove_executor(&key);
            let message = "the executor was not started, because the agent's disk refuses writes";
            self.tell_executor_ended(key, None, message.to_owned(), effects);
        }
    }

    /// Ends all executors at once: they belong to an agent id that has ended.
    pub(in crate::agent) fn destroy_executors(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let keys: Vec<ExecutorKey> = self.executors.keys().cloned().collect();
        for key in keys {
            self.destroy_executor(now, &key, effects);
        }
    }

    /// Tells all executors to end that are `wanted`.
    pub(in crate::agent) fn shut_down_executors(
        &mut self,
        now: Now,
        wanted: impl Fn(&ExecutorKey) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let keys: Vec<ExecutorKey> =
            self.executors.keys().filter(|key| wanted(key)).cloned().collect();
        for key in keys {
            self.shut_down_executor(now, &key, None, effects);
        }
    }
}
