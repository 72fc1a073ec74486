//! Agents that operators deactivate, or drain until nothing is left of them.

use meshos_protocol::{
    ids::{FrameworkId, RequestId, UpdateId},
    messages::{
        agent::{ExecutorReport, ToLeader},
        scheduler::Call,
    },
    role::Role,
    task::TaskState,
};

use super::{
    executors::{in_pool, pool},
    world::{World, agent, node, report, task, task_id},
};
use crate::{
    master::{
        AgentObstacle, AgentView, ConnectionId, Event, Explanation, NodeState, OperatorCall,
        Question,
    },
    registry::{LEVEL, LEVEL_FIRST},
};

fn ask(world: &mut World, call: OperatorCall) {
    world.event(Event::Operator { request: RequestId(1), call });
}

fn drain(world: &mut World, grace_max_ms: u64, mark_gone: bool) {
    ask(world, OperatorCall::Drain { agent: agent(1, 1), grace_max_ms, mark_gone });
}

fn undrain(world: &mut World) {
    ask(world, OperatorCall::SetDraining { agent: agent(1, 1), draining: false });
}

fn row(world: &World) -> AgentView {
    let view = world.master.view();
    let row = view.agents.iter().find(|row| row.id == node(1)).unwrap();
    AgentView::clone(row)
}

/// Its state, and how many tasks and unacknowledged ends are left.
fn left(world: &World) -> (NodeState, usize, usize) {
    let row = row(world);
    let drain = row.drain.expect("it drains");
    (row.state, drain.tasks_left, drain.ends_left)
}

fn acknowledge(
    world: &mut World,
    session: meshos_protocol::ids::SessionId,
    task: &str,
    number: u8,
) {
    let (task, agent) = (task_id(task), agent(1, 1));
    let update = UpdateId::from_bytes([number; 16]);
    world.call(session, Call::Acknowledge { task, agent, update });
}

/// Agent 1 with the running tasks `a` and `b`, and a framework that holds an offer of the rest.
fn with_tasks() -> (World, ConnectionId, meshos_protocol::ids::SessionId) {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128"), task("b", "cpus:1;mem:128")]);
    for (name, number) in [("a", 1), ("b", 2)] {
        world.update(n1, name, TaskState::Running, number);
        acknowledge(&mut world, s1, name, number);
    }
    world.pass(5_100);
    world.told();
    (world, n1, s1)
}

#[test]
fn a_drain_with_grace_ends_the_tasks_and_is_over_when_that_is_acknowledged() {
    let (mut world, n1, s1) = with_tasks();
    drain(&mut world, 5_000, false);
    world.expect(&[
        "propose n1.1 held drain",
        "operator 1 ok",
        "s1 rescind O5.2",
        "n1 drain true",
        "n1 kill F1 a (drain 5000)",
        "n1 kill F1 b (drain 5000)",
    ]);
    assert_eq!(left(&world), (NodeState::Draining, 2, 0));
    drain(&mut world, 5_000, false);
    world.expect(&["operator 1 ok"]);
    world.update(n1, "a", TaskState::Killed, 3);
    assert_eq!(left(&world), (NodeState::Draining, 1, 1));
    world.update(n1, "b", TaskState::Killed, 4);
    acknowledge(&mut world, s1, "a", 3);
    assert_eq!(left(&world), (NodeState::Draining, 0, 1));
    acknowledge(&mut world, s1, "b", 4);
    assert_eq!(left(&world), (NodeState::Drained, 0, 0));
    world.pass(60_000);
    assert!(!world.told().iter().any(|line| line.contains("offers")));
    undrain(&mut world);
    world.pass(10);
    world.expect(&[
        "propose n1.1 held no more",
        "operator 1 ok",
        "n1 drain false",
        "s1 offers O5.3 n1 cpus:4;mem:4096",
    ]);
    assert_eq!((row(&world).state, row(&world).drain), (NodeState::Active, None));
}

#[test]
fn an_update_that_comes_again_behind_the_end_does_not_keep_the_drain_open() {
    let (mut world, n1, s1) = with_tasks();
    drain(&mut world, 5_000, false);
    world.update(n1, "a", TaskState::Killed, 3);
    world.update(n1, "b", TaskState::Killed, 4);
    world.update(n1, "a", TaskState::Running, 1);
    acknowledge(&mut world, s1, "a", 3);
    acknowledge(&mut world, s1, "b", 4);
    assert_eq!(left(&world), (NodeState::Drained, 0, 0));
}

#[test]
fn the_next_leader_goes_on_with_what_reports_to_it() {
    let (mut world, n1, s1) = with_tasks();
    drain(&mut world, 5_000, false);
    world.update(n1, "a", TaskState::Killed, 3);
    let mut next = world.next_leader();
    assert_eq!(left(&next).0, NodeState::Draining, "not known to be empty before it reports");
    let reports = vec![
        report("a", TaskState::Killed, &[(TaskState::Killed, 3)]),
        report("b", TaskState::Running, &[]),
    ];
    let n1 = next.register(1, "cpus:4;mem:4096", reports);
    next.expect(&["n1 registered n1.1 draining", "n1 kill F1 b (drain 5000)"]);
    assert_eq!(left(&next), (NodeState::Draining, 1, 1));
    let session = next.open("p");
    next.subscribe(session, super::world::subscribe_as(1, Some(1)));
    assert_ne!(session, s1);
    next.update(n1, "b", TaskState::Killed, 4);
    acknowledge(&mut next, session, "b", 4);
    acknowledge(&mut next, session, "a", 3);
    assert_eq!(left(&next), (NodeState::Drained, 0, 0));
    // The one after that finds nothing there.
    let mut last = next.next_leader();
    last.register(1, "cpus:4;mem:4096", vec![]);
    last.expect(&["n1 registered n1.1 draining"]);
    assert_eq!(left(&last), (NodeState::Drained, 0, 0));
}

#[test]
fn a_node_that_is_away_is_drained_when_it_comes_back() {
    let (mut world, n1, _) = with_tasks();
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(80_000);
    assert_eq!(row(&world).state, NodeState::Unreachable);
    world.told();
    drain(&mut world, 0, false);
    world.expect(&["propose n1.1 held drain", "operator 1 ok"]);
    let reports = vec![report("a", TaskState::Running, &[]), report("b", TaskState::Running, &[])];
    let n1 = world.register(1, "cpus:4;mem:4096", reports);
    world.expect(&[
        "propose n1.1 active",
        "n1 registered n1.1 draining",
        "s1 update a running on n1.1 (agent_reregistered)",
        "s1 update b running on n1.1 (agent_reregistered)",
        "n1 kill F1 a (drain 0)",
        "n1 kill F1 b (drain 0)",
    ]);
    // Away once more, with a task that ended meanwhile and one that the agent has forgotten.
    world.event(Event::AgentDisconnected { connection: n1 });
    assert_eq!(left(&world), (NodeState::Draining, 2, 0));
    world.told();
    let reports = vec![report("a", TaskState::Killed, &[(TaskState::Killed, 3)])];
    world.register(1, "cpus:4;mem:4096", reports);
    world.expect(&[
        "n1 registered n1.1 draining",
        "s1 update a killed on n1.1 u3",
        "s1 update b gone on n1.1 (agent_forgot)",
    ]);
    assert_eq!(left(&world), (NodeState::Draining, 0, 1));
}

#[test]
fn a_launch_on_its_way_when_the_drain_begins_ends_in_one_state() {
    let (mut world, n1, s1) = with_tasks();
    // Sent to the agent, which says nothing of it: the kill follows it over the same stream.
    world.accept(s1, &[2], vec![task("c", "cpus:1;mem:128")]);
    drain(&mut world, 1_000, false);
    let told = world.told();
    let place = |text: &str| told.iter().position(|line| line.starts_with(text)).unwrap();
    assert!(place("n1 launch F1 c") < place("n1 kill F1 c (drain 1000)"), "{told:?}");
    // It never arrives.
    world.event(Event::AgentDisconnected { connection: n1 });
    let reports = vec![report("a", TaskState::Running, &[]), report("b", TaskState::Running, &[])];
    world.register(1, "cpus:4;mem:4096", reports);
    let told = world.told();
    let of_c: Vec<&String> = told.iter().filter(|line| line.contains(" c ")).collect();
    assert_eq!(of_c, ["s1 update c dropped on n1.1 (agent_disconnected)"]);
    // An accept that arrives after the drain was committed is told so.
    world.accept(s1, &[3], vec![task("late", "cpus:1;mem:128")]);
    world.expect(&["s1 update late dropped (invalid_offers)", "s1 ok"]);
}

#[test]
fn a_drain_ends_executors_with_their_tasks() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![in_pool("a")]);
    world.update(n1, "a", TaskState::Running, 1);
    acknowledge(&mut world, s1, "a", 1);
    world.told();
    drain(&mut world, 5_000, false);
    assert_eq!(world.told().pop().unwrap(), "n1 kill F1 a (drain 5000)");
    world.update(n1, "a", TaskState::Killed, 2);
    let told = world.told();
    assert!(told.contains(&"n1 shutdown F1 pool within 5000".to_owned()), "{told:?}");
    acknowledge(&mut world, s1, "a", 2);
    assert_eq!(row(&world).state, NodeState::Draining);
    assert_eq!(row(&world).drain.unwrap().executors_left, 1);
    // Whoever leads next has it shut down as well.
    let mut next = world.next_leader();
    let connection = next.connect(1);
    let mut registration = next.registration(1, "cpus:4;mem:4096");
    registration.executors = Some(vec![ExecutorReport {
        framework: FrameworkId(1),
        executor: pool(),
        role: Role::default(),
        resources: "cpus:1;mem:64".parse().unwrap(),
        fingerprint: 1,
    }]);
    next.say(connection, ToLeader::Register(registration));
    next.expect(&["n1 registered n1.1 draining", "n1 shutdown F1 pool within 5000"]);
    let (framework, executor) = (FrameworkId(1), pool());
    let over = ToLeader::ExecutorEnded { framework, executor, exit: None, message: String::new() };
    next.say(connection, over);
    assert_eq!(row(&next).state, NodeState::Drained);
}

#[test]
fn a_node_that_is_given_up_is_declared_gone_once_it_is_empty_and_told_to_leave() {
    let (mut world, n1, s1) = with_tasks();
    drain(&mut world, 5_000, true);
    assert_eq!(world.told().pop().unwrap(), "n1 kill F1 b (drain 5000, gone)");
    world.update(n1, "a", TaskState::GoneByOperator, 3);
    world.update(n1, "b", TaskState::GoneByOperator, 4);
    world.expect(&[
        "s1 update a gone_by_operator on n1.1 u3",
        "s1 update b gone_by_operator on n1.1 u4",
    ]);
    acknowledge(&mut world, s1, "a", 3);
    world.told();
    acknowledge(&mut world, s1, "b", 4);
    world.expect(&[
        "n1 acknowledge F1 b u4",
        "s1 ok",
        "propose n1.1 gone",
        "n1 gone, leave",
        "s1 agent lost n1.1",
    ]);
    assert_eq!(row(&world).state, NodeState::Gone);
    // Should it not have heard that, it does when it asks the next leader.
    let mut next = world.next_leader();
    next.register(1, "cpus:4;mem:4096", vec![]);
    next.expect(&["n1 gone, leave"]);
    // Started again without its id it is a new agent, which nobody holds.
    let connection = next.connect(1);
    let mut registration = next.registration(1, "cpus:4;mem:4096");
    registration.agent = None;
    next.say(connection, ToLeader::Register(registration));
    next.expect(&[
        "close n1: a newer stream of the same node replaces it",
        "propose admit agent n1",
        "n1 registered n1.2",
    ]);
}

#[test]
fn a_node_that_is_given_up_while_it_is_empty_goes_at_once_and_by_the_next_leader_too() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.told();
    world.commits = false;
    drain(&mut world, 0, true);
    world.expect(&["propose n1.1 held drain"]);
    let mut next = world.next_leader();
    world.commit();
    world.expect(&["operator 1 ok", "n1 drain true", "propose n1.1 gone", "n1 gone, leave"]);
    // A leader that knows nothing of the drain lets the agent in.
    next.register(1, "cpus:4;mem:4096", vec![]);
    next.expect(&["n1 registered n1.1"]);
}

#[test]
fn voters_are_not_given_up() {
    let (mut world, _, _) = with_tasks();
    world.voters(&[(9, Some(LEVEL)), (1, Some(LEVEL))]);
    drain(&mut world, 5_000, true);
    let told = world.told().pop().unwrap();
    assert!(told.contains("is a voter, and would be missed"), "{told}");
    assert_eq!(row(&world).state, NodeState::Active);
    drain(&mut world, 5_000, false);
    assert_eq!(world.told()[0], "propose n1.1 held drain");
}

#[test]
fn a_node_that_came_to_vote_after_its_drain_began_stays_until_it_votes_no_more() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.commits = false;
    drain(&mut world, 5_000, true);
    world.voters(&[(9, Some(LEVEL)), (1, Some(LEVEL))]);
    world.commits = true;
    world.commit();
    world.pass(60_000);
    assert_eq!(left(&world), (NodeState::Drained, 0, 0));
    world.told();
    world.voters(&[(9, Some(LEVEL))]);
    world.expect(&["propose n1.1 gone", "n1 gone, leave"]);
    // Nor is one that may vote for all that a new leader knows.
    let mut unsure = World::amid_an_upgrade();
    unsure.register(1, "cpus:4;mem:4096", vec![]);
    unsure.told();
    drain(&mut unsure, 5_000, true);
    let told = unsure.told().pop().unwrap();
    assert!(told.contains("Busy: it is just being found out which nodes vote"), "{told}");
}

#[test]
fn a_drain_ends_at_any_time_and_another_takes_its_place() {
    let (mut world, n1, _) = with_tasks();
    drain(&mut world, 60_000, false);
    world.told();
    drain(&mut world, 1_000, true);
    let told = world.told();
    assert!(told.contains(&"n1 kill F1 a (drain 1000, gone)".to_owned()), "{told:?}");
    world.event(Event::AgentDisconnected { connection: n1 });
    undrain(&mut world);
    assert_eq!(row(&world).state, NodeState::Active);
    world.told();
    // What it had not heard of is asked of it no more.
    let reports = vec![report("a", TaskState::Running, &[]), report("b", TaskState::Killing, &[])];
    world.register(1, "cpus:4;mem:4096", reports);
    let told = world.told();
    assert_eq!(told[0], "n1 registered n1.1");
    assert!(!told.iter().any(|line| line.contains("kill F1")), "{told:?}");
}

#[test]
fn a_drain_without_grace_turns_into_one_with_it_and_not_back() {
    let (mut world, _, _) = with_tasks();
    let plain = OperatorCall::SetDraining { agent: agent(1, 1), draining: true };
    ask(&mut world, plain.clone());
    assert_eq!((row(&world).state, row(&world).drain), (NodeState::Draining, None));
    drain(&mut world, 5_000, false);
    assert_eq!(left(&world), (NodeState::Draining, 2, 0));
    world.told();
    ask(&mut world, plain);
    let told = world.told().pop().unwrap();
    assert!(told.contains("its tasks are being ended: `meshos undrain"), "{told}");
    undrain(&mut world);
    assert_eq!(row(&world).state, NodeState::Active, "nothing is left of the first one");
}

#[test]
fn a_deactivated_node_keeps_its_tasks_and_is_offered_no_more_whoever_leads() {
    let (mut world, n1, _) = with_tasks();
    let (deactivate, reactivate) = (
        OperatorCall::Deactivate { agent: agent(1, 1) },
        OperatorCall::Reactivate { agent: agent(1, 1) },
    );
    ask(&mut world, deactivate.clone());
    world.expect(&[
        "propose n1.1 held deactivated",
        "operator 1 ok",
        "s1 rescind O5.2",
        "n1 drain true",
    ]);
    assert_eq!(row(&world).state, NodeState::Deactivated);
    ask(&mut world, deactivate);
    undrain(&mut world);
    let told = world.told();
    assert_eq!(told[0], "operator 1 ok");
    assert!(told[1].contains("is deactivated, not drained: `meshos reactivate"), "{told:?}");
    world.update(n1, "a", TaskState::Finished, 3);
    world.pass(60_000);
    assert!(!world.told().iter().any(|line| line.contains("offers") || line.contains("kill")));
    let Ok(Explanation::Node(told)) =
        world.master.explainer().unwrap().explain(&Question::Node(node(1)))
    else {
        panic!("the node is explained")
    };
    assert_eq!(told.obstacles, [AgentObstacle::Deactivated]);

    let mut next = world.next_leader();
    next.register(1, "cpus:4;mem:4096", vec![report("b", TaskState::Running, &[])]);
    next.expect(&["n1 registered n1.1 draining"]);
    assert_eq!(row(&next).state, NodeState::Deactivated);
    ask(&mut next, reactivate.clone());
    next.expect(&["propose n1.1 held no more", "operator 1 ok", "n1 drain false"]);
    assert_eq!(row(&next).state, NodeState::Active);
    ask(&mut next, reactivate);
    next.expect(&["operator 1 ok"]);
    // A deactivated node may be drained; what ends that has it offered again.
    ask(&mut next, OperatorCall::Deactivate { agent: agent(1, 1) });
    drain(&mut next, 5_000, false);
    let told = next.told().pop().unwrap();
    assert_eq!(told, "n1 kill F1 b (drain 5000)");
    ask(&mut next, OperatorCall::Deactivate { agent: agent(1, 1) });
    assert!(next.told().pop().unwrap().contains("its tasks are being ended"));
    ask(&mut next, OperatorCall::Reactivate { agent: agent(1, 1) });
    assert_eq!(row(&next).state, NodeState::Active);
}

#[test]
fn reactivating_ends_a_drain_of_either_kind() {
    let (mut world, _, _) = with_tasks();
    ask(&mut world, OperatorCall::SetDraining { agent: agent(1, 1), draining: true });
    ask(&mut world, OperatorCall::Reactivate { agent: agent(1, 1) });
    assert_eq!(row(&world).state, NodeState::Active);
    drain(&mut world, 5_000, false);
    ask(&mut world, OperatorCall::Reactivate { agent: agent(1, 1) });
    assert_eq!(row(&world).state, NodeState::Active);
}

#[test]
fn nothing_is_put_on_record_that_a_voter_does_not_know() {
    let mut world = World::amid_an_upgrade();
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL_FIRST))]);
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.told();
    drain(&mut world, 5_000, false);
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    let sentence =
        "drains with a grace period and deactivated nodes cannot be put on record yet: voter";
    assert!(told[0].contains(sentence), "{told:?}");
    assert!(told[0].contains("runs release 0.1, which does not know them: upgrade it"), "{told:?}");
    // The drain that every release knows is there.
    ask(&mut world, OperatorCall::SetDraining { agent: agent(1, 1), draining: true });
    assert_eq!(row(&world).state, NodeState::Drained, "there is nothing on it");
}
