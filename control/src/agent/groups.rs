//! Groups of tasks: launched, handed over and, before they have begun, ended together.
//!
//! All tasks of a group are written by one change and told to their executor by one event, so that there are all of
//! them or none on disk and in the executor. From then on the executor decides what the end of one means for the others.

use meshos_protocol::{
    executor::ExecutorKind,
    ids::TaskId,
    messages::executor::Event as ExecutorEvent,
    task::{Reason, TaskDescription, TaskLaunch, TaskState},
    time::{Now, millis},
};

use super::{
    Agent, Change, Effect, TaskRecord,
    end::End,
    executors::ExecutorKey,
    launch::Owner,
    storage::Waiter,
    task::{Phase, Task, TaskKey},
};

/// How those of a group end with one that was killed before it was handed over.
fn ended_with(killed: &TaskId) -> End {
    let message = format!("task {killed} of its group was killed before it was started");
    End::new(TaskState::Killed, Some(Reason::TaskGroupEnded), message)
}

impl Task {
    /// The id of the first task of its group, if it has one.
    pub(super) fn group(&self) -> Option<&TaskId> {
        self.record.launch.description.group.as_ref().map(|group| &group.first)
    }
}

impl Agent {
    /// Takes on the tasks of a group, as [`Agent::launch`] does with one task. A task that is known already
    /// was launched before, and so were the others, or never will be.
    pub(super) fn launch_group(
        &mut self,
        now: Now,
        of: Owner<'_>,
        launches: Vec<TaskLaunch>,
        effects: &mut Vec<Effect>,
    ) {
        let framework = of.framework;
        let Some(first) = launches.first() else { return };
        let key = |launch: &TaskLaunch| (framework, launch.description.task_id.clone());
        if launches.iter().any(|launch| self.tasks.contains_key(&key(launch))) {
            self.counters.launches_repeated += 1;
            let why = "the agent knows another task of its group from an earlier launch";
            for launch in &launches {
                if self.tasks.contains_key(&key(launch)) {
                    self.answer_known(now, &key(launch), effects);
                } else {
                    let why = (Reason::TaskGroupInvalid, why.to_owned());
                    self.tell_refused(now, framework, launch, why, effects);
                }
            }
            self.tell_not_started(framework, first, effects);
            return;
        }
        if let Some(why) = self.refusal(framework, &launches) {
            self.count_refusal(why.0);
            for launch in &launches {
                self.tell_refused(now, framework, launch, why.clone(), effects);
            }
            self.tell_not_started(framework, first, effects);
            return;
        }
        self.counters.launches += u64::try_from(launches.len()).unwrap_or(u64::MAX);
        self.take_on_executor(now, of, first, effects);
        let records: Vec<TaskRecord> =
            launches.into_iter().map(|launch| self.new_record(now, of, launch)).collect();
        let keys = records
            .iter()
            .map(|record| (framework, record.launch.description.task_id.clone()))
            .collect();
        let change = Change::Group(records.clone());
        let write = self.write_waited_for(Waiter::Group(keys), change, effects);
        for record in records {
            self.insert(Task::new(record, Phase::Recording { write }, self.first_wait()));
        }
    }

    /// A group is on disk: it goes to its executor as soon as that is subscribed.
    pub(super) fn group_written(
        &mut self,
        now: Now,
        keys: Vec<TaskKey>,
        durable: super::WriteId,
        effects: &mut Vec<Effect>,
    ) {
        let waits = |key: &TaskKey| {
            self.tasks.get(key).is_some_and(
                |task| matches!(task.phase, Phase::Recording { write } if write == durable),
            )
        };
        // Those that were ended meanwhile were so together.
        let keys: Vec<TaskKey> = keys.into_iter().filter(waits).collect();
        let first = keys.first().and_then(|key| self.tasks.get(key));
        let Some(executor) = first.and_then(Task::executor_key) else { return };
        for key in &keys {
            self.enter(key, Phase::Queued);
        }
        self.queued(now, &keys, &executor, effects);
    }

    /// Hands a group over to an executor that may be handed tasks.
    pub(super) fn hand_over_group(
        &mut self,
        now: Now,
        keys: &[TaskKey],
        executor: &ExecutorKey,
        effects: &mut Vec<Effect>,
    ) {
        let Some(found) = self.executors.get(executor) else { return };
        if !found.knows_groups {
            let why = "the task's executor was built against a release that knows no groups of tasks: build it anew";
            for key in keys {
                let reason = Some(Reason::TaskGroupInvalid);
                let end = End::new(TaskState::Dropped, reason, why.to_owned());
                self.finish(now, key, end, effects);
            }
            return;
        }
        let in_the_box = found.record.info.kind == ExecutorKind::Group;
        let default_grace_ms = millis(self.config.kill_grace);
        let description = |key: &TaskKey| {
            let task = self.tasks.get(key)?;
            let mut description = task.record.launch.description.clone();
            description.executor = None;
            if in_the_box {
                description.kill_grace_ms.get_or_insert(default_grace_ms);
            }
            Some(description)
        };
        let tasks: Vec<TaskDescription> = keys.iter().filter_map(description).collect();
        if self.tell_executor(executor, ExecutorEvent::LaunchGroup { tasks }, effects) {
            for key in keys {
                self.counters.tasks_handed_over += 1;
                self.enter(key, Phase::Running { pid: None });
            }
        }
    }

    /// A task that its executor has not been handed is ended, and with it those of its group.
    pub(super) fn killed_in_group_before_start(
        &mut self,
        now: Now,
        key: &TaskKey,
        effects: &mut Vec<Effect>,
    ) {
        let others = self.waiting_beside(key);
        self.killed_before_start(now, key, effects);
        for other in others {
            self.finish(now, &other, ended_with(&key.1), effects);
        }
    }

    /// After a crash between the end of a task that its executor had not been handed and the ends of those of
    /// its group, which are written one after the other: what is left of the group ends now.
    pub(super) fn end_parted_groups(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let ended = self.tasks.iter().filter(|(_, task)| matches!(task.phase, Phase::Ended));
        let ended: Vec<TaskKey> = ended.map(|(key, _)| key.clone()).collect();
        for key in ended {
            for other in self.waiting_beside(&key) {
                self.finish(now, &other, ended_with(&key.1), effects);
            }
        }
    }

    /// The other tasks of a task's group, as long as none has begun: after a restart they count as running
    /// before their executor has said which tasks it has.
    fn waiting_beside(&self, key: &TaskKey) -> Vec<TaskKey> {
        let Some(task) = self.tasks.get(key) else { return Vec::new() };
        let (Some(group), Some(executor)) = (task.group(), task.executor_key()) else {
            return Vec::new();
        };
        let handed_none =
            self.executors.get(&executor).is_none_or(|executor| executor.record.program.is_none());
        let is_beside = |(other, it): &(&TaskKey, &Task)| {
            let waits = matches!(it.phase, Phase::Recording { .. } | Phase::Queued);
            *other != key
                && (waits || (handed_none && it.is_live()))
                && it.group() == Some(group)
                && it.executor_key().as_ref() == Some(&executor)
        };
        self.tasks.iter().filter(is_beside).map(|(other, _)| other.clone()).collect()
    }

    /// The executor in the box ends with its tasks: that is said by the agent, which knows whether more
    /// are on their way.
    pub(super) fn end_idle_executor(
        &mut self,
        now: Now,
        key: &ExecutorKey,
        effects: &mut Vec<Effect>,
    ) {
        let executor = self.executors.get(key);
        let ends_with_tasks = executor.is_some_and(|executor| {
            executor.record.info.kind == ExecutorKind::Group && executor.takes_tasks()
        });
        if ends_with_tasks && self.live_tasks_of(key).is_empty() {
            self.shut_down_executor(now, key, None, effects);
        }
    }
}
