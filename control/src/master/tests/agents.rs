//! Agents that come, go and come back.

use meshos_protocol::{
    ids::{RequestId, Term},
    messages::{
        agent::ToLeader,
        scheduler::{Call, RescindCause, TaskQuery},
    },
    task::{TaskReport, TaskState},
    time::Wall,
};

use super::world::{World, agent, node, report, status, task, task_id};
use crate::{
    master::{Event, NodeState, OperatorCall},
    registry::{AgentState, Command},
};

/// One agent, one framework `s1`, tasks `a` (running) and `b` (sent, nothing heard).
fn with_tasks() -> (World, crate::master::ConnectionId) {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:1;mem:128"), task("b", "cpus:1;mem:128")]);
    world.update(n1, "a", TaskState::Running, 1);
    world.told();
    (world, n1)
}

#[test]
fn a_lost_stream_rescinds_and_a_long_loss_makes_unreachable() {
    let (mut world, n1) = with_tasks();
    world.pass(5_100);
    world.expect(&["s1 offers O5.2 n1 cpus:2;mem:3840"]);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.expect(&["s1 rescind O5.2"]);
    assert_eq!(world.rescinds.last().unwrap().1, RescindCause::Agent);
    world.pass(74_000);
    world.expect(&[]);
    world.pass(2_000);
    world.expect(&[
        "propose n1.1 unreachable",
        "s1 update a unreachable on n1.1 (agent_unreachable)",
        "s1 update b unreachable on n1.1 (agent_unreachable)",
        "s1 agent lost n1.1",
    ]);
    let view = world.master.view();
    let row = view.agents.iter().next().unwrap();
    assert_eq!((row.state, row.connected), (NodeState::Unreachable, false));
    assert!(row.since.is_some());
    // It comes back with both.
    let reports = vec![report("a", TaskState::Running, &[]), report("b", TaskState::Staging, &[])];
    world.register(1, "cpus:4;mem:4096", reports);
    world.pass(10);
    world.expect(&[
        "propose n1.1 active",
        "n1 registered n1.1",
        "s1 update a running on n1.1 (agent_reregistered)",
        "s1 update b staging on n1.1 (agent_reregistered)",
        "s1 offers O5.3 n1 cpus:2;mem:3840",
    ]);
}

#[test]
fn gossip_shortens_the_wait_but_does_not_decide() {
    let (mut world, n1) = with_tasks();
    world.event(Event::PeerDown { node: node(1) });
    world.pass(200_000);
    assert!(!world.told().iter().any(|line| line.contains("propose")));
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(19_000);
    assert!(!world.told().iter().any(|line| line.contains("propose")));
    // Alive again: the long wait holds. Dead again: the short one is over already.
    world.event(Event::PeerUp { node: node(1) });
    world.pass(5_000);
    world.expect(&[]);
    world.event(Event::PeerDown { node: node(1) });
    assert_eq!(world.told()[0], "propose n1.1 unreachable");
}

#[test]
fn a_new_master_that_is_told_of_the_dead_waits_for_them_the_short_time() {
    let (world, _) = with_tasks();
    let mut next = world.next_leader();
    next.event(Event::PeerDown { node: node(1) });
    next.pass(19_000);
    next.expect(&[]);
    next.pass(2_000);
    assert_eq!(next.told()[0], "propose n1.1 unreachable");
}

#[test]
fn a_node_that_comes_and_goes_while_gossip_calls_it_dead_is_waited_for_the_short_time() {
    let (mut world, n1) = with_tasks();
    world.event(Event::PeerDown { node: node(1) });
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(10_000);
    let reports = vec![report("a", TaskState::Running, &[]), report("b", TaskState::Staging, &[])];
    let n1 = world.register(1, "cpus:4;mem:4096", reports);
    world.told();
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(19_000);
    assert!(!world.told().iter().any(|line| line.contains("propose")));
    world.pass(2_000);
    assert_eq!(world.told()[0], "propose n1.1 unreachable");
}

#[test]
fn a_node_that_was_dead_before_its_agent_was_admitted_is_dead_still() {
    let mut world = World::new();
    world.event(Event::PeerDown { node: node(1) });
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    world.told();
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(21_000);
    world.expect(&["propose n1.1 unreachable"]);
}

#[test]
fn a_node_that_gossip_forgets_is_as_dead_as_before_while_it_is_waited_for() {
    let (mut world, n1) = with_tasks();
    world.event(Event::PeerDown { node: node(1) });
    world.event(Event::AgentDisconnected { connection: n1 });
    world.event(Event::PeerForgotten { node: node(1) });
    world.pass(21_000);
    assert!(world.told().contains(&"propose n1.1 unreachable".to_owned()));
}

#[test]
fn an_agent_that_says_it_leaves_is_waited_for_the_short_time_until_it_comes_back() {
    let (mut world, n1) = with_tasks();
    world.say(n1, ToLeader::Leaving);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(10_000);
    // It opens a stream and loses it before it has registered: it has started again.
    let n1 = world.connect(1);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.told();
    world.pass(30_000);
    assert!(!world.told().iter().any(|line| line.contains("propose")));
    let reports = vec![report("a", TaskState::Running, &[]), report("b", TaskState::Staging, &[])];
    let n1 = world.register(1, "cpus:4;mem:4096", reports);
    world.say(n1, ToLeader::Leaving);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.told();
    world.pass(21_000);
    assert!(world.told().contains(&"propose n1.1 unreachable".to_owned()));
}

#[test]
fn a_node_beyond_the_limit_is_refused_and_told_what_to_do() {
    let config = crate::master::MasterConfig { nodes_max: 2, ..Default::default() };
    let mut world = World::with(config);
    world.register(1, "cpus:4;mem:4096", vec![]);
    let n2 = world.register(2, "cpus:4;mem:4096", vec![]);
    world.told();
    world.register(3, "cpus:4;mem:4096", vec![]);
    let refused = format!(
        "n3 refused: node {} is refused: the cluster has reached its limit of 2 nodes; ",
        node(3)
    );
    let remedy = "declare a node that is not needed gone with `meshos gone NODE --yes`, or start another cluster";
    world.expect(&[&format!("{refused}{remedy}")]);
    // Those on record are taken back, however full the cluster is.
    world.event(Event::AgentDisconnected { connection: n2 });
    world.register(2, "cpus:4;mem:4096", vec![]);
    world.expect(&["n2 registered n2.1"]);
    // One that cannot be reached still has its place, and is named.
    let n2 = *world.connections.iter().rev().find(|(_, number)| **number == 2).unwrap().0;
    world.event(Event::AgentDisconnected { connection: n2 });
    world.pass(76_000);
    world.told();
    world.register(3, "cpus:4;mem:4096", vec![]);
    assert!(world.told().pop().unwrap().contains("; 1 of them cannot be reached: declare those"));
    // Declared gone, it makes room.
    let call = OperatorCall::MarkAgentGone { agent: agent(2, 1) };
    world.event(Event::Operator { request: RequestId(1), call });
    world.told();
    world.register(3, "cpus:4;mem:4096", vec![]);
    world.expect(&[
        "close n3: a newer stream of the same node replaces it",
        "propose admit agent n3",
        "n3 registered n3.1",
    ]);
    assert_eq!(world.master.view().counters.agents_admitted, 3);
}

#[test]
fn admissions_under_way_count_towards_the_limit() {
    let config = crate::master::MasterConfig { nodes_max: 2, ..Default::default() };
    let mut world = World::with(config);
    world.commits = false;
    for number in 1..=3 {
        world.register(number, "cpus:4;mem:4096", vec![]);
    }
    let told = world.told();
    assert_eq!(told[..2], ["propose admit agent n1", "propose admit agent n2"]);
    assert!(told[2].starts_with("n3 refused: "), "{told:?}");
    world.commit();
    world.expect(&["n1 registered n1.1", "n2 registered n2.1"]);
}

#[test]
fn dead_strangers_are_held_up_to_a_limit() {
    let mut config = crate::master::MasterConfig::default();
    config.limits.strangers_down_max = 2;
    let mut world = World::with(config);
    let n9 = world.register(8, "cpus:4;mem:4096", vec![]);
    world.event(Event::PeerDown { node: node(101) });
    world.event(Event::PeerDown { node: node(102) });
    world.event(Event::PeerDown { node: node(1) });
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    // There is always room for a node on record.
    world.event(Event::PeerDown { node: node(8) });
    world.told();
    world.event(Event::AgentDisconnected { connection: n1 });
    world.event(Event::AgentDisconnected { connection: n9 });
    world.pass(21_000);
    world.expect(&["propose n8.1 unreachable"]);
}

#[test]
fn what_the_agent_does_not_know_after_a_reconnect_is_gone_or_dropped() {
    let (mut world, n1) = with_tasks();
    world.event(Event::AgentDisconnected { connection: n1 });
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.expect(&[
        "n1 registered n1.1",
        "s1 update a gone on n1.1 (agent_forgot)",
        "s1 update b dropped on n1.1 (agent_disconnected)",
    ]);
    world.pass(10);
    world.expect(&["s1 offers O5.2 n1 cpus:4;mem:4096"]);
}

#[test]
fn a_newer_stream_replaces_the_older() {
    let (mut world, n1) = with_tasks();
    let newer = world.connect(1);
    world.expect(&["close n1: a newer stream of the same node replaces it"]);
    world.update(n1, "b", TaskState::Running, 2);
    world.expect(&[]);
    let mut registration = world.registration(1, "cpus:4;mem:4096");
    registration.tasks = vec![report("a", TaskState::Running, &[])];
    registration.more = true;
    world.say(newer, ToLeader::Register(registration));
    // Nothing happens before the whole report is in.
    world.pass(10);
    world.expect(&[]);
    let tasks = vec![report("b", TaskState::Running, &[(TaskState::Running, 2)])];
    world.say(newer, ToLeader::Report { tasks, more: false });
    world.expect(&[
        "n1 registered n1.1",
        "s1 update b running on n1.1 u2",
        "s1 offers O5.2 n1 cpus:2;mem:3840",
    ]);
}

#[test]
fn streams_that_break_the_protocol_are_closed() {
    let mut world = World::new();
    let connection = world.connect(1);
    let mut registration = world.registration(1, "cpus:4;mem:4096");
    registration.fence.term = Term(4);
    world.say(connection, ToLeader::Register(registration));
    world.expect(&["close n1: it registered under the fence of another term or cluster"]);
    let connection = world.connect(1);
    let registration = world.registration(2, "cpus:4;mem:4096");
    world.say(connection, ToLeader::Register(registration));
    world.expect(&["close n1: it registered under the id of another node"]);
    let connection = world.register(1, "cpus:4;mem:4096", vec![]);
    world.told();
    let registration = world.registration(1, "cpus:4;mem:4096");
    world.say(connection, ToLeader::Register(registration));
    world.expect(&["close n1: it registered twice on one stream"]);
    let connection = world.connect(2);
    world.say(connection, ToLeader::Update { status: status(1, "a", TaskState::Running, Some(1)) });
    world.expect(&[]);
}

#[test]
fn nothing_follows_an_admission_before_it_is_committed() {
    let mut world = World::new();
    world.commits = false;
    let first = world.register(1, "cpus:4;mem:4096", vec![]);
    world.expect(&["propose admit agent n1"]);
    world.pass(10);
    world.expect(&[]);
    // The stream is replaced meanwhile: the commit serves the newer one.
    let mut early = world.registration(1, "cpus:4;mem:4096");
    early.agent = None;
    let second = world.connect(1);
    world.say(second, ToLeader::Register(early));
    assert_ne!(first, second);
    world.told();
    world.commit();
    world.expect(&["n1 registered n1.1"]);
}

#[test]
fn an_agent_that_returns_while_its_loss_is_committed_is_taken_back_after() {
    let (mut world, n1) = with_tasks();
    world.commits = false;
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(80_000);
    world.register(1, "cpus:4;mem:4096", vec![report("a", TaskState::Running, &[])]);
    world.expect(&["propose n1.1 unreachable"]);
    world.commit();
    world.expect(&[
        "s1 update a unreachable on n1.1 (agent_unreachable)",
        "s1 update b unreachable on n1.1 (agent_unreachable)",
        "s1 agent lost n1.1",
        "propose n1.1 active",
        "n1 registered n1.1",
        "s1 update a running on n1.1 (agent_reregistered)",
        "s1 update b dropped on n1.1 (agent_disconnected)",
        "s1 offers O5.2 n1 cpus:3;mem:3968",
    ]);
}

#[test]
fn a_task_that_ended_while_its_agent_was_away_keeps_its_start() {
    let (mut world, n1) = with_tasks();
    world.event(Event::AgentDisconnected { connection: n1 });
    let steps = [(TaskState::Running, 2), (TaskState::Finished, 3)];
    world.register(1, "cpus:4;mem:4096", vec![report("b", TaskState::Finished, &steps)]);
    let view = world.master.view();
    let mut all = view.tasks.iter().chain(view.tasks_ended.iter());
    let shown = all.find(|task| task.id == task_id("b")).unwrap();
    assert_eq!(shown.state, TaskState::Finished);
    assert!(shown.started_at.is_some(), "{shown:?}");
}

#[test]
fn the_next_leader_is_told_when_a_task_began() {
    let (world, _) = with_tasks();
    let mut next = world.next_leader();
    let started_at = Some(Wall(8));
    let told = TaskReport { started_at, ..report("a", TaskState::Running, &[]) };
    next.register(1, "cpus:4;mem:4096", vec![told]);
    let view = next.master.view();
    let shown = view.tasks.iter().find(|task| task.id == task_id("a")).unwrap();
    assert_eq!((shown.launched_at, shown.started_at), (None, started_at));
}

#[test]
fn an_agent_declared_gone_ends_with_its_tasks_and_registers_anew() {
    let (mut world, n1) = with_tasks();
    world.event(Event::AgentDisconnected { connection: n1 });
    let request = RequestId(7);
    let call = OperatorCall::MarkAgentGone { agent: agent(1, 1) };
    world.event(Event::Operator { request, call: call.clone() });
    world.expect(&[
        "propose n1.1 gone",
        "operator 7 ok",
        "s1 update a gone_by_operator on n1.1 (agent_gone)",
        "s1 update b gone_by_operator on n1.1 (agent_gone)",
        "s1 agent lost n1.1",
    ]);
    assert_eq!(world.master.view().agents.iter().next().unwrap().state, NodeState::Gone);
    world.event(Event::Operator { request, call });
    assert!(world.told()[0].starts_with("operator 7 Invalid"));
    // It comes back: with the id it is told that it is gone, without the id it is admitted.
    let registration = world.registration(1, "cpus:4;mem:4096");
    assert_eq!(registration.agent, Some(agent(1, 1)));
    let n1 = world.connect(1);
    world.say(n1, ToLeader::Register(registration.clone()));
    world.expect(&["n1 gone"]);
    let anew = meshos_protocol::messages::agent::Registration { agent: None, ..registration };
    world.say(n1, ToLeader::Register(anew));
    world.pass(10);
    world.expect(&[
        "propose admit agent n1",
        "n1 registered n1.2",
        "s1 offers O5.2 n1 cpus:4;mem:4096",
    ]);
    let view = world.master.view();
    assert_eq!(view.agents.len(), 1, "the gone id is shown no more");
}

#[test]
fn totals_may_change_at_a_re_registration() {
    let (mut world, n1) = with_tasks();
    world.event(Event::AgentDisconnected { connection: n1 });
    let tasks = || vec![report("a", TaskState::Running, &[]), report("b", TaskState::Running, &[])];
    let n1 = world.register(1, "cpus:1;mem:200", tasks());
    world.pass(10);
    assert!(!world.told().iter().any(|line| line.contains("offers")), "more is used than there is");
    world.event(Event::AgentDisconnected { connection: n1 });
    world.register(1, "cpus:8;mem:4096", tasks());
    world.pass(10);
    assert!(world.told().contains(&"s1 offers O5.2 n1 cpus:6;mem:3840".to_owned()));
}

#[test]
fn an_agent_without_cpus_or_memory_is_never_offered() {
    let mut world = World::new();
    world.register(1, "cpus:4", vec![]);
    world.register(2, "mem:4096", vec![]);
    world.framework("one");
    world.told();
    world.pass(60_000);
    world.expect(&[]);
}

#[test]
fn a_draining_agent_keeps_its_tasks_and_is_not_offered() {
    let (mut world, _) = with_tasks();
    world.pass(5_100);
    world.told();
    let proposal = meshos_protocol::ids::ProposalId(1);
    let command = Command::SetAgentState { agent: agent(1, 1), state: AgentState::Draining };
    // An earlier leader's word may be applied late; this one is of a newer term, to be applied.
    world.apply(crate::registry::Entry { term: Term(6), proposal, command });
    world.pass(60_000);
    world.expect(&["s1 rescind O5.2", "n1 drain true"]);
    assert_eq!(world.master.view().agents.iter().next().unwrap().state, NodeState::Draining);
    assert_eq!(world.master.view().tasks.len(), 2);
}

#[test]
fn questions_wait_for_the_agents_report() {
    let (mut world, n1) = with_tasks();
    world.event(Event::AgentDisconnected { connection: n1 });
    let mut world = world.next_leader();
    let s = world.open("p");
    world.subscribe(s, super::world::subscribe_as(1, Some(1)));
    world.told();
    let query =
        |name: &str, pending| TaskQuery { task: task_id(name), agent: Some(agent(1, 1)), pending };
    let tasks = vec![query("a", true), query("b", true), query("c", true), query("d", false)];
    world.call(s, Call::Reconcile { tasks });
    let kill = Call::Kill { task: task_id("e"), agent: Some(agent(1, 1)), grace_ms: None };
    world.call(s, kill);
    world.expect(&["s2 ok", "s2 ok"]);
    let reports = vec![
        report("a", TaskState::Finished, &[(TaskState::Running, 1), (TaskState::Finished, 2)]),
        report("e", TaskState::Running, &[]),
    ];
    world.register(1, "cpus:4;mem:4096", reports);
    world.expect(&[
        "n1 registered n1.1",
        "s2 update a running on n1.1 u1",
        "s2 update a running on n1.1 (reconciliation)",
        "s2 update b dropped on n1.1 (leader_changed)",
        "s2 update c dropped on n1.1 (leader_changed)",
        "n1 kill F1 e",
    ]);
}

#[test]
fn what_was_told_to_be_unreachable_and_was_not_known_is_told_anew_when_its_agent_is_back() {
    let (mut world, n1) = with_tasks();
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(76_000);
    // This leader knows of no task: those were launched while hints could not reach it.
    world.hints.clear();
    let mut world = world.next_leader();
    let s = world.open("p");
    world.subscribe(s, super::world::subscribe_as(1, Some(1)));
    world.told();
    let query =
        |name: &str, pending| TaskQuery { task: task_id(name), agent: Some(agent(1, 1)), pending };
    let tasks = vec![query("a", false), query("b", true), query("c", false)];
    world.call(s, Call::Reconcile { tasks });
    world.expect(&[
        "s2 update a unreachable on n1.1 (reconciliation)",
        "s2 update b unreachable on n1.1 (reconciliation)",
        "s2 update c unreachable on n1.1 (reconciliation)",
        "s2 ok",
    ]);
    world.register(1, "cpus:4;mem:4096", vec![report("a", TaskState::Running, &[])]);
    let told = world.told();
    let updates: Vec<&str> =
        told.iter().map(String::as_str).filter(|line| line.contains("update")).collect();
    assert_eq!(
        updates,
        [
            "s2 update a running on n1.1 (agent_reregistered)",
            "s2 update b dropped on n1.1 (leader_changed)",
            "s2 update c gone on n1.1 (reconciliation)",
        ]
    );
}

#[test]
fn a_task_that_ended_while_its_agent_was_away_is_listed_among_the_ended_ones_once() {
    let (mut world, n1) = with_tasks();
    world.event(Event::AgentDisconnected { connection: n1 });
    let ended = |world: &World| -> Vec<String> {
        let view = world.master.view();
        let row =
            |task: &std::sync::Arc<crate::master::TaskView>| format!("{} {}", task.id, task.state);
        view.tasks_ended.iter().map(row).collect()
    };
    assert_eq!(ended(&world), Vec::<String>::new());
    let reports = || {
        vec![
            report("a", TaskState::Finished, &[(TaskState::Finished, 2)]),
            report("b", TaskState::Running, &[]),
        ]
    };
    world.register(1, "cpus:4;mem:4096", reports());
    assert_eq!(ended(&world), ["a finished"]);
    // Not acknowledged yet, it is reported again.
    world.register(1, "cpus:4;mem:4096", reports());
    assert_eq!(ended(&world), ["a finished"]);
}
