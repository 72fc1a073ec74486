//! Exact answers on request: where would a task fit, and who could have an agent?

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Resource, ResourceName, Resources, ScalarQuantities, Value},
    role::Role,
};

use super::{Allocator, run::Look};
use crate::{
    agent::Agent,
    arena::Key,
    explain::{AgentExplanation, Holder, TaskExplanation, TaskMiss},
    membership::Membership,
    tree::Scope,
};

/// How many near misses an explanation names.
const NEAREST_MAX: usize = 5;

impl Allocator {
    /// Where a task of a framework in a role would fit now, and what is in the way elsewhere. Looks
    /// at every agent, so it is for answers, not for loops.
    pub fn explain_task(
        &self,
        framework: FrameworkId,
        role: &Role,
        task: &Resources,
    ) -> Option<TaskExplanation> {
        let entry = self.frameworks.get(&framework)?;
        let key = self.find_membership(framework, role)?;
        let membership = &self.memberships[key];
        let silenced = membership.silenced(entry);
        let mut explanation = TaskExplanation {
            considered: self.agents.len(),
            fits: 0,
            skipped: BTreeMap::new(),
            lacking: BTreeMap::new(),
            nearest: Vec::new(),
            position: self.position(key),
            waiting: self.tree.waiting(),
            share: self.tree.share(self.tree.node(membership.node)),
            role_shares: self.role_shares(),
        };
        for agent in self.agent_keys.values() {
            let short = self.short_for(*agent, key, task);
            let rule = silenced.or_else(|| self.skip_rule(*agent, key));
            for name in short.keys() {
                *explanation.lacking.entry(name.clone()).or_default() += 1;
            }
            match rule {
                Some(rule) => *explanation.skipped.entry(rule).or_default() += 1,
                None if short.is_empty() => explanation.fits += 1,
                None => {}
            }
            if rule.is_some() || !short.is_empty() {
                let agent = self.agents[*agent].id;
                explanation.nearest.push(TaskMiss { agent, rule, short });
                keep_nearest(&mut explanation.nearest);
            }
        }
        Some(explanation)
    }

    /// Who holds something of an agent, and which rule keeps it from whom. Looks at everybody who
    /// waits.
    pub fn explain_agent(&self, agent: AgentId) -> Option<AgentExplanation> {
        let key = *self.agent_keys.get(&agent)?;
        let page = &self.agents[key];
        let holder = |(holder, holding): (&Key<Membership>, &crate::agent::Holding)| Holder {
            framework: self.memberships[*holder].framework,
            role: self.memberships[*holder].role.clone(),
            offered: holding.offered.clone(),
            allocated: holding.allocated.clone(),
        };
        let mut explanation = AgentExplanation {
            agent,
            closed: page.closed(),
            free: page.free().clone(),
            holders: page.holdings().iter().map(holder).collect(),
            considered: 0,
            skipped: BTreeMap::new(),
        };
        self.tree.first(Scope::Waiting, |waiting| {
            explanation.considered += 1;
            if let Some(rule) = self.skip_rule(key, waiting) {
                *explanation.skipped.entry(rule).or_default() += 1;
            }
            false
        });
        Some(explanation)
    }

    /// The shares of all roles, over their weights, the next to be served first among siblings.
    fn role_shares(&self) -> Vec<(Role, crate::Share)> {
        let roles = self.tree.roles().map(|(role, node)| (role.clone(), self.tree.share(node)));
        let mut shares: Vec<_> = roles.collect();
        shares.sort_by(|(role, share), (other, other_share)| {
            share.cmp(other_share).then_with(|| role.cmp(other))
        });
        shares
    }

    /// What a task lacks of what a membership may have of an agent, whatever it has refused.
    fn short_for(
        &self,
        agent: Key<Agent>,
        key: Key<Membership>,
        task: &Resources,
    ) -> BTreeMap<ResourceName, Resources> {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        let look = Look { tree: &self.tree, page, agent, turns: false };
        let available =
            page.portion_unrefused(key, membership, look.headroom(membership)).unwrap_or_default();
        let lacks = |wanted: &Resource| {
            let one = Resources::from(wanted.clone());
            if available.find(&one, &membership.role).is_some() {
                return None;
            }
            Some((wanted.name().clone(), missing(wanted, &one, &available)))
        };
        task.flatten().iter().filter_map(lacks).collect()
    }
}

/// How much of one resource is missing.
fn missing(wanted: &Resource, one: &Resources, available: &Resources) -> Resources {
    match wanted.value() {
        Value::Scalar(amount) => {
            let rest = amount.remaining_after(available.amount_of(wanted.name()));
            // All of it when what is there cannot be used by a task.
            let rest = if rest.is_zero() { *amount } else { rest };
            wanted.with_amount(rest).map(Resources::from).unwrap_or_default()
        }
        Value::Ranges(_) | Value::Set(_) => one.saturating_sub(&available.flatten()),
    }
}

/// The nearest rules, and under one rule those that lack the fewest things.
fn keep_nearest(misses: &mut Vec<TaskMiss>) {
    let rank = |miss: &TaskMiss| (miss.short.len(), miss.rule, lack(miss), miss.agent);
    misses.sort_by_key(rank);
    misses.truncate(NEAREST_MAX);
}

fn lack(miss: &TaskMiss) -> ScalarQuantities {
    let mut sum = ScalarQuantities::new();
    miss.short.values().for_each(|short| sum += &short.quantities());
    sum
}
