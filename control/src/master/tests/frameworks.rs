//! Frameworks that subscribe, fail over, resume, go away and end.

use std::collections::BTreeMap;

use meshos_alloc::Quota;
use meshos_protocol::{
    ids::{FrameworkId, RequestId, Subscription},
    messages::scheduler::{Call, CallFrame, Subscribe},
    role::Role,
    task::TaskState,
};

use super::world::{World, info, report, subscribe, subscribe_as, task};
use crate::master::{Event, FrameworkState, Obstacle, OperatorCall};

/// One agent and framework F1 on `s1` with one offer open.
fn offered() -> (World, meshos_protocol::ids::SessionId) {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    (world, s1)
}

#[test]
fn nothing_is_said_before_the_admission_is_committed() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.told();
    world.commits = false;
    let s1 = world.framework("one");
    world.pass(10);
    world.expect(&["propose admit framework one"]);
    world.call(s1, Call::Revive { roles: [].into() });
    world.expect(&["s1 refused NotSubscribed"]);
    world.commit();
    world.pass(10);
    world.expect(&["s1 subscribed F1 #1", "s1 offers O5.1 n1 cpus:4;mem:4096"]);
}

#[test]
fn another_instance_takes_over_with_a_higher_number() {
    let (mut world, s1) = offered();
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, None));
    world.pass(10);
    world.expect(&[
        "propose resubscribe F1",
        "s1 error FailedOver",
        "close s1",
        "s2 subscribed F1 #2",
        "s2 offers O5.2 n1 cpus:4;mem:4096",
    ]);
    // The older one's calls and streams have no effect.
    world.event(Event::SessionClosed { session: s1 });
    world.call(s1, Call::Revive { roles: [].into() });
    let s3 = world.open("p");
    world.subscribe(s3, subscribe_as(1, Some(1)));
    world.expect(&["s3 error FailedOver", "close s3"]);
    let s4 = world.open("p");
    world.subscribe(s4, subscribe_as(1, Some(3)));
    world.expect(&["s4 error Invalid", "close s4"]);
    let stale = CallFrame {
        request: Some(RequestId(1)),
        subscription: Subscription(1),
        call: Call::Teardown,
    };
    world.event(Event::Call { session: s2, frame: stale });
    world.expect(&["s2 refused FailedOver"]);
}

#[test]
fn a_framework_belongs_to_its_principal() {
    let (mut world, _) = offered();
    for resume in [None, Some(1)] {
        let session = world.open("q");
        world.subscribe(session, subscribe_as(1, resume));
        assert!(world.told()[0].ends_with("error Forbidden"));
    }
    let session = world.open("p");
    world.subscribe(session, subscribe_as(9, None));
    world.expect(&["s4 error Invalid", "close s4"]);
}

#[test]
fn a_subscribe_must_follow_the_rules() {
    let mut world = World::new();
    let role = Role::new("r").unwrap();
    let nameless = Subscribe { info: info(""), ..subscribe("x") };
    let mut without_role = subscribe("x");
    without_role.info.roles.clear();
    let suppressed = Subscribe { suppressed_roles: [role].into(), ..subscribe("x") };
    let nonce = Subscribe { nonce: "n".repeat(65), ..subscribe("x") };
    let mut resumed = subscribe_as(1, Some(1));
    resumed.framework = None;
    for bad in [nameless, without_role, suppressed, nonce, resumed] {
        let session = world.open("p");
        world.subscribe(session, bad);
        assert!(world.told()[0].ends_with("error Invalid"));
    }
    let s6 = world.framework("good");
    world.told();
    world.call(s6, Call::Subscribe(subscribe("twice")));
    world.expect(&["s6 refused Invalid"]);
}

#[test]
fn a_subscribe_repeated_with_its_nonce_is_the_same_framework() {
    let mut world = World::new();
    let again = || Subscribe { nonce: "n".to_owned(), ..subscribe("one") };
    for _ in 0..2 {
        let session = world.open("p");
        world.subscribe(session, again());
    }
    world.expect(&[
        "propose admit framework one",
        "s1 subscribed F1 #1",
        "propose admit framework one",
        "close s1",
        "s2 subscribed F1 #1",
    ]);
}

#[test]
fn a_lost_stream_is_resumed_within_its_grace_without_a_commit() {
    let (mut world, s1) = offered();
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    let n1 = *world.connections.keys().next().unwrap();
    world.pass(5_100);
    world.told();
    world.event(Event::SessionClosed { session: s1 });
    world.update(n1, "a", TaskState::Running, 1);
    world.pass(29_000);
    world.expect(&[]);
    let state = |world: &World| world.master.view().frameworks.iter().next().unwrap().state;
    assert_eq!(state(&world), FrameworkState::Reconnecting);
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, Some(1)));
    world.pass(10);
    // What it missed: its offer is void, an update waits.
    world.expect(&[
        "s2 subscribed F1 #1",
        "s2 rescind O5.2",
        "s2 update a running on n1.1 u1",
        "s2 offers O5.3 n1 cpus:3;mem:3968",
    ]);
    assert_eq!(state(&world), FrameworkState::Subscribed);
}

#[test]
fn a_stream_through_another_gateway_replaces_the_one_before() {
    let (mut world, _) = offered();
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, Some(1)));
    world.pass(10);
    world.expect(&[
        "close s1",
        "s2 subscribed F1 #1",
        "s2 rescind O5.1",
        "s2 offers O5.2 n1 cpus:4;mem:4096",
    ]);
}

#[test]
fn a_framework_that_stays_away_ends_and_its_tasks_with_it() {
    let (mut world, s1) = offered();
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    let n1 = *world.connections.keys().next().unwrap();
    world.told();
    world.event(Event::SessionClosed { session: s1 });
    world.pass(30_000);
    world.expect(&["propose disconnect F1"]);
    world.pass(59_000);
    world.expect(&[]);
    world.pass(1_100);
    world.expect(&["propose close F1", "n1 close F1"]);
    assert_eq!(world.master.view().frameworks_closed.len(), 1);
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, None));
    world.expect(&["s2 error FrameworkRemoved", "close s2"]);
    // What the task held is free when its agent says so.
    world.framework("two");
    world.pass(10);
    world.expect(&[
        "propose admit framework two",
        "s3 subscribed F2 #1",
        "s3 offers O5.2 n1 cpus:3;mem:3968",
    ]);
    let framework = FrameworkId(1);
    let task = super::world::task_id("a");
    let state = TaskState::Killed;
    world.say(
        n1,
        meshos_protocol::messages::agent::ToLeader::TaskEnded { framework, task, state, at: None },
    );
    world.pass(10);
    world.expect(&["s3 offers O5.3 n1 cpus:1;mem:128"]);
    assert!(world.master.view().tasks.is_empty());
}

#[test]
fn a_disconnect_counts_at_once_and_a_reconnect_is_committed_first() {
    let (mut world, s1) = offered();
    world.call(s1, Call::Disconnect);
    world.expect(&["s1 ok", "close s1", "propose disconnect F1"]);
    world.pass(50_000);
    let s2 = world.open("p");
    world.commits = false;
    world.subscribe(s2, subscribe_as(1, Some(1)));
    world.expect(&["propose reconnect F1"]);
    world.commit();
    world.expect(&["s2 subscribed F1 #1", "s2 rescind O5.1", "s2 offers O5.2 n1 cpus:4;mem:4096"]);
    world.pass(100_000);
    assert!(world.waiting.is_empty(), "the old time does not run on");
}

#[test]
fn a_reconnect_that_comes_too_late_is_told_so() {
    let (mut world, s1) = offered();
    world.call(s1, Call::Disconnect);
    world.told();
    world.commits = false;
    world.pass(60_000);
    world.expect(&["propose close F1"]);
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, Some(1)));
    world.expect(&["propose reconnect F1"]);
    world.commit();
    world.expect(&["s2 error FrameworkRemoved", "close s2"]);
}

#[test]
fn teardown_answers_ends_and_closes() {
    let (mut world, s1) = offered();
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    world.told();
    world.call(s1, Call::Teardown);
    world.expect(&[
        "propose close F1",
        "s1 ok",
        "s1 error FrameworkRemoved",
        "close s1",
        "n1 close F1",
    ]);
    // An agent that brings tasks of it back is told to end them.
    world.register(2, "cpus:4;mem:4096", vec![report("z", TaskState::Running, &[])]);
    world.expect(&["propose admit agent n2", "n2 registered n2.1", "n2 close F1"]);
}

#[test]
fn suppress_and_revive_count_when_they_are_committed() {
    let (mut world, s1) = offered();
    world.commits = false;
    let role: std::collections::BTreeSet<Role> = [Role::default()].into();
    world.call(s1, Call::Suppress { roles: role.clone() });
    world.expect(&["propose suppress F1 1"]);
    world.commit();
    world.expect(&["s1 ok"]);
    world.call(s1, Call::Suppress { roles: role.clone() });
    world.expect(&["s1 ok"]);
    let offers = world.offers.keys().copied().collect();
    world.call(s1, Call::Decline { offers, refuse_ms: Some(3_600_000) });
    world.pass(60_000);
    world.expect(&["s1 ok"]);
    let picture = world.master.explainer().unwrap();
    let explanation = picture.explain_framework(FrameworkId(1)).unwrap();
    assert_eq!(explanation.circumstances.obstacles, [Obstacle::Suppressed { roles: role.clone() }]);
    world.call(s1, Call::Revive { roles: role });
    world.pass(10);
    world.expect(&["propose suppress F1 0"]);
    world.commit();
    world.pass(10);
    world.expect(&["s1 ok", "s1 offers O5.2 n1 cpus:4;mem:4096"]);
    assert_eq!(picture.explain_framework(FrameworkId(1)).unwrap(), explanation, "it is a picture");
    let now = world.master.explainer().unwrap().explain_framework(FrameworkId(1)).unwrap();
    assert_eq!((now.circumstances.obstacles, now.circumstances.open_offers), (vec![], 1));
    let foreign = Call::Suppress { roles: [Role::new("other").unwrap()].into() };
    world.call(s1, foreign);
    world.expect(&["s1 refused Invalid"]);
}

#[test]
fn two_suppressions_on_their_way_add_up() {
    let mut world = World::new();
    let s1 = world.open("p");
    let roles = ["a", "b"].map(|role| Role::new(role).unwrap());
    let mut both = subscribe("one");
    both.info.roles = roles.clone().into();
    world.subscribe(s1, both);
    world.told();
    world.commits = false;
    for role in roles {
        world.call(s1, Call::Suppress { roles: [role].into() });
    }
    world.expect(&["propose suppress F1 1", "propose suppress F1 2"]);
    world.commit();
    assert_eq!(world.log.framework(FrameworkId(1)).unwrap().suppressed_roles.len(), 2);
}

#[test]
fn a_weight_that_was_set_is_in_the_next_view() {
    let mut world = World::new();
    let role = Role::new("r").unwrap();
    for weight_millis in [2_000, 3_000] {
        let call = OperatorCall::SetWeight { role: role.clone(), weight_millis };
        world.event(Event::Operator { request: RequestId(1), call });
        let view = world.master.view();
        let shown = view.roles.iter().find(|shown| shown.role == role).unwrap();
        assert_eq!(shown.weight_millis, weight_millis);
    }
}

#[test]
fn operators_are_answered() {
    let (mut world, s1) = offered();
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    world.told();
    let task = super::world::task_id("a");
    let framework = FrameworkId(1);
    let role = Role::new("r").unwrap();
    let calls = [
        OperatorCall::KillTask { framework, task: task.clone() },
        OperatorCall::KillTask { framework: FrameworkId(2), task },
        OperatorCall::SetWeight { role: role.clone(), weight_millis: 2_000 },
        OperatorCall::SetWeight { role, weight_millis: 0 },
        OperatorCall::Teardown { framework },
        OperatorCall::Teardown { framework },
    ];
    for (number, call) in (1..).zip(calls) {
        world.event(Event::Operator { request: RequestId(number), call });
    }
    world.expect(&[
        "n1 kill F1 a",
        "operator 1 ok",
        "operator 2 Invalid: framework F2 has no task a",
        "propose weight r 2000",
        "operator 3 ok",
        "operator 4 Invalid: the weight of role r must be from 0.001 to 1000000",
        "propose close F1",
        "operator 5 ok",
        "s1 error FrameworkRemoved",
        "close s1",
        "n1 close F1",
        "operator 6 Invalid: framework F1 does not exist or has ended",
    ]);
}

#[test]
fn what_is_set_together_is_judged_as_a_whole_and_answered_once() {
    let mut world = World::new();
    let (a, b) = (Role::new("a").unwrap(), Role::new("b").unwrap());
    let mut ask = |request, call| {
        world.event(Event::Operator { request: RequestId(request), call });
        world.told()
    };
    let weights = |second| OperatorCall::SetWeights {
        weights: [(a.clone(), 2_000), (b.clone(), second)].into(),
    };
    assert_eq!(
        ask(1, weights(0)),
        ["operator 1 Invalid: the weight of role b must be from 0.001 to 1000000"]
    );
    assert_eq!(
        ask(2, weights(3_000)),
        ["propose weight a 2000", "propose weight b 3000", "operator 2 ok"]
    );
    let limit = |amount: &str| Quota {
        limit: [("cpus".parse().unwrap(), amount.parse().unwrap())].into(),
        ..Quota::default()
    };
    let quotas = |force, second: Quota| OperatorCall::SetQuotas {
        quotas: [(a.clone(), limit("1")), (b.clone(), second)].into(),
        force,
    };
    let much = Quota { guarantee: limit("9").limit.into_iter().collect(), ..Quota::default() };
    let told = ask(3, quotas(false, much.clone()));
    assert!(told[0].starts_with("operator 3 Invalid: with this quota of role b"), "{told:?}");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(ask(4, quotas(true, much)), ["propose quota a", "propose quota b", "operator 4 ok"]);
    assert_eq!(ask(5, OperatorCall::SetWeights { weights: BTreeMap::new() }), ["operator 5 ok"]);
    let many = (0..1_001).map(|number| (Role::new(&format!("r{number}")).unwrap(), 2_000));
    let told = ask(6, OperatorCall::SetWeights { weights: many.collect() });
    assert!(told[0].contains("1001 changes at once"), "{told:?}");
}
