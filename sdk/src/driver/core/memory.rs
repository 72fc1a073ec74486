//! What the driver remembers, within bounds: updates that were delivered, tasks that have ended, kills.

use meshos_protocol::{
    ids::{TaskId, UpdateId},
    task::TaskDescription,
};

use super::{Core, KILLS_MAX};

/// Updates remembered, so that one that is sent again is not delivered again.
const SEEN_MAX: usize = 100_000;

impl Core {
    /// Whether the update is new.
    pub(super) fn remember(&mut self, update: UpdateId) -> bool {
        if !self.seen.insert(update) {
            return false;
        }
        self.seen_order.push_back(update);
        if self.seen_order.len() > SEEN_MAX
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    pub(super) fn remember_end(&mut self, task: &TaskId) {
        if self.ended.insert(task.clone()) {
            self.ended_order.push_back(task.clone());
        }
        if self.ended_order.len() > SEEN_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    pub(super) fn remember_kill(&mut self, task: &TaskId, grace_ms: Option<u64>) {
        if self.ended.contains(task) {
            return;
        }
        if self.kills.insert(task.clone(), grace_ms).is_none() {
            self.kills_order.push_back(task.clone());
        }
        while self.kills.len() > KILLS_MAX
            && let Some(oldest) = self.kills_order.pop_front()
        {
            self.kills.remove(&oldest);
        }
        if self.kills_order.len() > 2 * KILLS_MAX {
            let kills = &self.kills;
            self.kills_order.retain(|task| kills.contains_key(task));
        }
    }

    /// An id may be used again once its task has ended.
    pub(super) fn forget_ends(&mut self, tasks: &[TaskDescription]) {
        for task in tasks {
            if self.ended.remove(&task.task_id) {
                self.ended_order.retain(|ended| *ended != task.task_id);
            }
        }
    }
}
