//! What executors hold is counted once, and freed when they are over; what they say passes on.

use std::collections::BTreeMap;

use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind, MESSAGE_BYTES_MAX},
    ids::{AgentId, ExecutorId, FrameworkId},
    messages::{
        agent::{ExecutorReport, ToLeader},
        scheduler::Call,
    },
    resources::{Amount, Reservation, Resources, Volume},
    role::Role,
    task::{Command, Exit, TaskDescription, TaskState},
};

use super::world::{World, node, task};
use crate::master::{ConnectionId, Event};

pub(super) fn pool() -> ExecutorId {
    ExecutorId::new("pool").unwrap()
}

fn agent(number: u64) -> AgentId {
    AgentId::new(node(number), 1)
}

fn info() -> ExecutorInfo {
    ExecutorInfo {
        id: pool(),
        name: String::new(),
        kind: ExecutorKind::Custom,
        source: String::new(),
        resources: "cpus:1;mem:64".parse().unwrap(),
        command: task("any", "cpus:1").command,
        data: Vec::new(),
        shutdown_grace_ms: None,
        labels: Default::default(),
    }
}

pub(super) fn in_pool(name: &str) -> TaskDescription {
    TaskDescription {
        executor: Some(Box::new(info())),
        command: Command::none(),
        ..task(name, "cpus:1;mem:64")
    }
}

fn ended(exit: Option<Exit>) -> ToLeader {
    let framework = FrameworkId(1);
    ToLeader::ExecutorEnded { framework, executor: pool(), exit, message: String::new() }
}

/// A framework with a task in an executor on agent 1.
fn launched() -> (World, ConnectionId, meshos_protocol::ids::SessionId) {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    world.accept(s1, &[1], vec![in_pool("a")]);
    world.expect(&["n1 launch F1 a cpus:1;mem:64 starting cpus:1;mem:64", "s1 ok"]);
    (world, n1, s1)
}

#[test]
fn what_an_executor_holds_is_counted_once_and_freed_at_its_end() {
    let (mut world, n1, s1) = launched();
    world.pass(6_000);
    world.expect(&["s1 offers O5.2 n1 cpus:2;mem:3968"]);
    world.accept(s1, &[2], vec![in_pool("b")]);
    world.expect(&["n1 launch F1 b cpus:1;mem:64", "s1 ok"]);
    world.update(n1, "a", TaskState::Finished, 1);
    world.update(n1, "b", TaskState::Finished, 2);
    world.told();
    world.pass(6_000);
    world.expect(&["s1 offers O5.3 n1 cpus:3;mem:4032"]);
    world.say(n1, ended(Some(Exit::Code { code: 1 })));
    let lost = "s1 executor lost pool on n1.1 Code { code: 1 }";
    world.expect(&[lost, "s1 offers O5.4 n1 cpus:1;mem:64"]);
    // Told twice, it frees nothing more.
    world.say(n1, ended(None));
    world.pass(10);
    world.expect(&[]);
}

#[test]
fn a_task_and_its_executor_must_fit_into_the_offers_together() {
    let mut world = World::new();
    world.register(1, "cpus:1.5;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    world.accept(s1, &[1], vec![in_pool("a")]);
    world.expect(&["s1 update a error on n1.1 (resources_exceeded)", "s1 ok"]);
}

#[test]
fn descriptions_of_executors_are_judged() {
    let (mut world, _, s1) = launched();
    world.pass(6_000);
    world.told();
    let mut other = in_pool("other");
    other.executor.as_mut().unwrap().data = vec![1];
    let mut both = in_pool("both");
    both.command = task("any", "cpus:1").command;
    let mut nothing = in_pool("nothing");
    nothing.executor.as_mut().unwrap().command = Command::none();
    let mut volume = in_pool("volume");
    let by = Reservation::dynamic(Role::new("db").unwrap(), "p", BTreeMap::new(), None).unwrap();
    let of = Volume { id: "v".into(), container_path: "data".into(), principal: "p".into() };
    volume.resources += &Resources::from(of.of(Amount::whole(10), &by).unwrap());
    world.accept(s1, &[2], vec![other, both, nothing, volume]);
    world.expect(&[
        "s1 update other error on n1.1 (task_invalid)",
        "s1 update both error on n1.1 (task_invalid)",
        "s1 update nothing error on n1.1 (task_invalid)",
        "s1 update volume error on n1.1 (task_invalid)",
        "s1 ok",
    ]);
}

#[test]
fn an_agent_that_knows_no_executors_is_sent_no_task_with_one() {
    let mut world = World::new();
    let connection = world.connect(1);
    let mut registration = world.registration(1, "cpus:4;mem:4096");
    registration.executors = None;
    world.say(connection, ToLeader::Register(registration));
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    world.accept(s1, &[1], vec![in_pool("a")]);
    world.expect(&["s1 update a dropped on n1.1 (agent_too_old)", "s1 ok"]);
}

#[test]
fn messages_go_both_ways_while_the_executor_is_there() {
    let (mut world, n1, s1) = launched();
    let to = |data: Vec<u8>| Call::Message { agent: agent(1), executor: pool(), data };
    world.call(s1, to(vec![7]));
    world.expect(&["n1 message [7] for F1 pool", "s1 ok"]);
    world.call(s1, to(vec![7; MESSAGE_BYTES_MAX + 1]));
    world.call(s1, Call::Message { agent: agent(2), executor: pool(), data: vec![] });
    world.expect(&["s1 refused Invalid", "s1 refused Invalid"]);
    let from = |framework| ToLeader::ExecutorMessage {
        framework: FrameworkId(framework),
        executor: pool(),
        data: vec![8],
    };
    world.say(n1, from(1));
    world.say(n1, from(2));
    world.expect(&["s1 message [8] from pool on n1.1"]);
}

#[test]
fn a_shutdown_is_repeated_when_the_agent_comes_back_with_the_executor() {
    let (mut world, n1, s1) = launched();
    world.event(Event::AgentDisconnected { connection: n1 });
    world.call(s1, Call::ShutdownExecutor { agent: agent(1), executor: pool() });
    world.told();
    let connection = world.connect(1);
    let mut registration = world.registration(1, "cpus:4;mem:4096");
    registration.executors = Some(vec![report()]);
    world.say(connection, ToLeader::Register(registration));
    world.expect(&[
        "n1 registered n1.1",
        "s1 update a dropped on n1.1 (agent_disconnected)",
        "n1 shutdown F1 pool",
    ]);
}

fn report() -> ExecutorReport {
    ExecutorReport {
        framework: FrameworkId(1),
        executor: pool(),
        role: Default::default(),
        resources: info().resources,
        fingerprint: info().fingerprint(),
    }
}

#[test]
fn what_an_agent_reports_of_executors_replaces_what_was_known() {
    let (mut world, n1, s1) = launched();
    world.event(Event::AgentDisconnected { connection: n1 });
    let connection = world.connect(1);
    let registration = world.registration(1, "cpus:4;mem:4096");
    world.say(connection, ToLeader::Register(registration));
    world.expect(&[
        "n1 registered n1.1",
        "s1 update a dropped on n1.1 (agent_disconnected)",
        "s1 executor lost pool on n1.1",
    ]);
    world.pass(6_000);
    world.told();
    world.call(s1, Call::Teardown);
    world.told();
    // One of a framework that has ended is ended too.
    world.event(Event::AgentDisconnected { connection });
    let connection = world.connect(1);
    let mut registration = world.registration(1, "cpus:4;mem:4096");
    registration.executors = Some(vec![report()]);
    world.say(connection, ToLeader::Register(registration));
    world.expect(&["n1 registered n1.1", "n1 close F1"]);
    world.say(connection, ended(None));
    assert!(world.master.view().agents.iter().all(|agent| agent.used.is_empty()));
}
