//! What is known of a cluster without asking the allocator: who wants offers, and what is free for
//! everybody.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::Resources,
    role::Role,
    time::Mono,
};

use super::history::FrameworkStep;
use crate::AgentProfile;

/// A framework in a role, as it has told itself.
#[derive(Debug)]
struct Member {
    suppressed: bool,
    /// It has said what it wants, so it is not offered everything.
    particular: bool,
}

#[derive(Debug)]
struct Framework {
    active: bool,
    members: BTreeMap<Role, Member>,
}

/// What happened, so far as it tells whom nothing keeps from what is free.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Whether each is offered, and to everybody.
    agents: BTreeMap<AgentId, (bool, bool)>,
    frameworks: BTreeMap<FrameworkId, Framework>,
    /// Until when who has refused something of an agent.
    refusals: BTreeMap<(AgentId, FrameworkId, Role), Mono>,
    /// The roles with a limit or a guarantee, ever.
    with_quota: BTreeSet<Role>,
}

impl Account {
    pub(super) fn agent(&mut self, agent: AgentId, total: &Resources, profile: &AgentProfile) {
        let far = profile.domain.as_ref().is_some_and(|domain| domain.region != "here");
        // Not everybody goes far, or may use processors beside GPUs.
        let for_all = !far && total.gpus().is_zero() && total.is_offerable_total();
        self.agents.entry(agent).or_insert((true, true)).1 = for_all;
    }

    pub(super) fn agent_gone(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        self.refusals.retain(|(of, ..), _| *of != agent);
    }

    pub(super) fn agent_active(&mut self, agent: AgentId, active: bool) {
        if let Some((known, _)) = self.agents.get_mut(&agent) {
            *known = active;
        }
    }

    pub(super) fn quota(&mut self, role: &Role) {
        self.with_quota.insert(role.clone());
    }

    pub(super) fn refuse(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        until: Option<Mono>,
    ) {
        if let Some(until) = until {
            let known = self.refusals.entry((agent, framework, role.clone())).or_insert(until);
            *known = until.max(*known);
        }
    }

    pub(super) fn framework(&mut self, id: FrameworkId, step: &FrameworkStep) {
        let Some(framework) = self.frameworks.get_mut(&id) else {
            if let FrameworkStep::Subscribe { roles, suppressed, .. } = step {
                self.subscribe(id, roles, suppressed);
            }
            return;
        };
        let named = |of: &BTreeSet<Role>, role: &Role| of.is_empty() || of.contains(role);
        match step {
            FrameworkStep::Subscribe { roles, suppressed, .. } => {
                self.subscribe(id, roles, suppressed);
            }
            FrameworkStep::Remove => drop(self.frameworks.remove(&id)),
            FrameworkStep::Activate(active) => framework.active = *active,
            FrameworkStep::Suppress(roles) => {
                let members = framework.members.iter_mut();
                members
                    .filter(|(role, _)| named(roles, role))
                    .for_each(|it| it.1.suppressed = true);
            }
            FrameworkStep::Revive(roles) => {
                let members = framework.members.iter_mut();
                members
                    .filter(|(role, _)| named(roles, role))
                    .for_each(|it| it.1.suppressed = false);
            }
            FrameworkStep::Wish(role, _) | FrameworkStep::Ask { role, .. } => {
                if let Some(member) = framework.members.get_mut(role) {
                    member.particular = true;
                }
            }
        }
    }

    fn subscribe(&mut self, id: FrameworkId, roles: &BTreeSet<Role>, suppressed: &BTreeSet<Role>) {
        let before = self.frameworks.remove(&id).map(|known| known.members).unwrap_or_default();
        let member = |role: &Role| {
            let particular = before.get(role).is_some_and(|known| known.particular);
            (role.clone(), Member { suppressed: suppressed.contains(role), particular })
        };
        let members = roles.iter().map(member).collect();
        self.frameworks.insert(id, Framework { active: true, members });
    }

    /// Who wants whatever there is of which agent, and may have it by all rules.
    pub(super) fn unhindered(&self, now: Mono) -> Vec<(AgentId, FrameworkId, &Role)> {
        let mut unhindered = Vec::new();
        for (agent, (active, for_all)) in &self.agents {
            if !active || !for_all {
                continue;
            }
            for (id, framework) in self.frameworks.iter().filter(|(_, it)| it.active) {
                for (role, member) in &framework.members {
                    let refused = self.refusals.get(&(*agent, *id, role.clone()));
                    let mut above = std::iter::successors(Some(role.clone()), Role::parent);
                    let hindered = member.suppressed
                        || member.particular
                        || refused.is_some_and(|until| *until > now)
                        || above.any(|role| self.with_quota.contains(&role));
                    if !hindered {
                        unhindered.push((*agent, *id, role));
                    }
                }
            }
        }
        unhindered
    }
}
