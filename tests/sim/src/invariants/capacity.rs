//! What really runs on a machine never exceeds what the machine has.

use meshos_protocol::resources::Resources;

use crate::world::World;

pub(super) fn check(world: &World) {
    for (index, node) in world.nodes.iter().enumerate() {
        let mut free: Resources = node.capacity.clone();
        for (id, container) in node.launcher.running() {
            if container.program.is_some() && node.process.is_none() {
                // It may have come up with limits that count a task which was killed before it could be handed over. It
                // does not have that task, and its limits follow when the agent is back.
                continue;
            }
            // Whatever it is reserved for, it is of the machine.
            let rest = free.checked_sub(&container.resources.flatten());
            assert!(
                rest.is_some(),
                "n{index} has {} and runs {}: no room for {id} ({})",
                node.capacity,
                node.running(),
                container.resources
            );
            free = rest.unwrap_or_default();
        }
        let refused = node.process.as_ref().map(|process| {
            let view = process.agent.view();
            assert!(view.resources.contains(&view.used), "n{index} holds more than it has");
            view.counters.launches_without_room
        });
        assert!(
            refused.unwrap_or(0) == 0,
            "n{index} was told to launch a task for which it has no room"
        );
    }
}
