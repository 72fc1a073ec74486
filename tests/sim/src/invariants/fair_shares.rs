//! Hungry frameworks of one role that go to the same regions hold shares that differ by at most one
//! offer.
//!
//! It must come to be so, and need not stay so: the modelled frameworks decline offers at times, and
//! what one of them has just declined goes to another.
//!
//! When offers are optimistic, who is faster to accept has more, so they need not.
//!
//! A share is what a framework holds and is offered, of its dominant resource. One offer is at most
//! one whole agent.

use std::collections::BTreeMap;

use meshos_alloc::OfferMode;
use meshos_protocol::{
    ids::FrameworkId,
    resources::{Amount, Resources},
};

use crate::world::World;

/// Shares are counted in millionths.
const WHOLE: i128 = 1_000_000;

pub(super) fn not_yet(world: &World) -> Option<String> {
    if world.setup.master.offers == OfferMode::Optimistic {
        return None;
    }
    let Some(view) = world.master_view() else { return Some("nobody leads".to_owned()) };
    let total: Resources = view.agents.iter().map(|agent| &agent.resources).sum();
    let share =
        |held: &Resources| part(held.cpus(), total.cpus()).max(part(held.mem(), total.mem()));
    let one_offer = view.agents.iter().map(|agent| share(&agent.resources)).max().unwrap_or(0);
    let mut held: BTreeMap<FrameworkId, Resources> = BTreeMap::new();
    for task in view.tasks.iter() {
        *held.entry(task.framework_id).or_default() += &task.resources;
    }
    for offer in view.offers.iter() {
        *held.entry(offer.framework_id).or_default() += &offer.resources;
    }
    let mut roles: BTreeMap<(&str, bool), Vec<(FrameworkId, i128)>> = BTreeMap::new();
    for driver in world.drivers.iter().filter(|driver| !driver.ended && driver.demand > 0) {
        let Some(framework) = driver.framework else {
            return Some(format!("{} has not subscribed", driver.principal));
        };
        let share = held.get(&framework).map_or(0, share);
        let alike = (driver.setup.role.as_str(), driver.setup.region_aware);
        roles.entry(alike).or_default().push((framework, share));
    }
    roles.into_iter().find_map(|((role, _), shares)| {
        let least = shares.iter().min_by_key(|(_, share)| *share)?;
        let most = shares.iter().max_by_key(|(_, share)| *share)?;
        (most.1 - least.1 > one_offer).then(|| {
            format!(
                "in role {role} {} holds {} and {} holds {} millionths, more than one offer of {one_offer} apart",
                most.0, most.1, least.0, least.1
            )
        })
    })
}

fn part(held: Amount, total: Amount) -> i128 {
    if total.is_zero() { 0 } else { i128::from(held.millis()) * WHOLE / i128::from(total.millis()) }
}
