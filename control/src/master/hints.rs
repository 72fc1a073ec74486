//! What leaders told a voter of tasks, outside the log: what it would begin with as the next leader.

use std::{collections::BTreeMap, ops::Bound};

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
    /// The number of the next hint of the leader under `fence`; absent when some were missed.
    next: Option<u64>,
}

/// Where hints stand in what a leader tells one voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HintsPlace {
    /// How many it was told before.
    pub number: u64,
    /// Whether the leader begins anew with all that it knows.
    pub afresh: bool,
}

/// What [`Hints::page`] goes on from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HintsCursor {
    after: Option<Key>,
    began: bool,
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
        self.next = None;
        self.note(hints);
    }

    /// Takes hints that the leader counts. False: some have been missed, so all are to be told afresh. A voter
    /// that never heard of any leader, because it has just started, has missed what earlier ones told.
    #[must_use]
    pub fn take_counted(&mut self, fence: Fence, place: HintsPlace, hints: Vec<TaskHint>) -> bool {
        if self.fence.is_some_and(|newest| fence.is_stale(newest)) {
            return true;
        }
        let is_next = match self.fence {
            Some(known) if known == fence => self.next == Some(place.number),
            Some(_) => place.number == 0,
            None => false,
        };
        if place.afresh {
            self.tasks.clear();
            self.ends = Ends::default();
        }
        let complete = is_next || place.afresh;
        let count = u64::try_from(hints.len()).unwrap_or(u64::MAX);
        self.fence = Some(fence);
        self.next = complete.then(|| place.number.saturating_add(count));
        self.note(hints);
        complete
    }

    fn note(&mut self, hints: impl IntoIterator<Item = TaskHint>) {
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

    /// All of it piece by piece: the ends in the first page, then at most `max` live tasks in each. What changes
    /// between two pages may be missing from both. An empty page is the last.
    pub fn page(&self, cursor: &mut HintsCursor, max: usize) -> Vec<TaskHint> {
        if !std::mem::replace(&mut cursor.began, true) && !self.ends.by_age.is_empty() {
            return self.ends.by_age.values().cloned().collect();
        }
        let after = cursor.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let page: Vec<_> = self
            .tasks
            .range((after, Bound::Unbounded))
            .take(max)
            .map(|(_, hint)| hint.clone())
            .collect();
        cursor.after = page.last().map(key_of).or_else(|| cursor.after.take());
        page
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
