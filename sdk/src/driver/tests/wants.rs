//! Wishes and stated demand, and who hears of them when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_protocol::{
    demand::StatedDemand,
    ids::RequestId,
    messages::scheduler::{Call, CallError, CallErrorKind, Event, Subscribe},
    role::Role,
    wishes::{AgentConstraint, OfferWishes, ResourceRequest},
};

use super::{calls, core_of, frame, launch, offer, step, subscribed, tells};
use crate::driver::{
    core::{Ask, Core, Output, Tell},
    wants::Wants,
};

fn role() -> Role {
    Role::default()
}

fn wishes() -> BTreeMap<Role, OfferWishes> {
    let constraints = vec![vec![AgentConstraint::equals("rack", "a")]];
    [(role(), OfferWishes { constraints, ..OfferWishes::default() })].into()
}

fn request(count: u32) -> Vec<ResourceRequest> {
    vec![ResourceRequest::new("cpus:1;mem:32".parse().unwrap(), count)]
}

fn wanting(demand: u32) -> Core {
    core_of(Wants::new(BTreeMap::new(), &[(role(), request(demand).into())].into()))
}

#[test]
fn what_is_wanted_together_from_the_start_is_said_so_with_the_subscribe() {
    let gang = StatedDemand::together(request(2), Duration::from_secs(5));
    let mut core = core_of(Wants::new(BTreeMap::new(), &[(role(), gang.clone())].into()));
    for term in [1, 2] {
        let out = step(&mut core, Core::connected);
        assert_eq!(subscribe(&out).demand.as_ref().unwrap().get(&role()), Some(&gang));
        let out = step(&mut core, |core, out| core.event(subscribed(term), out));
        assert_eq!(calls(&out), [] as [&Call; 0], "the subscribe has said it");
        step(&mut core, Core::disconnected);
    }
}

fn subscribe(out: &[Output]) -> &Subscribe {
    let [Call::Subscribe(subscribe)] = calls(out)[..] else { panic!("{out:?}") };
    subscribe
}

fn wanted(subscribe: &Subscribe) -> Vec<u32> {
    let demand = subscribe.demand.as_ref().unwrap().get(&role()).expect("it was said");
    demand.requests.iter().map(|request| request.count).collect()
}

/// The id under which the last of these calls is answered.
fn asked(out: &[Output]) -> RequestId {
    let request = out.iter().rev().find_map(|output| match output {
        Output::Send(frame) => frame.request,
        Output::Tell(_) | Output::Wake(_) | Output::End(_) => None,
    });
    request.expect("an answer is asked for")
}

fn answer(core: &mut Core, request: RequestId, kind: Option<CallErrorKind>) -> Vec<Output> {
    let error = kind.map(|kind| CallError { kind, message: String::new() });
    step(core, |core, out| core.event(frame(1, Event::Answered { request, error }), out))
}

#[test]
fn what_is_wanted_is_said_with_each_subscribe_less_what_was_launched() {
    let mut core = wanting(3);
    assert_eq!(wanted(subscribe(&step(&mut core, Core::connected))), [3]);
    step(&mut core, |core, out| core.event(subscribed(1), out));
    let offers = [offer(1, 1)];
    let event = frame(1, Event::Offers { offers: offers.to_vec() });
    step(&mut core, |core, out| core.event(event, out));
    launch(&mut core, "a", &offers);
    step(&mut core, Core::disconnected);
    let out = step(&mut core, Core::connected);
    // What the helper launches uses less than one of them, so nothing is taken off.
    assert_eq!(wanted(subscribe(&out)), [3]);
    step(&mut core, |core, out| core.event(subscribed(1), out));
    let offers = [offer(1, 2)];
    let event = frame(1, Event::Offers { offers: offers.to_vec() });
    step(&mut core, |core, out| core.event(event, out));
    let task = |id: &str| {
        let task = crate::TaskBuilder::shell(id, "true").resources("cpus:1;mem:32");
        task.build().unwrap()
    };
    let (offers, tasks) = (vec![offer(1, 2).id], vec![task("b"), task("c")]);
    let ask = Ask::Accept { offers, operations: Vec::new(), tasks, refuse_ms: None };
    step(&mut core, |core, out| core.ask(ask, out));
    step(&mut core, Core::disconnected);
    assert_eq!(wanted(subscribe(&step(&mut core, Core::connected))), [1]);
}

#[test]
fn what_was_said_while_nobody_listened_is_said_when_somebody_does() {
    let mut core = wanting(1);
    step(&mut core, Core::connected);
    let requests = request(5);
    let want = Ask::Want { role: role(), requests, together_within_ms: Some(7) };
    let out = step(&mut core, |core, out| core.ask(want, out));
    assert_eq!(out, [], "the subscribe was sent before, and is not answered");
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    let [Call::Request { requests, together_within_ms: Some(7), .. }] = calls(&out)[..] else {
        panic!("{out:?}");
    };
    assert_eq!(requests[0].count, 5);
    // Once is enough.
    let out = step(&mut core, |core, out| core.event(subscribed(2), out));
    assert!(calls(&out).is_empty(), "{out:?}");

    let event = frame(2, Event::Unfulfilled { role: role() });
    let out = step(&mut core, |core, out| core.event(event, out));
    assert_eq!(tells(&out), [&Tell::Unfulfilled(role())]);
    step(&mut core, Core::disconnected);
    let nothing: [u32; 0] = [];
    assert_eq!(wanted(subscribe(&step(&mut core, Core::connected))), nothing);
}

#[test]
fn roles_with_wishes_get_no_offers_before_these_are_on_record() {
    let mut core = core_of(Wants::new(wishes(), &BTreeMap::new()));
    let suppressed: BTreeSet<Role> = [role()].into();
    let out = step(&mut core, Core::connected);
    assert_eq!(subscribe(&out).suppressed_roles, suppressed);
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    assert_eq!(calls(&out), [&Call::Wish { wishes: wishes() }]);
    // A busy leader is asked again.
    let again = answer(&mut core, asked(&out), Some(CallErrorKind::Busy));
    assert!(matches!(again[..], [Output::Wake(_)]), "{again:?}");
    let out = step(&mut core, Core::ask_again);
    assert_eq!(calls(&out), [&Call::Wish { wishes: wishes() }]);
    let out = answer(&mut core, asked(&out), None);
    assert_eq!(calls(&out), [&Call::Revive { roles: suppressed.clone() }]);
    // The next leader may not have heard that.
    let out = step(&mut core, |core, out| core.event(subscribed(2), out));
    assert_eq!(calls(&out), [&Call::Revive { roles: suppressed }]);
    let mut answered = frame(2, Event::Answered { request: asked(&out), error: None });
    answered.fence.term = meshos_protocol::ids::Term(2);
    step(&mut core, |core, out| core.event(answered, out));
    let out = step(&mut core, |core, out| core.event(subscribed(3), out));
    assert!(calls(&out).is_empty(), "{out:?}");
}

#[test]
fn wishes_that_are_refused_do_not_silence_the_framework() {
    let mut core = core_of(Wants::new(wishes(), &BTreeMap::new()));
    step(&mut core, Core::connected);
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    let out = answer(&mut core, asked(&out), Some(CallErrorKind::Invalid));
    assert!(matches!(calls(&out)[..], [Call::Revive { .. }]), "{out:?}");
}

#[test]
fn a_revive_that_a_busy_leader_refused_is_asked_for_again_unless_it_was_taken_back() {
    let mut core = super::ready();
    let revive = |core: &mut Core| {
        let ask = Ask::Revive { roles: BTreeSet::new() };
        let out = step(core, |core, out| core.ask(ask, out));
        answer(core, asked(&out), Some(CallErrorKind::Busy))
    };
    revive(&mut core);
    let out = step(&mut core, Core::ask_again);
    assert_eq!(calls(&out), [&Call::Revive { roles: [role()].into() }]);
    revive(&mut core);
    let suppress = Ask::Suppress { roles: BTreeSet::new() };
    step(&mut core, |core, out| core.ask(suppress, out));
    assert_eq!(step(&mut core, Core::ask_again), []);
}

#[test]
fn newer_wishes_are_not_taken_for_told_when_the_older_are() {
    let mut core = super::ready();
    let wish = |core: &mut Core, wishes: BTreeMap<Role, OfferWishes>| {
        let out = step(core, |core, out| core.ask(Ask::Wish { wishes }, out));
        asked(&out)
    };
    let older = wish(&mut core, BTreeMap::new());
    let newer = wish(&mut core, wishes());
    answer(&mut core, older, None);
    answer(&mut core, newer, Some(CallErrorKind::Busy));
    let out = step(&mut core, Core::ask_again);
    assert_eq!(calls(&out), [&Call::Wish { wishes: wishes() }]);
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    assert_eq!(calls(&out), [&Call::Wish { wishes: wishes() }], "the next leader may not know");
    answer(&mut core, asked(&out), None);
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    assert!(calls(&out).is_empty(), "{out:?}");
}

#[test]
fn a_role_that_is_suppressed_is_not_revived_for_its_wishes() {
    let mut core = core_of(Wants::new(wishes(), &BTreeMap::new()));
    step(&mut core, Core::connected);
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    // The answer to its revive is lost with the leader.
    answer(&mut core, asked(&out), None);
    let suppress = Ask::Suppress { roles: [role()].into() };
    step(&mut core, |core, out| core.ask(suppress, out));
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    assert!(calls(&out).is_empty(), "{out:?}");
}
