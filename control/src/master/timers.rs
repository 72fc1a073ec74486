//! What must happen at a time.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    time::Mono,
};

/// What a timer is for; each has at most one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The agent has been without a stream for too long.
    AgentLost(AgentId),
    /// The framework's grace or fail-over time has run out.
    FrameworkAway(FrameworkId),
    /// The agent was asked for what it remembers, and has not answered.
    HistoryOf(AgentId),
    /// What was used is to go on record.
    PastUse,
    /// The framework has said what it thinks of the maintenance of this agent's node, and is to be asked once more.
    AskAgain(AgentId, FrameworkId),
}

/// The timers that are set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeMap<Timer, Mono>,
    order: BTreeSet<(Mono, Timer)>,
}

impl Timers {
    /// Sets a timer, in place of an earlier one for the same.
    pub(super) fn set(&mut self, timer: Timer, at: Mono) {
        self.clear(timer);
        self.set.insert(timer, at);
        self.order.insert((at, timer));
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.set.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Whether a timer is set.
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.set.contains_key(&timer)
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one timer whose time has come.
    pub(super) fn take_due(&mut self, now: Mono) -> Option<Timer> {
        let (at, timer) = self.order.first().copied()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.set.len(), self.order.len(), "every timer stands in both maps");
    }
}
