//! What of an agent may be offered to whom.

use std::sync::Arc;

use meshos_protocol::{
    framework::Capabilities,
    resources::{Amount, Resources},
    role::Role,
    time::Mono,
};

use super::{Agent, OPTIMISTIC_OFFERS_MAX};
use crate::{
    arena::Key,
    demand::Requested,
    explain::SkipRule,
    filters::Standing,
    membership::Membership,
    min_allocatable::MinAllocatable,
    quota::{Headroom, pool},
    split::WholePart,
};

/// What of an agent would be offered to a membership.
#[derive(Debug)]
pub(crate) struct Portion {
    pub(crate) resources: Resources,
    /// Which requests it is for, when the framework has stated a demand.
    pub(crate) requested: Vec<Requested>,
    /// A part of it will not do: it was cut already, or a part was declined before.
    pub(crate) whole: bool,
    /// It is a part, because others want the agent, too.
    pub(crate) part: bool,
}

/// Why a membership is offered nothing of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// By this rule.
    Rule(SkipRule),
    /// There is too little left that it may have: [`Agent::withheld`] says by which rule, which takes a while and which
    /// seldom matters.
    Withheld,
}

impl From<SkipRule> for Miss {
    fn from(rule: SkipRule) -> Self {
        Self::Rule(rule)
    }
}

impl Agent {
    /// The rule by which nobody is offered this agent now, if there is one.
    pub(crate) fn closed(&self) -> Option<SkipRule> {
        if self.is_open() {
            None
        } else if let Some(rule) = self.barred() {
            Some(rule)
        } else if self.allocatable || self.least.is_met_by(&self.offered()) {
            Some(SkipRule::OfferedElsewhere)
        } else {
            Some(too_little(&self.free))
        }
    }

    /// The rule by which nobody is offered this agent, whatever is free there.
    pub(crate) fn barred(&self) -> Option<SkipRule> {
        if !self.active {
            Some(SkipRule::AgentInactive)
        } else if !self.offerable {
            Some(SkipRule::NotOfferable)
        } else {
            None
        }
    }

    /// Whether it is offered something here.
    pub(crate) fn is_offered_to(&self, key: Key<Membership>) -> bool {
        self.holdings.get(&key).is_some_and(|holding| !holding.offered.is_empty())
    }

    /// What would be free if all offers came back. When offers are optimistic, it is.
    pub(crate) fn free_or_offered(&self) -> Resources {
        match self.optimistic || self.offers == 0 {
            true => self.free.clone(),
            false => &self.free + &self.offered().exclusive(),
        }
    }

    /// The rule by which a membership is offered nothing of an agent that has too little left that it
    /// may have. Where what is offered, or what is used, would do, the rest is not to blame.
    pub(crate) fn withheld(&self, key: Key<Membership>, membership: &Membership) -> SkipRule {
        if self.is_offered_to(key) {
            return SkipRule::OfferedAlready;
        }
        let suited = |resources: &Resources| match self.special {
            true => resources.filter(|resource| membership.may_have(resource)),
            false => resources.clone(),
        };
        if self.least.is_met_by(&suited(&self.free_or_offered())) {
            SkipRule::OfferedElsewhere
        } else if !self.special || self.least.is_met_by(&suited(&self.total)) {
            too_little(&suited(&self.free))
        } else if self.least.is_met_by(&self.total.for_role(&membership.role)) {
            SkipRule::NotUnderstood
        } else {
            SkipRule::ReservedForOtherRole
        }
    }

    /// Whether there is something to offer to somebody.
    pub(crate) fn is_open(&self) -> bool {
        self.active
            && self.offerable
            && self.allocatable
            && (!self.optimistic || self.offers < OPTIMISTIC_OFFERS_MAX)
    }

    /// The rule by which a membership is never offered this agent as both are, if there is one.
    pub(crate) fn unsuited(&self, key: Key<Agent>, membership: &Membership) -> Option<SkipRule> {
        if self.gpus && !membership.capabilities.gpu_resources {
            return Some(SkipRule::Gpu);
        }
        if self.remote && !membership.capabilities.region_aware {
            return Some(SkipRule::OtherRegion);
        }
        let wishes = membership.wishes.as_ref()?;
        let constraints = wishes.constraints.as_ref()?;
        let allowed = if wishes.checked.contains(key) {
            wishes.passed.contains(key)
        } else {
            constraints.allow(&self.profile)
        };
        (!allowed).then_some(SkipRule::Constraint)
    }

    /// What of an open agent would be offered to a membership, or the rule by which nothing is.
    /// `headroom` answers how much more of the unreserved pool the membership may have; `covers`
    /// whether a filter covers what is free; `turns`: those wait who have had their turn.
    pub(crate) fn portion_for<'a>(
        &'a self,
        key: Key<Membership>,
        membership: &Membership,
        turns: bool,
        headroom: Option<Headroom>,
        covers: impl FnOnce(&'a Arc<Resources>, &Resources) -> bool,
    ) -> Result<Portion, Miss> {
        let standing = match self.filters.last_refused(key) {
            // Until when is of no interest here.
            Some(refused) => Standing::Refused(Mono(u64::MAX), refused),
            None => self.filters.standing(key, membership),
        };
        let whole = self.filters.part_refused(key, membership);
        let simple = !self.special && !self.optimistic && membership.wishes.is_none();
        if simple && headroom.as_ref().is_none_or(Headroom::is_unlimited) {
            // The common case, which is settled before anything is cloned.
            self.check_standing(key, (standing, turns), |refused| covers(refused, &self.free))?;
            let (resources, requested) = (self.free.clone(), Vec::new());
            return Ok(Portion { resources, requested, whole, part: false });
        }
        let available = self.available_to(key)?;
        let (resources, requested) = self.cut(&available, membership, headroom)?;
        self.check_standing(key, (standing, turns), |refused| refused.contains(&resources))?;
        let whole = whole || !requested.is_empty();
        Ok(Portion { resources, requested, whole, part: false })
    }

    /// The rule by which a membership stands back from this agent, if there is one.
    fn check_standing<'a>(
        &self,
        key: Key<Membership>,
        (standing, turns): (Standing<'a>, bool),
        covers: impl FnOnce(&'a Arc<Resources>) -> bool,
    ) -> Result<(), SkipRule> {
        match standing {
            Standing::Refused(_, refused) if covers(refused) => Err(self.filters.refusal_rule(key)),
            Standing::TurnTaken { .. } if turns => Err(SkipRule::TurnTaken),
            Standing::Refused(..) | Standing::TurnTaken { .. } | Standing::Open => Ok(()),
        }
    }

    /// What a membership would be offered of `lent`, which others are offered now, beside what is
    /// free.
    pub(crate) fn portion_with(
        &self,
        key: Key<Membership>,
        membership: &Membership,
        lent: &Resources,
        headroom: Headroom,
    ) -> Option<Resources> {
        let refused = match self.filters.standing(key, membership) {
            Standing::Open | Standing::TurnTaken { revived: true } => None,
            Standing::Refused(_, refused) => Some(refused),
            // Others have gone first: they are offered it now.
            Standing::TurnTaken { revived: false } => return None,
        };
        let available = self.available_with(key, lent).ok()?;
        // Whoever has refused a remainder has not refused all.
        let refuses =
            |resources: &Resources| refused.is_some_and(|refused| refused.contains(resources));
        if refuses(&available) {
            return None;
        }
        let (resources, _) = self.cut(&available, membership, Some(headroom)).ok()?;
        (!refuses(&resources)).then_some(resources)
    }

    /// What of resources a membership wants and may have, and which requests that is for.
    fn cut(
        &self,
        available: &Resources,
        membership: &Membership,
        headroom: Option<Headroom>,
    ) -> Result<(Resources, Vec<Requested>), Miss> {
        let allowed = self.allowed(available, membership)?;
        let Some(headroom) = headroom.filter(|headroom| !headroom.is_unlimited()) else {
            return Ok(self.wanted(allowed, membership)?);
        };
        let limited = headroom.cut(&allowed, &self.least, remnants(membership));
        let limited = limited.ok_or(SkipRule::QuotaLimit)?;
        self.wanted(limited, membership).map_err(|rule| {
            // What stands in the way is the limit, if all that is free here would do.
            let would_do = self.wanted(allowed, membership).is_ok();
            Miss::Rule(if would_do { SkipRule::QuotaLimit } else { rule })
        })
    }

    /// What a membership wants of what it may have, and which requests that is for.
    fn wanted(
        &self,
        mut resources: Resources,
        membership: &Membership,
    ) -> Result<(Resources, Vec<Requested>), SkipRule> {
        let mut requested = Vec::new();
        if let Some(demand) = membership.demand() {
            (resources, requested) =
                demand.cut(self.id, &resources, &membership.role).ok_or(SkipRule::NotRequested)?;
        }
        if !membership.wishes.as_ref().is_none_or(|wishes| wishes.is_enough(&resources)) {
            return Err(SkipRule::BelowWish);
        }
        Ok((resources, requested))
    }

    /// What a membership would be offered if it had refused nothing and `lent`, which others are
    /// offered now, were free.
    pub(crate) fn portion_unrefused(
        &self,
        key: Key<Membership>,
        membership: &Membership,
        lent: &Resources,
        headroom: Option<Headroom>,
    ) -> Result<Resources, Miss> {
        let available = self.available_with(key, lent)?;
        let resources = self.allowed(&available, membership)?;
        match headroom.filter(|headroom| !headroom.is_unlimited()) {
            None => Ok(resources),
            Some(headroom) => headroom
                .cut(&resources, &self.least, remnants(membership))
                .ok_or(Miss::Rule(SkipRule::QuotaLimit)),
        }
    }

    /// What is free for a membership beside what others are offered: when offers are optimistic, that
    /// is free as well.
    fn available_with(
        &self,
        key: Key<Membership>,
        lent: &Resources,
    ) -> Result<Resources, SkipRule> {
        let available = self.available_to(key)?;
        Ok(if self.optimistic { available } else { available + lent })
    }

    /// What is free for a membership: when offers are optimistic, what it is not offered already.
    fn available_to(&self, key: Key<Membership>) -> Result<Resources, SkipRule> {
        let offered = self.holdings.get(&key).map(|holding| &holding.offered);
        let Some(offered) = offered.filter(|offered| self.optimistic && !offered.is_empty()) else {
            return Ok(self.free.clone());
        };
        let available = self.free.saturating_sub(offered);
        if self.least.is_met_by(&available) { Ok(available) } else { Err(SkipRule::OfferedAlready) }
    }

    /// What of it a membership may have.
    fn allowed(&self, available: &Resources, membership: &Membership) -> Result<Resources, Miss> {
        if !self.special {
            return Ok(available.clone());
        }
        let allowed = available.filter(|resource| membership.may_have(resource));
        if self.least.is_met_by(&allowed) { Ok(allowed) } else { Err(Miss::Withheld) }
    }
}

/// Remembers by which rule those are offered nothing who may have too little of an agent: neighbours in the order
/// are mostly of one role and understand the same.
#[derive(Debug, Default)]
pub(crate) struct Withheld(Option<(Role, Capabilities, SkipRule)>);

impl Withheld {
    /// The rule. `agent` must be as it was in every call.
    pub(crate) fn rule(
        &mut self,
        agent: &Agent,
        key: Key<Membership>,
        membership: &Membership,
    ) -> SkipRule {
        let understood = membership.capabilities;
        match &self.0 {
            _ if agent.is_offered_to(key) => SkipRule::OfferedAlready,
            Some((role, alike, rule)) if *alike == understood && *role == membership.role => *rule,
            _ => {
                let rule = agent.withheld(key, membership);
                self.0 = Some((membership.role.clone(), understood, rule));
                rule
            }
        }
    }
}

/// What becomes of what a limit leaves without processors or without memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remnants {
    /// It is of no use, and would be kept from those who can use it.
    Withheld,
    /// It has been asked for, or is not offered.
    Kept,
}

fn remnants(membership: &Membership) -> Remnants {
    if membership.demand().is_some() { Remnants::Kept } else { Remnants::Withheld }
}

/// The rule for less than is worth an offer. Shared volumes are always free, and never offered alone.
fn too_little(free: &Resources) -> SkipRule {
    if free.exclusive().is_empty() { SkipRule::NothingFree } else { SkipRule::BelowMinimum }
}

impl Headroom {
    /// What of `resources` may be given: unreserved amounts are cut, and what is left is worth an
    /// offer.
    fn cut(
        &self,
        resources: &Resources,
        least: &MinAllocatable,
        remnants: Remnants,
    ) -> Option<Resources> {
        let mut rest = self.clone();
        let cut: Resources = resources
            .iter()
            .filter_map(|resource| {
                let metadata = resource.metadata();
                if !metadata.is_unreserved() || metadata.revocable {
                    return Some(resource.clone());
                }
                let (Some(amount), Some(left)) = (resource.amount(), rest.of(resource.name()))
                else {
                    return Some(resource.clone());
                };
                let given = if metadata.is_divisible() {
                    amount.min(left)
                } else if amount <= left {
                    amount
                } else {
                    Amount::ZERO
                };
                rest.narrow(resource.name(), left.remaining_after(given));
                let whole = resource.name().whole_part(given);
                (!whole.is_zero()).then(|| resource.with_amount(whole)).flatten()
            })
            .collect();
        if cut == *resources {
            return Some(cut);
        }
        let pool_left = pool(&cut);
        let pool_had = pool(resources);
        let lacks = |what: Amount, had: Amount| what.is_zero() && !had.is_zero();
        let useless =
            lacks(pool_left.cpus(), pool_had.cpus()) || lacks(pool_left.mem(), pool_had.mem());
        let cut = if useless && remnants == Remnants::Withheld {
            cut.saturating_sub(&pool_left)
        } else {
            cut
        };
        least.is_met_by(&cut).then_some(cut)
    }
}
