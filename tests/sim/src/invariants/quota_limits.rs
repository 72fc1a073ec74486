//! No offer takes a role above the limit of its quota: what tasks of a role and of those below it
//! hold may be more than a limit that came later, or than a leader knew of before an agent reported,
//! but then nothing that is limited is offered there.

use meshos_alloc::Quota;
use meshos_control::master::View;
use meshos_protocol::{
    resources::{Amount, ResourceName},
    role::Role,
};

use crate::world::World;

pub(super) fn check(world: &World) {
    for (index, node) in world.nodes.iter().enumerate() {
        let Some(leading) = node.process.as_ref().and_then(|process| process.leading.as_ref())
        else {
            continue;
        };
        let limits = leading.quotas.iter().filter(|(_, quota)| !quota.limit.is_empty());
        let limits: Vec<_> = limits.collect();
        if limits.is_empty() {
            continue;
        }
        let view = leading.master.view();
        for (role, Quota { limit, .. }) in limits {
            for (name, limit) in limit {
                let Held { tasks, offers } = held(&view, role, name);
                assert!(
                    tasks.saturating_add(offers) <= *limit || offers.is_zero(),
                    "n{index} offers role {role} {name}:{offers} beside tasks of {name}:{tasks}, \
                     more than its limit {name}:{limit}"
                );
            }
        }
    }
}

/// What a role and those below it hold of a resource, on agents that have reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) tasks: Amount,
    pub(super) offers: Amount,
}

pub(super) fn held(view: &View, role: &Role, name: &ResourceName) -> Held {
    let inside = |other: &Role| other == role || role.is_ancestor_of(other);
    let reported = |agent| view.agents.iter().any(|one| one.agent_id == agent && one.connected);
    let tasks = view.tasks.iter().filter(|task| inside(&task.role) && reported(task.agent_id));
    let offers = view.offers.iter().filter(|offer| inside(&offer.role));
    Held {
        tasks: tasks.map(|task| task.resources.amount_of(name)).sum(),
        offers: offers.map(|offer| offer.resources.amount_of(name)).sum(),
    }
}
