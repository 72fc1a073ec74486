//! What frameworks wish: the smallest offer, constraints on agents, what they want now.

use meshos_protocol::{
    ids::FrameworkId,
    resources::Resources,
    role::Role,
    time::Mono,
    wishes::{MINIMUMS_MAX, OfferWishes, ResourceRequest},
};

use super::Allocator;
use crate::{
    agent::Agent,
    arena::{Key, KeySet},
    constraints::{Constraints, WishError},
    demand::Demand,
    membership::Membership,
};

impl Allocator {
    /// Sets what a framework wishes of all offers in one role, in place of what it wished before.
    ///
    /// # Errors
    ///
    /// When a wish is too large, a pattern is none, or the framework is not in the role; nothing
    /// has changed then.
    pub fn set_wishes(
        &mut self,
        framework: FrameworkId,
        role: &Role,
        wishes: &OfferWishes,
    ) -> Result<(), WishError> {
        let key = self.subscribed(framework, role)?;
        let compiled = check_wishes(wishes)?;
        self.memberships[key].wish(|known| {
            known.minimum.clone_from(&wishes.minimum);
            known.constraints = compiled;
            (known.checked, known.passed) = (KeySet::default(), KeySet::default());
        });
        self.membership_changed(key, true);
        Ok(())
    }

    /// Sets what a framework wants to be offered in one role: that, and no more. What it was offered
    /// before and has not answered counts when nothing of it is beyond that; all else is wanted back
    /// ([`Allocator::take_rescinds`]). No requests: it wants whatever there is.
    ///
    /// With `together_until` it wants all of it at once or nothing, until then. When all of it has
    /// been offered (and stays so: [`Allocator::gang_taken_back`]), or time is over ([`Allocator::take_failed_gangs`]), it is offered nothing in
    /// this role until it says what it wants next.
    ///
    /// # Errors
    ///
    /// When there are too many requests, one is for nothing, or the framework is not in the role;
    /// nothing has changed then.
    pub fn set_demand(
        &mut self,
        framework: FrameworkId,
        role: &Role,
        requests: &[ResourceRequest],
        together_until: Option<Mono>,
    ) -> Result<(), WishError> {
        let key = self.subscribed(framework, role)?;
        let demand = Demand::new(requests, together_until)?;
        if together_until.is_some() && !self.memberships[key].capabilities.gang_offers {
            return Err(WishError::NoGangs);
        }
        self.forget_gang(key);
        let demand = Some(demand).filter(|_| !requests.is_empty());
        if let Some(until) = demand.as_ref().and_then(Demand::together_until) {
            self.gangs.insert((until, key));
        }
        self.memberships[key].wish(|known| known.demand = demand);
        self.want_back_undemanded(key);
        self.membership_changed(key, true);
        Ok(())
    }

    /// A framework wants to be offered nothing in one role until it says what it wants next.
    ///
    /// # Errors
    ///
    /// When the framework is not in the role; nothing has changed then.
    pub fn want_nothing(&mut self, framework: FrameworkId, role: &Role) -> Result<(), WishError> {
        let key = self.subscribed(framework, role)?;
        let met = Demand::new(&[], None)?;
        self.forget_gang(key);
        self.memberships[key].wish(|known| known.demand = Some(met));
        self.want_back_undemanded(key);
        self.membership_changed(key, false);
        Ok(())
    }

    /// Those who wanted something together and did not get it in time, since the last call.
    pub fn take_failed_gangs(&mut self) -> Vec<(FrameworkId, Role)> {
        std::mem::take(&mut self.failed_gangs)
    }

    fn subscribed(
        &self,
        framework: FrameworkId,
        role: &Role,
    ) -> Result<Key<Membership>, WishError> {
        self.find_membership(framework, role)
            .filter(|key| self.memberships[*key].subscribed)
            .ok_or_else(|| WishError::NotInRole { role: role.clone() })
    }

    /// An offer has been answered: see [`Demand::answered`].
    pub(super) fn demand_answered(
        &mut self,
        agent: Key<Agent>,
        holder: Key<Membership>,
        used: &Resources,
        closed: bool,
    ) {
        let Some(demand) = self.memberships[holder].demand_mut() else { return };
        if demand.answered(agent, used, closed) {
            self.membership_changed(holder, true);
        }
    }
}

/// Checks wishes as [`Allocator::set_wishes`] does.
///
/// # Errors
///
/// When a wish is too large or a pattern is none.
pub fn validate_wishes(wishes: &OfferWishes) -> Result<(), WishError> {
    check_wishes(wishes).map(drop)
}

fn check_wishes(wishes: &OfferWishes) -> Result<Option<Constraints>, WishError> {
    let count = wishes.minimum.len();
    if count > MINIMUMS_MAX {
        return Err(WishError::TooMany { what: "minimum sizes", count, max: MINIMUMS_MAX });
    }
    Constraints::compile(&wishes.constraints)
}
