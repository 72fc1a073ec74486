//! Agents come, change and go.

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::Resources,
    role::Role,
};

use super::{Allocator, run::forget_constraints};
use crate::{agent::Agent, arena::Key, options::OfferMode, profile::AgentProfile, tree::Charge};

impl Allocator {
    /// Adds an agent with what its tasks use. It is offered from the next run on.
    ///
    /// An agent that is there already is replaced: what was held of it is forgotten.
    pub fn add_agent(
        &mut self,
        agent: AgentId,
        total: Resources,
        profile: impl Into<AgentProfile>,
        used: &[(FrameworkId, Role, Resources)],
    ) {
        self.remove_agent(agent);
        self.tree.change_total(&total, &Resources::new());
        self.reservations_came(&total);
        let optimistic = self.options.offers == OfferMode::Optimistic;
        let least = self.min_allocatable.clone();
        let page = Agent::new(agent, total, profile.into(), least, optimistic);
        let key = self.agents.insert(page);
        self.agents[key].remote = self.is_remote(key);
        self.agent_keys.insert(agent, key);
        for (framework, role, resources) in used {
            self.add_allocated(agent, *framework, role, resources);
        }
        self.agent_changed(key, true);
    }

    /// Changes what an agent has and says of itself. When that is less than what is held of it,
    /// nothing of it is free until enough has come back.
    pub fn update_agent(
        &mut self,
        agent: AgentId,
        total: Resources,
        profile: impl Into<AgentProfile>,
    ) {
        let Some(&key) = self.agent_keys.get(&agent) else { return };
        let page = &mut self.agents[key];
        page.profile = profile.into();
        let before = page.set_total(total.clone());
        if before != total {
            self.tree.change_total(&total, &before);
            self.reservations_came(&total);
            self.limits_moved |= !self.limited.is_empty();
        }
        self.agents[key].remote = self.is_remote(key);
        forget_constraints(&mut self.memberships, key);
        self.disappoint(key);
        self.agent_changed(key, true);
    }

    /// What is reserved for a role counts as consumed.
    pub(super) fn reservations_came(&mut self, total: &Resources) {
        let mut roles = total.iter().filter_map(|resource| resource.metadata().reserved_role());
        self.limit_exceeded |= roles.any(|role| self.tree.exceeds_limit(role));
    }

    /// Says whether an agent is offered at all. What is held of it stays held.
    pub fn set_agent_active(&mut self, agent: AgentId, active: bool) {
        let Some(&key) = self.agent_keys.get(&agent) else { return };
        let before = std::mem::replace(&mut self.agents[key].active, active);
        self.agent_changed(key, active && !before);
    }

    /// Takes an agent away with all that is held of it.
    pub fn remove_agent(&mut self, agent: AgentId) {
        let Some(key) = self.agent_keys.remove(&agent) else { return };
        let holders: Vec<_> = self.agents[key]
            .holdings()
            .iter()
            .map(|(holder, holding)| (*holder, holding.clone()))
            .collect();
        for (holder, holding) in holders {
            let node = self.memberships[holder].node;
            self.tree.charge(node, &holding.offered, Charge::ReturnOffer);
            self.tree.charge(node, &holding.allocated, Charge::ReturnTask);
            self.is_back((key, holder));
            self.demand_answered(key, holder, &Resources::new(), true);
            self.holds_on_one_less(holder);
        }
        forget_constraints(&mut self.memberships, key);
        self.open.remove(key);
        self.ample.remove(key);
        self.dirty.remove(key);
        if let Some(page) = self.agents.remove(key) {
            if let Some(at) = page.filters.next_expiry() {
                self.expiries.remove(&(at, key));
            }
            self.tree.change_total(&Resources::new(), page.total());
            self.limits_moved |= !self.limited.is_empty();
            self.reclaim_due = true;
        }
    }

    /// Says in which region the leader stands. Agents in other regions are offered to those only
    /// who say that they go there. Without a region, all are alike.
    pub fn set_region(&mut self, region: Option<String>) {
        if self.region == region {
            return;
        }
        self.region = region;
        for key in self.agent_keys.values().copied().collect::<Vec<_>>() {
            self.agents[key].remote = self.is_remote(key);
            self.agent_changed(key, true);
        }
    }

    fn is_remote(&self, key: Key<Agent>) -> bool {
        let domain = self.agents[key].profile.domain.as_ref();
        match (&self.region, domain) {
            (Some(here), Some(domain)) => domain.region != *here,
            _ => false,
        }
    }
}
