//! Offers, accepts, launches, updates, kills.

use std::time::Duration;

use meshos_protocol::{
    ids::{FrameworkId, UpdateId},
    messages::{
        agent::ToLeader,
        scheduler::{Call, TaskQuery},
    },
    task::{KILL_GRACE_MAX_MS, TaskState},
};

use super::world::{World, agent, node, report, status, task, task_id};
use crate::master::{Event, MasterConfig};

fn acknowledge(name: &str, number: u8) -> Call {
    let update = UpdateId::from_bytes([number; 16]);
    Call::Acknowledge { task: task_id(name), agent: agent(1, 1), update }
}

#[test]
fn a_task_from_offer_to_offer() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    world.expect(&["propose admit agent n1", "n1 registered n1.1"]);
    let s1 = world.framework("one");
    world.expect(&["propose admit framework one", "s1 subscribed F1 #1"]);
    world.pass(10);
    world.expect(&["s1 offers O5.1 n1 cpus:4;mem:4096"]);
    world.accept(s1, &[1], vec![task("t", "cpus:1;mem:1024")]);
    world.expect(&["n1 launch F1 t cpus:1;mem:1024", "s1 ok"]);
    world.update(n1, "t", TaskState::Running, 1);
    world.expect(&["s1 update t running on n1.1 u1"]);
    world.call(s1, acknowledge("t", 1));
    world.expect(&["n1 acknowledge F1 t u1", "s1 ok"]);
    world.update(n1, "t", TaskState::Finished, 2);
    world.expect(&["s1 update t finished on n1.1 u2"]);
    assert!(world.master.view().agents.iter().all(|agent| agent.tasks == 0), "it has ended");
    // Free as soon as the end is known; what was left over is refused for five seconds.
    world.pass(10);
    world.expect(&["s1 offers O5.2 n1 cpus:4;mem:4096"]);
    world.call(s1, acknowledge("t", 2));
    world.expect(&["n1 acknowledge F1 t u2", "s1 ok"]);
    let view = world.master.view();
    assert_eq!((view.tasks.len(), view.tasks_ended.len()), (0, 1));
    assert_eq!(view.counters.tasks_ended.get(TaskState::Finished), 1);
    assert_eq!(view.counters.launches, 1);
    let ends: Vec<bool> = world.hints.iter().map(|hint| hint.launch.is_none()).collect();
    assert_eq!(ends, [false, true]);
}

/// The textbook example of two-level scheduling.
#[test]
fn the_rest_of_an_agent_is_offered_to_the_next_framework() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    let tasks = vec![task("t1", "cpus:2;mem:1024"), task("t2", "cpus:1;mem:2048")];
    world.accept(s1, &[1], tasks);
    world.expect(&["n1 launch F1 t1 cpus:2;mem:1024, t2 cpus:1;mem:2048", "s1 ok"]);
    world.framework("two");
    world.pass(10);
    world.expect(&[
        "propose admit framework two",
        "s2 subscribed F2 #1",
        "s2 offers O5.2 n1 cpus:1;mem:1024",
    ]);
}

#[test]
fn a_task_is_launched_only_within_its_offers() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    let mut nothing = task("n", "cpus:1");
    nothing.command.environment.insert("A=B".to_owned(), String::new());
    let mut patient = task("p", "cpus:0.1");
    patient.kill_grace_ms = Some(KILL_GRACE_MAX_MS + 1);
    let tasks = vec![
        task("a", "cpus:3;mem:1024"),
        task("b", "cpus:2;mem:1024"),
        task("a", "cpus:0.5;mem:32"),
        nothing,
        patient,
    ];
    world.accept(s1, &[1], tasks);
    world.expect(&[
        "s1 update b error on n1.1 (resources_exceeded)",
        "s1 update a error on n1.1 (task_invalid)",
        "s1 update n error on n1.1 (task_invalid)",
        "s1 update p error on n1.1 (task_invalid)",
        "n1 launch F1 a cpus:3;mem:1024",
        "s1 ok",
    ]);
}

#[test]
fn an_accept_of_an_offer_that_is_not_open_drops_its_tasks() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.register(2, "cpus:4;mem:4096", vec![]);
    world.pass(10);
    world.told();
    world.event(Event::AgentDisconnected { connection: n1 });
    world.expect(&["s1 rescind O5.1"]);
    world.accept(s1, &[1, 2], vec![task("a", "cpus:1;mem:32")]);
    // The other offer is free again at once.
    world.expect(&[
        "s1 update a dropped (invalid_offers)",
        "s1 ok",
        "s1 offers O5.3 n2 cpus:4;mem:4096",
    ]);
    world.accept(s1, &[], vec![task("b", "cpus:1;mem:32")]);
    world.expect(&["s1 update b dropped (invalid_offers)", "s1 ok"]);
    world.accept(s1, &[3, 3], vec![task("c", "cpus:1;mem:32")]);
    world.expect(&["s1 update c dropped on n2.1 (invalid_offers)", "s1 ok"]);
}

#[test]
fn offers_of_one_agent_are_merged_and_the_rest_is_refused() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:2;mem:2048")]);
    // The rest comes back after the refusal of five seconds, and then also what the task gives back.
    world.told();
    world.pass(4_980);
    world.expect(&[]);
    world.pass(30);
    world.expect(&["s1 offers O5.2 n1 cpus:2;mem:2048"]);
    world.update(n1, "a", TaskState::Finished, 1);
    world.pass(10);
    world.expect(&["s1 update a finished on n1.1 u1", "s1 offers O5.3 n1 cpus:2;mem:2048"]);
    world.accept(s1, &[2, 3], vec![task("b", "cpus:4;mem:4096")]);
    world.expect(&["n1 launch F1 b cpus:4;mem:4096", "s1 ok"]);
}

#[test]
fn declined_offers_come_back_after_their_filter_or_a_revive() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    let offer = |world: &World| vec![*world.offers.keys().next_back().unwrap()];
    world.told();
    let offers = offer(&world);
    world.call(s1, Call::Decline { offers, refuse_ms: Some(60_000) });
    world.pass(59_000);
    world.expect(&["s1 ok"]);
    world.pass(2_000);
    world.expect(&["s1 offers O5.2 n1 cpus:4;mem:4096"]);
    let offers = offer(&world);
    world.call(s1, Call::Decline { offers, refuse_ms: Some(60_000) });
    world.call(s1, Call::Revive { roles: [].into() });
    world.pass(10);
    world.expect(&["s1 ok", "s1 ok", "s1 offers O5.3 n1 cpus:4;mem:4096"]);
}

#[test]
fn an_offer_times_out_only_while_others_wait() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.framework("one");
    world.pass(10);
    world.told();
    world.pass(600_000);
    world.expect(&[]);
    world.framework("two");
    world.pass(10);
    world.expect(&[
        "propose admit framework two",
        "s2 subscribed F2 #1",
        "s1 rescind O5.1",
        "s2 offers O5.2 n1 cpus:4;mem:4096",
    ]);
    world.pass(60_100);
    world.expect(&["s2 rescind O5.2", "s1 offers O5.3 n1 cpus:4;mem:4096"]);
}

#[test]
fn a_kill_reaches_the_agent_now_or_when_it_is_back() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128"), task("b", "cpus:1;mem:128")]);
    world.update(n1, "b", TaskState::Running, 1);
    world.told();
    let kill = |name: &str| Call::Kill { task: task_id(name), agent: None, grace_ms: None };
    world.call(s1, kill("a"));
    world.expect(&["n1 kill F1 a", "s1 ok"]);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.call(s1, kill("b"));
    world.call(s1, kill("nobody"));
    world.expect(&["s1 ok", "s1 update nobody unknown (reconciliation)", "s1 ok"]);
    let reports = vec![
        report("a", TaskState::Killed, &[(TaskState::Killed, 2)]),
        report("b", TaskState::Running, &[(TaskState::Running, 1)]),
    ];
    world.register(1, "cpus:4;mem:4096", reports);
    world.expect(&[
        "n1 registered n1.1",
        "s1 update a killed on n1.1 u2",
        "s1 update b running on n1.1 u1",
        "n1 kill F1 b",
    ]);
}

#[test]
fn a_task_that_ended_behind_an_unacknowledged_update_frees_its_resources() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:1;mem:128", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    world.update(n1, "a", TaskState::Running, 1);
    world.told();
    let framework = FrameworkId(1);
    let ended =
        ToLeader::TaskEnded { framework, task: task_id("a"), state: TaskState::Failed, at: None };
    world.say(n1, ended);
    world.pass(10);
    world.expect(&["s1 offers O5.2 n1 cpus:1;mem:128"]);
    world.call(s1, acknowledge("a", 1));
    world.update(n1, "a", TaskState::Failed, 2);
    world.call(s1, acknowledge("a", 2));
    world.expect(&[
        "n1 acknowledge F1 a u1",
        "s1 ok",
        "s1 update a failed on n1.1 u2",
        "n1 acknowledge F1 a u2",
        "s1 ok",
    ]);
    assert_eq!(world.master.view().counters.tasks_ended.get(TaskState::Failed), 1);
}

#[test]
fn an_older_update_does_not_bring_a_task_back() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:1;mem:128", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    world.update(n1, "a", TaskState::Killing, 1);
    world.update(n1, "a", TaskState::Running, 2);
    assert_eq!(world.master.view().tasks.iter().next().unwrap().state, TaskState::Killing);
    world.update(n1, "a", TaskState::Finished, 3);
    world.update(n1, "a", TaskState::Running, 2);
    assert!(world.master.view().tasks.is_empty());
    // States that only a master tells are not taken from an agent, nor is the agent's own name.
    world.told();
    world.say(n1, ToLeader::Update { status: status(1, "a", TaskState::Unreachable, None) });
    world.expect(&[]);
}

#[test]
fn reconciliation_answers_what_is_known() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128"), task("b", "cpus:1;mem:128")]);
    world.update(n1, "a", TaskState::Running, 1);
    world.told();
    world.call(s1, Call::Reconcile { tasks: vec![] });
    world.expect(&[
        "s1 update a running on n1.1 (reconciliation)",
        "s1 update b staging on n1.1 (reconciliation)",
        "s1 ok",
    ]);
    let query = |name: &str, on: Option<u64>, pending| TaskQuery {
        task: task_id(name),
        agent: on.map(|number| agent(number, 1)),
        pending,
    };
    let tasks = vec![
        query("b", Some(1), true),
        query("x", Some(1), false),
        query("y", Some(1), true),
        query("z", Some(7), false),
        query("w", None, false),
    ];
    world.call(s1, Call::Reconcile { tasks });
    world.expect(&[
        "s1 update b staging on n1.1 (reconciliation)",
        "s1 update x gone on n1.1 (reconciliation)",
        "s1 update y dropped on n1.1 (leader_changed)",
        "s1 update z unknown on n7.1 (reconciliation)",
        "s1 update w unknown (reconciliation)",
        "s1 ok",
    ]);
}

/// What the framework has not acknowledged comes in its turn; no answer runs ahead of it.
#[test]
fn reconciliation_does_not_run_ahead_of_updates() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    world.update(n1, "a", TaskState::Running, 1);
    let framework = FrameworkId(1);
    let (task, state) = (task_id("a"), TaskState::Finished);
    world.say(n1, ToLeader::TaskEnded { framework, task, state, at: None });
    world.told();
    world.call(s1, Call::Reconcile { tasks: vec![] });
    world.expect(&["s1 update a running on n1.1 (reconciliation)", "s1 ok"]);
    world.call(s1, acknowledge("a", 1));
    world.told();
    world.call(s1, Call::Reconcile { tasks: vec![] });
    world.expect(&["s1 ok"]);
}

/// But what the master infers itself is not held back by an update that waits.
#[test]
fn reconciliation_tells_that_an_agent_is_unreachable() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128")]);
    world.update(n1, "a", TaskState::Running, 1);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(80_000);
    world.told();
    world.call(s1, Call::Reconcile { tasks: vec![] });
    world.expect(&["s1 update a unreachable on n1.1 (reconciliation)", "s1 ok"]);
}

#[test]
fn limits_of_tasks_drop_what_is_too_much() {
    let mut config = MasterConfig::default();
    config.limits.tasks_per_framework_max = 2;
    config.batch = Duration::ZERO;
    let mut world = World::with(config);
    world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    let tasks = ["a", "b", "c"].map(|name| task(name, "cpus:1;mem:32")).into();
    world.accept(s1, &[1], tasks);
    world.expect(&[
        "s1 update c dropped on n1.1 (too_many_tasks)",
        "n1 launch F1 a cpus:1;mem:32, b cpus:1;mem:32",
        "s1 ok",
    ]);
}

/// The agent may be steps ahead of what the framework has acknowledged; an answer must not be.
#[test]
fn reconciliation_never_runs_ahead_of_updates_that_wait_for_their_turn() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    world.accept(s1, &[1], vec![task("t", "cpus:1;mem:1024")]);
    world.update(n1, "t", TaskState::Running, 1);
    let (framework, state) = (FrameworkId(1), TaskState::Finished);
    world.say(n1, ToLeader::TaskEnded { framework, task: task_id("t"), state, at: None });
    world.told();
    let ask = || Call::Reconcile {
        tasks: vec![TaskQuery { task: task_id("t"), agent: None, pending: false }],
    };
    world.call(s1, ask());
    world.expect(&["s1 update t running on n1.1 (reconciliation)", "s1 ok"]);
    world.call(s1, acknowledge("t", 1));
    world.told();
    world.call(s1, ask());
    world.expect(&["s1 ok"]);
    world.update(n1, "t", state, 2);
    world.expect(&["s1 update t finished on n1.1 u2"]);
}

/// The same port on two agents is two things.
#[test]
fn what_a_framework_holds_on_several_agents_adds_up_by_amounts() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096;ports:[1-2]", vec![]);
    let n2 = world.register(2, "cpus:4;mem:4096;ports:[1-2]", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    for (connection, offer, name) in [(n1, 1, "a"), (n2, 2, "b")] {
        world.accept(s1, &[offer], vec![task(name, "cpus:1;mem:1024;ports:[1-1]")]);
        world.update(connection, name, TaskState::Running, u8::try_from(offer).unwrap());
    }
    let used = |world: &World| world.master.view().frameworks.iter().next().unwrap().used.clone();
    assert_eq!(used(&world), "cpus:2;mem:2048".parse().unwrap());
    let first = world.master.view().tasks.iter().find(|task| task.node_id == node(1)).cloned();
    let first = first.unwrap();
    world.update(n1, first.id.as_str(), TaskState::Finished, 3);
    assert_eq!(used(&world), "cpus:1;mem:1024".parse().unwrap());
}

#[test]
fn the_newest_ended_tasks_are_kept_for_readers_up_to_a_limit() {
    assert_eq!(MasterConfig::default().ended_tasks_max, 1_000);
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    for number in 1..=1_005_u64 {
        world.pass(5_010);
        let name = format!("t{number}");
        world.accept(s1, &[number], vec![task(&name, "cpus:1;mem:1024")]);
        world.update(n1, &name, TaskState::Finished, 1);
        world.call(s1, acknowledge(&name, 1));
        world.told();
    }
    let view = world.master.view();
    let kept: Vec<&str> = view.tasks_ended.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(kept.len(), 1_000);
    assert_eq!((kept[0], kept[999]), ("t6", "t1005"), "the newest, oldest first");
    assert_eq!(view.tasks.len(), 0);
}
