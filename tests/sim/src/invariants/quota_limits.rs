//! No offer takes a role above the limit of its quota, nor does it beside the tasks that run on agents
//! which have yet to report to a new leader. What tasks of a role and of those below it hold may be more
//! than a limit that came later, or than what a leader knew of before an agent that was unreachable came
//! back, but then nothing that is limited is offered there, but for what is reserved. That counts as held
//! by the role for which it is, whoever has it.

use meshos_alloc::Quota;
use meshos_control::master::View;
use meshos_protocol::{
    resources::{Amount, Resource, ResourceName},
    role::Role,
};

use crate::{
    node::{Leading, Node},
    world::World,
};

pub(super) fn check(world: &World) {
    for (index, node) in world.nodes.iter().enumerate() {
        let Some(leading) = node.leading() else { continue };
        let limits = leading.on_record.quotas.iter().filter(|(_, quota)| !quota.limit.is_empty());
        let limits: Vec<_> = limits.collect();
        if limits.is_empty() {
            continue;
        }
        let view = leading.master.view();
        for (role, Quota { limit, .. }) in limits {
            for (name, limit) in limit {
                let Held { tasks, offers } = held(&view, role, name);
                let untold = untold(world, leading, role, name);
                let used = tasks.saturating_add(untold);
                assert!(
                    used.saturating_add(offers) <= *limit || offers.is_zero(),
                    "n{index} offers role {role} {name}:{offers} beside tasks of {name}:{used}, \
                     {name}:{untold} of it on agents that have not reported, more than its limit \
                     {name}:{limit}"
                );
            }
        }
    }
}

/// What a role and those below it hold of a resource, on agents that have reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// What tasks hold of the unreserved pool, and what is reserved for them, whoever has it.
    pub(super) tasks: Amount,
    /// What is offered to them of the unreserved pool.
    pub(super) offers: Amount,
}

/// What tasks of a role and those below it hold that a leader has not been told of since it leads.
fn untold(world: &World, leading: &Leading, role: &Role, name: &ResourceName) -> Amount {
    let awaited = |node: &&Node| leading.unreported.iter().any(|agent| agent.node == node.id);
    let tasks = world.nodes.iter().filter(awaited).flat_map(Node::tasks);
    let inside = tasks.filter(|(of, _)| of == role || role.is_ancestor_of(of));
    inside.map(|(_, resources)| resources.amount_of(name)).sum()
}

pub(super) fn held(view: &View, role: &Role, name: &ResourceName) -> Held {
    let inside = |other: &Role| other == role || role.is_ancestor_of(other);
    let reported = |agent| view.agents.iter().any(|one| one.agent_id == agent && one.connected);
    let tasks = view.tasks.iter().filter(|task| inside(&task.role) && reported(task.agent_id));
    let offers = view.offers.iter().filter(|offer| inside(&offer.role));
    let is_reserved = |it: &Resource| it.metadata().reserved_role().is_some_and(inside);
    let agents = view.agents.iter().filter(|agent| agent.connected);
    let reserved: Amount =
        agents.map(|agent| agent.resources.filter(is_reserved).amount_of(name)).sum();
    let tasks: Amount = tasks.map(|task| task.resources.unreserved().amount_of(name)).sum();
    Held {
        tasks: tasks.saturating_add(reserved),
        offers: offers.map(|offer| offer.resources.unreserved().amount_of(name)).sum(),
    }
}
