//! Which rule is looked at when.

use super::{
    accounted, capacity, conserved, demand, drained, fair_shares, fencing, health, inverse_offers,
    known_records, known_tasks, no_double_allocation, offered_at_rest, one_master, quota_limits,
    registry_forgets, remembered, reservations, start_once, terminal_final, truthful, update_order,
    updates_settled, whole_groups,
};
use crate::world::World;

/// What must hold after every step.
pub fn check_always(world: &mut World) {
    one_master::check(world);
    registry_forgets::check(world);
    known_records::check(world);
    fencing::check(world);
    capacity::check(world);
    no_double_allocation::check(world);
    quota_limits::check(world);
    reservations::check(world);
    drained::check(world);
    for key in std::mem::take(&mut world.oracle.touched) {
        let Some(life) = world.oracle.lives.get(&key) else { continue };
        start_once::check(&key, life);
        terminal_final::check(&key, life);
        update_order::check(&key, life);
        truthful::check(&key, life);
        whole_groups::check(&world.oracle, &key, life);
        health::check(&key, life);
    }
}

/// What must come to hold once nothing goes wrong any more and no framework answers its offers.
/// Tells the first that does not hold yet.
pub fn not_yet_offered(world: &World) -> Option<String> {
    offered_at_rest::not_yet(world)
}

/// What must come to hold of a node that is being drained. Tells the first that does not hold yet.
pub fn not_yet_emptied(world: &World) -> Option<String> {
    drained::not_yet(world)
}

/// What must come to hold once nothing goes wrong any more, while every framework wants more than
/// there is. Tells the first that does not hold yet.
pub fn not_yet_fair(world: &World) -> Option<String> {
    fair_shares::not_yet(world).or_else(|| inverse_offers::not_yet_asked(world))
}

/// What must come to hold once nothing goes wrong any more, while frameworks still are there.
/// Tells the first that does not hold yet.
pub fn not_yet_settled(world: &World) -> Option<String> {
    demand::not_yet(world)
        .or_else(|| reservations::not_yet(world))
        .or_else(|| accounted::not_yet(world))
        .or_else(|| known_tasks::not_yet(world))
        .or_else(|| updates_settled::not_yet(world))
        .or_else(|| remembered::not_yet(world))
        .or_else(|| inverse_offers::not_yet_silent(world))
}

/// What must come to hold once all frameworks have ended. Tells the first that does not hold yet.
pub fn not_yet_quiet(world: &World) -> Option<String> {
    known_tasks::not_yet(world)
        .or_else(|| updates_settled::not_yet(world))
        .or_else(|| conserved::not_yet(world))
}
