//! What leaders told a voter of tasks, outside the log: what it would begin with as the next leader.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{AgentId, Fence, FrameworkId, TaskId},
    messages::agent::TaskHint,
};

/// Tasks a voter remembers; beyond that new ones are not noted.
const TASKS_MAX: usize = 200_000;
/// Ends of tasks that a voter remembers, the newest: as many as a leader shows.
pub(super) const ENDS_MAX: usize = 1_000;

/// The hints that a voter keeps in memory.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    fence: Option<Fence>,
    /// By agent too: what is told late of a task on one agent says nothing of one of its name on another.
    tasks: BTreeMap<Key, TaskHint>,
    ends: Ends,
}

type Key = (FrameworkId, TaskId, AgentId);

fn key_of(hint: &TaskHint) -> Key {
    (hint.framework, hint.task.clone(), hint.agent)
}

impl Hints {
    /// Takes hints from the leader under `fence`; those of an earlier leader come too late.
    pub fn take(&mut self, fence: Fence, hints: impl IntoIterator<Item = TaskHint>) {
        if self.fence.is_some_and(|newest| fence.is_stale(newest)) {
            return;
        }
        self.fence = Some(fence);
        for hint in hints {
            let key = key_of(&hint);
            if hint.launch.is_none() {
                self.tasks.remove(&key);
                if hint.end.is_some() {
                    self.ends.take(hint);
                }
            } else if self.tasks.len() < TASKS_MAX || self.tasks.contains_key(&key) {
                self.tasks.insert(key, hint);
            }
        }
    }

    /// How the newest ended tasks ended, and then all live ones that leaders told of: a live one may
    /// have the name of one that ended.
    pub fn all(&self) -> Vec<TaskHint> {
        self.ends.by_age.values().chain(self.tasks.values()).cloned().collect()
    }

    /// How many live tasks leaders told of.
    pub fn live(&self) -> usize {
        self.tasks.len()
    }
}

/// How the newest ended tasks ended; of each task on an agent the last word.
#[derive(Debug, Clone, Default)]
struct Ends {
    by_age: BTreeMap<u64, TaskHint>,
    ages: BTreeMap<Key, u64>,
    taken: u64,
}

impl Ends {
    fn take(&mut self, hint: TaskHint) {
        self.taken += 1;
        let key = key_of(&hint);
        if let Some(earlier) = self.ages.insert(key, self.taken) {
            self.by_age.remove(&earlier);
        }
        self.by_age.insert(self.taken, hint);
        if self.by_age.len() > ENDS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.ages.remove(&key_of(&oldest));
        }
    }
}
