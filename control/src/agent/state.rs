//! The agent's state and its one way in.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{AgentId, ContainerId, Fence},
    messages::agent::ToLeader,
    resources::Resources,
    time::{Mono, Now},
};

use crate::allowance::Allowance;

use super::{
    AgentConfig, Counters, Effect, Event,
    checks::Checks,
    deadlines::{Deadline, Deadlines},
    ends::Ends,
    executors::{Executor, ExecutorKey},
    operations::Operations,
    register::Link,
    storage::Storage,
    task::{Phase, Task, TaskKey},
};

/// The half of a node that runs tasks. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Agent {
    pub(super) config: AgentConfig,
    /// The id under which the agent is admitted.
    pub(super) id: Option<AgentId>,
    /// The leader's fence, confirmed and on disk.
    pub(super) fence: Option<Fence>,
    pub(super) link: Link,
    pub(super) tasks: BTreeMap<TaskKey, Task>,
    /// The container of every task that is not ended for good and has one of its own.
    pub(super) containers: BTreeMap<ContainerId, TaskKey>,
    pub(super) executors: BTreeMap<ExecutorKey, Executor>,
    /// The container of every executor.
    pub(super) executor_containers: BTreeMap<ContainerId, ExecutorKey>,
    /// What all executors may send to schedulers in the present second.
    pub(super) executor_messages: Allowance,
    /// How earlier tasks ended.
    pub(super) ends: Ends,
    /// What the tasks and executors hold.
    pub(super) used: Resources,
    pub(super) operations: Operations,
    pub(super) deadlines: Deadlines,
    pub(super) checks: Checks,
    pub(super) storage: Storage,
    /// The node is being stopped together with its tasks.
    pub(super) stopping: bool,
    /// Why the node ends, once it was told to leave: it registers no more.
    pub(super) leaving: Option<String>,
    /// The leader offers the agent no more.
    pub(super) draining: bool,
    /// What is to be said once the registration that is under way is through.
    pub(super) held: Vec<ToLeader>,
    /// The number of the newest update.
    pub(super) updates_minted: u64,
    /// The number of the newest container.
    pub(super) containers_minted: u64,
    pub(super) counters: Counters,
}

impl Agent {
    /// The only way in. Runs to completion, never blocks, never fails.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::LeaderConfirmed { fence } => self.leader_confirmed(fence),
            Event::Connected => self.connected(now, effects),
            Event::Disconnected => self.disconnected(),
            Event::Message(frame) => self.message(now, frame, effects),
            Event::Persisted(write) => self.persisted(now, write, effects),
            Event::StorageFailed { why } => self.storage_failed(now, why, effects),
            Event::ContainerStarted { container, pid } => {
                self.container_started(now, container, pid, effects);
            }
            Event::ContainerFailed { container, reason, message } => {
                self.container_failed(now, &container, (reason, message), effects);
            }
            Event::ContainerExited { container, exit, limitation } => {
                self.container_exited(now, container, exit, limitation, effects);
            }
            Event::ExecutorCalled { container, call } => {
                self.executor_called(now, container, call, effects);
            }
            Event::ExecutorDisconnected { container } => {
                self.executor_disconnected(now, &container);
            }
            Event::ProbeEnded { probe, outcome } => {
                self.probe_ended(now, &probe, &outcome, effects);
            }
            Event::VolumesMade { operation, failure } => {
                self.volumes_made(operation, failure, effects);
            }
            Event::VolumeRemoved { directory } => self.volume_removed(&directory, effects),
            Event::StopTasks => self.stop_tasks(now, effects),
            Event::Tick => {}
        }
        self.act_on_deadlines(now, effects);
        self.move_probes(now, effects);
    }

    /// When the shell must call again with [`Event::Tick`], if nothing else happens.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.next()
    }

    /// The id under which the agent is admitted.
    pub const fn id(&self) -> Option<AgentId> {
        self.id
    }

    /// How many tasks and executors are not over or not known on disk to be: a node that stops together with its
    /// tasks waits until there are none.
    pub fn unfinished_tasks(&self) -> usize {
        let tasks = self.tasks.values().filter(|task| task.holds_resources()).count();
        tasks + self.executors.len()
    }

    fn act_on_deadlines(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(deadline) = self.deadlines.pop_due(now.mono) {
            match deadline {
                Deadline::Destroy(key) => self.destroy(now, &key, effects),
                Deadline::Overdue(key) => self.overdue(now, &key, effects),
                Deadline::Probe(check) => self.check_due(now, &check, effects),
                Deadline::Retry(key) => self.retry(now, &key, effects),
                Deadline::ExecutorAwaited(key) => self.executor_overdue(now, &key, effects),
                Deadline::ExecutorDestroy(key) => self.destroy_executor(now, &key, effects),
            }
        }
    }

    /// Says something to the leader that needs no acknowledgement. While a registration is under
    /// way it waits; without a stream it is dropped, because the next registration tells more.
    pub(super) fn tell(&mut self, message: ToLeader, effects: &mut Vec<Effect>) {
        match self.link {
            Link::Registered => effects.push(Effect::SendToLeader(message)),
            Link::Registering => self.held.push(message),
            Link::Down | Link::Waiting => {}
        }
    }

    /// Puts a task on the books.
    pub(super) fn insert(&mut self, task: Task) {
        let key = task.key();
        if task.executor_key().is_none() {
            self.containers.insert(task.record.container.clone(), key.clone());
        }
        if task.holds_resources() {
            self.used += &task.record.launch.description.resources;
        }
        self.tasks.insert(key, task);
    }

    /// Moves a task into another phase and keeps the books of what is used.
    pub(super) fn enter(&mut self, key: &TaskKey, phase: Phase) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let held = task.holds_resources();
        task.phase = phase;
        let resources = &task.record.launch.description.resources;
        match (held, task.holds_resources()) {
            (true, false) => self.used = self.used.saturating_sub(resources),
            (false, true) => self.used += resources,
            (true, true) | (false, false) => {}
        }
        if !matches!(task.phase, Phase::Killing { .. }) {
            self.deadlines.clear(&Deadline::Destroy(key.clone()));
        }
        if !matches!(task.phase, Phase::Running { .. }) {
            self.deadlines.clear(&Deadline::Overdue(key.clone()));
            self.stop_checks(key);
        }
    }

    /// Takes a task, which holds nothing any more, off the books.
    pub(super) fn remove(&mut self, key: &TaskKey) -> Option<Task> {
        let task = self.tasks.remove(key)?;
        if task.executor_key().is_none() {
            self.containers.remove(&task.record.container);
        }
        self.deadlines.clear(&Deadline::Destroy(key.clone()));
        self.deadlines.clear(&Deadline::Overdue(key.clone()));
        self.stop_checks(key);
        self.deadlines.clear(&Deadline::Retry(key.clone()));
        if task.holds_resources() {
            self.used = self.used.saturating_sub(&task.record.launch.description.resources);
        }
        Some(task)
    }
}
