//! The ledger: what is offered is accepted or comes back, what is allocated comes back in the end.

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::Resources,
    role::Role,
    time::Mono,
};

use super::Allocator;
use crate::{
    agent::{Agent, Returned},
    arena::Key,
    membership::Membership,
    options::OfferMode,
    tree::Charge,
};

/// How what was offered comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    /// Its framework does not want it.
    Declined,
    /// It was taken from its framework.
    Taken,
    /// Beside what was used, or with its framework.
    Left,
}

impl Allocator {
    /// Of `offered`, `used` is allocated now and the rest is free again.
    ///
    /// With `refuse_until` the framework is not offered that rest, or less, before then. Without,
    /// it may be offered the rest at once, as its share says.
    ///
    /// Returns how much of `used` is allocated: all of it, unless it was not offered or, when offers
    /// are optimistic, somebody else was faster. Then nothing of it should be started.
    pub fn accept(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        offered: &Resources,
        used: &Resources,
        refuse_until: Option<Mono>,
    ) -> Resources {
        let Some((agent, holder)) = self.find(agent, framework, role) else {
            return Resources::new();
        };
        let used = used.intersection(offered);
        let accepted = self.agents[agent].accept(holder, &used);
        self.tree.charge(self.memberships[holder].node, &accepted, Charge::Accept);
        self.demand_answered(agent, holder, &accepted, false);
        self.return_offered(
            agent,
            holder,
            &offered.saturating_sub(&accepted),
            refuse_until,
            Back::Left,
        );
        self.offers_settled(agent, holder);
        self.disappoint(agent);
        // When several were offered the same there may be room for another offer now.
        self.agent_changed(agent, self.options.offers == OfferMode::Optimistic);
        accepted
    }

    /// What was offered is free again: declined.
    ///
    /// With `refuse_until` the framework is not offered as much of this agent, or less, before then.
    /// Without, others go first on this agent, once; so one who says no, or does not answer, keeps
    /// nothing from those who wait.
    pub fn recover_offered(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        resources: &Resources,
        refuse_until: Option<Mono>,
    ) {
        self.offers_back((agent, framework, role), resources, refuse_until, Back::Declined);
    }

    /// What was offered is free again: rescinded or, with `refuse_until`, timed out. As with
    /// [`Allocator::recover_offered`]; but whoever was offered a part has not said that another part will not do.
    pub fn take_back_offered(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        resources: &Resources,
        refuse_until: Option<Mono>,
    ) {
        self.offers_back((agent, framework, role), resources, refuse_until, Back::Taken);
    }

    fn offers_back(
        &mut self,
        (agent, framework, role): (AgentId, FrameworkId, &Role),
        resources: &Resources,
        refuse_until: Option<Mono>,
        back: Back,
    ) {
        let Some((agent, holder)) = self.find(agent, framework, role) else { return };
        self.return_offered(agent, holder, resources, refuse_until, back);
        self.offers_settled(agent, holder);
    }

    /// Counts a task that runs already: one that an agent reports to a new leader, or again.
    pub fn add_allocated(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
        let Some(&agent) = self.agent_keys.get(&agent) else { return };
        if resources.is_empty() {
            return;
        }
        let holder = self.membership(framework, role);
        let first = self.agents[agent].adopt(holder, resources);
        self.memberships[holder].agents += usize::from(first);
        self.tree.charge(self.memberships[holder].node, resources, Charge::Adopt);
        self.limit_exceeded |= self.tree.exceeds_limit(role);
        self.disappoint(agent);
        // What is left may suit others, and the role may be able to spare what it is offered.
        self.agent_changed(agent, true);
    }

    /// A task has ended: what it used is free again.
    pub fn recover_allocated(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        resources: &Resources,
    ) {
        let Some((agent, holder)) = self.find(agent, framework, role) else { return };
        let returned = self.agents[agent].return_allocated(holder, resources);
        self.settle(agent, holder, &returned, Charge::ReturnTask);
    }

    /// Takes back all that a membership is offered, on whatever agent.
    pub(super) fn take_back_offers(&mut self, holder: Key<Membership>) {
        for (agent, offered) in self.offered_to(holder) {
            self.return_offered(agent, holder, &offered, None, Back::Left);
            self.offers_settled(agent, holder);
        }
    }

    /// All that a membership is offered, by agent.
    pub(super) fn offered_to(&self, holder: Key<Membership>) -> Vec<(Key<Agent>, Resources)> {
        if self.memberships[holder].agents == 0 {
            return Vec::new();
        }
        self.agents
            .iter()
            .filter_map(|(key, page)| Some((key, page.holdings().get(&holder)?.offered.clone())))
            .filter(|(_, offered)| !offered.is_empty())
            .collect()
    }

    fn find(
        &self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
    ) -> Option<(Key<Agent>, Key<Membership>)> {
        Some((*self.agent_keys.get(&agent)?, self.find_membership(framework, role)?))
    }

    fn return_offered(
        &mut self,
        agent: Key<Agent>,
        holder: Key<Membership>,
        resources: &Resources,
        refuse_until: Option<Mono>,
        back: Back,
    ) {
        let returned = self.agents[agent].return_offered(holder, resources);
        if returned.resources.is_empty() {
            return;
        }
        if self.memberships[holder].subscribed {
            let page = &mut self.agents[agent];
            let expiry = page.filters.next_expiry();
            if back == Back::Declined {
                page.filters.refuse_part(holder);
            }
            match refuse_until {
                Some(until) => {
                    let refused = (&returned.resources, back == Back::Taken);
                    page.filters.refuse(holder, &self.memberships, refused, until);
                }
                None if back != Back::Left => page.filters.pass(holder, &self.memberships),
                None => {}
            }
            self.expiry_changed(agent, expiry);
        }
        self.settle(agent, holder, &returned, Charge::ReturnOffer);
    }

    /// Looks whether all offers of an agent to a membership have been answered.
    fn offers_settled(&mut self, agent: Key<Agent>, holder: Key<Membership>) {
        let holding = self.agents[agent].holdings().get(&holder);
        if holding.is_none_or(|holding| holding.offered.is_empty()) {
            self.is_back((agent, holder));
            if self.memberships.get(holder).is_some() {
                self.demand_answered(agent, holder, &Resources::new(), true);
            }
        }
    }

    /// Keeps the agents sorted by when their filters must be looked at.
    pub(super) fn expiry_changed(&mut self, agent: Key<Agent>, before: Option<Mono>) {
        let after = self.agents[agent].filters.next_expiry();
        if before != after {
            if let Some(before) = before {
                self.expiries.remove(&(before, agent));
            }
            if let Some(after) = after {
                self.expiries.insert((after, agent));
            }
        }
    }

    fn settle(
        &mut self,
        agent: Key<Agent>,
        holder: Key<Membership>,
        returned: &Returned,
        charge: Charge,
    ) {
        if returned.resources.is_empty() {
            return;
        }
        self.tree.charge(self.memberships[holder].node, &returned.resources, charge);
        self.limits_moved |= !self.limited.is_empty();
        if returned.last {
            self.holds_on_one_less(holder);
        }
        self.agent_changed(agent, true);
    }
}
