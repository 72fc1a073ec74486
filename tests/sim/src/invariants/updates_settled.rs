//! Every update is acknowledged in the end, or its framework is gone; then nothing is kept of it.

use crate::{launcher::Container, world::World};

pub(super) fn not_yet(world: &World) -> Option<String> {
    for (index, node) in world.nodes.iter().enumerate() {
        let Some(process) = &node.process else { return Some(format!("n{index} is down")) };
        if let Some(task) = process.agent.view().tasks.first() {
            return Some(format!("n{index} still keeps {:?}", task.record));
        }
        if let Some(record) = node.disk.records.values().next() {
            return Some(format!("the disk of n{index} still keeps {record:?}"));
        }
        // Executors live on until somebody ends them.
        let own = node.launcher.containers.iter();
        let over = |container: &Container| container.program.is_none() || world.all_torn_down();
        if let Some((id, container)) = own.into_iter().find(|(_, it)| over(it)) {
            return Some(format!("the launcher of n{index} still keeps {id}: {container:?}"));
        }
    }
    None
}
