//! All or nothing: those who want several things together.

use meshos_protocol::{resources::Resources, time::Mono};

use super::{Allocator, Grant, run::Look};
use crate::{
    agent::{Agent, Portion},
    arena::Key,
    demand::Demand,
    membership::Membership,
    tree::Scope,
};

impl Allocator {
    /// Offers to each in the order of service what it wants together, when all of it is there.
    ///
    /// Nothing is held back for a gang that does not fit yet: it is looked at again whenever there
    /// is something new, until its time is over.
    pub(super) fn offer_gangs(&mut self, draw: u64, grants: &mut Vec<Grant>) {
        if self.gangs.is_empty() {
            return;
        }
        let gangs: Vec<Key<Membership>> = self.gangs.iter().map(|(_, key)| *key).collect();
        let mut waiting = Vec::new();
        self.tree.first(Scope::Waiting, |key| {
            if gangs.contains(&key) {
                waiting.push(key);
            }
            waiting.len() == gangs.len()
        });
        for key in waiting {
            self.offer_gang(key, draw, grants);
        }
    }

    fn offer_gang(&mut self, key: Key<Membership>, draw: u64, grants: &mut Vec<Grant>) {
        let membership = &self.memberships[key];
        let Some(demand) = membership.demand() else { return };
        let agents = self.drawn(draw, self.open.iter());
        let mut available: Vec<_> = agents
            .iter()
            .map(|agent| (self.agents[*agent].id, self.available_to_gang(*agent, key)))
            .collect();
        let Some(laid_out) = demand.lay_out(&mut available, &membership.role) else { return };
        // The limits of the role hold for all of it together.
        let all: Resources = laid_out.iter().map(|(_, resources)| resources).sum();
        let headroom = self.tree.headroom(membership.node);
        if !headroom.allows(&all) {
            return;
        }
        self.end_gang(key);
        for (index, resources) in laid_out {
            let portion = Portion { resources, requested: Vec::new(), whole: true, part: false };
            self.grant(agents[index], key, portion, true, grants);
        }
    }

    /// What of an agent may be a part of a gang: what was refused before does not count.
    fn available_to_gang(&self, agent: Key<Agent>, key: Key<Membership>) -> Resources {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        if page.unsuited(agent, membership).is_some() {
            return Resources::new();
        }
        let look = Look { tree: &self.tree, page, agent, turns: false };
        page.portion_unrefused(key, membership, look.headroom(membership)).unwrap_or_default()
    }

    /// Those whose time is over are told so by [`Allocator::take_failed_gangs`].
    pub(super) fn expire_gangs(&mut self, now: Mono) {
        while let Some(&(until, key)) = self.gangs.first()
            && until <= now
        {
            self.end_gang(key);
            let membership = &self.memberships[key];
            self.failed_gangs.push((membership.framework, membership.role.clone()));
        }
    }

    fn end_gang(&mut self, key: Key<Membership>) {
        self.forget_gang(key);
        if let Some(demand) = self.memberships[key].demand_mut() {
            demand.end();
        }
        self.membership_changed(key, false);
    }

    pub(super) fn forget_gang(&mut self, key: Key<Membership>) {
        let until = self.memberships.get(key).and_then(Membership::demand);
        if let Some(until) = until.and_then(Demand::together_until) {
            self.gangs.remove(&(until, key));
        }
    }
}
