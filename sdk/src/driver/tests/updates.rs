//! What the framework says of itself changes, over busy leaders and their deaths.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo},
    ids::RequestId,
    messages::scheduler::{Call, CallError, CallErrorKind, Event, Subscribe, UpdateFramework},
    role::Role,
    wishes::{AgentConstraint, OfferWishes, ResourceRequest},
};

use super::{calls, core, core_of, frame, ready, ready_as, step, subscribed, tells};
use crate::driver::{
    core::{Ask, Core, Output, Tell},
    wants::Wants,
};

fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| Role::new(name).unwrap()).collect()
}

fn info(names: &[&str]) -> FrameworkInfo {
    FrameworkInfo {
        name: "test".into(),
        user: String::new(),
        roles: roles(names),
        failover_timeout_ms: 5,
        capabilities: Capabilities::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: BTreeMap::new(),
    }
}

fn wishes(role: &str) -> BTreeMap<Role, OfferWishes> {
    let constraints = vec![vec![AgentConstraint::equals("rack", "a")]];
    [(Role::new(role).unwrap(), OfferWishes { constraints, ..OfferWishes::default() })].into()
}

fn update(core: &mut Core, names: &[&str], of: Option<BTreeMap<Role, OfferWishes>>) -> Vec<Output> {
    let info = Box::new(info(names));
    let ask = Ask::Update { info, suppressed: BTreeSet::new(), wishes: of };
    step(core, |core, out| core.ask(ask, out))
}

/// The only call, which is an update, and the id under which it is answered.
fn told(out: &[Output]) -> (&UpdateFramework, RequestId) {
    let [Output::Send(frame)] = out else { panic!("{out:?}") };
    let Call::UpdateFramework(update) = &frame.call else { panic!("{out:?}") };
    (update, frame.request.expect("an answer is asked for"))
}

fn answer(core: &mut Core, request: RequestId, kind: Option<CallErrorKind>) -> Vec<Output> {
    let error = kind.map(|kind| CallError { kind, message: String::new() });
    step(core, |core, out| core.event(frame(1, Event::Answered { request, error }), out))
}

fn reconnect(core: &mut Core, term: u64) -> (Subscribe, Vec<Output>) {
    step(core, Core::disconnected);
    let out = step(core, Core::connected);
    let [Call::Subscribe(subscribe)] = calls(&out)[..] else { panic!("{out:?}") };
    let subscribe = subscribe.clone();
    let mut out = step(core, |core, out| core.event(subscribed(term), out));
    out.retain(|output| matches!(output, Output::Send(_)));
    (subscribe, out)
}

#[test]
fn an_update_is_said_to_each_leader_until_it_is_on_record() {
    let mut core = ready();
    let out = update(&mut core, &["a", "b"], None);
    assert_eq!(told(&out).0.info, info(&["a", "b"]));
    let (subscribe, out) = reconnect(&mut core, 2);
    assert_eq!(subscribe.info.roles, roles(&["*"]), "not on record, as far as is known");
    let (update, request) = told(&out);
    assert_eq!(update.info, info(&["a", "b"]));
    // The gateway has no leader for it.
    assert_eq!(answer(&mut core, request, Some(CallErrorKind::NoLeader)), []);
    let (_, out) = reconnect(&mut core, 3);
    let request = told(&out).1;
    let out = step(&mut core, |core, out| {
        core.event(frame(3, Event::Answered { request, error: None }), out);
    });
    assert_eq!(out, [Output::Tell(Tell::Updated(Ok(())))]);
    let (subscribe, out) = reconnect(&mut core, 4);
    assert_eq!((subscribe.info, out), (info(&["a", "b"]), vec![]));
}

#[test]
fn a_busy_leader_is_asked_again_for_the_newest() {
    let mut core = ready();
    let first = told(&update(&mut core, &["a"], Some(wishes("a")))).1;
    let out = answer(&mut core, first, Some(CallErrorKind::Busy));
    assert!(matches!(out[..], [Output::Wake(_)]));
    // Wishes of a role that the newer one leaves go with it.
    let out = update(&mut core, &["b"], None);
    let (newest, second) = told(&out);
    assert_eq!(newest.wishes, Some(BTreeMap::new()));
    assert_eq!(step(&mut core, Core::ask_again), [], "the newer one is on its way");
    let out = answer(&mut core, second, None);
    assert_eq!(out, [Output::Tell(Tell::Updated(Ok(())))]);
    let third = told(&update(&mut core, &["c"], None)).1;
    answer(&mut core, third, Some(CallErrorKind::Busy));
    let out = step(&mut core, Core::ask_again);
    assert_eq!(told(&out).0.info, info(&["c"]));
}

#[test]
fn what_is_refused_changes_nothing_and_is_told() {
    let mut core = ready();
    let request = told(&update(&mut core, &["a"], None)).1;
    let out = answer(&mut core, request, Some(CallErrorKind::Invalid));
    let [Tell::Updated(Err(error))] = tells(&out)[..] else { panic!("{out:?}") };
    assert_eq!(error.kind, CallErrorKind::Invalid);
    let (subscribe, out) = reconnect(&mut core, 2);
    assert_eq!((subscribe.info.roles, out), (roles(&["*"]), vec![]));
}

#[test]
fn of_two_in_a_row_the_newer_is_told() {
    let mut core = ready();
    let first = told(&update(&mut core, &["a"], None)).1;
    let second = told(&update(&mut core, &["b"], None)).1;
    assert_eq!(answer(&mut core, first, None), []);
    let out = answer(&mut core, second, Some(CallErrorKind::Invalid));
    assert!(matches!(tells(&out)[..], [Tell::Updated(Err(_))]));
    assert_eq!(reconnect(&mut core, 2).0.info, info(&["a"]), "the first one holds");
}

#[test]
fn what_is_asked_for_after_an_update_waits_for_its_roles() {
    let mut core = ready();
    let request = told(&update(&mut core, &["a"], None)).1;
    let role = Role::new("a").unwrap();
    let requests = vec![ResourceRequest::new("cpus:1".parse().unwrap(), 2)];
    let want = |role: &Role| {
        let (role, requests) = (role.clone(), requests.clone());
        Ask::Want { role, requests, together_within_ms: None }
    };
    assert_eq!(step(&mut core, |core, out| core.ask(want(&role), out)), []);
    let wish = Ask::Wish { wishes: wishes("a") };
    assert_eq!(step(&mut core, |core, out| core.ask(wish, out)), []);
    let out = answer(&mut core, request, None);
    let expected = Call::Request { role, requests, together_within_ms: None };
    assert_eq!(calls(&out), [&expected, &Call::Wish { wishes: wishes("a") }]);
    // What was wanted in a role that is left is not wanted when it comes back to it.
    let request = told(&update(&mut core, &["b"], None)).1;
    answer(&mut core, request, None);
    let (subscribe, _) = reconnect(&mut core, 2);
    assert_eq!(subscribe.demand.unwrap().get(&Role::new("a").unwrap()), None);
}

#[test]
fn demand_in_a_new_role_is_said_again_when_the_leader_dies_first() {
    let mut core = ready();
    update(&mut core, &["a"], None);
    let role = Role::new("a").unwrap();
    let requests = vec![ResourceRequest::new("cpus:1".parse().unwrap(), 2)];
    let want = Ask::Want { role, requests, together_within_ms: None };
    step(&mut core, |core, out| core.ask(want, out));
    let (_, out) = reconnect(&mut core, 2);
    let request = told(&out).1;
    let error = None;
    let out =
        step(&mut core, |core, out| core.event(frame(2, Event::Answered { request, error }), out));
    assert!(matches!(calls(&out)[..], [Call::Request { .. }]), "{out:?}");
}

#[test]
fn suppression_goes_along() {
    let mut core = ready();
    update(&mut core, &["a", "b"], None);
    let suppress = |names: &[&str]| Ask::Suppress { roles: roles(names) };
    for names in [&["b"][..], &["elsewhere"]] {
        let out = step(&mut core, |core, out| core.ask(suppress(names), out));
        assert!(matches!(calls(&out)[..], [Call::Suppress { .. }]));
    }
    let (_, out) = reconnect(&mut core, 2);
    assert_eq!(told(&out).0.suppressed_roles, roles(&["b"]));
}

#[test]
fn roles_that_wait_for_their_wishes_go_on_waiting() {
    // The framework's only role, and wishes that are not on record yet.
    let mut core = ready_as(core_of(Wants::new(wishes("*"), &BTreeMap::new())));
    let out = update(&mut core, &["*", "a"], None);
    assert_eq!(told(&out).0.suppressed_roles, roles(&["*"]));
    // Those that come with the update are on record with it: nothing waits.
    let out = update(&mut core, &["*", "a"], Some(wishes("a")));
    let (newest, request) = told(&out);
    assert_eq!(newest.suppressed_roles, BTreeSet::new());
    let out = answer(&mut core, request, None);
    assert_eq!(calls(&out), Vec::<&Call>::new());
}

#[test]
fn an_update_before_the_first_answer_is_said_then() {
    let mut core = core();
    step(&mut core, Core::connected);
    assert_eq!(update(&mut core, &["a"], None), []);
    let mut out = step(&mut core, |core, out| core.event(subscribed(1), out));
    out.retain(|output| matches!(output, Output::Send(_)));
    assert_eq!(told(&out).0.info, info(&["a"]));
}
