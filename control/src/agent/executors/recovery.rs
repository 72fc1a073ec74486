//! What became of the recorded executors while the node was down.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::ContainerId,
    task::{Exit, Reason, TaskState},
    time::Now,
};

use super::{
    super::{
        Agent, Effect, FoundContainer,
        end::End,
        task::{Abandoned, TaskKey},
    },
    Executor, ExecutorKey, ExecutorPhase, ExecutorRecord,
};

impl Agent {
    /// Takes the recorded executors up, before their tasks.
    pub(in crate::agent) fn recover_executors(
        &mut self,
        records: Vec<ExecutorRecord>,
        containers: &BTreeMap<ContainerId, FoundContainer>,
    ) {
        for record in records {
            let mut executor = Executor::new(record, ExecutorPhase::Running);
            executor.contained = containers.contains_key(&executor.record.container);
            self.insert_executor(executor);
        }
    }

    /// Takes up a task that is not over as far as its record says: what became of it, its executor
    /// says when it comes back.
    pub(in crate::agent) fn recover_task_of(
        &mut self,
        now: Now,
        key: &TaskKey,
        executor: &ExecutorKey,
        effects: &mut Vec<Effect>,
    ) {
        if self.id.is_none() {
            self.abandon(now, key, Abandoned::AgentGone, effects);
        }
        if !self.executors.contains_key(executor) {
            // The end of an executor is written behind the ends of its tasks.
            let message = "the task's executor is not on record".to_owned();
            let end = End::new(TaskState::Failed, Some(Reason::ExecutorTerminated), message);
            self.finish(now, key, end, effects);
        }
    }

    /// Concludes what the launcher says of the executors, after their tasks were taken up.
    pub(in crate::agent) fn conclude_executors(
        &mut self,
        now: Now,
        containers: &BTreeMap<ContainerId, FoundContainer>,
        boot_changed: bool,
        effects: &mut Vec<Effect>,
    ) {
        let keys: Vec<ExecutorKey> = self.executors.keys().cloned().collect();
        for key in keys {
            let Some(executor) = self.executors.get(&key) else { continue };
            let container = executor.record.container.clone();
            let ending = executor.record.shutdown_asked || self.id.is_none();
            match containers.get(&container).map(|found| found.ended.clone()) {
                // How much of its time is over cannot be said.
                Some(None) if ending => self.destroy_executor(now, &key, effects),
                Some(None) => {
                    effects.push(Effect::ServeExecutor { container });
                    self.follow_limits(&key, effects);
                    self.await_executor(now, &key);
                }
                Some(Some((exit, limitation))) => {
                    self.executor_exited(now, &key, exit, limitation, effects);
                }
                None => {
                    let (reason, why) = if boot_changed {
                        (Reason::AgentRebooted, "the machine was restarted")
                    } else {
                        let why = "the launcher does not know the executor's container";
                        (Reason::ExecutorTerminated, why)
                    };
                    let exit = Exit::Unreadable { why: why.to_owned() };
                    self.executor_over(now, &key, Some(exit), (reason, why.to_owned()), effects);
                }
            }
        }
    }
}
