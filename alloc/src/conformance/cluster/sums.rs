//! The ledger adds up after every step, and says the same as the account kept beside it.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Metadata, Resource, Resources, ScalarQuantities},
    role::Role,
};

use super::Cluster;
use crate::AgentState;

impl Cluster {
    /// Everything that must hold between any two steps.
    pub(super) fn check(&self) {
        self.allocator.check_invariants();
        let mut allocated = BTreeMap::<AgentId, Resources>::new();
        for (_, _, agent, resources) in &self.tasks {
            *allocated.entry(*agent).or_default() += resources;
        }
        let offered = self.offered();
        let mut reserved = BTreeMap::<Role, ScalarQuantities>::new();
        for state in self.allocator.agents() {
            let of = |sums: &BTreeMap<AgentId, Resources>| {
                sums.get(&state.agent).cloned().unwrap_or_default()
            };
            self.page_adds_up(&state, &of(&allocated), &of(&offered));
            for resource in &on_account(&state.total.reserved()) {
                let (Some(role), Some(amount)) =
                    (resource.metadata().reserved_role(), resource.amount())
                else {
                    continue;
                };
                reserved.entry(role.clone()).or_default().add(resource.name(), amount);
            }
        }
        self.roles_add_up(&reserved);
    }

    /// Per resource and reservation; shared volumes count once, and are always free.
    fn page_adds_up(&self, state: &AgentState, allocated: &Resources, offered: &Resources) {
        let AgentState { agent, total, free, .. } = state;
        let counted = |held: &Resources| held.exclusive() + &once(&held.shared(), total);
        assert_eq!(state.allocated, counted(allocated), "{agent}: allocated");
        assert_eq!(state.offered, counted(offered), "{agent}: offered");
        let (allocated, offered) = (allocated.exclusive(), offered.exclusive());
        let taken = if self.optimistic { allocated } else { allocated + &offered };
        if self.optimistic {
            // Several may be offered the same, but nobody what somebody uses.
            assert!(free.contains(&offered), "{agent}: offers are free");
        }
        let rest = total.saturating_sub(&taken);
        assert_eq!(*free, rest, "{agent}: offered + allocated + free = total");
        if total.contains(&taken) {
            assert_eq!(taken + free, *total, "{agent}: nothing is lost or made");
        }
    }

    /// What is offered of each agent. When several are offered the same, that counts once.
    fn offered(&self) -> BTreeMap<AgentId, Resources> {
        let mut by_holder = BTreeMap::<(AgentId, FrameworkId, &Role), Resources>::new();
        for (framework, role, agent, resources, _) in &self.offers {
            *by_holder.entry((*agent, *framework, role)).or_default() += resources;
        }
        let mut offered = BTreeMap::<AgentId, Resources>::new();
        for ((agent, ..), resources) in by_holder {
            let all = offered.entry(agent).or_default();
            let more = if self.optimistic { resources.saturating_sub(all) } else { resources };
            *all += &more;
        }
        offered
    }

    /// What roles hold and consume is what those in them hold, and what is reserved for them: what is
    /// shared or may be taken back is on nobody's account.
    fn roles_add_up(&self, reserved: &BTreeMap<Role, ScalarQuantities>) {
        for state in self.allocator.roles() {
            let inside = |role: &Role| *role == state.role || state.role.is_ancestor_of(role);
            let (mut held, mut offered) = (Resources::new(), ScalarQuantities::new());
            for (_, _, _, resources) in self.tasks.iter().filter(|task| inside(&task.1)) {
                held += &on_account(resources);
            }
            for (_, _, _, resources, _) in self.offers.iter().filter(|offer| inside(&offer.1)) {
                held += &on_account(resources);
                offered += &on_account(resources).quantities();
            }
            assert_eq!(state.held, held.quantities(), "role {}: held", state.role);
            assert_eq!(state.offered, offered, "role {}: offered", state.role);
            let mut consumed = held.unreserved().quantities();
            for (_, amounts) in reserved.iter().filter(|(role, _)| inside(role)) {
                consumed += amounts;
            }
            assert_eq!(state.consumed, consumed, "role {}: consumed", state.role);
        }
    }

    /// Whether a task on an agent holds one of these volumes, or another offer of it than `but`.
    pub(super) fn is_shared_with_others(
        &self,
        agent: AgentId,
        volumes: &Resources,
        but: Option<usize>,
    ) -> bool {
        let names: BTreeSet<&Metadata> = volumes.iter().map(Resource::metadata).collect();
        let touches = |held: &Resources| held.iter().any(|it| names.contains(it.metadata()));
        let used = self.tasks.iter().any(|(_, _, at, held)| *at == agent && touches(held));
        let offers = self.offers.iter().enumerate();
        let mut others = offers.filter(|(index, offer)| Some(*index) != but && offer.2 == agent);
        let offered = others.any(|(_, offer)| touches(&offer.3));
        used || offered
    }
}

/// The volumes of an agent that somebody holds, once each.
fn once(held: &Resources, total: &Resources) -> Resources {
    let names: BTreeSet<&Metadata> = held.iter().map(Resource::metadata).collect();
    total.shared().filter(|volume| names.contains(volume.metadata()))
}

/// What is on somebody's account.
fn on_account(resources: &Resources) -> Resources {
    resources.filter(|resource| !resource.metadata().shared && !resource.metadata().revocable)
}
