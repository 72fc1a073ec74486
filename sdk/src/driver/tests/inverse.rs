//! What is asked about nodes that will be away.

use meshos_protocol::{
    ids::OfferId,
    maintenance::{InverseOffer, Unavailability},
    messages::scheduler::{Call, Event},
    time::Wall,
};

use super::{FRAMEWORK, agent, calls, core, frame, ready, step, subscribed, tells};
use crate::driver::core::{Ask, Core, Output, Tell};

fn id(number: u64) -> OfferId {
    OfferId { term: meshos_protocol::ids::Term(1), number }
}

fn asked(core: &mut Core, numbers: &[u64]) -> Vec<Output> {
    let offer = |number: &u64| InverseOffer {
        id: id(*number),
        framework: FRAMEWORK,
        agent: agent(),
        hostname: "here".into(),
        unavailability: Unavailability { start: Wall(7), duration_ms: Some(8) },
    };
    let offers = numbers.iter().map(offer).collect();
    step(core, |core, out| core.event(frame(1, Event::InverseOffers { offers }), out))
}

fn answer(core: &mut Core, numbers: &[u64], accepts: bool) -> Vec<Output> {
    let offers = numbers.iter().map(|number| id(*number)).collect();
    let ask = Ask::AnswerInverse { offers, accepts, refuse_ms: Some(9) };
    step(core, |core, out| core.ask(ask, out))
}

#[test]
fn each_is_told_and_answered_once() {
    let mut core = ready();
    let out = asked(&mut core, &[1, 2]);
    let told = tells(&out);
    assert!(matches!(told[..], [Tell::Inverse(offers)] if offers.len() == 2), "{told:?}");
    let out = answer(&mut core, &[1, 3], true);
    let accept = Call::AcceptInverseOffers { offers: vec![id(1)], refuse_ms: Some(9) };
    assert_eq!(calls(&out), [&accept]);
    assert!(answer(&mut core, &[1, 3], false).is_empty(), "there is nothing to answer");
    let out = answer(&mut core, &[2], false);
    let decline = Call::DeclineInverseOffers { offers: vec![id(2)], refuse_ms: Some(9) };
    assert_eq!(calls(&out), [&decline]);
}

#[test]
fn those_that_need_no_answer_are_told_once() {
    let mut core = ready();
    asked(&mut core, &[1, 2, 3]);
    answer(&mut core, &[3], true);
    let rescind = Event::RescindInverseOffers { offers: vec![id(1), id(3), id(9)] };
    let out = step(&mut core, |core, out| core.event(frame(1, rescind), out));
    assert_eq!(tells(&out), [&Tell::InverseRescinded(id(1))]);
    // The rest dies with the way to the leader.
    let out = step(&mut core, Core::disconnected);
    assert_eq!(tells(&out), [&Tell::InverseRescinded(id(2)), &Tell::Disconnected]);
    assert!(answer(&mut core, &[2], true).is_empty());
}

#[test]
fn nothing_is_answered_to_a_leader_that_has_not_asked() {
    let mut core = core();
    step(&mut core, Core::connected);
    assert!(answer(&mut core, &[1], true).is_empty());
    step(&mut core, |core, out| core.event(subscribed(1), out));
    asked(&mut core, &[1]);
    // The next one asks by other names.
    let out = step(&mut core, |core, out| core.event(subscribed(2), out));
    assert!(tells(&out).contains(&&Tell::InverseRescinded(id(1))));
    assert!(answer(&mut core, &[1], true).is_empty());
}
