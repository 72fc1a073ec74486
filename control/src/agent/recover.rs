//! What became of the recorded tasks while the node was down.
//!
//! The launcher is the witness: it outlives the node, lists what runs and what ended, and a
//! container that it does not list was never started, or has been lost with the launcher's own
//! records. Nothing is started here.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, ContainerId, Fence},
    resources::Resources,
    task::{Exit, Reason, TaskEnd, TaskState},
    time::Now,
};

use crate::allowance::Allowance;

use super::{
    Agent, AgentConfig, Counters, Effect, ExecutorRecord, FoundContainer, OperationsRecord,
    TaskRecord,
    checks::Checks,
    deadlines::Deadlines,
    end::End,
    ends::Ends,
    operations::Operations,
    register::Link,
    storage::Storage,
    task::{Abandoned, Phase, Task, TaskKey},
};

/// What a starting node finds on its disk and at its launcher.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The id under which the agent was admitted.
    pub agent: Option<AgentId>,
    /// The highest fence that the node has obeyed.
    pub fence: Option<Fence>,
    /// All task records.
    pub records: Vec<TaskRecord>,
    /// All records of executors.
    pub executors: Vec<ExecutorRecord>,
    /// The ended tasks that are remembered, each with its number.
    pub ends: Vec<(u64, TaskEnd)>,
    /// All containers that the launcher knows.
    pub containers: Vec<FoundContainer>,
    /// What operations have made of the node's resources.
    pub operations: OperationsRecord,
    /// Whether the machine was restarted since the records were written.
    pub boot_changed: bool,
}

impl Agent {
    /// The agent of a node that starts: for the first time, or over what an earlier start left.
    pub fn recover(
        config: AgentConfig,
        found: Recovered,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let Recovered { agent, fence, records, executors, .. } = found;
        let Recovered { ends, containers, operations, boot_changed, .. } = found;
        let ends = Ends::recover(ends, config.ends_max);
        let mut this = Self {
            operations: Operations::recovered(operations, &config.resources),
            config,
            id: agent,
            fence,
            link: Link::Down,
            tasks: BTreeMap::new(),
            containers: BTreeMap::new(),
            executors: BTreeMap::new(),
            executor_containers: BTreeMap::new(),
            executor_messages: Allowance::default(),
            ends,
            used: Resources::new(),
            deadlines: Deadlines::default(),
            checks: Checks::default(),
            storage: Storage::default(),
            stopping: false,
            leaving: None,
            draining: false,
            held: Vec::new(),
            updates_minted: 0,
            containers_minted: 0,
            counters: Counters::default(),
        };
        let containers: BTreeMap<ContainerId, FoundContainer> =
            containers.into_iter().map(|found| (found.container.clone(), found)).collect();
        let recorded: BTreeSet<ContainerId> =
            containers_of(&records, &executors).cloned().collect();
        this.recover_operations(effects);
        this.recover_executors(executors, &containers);
        for record in records {
            let container = containers.get(&record.container);
            this.recover_task(now, record, container, boot_changed, effects);
        }
        this.end_parted_groups(now, effects);
        this.conclude_executors(now, &containers, boot_changed, effects);
        for (_, stray) in containers.into_iter().filter(|(id, _)| !recorded.contains(id)) {
            remove_stray(stray, effects);
        }
        this
    }

    fn recover_task(
        &mut self,
        now: Now,
        record: TaskRecord,
        container: Option<&FoundContainer>,
        boot_changed: bool,
        effects: &mut Vec<Effect>,
    ) {
        let pid = container.and_then(|found| found.pid);
        let record_container = record.container.clone();
        let over = record.state.is_terminal();
        let phase = if over { Phase::Ended } else { Phase::Running { pid } };
        let mut task = Task::new(record, phase, self.first_wait());
        let executor = task.executor_key();
        task.contained = container.is_some() && executor.is_none();
        let key = task.key();
        self.insert(task);
        self.renew_what_checks_found(&key);
        if let Some(executor) = executor.filter(|_| !over) {
            self.recover_task_of(now, &key, &executor, effects);
            self.watch_time(now, &key);
            return;
        }
        let container = container.filter(|_| self.containers.contains_key(&record_container));
        if self.id.is_none() {
            self.recover_leftover(now, &key, container, effects);
        } else if over {
            self.recover_ended(&key, container, effects);
        } else {
            self.recover_live(now, &key, container, boot_changed, effects);
        }
    }

    /// The record belongs to an agent id that has ended: whatever is left of the task goes.
    fn recover_leftover(
        &mut self,
        now: Now,
        key: &TaskKey,
        container: Option<&FoundContainer>,
        effects: &mut Vec<Effect>,
    ) {
        let runs = container.is_some_and(|found| found.ended.is_none());
        let Some(task) = self.tasks.get_mut(key) else { return };
        if runs && !task.is_live() {
            task.contained = false;
            let container = task.record.container.clone();
            effects.push(Effect::Destroy { container });
        }
        if runs && task.is_live() {
            self.abandon(now, key, Abandoned::AgentGone, effects);
        } else {
            task.abandoned = Some(Abandoned::AgentGone);
            let newest = std::mem::take(&mut task.record_mut().unacknowledged).pop();
            let terminal = newest.filter(|status| status.state.is_terminal());
            self.forget(key, None, terminal.as_ref(), effects);
        }
    }

    /// The end was written; whether the launcher was told to forget the container is not known.
    fn recover_ended(
        &mut self,
        key: &TaskKey,
        container: Option<&FoundContainer>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(found) = container {
            remove_stray(found.clone(), effects);
        }
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.contained = false;
        if task.record.unacknowledged.is_empty() {
            self.forget(key, None, None, effects);
        }
    }

    fn recover_live(
        &mut self,
        now: Now,
        key: &TaskKey,
        container: Option<&FoundContainer>,
        boot_changed: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get(key) else { return };
        let kill = task.record.kill_asked.then_some(None);
        let before_start = matches!(task.record.state, TaskState::Staging | TaskState::Starting);
        match container.map(|found| &found.ended) {
            Some(None) => self.adopt(now, key, before_start, effects),
            Some(Some((exit, limitation))) => {
                let end = End::of_container(kill, exit.clone(), limitation.clone());
                self.finish(now, key, end, effects);
            }
            None => {
                let end = end_of_missing(kill, before_start, boot_changed);
                self.finish(now, key, end, effects);
            }
        }
    }

    /// The container runs: so does the task, whatever could not be written of it any more.
    fn adopt(&mut self, now: Now, key: &TaskKey, before_start: bool, effects: &mut Vec<Effect>) {
        if before_start {
            self.progress(now, key, TaskState::Running, effects);
        }
        self.watch_time(now, key);
        self.watch_checks(now, key);
        let Some(task) = self.tasks.get(key) else { return };
        let Phase::Running { pid } = task.phase else { return };
        if task.record.kill_asked {
            let own = task.record.launch.description.kill_grace_ms;
            let grace = self.grace_in_drain(own, task.record.drain);
            self.kill_running(now, key, pid, grace, effects);
        }
    }
}

/// The containers that belong to a record.
pub(super) fn containers_of<'a>(
    records: &'a [TaskRecord],
    executors: &'a [ExecutorRecord],
) -> impl Iterator<Item = &'a ContainerId> {
    let own = records.iter().filter(|record| record.launch.description.executor.is_none());
    let own = own.map(|record| &record.container);
    own.chain(executors.iter().map(|record| &record.container))
}

/// How a live task ended whose container nobody knows.
fn end_of_missing(kill: Option<Option<Reason>>, before_start: bool, boot_changed: bool) -> End {
    let exit = |why: &str| Exit::Unreadable { why: why.to_owned() };
    if boot_changed {
        let why = "the machine was restarted";
        let mut end = End::of_container(kill, exit(why), None);
        end.reason = Some(Reason::AgentRebooted);
        end.message = why.to_owned();
        return end;
    }
    if before_start && kill.is_some() {
        let message = "the task was killed before it was started".to_owned();
        return End::new(TaskState::Killed, Some(Reason::KilledDuringLaunch), message);
    }
    if before_start {
        let message = "the agent stopped between writing the launch and starting it".to_owned();
        return End::new(TaskState::Dropped, Some(Reason::LaunchInterrupted), message);
    }
    End::of_container(kill, exit("the launcher does not know the task's container any more"), None)
}

/// Removes a container that no live task owns. One that runs is released when it has ended.
fn remove_stray(stray: FoundContainer, effects: &mut Vec<Effect>) {
    let FoundContainer { container, ended, pid: _ } = stray;
    effects.push(match ended {
        None => Effect::Destroy { container },
        Some(_) => Effect::Release { container },
    });
}
