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

use crate::{maintenance, node::Leading, world::World};

/// An agent that an operator drains on purpose, and how.
#[derive(Debug, Clone, Copy)]
pub struct Emptied {
    /// Which.
    pub agent: AgentId,
    grace_max_ms: u64,
    mark_gone: bool,
}

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

    /// An operator has all nodes offered again, but for the one that is being drained on purpose.
    pub fn reactivate_all(&mut self) {
        self.end_maintenance();
        let Some(view) = self.master_view() else { return };
        let held = |agent: &AgentView| {
            let state = agent.state;
            let held =
                matches!(state, NodeState::Draining | NodeState::Drained | NodeState::Deactivated);
            (held || agent.drain.is_some()) && state != NodeState::Gone
        };
        let held = view.agents.iter().filter(|agent| held(agent)).map(|agent| agent.agent_id);
        let kept = self.emptied.map(|emptied| emptied.agent);
        let held: Vec<AgentId> = held.filter(|agent| kept != Some(*agent)).collect();
        for agent in held {
            self.operate(OperatorCall::Reactivate { agent });
        }
    }

    /// An operator chooses a node to be drained; one that does not vote may be given up by it.
    pub fn choose_to_empty(&mut self) {
        let Some(view) = self.master_view() else { return };
        let voters: Vec<_> = self.raft.voters.iter().map(|voter| self.nodes[*voter].id).collect();
        let agents = view.agents.iter().filter(|agent| agent.connected);
        let agents: Vec<AgentId> = agents.map(|agent| agent.agent_id).collect();
        let Some(agent) = self.dice.pick(&agents).copied() else { return };
        let mark_gone = !voters.contains(&agent.node) && self.dice.chance(500);
        let grace_max_ms = self.dice.number(0..=3_000);
        self.emptied = Some(Emptied { agent, grace_max_ms, mark_gone });
        self.insist_on_drain();
    }

    /// The operator asks for the drain, or asks again: whether it was heard is not known.
    pub fn insist_on_drain(&mut self) {
        if let Some(Emptied { agent, grace_max_ms, mark_gone }) = self.emptied {
            self.operate(OperatorCall::Drain { agent, grace_max_ms, mark_gone });
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
            let gone = matches!(row.state, NodeState::Unreachable | NodeState::Gone);
            row.hostname.is_empty() && !gone
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
    let call = match world.dice.number(0..=20) {
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
        number @ 9..=11 => OperatorCall::SetDraining { agent, draining: number < 11 },
        12..=14 => OperatorCall::Drain {
            agent,
            grace_max_ms: world.dice.number(0..=3_000),
            mark_gone: world.dice.chance(200),
        },
        15 => OperatorCall::Deactivate { agent },
        18..=20 => maintenance::call(world, agent.node),
        _ => OperatorCall::Reactivate { agent },
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
