//! Whose probe is next when many want one.
//!
//! A framework is given a place while it has fewer probes under way than places are free. So whoever has probes that hang keeps half
//! of the places at most, a second such framework a quarter, and the next one finds some free all the same: the rule is the one for memory
//! that queues share (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{ContainerId, FrameworkId},
    time::Mono,
};

use super::CheckKey;

/// The probes that are under way, and the checks that wait for a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    under_way: BTreeMap<ContainerId, CheckKey>,
    /// How many of these each framework has, if any.
    taken: BTreeMap<FrameworkId, usize>,
    /// The checks that wait, by framework, those that have waited longest first; no list is empty.
    waiting: BTreeMap<FrameworkId, BTreeSet<(Mono, CheckKey)>>,
}

impl Places {
    /// The check whose probe is under way there.
    pub(super) fn check_of(&self, probe: &ContainerId) -> Option<&CheckKey> {
        self.under_way.get(probe)
    }

    /// How many probes are under way.
    pub(super) fn taken(&self) -> usize {
        self.under_way.len()
    }

    /// How many checks wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// A check waits from now on.
    pub(super) fn wait(&mut self, since: Mono, check: CheckKey) {
        self.waiting.entry(framework(&check)).or_default().insert((since, check));
    }

    /// A check does not wait any more.
    pub(super) fn leave(&mut self, since: Mono, check: &CheckKey) {
        let Some(queue) = self.waiting.get_mut(&framework(check)) else { return };
        queue.remove(&(since, check.clone()));
        if queue.is_empty() {
            self.waiting.remove(&framework(check));
        }
    }

    /// A probe begins.
    pub(super) fn take(&mut self, probe: ContainerId, check: CheckKey) {
        *self.taken.entry(framework(&check)).or_default() += 1;
        self.under_way.insert(probe, check);
    }

    /// A probe is over, or nobody waits for it any more.
    pub(super) fn give_back(&mut self, probe: &ContainerId) -> Option<CheckKey> {
        let check = self.under_way.remove(probe)?;
        if let Some(taken) = self.taken.get_mut(&framework(&check)) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(&framework(&check));
            }
        }
        Some(check)
    }

    /// The framework that gets the next place: of those that may have one whoever has the fewest, and then whoever has waited longest.
    fn next(&self, places: usize) -> Option<FrameworkId> {
        let free = places.saturating_sub(self.under_way.len());
        self.waiting
            .iter()
            .map(|(framework, queue)| {
                let since = queue.first().map(|(since, _)| *since);
                (self.taken.get(framework).copied().unwrap_or(0), since, *framework)
            })
            .filter(|(taken, ..)| *taken < free)
            .min()
            .map(|(.., framework)| framework)
    }

    /// Takes the check that gets the next of so many places out of those that wait, if there is one for any.
    pub(super) fn pop(&mut self, places: usize) -> Option<CheckKey> {
        if self.waiting.is_empty() {
            return None;
        }
        let framework = self.next(places)?;
        let (since, check) = self.waiting.get(&framework)?.first()?.clone();
        self.leave(since, &check);
        Some(check)
    }

    /// Whether a check waits, since then.
    pub(super) fn waits(&self, since: Mono, check: &CheckKey) -> bool {
        let queue = self.waiting.get(&framework(check));
        queue.is_some_and(|queue| queue.contains(&(since, check.clone())))
    }

    /// Asserts what must hold after every step of the agent.
    pub(super) fn check(&self, places: usize) {
        assert!(self.under_way.len() <= places, "too many probes are under way");
        assert!(self.next(places).is_none(), "a check waits although there is a place for it");
        let mut counted = BTreeMap::new();
        for check in self.under_way.values() {
            *counted.entry(framework(check)).or_default() += 1;
        }
        assert_eq!(self.taken, counted, "probes under way by framework");
        assert!(self.waiting.values().all(|queue| !queue.is_empty()), "an empty list is kept");
    }
}

fn framework(check: &CheckKey) -> FrameworkId {
    check.0.0
}
