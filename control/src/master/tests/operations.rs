//! Reservations and volumes from an accept, or an operator, to the agent and back.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{FrameworkId, OfferId, OperationId, OperationUuid, RequestId, SessionId, Term},
    messages::{
        agent::ToLeader,
        scheduler::{Accept, Call},
    },
    operation::{Operation, OperationQuery, OperationReport, OperationRequest, OperationState},
    resources::{Amount, Disk, Metadata, Reservation, Resource, ResourceName, Resources, Volume},
    role::Role,
    task::{TaskDescription, TaskState},
};

use super::world::{World, agent, task};
use crate::master::{ConnectionId, Event, MasterConfig, OperationEnd, OperationKind, OperatorCall};

fn reserved_by(text: &str, role: &str, principal: &str) -> Resources {
    let role = Role::new(role).unwrap();
    let reservation = Reservation::dynamic(role, principal, BTreeMap::new(), None).unwrap();
    let metadata = Metadata { reservation: Some(reservation), ..Metadata::UNRESERVED };
    let plain: Resources = text.parse().unwrap();
    let one =
        |it: &Resource| Resource::new(it.name().clone(), metadata.clone(), it.value().clone());
    plain.iter().map(|resource| one(resource).unwrap()).collect()
}

pub(super) fn reserved(text: &str) -> Resources {
    reserved_by(text, "db", "p")
}

fn volume(id: &str, size: i64) -> Resources {
    let disk = reserved("disk:1");
    let reservation = disk.iter().next().unwrap().metadata().reservation.clone();
    let (id, container_path) = (id.to_owned(), "data".to_owned());
    let volume = Volume { id, container_path, principal: "p".to_owned() };
    let disk = Some(Disk { source: None, volume: Some(volume) }.into());
    let metadata = Metadata { reservation, disk, ..Metadata::UNRESERVED };
    Resource::new(ResourceName::Disk, metadata, Amount::whole(size)).unwrap().into()
}

fn reserve(text: &str) -> Operation {
    Operation::Reserve { resources: reserved(text) }
}

fn id(name: &str) -> OperationId {
    OperationId::new(name).unwrap()
}

fn uuid(number: u64) -> OperationUuid {
    OperationUuid { term: Term(5), number }
}

fn outcome(number: u64, named: Option<&str>, state: OperationState) -> OperationReport {
    OperationReport {
        uuid: uuid(number),
        framework: named.map(|_| FrameworkId(1)),
        id: named.map(id),
        state,
        message: "because".to_owned(),
    }
}

impl World {
    /// A framework in role `db` with the offer of an agent.
    fn with_offer() -> (Self, ConnectionId, SessionId) {
        let mut world = Self::new();
        let n1 = world.register(1, "cpus:4;mem:4096;disk:1000", vec![]);
        let s1 = world.in_role("one", "db");
        world.pass(10);
        world.told();
        (world, n1, s1)
    }

    fn in_role(&mut self, name: &str, role: &str) -> SessionId {
        let session = self.open("p");
        let mut subscribe = super::world::subscribe(name);
        subscribe.info.roles = [Role::new(role).unwrap()].into();
        self.subscribe(session, subscribe);
        session
    }

    fn accept_with(
        &mut self,
        session: SessionId,
        offer: u64,
        operations: Vec<(Option<&str>, Operation)>,
        launch: Vec<TaskDescription>,
    ) {
        let offers = vec![OfferId { term: Term(5), number: offer }];
        let request = |(named, operation): (Option<&str>, _)| OperationRequest {
            id: named.map(id),
            operation,
        };
        let operations = operations.into_iter().map(request).collect();
        let accept = Accept { offers, operations, launch, refuse_ms: None };
        self.call(session, Call::Accept(accept));
    }

    fn answers(&mut self, connection: ConnectionId, report: OperationReport, total: Resources) {
        let judged = Some(report.uuid);
        self.say(connection, ToLeader::Operation { report, resources: total, judged });
    }

    fn operate(&mut self, call: OperatorCall) {
        self.event(Event::Operator { request: RequestId(1), call });
    }

    fn total(&self) -> Resources {
        self.master.view().agents.iter().next().unwrap().resources.clone()
    }
}

#[test]
fn a_reservation_a_volume_and_a_task_on_it_in_one_accept() {
    let (mut world, n1, s1) = World::with_offer();
    let mut launch = task("t", "cpus:1;mem:64");
    launch.resources += &volume("v", 50);
    let operations = vec![
        (Some("r"), reserve("cpus:2;disk:100")),
        (Some("c"), Operation::Create { volumes: volume("v", 50) }),
        (None, Operation::Unreserve { resources: reserved("cpus:1") }),
    ];
    world.accept_with(s1, 1, operations, vec![launch]);
    let told = world.told();
    let expected = [
        "n1 operate U5.1 reserve",
        "n1 operate U5.2 create",
        "n1 operate U5.3 unreserve",
        "n1 launch F1 t mem:64;cpus(db):1;disk(db):50",
        "s1 ok",
    ];
    assert_eq!(told, expected);
    let total = reserved("cpus:1;disk:50") + &volume("v", 50);
    let total = total + &"cpus:3;mem:4096;disk:900".parse().unwrap();
    assert_eq!(world.total(), total);

    world.answers(n1, outcome(1, Some("r"), OperationState::Finished), total.clone());
    world.expect(&["s1 operation r finished U5.1: because"]);
    world.answers(n1, outcome(3, None, OperationState::Finished), total.clone());
    world.expect(&["n1 settle U5.3"]);
    let acknowledge = Call::AcknowledgeOperation { id: id("r"), agent: agent(1, 1), uuid: uuid(1) };
    world.call(s1, acknowledge.clone());
    world.expect(&["n1 settle U5.1", "s1 ok"]);
    world.call(s1, acknowledge);
    world.expect(&["s1 ok"]);
    // What is left is offered as it is now; others get nothing of what is reserved.
    world.in_role("two", "web");
    world.update(n1, "t", TaskState::Finished, 1);
    world.told();
    world.pass(6_000);
    let offers = world.told();
    let mine = offers.iter().find(|line| line.starts_with("s1 offers")).unwrap();
    assert!(mine.contains("cpus(db):1") && mine.contains("disk(db):50"), "{offers:?}");
    let others = offers.iter().find(|line| line.starts_with("s2 offers"));
    assert!(others.is_none_or(|line| !line.contains("(db)")), "{offers:?}");
}

#[test]
fn what_breaks_a_rule_is_told_and_the_rest_goes_on() {
    let (mut world, _, s1) = World::with_offer();
    let foreign = |resources| Operation::Reserve { resources };
    let operations = vec![
        (Some("role"), foreign(reserved_by("cpus:1", "web", "p"))),
        (Some("principal"), foreign(reserved_by("cpus:1", "db", "q"))),
        (Some("much"), reserve("cpus:5")),
        (Some("volume"), Operation::Create { volumes: volume("v", 50) }),
        (Some("static"), Operation::Unreserve { resources: "cpus(db):1".parse().unwrap() }),
        (Some("unknown"), Operation::Unknown),
        (None, reserve("cpus:5")),
        (Some("good"), reserve("cpus:1")),
        (Some("good"), reserve("cpus:1")),
    ];
    world.accept_with(s1, 1, operations, vec![]);
    let told = world.told();
    let expected = [
        "operation role error: the framework is not in role web",
        "operation principal error: it names principal \"q\"",
        "operation much error: the operation takes cpus:5",
        "operation volume error: the operation takes disk(db):50",
        "operation static error: `cpus(db):1` has no dynamic reservation",
        "operation unknown error: the operation is not known",
        "n1 operate U5.1 reserve",
        "s1 ok",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, expected) in told.iter().zip(expected) {
        assert!(line.contains(expected), "{line} is not {expected}");
    }
}

#[test]
fn what_becomes_of_operations_is_counted_by_kind_once_each_with_the_time_it_took() {
    let (mut world, n1, s1) = World::with_offer();
    let operations = vec![
        (Some("r"), reserve("cpus:2;disk:100")),
        (Some("c"), Operation::Create { volumes: volume("v", 50) }),
        (None, Operation::Unreserve { resources: reserved("cpus:1") }),
        (Some("much"), reserve("cpus:500")),
    ];
    world.accept_with(s1, 1, operations, vec![]);
    world.accept_with(s1, 9, vec![(None, reserve("cpus:1"))], vec![]);
    let total = world.total();
    world.pass(40);
    for _ in 0..2 {
        world.answers(n1, outcome(1, Some("r"), OperationState::Finished), total.clone());
    }
    world.answers(n1, outcome(3, None, OperationState::Failed), total.clone());
    let counters = world.master.view().counters;
    let found: Vec<_> = counters.operations_ended.iter().collect();
    let end = |kind, outcome| OperationEnd { kind, outcome };
    let reserved = end(OperationKind::Reserve, OperationState::Finished);
    let expected = [
        (reserved, 1),
        (end(OperationKind::Reserve, OperationState::Error), 1),
        (end(OperationKind::Reserve, OperationState::Dropped), 1),
        (end(OperationKind::Unreserve, OperationState::Failed), 1),
    ];
    assert_eq!(found, expected, "the volume is not made yet");
    assert_eq!(counters.operations_ms.get(reserved), 40);
    assert_eq!(counters.operations, 3, "handed on");
}

#[test]
fn operations_on_void_offers_are_dropped() {
    let (mut world, _, s1) = World::with_offer();
    world.accept_with(
        s1,
        9,
        vec![(Some("r"), reserve("cpus:1")), (None, reserve("cpus:1"))],
        vec![],
    );
    world.expect(&["s1 operation r dropped: offer O5.9 is not open any more", "s1 ok"]);
}

#[test]
fn what_the_agent_could_not_do_is_undone_in_the_ledger() {
    let (mut world, n1, s1) = World::with_offer();
    let before = world.total();
    let operations = vec![(Some("r"), reserve("cpus:2")), (None, reserve("mem:64"))];
    world.accept_with(s1, 1, operations, vec![task("t", "cpus:2;mem:64")]);
    world.told();
    world.answers(n1, outcome(1, Some("r"), OperationState::Failed), before.clone());
    world.expect(&["s1 operation r failed U5.1: because"]);
    assert_eq!(world.total(), reserved("mem:64") + &"cpus:4;mem:4032;disk:1000".parse().unwrap());
    world.answers(n1, outcome(2, None, OperationState::Failed), before.clone());
    assert_eq!(world.total(), before);
    // The task that stood on it is refused by the agent; then all is free again.
    world.update(n1, "t", TaskState::Dropped, 1);
    world.told();
    world.pass(6_000);
    assert_eq!(world.master.view().agents.iter().next().unwrap().used, Resources::new());
    world.expect(&["s1 offers O5.2 n1 cpus:4;mem:4096;disk:1000"]);
}

#[test]
fn what_the_agent_has_done_already_is_not_done_again_when_a_failure_is_told_late() {
    let (mut world, n1, s1) = World::with_offer();
    let operations = vec![(Some("r"), reserve("cpus:2")), (None, reserve("mem:64"))];
    world.accept_with(s1, 1, operations, vec![]);
    // The agent has judged both; the first failed in the end, the second is in its total.
    let total = reserved("mem:64") + &"cpus:4;mem:4032;disk:1000".parse().unwrap();
    let report = outcome(1, Some("r"), OperationState::Failed);
    let resources = total.clone();
    world.say(n1, ToLeader::Operation { report, resources, judged: Some(uuid(2)) });
    assert_eq!(world.total(), total);
}

#[test]
fn who_asks_much_of_agents_that_are_away_keeps_nobody_else_from_asking() {
    let mut config = MasterConfig::default();
    config.limits.questions_max = 16;
    let mut world = World::with(config);
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let (s1, s2) = (world.in_role("one", "db"), world.in_role("two", "db"));
    world.event(Event::AgentDisconnected { connection: n1 });
    world.pass(3_600_000);
    world.told();
    let ask = |from: usize, count: usize| Call::ReconcileOperations {
        operations: (from..from + count)
            .map(|number| OperationQuery { id: id(&format!("o{number}")), agent: agent(1, 1) })
            .collect(),
    };
    world.call(s1, ask(0, 100));
    let told = world.told();
    assert_eq!(told.iter().filter(|line| line.contains("unreachable")).count(), 100, "{told:?}");
    world.call(s2, ask(0, 1));
    let told = world.told();
    assert!(told[0].starts_with("s2 operation o0 unreachable"), "{told:?}");
    // The second is told when the agent is back; of the first's questions some are forgotten.
    world.register(1, "cpus:4;mem:4096", vec![]);
    let told = world.told();
    let count = |session| told.iter().filter(|it| it.starts_with(session)).count();
    assert_eq!((count("s1 operation"), count("s2 operation")), (2, 1), "{told:?}");
}

#[test]
fn an_agents_resources_take_only_so_many_bytes() {
    let (mut world, _, s1) = World::with_offer();
    let labelled = (0..300).map(|number| {
        let labels = BTreeMap::from([(number.to_string(), "x".repeat(4_000))]);
        let role = Role::new("db").unwrap();
        let reservation = Some(Reservation::dynamic(role, "p", labels, None).unwrap());
        let metadata = Metadata { reservation, ..Metadata::UNRESERVED };
        Resource::new(ResourceName::Cpus, metadata, Amount::from_millis(10)).unwrap()
    });
    let resources = labelled.collect();
    world.accept_with(s1, 1, vec![(Some("r"), Operation::Reserve { resources })], vec![]);
    let told = world.told();
    assert!(told[0].contains("bytes with their labels, at most 1048576 are kept"), "{}", told[0]);
}

#[test]
fn an_agent_that_comes_back_says_what_became_of_operations() {
    let (mut world, n1, s1) = World::with_offer();
    let operations = vec![
        (Some("lost"), reserve("cpus:1")),
        (Some("done"), reserve("mem:64")),
        (Some("written"), reserve("disk:10")),
    ];
    world.accept_with(s1, 1, operations, vec![]);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.told();
    let n1 = world.connect(1);
    let mut registration = world.registration(1, "cpus:4;mem:4096;disk:1000");
    let total = reserved("mem:64;disk:10") + &"cpus:4;mem:4032;disk:990".parse().unwrap();
    registration.resources = total.clone();
    registration.operations = Some(vec![
        outcome(2, Some("done"), OperationState::Finished),
        outcome(3, Some("written"), OperationState::Pending),
        outcome(77, None, OperationState::Finished),
    ]);
    world.say(n1, ToLeader::Register(registration));
    let told = world.told();
    let expected = [
        "n1 registered n1.1",
        "s1 operation lost dropped: the agent went away before the operation arrived",
        "s1 operation done finished U5.2: because",
        "n1 settle U5.77",
    ];
    assert_eq!(told, expected);
    assert_eq!(world.total(), total);
    world.answers(n1, outcome(3, Some("written"), OperationState::Finished), total);
    world.expect(&["s1 operation written finished U5.3: because"]);
}

#[test]
fn the_next_leader_learns_from_the_agent_and_answers_for_what_was_lost() {
    let (mut world, _, s1) = World::with_offer();
    let operations = vec![(Some("done"), reserve("cpus:1")), (Some("lost"), reserve("mem:64"))];
    world.accept_with(s1, 1, operations, vec![]);
    let mut world = world.next_leader();
    let s2 = world.open("p");
    world.subscribe(s2, super::world::subscribe_as(1, Some(1)));
    let query = |name| OperationQuery { id: id(name), agent: agent(1, 1) };
    let operations = vec![query("done"), query("lost")];
    world.told();
    world.call(s2, Call::ReconcileOperations { operations });
    world.expect(&["s2 ok"]);
    let n1 = world.connect(1);
    let mut registration = world.registration(1, "cpus:3;mem:4096;disk:1000");
    registration.resources += &reserved("cpus:1");
    registration.operations = Some(vec![outcome(1, Some("done"), OperationState::Finished)]);
    world.say(n1, ToLeader::Register(registration));
    let told = world.told();
    assert!(told.contains(&"s2 operation done finished U5.1: because".to_owned()), "{told:?}");
    let lost = told.iter().find(|line| line.contains("operation lost")).unwrap();
    assert!(lost.starts_with("s2 operation lost dropped: the agent does not know"), "{lost}");
    assert!(world.total().contains(&reserved("cpus:1")));
    // Not acknowledged, it is told again to who comes back.
    let s3 = world.open("p");
    world.subscribe(s3, super::world::subscribe_as(1, Some(1)));
    let told = world.told();
    assert!(told.contains(&"s3 operation done finished U5.1: because".to_owned()), "{told:?}");
}

#[test]
fn the_end_of_a_framework_or_an_agent_ends_what_waits_for_it() {
    let (mut world, n1, s1) = World::with_offer();
    let operations = vec![(Some("told"), reserve("cpus:1")), (Some("sent"), reserve("mem:64"))];
    world.accept_with(s1, 1, operations, vec![]);
    let total = world.total();
    world.answers(n1, outcome(1, Some("told"), OperationState::Finished), total.clone());
    world.told();
    world.call(s1, Call::Teardown);
    let told = world.told();
    assert!(told.contains(&"n1 settle U5.1".to_owned()), "{told:?}");
    world.answers(n1, outcome(2, Some("sent"), OperationState::Finished), total);
    world.expect(&["n1 settle U5.2"]);

    let (mut world, n1, s1) = World::with_offer();
    world.accept_with(s1, 1, vec![(Some("r"), reserve("cpus:1"))], vec![]);
    world.event(Event::AgentDisconnected { connection: n1 });
    world.told();
    world.pass(80_000);
    let told = world.told();
    assert!(told.iter().any(|line| line.contains("operation r unreachable: ")), "{told:?}");
    world.operate(OperatorCall::MarkAgentGone { agent: agent(1, 1) });
    let told = world.told();
    assert!(told.iter().any(|line| line.contains("operation r gone_by_operator: ")), "{told:?}");
}

#[test]
fn an_operator_takes_offers_back_but_nothing_from_tasks() {
    let (mut world, n1, s1) = World::with_offer();
    world.accept(s1, &[1], vec![task("t", "cpus:1;mem:1024")]);
    world.pass(6_000);
    world.told();
    let operate = |operation| OperatorCall::Operate { agent: agent(1, 1), operation };
    world.operate(operate(reserve("cpus:4")));
    let told = world.told();
    assert!(told[0].contains("tasks use what would be changed on node"), "{told:?}");
    world.operate(operate(reserve("cpus:5")));
    assert!(world.told()[0].contains("has no cpus:5"));
    world.operate(operate(reserve("cpus:3")));
    let told = world.told();
    assert_eq!(told[..2], ["s1 rescind O5.2", "n1 operate U5.1 reserve"], "{told:?}");
    let total = world.total();
    world.answers(n1, outcome(1, None, OperationState::Finished), total);
    let told = world.told();
    assert!(
        told.iter().any(|line| line.starts_with("operator ") && line.ends_with(" ok")),
        "{told:?}"
    );
    assert!(told.contains(&"n1 settle U5.1".to_owned()), "{told:?}");
    world.operate(operate(Operation::Unreserve { resources: reserved("cpus:2") }));
    world.told();
    world.event(Event::AgentDisconnected { connection: n1 });
    let told = world.told();
    assert!(told.iter().any(|line| line.contains("went away before it answered")), "{told:?}");
}

#[test]
fn an_agent_of_an_earlier_release_is_left_alone() {
    let mut world = World::new();
    let n1 = world.connect(1);
    let mut registration = world.registration(1, "cpus:4;mem:4096;disk:1000");
    registration.operations = None;
    world.say(n1, ToLeader::Register(registration));
    let s1 = world.in_role("one", "db");
    world.pass(10);
    world.told();
    world.accept_with(s1, 1, vec![(Some("r"), reserve("cpus:1"))], vec![]);
    let told = world.told();
    assert!(told[0].contains("operation r dropped: the release of agent"), "{told:?}");
    world.operate(OperatorCall::Operate { agent: agent(1, 1), operation: reserve("cpus:1") });
    assert!(world.told()[0].contains("does not know operations: upgrade it"));
}

#[test]
fn who_acknowledges_nothing_takes_nothing_from_others() {
    let (mut world, n1, s1) = World::with_offer();
    let operations = (0..252).map(|_| (None, reserve("cpus:0.001"))).collect();
    world.accept_with(s1, 1, operations, vec![]);
    let handed = |told: Vec<String>| told.iter().filter(|line| line.contains("operate")).count();
    assert_eq!(handed(world.told()), 250);
    let total = world.total();
    world.answers(n1, outcome(1, None, OperationState::Finished), total);
    world.pass(6_000);
    world.told();
    world.accept_with(
        s1,
        2,
        vec![(None, reserve("cpus:1")), (Some("late"), reserve("cpus:1"))],
        vec![],
    );
    let told = world.told();
    assert!(told[0].starts_with("n1 operate U5.251"), "{told:?}");
    assert!(told[1].contains("operation late dropped: the framework has 250"), "{told:?}");
}

#[test]
fn of_two_operations_of_one_name_the_one_that_is_known_keeps_it() {
    let (mut world, _, s1) = World::with_offer();
    world.accept_with(s1, 1, vec![(Some("r"), reserve("cpus:1"))], vec![]);
    world.told();
    let n2 = world.connect(2);
    let mut registration = world.registration(2, "cpus:4;mem:4096;disk:1000");
    registration.operations = Some(vec![outcome(70, Some("r"), OperationState::Finished)]);
    world.say(n2, ToLeader::Register(registration));
    let told = world.told();
    assert!(told.contains(&"n2 settle U5.70".to_owned()), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("operation r")), "{told:?}");
}
