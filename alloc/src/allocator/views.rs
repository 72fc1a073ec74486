//! What others may see: the ledger and the shares.

use std::collections::BTreeSet;

use meshos_protocol::{
    ids::AgentId,
    resources::{Resources, ScalarQuantities},
    role::Role,
};

use super::Allocator;
use crate::{AgentProfile, Quota, Share, agent::Agent, tree::Node};

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
    /// What is offered and not answered yet; once, also when several are offered it.
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

    pub(super) fn role_state(&self, role: &Role) -> RoleState {
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
