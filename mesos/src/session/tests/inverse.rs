//! What the framework is asked about nodes that will be away.

use meshos_protocol::{
    maintenance::{InverseOffer, Unavailability},
    messages::scheduler::{Call, Event},
};
use serde_json::json;

use super::*;

impl World {
    fn asked(&mut self, number: u64) -> OfferId {
        let id = OfferId { term: Term(self.term), number };
        let offer = InverseOffer {
            id,
            framework: FrameworkId(7),
            agent: agent(),
            hostname: "h".into(),
            unavailability: Unavailability { start: Wall(7_000), duration_ms: None },
        };
        self.event(Event::InverseOffers { offers: vec![offer] });
        id
    }
}

#[test]
fn inverse_offers_are_told_answered_and_taken_back() {
    let mut world = World::subscribed();
    let ids = [1, 2, 3].map(|number| world.asked(number));
    let (events, _) = world.told();
    assert_eq!(events[0]["type"], "INVERSE_OFFERS");
    let told = &events[0]["inverse_offers"]["inverse_offers"][0];
    assert_eq!(told["id"]["value"], format!("{PREFIX}-{}", ids[0]));
    assert_eq!(told["agent_id"]["value"], format!("{PREFIX}-S{}", agent()));
    assert_eq!(told["unavailability"], json!({"start": {"nanoseconds": 7_000_000_000_u64}}));
    let named = |ids: &[OfferId]| -> Vec<Value> {
        ids.iter().map(|id| json!({"value": format!("{PREFIX}-{id}")})).collect()
    };
    // Those that it does not say are asked again after five seconds, as Mesos does.
    world.call("ACCEPT_INVERSE_OFFERS", json!({"inverse_offer_ids": named(&ids[..1])}));
    let accept = Call::AcceptInverseOffers { offers: vec![ids[0]], refuse_ms: Some(5_000) };
    assert_eq!(world.sent(), [accept]);
    let body = json!({"inverse_offer_ids": named(&ids[..2]), "filters": {"refuse_seconds": 1.5}});
    world.call("DECLINE_INVERSE_OFFERS", body);
    let decline = Call::DeclineInverseOffers { offers: vec![ids[1]], refuse_ms: Some(1_500) };
    assert_eq!(world.sent(), [decline]);
    world.event(Event::RescindInverseOffers { offers: ids.into() });
    let (events, _) = world.told();
    assert_eq!(events.len(), 1, "the others are answered: {events:?}");
    assert_eq!(events[0]["type"], "RESCIND_INVERSE_OFFER");
    let id = &events[0]["rescind_inverse_offer"]["inverse_offer_id"]["value"];
    assert_eq!(*id, format!("{PREFIX}-{}", ids[2]));
}

#[test]
fn they_die_with_their_leader() {
    let mut world = World::subscribed();
    let id = world.asked(1);
    world.take();
    world.close();
    let (events, _) = world.told();
    assert_eq!(events[0]["type"], "RESCIND_INVERSE_OFFER", "{events:?}");
    world.open();
    world.subscribe();
    world.take();
    let named = json!([{"value": format!("{PREFIX}-{id}")}]);
    world.call("ACCEPT_INVERSE_OFFERS", json!({ "inverse_offer_ids": named }));
    assert_eq!(world.sent(), []);
}
