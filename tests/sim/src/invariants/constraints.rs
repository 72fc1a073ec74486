//! No framework is offered an agent that its constraints on record exclude, nor one in another region
//! than the leader's unless it says that it goes there.
//!
//! Looked at when a leader makes an offer, against what that leader has on record and against where
//! the machine really stands.

use meshos_protocol::{framework::Offer, wishes::OfferWishes};

use crate::world::World;

/// Looked at whenever a leader makes an offer.
pub fn check(world: &World, leader: usize, offer: &Offer) {
    let Some(node) = world.nodes.iter().find(|node| node.id == offer.agent.node) else {
        panic!("{} is offered and no machine", offer.agent);
    };
    let place = &node.place;
    assert_eq!(offer.attributes, place.attributes(), "what is said of {}", offer.agent);
    assert_eq!(offer.domain, place.domain, "where {} is said to stand", offer.agent);
    let Some(leading) = world.nodes[leader].leading() else { return };
    let of_framework = leading.on_record.wishes.get(&offer.framework);
    let nothing = OfferWishes::default();
    let wishes = of_framework.and_then(|wishes| wishes.get(&offer.role)).unwrap_or(&nothing);
    assert!(
        place.fulfils(wishes),
        "{} in role {} is offered {} ({place:?}) and wishes for {:?}",
        offer.framework,
        offer.role,
        offer.agent,
        wishes.constraints
    );
    let region = world.region_of(leader);
    let driver = world.drivers.iter().find(|driver| driver.framework == Some(offer.framework));
    let goes_there = driver.is_none_or(|driver| driver.setup.region_aware);
    assert!(
        goes_there || !place.is_remote_to(region.as_deref()),
        "{} is offered {} in {:?}, far from the leader in {region:?}",
        offer.framework,
        offer.agent,
        place.domain
    );
}
