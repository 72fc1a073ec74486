//! The records and how they are read.

use std::collections::BTreeMap;

use meshos_alloc::Quota;
use meshos_protocol::{
    ids::{AgentId, ClusterId, FrameworkId, NodeId, Principal, ProposalId, Term},
    role::Role,
    time::Wall,
};

use super::{AgentState, FrameworkRecord, Hold, Limits, Lookup, PastRecord, Planned, level::Level};

/// The weight of a role that has none of its own, in thousandths.
pub(super) const WEIGHT_DEFAULT_MILLIS: u64 = 1_000;

/// The replicated records. Changed by [`Registry::apply`] alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    pub(super) limits: Limits,
    pub(super) level: Level,
    pub(super) cluster: Option<ClusterId>,
    /// The newest entry applied.
    pub(super) newest: (Term, ProposalId),
    /// The newest date told by any entry; what "two weeks ago" is counted from.
    pub(super) newest_date: Wall,
    pub(super) agents: BTreeMap<AgentId, AgentState>,
    /// Those of them that operators hold.
    pub(super) holds: BTreeMap<AgentId, Hold>,
    /// The nodes in maintenance windows.
    pub(super) maintenance: BTreeMap<NodeId, Planned>,
    /// The highest registration number of any agent that was forgotten: numbers given out later
    /// are above it, so that no agent id is ever used twice.
    pub(super) registration_floor: u32,
    pub(super) frameworks: BTreeMap<FrameworkId, FrameworkRecord>,
    /// How many frameworks were ever admitted; ids count from 1.
    pub(super) frameworks_admitted: u64,
    /// Live frameworks by the subscribe that admitted them; rebuilt, not in snapshots.
    pub(super) nonces: BTreeMap<(Principal, String), FrameworkId>,
    pub(super) weights: BTreeMap<Role, u64>,
    pub(super) priorities: BTreeMap<Role, i32>,
    pub(super) quotas: BTreeMap<Role, Quota>,
    /// The allocation policy that operators have chosen, in its text form; absent: the leader's
    /// default.
    pub(super) policy: Option<String>,
    /// What was used before, in place of what an earlier leader told.
    pub(super) past: Option<Box<PastRecord>>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty registry with other limits than those of the release, for tests.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The cluster's id; absent until the cluster has formed.
    pub const fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The newest entry applied: its term and proposal.
    pub const fn newest_entry(&self) -> (Term, ProposalId) {
        self.newest
    }

    /// All agents on record, gone ones too, in order.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = (AgentId, AgentState)> {
        self.agents.iter().map(|(id, state)| (*id, *state))
    }

    /// What is on record of an agent.
    pub fn agent(&self, agent: AgentId) -> Option<AgentState> {
        self.agents.get(&agent).copied()
    }

    /// At what operators hold an agent, if they do.
    pub fn hold(&self, agent: AgentId) -> Option<Hold> {
        self.holds.get(&agent).copied()
    }

    /// The agents that operators hold.
    pub fn holds(&self) -> impl ExactSizeIterator<Item = (AgentId, Hold)> {
        self.holds.iter().map(|(agent, hold)| (*agent, *hold))
    }

    /// Whether nothing on record keeps an agent from new tasks.
    pub fn takes_tasks(&self, agent: AgentId) -> bool {
        self.agent(agent) == Some(AgentState::Active) && self.hold(agent).is_none()
    }

    /// The newest agent id of a node, gone or not.
    pub fn newest_agent_of(&self, node: NodeId) -> Option<(AgentId, AgentState)> {
        let all = AgentId::new(node, 0)..=AgentId::new(node, u32::MAX);
        self.agents.range(all).next_back().map(|(id, state)| (*id, *state))
    }

    /// All frameworks on record, closed ones too, in order.
    pub fn frameworks(&self) -> impl ExactSizeIterator<Item = (FrameworkId, &FrameworkRecord)> {
        self.frameworks.iter().map(|(id, record)| (*id, record))
    }

    /// What is on record of a framework that has not ended.
    pub fn framework(&self, framework: FrameworkId) -> Option<&FrameworkRecord> {
        self.frameworks.get(&framework).filter(|record| record.closed.is_none())
    }

    /// What is known of a framework id.
    pub fn look_up(&self, framework: FrameworkId) -> Lookup<'_> {
        match self.frameworks.get(&framework) {
            Some(record) if record.closed.is_none() => Lookup::Live(record),
            Some(_) => Lookup::Closed,
            None if (1..=self.frameworks_admitted).contains(&framework.0) => Lookup::Closed,
            None => Lookup::Never,
        }
    }

    /// The roles with a weight of their own, in thousandths.
    pub fn weights(&self) -> impl ExactSizeIterator<Item = (&Role, u64)> {
        self.weights.iter().map(|(role, weight)| (role, *weight))
    }

    /// A role's weight in thousandths.
    pub fn weight_millis(&self, role: &Role) -> u64 {
        self.weights.get(role).copied().unwrap_or(WEIGHT_DEFAULT_MILLIS)
    }

    /// The roles with a priority of their own.
    pub fn priorities(&self) -> impl ExactSizeIterator<Item = (&Role, i32)> {
        self.priorities.iter().map(|(role, priority)| (role, *priority))
    }

    /// The roles with a quota.
    pub fn quotas(&self) -> impl ExactSizeIterator<Item = (&Role, &Quota)> {
        self.quotas.iter()
    }

    /// The allocation policy that operators have chosen, if they have. A leader of another release
    /// may have taken it.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// What roles had used before, if a policy that counts it is or was in force.
    pub fn past_use(&self) -> Option<&PastRecord> {
        self.past.as_deref()
    }

    /// How many frameworks have not ended.
    pub(super) fn live_frameworks(&self) -> usize {
        self.frameworks.values().filter(|record| record.closed.is_none()).count()
    }
}
