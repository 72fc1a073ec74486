//! Frameworks that change what they say of themselves without subscribing again.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo},
    ids::{FrameworkId, OfferId, SessionId},
    messages::scheduler::{Call, UpdateFramework},
    resources::Resources,
    role::Role,
    task::TaskState,
    wishes::{OfferWishes, ResourceRequest},
};

use super::world::{World, info, report, subscribe, subscribe_as, task, task_id};
use crate::{
    master::Event,
    registry::{LEVEL, LEVEL_FIRST},
};

fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| Role::new(name).unwrap()).collect()
}

fn in_roles(names: &[&str]) -> FrameworkInfo {
    FrameworkInfo { roles: roles(names), ..info("one") }
}

fn updated(info: FrameworkInfo) -> Call {
    let suppressed_roles = BTreeSet::new();
    Call::UpdateFramework(Box::new(UpdateFramework { info, suppressed_roles, wishes: None }))
}

/// The open offers in a role.
fn offered(world: &World, role: &str) -> Vec<OfferId> {
    let view = world.master.view();
    let of_role = view.offers.iter().filter(|offer| offer.role.as_str() == role);
    of_role.map(|offer| offer.id).collect()
}

/// Two agents and framework F1 on `s1` with offers in both of its roles.
fn in_a_and_b() -> (World, SessionId) {
    let mut world = World::new();
    let session = world.open("p");
    let mut both = subscribe("one");
    both.info.roles = roles(&["a", "b"]);
    world.subscribe(session, both);
    for number in [1, 2] {
        world.register(number, "cpus:4;mem:4096", vec![]);
        world.pass(10);
    }
    assert!(!offered(&world, "a").is_empty() && !offered(&world, "b").is_empty());
    world.told();
    (world, session)
}

#[test]
fn an_update_keeps_the_subscription_and_takes_back_what_is_offered_in_roles_left() {
    let (mut world, s1) = in_a_and_b();
    let (kept, left) = (offered(&world, "a"), offered(&world, "b"));
    world.call(s1, updated(in_roles(&["a", "c"])));
    world.pass(10);
    let left: Vec<String> = left.iter().map(ToString::to_string).collect();
    let told = world.told();
    assert_eq!(
        told[..3],
        ["propose update F1", "s1 ok", &format!("s1 rescind {}", left.join(", "))]
    );
    assert!(told[3].starts_with("s1 offers") && told.len() == 4, "{told:?}");
    // What is free again is offered in the role that it has joined, or in the one that it has kept.
    assert!(kept.iter().all(|id| offered(&world, "a").contains(id)));
    assert!(offered(&world, "b").is_empty() && !offered(&world, "c").is_empty());
    let record = world.log.framework(FrameworkId(1)).unwrap();
    assert_eq!((record.subscription.0, &record.info.roles), (1, &roles(&["a", "c"])));
}

#[test]
fn what_runs_in_a_role_that_is_left_goes_on() {
    let (mut world, s1) = in_a_and_b();
    let offer = offered(&world, "b")[0].number;
    world.accept(s1, &[offer], vec![task("t", "cpus:1;mem:128")]);
    world.call(s1, updated(in_roles(&["a"])));
    world.told();
    world.call(s1, Call::Kill { task: task_id("t"), agent: None, grace_ms: None });
    let told = world.told();
    assert!(told.iter().any(|line| line.contains("kill")), "{told:?}");
}

#[test]
fn calls_that_follow_an_update_mean_the_roles_that_it_names() {
    let (mut world, s1) = in_a_and_b();
    world.commits = false;
    world.call(s1, updated(in_roles(&["b", "c"])));
    world.call(s1, Call::Suppress { roles: roles(&["c"]) });
    let wishes = BTreeMap::from([(Role::new("c").unwrap(), OfferWishes::default())]);
    world.call(s1, Call::Wish { wishes });
    world.call(s1, Call::Suppress { roles: roles(&["a"]) });
    world.call(s1, Call::Suppress { roles: BTreeSet::new() });
    world.expect(&[
        "propose update F1",
        "propose suppress F1 1",
        "propose wishes F1",
        "s1 refused Invalid",
        "propose suppress F1 2",
    ]);
    world.commit();
    let record = world.log.framework(FrameworkId(1)).unwrap();
    assert_eq!(record.suppressed_roles, roles(&["b", "c"]));
    world.told();
    // Once all is on record, the same once more is only answered.
    world.call(s1, Call::Suppress { roles: BTreeSet::new() });
    world.call(s1, Call::Suppress { roles: roles(&["a"]) });
    world.expect(&["s1 ok", "s1 refused Invalid"]);
}

#[test]
fn an_update_that_is_said_again_is_answered() {
    let (mut world, s1) = in_a_and_b();
    let labels = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
    let said = updated(FrameworkInfo {
        name: "renamed".to_owned(),
        failover_timeout_ms: 5_000,
        hostname: "here".to_owned(),
        webui_url: "http://here/".to_owned(),
        capabilities: Capabilities { partition_aware: false, ..Capabilities::default() },
        labels,
        ..in_roles(&["a", "b"])
    });
    world.call(s1, said.clone());
    world.expect(&["propose update F1", "s1 ok"]);
    world.call(s1, said.clone());
    world.expect(&["s1 ok"]);
    let view = world.master.view();
    let shown = view.frameworks.iter().next().unwrap();
    assert_eq!((shown.name.as_str(), shown.hostname.as_str()), ("renamed", "here"));
    // The next leader has it too.
    let mut next = world.next_leader();
    let s1 = next.open("p");
    next.subscribe(s1, subscribe_as(1, Some(1)));
    next.told();
    next.call(s1, said);
    assert_eq!(next.told(), [format!("s{} ok", s1.0)]);
}

#[test]
fn what_is_wished_comes_on_record_with_the_roles() {
    let (mut world, s1) = in_a_and_b();
    let large: Resources = "mem:8192".parse().unwrap();
    let wishes = OfferWishes { minimum: vec![large.quantities()], ..OfferWishes::default() };
    let picky = |role: &str| Some([(Role::new(role).unwrap(), wishes.clone())].into());
    let update = |names: &[&str], wishes| {
        let (info, suppressed_roles) = (in_roles(names), BTreeSet::new());
        Call::UpdateFramework(Box::new(UpdateFramework { info, suppressed_roles, wishes }))
    };
    world.call(s1, update(&["c"], picky("b")));
    world.expect(&["s1 refused Invalid"]);
    world.call(s1, update(&["c"], picky("c")));
    world.pass(10_000);
    let told = world.told();
    assert!(!told.iter().any(|line| line.contains("offers")), "too small: {told:?}");
    // Unless they are said, they stand in the roles that it keeps, and go with those that it leaves.
    world.call(s1, update(&["c", "d"], None));
    let on_record = |world: &World| world.log.framework(FrameworkId(1)).unwrap().wishes.len();
    assert_eq!(on_record(&world), 1);
    world.call(s1, update(&["d"], None));
    assert_eq!(on_record(&world), 0);
    world.call(s1, update(&["d"], picky("d")));
    world.call(s1, update(&["d"], Some(BTreeMap::new())));
    assert_eq!(on_record(&world), 0);
    world.pass(10);
    assert!(world.told().iter().any(|line| line.contains("s1 offers")));
}

#[test]
fn what_breaks_a_rule_is_refused_and_changes_nothing() {
    let (mut world, s1) = in_a_and_b();
    let before = world.log.framework(FrameworkId(1)).unwrap().clone();
    let suppressed = |info, names: &[&str]| {
        let suppressed_roles = roles(names);
        Call::UpdateFramework(Box::new(UpdateFramework { info, suppressed_roles, wishes: None }))
    };
    for call in [
        updated(FrameworkInfo { user: "root".to_owned(), ..in_roles(&["a"]) }),
        updated(in_roles(&[])),
        updated(FrameworkInfo { name: String::new(), ..in_roles(&["a"]) }),
        suppressed(in_roles(&["a"]), &["b"]),
    ] {
        world.call(s1, call);
        world.expect(&["s1 refused Invalid"]);
    }
    assert_eq!(world.log.framework(FrameworkId(1)), Some(&before));
}

#[test]
fn an_update_of_an_earlier_subscription_does_not_undo_a_later_one() {
    let (mut world, s1) = in_a_and_b();
    world.commits = false;
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, None));
    world.call(s1, updated(in_roles(&["late"])));
    world.commit();
    let told = world.told();
    assert!(told.contains(&"s1 error FailedOver".to_owned()), "{told:?}");
    let record = world.log.framework(FrameworkId(1)).unwrap();
    assert_eq!(record.info.roles, roles(&["*"]));
    // Calls of the later one mean its own roles.
    world.call(s2, Call::Suppress { roles: roles(&["late"]) });
    world.expect(&["s2 refused Invalid"]);
}

#[test]
fn the_new_fail_over_time_counts() {
    let mut world = World::new();
    let s1 = world.framework("one");
    world.register(1, "cpus:4;mem:4096", vec![report("t", TaskState::Running, &[])]);
    world.call(s1, updated(FrameworkInfo { failover_timeout_ms: 1_000, ..info("one") }));
    world.call(s1, Call::Disconnect);
    world.told();
    world.pass(2_000);
    let told = world.told();
    assert!(told.contains(&"propose close F1".to_owned()), "{told:?}");
}

#[test]
fn demand_is_met_in_a_role_that_was_joined() {
    let (mut world, s1) = in_a_and_b();
    let (info, suppressed_roles) = (in_roles(&["c"]), roles(&["c"]));
    let update = UpdateFramework { info, suppressed_roles, wishes: None };
    world.call(s1, Call::UpdateFramework(Box::new(update)));
    let resources: Resources = "cpus:1;mem:64".parse().unwrap();
    let requests = vec![ResourceRequest { agent: None, resources, count: 1 }];
    let role = Role::new("c").unwrap();
    world.call(s1, Call::Request { role, requests, together_within_ms: None });
    world.pass(10);
    assert_eq!(world.master.view().offers.len(), 0, "suppressed");
    world.call(s1, Call::Revive { roles: BTreeSet::new() });
    world.pass(10);
    let told = world.told();
    assert!(told.iter().any(|line| line.ends_with("cpus:1;mem:64")), "{told:?}");
}

#[test]
fn an_update_waits_for_the_voters_to_be_upgraded() {
    let mut world = World::amid_an_upgrade();
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL_FIRST))]);
    let s1 = world.framework("one");
    world.told();
    let (session, call) = (s1, updated(in_roles(&["a"])));
    world.call(session, call.clone());
    world.expect(&["s1 refused Busy"]);
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL))]);
    world.call(session, call);
    world.expect(&[&format!("propose level {LEVEL}"), "propose update F1", "s1 ok"]);
    world.event(Event::SessionClosed { session });
    assert_eq!(world.log.framework(FrameworkId(1)).unwrap().info.roles, roles(&["a"]));
}
