//! What others may see: the ledger, the shares, and why.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Resources, ScalarQuantities},
    role::Role,
};

use super::{Allocator, run::Look};
use crate::{
    AgentProfile, Quota, Share,
    agent::Agent,
    arena::Key,
    explain::{Explanation, NearMiss, RoleExplanation, SkipRule},
    filters::Standing,
    membership::{Framework, Membership},
    tree::{Node, Scope, WEIGHT_DEFAULT_MILLIS},
};

/// How many near misses an explanation names.
const NEAREST_MAX: usize = 5;

/// One agent in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentState {
    /// Which.
    pub agent: AgentId,
    /// What it says of itself.
    pub profile: AgentProfile,
    /// Whether it is offered at present.
    pub active: bool,
    /// Whether its total has what it takes to be ever offered.
    pub offerable: bool,
    /// All it has.
    pub total: Resources,
    /// What is offered and not answered yet.
    pub offered: Resources,
    /// What tasks use.
    pub allocated: Resources,
    /// What is neither.
    pub free: Resources,
}

/// One role in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleState {
    /// Which.
    pub role: Role,
    /// Its weight in thousandths.
    pub weight_millis: u64,
    /// Its priority; only policies with bands look at it.
    pub priority: i32,
    /// What it is guaranteed and may not exceed.
    pub quota: Quota,
    /// How many frameworks in it or below it wait for offers.
    pub waiting: usize,
    /// What it holds, offered or allocated, with all roles below it.
    pub held: ScalarQuantities,
    /// How much of that is offered and not answered yet.
    pub offered: ScalarQuantities,
    /// What it consumes of its quota.
    pub consumed: ScalarQuantities,
    /// What it has held in the past, fading; nothing when the policy does not count that.
    pub past: ScalarQuantities,
    /// Its share as the policy sees it, over its weight.
    pub share: Share,
}

impl Allocator {
    /// One agent.
    pub fn agent(&self, agent: AgentId) -> Option<AgentState> {
        self.agent_keys.get(&agent).map(|key| agent_state(&self.agents[*key]))
    }

    /// All agents, in the order of their ids.
    pub fn agents(&self) -> impl Iterator<Item = AgentState> {
        self.agent_keys.values().map(|key| agent_state(&self.agents[*key]))
    }

    /// All roles that a framework is in, that hold something or that have a weight of their own,
    /// and the roles above them.
    pub fn roles(&self) -> Vec<RoleState> {
        let known = self.tree.roles().map(|(role, _)| role);
        let roles: BTreeSet<&Role> = self.tree.configured().chain(known).collect();
        roles.into_iter().map(|role| self.role_state(role)).collect()
    }

    fn role_state(&self, role: &Role) -> RoleState {
        let node = self.tree.role(role);
        RoleState {
            role: role.clone(),
            weight_millis: self.tree.weight_millis(role),
            priority: self.tree.priority(role),
            quota: self.tree.quota(role).cloned().unwrap_or_default(),
            waiting: node.map_or(0, Node::waiting),
            held: node.map(|node| node.held().clone()).unwrap_or_default(),
            offered: node.map(|node| node.offered().clone()).unwrap_or_default(),
            consumed: self.tree.consumption(role),
            past: node.and_then(Node::past).cloned().unwrap_or_default(),
            share: node.map_or(Share::ZERO, |node| self.tree.share(node)),
        }
    }

    /// What all agents have together.
    pub fn total(&self) -> &ScalarQuantities {
        self.tree.total()
    }

    /// Why a framework is offered what it is. Looks at every agent, so it is for answers, not for
    /// loops.
    pub fn explain(&self, framework: FrameworkId) -> Option<Explanation> {
        let entry = self.frameworks.get(&framework)?;
        let roles = entry
            .memberships
            .values()
            .filter(|key| self.memberships[**key].subscribed)
            .map(|key| self.explain_role(entry, *key))
            .collect();
        Some(Explanation { framework, active: entry.active, roles })
    }

    fn explain_role(&self, framework: &Framework, key: Key<Membership>) -> RoleExplanation {
        let membership = &self.memberships[key];
        let node = self.tree.node(membership.node);
        let role = self.tree.role(&membership.role);
        let silenced = membership.silenced(framework);
        let mut skipped = BTreeMap::new();
        let mut misses = Vec::new();
        let mut available = 0;
        for agent_key in self.agent_keys.values() {
            let page = &self.agents[*agent_key];
            match silenced.or_else(|| self.skip_rule(*agent_key, key)) {
                None => available += 1,
                Some(rule) => {
                    *skipped.entry(rule).or_default() += 1;
                    misses.push((rule, page));
                    keep_nearest(&mut misses);
                }
            }
        }
        RoleExplanation {
            role: membership.role.clone(),
            suppressed: membership.suppressed,
            share: self.tree.share(node),
            role_share: role.map_or(Share::ZERO, |role| self.tree.share(role)),
            role_weight_millis: role.map_or(WEIGHT_DEFAULT_MILLIS, Node::weight_millis),
            position: self.position(key),
            waiting: self.tree.waiting(),
            grants: node.grants(),
            agents: self.agents.len(),
            available,
            skipped,
            skipped_so_far: membership.skips.to_map(),
            nearest: misses
                .into_iter()
                .map(|(rule, page)| near_miss(rule, page, key, membership))
                .collect(),
        }
    }

    /// The rule that keeps an agent from a membership that is not silenced.
    pub(super) fn skip_rule(&self, agent: Key<Agent>, key: Key<Membership>) -> Option<SkipRule> {
        let page = &self.agents[agent];
        let look = Look { tree: &self.tree, page, agent, turns: true };
        page.closed().or_else(|| {
            look.at(key, &self.memberships[key], |refused, free| refused.contains(free)).err()
        })
    }

    /// How many are served before a membership.
    pub(super) fn position(&self, key: Key<Membership>) -> Option<usize> {
        let mut before = 0;
        self.tree
            .first(Scope::Waiting, |next| {
                before += usize::from(next != key);
                next == key
            })
            .map(|_| before)
    }
}

fn agent_state(page: &Agent) -> AgentState {
    AgentState {
        agent: page.id,
        profile: page.profile.clone(),
        active: page.active,
        offerable: page.offerable(),
        total: page.total().clone(),
        offered: page.offered(),
        allocated: page.allocated(),
        free: page.free().clone(),
    }
}

/// Keeps the list short: the nearest rules, and under one rule the agents with the most free.
fn keep_nearest(misses: &mut Vec<(SkipRule, &Agent)>) {
    misses.sort_by(|(rule, page), (other_rule, other)| {
        rule.cmp(other_rule)
            .then_with(|| other.free().cpus().cmp(&page.free().cpus()))
            .then_with(|| other.free().mem().cmp(&page.free().mem()))
    });
    misses.truncate(NEAREST_MAX);
}

fn near_miss(
    rule: SkipRule,
    page: &Agent,
    key: Key<Membership>,
    membership: &Membership,
) -> NearMiss {
    let until = match page.filters.standing(key, membership) {
        Standing::Refused(until, _) if rule == SkipRule::Refused => Some(until),
        Standing::Refused(..) | Standing::TurnTaken | Standing::Open => None,
    };
    NearMiss { agent: page.id, rule, free: page.free().clone(), until }
}
