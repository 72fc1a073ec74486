//! Every framework that wants tasks gets offers, and runs them all in the end.

use crate::world::World;

pub(super) fn not_yet(world: &World) -> Option<String> {
    let hungry = world.drivers.iter().find(|driver| !driver.ended && driver.demand > 0)?;
    let (name, demand, seen) = (&hungry.principal, hungry.demand, hungry.offers_seen);
    Some(format!("{name} still wants {demand} tasks and was made {seen} offers since the calm"))
}
