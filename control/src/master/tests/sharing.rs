//! Quota, policies, wishes and stated demand, from the call to the offer.

use std::{collections::BTreeMap, time::Duration};

use meshos_alloc::{OfferMode, Quota, SkipRule};
use meshos_protocol::{
    demand::Demands,
    framework::Capabilities,
    ids::{OfferId, RequestId, SessionId, Term},
    messages::{
        agent::ToLeader,
        scheduler::{Call, RescindCause, Subscribe},
    },
    resources::Resources,
    role::Role,
    wishes::{OfferWishes, ResourceRequest},
};

use super::world::{World, agent, info, subscribe, subscribe_as, task};
use crate::master::{Event, MasterConfig, OperatorCall};

fn role(name: &str) -> Role {
    Role::new(name).unwrap()
}

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

fn in_role(world: &mut World, name: &str) -> SessionId {
    let session = world.open("p");
    let mut framework = info(name);
    framework.roles = [role(name)].into();
    framework.capabilities = Capabilities { gang_offers: true, ..Capabilities::default() };
    world.subscribe(session, Subscribe { info: framework, ..subscribe(name) });
    session
}

fn operate(world: &mut World, number: u64, call: OperatorCall) {
    world.event(Event::Operator { request: RequestId(number), call });
}

fn guarantee(text: &str) -> Quota {
    Quota { guarantee: resources(text).quantities(), limit: BTreeMap::new() }
}

#[test]
fn a_guarantee_brings_lent_offers_back() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    in_role(&mut world, "lender");
    world.pass(10);
    let (role, quota) = (role("safe"), guarantee("cpus:4"));
    operate(&mut world, 1, OperatorCall::SetQuota { role, quota, force: false });
    world.told();
    in_role(&mut world, "safe");
    world.pass(10);
    let told = world.told();
    let place = |what: &str| told.iter().position(|line| line.contains(what));
    let (rescind, offers) = (place("rescind O5.1"), place("offers O5.2 n1 cpus:4;mem:4096"));
    assert!(rescind.is_some() && rescind < offers, "{told:?}");
    assert_eq!(world.rescinds.last().unwrap().1, RescindCause::Guarantee);
}

#[test]
fn a_quota_that_cannot_be_kept_needs_force() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.told();
    let call = |force| {
        let (role, quota) = (role("safe"), guarantee("cpus:5"));
        OperatorCall::SetQuota { role, quota, force }
    };
    operate(&mut world, 1, call(false));
    operate(&mut world, 2, call(true));
    world.expect(&[
        "operator 1 Invalid: with this quota of role safe, cpus:5 would be guaranteed to all roles \
         together, but the cluster has cpus:4; guarantee less, or insist with --force (`force` in the API)",
        "propose quota safe",
        "operator 2 ok",
    ]);
}

#[test]
fn a_change_of_policy_loses_no_offer_and_outlives_the_leader() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    let calm = in_role(&mut world, "calm");
    world.pass(10);
    world.told();
    let urgent = OperatorCall::SetPriority { role: role("urgent"), priority: 5 };
    operate(&mut world, 1, urgent);
    operate(&mut world, 2, OperatorCall::SetPolicy { policy: "priority".parse().unwrap() });
    world.expect(&[
        "propose priority urgent 5",
        "operator 1 ok",
        "propose policy priority",
        "operator 2 ok",
    ]);
    // The open offer is as good as before.
    world.accept(calm, &[1], vec![task("a", "cpus:1;mem:128")]);
    assert!(world.told().iter().any(|line| line.contains("launch")));
    let next = world.next_leader();
    assert_eq!(next.log.policy(), Some("priority"));
    assert_eq!(next.log.priorities().count(), 1);
}

#[test]
fn wishes_are_kept_on_record_and_bound_what_is_offered() {
    let mut world = World::new();
    let session = in_role(&mut world, "picky");
    world.told();
    let minimum = vec![resources("mem:8192").quantities()];
    let wishes = OfferWishes { minimum, ..OfferWishes::default() };
    world.call(session, Call::Wish { wishes: [(role("picky"), wishes.clone())].into() });
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.register(2, "cpus:4;mem:8192", vec![]);
    world.pass(10);
    let told = world.told();
    assert!(told.contains(&"propose wishes F1".to_owned()), "{told:?}");
    let offers: Vec<_> = told.iter().filter(|line| line.contains("offers")).collect();
    assert_eq!(offers, ["s1 offers O5.1 n2 cpus:4;mem:8192"]);
    world.call(session, Call::Wish { wishes: [(role("other"), wishes)].into() });
    world.expect(&["s1 refused Invalid"]);
}

#[test]
fn what_is_asked_for_is_offered_and_a_gang_that_fails_is_told() {
    let mut world = World::new();
    let session = in_role(&mut world, "batch");
    world.told();
    let ask = |text: &str, together_within_ms| Call::Request {
        role: role("batch"),
        requests: vec![ResourceRequest { agent: None, resources: resources(text), count: 2 }],
        together_within_ms,
    };
    world.call(session, ask("cpus:1;mem:64", None));
    world.register(1, "cpus:8;mem:4096", vec![]);
    world.pass(10);
    let told = world.told();
    assert!(told.iter().any(|line| line.ends_with("n1 cpus:2;mem:128")), "{told:?}");
    world.call(session, ask("cpus:5;mem:64", Some(1000)));
    world.pass(1500);
    let told = world.told();
    assert!(told.iter().any(|line| line.ends_with("unfulfilled batch")), "{told:?}");
}

#[test]
fn demand_that_is_stated_later_takes_back_what_is_beyond_it() {
    let mut world = World::new();
    let session = in_role(&mut world, "batch");
    world.register(1, "cpus:8;mem:4096", vec![]);
    world.pass(10);
    world.told();
    let requests = vec![ResourceRequest::new(resources("cpus:1;mem:64"), 2)];
    let ask = Call::Request { role: role("batch"), requests, together_within_ms: None };
    world.call(session, ask.clone());
    let taken_back = vec![(OfferId { term: Term(5), number: 1 }, RescindCause::NotRequested)];
    assert_eq!(std::mem::take(&mut world.rescinds), taken_back, "at once");
    world.pass(10);
    let told = world.told();
    assert!(told.iter().any(|line| line.ends_with("O5.2 n1 cpus:2;mem:128")), "{told:?}");
    // Said again, nothing changes.
    world.call(session, ask);
    world.pass(10);
    assert_eq!((world.rescinds.len(), world.told().len()), (0, 1), "it is answered");
}

#[test]
fn the_slower_of_two_optimistic_accepts_is_dropped() {
    let mut world =
        World::with(MasterConfig { offers: OfferMode::Optimistic, ..MasterConfig::default() });
    world.register(1, "cpus:4;mem:4096", vec![]);
    let one = in_role(&mut world, "one");
    let two = in_role(&mut world, "two");
    world.pass(10);
    world.told();
    world.accept(two, &[2], vec![task("a", "cpus:3;mem:128")]);
    let told = world.told();
    assert!(told.iter().any(|line| line.contains("launch")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("rescind O5.1")), "{told:?}");
    assert_eq!(world.rescinds.last().unwrap().1, RescindCause::Taken);
    world.accept(one, &[1], vec![task("b", "cpus:1;mem:128")]);
    let told = world.told();
    assert!(
        told.iter().any(|line| line.contains("dropped") && line.contains("(offer_taken)")),
        "{told:?}"
    );
    // An offer that there never was is another matter.
    world.accept(one, &[77], vec![task("c", "cpus:1;mem:128")]);
    let told = world.told();
    assert!(told.iter().any(|line| line.contains("(invalid_offers)")), "{told:?}");
}

#[test]
fn the_offers_of_a_gang_are_taken_back_together() {
    let mut world = World::new();
    let session = in_role(&mut world, "batch");
    let ask = Call::Request {
        role: role("batch"),
        requests: vec![ResourceRequest::new(resources("cpus:3;mem:64"), 2)],
        together_within_ms: Some(60_000),
    };
    world.call(session, ask);
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.pass(10);
    world.register(2, "cpus:4;mem:4096", vec![]);
    world.pass(10);
    assert_eq!(world.offers.len(), 2, "all of it at once");
    world.told();
    let draining = OperatorCall::SetDraining { agent: agent(1, 1), draining: true };
    operate(&mut world, 1, draining);
    let told = world.told();
    let taken_back = |number: u64| {
        let id = format!("O5.{number}");
        told.iter().any(|line| line.contains("rescind") && line.contains(&id))
    };
    assert!(taken_back(1) && taken_back(2), "{told:?}");
}

/// A framework wants six processors on two nodes of four at once, and has them.
fn gang_on_two_nodes(within_ms: u64) -> (World, SessionId) {
    let mut world = World::new();
    let session = in_role(&mut world, "batch");
    let ask = Call::Request {
        role: role("batch"),
        requests: vec![ResourceRequest::new(resources("cpus:3;mem:64"), 2)],
        together_within_ms: Some(within_ms),
    };
    world.call(session, ask);
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.register(2, "cpus:4;mem:4096", vec![]);
    world.pass(10);
    assert_eq!(world.offers.len(), 2, "all of it at once");
    world.told();
    (world, session)
}

#[test]
fn a_gang_that_loses_a_node_is_tried_again_and_told_unfulfilled_when_its_time_is_over() {
    let (mut world, _) = gang_on_two_nodes(60_000);
    let draining = |draining| OperatorCall::SetDraining { agent: agent(1, 1), draining };
    operate(&mut world, 1, draining(true));
    world.pass(1_000);
    let told = world.told();
    assert!(!told.iter().any(|line| line.contains("offers")), "half of it is no use: {told:?}");
    operate(&mut world, 2, draining(false));
    world.pass(1_000);
    let told = world.told();
    let offered =
        |told: &[String], of: &str| told.iter().any(|it| it.contains("offers") && it.contains(of));
    assert!(offered(&told, "n1") && offered(&told, "n2"), "{told:?}");
    operate(&mut world, 3, draining(true));
    world.told();
    world.pass(70_000);
    let told = world.told();
    assert!(told.iter().any(|line| line.ends_with("unfulfilled batch")), "{told:?}");
}

#[test]
fn a_gang_that_was_answered_in_part_is_not_tried_again() {
    let (mut world, session) = gang_on_two_nodes(60_000);
    let declined: Vec<_> = world.offers.keys().copied().take(1).collect();
    let other = world.offers.values().last().unwrap().agent;
    world.call(session, Call::Decline { offers: declined, refuse_ms: Some(0) });
    operate(&mut world, 1, OperatorCall::SetDraining { agent: other, draining: true });
    operate(&mut world, 2, OperatorCall::SetDraining { agent: other, draining: false });
    world.told();
    world.pass(70_000);
    let told = world.told();
    assert!(!told.iter().any(|it| it.contains("offers") || it.contains("unfulfilled")), "{told:?}");
}

#[test]
fn a_gang_that_its_framework_lets_lie_is_not_tried_again() {
    let (mut world, _) = gang_on_two_nodes(3_600_000);
    in_role(&mut world, "other");
    world.pass(120_000);
    let told = world.told();
    assert!(told.iter().any(|line| line.starts_with("s1 rescind")), "{told:?}");
    assert_eq!(world.rescinds.last().unwrap().1, RescindCause::TimedOut);
    assert!(!told.iter().any(|line| line.starts_with("s1 offers")), "{told:?}");
}

#[test]
fn offers_do_not_time_out_for_somebody_who_has_all_that_it_wants() {
    let mut world = World::new();
    let holder = in_role(&mut world, "holder");
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.pass(10);
    let other = in_role(&mut world, "other");
    let ask = |count| Call::Request {
        role: role("other"),
        requests: if count == 0 {
            vec![]
        } else {
            vec![ResourceRequest::new(resources("cpus:1;mem:64"), count)]
        },
        together_within_ms: None,
    };
    world.register(2, "cpus:1;mem:64", vec![]);
    world.call(other, ask(1));
    world.pass(10);
    world.accept(other, &[2], vec![task("t", "cpus:1;mem:64")]);
    world.told();
    world.pass(120_000);
    let told = world.told();
    assert!(!told.iter().any(|line| line.contains("rescind")), "it has what it wants: {told:?}");
    world.call(other, ask(5));
    world.pass(120_000);
    let told = world.told();
    let line = format!("s{} rescind", holder.0);
    assert!(told.iter().any(|told| told.starts_with(&line)), "{told:?}");
}

/// One holds the first node whole for longer than it may while another has all it asked for on the second.
fn an_overdue_offer_that_nobody_wants() -> (World, SessionId) {
    let mut world = World::new();
    let holder = in_role(&mut world, "holder");
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.pass(10_000);
    let other = in_role(&mut world, "other");
    let requests = vec![ResourceRequest::new(resources("cpus:1;mem:64"), 1)];
    world.call(other, Call::Request { role: role("other"), requests, together_within_ms: None });
    world.register(2, "cpus:1;mem:64", vec![]);
    world.pass(55_000);
    assert!(world.rescinds.is_empty(), "nobody waits");
    assert_eq!(world.offers.len(), 2);
    (world, holder)
}

#[test]
fn offers_that_are_overdue_time_out_for_somebody_who_loses_what_it_was_offered() {
    let (mut world, holder) = an_overdue_offer_that_nobody_wants();
    world.told();
    operate(&mut world, 1, OperatorCall::SetDraining { agent: agent(2, 1), draining: true });
    world.pass(10);
    let told = world.told();
    let line = format!("s{} rescind O5.1", holder.0);
    assert!(told.iter().any(|told| told.starts_with(&line)), "{told:?}");
    assert!(told.iter().any(|line| line.contains("n1 cpus:1;mem:64")), "{told:?}");
}

#[test]
fn offers_that_are_overdue_time_out_for_somebody_whose_own_offer_has() {
    let (mut world, holder) = an_overdue_offer_that_nobody_wants();
    // Whoever has stated no demand waits for all there is, so the second offer is taken back in its time.
    world.pass(10_000);
    let taken: Vec<_> = world.rescinds.iter().map(|(id, cause)| (id.number, *cause)).collect();
    let timed_out = |number| (number, RescindCause::TimedOut);
    assert_eq!(taken, [timed_out(2), timed_out(1)], "{holder:?}");
    assert!(world.told().iter().any(|line| line.contains("n1 cpus:1;mem:64")));
}

#[test]
fn the_first_change_after_a_pause_is_answered_at_once_and_the_next_ones_together() {
    let config = MasterConfig { batch: Duration::from_millis(20), ..MasterConfig::default() };
    let mut world = World::with(config);
    in_role(&mut world, "a");
    world.pass(100);
    let offers = |world: &mut World| -> Vec<String> {
        world.told().into_iter().filter(|line| line.contains(" offers ")).collect()
    };
    world.register(1, "cpus:4;mem:4096", vec![]);
    assert_eq!(offers(&mut world), ["s1 offers O5.1 n1 cpus:4;mem:4096"]);
    world.register(2, "cpus:4;mem:4096", vec![]);
    world.register(3, "cpus:4;mem:4096", vec![]);
    assert!(offers(&mut world).is_empty());
    world.pass(20);
    assert_eq!(offers(&mut world).len(), 1, "both agents are offered in one run");
}

#[test]
fn a_new_leader_offers_a_limited_role_nothing_before_all_agents_are_known() {
    let mut world = World::new();
    let limit = resources("cpus:4").quantities();
    let limit = limit.iter().map(|(name, amount)| (name.clone(), amount)).collect();
    let quota = Quota { limit, ..Quota::default() };
    operate(&mut world, 1, OperatorCall::SetQuota { role: role("few"), quota, force: false });
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.register(2, "cpus:4;mem:4096", vec![]);
    let limited = in_role(&mut world, "few");
    world.pass(10);
    let first = *world.offers.keys().next().unwrap();
    let used = vec![task("t", "cpus:3;mem:64")];
    world.accept(limited, &[first.number], used);
    in_role(&mut world, "many");
    let node = world.offers[&first].agent.node.bits();
    let mut world = world.next_leader();
    let sessions = [("few", 1), ("many", 2)].map(|(name, id)| {
        let session = world.open("p");
        let mut framework = info(name);
        framework.roles = [role(name)].into();
        let resume = subscribe_as(id, Some(1));
        world.subscribe(session, Subscribe { info: framework, ..resume });
        session
    });
    let other = 3 - node;
    world.register(other, "cpus:4;mem:4096", vec![]);
    world.pass(10);
    let told = world.told();
    let offered = |told: &[String], session: SessionId| {
        let line = format!("s{} offers", session.0);
        told.iter().any(|told| told.starts_with(&line))
    };
    assert!(!offered(&told, sessions[0]) && offered(&told, sessions[1]), "{told:?}");
    // What it runs there shows when that agent reports, or will not.
    world.pass(60_000);
    let told = world.told();
    assert!(!offered(&told, sessions[0]), "{told:?}");
    let mut lost = world.next_leader();
    let session = lost.open("p");
    let mut framework = info("few");
    framework.roles = [role("few")].into();
    lost.subscribe(session, Subscribe { info: framework, ..subscribe_as(1, Some(1)) });
    lost.register(other, "cpus:4;mem:4096", vec![]);
    lost.pass(80_000);
    let told = lost.told();
    assert!(offered(&told, session), "the other agent is given up: {told:?}");
}

/// What a subscribe says is wanted in the role of these frameworks.
fn wanting(requests: &[(&str, u32)]) -> Demands {
    let requests: Vec<ResourceRequest> = requests
        .iter()
        .map(|(text, count)| ResourceRequest::new(resources(text), *count))
        .collect();
    let mut demands = Demands::default();
    demands.say(&role("batch"), &requests, None);
    demands
}

#[test]
fn a_new_leader_offers_what_is_wanted_and_nothing_before_it_knows() {
    let mut world = World::new();
    let session = in_role(&mut world, "batch");
    world.register(1, "cpus:8;mem:4096", vec![]);
    world.pass(10);
    let call = |demand: &Demands| {
        let stated = demand.get(&role("batch")).unwrap();
        let (role, requests) = (role("batch"), stated.requests.clone());
        Call::Request { role, requests, together_within_ms: None }
    };
    world.call(session, call(&wanting(&[("cpus:1;mem:64", 3)])));
    for (demand, expected) in [
        (Some(wanting(&[("cpus:1;mem:64", 2)])), Some("n1 cpus:2;mem:128")),
        (Some(Demands::default()), Some("n1 cpus:8;mem:4096")),
        (None, Some("n1 cpus:8;mem:4096")),
        (Some(met()), None),
        // What a leader refuses stands for nothing, and does not end the subscription.
        (Some(wanting(&[("", 2)])), Some("n1 cpus:8;mem:4096")),
    ] {
        let mut next = world.next_leader();
        next.register(1, "cpus:8;mem:4096", vec![]);
        let session = next.open("p");
        let resume = Subscribe { demand: demand.map(Box::new), ..subscribe_as(1, Some(1)) };
        next.subscribe(session, resume);
        next.pass(10);
        let told = next.told();
        let offered = told.iter().find(|line| line.contains("offers"));
        match expected {
            Some(expected) => assert!(offered.is_some_and(|it| it.ends_with(expected)), "{told:?}"),
            None => assert_eq!(offered, None),
        }
    }
}

/// All that was wanted has been launched.
fn met() -> Demands {
    let mut demands = wanting(&[("cpus:1", 1)]);
    demands.unfulfilled(&role("batch"));
    demands
}

#[test]
fn agents_of_other_regions_are_kept_for_those_who_go_there() {
    let config = MasterConfig { region: Some("eu".to_owned()), ..MasterConfig::default() };
    let mut world = World::with(config);
    for (number, domain) in [(1, Some("eu/a")), (2, Some("us/a")), (3, None)] {
        let connection = world.connect(number);
        let mut registration = world.registration(number, "cpus:4;mem:4096");
        registration.domain = domain.map(|text| text.parse().unwrap());
        world.say(connection, ToLeader::Register(registration));
    }
    in_role(&mut world, "near");
    world.pass(10);
    let offered = |world: &World, session: SessionId| -> Vec<(u64, Option<String>)> {
        let framework = world.held[&session].0;
        let offers = world.offers.values().filter(|offer| offer.framework == framework);
        let place = |offer: &meshos_protocol::framework::Offer| {
            (offer.agent.node.bits(), offer.domain.as_ref().map(ToString::to_string))
        };
        let mut places: Vec<_> = offers.map(place).collect();
        places.sort();
        places
    };
    let near = *world.held.keys().next().unwrap();
    assert_eq!(offered(&world, near), [(1, Some("eu/a".to_owned())), (3, None)]);
    let explained =
        world.master.explainer().unwrap().explain_framework(world.held[&near].0).unwrap();
    let skipped = &explained.allocator.unwrap().roles[0].skipped;
    assert_eq!(skipped.get(&SkipRule::OtherRegion), Some(&1), "{skipped:?}");

    let far = world.open("p");
    let mut framework = info("far");
    framework.capabilities = Capabilities { region_aware: true, ..Capabilities::default() };
    world.subscribe(far, Subscribe { info: framework, ..subscribe("far") });
    world.pass(10);
    assert_eq!(offered(&world, far), [(2, Some("us/a".to_owned()))]);
    let view = world.master.view();
    let domains: Vec<_> = view.agents.iter().map(|row| row.domain.clone()).collect();
    assert_eq!(domains.iter().filter(|domain| domain.is_some()).count(), 2);
}
