//! One agent's page of the ledger: what it has, who holds what of it, what is free.

mod conversion;
mod invariants;
mod ledger;
mod portion;
mod promised;

use std::collections::BTreeMap;

use meshos_protocol::{ids::AgentId, resources::Resources};

pub(crate) use ledger::Returned;
pub(crate) use portion::{Miss, Portion, Withheld};
pub(crate) use promised::{Promised, PromisedByRole};

use crate::{
    arena::Key, filters::Filters, membership::Membership, min_allocatable::MinAllocatable,
    profile::AgentProfile,
};

/// To how many frameworks the same resources are offered at once, when that is done at all.
pub(crate) const OPTIMISTIC_OFFERS_MAX: usize = 8;

#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) profile: AgentProfile,
    pub(crate) active: bool,
    /// It stands in another region than the leader.
    pub(crate) remote: bool,
    pub(crate) filters: Filters,
    /// What is offered is not held back from others; the first to accept gets it.
    optimistic: bool,
    /// The least of it that is worth an offer.
    pub(crate) least: MinAllocatable,
    total: Resources,
    offerable: bool,
    /// Not everybody may have everything: something is reserved, shared, revocable or a volume.
    special: bool,
    gpus: bool,
    /// What nobody uses and, unless offers are optimistic, nobody is offered. Shared volumes are
    /// always in it.
    free: Resources,
    /// `free` is enough to be worth an offer.
    allocatable: bool,
    /// Somebody holds what the agent does not have, or what another holds too: an agent that came
    /// back smaller, or reports tasks that cannot be. Then `free` is computed from the holdings
    /// after each change instead of being carried along.
    overcommitted: bool,
    holdings: BTreeMap<Key<Membership>, Holding>,
    /// How many of them are offered something.
    offers: usize,
    /// What roles are offered of the pool, when several may be offered the same; empty otherwise.
    promised: PromisedByRole,
}

/// What one framework in one role holds of an agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holding {
    pub(crate) offered: Resources,
    pub(crate) allocated: Resources,
}

impl Holding {
    fn is_empty(&self) -> bool {
        self.offered.is_empty() && self.allocated.is_empty()
    }
}

impl Agent {
    pub(crate) fn new(
        id: AgentId,
        total: Resources,
        profile: AgentProfile,
        least: MinAllocatable,
        optimistic: bool,
    ) -> Self {
        let mut agent = Self {
            id,
            profile,
            active: true,
            remote: false,
            filters: Filters::default(),
            optimistic,
            least,
            total: Resources::new(),
            offerable: false,
            special: false,
            gpus: false,
            free: Resources::new(),
            allocatable: false,
            overcommitted: false,
            holdings: BTreeMap::new(),
            offers: 0,
            promised: PromisedByRole::new(),
        };
        agent.set_total(total);
        agent
    }

    pub(crate) fn total(&self) -> &Resources {
        &self.total
    }

    pub(crate) fn free(&self) -> &Resources {
        &self.free
    }

    pub(crate) fn holdings(&self) -> &BTreeMap<Key<Membership>, Holding> {
        &self.holdings
    }

    pub(crate) fn offerable(&self) -> bool {
        self.offerable
    }

    /// What is offered, a shared volume once. When several are offered the same, that counts once.
    pub(crate) fn offered(&self) -> Resources {
        if self.optimistic {
            let offered = self.holdings.values().map(|holding| &holding.offered);
            let all = offered.fold(Resources::new(), |all, one| &all + &one.saturating_sub(&all));
            return self.each_volume_once(all);
        }
        self.sum(|holding| &holding.offered)
    }

    /// What is allocated, a shared volume once.
    pub(crate) fn allocated(&self) -> Resources {
        self.sum(|holding| &holding.allocated)
    }

    fn sum(&self, side: fn(&Holding) -> &Resources) -> Resources {
        self.each_volume_once(self.holdings.values().map(side).sum())
    }

    /// What is held, and of what several may hold at once no more than there is.
    fn each_volume_once(&self, held: Resources) -> Resources {
        if !held.iter().any(|resource| resource.metadata().shared) {
            return held;
        }
        held.exclusive() + &held.shared().intersection(&self.total)
    }

    /// Whether everybody who waits may have all that is free, as far as the agent itself goes.
    pub(crate) fn is_plain(&self) -> bool {
        !self.special && !self.optimistic && !self.gpus && !self.remote
    }

    /// Whether what is offered is not held back from others.
    pub(crate) fn is_optimistic(&self) -> bool {
        self.optimistic
    }

    /// Whether somebody is offered something here.
    pub(crate) fn has_offers(&self) -> bool {
        self.offers > 0
    }

    /// Changes what the agent has. Returns what it had.
    pub(crate) fn set_total(&mut self, total: Resources) -> Resources {
        let before = std::mem::replace(&mut self.total, total);
        self.offerable = self.total.is_offerable_total();
        self.special = self.total.iter().any(|resource| {
            !resource.metadata().is_unreserved() || !resource.metadata().is_plain()
        });
        self.gpus = !self.total.gpus().is_zero();
        self.recompute();
        before
    }
}
