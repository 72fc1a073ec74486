//! What is to happen later, ordered by time.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::time::Mono;

use super::{checks::CheckKey, executors::ExecutorKey, task::TaskKey};

/// Something that is to happen to one task or executor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// SIGKILL to what did not end after SIGTERM.
    Destroy(TaskKey),
    /// The task has run for as long as it may.
    Overdue(TaskKey),
    /// A check of a task is due, or its probe has taken too long.
    Probe(CheckKey),
    /// The update that waits for its acknowledgement is sent again.
    Retry(TaskKey),
    /// An executor must have subscribed, for the first time or again.
    ExecutorAwaited(ExecutorKey),
    /// SIGKILL to an executor that did not end.
    ExecutorDestroy(ExecutorKey),
}

/// At most one moment for each deadline.
#[derive(Debug, Clone, Default)]
pub(super) struct Deadlines {
    moments: BTreeMap<Deadline, Mono>,
    order: BTreeSet<(Mono, Deadline)>,
}

impl Deadlines {
    /// Sets or moves a deadline.
    pub(super) fn set(&mut self, deadline: Deadline, at: Mono) {
        self.clear(&deadline);
        self.moments.insert(deadline.clone(), at);
        self.order.insert((at, deadline));
    }

    /// Forgets a deadline.
    pub(super) fn clear(&mut self, deadline: &Deadline) {
        if let Some((deadline, at)) = self.moments.remove_entry(deadline) {
            self.order.remove(&(at, deadline));
        }
    }

    /// When `deadline` is due.
    pub(super) fn get(&self, deadline: &Deadline) -> Option<Mono> {
        self.moments.get(deadline).copied()
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the next one when it is due at `now`.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Deadline> {
        if self.next()? > now {
            return None;
        }
        let (_, deadline) = self.order.pop_first()?;
        self.moments.remove(&deadline);
        Some(deadline)
    }

    /// All that are set.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Deadline> {
        self.moments.keys()
    }

    /// Whether both indexes agree.
    pub(super) fn is_consistent(&self) -> bool {
        self.moments.len() == self.order.len()
            && self
                .moments
                .iter()
                .all(|(deadline, at)| self.order.contains(&(*at, deadline.clone())))
    }
}
