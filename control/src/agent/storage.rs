//! What waits for the disk: the rule "write before act", in one place.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::UpdateId,
    messages::agent::ToLeader,
    task::{Reason, TaskState},
    time::Now,
};

use super::{
    Agent, Change, Effect, WriteId,
    executors::ExecutorKey,
    task::{Phase, TaskKey},
};

/// What goes on when a write is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waiter {
    /// A task.
    Task(TaskKey),
    /// The tasks of a group.
    Group(Vec<TaskKey>),
    /// An executor.
    Executor(ExecutorKey),
    /// An update of a task's executor, which is acknowledged then.
    Update(TaskKey, UpdateId),
    /// The end of the agent id, after which the node ends if it was told to leave.
    Leaving,
}

/// The agent's writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Storage {
    /// The newest write.
    newest: WriteId,
    /// What goes on when a write is durable.
    waiting: BTreeMap<WriteId, Waiter>,
    /// Set for good when the disk refused a write: what was written after it is void.
    failed: Option<String>,
}

impl Storage {
    /// Why the disk refuses writes, if it does.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// What waits, and for which write.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (WriteId, &Waiter)> {
        self.waiting.iter().map(|(write, waiter)| (*write, waiter))
    }

    /// Whether an update of a task's executor waits.
    pub(super) fn waits_for_update(&self, key: &TaskKey, update: UpdateId) -> bool {
        let is_it = |waiter: &Waiter| matches!(waiter, Waiter::Update(of, it) if of == key && *it == update);
        self.waiting.values().any(is_it)
    }
}

impl Agent {
    /// Asks for a write that nothing waits for. After a failure of the disk nothing is asked for:
    /// an isolated later success would not be in order.
    pub(super) fn write(&mut self, change: Change, effects: &mut Vec<Effect>) -> WriteId {
        self.storage.newest.0 += 1;
        let write = self.storage.newest;
        if self.storage.failed.is_none() {
            effects.push(Effect::Persist { write, change });
        }
        write
    }

    /// Asks for a write that a task waits for.
    pub(super) fn write_for(
        &mut self,
        key: &TaskKey,
        change: Change,
        effects: &mut Vec<Effect>,
    ) -> WriteId {
        self.write_waited_for(Waiter::Task(key.clone()), change, effects)
    }

    /// Asks for a write that something waits for.
    pub(super) fn write_waited_for(
        &mut self,
        waiter: Waiter,
        change: Change,
        effects: &mut Vec<Effect>,
    ) -> WriteId {
        let write = self.write(change, effects);
        self.storage.waiting.insert(write, waiter);
        write
    }

    /// Asks for a write of a task's newest record, which nothing waits for.
    pub(super) fn write_record(&mut self, key: &TaskKey, effects: &mut Vec<Effect>) {
        if let Some(task) = self.tasks.get(key) {
            let record = Box::new(task.record.as_ref().clone());
            self.write(Change::Task(record), effects);
        }
    }

    /// The disk has everything up to `write`.
    pub(super) fn persisted(&mut self, now: Now, write: WriteId, effects: &mut Vec<Effect>) {
        if self.storage.failed.is_some() {
            return;
        }
        while let Some(entry) = self.storage.waiting.first_entry() {
            if *entry.key() > write {
                break;
            }
            match entry.remove_entry() {
                (durable, Waiter::Task(key)) => self.task_written(now, &key, durable, effects),
                (durable, Waiter::Group(keys)) => self.group_written(now, keys, durable, effects),
                (durable, Waiter::Executor(key)) => {
                    self.executor_written(now, &key, durable, effects);
                }
                (_, Waiter::Update(key, update)) => self.update_written(&key, update, effects),
                (_, Waiter::Leaving) => self.leave(effects),
            }
        }
        self.operations_written(write, effects);
    }

    /// A task goes on, unless something has overtaken the write it waited for.
    fn task_written(
        &mut self,
        now: Now,
        key: &TaskKey,
        durable: WriteId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get(key) else { return };
        match &task.phase {
            Phase::Recording { write } if *write == durable => self.start(now, key, effects),
            Phase::Ending { write, .. } if *write == durable => self.ended(now, key, effects),
            Phase::Forgetting { write, .. } if *write == durable => {
                self.forgotten(now, key, effects)
            }
            Phase::Recording { .. }
            | Phase::Queued
            | Phase::Starting
            | Phase::Running { .. }
            | Phase::Killing { .. }
            | Phase::Ending { .. }
            | Phase::Ended
            | Phase::Forgetting { .. } => {}
        }
    }

    /// The disk refuses writes. What runs goes on; what was not yet started is refused, because its
    /// launch may not be on disk; ends are not told until a restart has found them again. A node that
    /// was told to leave does not wait for its disk any more.
    pub(super) fn storage_failed(&mut self, now: Now, why: String, effects: &mut Vec<Effect>) {
        if self.storage.failed.is_some() {
            return;
        }
        self.storage.failed = Some(why.clone());
        self.storage.waiting.clear();
        self.drop_recording_executors(effects);
        let recording: Vec<TaskKey> = self
            .tasks
            .iter()
            .filter(|(_, task)| matches!(task.phase, Phase::Recording { .. }))
            .map(|(key, _)| key.clone())
            .collect();
        for key in recording {
            self.remove(&key);
            let message = format!("the agent's disk refuses writes: {why}");
            let mut status = self.status(now, &key, TaskState::Dropped);
            status.reason = Some(Reason::StorageFailed);
            status.message = message;
            self.tell(ToLeader::Update { status }, effects);
        }
        self.leave(effects);
    }
}
