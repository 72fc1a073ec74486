//! What holds of an agent after every step; asserted in tests and in simulation.

use std::collections::BTreeSet;

use meshos_protocol::{resources::Resources, task::TaskState};

use super::{
    Agent, WriteId,
    deadlines::Deadline,
    executors::ExecutorPhase,
    register::Link,
    storage::Waiter,
    task::{Abandoned, Phase, Task, TaskKey},
};

impl Agent {
    /// Asserts what must hold after every step.
    ///
    /// # Panics
    /// When an invariant is broken: the agent has a bug.
    pub fn check_invariants(&self) {
        assert!(self.deadlines.is_consistent(), "the deadlines' two indexes differ");
        self.check_books();
        self.operations.check_invariants(&self.config.resources);
        for (key, task) in &self.tasks {
            self.check_task(key, task);
        }
        self.check_executors();
        self.check_waiting();
        self.ends.check_invariants(self.config.ends_max);
        self.check_deadlines();
        self.check_checks();
        if self.link == Link::Down {
            assert!(self.held.is_empty(), "something is held for a stream that is closed");
        }
        if self.link != Link::Down {
            assert!(self.fence.is_some(), "a stream is open to a leader that was not confirmed");
        }
    }

    fn check_books(&self) {
        let used: Resources = self
            .tasks
            .values()
            .filter(|task| task.holds_resources())
            .map(|task| &task.record.launch.description.resources)
            .chain(self.executors.values().map(|executor| &executor.record.resources))
            .sum();
        assert_eq!(used, self.used, "used is the sum of what the tasks and executors hold");
        let plain = self.tasks.values().filter(|task| task.executor_key().is_none()).count();
        assert_eq!(self.containers.len(), plain, "one container for each task without executor");
        for (container, key) in &self.containers {
            let task = self.tasks.get(key).expect("every container belongs to a task");
            assert_eq!(&task.record.container, container, "the container of {key:?}");
        }
    }

    fn check_task(&self, key: &TaskKey, task: &Task) {
        assert_eq!(&task.key(), key);
        let record = &task.record;
        if self.id.is_none() {
            assert_eq!(
                task.abandoned,
                Some(Abandoned::AgentGone),
                "{key:?} belongs to no agent id, so it is being removed"
            );
        }
        if task.abandoned.is_some() {
            assert!(record.unacknowledged.is_empty(), "nobody waits for updates of {key:?}");
            assert!(!matches!(task.phase, Phase::Ending { .. } | Phase::Ended), "{key:?}");
        }
        let terminal = record.unacknowledged.iter().filter(|u| u.state.is_terminal()).count();
        match task.phase {
            Phase::Ended => {
                let last = record.unacknowledged.last().expect("an ended task waits for something");
                assert_eq!(last.state, record.state, "{key:?}");
                assert!(last.state.is_terminal() && terminal == 1, "{key:?}");
            }
            Phase::Forgetting { .. } => assert!(record.unacknowledged.is_empty(), "{key:?}"),
            Phase::Recording { .. } | Phase::Queued => {
                assert_eq!(record.state, TaskState::Staging, "{key:?}");
            }
            Phase::Starting
            | Phase::Running { .. }
            | Phase::Killing { .. }
            | Phase::Ending { .. } => {
                assert!(
                    !record.state.is_terminal() && terminal == 0,
                    "{key:?} is not told to be over"
                );
            }
        }
        let ids: BTreeSet<_> = record.unacknowledged.iter().map(|status| status.update).collect();
        assert!(!ids.contains(&None), "updates that wait have ids: {key:?}");
        assert_eq!(ids.len(), record.unacknowledged.len(), "update ids of {key:?} differ");
    }

    fn check_waiting(&self) {
        for (write, waiter) in self.storage.waiting() {
            assert!(write.0 > 0, "writes are numbered from 1, see {waiter:?}");
        }
        if self.storage.failure().is_some() {
            assert!(
                !self.tasks.values().any(|task| matches!(task.phase, Phase::Recording { .. })),
                "no launch waits for a disk that failed"
            );
            return;
        }
        for (key, task) in &self.tasks {
            if let Phase::Recording { write }
            | Phase::Ending { write, .. }
            | Phase::Forgetting { write, .. } = &task.phase
            {
                let in_group = |(it, waiter): (WriteId, &Waiter)| {
                    it == *write && matches!(waiter, Waiter::Group(keys) if keys.contains(key))
                };
                assert!(
                    self.is_waited_for(*write, &Waiter::Task(key.clone()))
                        || self.storage.waiting().any(in_group),
                    "{key:?} waits for a write that nobody tells it of"
                );
            }
        }
    }

    fn is_waited_for(&self, write: WriteId, waiter: &Waiter) -> bool {
        self.storage.waiting().any(|(it, waiting)| it == write && waiting == waiter)
    }

    fn check_executors(&self) {
        assert_eq!(self.executor_containers.len(), self.executors.len(), "one container for each");
        for (container, key) in &self.executor_containers {
            let executor = self.executors.get(key).expect("every container belongs to somebody");
            assert_eq!(&executor.record.container, container, "the container of {key:?}");
        }
        for (key, executor) in &self.executors {
            let awaited = self.deadlines.get(&Deadline::ExecutorAwaited(key.clone())).is_some();
            let destroyed = self.deadlines.get(&Deadline::ExecutorDestroy(key.clone())).is_some();
            match &executor.phase {
                ExecutorPhase::Recording { write } | ExecutorPhase::Ending { write, .. } => {
                    let waits = self.is_waited_for(*write, &Waiter::Executor(key.clone()));
                    assert!(waits || self.storage.failure().is_some(), "{key:?} waits in vain");
                    assert!(!executor.subscribed && !awaited && !destroyed, "{key:?}");
                }
                ExecutorPhase::Starting => assert!(!awaited && !executor.subscribed, "{key:?}"),
                ExecutorPhase::Running => assert!(
                    executor.subscribed || awaited || destroyed,
                    "{key:?} is away and nothing will happen about it"
                ),
            }
            assert!(!executor.terminating || !awaited, "{key:?} ends and is waited for");
        }
        for (key, task) in self.tasks.iter().filter(|(_, task)| task.is_live()) {
            let Some(executor) = task.executor_key() else {
                assert!(!matches!(task.phase, Phase::Queued), "{key:?} waits for no executor");
                continue;
            };
            let executor = self.executors.get(&executor);
            let executor = executor.unwrap_or_else(|| panic!("{key:?} has lost its executor"));
            assert_eq!(executor.record.container, task.record.container, "{key:?}");
            let own = matches!(task.phase, Phase::Starting | Phase::Killing { .. });
            assert!(!own, "{key:?} has no container of its own");
        }
    }

    fn check_deadlines(&self) {
        for deadline in self.deadlines.iter() {
            match deadline {
                Deadline::ExecutorAwaited(key) | Deadline::ExecutorDestroy(key) => {
                    assert!(self.executors.contains_key(key), "{key:?} is not there");
                }
                Deadline::Destroy(key) => {
                    let killed = self.tasks.get(key).is_some_and(|task| match task.phase {
                        Phase::Killing { .. } => true,
                        // Its executor was asked for its end, and is made to end with it.
                        Phase::Running { .. } => {
                            task.executor_key().is_some() && task.record.kill_asked
                        }
                        Phase::Recording { .. }
                        | Phase::Queued
                        | Phase::Starting
                        | Phase::Ending { .. }
                        | Phase::Ended
                        | Phase::Forgetting { .. } => false,
                    });
                    assert!(killed, "{key:?} is not being killed");
                }
                Deadline::Overdue(key) => {
                    let limited = self.tasks.get(key).is_some_and(|task| {
                        matches!(task.phase, Phase::Running { .. })
                            && task.record.launch.description.max_completion_ms.is_some()
                    });
                    assert!(limited, "{key:?} does not run for a limited time");
                }
                Deadline::Probe(check) => {
                    assert!(self.is_watched(check), "{check:?} is not carried out");
                }
                Deadline::Retry(key) => {
                    assert!(
                        self.tasks.get(key).is_some_and(|task| task.head().is_some()),
                        "{key:?}"
                    );
                    assert!(self.link != Link::Down, "an update is retried without a stream");
                }
            }
        }
        for (key, task) in &self.tasks {
            if let Phase::Killing { .. } = task.phase {
                let deadline = Deadline::Destroy(key.clone());
                assert!(
                    self.deadlines.get(&deadline).is_some(),
                    "{key:?} is killed without an end"
                );
            }
            if self.link == Link::Registered && task.head().is_some() {
                let deadline = Deadline::Retry(key.clone());
                assert!(
                    self.deadlines.get(&deadline).is_some(),
                    "the head of {key:?} is in flight"
                );
            }
        }
    }
}
