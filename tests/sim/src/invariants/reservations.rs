//! What a framework was told to have reserved or made is there, on the disk of its machine, until it
//! or another of its role undoes it; what was told not to be done has changed nothing. On every
//! machine reservations and volumes are made of what it has, and nothing is lost or made on the way.
//! A volume that is there has its directory. Reserved resources are offered to their role alone.

use meshos_protocol::{framework::Offer, resources::Resources};

use super::looked_at::same;
use crate::{reservations::labelled, world::World};

pub(super) fn check(world: &mut World) {
    for (index, node) in world.nodes.iter().enumerate() {
        let record = &node.disk.operations;
        let now = [&node.capacity, &record.consumed, &record.converted];
        if same(world.looked_at.operations.get(&index), now) {
            continue;
        }
        world.looked_at.operations.insert(index, now.map(Resources::clone));
        let rest = node.capacity.checked_sub(&record.consumed);
        assert!(
            rest.is_some(),
            "n{index} has {} and made of it {}",
            node.capacity,
            record.converted
        );
        assert_eq!(
            record.consumed.quantities(),
            record.converted.quantities(),
            "n{index} made {} of {}",
            record.converted,
            record.consumed
        );
    }
    for ((index, label), certain) in &world.oracle.reservations {
        let Some(there) = certain.there.as_ref().filter(|_| certain.open.is_empty()) else {
            continue;
        };
        let node = &world.nodes[*index];
        let record = &node.disk.operations;
        let key = (*index, label.clone());
        let now = [&record.converted, there];
        if !same(world.looked_at.labels.get(&key), now) {
            let found = labelled(&record.converted, label);
            assert_eq!(found, *there, "what was reserved as {label} on n{index}");
            world.looked_at.labels.insert(key, now.map(Resources::clone));
        }
        for volume in record.volumes.iter().filter(|volume| volume.id == *label) {
            let is_there = node.volumes.there.contains(&volume.directory);
            assert!(is_there, "volume {label} of n{index} has lost its directory");
        }
    }
}

/// Looked at whenever an offer reaches a framework.
pub fn check_offer(offer: &Offer) {
    let foreign = offer.resources.iter().find(|it| !it.metadata().is_allocatable_to(&offer.role));
    assert!(foreign.is_none(), "{foreign:?} is offered to role {}", offer.role);
}

/// Once nothing goes wrong any more, every operation has an end, and the leader has of each agent
/// what that has.
pub(super) fn not_yet(world: &World) -> Option<String> {
    for (index, driver) in world.drivers.iter().enumerate().filter(|(_, driver)| !driver.ended) {
        if let Some((id, _)) = driver.operations.waiting.iter().next() {
            return Some(format!("d{index} does not know what became of {id}"));
        }
    }
    let Some(view) = world.master_view() else { return Some("nobody leads".to_owned()) };
    view.agents.iter().filter(|row| row.connected).find_map(|row| {
        let node = world.nodes.iter().find(|node| node.id == row.id)?;
        let has = node.process.as_ref()?.agent.view().resources;
        (has != row.resources).then(|| format!("{} has {has}, not {}", row.id, row.resources))
    })
}
