//! Nothing leaks: once all frameworks have ended, nothing is held and nothing is offered.

use crate::world::World;

pub(super) fn not_yet(world: &World) -> Option<String> {
    let Some(view) = world.master_view() else { return Some("nobody leads".to_owned()) };
    if let Some(framework) = view.frameworks.iter().next() {
        return Some(format!("framework {framework:?} has not ended"));
    }
    if let Some(offer) = view.offers.iter().next() {
        return Some(format!("{offer:?} is still open"));
    }
    for agent in view.agents.iter() {
        if !agent.used.is_empty() || !agent.offered.is_empty() {
            return Some(format!("{agent:?} still holds something"));
        }
    }
    world.nodes.iter().enumerate().find_map(|(index, node)| {
        let used = node.process.as_ref()?.agent.view().used;
        (!used.is_empty()).then(|| format!("the agent of n{index} holds {used}"))
    })
}
