//! One agent's page of the ledger: what it has, who holds what of it, what is free.

use std::{collections::BTreeMap, sync::Arc};

use meshos_protocol::{attributes::Attributes, ids::AgentId, resources::Resources};

use crate::{
    arena::Key,
    explain::SkipRule,
    filters::{Filters, Standing},
    membership::Membership,
};

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) attributes: Attributes,
    pub(crate) active: bool,
    pub(crate) filters: Filters,
    total: Resources,
    offerable: bool,
    reserved: bool,
    gpus: bool,
    /// All that is held by anybody.
    used: Resources,
    free: Resources,
    /// `free` is enough to be worth an offer.
    allocatable: bool,
    /// Somebody holds what the agent does not have, or what another holds too: an agent that came
    /// back smaller, or reports tasks that cannot be. Then `used` and `free` are computed from the
    /// holdings after each change instead of being carried along.
    overcommitted: bool,
    holdings: BTreeMap<Key<Membership>, Holding>,
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

/// What became of a change to the ledger.
#[derive(Debug)]
pub(crate) struct Returned {
    /// What has really come back.
    pub(crate) resources: Resources,
    /// The membership holds nothing here any more.
    pub(crate) last: bool,
}

impl Agent {
    pub(crate) fn new(id: AgentId, total: Resources, attributes: Attributes) -> Self {
        let mut agent = Self {
            id,
            attributes,
            active: true,
            filters: Filters::default(),
            total: Resources::new(),
            offerable: false,
            reserved: false,
            gpus: false,
            used: Resources::new(),
            free: Resources::new(),
            allocatable: false,
            overcommitted: false,
            holdings: BTreeMap::new(),
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

    pub(crate) fn offered(&self) -> Resources {
        self.holdings.values().map(|holding| &holding.offered).sum()
    }

    pub(crate) fn allocated(&self) -> Resources {
        self.holdings.values().map(|holding| &holding.allocated).sum()
    }

    /// Changes what the agent has. Returns what it had.
    pub(crate) fn set_total(&mut self, total: Resources) -> Resources {
        let before = std::mem::replace(&mut self.total, total);
        self.offerable = self.total.is_offerable_total();
        self.reserved = self.total.iter().any(|resource| !resource.metadata().is_unreserved());
        self.gpus = !self.total.gpus().is_zero();
        self.recompute();
        before
    }

    /// The rule by which nobody is offered this agent now, if there is one.
    pub(crate) fn closed(&self) -> Option<SkipRule> {
        if self.is_open() {
            None
        } else if !self.active {
            Some(SkipRule::AgentInactive)
        } else if !self.offerable {
            Some(SkipRule::NotOfferable)
        } else if self.offered().is_allocatable() {
            Some(SkipRule::OfferedElsewhere)
        } else if self.free.is_empty() {
            Some(SkipRule::NothingFree)
        } else {
            Some(SkipRule::BelowMinimum)
        }
    }

    /// Whether there is something to offer to somebody.
    pub(crate) fn is_open(&self) -> bool {
        self.active && self.offerable && self.allocatable
    }

    /// What of an open agent would be offered to a membership, or the rule by which nothing is.
    /// `covers` answers whether a filter covers what is free; `turns` whether those wait who have
    /// had their turn.
    pub(crate) fn portion_for<'a>(
        &'a self,
        key: Key<Membership>,
        membership: &Membership,
        turns: bool,
        covers: impl FnOnce(&'a Arc<Resources>, &Resources) -> bool,
    ) -> Result<Resources, SkipRule> {
        if self.gpus && !membership.gpus {
            return Err(SkipRule::Gpu);
        }
        let standing = self.filters.standing(key, membership);
        if !self.reserved {
            // The common case, which is settled before anything is cloned.
            check_standing(standing, turns, |refused| covers(refused, &self.free))?;
            return Ok(self.free.clone());
        }
        let portion = self.free.for_role(&membership.role);
        if !portion.is_allocatable() {
            return Err(SkipRule::ReservedForOtherRole);
        }
        check_standing(standing, turns, |refused| refused.contains(&portion))?;
        Ok(portion)
    }

    /// Takes what is offered out of what is free. Returns whether the membership held nothing here.
    pub(crate) fn offer(&mut self, key: Key<Membership>, resources: &Resources) -> bool {
        self.hold(key, resources, |holding| &mut holding.offered)
    }

    /// Records a task that already runs. Returns whether the membership held nothing here.
    pub(crate) fn adopt(&mut self, key: Key<Membership>, resources: &Resources) -> bool {
        self.hold(key, resources, |holding| &mut holding.allocated)
    }

    /// Turns what was offered into what is allocated, as far as it was offered. Returns how much.
    pub(crate) fn accept(&mut self, key: Key<Membership>, resources: &Resources) -> Resources {
        let Some(holding) = self.holdings.get_mut(&key) else { return Resources::new() };
        let accepted = within(&holding.offered, resources);
        holding.offered = holding.offered.saturating_sub(&accepted);
        holding.allocated += &accepted;
        accepted
    }

    /// Frees what was offered, as far as it was.
    pub(crate) fn return_offered(
        &mut self,
        key: Key<Membership>,
        resources: &Resources,
    ) -> Returned {
        self.give_back(key, resources, |holding| &mut holding.offered)
    }

    /// Frees what was allocated, as far as it was.
    pub(crate) fn return_allocated(
        &mut self,
        key: Key<Membership>,
        resources: &Resources,
    ) -> Returned {
        self.give_back(key, resources, |holding| &mut holding.allocated)
    }

    fn hold(
        &mut self,
        key: Key<Membership>,
        resources: &Resources,
        side: impl FnOnce(&mut Holding) -> &mut Resources,
    ) -> bool {
        let first = !self.holdings.contains_key(&key);
        let side = side(self.holdings.entry(key).or_default());
        *side += resources;
        let rest = if self.overcommitted { None } else { self.free.checked_sub(resources) };
        match rest {
            Some(rest) => {
                self.used += resources;
                self.set_free(rest);
            }
            None => self.recompute(),
        }
        first
    }

    fn give_back(
        &mut self,
        key: Key<Membership>,
        resources: &Resources,
        side: impl FnOnce(&mut Holding) -> &mut Resources,
    ) -> Returned {
        let Some(holding) = self.holdings.get_mut(&key) else {
            return Returned { resources: Resources::new(), last: false };
        };
        let side = side(holding);
        let resources = within(side, resources);
        *side = side.saturating_sub(&resources);
        let last = holding.is_empty();
        if last {
            self.holdings.remove(&key);
        }
        if self.overcommitted {
            self.recompute();
        } else {
            self.used = self.used.saturating_sub(&resources);
            let free = &self.free + &resources;
            self.set_free(free);
        }
        Returned { resources, last }
    }

    /// Computes what is used and free from who holds what.
    fn recompute(&mut self) {
        let mut rest = Some(self.total.clone());
        self.used = Resources::new();
        for holding in self.holdings.values() {
            for held in [&holding.offered, &holding.allocated] {
                rest = rest.and_then(|rest| rest.checked_sub(held));
                self.used += held;
            }
        }
        self.overcommitted = rest.is_none();
        self.set_free(rest.unwrap_or_else(|| self.total.saturating_sub(&self.used)));
    }

    fn set_free(&mut self, free: Resources) {
        self.allocatable = free.is_allocatable();
        self.free = free;
    }

    /// # Panics
    ///
    /// When the page does not add up.
    pub(crate) fn check_invariants(&self) {
        let (offered, allocated) = (self.offered(), self.allocated());
        assert_eq!(self.used, &offered + &allocated, "{}: used is what is held", self.id);
        let rest = self.holdings.values().try_fold(self.total.clone(), |rest, holding| {
            rest.checked_sub(&holding.offered)?.checked_sub(&holding.allocated)
        });
        assert_eq!(self.overcommitted, rest.is_none(), "{}: overcommitted", self.id);
        match rest {
            Some(rest) => {
                assert_eq!(self.free, rest, "{}: offered + allocated + free = total", self.id);
                assert_eq!(&self.used + &self.free, self.total, "{}: nothing is lost", self.id);
            }
            None => assert_eq!(self.free, self.total.saturating_sub(&self.used), "{}", self.id),
        }
        assert_eq!(self.allocatable, self.free.is_allocatable(), "{}", self.id);
        assert!(self.holdings.values().all(|holding| !holding.is_empty()), "{}", self.id);
    }
}

/// `wanted` as far as it is there.
fn within(available: &Resources, wanted: &Resources) -> Resources {
    if available.contains(wanted) { wanted.clone() } else { available.intersection(wanted) }
}

fn check_standing<'a>(
    standing: Standing<'a>,
    turns: bool,
    covers: impl FnOnce(&'a Arc<Resources>) -> bool,
) -> Result<(), SkipRule> {
    match standing {
        Standing::Refused(_, refused) if covers(refused) => Err(SkipRule::Refused),
        Standing::TurnTaken if turns => Err(SkipRule::TurnTaken),
        Standing::Refused(..) | Standing::TurnTaken | Standing::Open => Ok(()),
    }
}
