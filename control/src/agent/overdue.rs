//! Tasks that may run for a limited time.

use std::time::Duration;

use meshos_protocol::{
    task::{Reason, StatusUpdate, TaskState},
    time::Now,
};

use super::{
    Agent, Effect, TaskRecord,
    deadlines::Deadline,
    end::tell_why,
    task::{Phase, Task, TaskKey},
};

impl Agent {
    /// A task runs: if it may do so for a limited time only, that counts from when it began to.
    ///
    /// While the agent lives its own clock counts; what passed before it was started again only the wall clock tells.
    pub(super) fn watch_time(&mut self, now: Now, key: &TaskKey) {
        let Some(task) = self.tasks.get(key) else { return };
        let record = &task.record;
        let limit = record.launch.description.max_completion_ms;
        let deadline = Deadline::Overdue(key.clone());
        if let (Some(limit_ms), Some(started)) = (limit, record.started_at)
            && matches!(task.phase, Phase::Running { .. })
            && !record.kill_asked
            && self.deadlines.get(&deadline).is_none()
        {
            let left = Duration::from_millis(limit_ms).saturating_sub(now.wall.since(started));
            self.deadlines.set(deadline, now.mono.after(left));
        }
    }

    /// The task has run for as long as it may. Of one in an executor the executor is asked to end it.
    pub(super) fn overdue(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let wanted = |task: &&mut Task| task.is_live() && !task.record.kill_asked;
        let Some(task) = self.tasks.get_mut(key).filter(wanted) else { return };
        task.record_mut().overdue = true;
        self.kill(now, key, None, effects);
    }
}

/// A task was killed because its time was over, unless something else was faster.
pub(super) fn tell_of_time(
    terminal: &mut StatusUpdate,
    record: &TaskRecord,
    other: Option<Reason>,
) {
    let limit_ms = record.launch.description.max_completion_ms;
    let Some(limit_ms) = limit_ms.filter(|_| record.overdue) else { return };
    let limit = Duration::from_millis(limit_ms);
    let message = format!("the task had not ended {limit:?} after it began to run");
    if terminal.state == TaskState::Killed
        && tell_why(terminal, other, Reason::MaxCompletionTimeReached, message)
    {
        terminal.state = TaskState::Failed;
    }
}
