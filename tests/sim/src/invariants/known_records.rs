//! Nothing is put on record that a voter does not know: while a cluster is upgraded, the older
//! voters apply all that the newer ones do.

use crate::world::World;

pub(super) fn check(world: &mut World) {
    let log = &world.raft.log[world.oracle.records_known..];
    for (entry, _) in log {
        let level = entry.command.level();
        for voter in &world.raft.voters {
            let known = world.nodes[*voter].level;
            assert!(
                level <= known,
                "n{voter} knows the registry up to level {known}, and is to apply {:?}",
                entry.command
            );
        }
    }
    world.oracle.records_known = world.raft.log.len();
}
