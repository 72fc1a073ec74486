//! The run: what is free goes to those who are next.

use meshos_protocol::{ids::AgentId, resources::Resources, time::Mono};
use rand_core::RngCore;

use super::{Allocator, Grant};
use crate::{
    agent::Agent,
    arena::Key,
    explain::SkipRule,
    filters::Covers,
    membership::Membership,
    tree::{Charge, Scope},
};

impl Allocator {
    /// Offers what is free to those who are next, and appends what is offered to `grants`.
    ///
    /// Agents are gone through in a new random order. Each goes as a whole to the first in the order
    /// of service who may have it and has not refused it; being charged for it moves the receiver
    /// back in that order, so many agents are shared out by the policy. What a role may not have
    /// because it is reserved goes on to the next.
    ///
    /// Only what has changed since the last run is looked at: agents that have more free than they
    /// had or a filter less, for everybody; and all agents, for those frameworks that came, revived
    /// or were activated. For all others the last run has found that they may not have it.
    pub fn allocate(&mut self, now: Mono, grants: &mut Vec<Grant>) {
        self.expire_filters(now);
        if !self.needs_run() {
            return;
        }
        let draw = self.rng.next_u64();
        self.tree.begin_run(now, draw);
        for agent in self.candidates(draw) {
            let scope = if self.dirty.contains(agent) { Scope::Waiting } else { Scope::Fresh };
            while let Some((holder, portion)) = self.next_taker(agent, scope) {
                self.grant(agent, holder, portion, grants);
            }
        }
        self.dirty.clear();
        for membership in std::mem::take(&mut self.fresh) {
            self.tree.set_in(Scope::Fresh, self.memberships[membership].node, false);
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
        let mut drawn: Vec<_> = keys
            .iter()
            .map(|key| {
                let id = self.agents[key].id;
                (place(draw, id), id, key)
            })
            .collect();
        drawn.sort_unstable();
        drawn.into_iter().map(|(_, _, key)| key).collect()
    }

    /// Who is offered what of an agent.
    fn next_taker(
        &mut self,
        agent: Key<Agent>,
        scope: Scope,
    ) -> Option<(Key<Membership>, Resources)> {
        let page = &self.agents[agent];
        if !page.is_open() {
            return None;
        }
        let mut covers = Covers::default();
        let mut portion = None;
        let mut turns_taken = false;
        let memberships = &mut self.memberships;
        let mut taker = self.tree.first(scope, |key| {
            let membership = &mut memberships[key];
            let found = page
                .portion_for(key, membership, true, |refused, free| covers.check(refused, free));
            match found {
                Ok(found) => portion = Some(found),
                Err(rule) => {
                    turns_taken |= rule == SkipRule::TurnTaken;
                    membership.skips.count(rule);
                }
            }
            portion.is_some()
        });
        if taker.is_none() && turns_taken {
            taker = self.tree.first(scope, |key| {
                let found = page.portion_for(key, &memberships[key], false, |refused, free| {
                    covers.check(refused, free)
                });
                portion = found.ok();
                portion.is_some()
            });
            self.agents[agent].filters.end_turns(&self.memberships);
        }
        taker.zip(portion)
    }

    fn grant(
        &mut self,
        agent: Key<Agent>,
        holder: Key<Membership>,
        portion: Resources,
        grants: &mut Vec<Grant>,
    ) {
        let page = &mut self.agents[agent];
        page.filters.lift(holder);
        let first = page.offer(holder, &portion);
        let id = page.id;
        let membership = &mut self.memberships[holder];
        membership.agents += usize::from(first);
        self.tree.charge(membership.node, &portion, Charge::Offer);
        grants.push(Grant {
            framework: membership.framework,
            role: membership.role.clone(),
            agent: id,
            resources: portion,
        });
        self.agent_changed(agent, false);
    }
}

/// Where an agent stands among the others in the run that drew `draw`.
pub(crate) fn place(draw: u64, agent: AgentId) -> u64 {
    let id = agent.node.bits() ^ u64::from(agent.registration).rotate_left(32);
    mix(mix(id) ^ draw)
}

/// Spreads the bits of a number over all of it: the output function of splitmix64 (Steele, Lea and
/// Flood, OOPSLA 2014).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
