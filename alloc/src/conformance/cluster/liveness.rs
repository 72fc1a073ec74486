//! Nobody waits for what it could have, and nobody is offered what it may not have: both without
//! asking the allocator for its reasons.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::AgentId,
    resources::{Amount, ResourceName, Resources, ScalarQuantities},
    role::Role,
    wishes::ResourceRequest,
};

use super::{Cluster, sum_of};
use crate::{
    Grant, Quota,
    conformance::account::{Member, is_pool, within},
};

/// To so many the same is offered at once, when offers are optimistic.
const HOLDERS_MAX: usize = 8;

/// What every agent has, and what of it is free for everybody.
pub(super) struct Stock {
    pub(super) agent: AgentId,
    pub(super) total: Resources,
    pub(super) free: Resources,
}

/// What roles with a quota consume.
pub(super) struct Consumption<'a> {
    pub(super) quotas: &'a BTreeMap<Role, Quota>,
    pub(super) consumed: BTreeMap<Role, ScalarQuantities>,
    /// What of that is offered, by role and agent.
    promised: BTreeMap<Role, BTreeMap<AgentId, ScalarQuantities>>,
    optimistic: bool,
}

impl Consumption<'_> {
    pub(super) fn of(&self, role: &Role, name: &ResourceName) -> Amount {
        self.consumed.get(role).map_or(Amount::ZERO, |consumed| consumed.get(name))
    }

    /// How much more a role may have of what is limited.
    pub(super) fn room(&self, role: &Role) -> BTreeMap<ResourceName, Amount> {
        self.room_without(role, (role, &Resources::new()))
    }

    /// The same when another role has given so much back.
    pub(super) fn room_without(
        &self,
        role: &Role,
        (other, back): (&Role, &Resources),
    ) -> BTreeMap<ResourceName, Amount> {
        let mut room = BTreeMap::new();
        for role in role.with_those_above() {
            let counts = role == *other || role.is_ancestor_of(other);
            for (name, limit) in self.quotas.get(&role).into_iter().flat_map(|quota| &quota.limit) {
                let back = if counts { back.amount_of(name) } else { Amount::ZERO };
                let left = limit.remaining_after(self.of(&role, name).remaining_after(back));
                let least = room.entry(name.clone()).or_insert(left);
                *least = left.min(*least);
            }
        }
        room
    }

    /// The same on one agent. When several are offered the same, a role consumes nothing by what others in
    /// it are offered already, so there is no limit where it may have the rest.
    fn room_on(&self, role: &Role, stock: &Stock) -> BTreeMap<ResourceName, Amount> {
        let mut room = BTreeMap::new();
        for role in role.with_those_above() {
            for (name, limit) in self.quotas.get(&role).into_iter().flat_map(|quota| &quota.limit) {
                let left = limit.remaining_after(self.of(&role, name));
                let promised = self.promised.get(&role).and_then(|all| all.get(&stock.agent));
                let promised = promised.map_or(Amount::ZERO, |amounts| amounts.get(name));
                let free = stock.free.filter(is_pool).exclusive().amount_of(name);
                if !self.optimistic || free.remaining_after(promised) > left {
                    let least = room.entry(name.clone()).or_insert(left);
                    *least = left.min(*least);
                }
            }
        }
        room
    }
}

impl Cluster {
    /// What counts for the quotas that are set: what those in a role hold of the unreserved pool, and all that is
    /// reserved for it, wherever it is.
    pub(super) fn consumption(&self) -> Consumption<'_> {
        let mut consumed = BTreeMap::<Role, ScalarQuantities>::new();
        let mut count = |role: &Role, amounts: &ScalarQuantities| {
            for role in role.with_those_above().filter(|role| self.quotas.contains_key(role)) {
                *consumed.entry(role).or_default() += amounts;
            }
        };
        if !self.quotas.is_empty() {
            for (_, role, _, held) in &self.tasks {
                let pool = held.filter(|part| is_pool(part) && !part.metadata().shared);
                count(role, &pool.quantities());
            }
            for state in self.allocator.agents() {
                for part in state.total.iter().filter(|part| !part.metadata().shared) {
                    let (it, one) = (part.metadata(), Resources::from(part.clone()));
                    if let Some(role) = it.reserved_role().filter(|_| !it.revocable) {
                        count(role, &one.quantities());
                    }
                }
            }
        }
        let stock = if self.quotas.is_empty() { Vec::new() } else { self.stock() };
        let promised = self.quotas.keys().map(|role| (role.clone(), self.promised(role, &stock)));
        let promised: BTreeMap<_, _> = promised.collect();
        for (role, by_agent) in &promised {
            let sum = consumed.entry(role.clone()).or_default();
            by_agent.values().for_each(|amounts| *sum += amounts);
        }
        Consumption { quotas: &self.quotas, consumed, promised, optimistic: self.optimistic }
    }

    /// What each agent has free. When offers are optimistic, what is offered is free as well.
    pub(super) fn stock(&self) -> Vec<Stock> {
        let mut taken = BTreeMap::<AgentId, Resources>::new();
        for (_, _, agent, held) in &self.tasks {
            *taken.entry(*agent).or_default() += held;
        }
        for (_, _, agent, held, _) in self.offers.iter().filter(|_| !self.optimistic) {
            *taken.entry(*agent).or_default() += held;
        }
        let free = |state: crate::AgentState| {
            let taken = taken.get(&state.agent).map(Resources::exclusive).unwrap_or_default();
            let free = state.total.saturating_sub(&taken);
            Stock { agent: state.agent, total: state.total, free }
        };
        self.allocator.agents().map(free).collect()
    }

    /// What of some resources of an agent a member could be offered, as far as it understands them and
    /// limits allow it; nothing when that is not worth an offer.
    pub(super) fn portion(
        &self,
        member: &Member,
        available: &Resources,
        room: &BTreeMap<ResourceName, Amount>,
    ) -> Option<Resources> {
        let worth_it = |portion: &Resources| self.least.is_met_by(portion);
        let may_have = Some(self.account.may_have(member, available)).filter(worth_it)?;
        let asked = !self.account.requests(member).is_empty();
        Some(within(room, &may_have, asked)).filter(worth_it)
    }

    /// After a run nothing is left that somebody waits for, has use for, may have and has not refused.
    /// What a role is guaranteed is lent while nobody in it wants it, and bands come before each
    /// other in a run, so neither withholds anything.
    pub(super) fn nobody_is_forgotten(&self) {
        let consumption = self.consumption();
        let stock = self.stock();
        let worth_it = |stock: &&Stock| self.least.is_met_by(&stock.free);
        let stock: Vec<&Stock> = stock.iter().filter(worth_it).collect();
        for member in self.account.waiting() {
            let room = consumption.room(&member.1);
            let mut portions = Vec::new();
            for stock @ Stock { agent, total, free } in &stock {
                // Of a gang all parts together are held against the limits.
                let room_here = match self.account.wants_together(&member) {
                    true => room.clone(),
                    false => consumption.room_on(&member.1, stock),
                };
                if !self.account.suits(*agent, total, &member)
                    || self.has_its_offers(*agent, &member)
                {
                    continue;
                }
                let Some(portion) = self.portion(&member, free, &room_here) else { continue };
                let waits_for = self.account.wants(*agent, &member, &portion)
                    && !self.account.refuses(*agent, &member, &portion, self.now);
                assert!(!waits_for, "{member:?} is not offered {portion} of {agent}");
                portions.push((*agent, portion));
            }
            let requests = self.account.requests(&member);
            let wanted = sum_of(requests);
            if self.gangs.waits(&member)
                && room.iter().all(|(name, most)| wanted.get(name) <= *most)
            {
                let fit = all_fit(&units_of(requests), &mut portions, &member.1, &mut { WAYS_MAX });
                assert!(!fit, "{member:?} could have all that it wants together: {requests:?}");
            }
        }
    }

    /// When offers are optimistic: whether a member is offered something of an agent, or as many others
    /// are as can be.
    fn has_its_offers(&self, agent: AgentId, member: &Member) -> bool {
        let holders = self.holders_of(agent);
        self.optimistic
            && (holders.len() >= HOLDERS_MAX || holders.contains(&(member.0, &member.1)))
    }

    /// An offer is one that its framework may have: it waits for it, understands it, has not refused it,
    /// and the agent is as it wishes.
    pub(super) fn is_well_meant(&self, grant: &Grant) {
        let Grant { framework, role, agent, resources, gang } = grant;
        let member = (*framework, role.clone());
        let account = &self.account;
        assert!(account.waits(&member), "nobody waits for {grant:?}");
        let total = self.allocator.agent(*agent).map(|state| state.total).unwrap_or_default();
        assert!(account.suits(*agent, &total, &member), "the agent does not suit: {grant:?}");
        let may_have = account.may_have(&member, resources);
        assert_eq!(may_have, *resources, "it may have no more of {grant:?}");
        assert_eq!(account.wants_together(&member), gang.is_some(), "alone or not: {grant:?}");
        if gang.is_none() {
            assert!(account.is_large_enough(&member, resources), "too small: {grant:?}");
            let refused = account.still_refuses(*agent, &member, resources, self.now);
            assert!(!refused, "it was refused: {grant:?}");
        }
    }
}

/// So many ways of placing a gang are tried.
const WAYS_MAX: u32 = 2_000;

fn units_of(requests: &[ResourceRequest]) -> Vec<&ResourceRequest> {
    let each = |request| std::iter::repeat_n(request, count_of(request));
    requests.iter().flat_map(each).collect()
}

fn count_of(request: &ResourceRequest) -> usize {
    usize::try_from(request.count).unwrap_or(usize::MAX)
}

/// Whether a way is found to place all of them, one after the other wherever it fits.
fn all_fit(
    units: &[&ResourceRequest],
    portions: &mut [(AgentId, Resources)],
    role: &Role,
    ways: &mut u32,
) -> bool {
    let Some((unit, units)) = units.split_first() else { return true };
    for place in 0..portions.len() {
        let (agent, before) = portions[place].clone();
        if unit.agent.is_some_and(|named| named != agent)
            || portions[place].1.take(&unit.resources, 1, role) == 0
        {
            continue;
        }
        if *ways == 0 {
            return false;
        }
        *ways -= 1;
        if all_fit(units, portions, role, ways) {
            return true;
        }
        portions[place].1 = before;
    }
    false
}
