//! Agents run nothing that a master with all agents reported does not know, and it knows nothing
//! that no agent has.

use std::collections::BTreeSet;

use crate::world::World;

pub(super) fn not_yet(world: &World) -> Option<String> {
    let Some(view) = world.master_view() else { return Some("nobody leads".to_owned()) };
    let connected = view.agents.iter().filter(|agent| agent.connected).count();
    if connected < world.nodes.len() {
        return Some(format!("{connected} of {} agents are connected", world.nodes.len()));
    }
    let known: BTreeSet<_> =
        view.tasks.iter().map(|task| (task.framework_id, task.id.clone())).collect();
    let mut running = BTreeSet::new();
    for (index, node) in world.nodes.iter().enumerate() {
        for (_, container) in node.launcher.running() {
            // What runs in an executor, its agent knows.
            let Some(task) = container.task.clone() else { continue };
            let key = (container.framework, task);
            if !known.contains(&key) {
                return Some(format!("n{index} runs {key:?}, which the master does not know"));
            }
            running.insert(key);
        }
        let tasks = node.process.iter().flat_map(|process| process.agent.view().tasks);
        running.extend(tasks.map(|task| {
            let record = &task.record;
            (record.framework, record.launch.description.task_id.clone())
        }));
    }
    let lost = known.difference(&running).next()?;
    Some(format!("the master knows {lost:?}, which no agent has"))
}
