//! What must hold, one file for each rule; together they are the specification.
//!
//! The rules look at what really is (containers, committed entries) and at what frameworks were
//! told, and as little as possible at what the cores believe. A rule that is broken panics with a
//! sentence that says how.

mod accounted;
mod capacity;
mod conserved;
mod demand;
mod fencing;
mod known_tasks;
mod no_double_allocation;
mod one_master;
mod start_once;
mod terminal_final;
mod truthful;
mod update_order;
mod updates_settled;

use crate::world::World;

/// What must hold after every step.
pub fn check_always(world: &mut World) {
    one_master::check(world);
    fencing::check(world);
    capacity::check(world);
    no_double_allocation::check(world);
    for key in std::mem::take(&mut world.oracle.touched) {
        let Some(life) = world.oracle.lives.get(&key) else { continue };
        start_once::check(&key, life);
        terminal_final::check(&key, life);
        update_order::check(&key, life);
        truthful::check(&key, life);
    }
}

/// What must come to hold once nothing goes wrong any more, while frameworks still are there.
/// Tells the first that does not hold yet.
pub fn not_yet_settled(world: &World) -> Option<String> {
    demand::not_yet(world)
        .or_else(|| accounted::not_yet(world))
        .or_else(|| known_tasks::not_yet(world))
        .or_else(|| updates_settled::not_yet(world))
}

/// What must come to hold once all frameworks have ended. Tells the first that does not hold yet.
pub fn not_yet_quiet(world: &World) -> Option<String> {
    known_tasks::not_yet(world)
        .or_else(|| updates_settled::not_yet(world))
        .or_else(|| conserved::not_yet(world))
}
