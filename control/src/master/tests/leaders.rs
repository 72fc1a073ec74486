//! What a new leader makes of what the last one left, and what is left of a deposed one.

use meshos_protocol::{messages::scheduler::Call, task::TaskState, time::Wall};

use super::world::{World, report, subscribe_as, task};
use crate::master::{Event, MasterConfig};

/// One agent, F1 on `s1`, task `a` running and `b` sent.
fn before() -> World {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128"), task("b", "cpus:1;mem:128")]);
    world.update(n1, "a", TaskState::Running, 1);
    world
}

#[test]
fn a_new_leader_offers_an_agent_only_after_its_report() {
    let mut world = before().next_leader();
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, Some(1)));
    world.pass(10);
    world.expect(&["s2 subscribed F1 #1"]);
    let reports = vec![report("a", TaskState::Running, &[(TaskState::Running, 1)])];
    world.register(1, "cpus:4;mem:4096", reports);
    world.pass(10);
    // `b` never arrived; nobody has asked for it, so nobody is told.
    world.expect(&[
        "n1 registered n1.1",
        "s2 update a running on n1.1 u1",
        "s2 offers O6.1 n1 cpus:3;mem:3968",
    ]);
}

#[test]
fn an_agent_that_does_not_come_back_is_lost_with_the_tasks_of_the_hints() {
    let mut world = before().next_leader();
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, Some(1)));
    world.told();
    // Known only by hint: no answer until the agent reports or is given up.
    world.call(s2, Call::Reconcile { tasks: vec![] });
    world.pass(74_000);
    world.expect(&["s2 ok"]);
    world.pass(2_000);
    world.expect(&[
        "propose n1.1 unreachable",
        "s2 update a unreachable on n1.1 (agent_unreachable)",
        "s2 update b unreachable on n1.1 (agent_unreachable)",
        "s2 agent lost n1.1",
    ]);
    // The next leader knows that, and the agent may still come back.
    let mut world = world.next_leader();
    let s3 = world.open("p");
    world.subscribe(s3, subscribe_as(1, Some(1)));
    world.call(s3, Call::Reconcile { tasks: vec![] });
    world.expect(&[
        "s3 subscribed F1 #1",
        "s3 update a unreachable on n1.1 (reconciliation)",
        "s3 update b unreachable on n1.1 (reconciliation)",
        "s3 ok",
    ]);
    world.register(1, "cpus:4;mem:4096", vec![report("a", TaskState::Running, &[])]);
    assert!(world.told().contains(&"s3 update a running on n1.1 (agent_reregistered)".to_owned()));
}

#[test]
fn a_framework_that_does_not_come_back_ends_by_the_clock_on_the_wall() {
    let mut world = before();
    // Lost with its leader: grace from the start of the next one's term.
    let mut next = world.next_leader();
    next.pass(29_000);
    next.expect(&[]);
    next.pass(1_100);
    next.expect(&["propose disconnect F1"]);
    // Disconnected before: what is left of its time.
    let s1 = *world.held.keys().next().unwrap();
    world.call(s1, Call::Disconnect);
    world.pass(20_000);
    let mut next = world.next_leader();
    next.pass(39_000);
    next.expect(&[]);
    next.pass(1_100);
    next.expect(&["propose close F1"]);
    // A clock that jumped back lengthens the time, and never ends it early.
    world.now.wall = Wall(0);
    let mut next = world.next_leader();
    next.pass(59_000);
    next.expect(&[]);
}

#[test]
fn a_deposed_master_is_empty_and_silent() {
    let mut world = before();
    world.told();
    world.event(Event::Deposed);
    let view = world.master.view();
    assert!(view.deposed && view.tasks.is_empty() && view.agents.is_empty());
    assert_eq!(world.master.next_deadline(), None);
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.framework("two");
    world.event(Event::Tick);
    world.expect(&[]);
    assert!(world.master.is_deposed());
}

#[test]
fn proposals_of_an_earlier_leader_that_are_applied_late_have_their_consequences() {
    let mut old = before();
    old.commits = false;
    let connection = *old.connections.keys().next().unwrap();
    old.event(Event::AgentDisconnected { connection });
    old.pass(76_000);
    let late = old.waiting.pop_front().unwrap();
    let mut world = old.next_leader();
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, Some(1)));
    let reports = vec![report("a", TaskState::Running, &[])];
    world.register(1, "cpus:4;mem:4096", reports);
    world.told();
    world.apply(late);
    world.expect(&[
        "close n1: it is on record as unreachable",
        "s2 update a unreachable on n1.1 (agent_unreachable)",
        "s2 agent lost n1.1",
    ]);
}

#[test]
fn a_view_is_json_with_the_contracts_names() {
    let mut world = before();
    world.pass(6_000);
    let view = serde_json::to_value(world.master.view()).unwrap();
    let node = &view["agents"][0];
    for name in ["id", "address", "resources", "attributes", "state", "leader", "pid"] {
        assert!(!node[name].is_null(), "{name} in {node}");
    }
    assert_eq!(node["resources"], serde_json::json!({ "cpus": 4, "mem": 4096 }));
    assert_eq!(node["used"], serde_json::json!({ "cpus": 2, "mem": 256 }));
    assert_eq!(node["state"], "active");
    let task = &view["tasks"][0];
    assert_eq!((&task["id"], &task["framework_id"]), (&"a".into(), &"F1".into()));
    assert_eq!((&task["state"], &task["node_id"]), (&"running".into(), &node["id"]));
    assert!(task.as_object().unwrap().contains_key("reason"));
    assert_eq!(view["frameworks"][0]["used"]["mem"], 256);
    assert_eq!(view["offers"][0]["resources"]["cpus"], 2);
    assert_eq!(view["roles"][0]["held"]["cpus"], 4);
    assert_eq!(view["tasks_by_state"], serde_json::json!({ "staging": 1, "running": 1 }));
}

#[test]
fn limits_bound_streams_and_questions() {
    let mut config = MasterConfig::default();
    config.limits.connections_max = 1;
    config.limits.sessions_max = 1;
    let mut world = World::with(config);
    world.connect(1);
    world.connect(2);
    world.open("p");
    world.open("p");
    world.expect(&["close n2: the limit of agent streams is reached", "close s2"]);
}
