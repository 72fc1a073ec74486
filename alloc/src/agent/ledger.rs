//! What is given out and comes back.

use meshos_protocol::resources::Resources;

use super::{Agent, Holding};
use crate::{arena::Key, membership::Membership};

/// What became of a change to the ledger.
#[derive(Debug)]
pub(crate) struct Returned {
    /// What has really come back.
    pub(crate) resources: Resources,
    /// The membership holds nothing here any more.
    pub(crate) last: bool,
}

/// The two things one can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Offered,
    Allocated,
}

impl Holding {
    fn side(&mut self, side: Side) -> &mut Resources {
        match side {
            Side::Offered => &mut self.offered,
            Side::Allocated => &mut self.allocated,
        }
    }
}

impl Agent {
    /// Takes what is offered out of what is free. Returns whether the membership held nothing here.
    pub(crate) fn offer(&mut self, key: Key<Membership>, resources: &Resources) -> bool {
        self.hold(key, resources, Side::Offered)
    }

    /// Records a task that already runs. Returns whether the membership held nothing here.
    pub(crate) fn adopt(&mut self, key: Key<Membership>, resources: &Resources) -> bool {
        self.hold(key, resources, Side::Allocated)
    }

    /// Turns what was offered into what is allocated, as far as it was offered and nobody else has
    /// accepted it. Returns how much.
    pub(crate) fn accept(&mut self, key: Key<Membership>, resources: &Resources) -> Resources {
        let Some(holding) = self.holdings.get_mut(&key) else { return Resources::new() };
        let mut accepted = within(&holding.offered, resources);
        if self.optimistic {
            accepted = within(&self.free, &accepted);
        }
        if accepted.is_empty() {
            return accepted;
        }
        holding.offered = holding.offered.saturating_sub(&accepted);
        self.offers -= usize::from(holding.offered.is_empty());
        holding.allocated += &accepted;
        if self.optimistic {
            self.take(&accepted);
        }
        accepted
    }

    /// Those who are offered what is not free any more.
    pub(crate) fn disappointed(&self) -> impl Iterator<Item = Key<Membership>> {
        let missing = |holding: &Holding| {
            self.optimistic && !self.free.contains(&self.exclusive(&holding.offered))
        };
        self.holdings.iter().filter(move |(_, holding)| missing(holding)).map(|(key, _)| *key)
    }

    /// Frees what was offered, as far as it was.
    pub(crate) fn return_offered(
        &mut self,
        key: Key<Membership>,
        resources: &Resources,
    ) -> Returned {
        self.give_back(key, resources, Side::Offered)
    }

    /// Frees what was allocated, as far as it was.
    pub(crate) fn return_allocated(
        &mut self,
        key: Key<Membership>,
        resources: &Resources,
    ) -> Returned {
        self.give_back(key, resources, Side::Allocated)
    }

    /// Whether holding something on that side takes it away from what is free.
    fn takes(&self, side: Side) -> bool {
        side == Side::Allocated || !self.optimistic
    }

    fn hold(&mut self, key: Key<Membership>, resources: &Resources, side: Side) -> bool {
        let first = !self.holdings.contains_key(&key);
        let held = self.holdings.entry(key).or_default().side(side);
        if side == Side::Offered && held.is_empty() {
            self.offers += 1;
        }
        *held += resources;
        if self.takes(side) {
            self.take(resources);
        }
        first
    }

    fn take(&mut self, resources: &Resources) {
        let resources = self.exclusive(resources);
        let rest = if self.overcommitted {
            None
        } else if self.free.is_same(&resources) {
            Some(Resources::new())
        } else {
            self.free.checked_sub(&resources)
        };
        match rest {
            Some(rest) => self.set_free(rest),
            None => self.recompute(),
        }
    }

    fn give_back(&mut self, key: Key<Membership>, resources: &Resources, side: Side) -> Returned {
        let Some(holding) = self.holdings.get_mut(&key) else {
            return Returned { resources: Resources::new(), last: false };
        };
        let held = holding.side(side);
        let (resources, rest) = if held.is_same(resources) {
            (std::mem::take(held), None)
        } else {
            let resources = within(held, resources);
            let rest = held.saturating_sub(&resources);
            (resources, Some(rest))
        };
        *held = rest.unwrap_or_default();
        if side == Side::Offered && !resources.is_empty() && held.is_empty() {
            self.offers -= 1;
        }
        let last = holding.is_empty();
        if last {
            self.holdings.remove(&key);
        }
        if self.overcommitted {
            self.recompute();
        } else if self.takes(side) {
            let exclusive = self.exclusive(&resources);
            self.set_free(&self.free + &exclusive);
        }
        Returned { resources, last }
    }

    /// The part that one alone can use at a time.
    fn exclusive(&self, resources: &Resources) -> Resources {
        if resources.iter().any(|resource| resource.metadata().shared) {
            resources.exclusive()
        } else {
            resources.clone()
        }
    }

    /// What is left of the total, and whether more is held than there is.
    pub(super) fn rest(&self) -> (Resources, bool) {
        let mut taken = Resources::new();
        let mut rest = Some(self.total.clone());
        for holding in self.holdings.values() {
            for (side, held) in
                [(Side::Offered, &holding.offered), (Side::Allocated, &holding.allocated)]
            {
                if self.takes(side) {
                    let held = self.exclusive(held);
                    rest = rest.and_then(|rest| rest.checked_sub(&held));
                    taken += &held;
                }
            }
        }
        match rest {
            Some(rest) => (rest, false),
            None => (self.total.saturating_sub(&taken), true),
        }
    }

    /// Computes what is free from who holds what.
    pub(super) fn recompute(&mut self) {
        let (rest, overcommitted) = self.rest();
        self.overcommitted = overcommitted;
        self.set_free(rest);
    }

    fn set_free(&mut self, free: Resources) {
        self.allocatable = self.least.is_met_by(&free);
        self.free = free;
    }
}

/// `wanted` as far as it is there.
fn within(available: &Resources, wanted: &Resources) -> Resources {
    if available.contains(wanted) { wanted.clone() } else { available.intersection(wanted) }
}
