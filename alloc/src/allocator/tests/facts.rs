//! What the reference allocator is told, and plain sums over that.

use std::collections::BTreeMap;

use meshos_protocol::{
    framework::Capabilities,
    ids::{AgentId, FrameworkId},
    resources::{Amount, Resource, ResourceName, Resources, ScalarQuantities},
    role::Role,
    time::Mono,
};

use crate::{Quota, conformance::account::within};

pub(super) type Member = (FrameworkId, Role);
/// A role, a framework, or those who are directly in a role.
pub(super) type Party = (Option<Role>, Option<FrameworkId>);

/// From the top: the roles on the way, those directly in the last, the framework.
pub(super) fn path((framework, role): &Member) -> Vec<Party> {
    let roles: Vec<_> = role.with_those_above().collect();
    let steps = roles.into_iter().rev().map(|role| (Some(role), None));
    steps.chain([(None, None), (None, Some(*framework))]).collect()
}

/// What several may use, and what may be taken back, is on nobody's account.
pub(super) fn is_on_account(part: &Resource) -> bool {
    !part.metadata().shared && !part.metadata().revocable
}

#[derive(Debug, Default)]
pub(super) struct Reference {
    /// What it has, its rack, whether it is active.
    pub(super) agents: BTreeMap<AgentId, (Resources, &'static str, bool)>,
    /// Active, what it understands, roles with whether they are suppressed.
    pub(super) frameworks: BTreeMap<FrameworkId, (bool, Capabilities, BTreeMap<Role, bool>)>,
    /// Offered and allocated.
    pub(super) held: BTreeMap<(AgentId, Member), [Resources; 2]>,
    /// Until when; what, or nothing when others go first.
    pub(super) refusals: BTreeMap<(AgentId, Member), (Mono, Option<Resources>)>,
    pub(super) weights: BTreeMap<Role, u64>,
    pub(super) quotas: BTreeMap<Role, Quota>,
    /// The smallest offer, and the rack if it must be a certain one.
    pub(super) wishes: BTreeMap<Member, (ScalarQuantities, Option<&'static str>)>,
    pub(super) grants: BTreeMap<Vec<Party>, u64>,
}

impl Reference {
    pub(super) fn free(&self, agent: AgentId) -> Resources {
        let held = self.held.iter().filter(|((of, _), _)| *of == agent);
        let held: Resources = held.flat_map(|(_, both)| both).sum();
        self.agents[&agent].0.saturating_sub(&held.exclusive())
    }

    /// What counts for the quota of a role.
    pub(super) fn consumed(&self, role: &Role, name: &ResourceName) -> Amount {
        let inside = |other: &Role| role == other || role.is_ancestor_of(other);
        let totals = self.agents.values().flat_map(|agent| &agent.0);
        let reserved = totals.filter(|part| part.metadata().reserved_role().is_some_and(inside));
        let held = self.held.iter().filter(|((_, member), _)| inside(&member.1));
        let held = held.flat_map(|(_, both)| both).flatten();
        let parts = reserved.chain(held.filter(|part| part.metadata().is_unreserved()));
        let parts = parts.filter(|part| part.name() == name && is_on_account(part));
        parts.filter_map(|part| part.amount()).sum()
    }

    /// What of resources no limit forbids; nothing of the pool without processors or memory.
    pub(super) fn cut(&self, role: &Role, resources: &Resources) -> Resources {
        let mut room = BTreeMap::new();
        for (role, quota) in self.quotas_of(role) {
            for (name, limit) in &quota.limit {
                let left = limit.remaining_after(self.consumed(&role, name));
                let least = room.entry(name.clone()).or_insert(left);
                *least = left.min(*least);
            }
        }
        within(&room, resources, false)
    }

    /// The quotas of a role and of those above it.
    pub(super) fn quotas_of(&self, role: &Role) -> Vec<(Role, &Quota)> {
        let roles = role.with_those_above();
        roles.filter_map(|role| self.quotas.get(&role).map(|quota| (role, quota))).collect()
    }

    pub(super) fn waiting(&self) -> Vec<Member> {
        let mut waiting = Vec::new();
        for (id, (active, _, roles)) in &self.frameworks {
            let wanted = roles.iter().filter(|(_, suppressed)| *active && !**suppressed);
            waiting.extend(wanted.map(|(role, _)| (*id, role.clone())));
        }
        waiting
    }
}
