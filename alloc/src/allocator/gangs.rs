//! All or nothing: those who want several things together.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::FrameworkId,
    resources::{Resources, ScalarQuantities},
    role::Role,
    time::Mono,
};

use super::{
    Allocator, Grant,
    reclaim::{Offered, each_of},
};
use crate::{
    agent::{Agent, Portion},
    arena::Key,
    demand::{Budget, Demand},
    membership::Membership,
    quota::pool,
    tree::{Moves, Scope},
};

/// What each agent would have beside what is free.
type Back = BTreeMap<Key<Agent>, Resources>;

impl Allocator {
    /// Offers to each in the order of service what it wants together, when all of it is there.
    ///
    /// Nothing is held back for a gang that does not fit yet: it is looked at again whenever there
    /// is something new, until its time is over. `yielding`: those who let all others go first, and
    /// the others otherwise. Returns whether something was offered.
    pub(super) fn offer_gangs(
        &mut self,
        draw: u64,
        yielding: bool,
        grants: &mut Vec<Grant>,
    ) -> bool {
        let demand = |key: &Key<Membership>| self.memberships[*key].demand();
        let asked =
            |key: &Key<Membership>| demand(key).is_some_and(|demand| demand.yields() == yielding);
        let gangs: Vec<_> = self.gangs.iter().map(|(_, key)| *key).filter(asked).collect();
        if gangs.is_empty() {
            return false;
        }
        let before = grants.len();
        let mut waiting = Vec::new();
        self.tree.first(Scope::Waiting, |key| {
            if gangs.contains(&key) {
                waiting.push(key);
            }
            waiting.len() == gangs.len()
        });
        let mut budget = Budget::of_a_run();
        for key in waiting {
            self.offer_gang(key, draw, &mut budget, grants);
            if let Some(demand) = self.memberships[key].demand_mut() {
                demand.yielded();
            }
        }
        grants.len() > before
    }

    fn offer_gang(
        &mut self,
        key: Key<Membership>,
        draw: u64,
        budget: &mut Budget,
        grants: &mut Vec<Grant>,
    ) {
        let agents = self.drawn(draw, self.open.iter());
        let moves = Moves::default();
        let laid_out = self.lay_out(key, &agents, (&Back::new(), &moves), budget);
        let Some(laid_out) = laid_out else { return };
        self.gangs_offered += 1;
        let gang = self.gangs_offered;
        self.forget_gang(key);
        if let Some(demand) = self.memberships[key].demand_mut() {
            demand.offer_together(gang);
        }
        self.membership_changed(key, false);
        for (agent, resources) in laid_out {
            let portion = Portion { resources, requested: Vec::new(), whole: true, part: false };
            self.grant(agent, key, portion, Some(gang), grants);
        }
    }

    /// What of which agents a gang would be offered, if all of it is there with what is `back` after such moves.
    fn lay_out(
        &self,
        key: Key<Membership>,
        agents: &[Key<Agent>],
        (back, moves): (&Back, &Moves),
        budget: &mut Budget,
    ) -> Option<Vec<(Key<Agent>, Resources)>> {
        let membership = &self.memberships[key];
        let nothing = Resources::new();
        let available = |agent: &Key<Agent>| {
            let back = back.get(agent).unwrap_or(&nothing);
            (self.agents[*agent].id, self.available_to_gang(*agent, key, back, moves))
        };
        let available: Vec<_> = agents.iter().map(available).collect();
        let laid_out = membership.demand()?.lay_out(&available, &membership.role, budget)?;
        // The limits of the role hold for all of it together.
        let all: Resources = laid_out.iter().map(|(_, resources)| resources).sum();
        let allowed = self.tree.headroom_after(membership.node, moves).allows(&all);
        let of_agent = |(index, resources): (usize, Resources)| (agents[index], resources);
        allowed.then(|| laid_out.into_iter().map(of_agent).collect())
    }

    /// What of an agent may be a part of a gang: what was refused before does not count.
    pub(super) fn available_to_gang(
        &self,
        agent: Key<Agent>,
        key: Key<Membership>,
        back: &Resources,
        moves: &Moves,
    ) -> Resources {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        let may_open = page.active && page.offerable() && !back.is_empty();
        if !(page.is_open() || may_open) || page.unsuited(agent, membership).is_some() {
            return Resources::new();
        }
        let tree = &self.tree;
        let headroom = tree.has_limit().then(|| tree.headroom_after(membership.node, moves));
        let portion = page.portion_unrefused(key, membership, back, headroom);
        let is_worth_it = |portion: &Resources| page.least.is_met_by(portion);
        portion.ok().filter(is_worth_it).unwrap_or_default()
    }

    /// The offers that would have to come back so that a gang could have all that it wants, which
    /// takes something that it is `short` of; none when that does not help.
    pub(super) fn wanted_of_gang(
        &self,
        key: Key<Membership>,
        lent: &[(Key<Agent>, Vec<Key<Membership>>)],
        short: &ScalarQuantities,
        (moves, budget): (&Moves, &mut Budget),
    ) -> Vec<Offered> {
        let agents: Vec<Key<Agent>> = self.agent_keys.values().copied().collect();
        let offered = |(agent, holder): &Offered| &self.agents[*agent].holdings()[holder].offered;
        let pool_of = |offers: &[Offered]| {
            let mut back = Back::new();
            for offer in offers {
                *back.entry(offer.0).or_default() += &pool(offered(offer));
            }
            back
        };
        let all: Vec<Offered> = each_of(lent).collect();
        let laid_out = self.lay_out(key, &agents, (&pool_of(&all), moves), budget);
        let Some(laid_out) = laid_out else { return Vec::new() };
        let mut wanted = Vec::new();
        let (mut lacking, mut total) = (Resources::new(), Resources::new());
        for (agent, resources) in laid_out {
            let free = self.available_to_gang(agent, key, &Resources::new(), moves);
            let mut rest = resources.saturating_sub(&free);
            (lacking, total) = (&lacking + &rest, &total + &resources);
            for offer in all.iter().filter(|(of, _)| *of == agent) {
                if !rest.is_empty() {
                    rest = rest.saturating_sub(offered(offer));
                    wanted.push(*offer);
                }
            }
        }
        // When nothing of it is taken from others, they are in its way by a limit.
        let gained = if lacking.is_empty() { &total } else { &lacking };
        if !gained.iter().any(|resource| !short.get(resource.name()).is_zero()) {
            return Vec::new();
        }
        let mut moves = moves.clone();
        let others: Vec<_> = all.into_iter().filter(|offer| !wanted.contains(offer)).collect();
        others.iter().for_each(|(agent, holder)| self.moves_less(*agent, *holder, &mut moves));
        let node = self.memberships[key].node;
        for (offer, role, amounts) in self.widening(key, &others, &moves) {
            if self.tree.headroom_after(node, &moves).allows(&total) {
                break;
            }
            moves.lose(&role, &amounts);
            wanted.push(offer);
        }
        // With fewer offers back it might be laid out in another way, which does not fit.
        let fits = self.lay_out(key, &agents, (&pool_of(&wanted), &moves), budget).is_some();
        if fits { wanted } else { Vec::new() }
    }

    /// All offers of a gang have been taken back ([`Allocator::take_back_offered`]) before its framework
    /// has answered one of them: it is tried for once more, for the rest of its time, after all
    /// others have been served. Nothing happens when the framework has said by now that it wants
    /// something else.
    pub fn gang_taken_back(&mut self, framework: FrameworkId, role: &Role, gang: u64) {
        let Some(key) = self.find_membership(framework, role) else { return };
        let demand = self.memberships[key].demand_mut();
        let Some(until) = demand.and_then(|demand| demand.taken_back(gang)) else { return };
        self.gangs.insert((until, key));
        self.membership_changed(key, true);
    }

    /// Those whose time is over are told so by [`Allocator::take_failed_gangs`].
    pub(super) fn expire_gangs(&mut self, now: Mono) {
        while let Some(&(until, key)) = self.gangs.first()
            && until <= now
        {
            self.forget_gang(key);
            let membership = &mut self.memberships[key];
            if let Some(demand) = membership.demand_mut() {
                demand.expire();
            }
            self.failed_gangs.push((membership.framework, membership.role.clone()));
            self.membership_changed(key, false);
        }
    }

    pub(super) fn forget_gang(&mut self, key: Key<Membership>) {
        let until = self.memberships.get(key).and_then(Membership::demand);
        if let Some(until) = until.and_then(Demand::together_until) {
            self.gangs.remove(&(until, key));
        }
    }
}
