//! Delivery of status updates: in order for each task, at least once, one at a time.
//!
//! Updates without an id tell the leader something that it can also learn in another way; they are
//! sent once. All others stay in the task's record until the framework acknowledged them. An
//! acknowledgement is written together with whatever is written next of the task, so an update may
//! come once more after a crash, under the id by which the framework knows it.

use std::time::Duration;

use meshos_protocol::{
    ids::UpdateId,
    messages::agent::ToLeader,
    task::{Reason, Source, StatusUpdate, TaskState},
    time::Now,
};

use super::{
    Agent, Effect,
    checks::found_by_checks,
    deadlines::Deadline,
    register::Link,
    task::{Phase, TaskKey},
};

impl Agent {
    /// A status update without an id.
    pub(super) fn status(&self, now: Now, key: &TaskKey, state: TaskState) -> StatusUpdate {
        let task = self.tasks.get(key).filter(|_| !state.is_terminal());
        let checks = task.map(|task| found_by_checks(&task.record));
        let (healthy, check_status) = checks.unwrap_or_default();
        StatusUpdate {
            framework: key.0,
            task: key.1.clone(),
            agent: self.id,
            state,
            reason: None,
            message: String::new(),
            update: None,
            at: now.wall,
            source: Source::Agent,
            executor: self.executor_id_of(key),
            data: Vec::new(),
            exit: None,
            healthy,
            check_status,
        }
    }

    /// The id of the next update.
    pub(super) fn mint_update(&mut self) -> UpdateId {
        self.updates_minted += 1;
        UpdateId::mint(self.config.node, self.config.generation, self.updates_minted)
    }

    /// Moves a live task on to `state`, writes that and tells it. The write is not waited for:
    /// after a crash the container itself tells how far the task has come.
    pub(super) fn progress(
        &mut self,
        now: Now,
        key: &TaskKey,
        state: TaskState,
        effects: &mut Vec<Effect>,
    ) {
        let mut status = self.status(now, key, state);
        status.update = Some(self.mint_update());
        let Some(task) = self.tasks.get_mut(key) else { return };
        let abandoned = task.abandoned.is_some();
        if state == TaskState::Killing && task.record.drain.is_some() {
            status.reason = Some(Reason::AgentDraining);
        }
        if state == TaskState::Killing && task.record.overdue {
            status.reason = Some(Reason::MaxCompletionTimeReached);
        }
        if state == TaskState::Killing && task.is_unhealthy() {
            status.reason = Some(Reason::HealthCheckFailed);
        }
        let record = task.record_mut();
        record.state = state;
        if state == TaskState::Running && record.started_at.is_none() {
            record.started_at = Some(now.wall);
        }
        if !abandoned {
            record.unacknowledged.push(status);
        }
        self.watch_time(now, key);
        self.watch_checks(now, key);
        self.write_record(key, effects);
        self.send_head(now, key, effects);
    }

    /// Sends a task's oldest unacknowledged update, unless it is on its way or nobody listens.
    pub(super) fn send_head(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let deadline = Deadline::Retry(key.clone());
        if self.link != Link::Registered || self.deadlines.get(&deadline).is_some() {
            return;
        }
        self.send_head_again(now, key, effects);
    }

    /// Sends a task's oldest unacknowledged update, whether or not it is on its way already.
    pub(super) fn send_head_again(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(key) else { return };
        let Some(status) = task.head().cloned() else { return };
        let retry = task.retry;
        effects.push(Effect::SendToLeader(ToLeader::Update { status }));
        self.counters.updates_sent += 1;
        self.deadlines.set(Deadline::Retry(key.clone()), now.mono.after(retry));
    }

    /// Nobody acknowledged an update in time: it is sent again, and the next wait is twice as long.
    pub(super) fn retry(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        if self.link != Link::Registered {
            return;
        }
        let longest = self.config.update_retry_max;
        if let Some(task) = self.tasks.get_mut(key) {
            task.retry = doubled(task.retry, longest);
            self.counters.updates_retried += 1;
            self.send_head_again(now, key, effects);
        }
    }

    /// The framework has an update. Anything but the one that is on its way is ignored: it was
    /// acknowledged before.
    pub(super) fn acknowledged(
        &mut self,
        now: Now,
        key: &TaskKey,
        update: UpdateId,
        effects: &mut Vec<Effect>,
    ) {
        let first_wait = self.first_wait();
        let Some(task) = self.tasks.get_mut(key) else { return };
        if task.head().is_none_or(|head| head.update != Some(update)) {
            return;
        }
        let head = task.record_mut().unacknowledged.remove(0);
        task.retry = first_wait;
        let over = matches!(task.phase, Phase::Ended) && task.record.unacknowledged.is_empty();
        self.counters.updates_acknowledged += 1;
        self.deadlines.clear(&Deadline::Retry(key.clone()));
        if over {
            self.forget(key, None, Some(&head), effects);
        } else {
            self.send_head(now, key, effects);
        }
    }

    /// The wait after an update was sent for the first time; never zero, so that time must pass
    /// between two attempts.
    pub(super) fn first_wait(&self) -> Duration {
        self.config.update_retry_min.max(Duration::from_millis(1))
    }
}

fn doubled(wait: Duration, longest: Duration) -> Duration {
    wait.saturating_mul(2).min(longest).max(Duration::from_millis(1))
}
