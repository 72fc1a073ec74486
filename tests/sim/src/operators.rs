//! What operators change: nodes, weights, quota, priorities, the policy, and how they put it right
//! again.

use std::collections::{BTreeMap, BTreeSet};

use meshos_alloc::{PolicyChoice, Quota};
use meshos_control::{
    master::{AgentView, Event, NodeState, OperatorCall},
    registry::{AgentState, Registry},
};
use meshos_protocol::{
    ids::{AgentId, RequestId},
    resources::Resources,
    role::Role,
};

use crate::{node::Leading, world::World};

/// The roles that frameworks are in.
pub const ROLES: [&str; 3] = ["*", "batch", "batch/low"];

const POLICIES: [&str; 6] =
    ["drf", "max-min:cpus", "max-min:mem", "priority", "fair-decay:10s", "random"];

impl World {
    /// Asks the newest leader for something in the name of an operator, who does not wait.
    pub(crate) fn operate(&mut self, call: OperatorCall) {
        if let Some(leader) = self.leader() {
            let request = RequestId(self.now_ms);
            self.master_event(leader, Event::Operator { request, call });
        }
    }

    /// An operator ends all draining.
    pub fn undrain(&mut self) {
        let Some(view) = self.master_view() else { return };
        let drains = |state| state == NodeState::Draining;
        let draining = view.agents.iter().filter(|agent| drains(agent.state));
        let draining: Vec<AgentId> = draining.map(|agent| agent.agent_id).collect();
        for agent in draining {
            self.operate(OperatorCall::SetDraining { agent, draining: false });
        }
    }

    /// An operator clears quota and priorities and goes back to the default policy.
    pub fn clear_settings(&mut self) {
        let registry = self.raft.registry();
        let quotas = registry.quotas().map(|(role, _)| OperatorCall::SetQuota {
            role: role.clone(),
            quota: Quota::default(),
            force: true,
        });
        let priorities = registry
            .priorities()
            .map(|(role, _)| OperatorCall::SetPriority { role: role.clone(), priority: 0 });
        let default = PolicyChoice::default();
        let other = registry.policy().is_some_and(|policy| policy != default.to_string());
        let policy = other.then_some(OperatorCall::SetPolicy { policy: default });
        let calls: Vec<_> = quotas.chain(priorities).chain(policy).collect();
        for call in calls {
            self.operate(call);
        }
    }
}

impl Leading {
    /// The agents that a new leader has to wait for.
    pub fn expected(registry: &Registry) -> BTreeSet<AgentId> {
        let expected = |state| matches!(state, AgentState::Active | AgentState::Draining);
        registry.agents().filter(|(_, state)| expected(*state)).map(|(agent, _)| agent).collect()
    }

    /// Waits no more for agents that have reported, or will not.
    pub fn note_reports(&mut self) {
        if self.unreported.is_empty() {
            return;
        }
        let view = self.master.view();
        // Nothing is known of an agent's host before it reports.
        let awaited = |row: &&std::sync::Arc<AgentView>| {
            row.hostname.is_empty() && matches!(row.state, NodeState::Active | NodeState::Draining)
        };
        let awaited: BTreeSet<AgentId> =
            view.agents.iter().filter(awaited).map(|row| row.agent_id).collect();
        self.unreported.retain(|agent| awaited.contains(agent));
    }
}

/// An operator drains a node, gives one up, or changes how the cluster is shared.
pub fn an_operator_calls(world: &mut World) {
    let Some(view) = world.master_view() else { return };
    let agents: Vec<AgentId> = view.agents.iter().map(|agent| agent.agent_id).collect();
    let Some(agent) = world.dice.pick(&agents).copied() else { return };
    // One that is connected is not given up, so that is mostly tried with one that is not.
    let away = view.agents.iter().filter(|row| !row.connected).map(|row| row.agent_id);
    let away: Vec<AgentId> = away.collect();
    let given_up = world.dice.pick(&away).copied().unwrap_or(agent);
    let role = Role::new(world.dice.pick(&ROLES).expect("there are roles")).expect("a valid role");
    let call = match world.dice.number(0..=11) {
        0 => OperatorCall::MarkAgentGone { agent: given_up },
        1 => OperatorCall::SetWeight { role, weight_millis: world.dice.number(500..=3_000) },
        2 | 3 => OperatorCall::SetPriority {
            role,
            priority: i32::try_from(world.dice.number(0..=4)).expect("a small number") - 2,
        },
        4 | 5 => {
            let policy = world.dice.pick(&POLICIES).expect("there are policies");
            OperatorCall::SetPolicy { policy: policy.parse().expect("a policy") }
        }
        6..=8 => {
            let quota = quota(world);
            OperatorCall::SetQuota { role, quota, force: world.dice.chance(500) }
        }
        number => OperatorCall::SetDraining { agent, draining: number < 11 },
    };
    world.operate(call);
}

/// A quota of which clusters of this size can keep some and not others.
fn quota(world: &mut World) -> Quota {
    let mut amounts = |cpus_max: u64| {
        let cpus = world.dice.number(0..=cpus_max);
        let text = match world.dice.number(0..=2) {
            0 => String::new(),
            1 => format!("cpus:{cpus}"),
            _ => format!("cpus:{cpus};mem:{}", cpus * 512),
        };
        text.parse::<Resources>().expect("a resource text").quantities()
    };
    let (guarantee, limit) = (amounts(8), amounts(24));
    let limit: BTreeMap<_, _> = limit.iter().map(|(name, amount)| (name.clone(), amount)).collect();
    Quota { guarantee, limit }
}
