//! What roles are promised by offers, when several may be offered the same.
//!
//! An offer is a promise that can be kept once. So of what a role is offered on an agent counts what all
//! its offers there could get together: no more than all of them hold, and no more than is free. Whoever
//! accepts takes as much of what is free as it adds to what is allocated, so the role never consumes more
//! by it than was counted before.

use std::collections::BTreeMap;

use meshos_protocol::{
    resources::{Amount, Resource, ResourceName, Resources, ScalarQuantities},
    role::Role,
};

use super::Agent;
use crate::{
    arena::{Arena, Key},
    membership::Membership,
    tree::counts,
};

/// What is offered of the pool of one agent to a role and those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Promised {
    /// All offers added up.
    offered: ScalarQuantities,
    /// How much of that only some of them can get.
    pub(crate) twice: ScalarQuantities,
}

impl Promised {
    /// What the role consumes by it.
    pub(crate) fn consumed(&self) -> ScalarQuantities {
        self.offered.saturating_sub(&self.twice)
    }
}

/// By role, those above those that are offered something included.
pub(crate) type PromisedByRole = BTreeMap<Role, Promised>;

impl Agent {
    /// What roles are promised.
    pub(crate) fn promised(&self) -> &PromisedByRole {
        &self.promised
    }

    /// Counts anew what roles are promised, after a change of what is offered or free. Returns what was
    /// counted before, unless all is as it was.
    pub(crate) fn recount_promised(
        &mut self,
        memberships: &Arena<Membership>,
    ) -> Option<PromisedByRole> {
        if !self.optimistic || (self.offers == 0 && self.promised.is_empty()) {
            return None;
        }
        let now = self.count_promised(memberships);
        (now != self.promised).then(|| std::mem::replace(&mut self.promised, now))
    }

    /// Works out what roles are promised.
    pub(crate) fn count_promised(&self, memberships: &Arena<Membership>) -> PromisedByRole {
        let mut promised = PromisedByRole::new();
        if !self.optimistic {
            return promised;
        }
        for (key, holding) in &self.holdings {
            let Some(membership) = memberships.get(*key) else { continue };
            let offered = on_account(&holding.offered);
            if offered.is_empty() {
                continue;
            }
            for role in membership.role.with_those_above() {
                promised.entry(role).or_default().offered += &offered;
            }
        }
        let free = on_account(&self.free);
        for Promised { offered, twice } in promised.values_mut() {
            *twice = offered.saturating_sub(&free);
        }
        promised
    }

    /// What is free and not counted for a role yet: when it is offered more than that in another offer, it
    /// consumes only so much more. Nothing when each offer counts in full.
    pub(crate) fn not_promised(&self, role: &Role, name: &ResourceName) -> Option<Amount> {
        if !self.optimistic {
            return None;
        }
        let promised = self.promised.get(role).map_or(Amount::ZERO, |promised| {
            promised.offered.get(name).remaining_after(promised.twice.get(name))
        });
        let in_pool = |part: &&Resource| part.name() == name && is_on_account(part);
        let free: Amount = self.free.iter().filter(in_pool).filter_map(Resource::amount).sum();
        Some(free.remaining_after(promised))
    }

    /// What a role with those below it consumes by offers of this agent, if those in it who are `left`
    /// keep theirs.
    pub(crate) fn consumed_by_offers(
        &self,
        left: impl Fn(Key<Membership>) -> bool,
    ) -> ScalarQuantities {
        let mut offered = ScalarQuantities::new();
        for (_, holding) in self.holdings.iter().filter(|(key, _)| left(**key)) {
            offered += &on_account(&holding.offered);
        }
        if !self.optimistic {
            return offered;
        }
        let twice = offered.saturating_sub(&on_account(&self.free));
        Promised { offered, twice }.consumed()
    }
}

/// Whether it counts when a role consumes it by holding it.
fn is_on_account(part: &Resource) -> bool {
    part.metadata().is_unreserved() && counts(part)
}

fn on_account(resources: &Resources) -> ScalarQuantities {
    resources.filter(is_on_account).quantities()
}
