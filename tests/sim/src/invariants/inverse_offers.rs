//! Whoever has something on a node that will be away is asked about it, once by each leader; nobody else is, and nobody when
//! nothing is planned.
//!
//! That the leader's open inverse offers are exactly those that must be is asserted by the core after every step. Here it is
//! held against what frameworks know.

use meshos_protocol::{maintenance::InverseOffer, task::TaskState};

use crate::world::World;

/// What holds of an inverse offer that reaches a framework.
pub fn check_asked(world: &World, index: usize, offer: &InverseOffer) {
    let driver = &world.drivers[index];
    assert_eq!(Some(offer.framework), driver.framework, "inverse offers are for whom they reach");
    let again = driver.questions.open.values().any(|agent| *agent == offer.agent);
    assert!(!again, "d{index} is asked about {} and has not answered before", offer.agent);
    // Something that is reserved may be a role's, whoever reserved it.
    let reserved = world.oracle.operations_sent > 0;
    let had = driver.beliefs.values().any(|belief| belief.agent == offer.agent);
    // Whoever starts over forgets what it had.
    let forgot = driver.has_started_over();
    assert!(
        had || reserved || forgot,
        "d{index} is asked about {}, where it has nothing",
        offer.agent
    );
}

/// Whether everybody was asked who has a task on a node that will be away, as long as anything is planned.
pub(super) fn not_yet_asked(world: &World) -> Option<String> {
    let wanted = world.windows.as_ref()?;
    let registry = world.raft.registry();
    if !registry.maintenance().map(|(node, _)| node).eq(wanted.iter().copied()) {
        return Some("the windows are not on record".to_owned());
    }
    for driver in
        world.drivers.iter().filter(|driver| !driver.ended && driver.subscription.is_some())
    {
        for (task, belief) in &driver.beliefs {
            let runs = belief.state == Some(TaskState::Running);
            let planned = registry.planned(belief.agent.node).is_some();
            let term = driver.newest.map(|fence| fence.term).unwrap_or_default();
            let asked = driver.questions.about.contains(&(term, belief.agent));
            if runs && planned && !asked {
                return Some(format!("{task} runs on {}, and nobody was asked", belief.agent));
            }
        }
    }
    None
}

/// Whether nobody is asked about what is not planned.
pub(super) fn not_yet_silent(world: &World) -> Option<String> {
    let registry = world.raft.registry();
    for driver in world.drivers.iter().filter(|driver| !driver.ended) {
        let mut open = driver.questions.open.iter();
        let idle = |(_, agent): &(_, &meshos_protocol::ids::AgentId)| {
            registry.planned(agent.node).is_none()
        };
        if let Some((offer, agent)) = open.find(idle) {
            return Some(format!("{offer} is about {agent}, for which nothing is planned"));
        }
    }
    not_yet_asked(world)
}
