//! The run: what is free goes to those who are next.

use meshos_protocol::{ids::AgentId, resources::Resources, time::Mono};
use rand_core::RngCore;

use super::{Allocator, Grant};
use crate::{
    agent::{Agent, Miss, Portion, Withheld},
    arena::{Arena, Key},
    explain::SkipRule,
    filters::Covers,
    membership::Membership,
    mix::mix,
    options::OfferMode,
    quota::Headroom,
    split::{PARTS_MAX, part_of},
    tree::{Charge, Scope, Tree},
};

impl Allocator {
    /// Offers what is free to those who are next, and appends what is offered to `grants`. Then
    /// [`Allocator::take_rescinds`] says which offers are wanted back.
    ///
    /// Agents are gone through in a new random order. Each goes to the first in the order of service
    /// who may have it and has not refused it: as a whole, or in parts when more wait than agents
    /// have enough free to be worth splitting. Being charged for it moves the receiver back in that order, so many
    /// agents are shared out by the policy. What a role may not have because it is reserved goes on
    /// to the next. Those who want several things together or not at all come before the others, but
    /// for those who had to give them back: they come after all others, once.
    ///
    /// Only what has changed since the last run is looked at: agents that have more free than they
    /// had or a filter less, for everybody; and all agents, for those frameworks that came, revived
    /// or were activated. For all others the last run has found that they may not have it.
    pub fn allocate(&mut self, now: Mono, grants: &mut Vec<Grant>) {
        self.advance(now);
        self.expire_filters(now);
        self.expire_gangs(now);
        self.wake_limited();
        // Drawn whether it is needed or not, so that runs which find nothing change nothing.
        let draw = self.rng.next_u64();
        if !self.needs_run() {
            self.tree.refresh();
            return;
        }
        self.tree.begin_run(now, draw);
        // Counted before anything is offered, so that it does not matter what is looked at.
        let crowded = self.options.split.is_some() && self.tree.waiting() > self.ample.len();
        self.offer_gangs(draw, false, grants);
        self.offer_agents(draw, crowded, grants);
        if self.offer_gangs(draw, true, grants) {
            // What is left of their agents may suit those whom all of them did not suit.
            self.offer_agents(draw, crowded, grants);
        }
        self.dirty.clear();
        for membership in std::mem::take(&mut self.fresh) {
            self.tree.set_in(Scope::Fresh, self.memberships[membership].node, false);
        }
        self.reclaim();
    }

    /// Offers agents one by one, each until nobody takes more of it.
    fn offer_agents(&mut self, draw: u64, crowded: bool, grants: &mut Vec<Grant>) {
        for agent in self.candidates(draw) {
            let mut given = Vec::new();
            while let Some((holder, portion)) = self.next_taker(agent, crowded, &given) {
                self.grant(agent, holder, portion, None, grants);
                if crowded {
                    given.push(holder);
                }
            }
        }
    }

    fn expire_filters(&mut self, now: Mono) {
        while let Some(&(at, key)) = self.expiries.first()
            && at <= now
        {
            let filters = &mut self.agents[key].filters;
            let before = filters.next_expiry();
            let ended = filters.expire(now);
            self.expiry_changed(key, before);
            self.agent_changed(key, ended);
        }
    }

    /// The agents to go through, in an order that depends on nothing but `draw` and their ids: it
    /// must be the same whichever other agents are looked at.
    fn candidates(&self, draw: u64) -> Vec<Key<Agent>> {
        let keys = if self.fresh.is_empty() { &self.dirty } else { &self.open };
        self.drawn(draw, keys.iter())
    }

    /// Agents in the order of the run that drew `draw`.
    pub(super) fn drawn(
        &self,
        draw: u64,
        keys: impl Iterator<Item = Key<Agent>>,
    ) -> Vec<Key<Agent>> {
        let mut drawn: Vec<_> = keys
            .map(|key| {
                let id = self.agents[key].id;
                (place(draw, id), id, key)
            })
            .collect();
        // Ids are looked at only where two have the same place, and no two have the same id.
        drawn.sort_unstable_by(|one, other| one.0.cmp(&other.0).then_with(|| one.1.cmp(&other.1)));
        drawn.into_iter().map(|(_, _, key)| key).collect()
    }

    /// Who is offered what of an agent. Those in `given` have a part of it already, and come after
    /// all others.
    fn next_taker(
        &mut self,
        agent: Key<Agent>,
        crowded: bool,
        given: &[Key<Membership>],
    ) -> Option<(Key<Membership>, Portion)> {
        if !self.agents[agent].is_open() {
            return None;
        }
        let scope = if self.dirty.contains(agent) { Scope::Waiting } else { Scope::Fresh };
        let (mut found, turns_taken) = self.look(agent, scope, given);
        if found.is_none() && turns_taken {
            found = self.look_again(agent, scope, given);
            self.agents[agent].filters.end_turns(&self.memberships);
        }
        if found.is_none() && !given.is_empty() {
            found = self.look_again(agent, scope, &[]);
        }
        let (taker, mut portion) = found?;
        if crowded && !portion.whole {
            self.split(agent, taker, scope, given, &mut portion);
        }
        Some((taker, portion))
    }

    /// The first who may have something of an agent, and whether anybody was left out because it
    /// has had its turn.
    fn look(
        &mut self,
        agent: Key<Agent>,
        scope: Scope,
        given: &[Key<Membership>],
    ) -> (Option<(Key<Membership>, Portion)>, bool) {
        let page = &self.agents[agent];
        let (tree, memberships, limited) = (&self.tree, &mut self.memberships, &mut self.limited);
        let (skips, wishing) = (&mut self.skips, &self.wishing);
        let (mut covers, mut withheld) = (Covers::default(), Withheld::default());
        let mut turns_taken = false;
        // Where a limit counts, what is not looked at might have met it.
        let (waiting, many) = (&self.waiting, self.options.few_left_from);
        let mut covered = |refused| covers.check(refused, page.free());
        let few = (!tree.has_limit() && tree.takes_few())
            .then(|| page.filters.few_left(waiting, many, &mut covered))
            .flatten();
        let few = few.map(|few| few.iter().map(|key| memberships[*key].node).collect::<Vec<_>>());
        // Most have refused what is free. Where nothing else matters they are passed over without a
        // look at who they are.
        let plain = page.is_plain() && given.is_empty() && !tree.has_limit();
        let refused = plain
            .then(|| page.filters.who_refuses(|refused| covers.check(refused, page.free())))
            .flatten();
        let useful = |key| {
            if refused.is_some_and(|who| who.contains(key)) && !wishing.contains(key) {
                skips.count(key, page.filters.refusal_rule(key));
                return None;
            }
            let node = memberships[key].node;
            let headroom = tree.has_limit().then(|| tree.headroom_on(node, page));
            // Whatever keeps it from the agent: with more headroom it might want more of it.
            if let Some(headroom) = headroom.as_ref().filter(|headroom| !headroom.is_unlimited()) {
                limited.entry(key).or_default().narrow_to(headroom);
            }
            if given.contains(&key) {
                return None;
            }
            remember_constraint(page, agent, &mut memberships[key]);
            let look = Look { tree, page, agent, turns: true };
            let covers = |refused, free: &Resources| covers.check(refused, free);
            let found = look.at_within(key, &memberships[key], || headroom, covers);
            if let Err(miss) = &found {
                let rule = match miss {
                    Miss::Rule(rule) => *rule,
                    Miss::Withheld => withheld.rule(page, key, &memberships[key]),
                };
                turns_taken |= rule == SkipRule::TurnTaken;
                skips.count(key, rule);
            }
            found.ok()
        };
        let next = match few {
            Some(few) => tree.next_among(scope, few.into_iter(), useful),
            None => tree.next(scope, useful),
        };
        (next, turns_taken)
    }

    /// The same, and nobody is left out because it has had its turn.
    fn look_again(
        &self,
        agent: Key<Agent>,
        scope: Scope,
        given: &[Key<Membership>],
    ) -> Option<(Key<Membership>, Portion)> {
        let mut covers = Covers::default();
        let look = Look { tree: &self.tree, page: &self.agents[agent], agent, turns: false };
        self.tree.next(scope, |key| {
            let covers = |refused, free: &Resources| covers.check(refused, free);
            let wanted = !given.contains(&key);
            wanted.then(|| look.at(key, &self.memberships[key], covers).ok()).flatten()
        })
    }

    /// Cuts a portion to its part when others want the agent, too.
    fn split(
        &self,
        agent: Key<Agent>,
        taker: Key<Membership>,
        scope: Scope,
        given: &[Key<Membership>],
        portion: &mut Portion,
    ) {
        let Some(least) = self.options.split else { return };
        // What others have left of it is a part, too.
        portion.part = !given.is_empty();
        let most = least.parts(&portion.resources, PARTS_MAX);
        if most < 2 {
            return;
        }
        let mut covers = Covers::default();
        let look = Look { tree: &self.tree, page: &self.agents[agent], agent, turns: true };
        let mut willing = 0;
        self.tree.first(scope, |key| {
            if !given.contains(&key) {
                let found = look
                    .at(key, &self.memberships[key], |refused, free| covers.check(refused, free));
                willing += usize::from(found.is_ok());
            }
            willing == most
        });
        if willing < 2 {
            return;
        }
        let (page, membership) = (&self.agents[agent], &self.memberships[taker]);
        let part = part_of(&portion.resources, willing);
        let enough = membership.wishes.as_ref().is_none_or(|wishes| wishes.is_enough(&part));
        let refused = page.filters.refuses(taker, membership, &part);
        if enough && !refused && self.min_allocatable.is_met_by(&part) {
            (portion.resources, portion.part) = (part, true);
        }
    }

    pub(super) fn grant(
        &mut self,
        agent: Key<Agent>,
        holder: Key<Membership>,
        portion: Portion,
        gang: Option<u64>,
        grants: &mut Vec<Grant>,
    ) {
        let Portion { resources, requested, part, .. } = portion;
        let page = &mut self.agents[agent];
        page.filters.lift(holder);
        match part {
            true => page.filters.give_part(holder, &self.memberships),
            false => page.filters.give_whole(holder, &self.memberships[holder]),
        }
        let first = page.offer(holder, &resources);
        let id = page.id;
        let membership = &mut self.memberships[holder];
        membership.agents += usize::from(first);
        self.tree.charge(membership.node, &resources, Charge::Offer);
        let (framework, role) = (membership.framework, membership.role.clone());
        self.promises_changed(agent);
        grants.push(Grant { framework, role, agent: id, resources, gang });
        if let Some(demand) = self.memberships[holder].demand_mut() {
            demand.give(agent, requested);
            self.membership_changed(holder, false);
        }
        // What is left may suit those whom all of it did not suit; and those of this role may be offered
        // the same now, whatever its limit.
        let more = self.options.offers == OfferMode::Exclusive || self.tree.has_limit();
        self.agent_changed(agent, more);
    }
}

/// One look at an agent for a membership.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) tree: &'a Tree,
    pub(super) page: &'a Agent,
    pub(super) agent: Key<Agent>,
    pub(super) turns: bool,
}

impl<'a> Look<'a> {
    /// What of an open agent would be offered to a membership, or the rule by which nothing is.
    pub(super) fn at(
        self,
        key: Key<Membership>,
        membership: &Membership,
        covers: impl FnOnce(&'a std::sync::Arc<Resources>, &Resources) -> bool,
    ) -> Result<Portion, Miss> {
        self.at_within(key, membership, || self.headroom(membership), covers)
    }

    /// The same with the headroom of the membership, where that is known already.
    fn at_within(
        self,
        key: Key<Membership>,
        membership: &Membership,
        headroom: impl FnOnce() -> Option<Headroom>,
        covers: impl FnOnce(&'a std::sync::Arc<Resources>, &Resources) -> bool,
    ) -> Result<Portion, Miss> {
        if let Some(rule) = self.page.unsuited(self.agent, membership) {
            return Err(rule.into());
        }
        if membership.demand().is_some_and(|demand| demand.together_until().is_some()) {
            return Err(SkipRule::NotTogether.into());
        }
        let found = self.page.portion_for(key, membership, self.turns, headroom(), covers);
        let limited = Miss::Rule(SkipRule::QuotaLimit);
        let unknown = |miss: Miss| miss == limited && self.tree.limits_held();
        found.map_err(|miss| if unknown(miss) { SkipRule::ConsumptionUnknown.into() } else { miss })
    }

    pub(super) fn headroom(self, membership: &Membership) -> Option<Headroom> {
        self.tree.has_limit().then(|| self.tree.headroom_on(membership.node, self.page))
    }
}

/// Constraints are checked once for each agent.
fn remember_constraint(page: &Agent, agent: Key<Agent>, membership: &mut Membership) {
    if let Some(wishes) = &mut membership.wishes
        && let Some(constraints) = &wishes.constraints
        && !wishes.checked.contains(agent)
    {
        wishes.passed.set(agent, constraints.allow(&page.profile));
        wishes.checked.insert(agent);
    }
}

/// Forgets what was found of an agent.
pub(super) fn forget_constraints(memberships: &mut Arena<Membership>, agent: Key<Agent>) {
    for membership in memberships.iter_mut() {
        if let Some(wishes) = &mut membership.wishes {
            wishes.checked.remove(agent);
        }
    }
}

/// Where an agent stands among the others in the run that drew `draw`.
pub(crate) fn place(draw: u64, agent: AgentId) -> u64 {
    let id = agent.node.bits() ^ u64::from(agent.registration).rotate_left(32);
    mix(mix(id) ^ draw)
}
