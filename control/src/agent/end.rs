//! How a task ends and is forgotten.

use meshos_protocol::{
    ids::ContainerId,
    messages::{agent::ToLeader, executor::ExecutorStatus},
    task::{DrainKill, Exit, Reason, Source, StatusUpdate, TaskState},
    time::{Now, Wall},
};

use super::{
    Agent, Change, Effect, ProbeOutcome, TaskRecord,
    checks::tell_of_health,
    deadlines::Deadline,
    executors::{fill_in, keep_id},
    overdue::tell_of_time,
    task::{Abandoned, Phase, Task, TaskKey},
};

/// How a task ended, as it will be told.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) state: TaskState,
    pub(super) reason: Option<Reason>,
    pub(super) message: String,
    pub(super) exit: Option<Exit>,
    /// As the task's executor told it, if it did.
    pub(super) told: Option<Box<ExecutorStatus>>,
}

impl End {
    pub(super) fn new(state: TaskState, reason: Option<Reason>, message: String) -> Self {
        Self { state, reason, message, exit: None, told: None }
    }

    /// What the end of its container means for a task.
    pub(super) fn of_container(
        kill: Option<Option<Reason>>,
        exit: Exit,
        limitation: Option<(Reason, String)>,
    ) -> Self {
        let (state, reason, message) = match (kill, limitation, &exit) {
            (Some(reason), _, _) => (TaskState::Killed, reason, killed_message(reason).to_owned()),
            (None, Some((reason, message)), _) => (TaskState::Failed, Some(reason), message),
            (None, None, Exit::Code { code: 0 }) => (TaskState::Finished, None, String::new()),
            (None, None, Exit::Code { code }) => {
                let message = format!("the command exited with status {code}");
                (TaskState::Failed, Some(Reason::CommandFailed), message)
            }
            (None, None, Exit::Signal { signal }) => {
                let message = format!("signal {signal} ended the command");
                (TaskState::Failed, Some(Reason::CommandFailed), message)
            }
            (None, None, Exit::Unreadable { why }) => {
                (TaskState::Failed, Some(Reason::ExitStatusUnreadable), why.clone())
            }
            (None, None, Exit::Unknown) => {
                let message = "the launcher told an exit status that this release does not know";
                (TaskState::Failed, Some(Reason::ExitStatusUnreadable), message.to_owned())
            }
        };
        Self { state, reason, message, exit: Some(exit), told: None }
    }
}

fn killed_message(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::AgentStopped) => "the agent's node was stopped together with its tasks",
        Some(_) | None => "the task was killed",
    }
}

impl Agent {
    pub(super) fn container_failed(
        &mut self,
        now: Now,
        container: &ContainerId,
        (reason, message): (Reason, String),
        effects: &mut Vec<Effect>,
    ) {
        if let Some(key) = self.executor_containers.get(container).cloned() {
            self.executor_over(now, &key, None, (reason, message), effects);
            return;
        }
        let Some(key) = self.containers.get(container).cloned() else { return };
        let Some(task) = self.tasks.get(&key) else { return };
        match task.phase {
            Phase::Starting => {
                let end = End::new(TaskState::Failed, Some(reason), message);
                self.finish(now, &key, end, effects);
            }
            Phase::Killing { .. } => self.killed_before_start(now, &key, effects),
            Phase::Recording { .. }
            | Phase::Queued
            | Phase::Running { .. }
            | Phase::Ending { .. }
            | Phase::Ended
            | Phase::Forgetting { .. } => {}
        }
    }

    pub(super) fn container_exited(
        &mut self,
        now: Now,
        container: ContainerId,
        exit: Exit,
        limitation: Option<(Reason, String)>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(key) = self.executor_containers.get(&container).cloned() {
            self.executor_exited(now, &key, exit, limitation, effects);
            return;
        }
        if self.checks.is_probe(&container) {
            self.probe_ended(now, &container, &ProbeOutcome::Exited(exit), effects);
            effects.push(Effect::Release { container });
            return;
        }
        let Some(key) = self.containers.get(&container).cloned() else {
            // Left over from an agent id or a record that is gone.
            effects.push(Effect::Release { container });
            return;
        };
        let Some(task) = self.tasks.get(&key) else { return };
        match task.phase {
            Phase::Starting | Phase::Running { .. } | Phase::Killing { .. } => {
                let kill = task.record.kill_asked.then_some(task.kill_reason);
                let end = End::of_container(kill, exit, limitation);
                self.finish(now, &key, end, effects);
            }
            // Known already; whoever is about to write it releases the container.
            Phase::Recording { .. }
            | Phase::Queued
            | Phase::Ending { .. }
            | Phase::Forgetting { .. } => {}
            Phase::Ended => effects.push(Effect::Release { container }),
        }
    }

    /// A live task is over: the terminal update is written, and told once it is on disk.
    pub(super) fn finish(&mut self, now: Now, key: &TaskKey, end: End, effects: &mut Vec<Effect>) {
        let executor = self.tasks.get(key).and_then(Task::executor_key);
        self.write_end(now, key, end, effects);
        if let Some(executor) = executor {
            self.follow_limits(&executor, effects);
        }
    }

    fn write_end(&mut self, now: Now, key: &TaskKey, end: End, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(key) else { return };
        debug_assert!(task.is_live(), "a task ends once");
        let abandoned = task.abandoned;
        let mut record = task.record.as_ref().clone();
        let mut terminal = self.status(now, key, end.state);
        terminal.reason = end.reason;
        terminal.message = end.message;
        terminal.exit = end.exit;
        if let Some(told) = end.told {
            fill_in(&mut terminal, *told);
        }
        if let Some(drain) = record.drain.filter(|_| terminal.state == TaskState::Killed) {
            tell_of_drain(&mut terminal, drain, task.kill_reason);
        }
        tell_of_time(&mut terminal, &record, task.kill_reason);
        tell_of_health(&mut terminal, &record, task.kill_reason);
        if let Some(why) = abandoned {
            // Of an agent that was declared gone the leader has told another end already.
            self.acknowledge_end(key, &terminal, effects);
            let told = (why == Abandoned::FrameworkClosed).then_some(&terminal);
            self.forget(key, Some(terminal.state), told, effects);
            return;
        }
        terminal.update = terminal.update.or_else(|| Some(self.mint_update()));
        append(&mut record, terminal.clone());
        let write = self.write_for(key, Change::Task(Box::new(record)), effects);
        self.enter(key, Phase::Ending { write, terminal: Box::new(terminal) });
    }

    /// A task's end is on disk: it is told, its resources are free, and the launcher may forget
    /// the container.
    pub(super) fn ended(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let Phase::Ending { terminal, .. } = &task.phase else { return };
        let told = terminal.as_ref().clone();
        let state = told.state;
        append(task.record_mut(), told.clone());
        let waits_in_line = task.record.unacknowledged.len() > 1;
        if std::mem::take(&mut task.contained) {
            effects.push(Effect::Release { container: task.record.container.clone() });
        }
        self.counters.count_end(state);
        self.acknowledge_end(key, &told, effects);
        self.enter(key, Phase::Ended);
        self.send_head(now, key, effects);
        if waits_in_line {
            self.tell_ended(key, state, Some(told.at), effects);
        }
        if let Some(executor) = self.tasks.get(key).and_then(Task::executor_key) {
            self.end_idle_executor(now, &executor, effects);
        }
    }

    fn tell_ended(
        &mut self,
        key: &TaskKey,
        state: TaskState,
        at: Option<Wall>,
        effects: &mut Vec<Effect>,
    ) {
        let message = ToLeader::TaskEnded { framework: key.0, task: key.1.clone(), state, at };
        self.tell(message, effects);
    }

    /// Nobody needs the task any more: its record is removed, and its end remembered.
    pub(super) fn forget(
        &mut self,
        key: &TaskKey,
        farewell: Option<TaskState>,
        terminal: Option<&StatusUpdate>,
        effects: &mut Vec<Effect>,
    ) {
        let end = terminal.and_then(|terminal| self.remember_end(key, terminal));
        let change = Change::Forget { framework: key.0, task: key.1.clone(), end };
        let write = self.write_for(key, change, effects);
        self.deadlines.clear(&Deadline::Retry(key.clone()));
        self.enter(key, Phase::Forgetting { write, farewell });
    }

    /// The record is removed.
    pub(super) fn forgotten(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let Some(task) = self.remove(key) else { return };
        self.end_written(key);
        if task.contained {
            effects.push(Effect::Release { container: task.record.container.clone() });
        }
        if let Some(executor) = task.executor_key() {
            self.end_idle_executor(now, &executor, effects);
        }
        let Phase::Forgetting { farewell, .. } = task.phase else { return };
        if let (Some(state), Some(Abandoned::FrameworkClosed)) = (farewell, task.abandoned) {
            self.tell_ended(key, state, None, effects);
        }
        self.register_when_clear(now, effects);
    }
}

/// A task was killed because its node is drained, unless the node was stopped altogether meanwhile.
fn tell_of_drain(terminal: &mut StatusUpdate, drain: DrainKill, other: Option<Reason>) {
    if drain.mark_gone {
        terminal.state = TaskState::GoneByOperator;
    }
    let message = "the task was ended because its node is drained".to_owned();
    tell_why(terminal, other, Reason::AgentDraining, message);
}

/// Says why a task was killed, unless something else was faster; what its executor said stays. Returns whether it was that.
pub(super) fn tell_why(
    terminal: &mut StatusUpdate,
    other: Option<Reason>,
    reason: Reason,
    message: String,
) -> bool {
    // A restart of the machine is faster than a kill.
    if other.is_some() || terminal.reason == Some(Reason::AgentRebooted) {
        return false;
    }
    terminal.reason = Some(reason);
    if terminal.source != Source::Executor {
        terminal.message = message;
    }
    true
}

/// Makes a record that of a task that has ended.
fn append(record: &mut TaskRecord, terminal: StatusUpdate) {
    record.state = terminal.state;
    record.exit.clone_from(&terminal.exit);
    keep_id(record, &terminal);
    record.unacknowledged.push(terminal);
}
