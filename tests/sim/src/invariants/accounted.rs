//! Every task that was accepted is accounted for: its framework knows how it ended.

use crate::world::World;

pub(super) fn not_yet(world: &World) -> Option<String> {
    for driver in world.drivers.iter().filter(|driver| !driver.ended) {
        let open = driver.beliefs.iter().find(|(_, belief)| !belief.is_over());
        if let Some((task, belief)) = open {
            let truth = driver
                .framework
                .and_then(|framework| world.oracle.lives.get(&(framework, task.clone())));
            return Some(format!("{task} is {:?} to its framework: {truth:?}", belief.state));
        }
    }
    None
}
