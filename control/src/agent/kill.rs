//! The way from SIGTERM to SIGKILL.

use std::time::Duration;

use meshos_protocol::{
    ids::FrameworkId,
    messages::agent::ToLeader,
    task::{DrainKill, KILL_GRACE_MAX_MS, Reason, TaskState},
    time::{Mono, Now, millis},
};

use super::{
    Agent, Effect,
    deadlines::Deadline,
    end::End,
    register::Link,
    task::{Abandoned, Phase, Task, TaskKey},
};

impl Agent {
    /// Ends one task because its node is drained. Whoever asked for its end first has the say why it
    /// ended; the wait for SIGKILL is no longer than the drain allows.
    pub(super) fn kill_for_drain(
        &mut self,
        now: Now,
        key: &TaskKey,
        drain: DrainKill,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(key).filter(|task| task.is_live()) else { return };
        let (asked_before, drained_before) = (task.record.kill_asked, task.record.drain);
        // Of two drains the later one has the say.
        if !asked_before || drained_before.is_some() {
            task.record_mut().drain = Some(drain);
        }
        let changed = drained_before.is_some_and(|before| before != drain);
        let own = task.record.launch.description.kill_grace_ms;
        let grace = self.grace_in_drain(own, Some(drain));
        self.kill(now, key, Some(millis(grace)), effects);
        if changed && self.tasks.get(key).is_some_and(Task::is_live) {
            self.write_record(key, effects);
        }
        // Not after the task's own time: the others of its executor may have more.
        let most = Duration::from_millis(drain.grace_max_ms);
        self.enforce_on_executor(now, key, most, effects);
    }

    /// An executor that does not end a task in time is made to end with it: nothing of a node that
    /// is drained may stay.
    fn enforce_on_executor(
        &mut self,
        now: Now,
        key: &TaskKey,
        grace: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get(key) else { return };
        if task.executor_key().is_none() || !matches!(task.phase, Phase::Running { .. }) {
            return;
        }
        if grace.is_zero() {
            self.destroy(now, key, effects);
            return;
        }
        self.destroy_by(key, now.mono.after(grace));
    }

    /// Sets when a task that is being killed is made to end, unless that is earlier already.
    fn destroy_by(&mut self, key: &TaskKey, at: Mono) {
        let deadline = Deadline::Destroy(key.clone());
        if self.deadlines.get(&deadline).is_none_or(|set| at < set) {
            self.deadlines.set(deadline, at);
        }
    }

    /// Ends one task. A repeated kill can only shorten the wait for SIGKILL.
    pub(super) fn kill(
        &mut self,
        now: Now,
        key: &TaskKey,
        grace_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get(key) else { return };
        let grace = self.grace(grace_ms.or(task.record.launch.description.kill_grace_ms));
        match task.phase {
            Phase::Recording { .. } | Phase::Queued => {
                self.killed_in_group_before_start(now, key, effects);
            }
            Phase::Running { .. } if task.executor_key().is_some() => {
                self.kill_by_executor(key, grace_ms, effects);
            }
            Phase::Starting => self.kill_while_starting(now, key, effects),
            Phase::Running { pid } => self.kill_running(now, key, pid, grace, effects),
            Phase::Killing { .. } => self.destroy_by(key, now.mono.after(grace)),
            Phase::Ending { .. } | Phase::Ended | Phase::Forgetting { .. } => {}
        }
    }

    /// How long a task that is to end has for it.
    pub(super) fn grace(&self, asked_ms: Option<u64>) -> Duration {
        let asked = asked_ms.map(|ms| Duration::from_millis(ms.min(KILL_GRACE_MAX_MS)));
        asked.unwrap_or(self.config.kill_grace)
    }

    /// The same when its node may be drained: no longer than the drain allows.
    pub(super) fn grace_in_drain(
        &self,
        asked_ms: Option<u64>,
        drain: Option<DrainKill>,
    ) -> Duration {
        let grace = self.grace(asked_ms);
        drain.map_or(grace, |drain| grace.min(Duration::from_millis(drain.grace_max_ms)))
    }

    /// Nothing was started, so nothing has to be ended: the task is over.
    pub(super) fn killed_before_start(
        &mut self,
        now: Now,
        key: &TaskKey,
        effects: &mut Vec<Effect>,
    ) {
        let message = "the task was killed before it was started".to_owned();
        let end = End::new(TaskState::Killed, Some(Reason::KilledDuringLaunch), message);
        self.finish(now, key, end, effects);
    }

    /// There may be no process yet that could end with grace. If one comes up all the same, it is
    /// destroyed then.
    fn kill_while_starting(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        self.enter_killing(now, key, None, effects);
        self.destroy(now, key, effects);
    }

    /// Asks a running container to end, and sets when it is made to.
    pub(super) fn kill_running(
        &mut self,
        now: Now,
        key: &TaskKey,
        pid: Option<u32>,
        grace: Duration,
        effects: &mut Vec<Effect>,
    ) {
        self.enter_killing(now, key, pid, effects);
        if grace.is_zero() {
            self.destroy(now, key, effects);
            return;
        }
        let Some(task) = self.tasks.get(key) else { return };
        effects.push(Effect::Terminate { container: task.record.container.clone() });
        self.deadlines.set(Deadline::Destroy(key.clone()), now.mono.after(grace));
    }

    fn enter_killing(
        &mut self,
        now: Now,
        key: &TaskKey,
        pid: Option<u32>,
        effects: &mut Vec<Effect>,
    ) {
        self.counters.kills += 1;
        self.enter(key, Phase::Killing { pid });
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.record_mut().kill_asked = true;
        if task.record.state == TaskState::Killing {
            self.write_record(key, effects);
        } else {
            self.progress(now, key, TaskState::Killing, effects);
        }
    }

    /// SIGKILL, and again after a while until the container is seen to have ended.
    pub(super) fn destroy(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(key) else { return };
        if let Some(executor) = task.executor_key() {
            self.destroy_executor(now, &executor, effects);
            return;
        }
        let container = task.record.container.clone();
        if let Phase::Starting | Phase::Running { .. } = task.phase {
            self.enter_killing(now, key, None, effects);
        }
        let again = self.config.destroy_retry.max(Duration::from_millis(1));
        self.deadlines.set(Deadline::Destroy(key.clone()), now.mono.after(again));
        effects.push(Effect::Destroy { container });
    }

    /// The framework has ended, and its tasks with it.
    pub(super) fn close_framework(
        &mut self,
        now: Now,
        framework: FrameworkId,
        effects: &mut Vec<Effect>,
    ) {
        for key in self.keys_where(|key| key.0 == framework) {
            if let Some(task) = self.tasks.get_mut(&key) {
                task.kill_reason = Some(Reason::FrameworkRemoved);
            }
            self.abandon(now, &key, Abandoned::FrameworkClosed, effects);
        }
        self.shut_down_executors(now, |key| key.0 == framework, effects);
    }

    /// The node is being stopped together with its tasks.
    pub(super) fn stop_tasks(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        if matches!(self.link, Link::Registering | Link::Registered) {
            effects.push(Effect::SendToLeader(ToLeader::Leaving));
        }
        for key in self.keys_where(|_| true) {
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            task.kill_reason = Some(Reason::AgentStopped);
            if task.executor_key().is_some() && matches!(task.phase, Phase::Running { .. }) {
                // It ends with its executor.
                task.record_mut().kill_asked = true;
            } else {
                self.kill(now, &key, None, effects);
            }
        }
        self.shut_down_executors(now, |_| true, effects);
    }

    pub(super) fn keys_where(&self, wanted: impl Fn(&TaskKey) -> bool) -> Vec<TaskKey> {
        self.tasks.keys().filter(|key| wanted(key)).cloned().collect()
    }
}
