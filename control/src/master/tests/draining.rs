//! Agents that an operator lets run empty.

use meshos_protocol::{ids::RequestId, messages::agent::ToLeader, task::TaskState};

use super::world::{World, agent, node, report, task};
use crate::master::{ConnectionId, Event, NodeState, OperatorCall};

fn operate(world: &mut World, draining: bool) {
    let call = OperatorCall::SetDraining { agent: agent(1, 1), draining };
    world.event(Event::Operator { request: RequestId(1), call });
}

fn state(world: &World) -> NodeState {
    world.master.view().agents.iter().next().unwrap().state
}

/// One agent with the running task `a`, and a framework that holds an offer of the rest.
fn with_a_task() -> (World, ConnectionId) {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    world.update(n1, "a", TaskState::Running, 1);
    world.pass(5_100);
    world.told();
    (world, n1)
}

#[test]
fn a_draining_agent_keeps_its_tasks_and_is_offered_no_more() {
    let (mut world, n1) = with_a_task();
    operate(&mut world, true);
    world.expect(&["propose n1.1 draining", "operator 1 ok", "s1 rescind O5.2", "n1 drain true"]);
    assert_eq!(state(&world), NodeState::Draining);
    world.pass(60_000);
    world.expect(&[]);
    // What its task frees is not offered either.
    world.update(n1, "a", TaskState::Finished, 2);
    world.pass(60_000);
    assert!(!world.told().iter().any(|line| line.contains("offers")));
    operate(&mut world, true);
    world.expect(&["operator 1 ok"]);

    operate(&mut world, false);
    world.pass(10);
    world.expect(&[
        "propose n1.1 active",
        "operator 1 ok",
        "n1 drain false",
        "s1 offers O5.3 n1 cpus:4;mem:4096",
    ]);
    assert_eq!(state(&world), NodeState::Active);
}

#[test]
fn an_agent_drains_on_when_it_comes_back_and_under_the_next_leader() {
    let (mut world, n1) = with_a_task();
    operate(&mut world, true);
    world.told();
    world.say(n1, ToLeader::Leaving);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(80_000);
    assert_eq!(state(&world), NodeState::Unreachable);
    operate(&mut world, false);
    let told = world.told();
    assert!(told.last().unwrap().contains("cannot be reached"), "{told:?}");
    let reports = vec![report("a", TaskState::Running, &[])];
    world.register(1, "cpus:4;mem:4096", reports.clone());
    world.pass(10);
    world.expect(&[
        "propose n1.1 draining",
        "n1 registered n1.1 draining",
        "s1 update a running on n1.1 (agent_reregistered)",
    ]);

    let mut next = world.next_leader();
    next.register(1, "cpus:4;mem:4096", reports);
    next.expect(&["n1 registered n1.1 draining"]);
    assert_eq!(state(&next), NodeState::Draining);
}

#[test]
fn what_cannot_drain_is_told_why() {
    let (mut world, n1) = with_a_task();
    let ask = |world: &mut World, number, registration| {
        let agent = agent(number, registration);
        let call = OperatorCall::SetDraining { agent, draining: true };
        world.event(Event::Operator { request: RequestId(2), call });
        world.told().pop().unwrap()
    };
    assert!(ask(&mut world, 9, 1).ends_with("is not on record"));
    world.event(Event::AgentDisconnected { connection: n1 });
    let call = OperatorCall::MarkAgentGone { agent: agent(1, 1) };
    world.event(Event::Operator { request: RequestId(3), call });
    assert!(ask(&mut world, 1, 1).ends_with("is gone already"));
}

#[test]
fn a_drain_on_its_way_holds_other_changes_back() {
    let (mut world, _) = with_a_task();
    world.commits = false;
    operate(&mut world, true);
    operate(&mut world, false);
    let told = world.told();
    assert_eq!(told[0], "propose n1.1 draining");
    assert!(told[1].starts_with("operator 1 Busy: "), "{told:?}");
    world.commit();
    assert_eq!(state(&world), NodeState::Draining);
}

#[test]
fn an_agent_that_is_connected_is_not_declared_gone() {
    let (mut world, n1) = with_a_task();
    let declare = |world: &mut World| {
        let call = OperatorCall::MarkAgentGone { agent: agent(1, 1) };
        world.event(Event::Operator { request: RequestId(7), call });
        world.told().remove(0)
    };
    let refused = declare(&mut world);
    let node = node(1);
    assert!(refused.starts_with(&format!("operator 7 Invalid: node {node} is connected")));
    assert!(refused.contains(&format!("`meshos drain {node}`")), "{refused}");
    // Neither while it registers again.
    world.event(Event::AgentDisconnected { connection: n1 });
    world.told();
    let n1 = world.connect(1);
    assert!(declare(&mut world).contains("is connected"));
    world.event(Event::AgentDisconnected { connection: n1 });
    world.told();
    assert_eq!(declare(&mut world), "propose n1.1 gone");
}
