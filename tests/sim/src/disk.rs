//! A node's disk: what is durable, and what a crash can lose.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use meshos_control::agent::{Change, ExecutorRecord, OperationsRecord, TaskRecord, WriteId};
use meshos_protocol::{
    ids::{AgentId, ExecutorId, FrameworkId, TaskId, Term},
    task::TaskEnd,
};

/// What survives a crash of the node, and the writes on their way there.
#[derive(Debug, Default)]
pub struct Disk {
    /// The agent id.
    pub agent: Option<AgentId>,
    /// The highest term that the node has obeyed.
    pub term: Option<Term>,
    /// The task records.
    pub records: BTreeMap<(FrameworkId, TaskId), TaskRecord>,
    /// The records of executors.
    pub executors: BTreeMap<(FrameworkId, ExecutorId), ExecutorRecord>,
    /// The ended tasks that are remembered.
    pub ends: BTreeMap<u64, TaskEnd>,
    /// What operations have made of the node's resources.
    pub operations: OperationsRecord,
    pending: VecDeque<(WriteId, Change)>,
}

impl Disk {
    /// Takes a write on.
    pub fn write(&mut self, write: WriteId, change: Change) {
        self.pending.push_back((write, change));
    }

    /// How many writes are on their way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The oldest `count` writes become durable; tells the newest of them.
    pub fn flush(&mut self, count: usize) -> Option<WriteId> {
        let count = count.min(self.pending.len());
        let writes: Vec<_> = self.pending.drain(..count).collect();
        let mut newest = None;
        for (write, change) in writes {
            self.apply(change);
            newest = Some(write);
        }
        newest
    }

    /// The node crashes: of what is on its way, only the oldest `survivors` writes are durable.
    pub fn crash(&mut self, survivors: usize) {
        let _ = self.flush(survivors);
        self.pending.clear();
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Agent(agent) => self.agent = agent,
            Change::Task(record) => {
                let key = (record.framework, record.launch.description.task_id.clone());
                self.records.insert(key, *record);
            }
            Change::Group(records) => {
                for record in records {
                    self.apply(Change::Task(Box::new(record)));
                }
            }
            Change::Operations(record) => self.operations = *record,
            Change::Executor(record) => {
                self.executors.insert((record.framework, record.info.id.clone()), *record);
            }
            Change::ForgetExecutor { framework, executor } => {
                self.executors.remove(&(framework, executor));
            }
            Change::Forget { framework, task, end } => {
                self.records.remove(&(framework, task));
                if let Some(kept) = end {
                    self.ends.insert(kept.number, Arc::unwrap_or_clone(kept.end));
                    self.ends.retain(|number, _| *number >= kept.oldest);
                }
            }
        }
    }
}
