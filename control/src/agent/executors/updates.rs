//! What executors tell of their tasks.
//!
//! An update keeps the id that its executor gave it. It is acknowledged to the executor when it is on
//! disk, so what a crash loses is told again; the newest ids of each task are part of its record, so
//! what is told again is known again.

use meshos_protocol::{
    ids::UpdateId,
    messages::executor::{Event as ExecutorEvent, ExecutorStatus, UPDATES_IN_FLIGHT_MAX},
    task::{STATUS_DATA_BYTES_MAX, Source, StatusUpdate, TaskState, shortened},
    time::Now,
};

use super::{
    super::{
        Agent, Change, Effect, TaskRecord,
        end::End,
        storage::Waiter,
        task::{Phase, TaskKey},
    },
    ExecutorKey,
};

/// Ids of updates that a task's record keeps: those that an executor may tell again, and as many more.
const IDS_KEPT_MAX: usize = 2 * UPDATES_IN_FLIGHT_MAX;
/// Updates of one task that wait for its framework; further ones are not taken before there is room, but for the last, and
/// none before those that came before it.
const WAITING_MAX: usize = 100;

/// What is to be done with an update of an executor.
enum Place {
    /// It may not say that.
    Refused,
    /// It is on disk, or of a task that is over: its executor need not tell it again.
    Known,
    /// It is taken.
    New,
    /// Its executor tells it again, unless it is acknowledged before.
    Later,
    /// The same, since there is no room or another that came before it had none.
    PutOff,
}

impl Agent {
    pub(super) fn executor_update(
        &mut self,
        now: Now,
        executor: &ExecutorKey,
        status: ExecutorStatus,
        effects: &mut Vec<Effect>,
    ) {
        let key = (executor.0, status.task.clone());
        let place = self.place_of(executor, &key, &status);
        if let (Place::New, Some(task)) = (&place, self.tasks.get_mut(&key)) {
            task.put_off = None;
        }
        match place {
            Place::Refused => self.counters.executor_calls_refused += 1,
            Place::Known => self.acknowledge_executor(executor, &key, &status, effects),
            Place::New if status.state.is_terminal() => {
                self.finish(now, &key, End::by_executor(status), effects);
            }
            Place::New => self.progress_by_executor(now, &key, status, effects),
            Place::Later => {}
            Place::PutOff => {
                if let Some(task) = self.tasks.get_mut(&key) {
                    task.put_off.get_or_insert(status.update);
                }
            }
        }
    }

    fn place_of(&self, executor: &ExecutorKey, key: &TaskKey, status: &ExecutorStatus) -> Place {
        if !status.state.is_told_by_executors() {
            return Place::Refused;
        }
        let Some(task) = self.tasks.get(key).filter(|task| task.is_run_by(executor)) else {
            return Place::Known;
        };
        if self.is_being_written(key, status.update) {
            return Place::Later;
        }
        if !task.is_live() || task.record.updates_taken.contains(&status.update) {
            return Place::Known;
        }
        if !matches!(task.phase, Phase::Running { .. }) {
            return Place::Refused;
        }
        let full = task.record.unacknowledged.len() >= WAITING_MAX;
        match task.put_off {
            Some(first) if first != status.update => Place::PutOff,
            _ if full && !status.state.is_terminal() => Place::PutOff,
            _ => Place::New,
        }
    }

    /// Whether an update of an executor is on its way to the disk.
    fn is_being_written(&self, key: &TaskKey, update: UpdateId) -> bool {
        let ends = self.tasks.get(key).is_some_and(|task| match &task.phase {
            Phase::Ending { terminal, .. } => terminal.update == Some(update),
            Phase::Recording { .. }
            | Phase::Queued
            | Phase::Starting
            | Phase::Running { .. }
            | Phase::Killing { .. }
            | Phase::Ended
            | Phase::Forgetting { .. } => false,
        });
        ends || self.storage.waits_for_update(key, update)
    }

    fn progress_by_executor(
        &mut self,
        now: Now,
        key: &TaskKey,
        told: ExecutorStatus,
        effects: &mut Vec<Effect>,
    ) {
        let mut status = self.status(now, key, told.state);
        let update = told.update;
        fill_in(&mut status, told);
        let Some(task) = self.tasks.get_mut(key) else { return };
        let abandoned = task.abandoned.is_some();
        let record = task.record_mut();
        record.state = status.state;
        if status.state == TaskState::Running && record.started_at.is_none() {
            record.started_at = Some(now.wall);
        }
        if status.healthy.is_some() || status.check_status.is_some() {
            let checks = record.checks.get_or_insert_default();
            (checks.healthy, checks.status) = (status.healthy, status.check_status);
        }
        keep_id(record, &status);
        if !abandoned {
            record.unacknowledged.push(status);
        }
        let record = Box::new(record.clone());
        let waiter = Waiter::Update(key.clone(), update);
        self.write_waited_for(waiter, Change::Task(record), effects);
        self.watch_time(now, key);
        self.send_head(now, key, effects);
    }

    /// An update that is no end is on disk.
    pub(in crate::agent) fn update_written(
        &self,
        key: &TaskKey,
        update: UpdateId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.tasks.get(key).and_then(|task| task.executor_key()) else {
            return;
        };
        let event = ExecutorEvent::Acknowledged { task: key.1.clone(), update };
        self.tell_executor(&executor, event, effects);
    }

    /// The end of a task, as its executor told it, is on disk or matters to nobody.
    pub(in crate::agent) fn acknowledge_end(
        &self,
        key: &TaskKey,
        terminal: &StatusUpdate,
        effects: &mut Vec<Effect>,
    ) {
        if let (Source::Executor, Some(update)) = (terminal.source, terminal.update) {
            self.update_written(key, update, effects);
        }
    }

    fn acknowledge_executor(
        &self,
        executor: &ExecutorKey,
        key: &TaskKey,
        status: &ExecutorStatus,
        effects: &mut Vec<Effect>,
    ) {
        if self.storage.failure().is_some() {
            // What is known here may not be on disk.
            return;
        }
        let event = ExecutorEvent::Acknowledged { task: key.1.clone(), update: status.update };
        self.tell_executor(executor, event, effects);
    }
}

impl End {
    /// As a task's executor tells it.
    fn by_executor(status: ExecutorStatus) -> Self {
        let mut end = Self::new(status.state, status.reason, String::new());
        end.told = Some(Box::new(status));
        end
    }
}

/// Puts an executor's words into an update.
pub(in crate::agent) fn fill_in(status: &mut StatusUpdate, told: ExecutorStatus) {
    let ExecutorStatus {
        task: _,
        state,
        update,
        reason,
        message,
        mut data,
        at,
        healthy,
        check_status,
    } = told;
    data.truncate(STATUS_DATA_BYTES_MAX);
    status.state = state;
    status.update = Some(update);
    status.reason = reason;
    status.message = shortened(message);
    status.data = data;
    status.source = Source::Executor;
    status.at = at.unwrap_or(status.at);
    status.healthy = healthy.or(status.healthy);
    status.check_status = check_status.or(status.check_status);
}

/// Keeps the id of an update that came from an executor.
pub(in crate::agent) fn keep_id(record: &mut TaskRecord, status: &StatusUpdate) {
    if let (Source::Executor, Some(update)) = (status.source, status.update) {
        record.updates_taken.push(update);
        let excess = record.updates_taken.len().saturating_sub(IDS_KEPT_MAX);
        record.updates_taken.drain(..excess);
    }
}
