//! Who is asked about nodes that will be away, until when, and what operators begin and end.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{FrameworkId, NodeId, OfferId, RequestId, SessionId, Term},
    maintenance::Unavailability,
    messages::{agent::ToLeader, scheduler::Call},
    resources::Resources,
    role::Role,
    task::TaskState,
    time::Wall,
};

use super::{
    executors::in_pool,
    operations::reserved,
    world::{World, agent, node, report, subscribe, subscribe_as, task, task_id},
};
use crate::{
    master::{ConnectionId, Event, MaintenanceView, NodeState, OperatorCall},
    registry::{Planned, Registry},
};

type Plan = BTreeMap<NodeId, Option<Planned>>;

/// The node will be away from then on, or will not.
pub(super) fn plan(number: u64, start: Option<u64>) -> Plan {
    let planned = |start| Planned {
        unavailability: Unavailability { start: Wall(start), duration_ms: None },
        hostname: format!("host{number}"),
        ip: "10.0.0.1".to_owned(),
        begun: None,
    };
    [(node(number), start.map(planned))].into()
}

impl World {
    fn ask(&mut self, call: OperatorCall) {
        self.event(Event::Operator { request: RequestId(1), call });
    }

    fn plan(&mut self, number: u64, start: Option<u64>) {
        self.ask(OperatorCall::PlanMaintenance { nodes: plan(number, start), replace: false });
    }

    fn start(&mut self, number: u64, grace_max_ms: Option<u64>) {
        self.ask(OperatorCall::StartMaintenance { nodes: [(node(number), grace_max_ms)].into() });
    }

    fn stop(&mut self, number: u64) {
        self.ask(OperatorCall::StopMaintenance { nodes: BTreeSet::from([node(number)]) });
    }

    fn answers_asked(
        &mut self,
        session: SessionId,
        numbers: &[u64],
        accepted: bool,
        refuse_ms: Option<u64>,
    ) {
        let id = |number: &u64| OfferId { term: Term(self.term), number: *number };
        let offers = numbers.iter().map(id).collect();
        self.call(
            session,
            match accepted {
                true => Call::AcceptInverseOffers { offers, refuse_ms },
                false => Call::DeclineInverseOffers { offers, refuse_ms },
            },
        );
    }

    fn row(&self, number: u64) -> MaintenanceView {
        let view = self.master.view();
        let row = view.maintenance.iter().find(|row| row.node_id == node(number));
        MaintenanceView::clone(row.expect("the node is in a window"))
    }

    /// What each framework said, in words.
    fn said(&self, number: u64) -> Vec<String> {
        let word = |it: crate::master::AskedView| {
            let open = if it.open.is_some() { " asked" } else { "" };
            format!("{} {}{open}", it.framework_id, it.answer().unwrap_or("-"))
        };
        self.row(number).asked.into_iter().map(word).collect()
    }

    fn state(&self, number: u64) -> NodeState {
        let view = self.master.view();
        view.agents.iter().find(|row| row.id == node(number)).expect("it is there").state
    }
}

/// A framework with task `a` on agent 1, and one that has nothing.
fn with_task() -> (World, ConnectionId, SessionId, SessionId) {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![task("a", "cpus:4;mem:4096")]);
    world.update(n1, "a", TaskState::Running, 1);
    let s2 = world.framework("two");
    world.pass(10);
    world.told();
    (world, n1, s1, s2)
}

#[test]
fn who_has_a_task_there_is_asked_once_and_told_when_it_is_off() {
    let (mut world, n1, ..) = with_task();
    world.plan(1, Some(7));
    world.expect(&["propose plan for 1", "operator 1 ok", "s1 asked O5.2 n1 from 7 for None"]);
    assert_eq!(world.said(1), ["F1 - asked"]);
    world.pass(100_000);
    world.update(n1, "a", TaskState::Running, 2);
    assert!(!world.told().iter().any(|line| line.contains("asked")), "once is enough");
    world.plan(1, Some(7));
    world.expect(&["operator 1 ok"]);
    // Another time is another question.
    world.plan(1, Some(9));
    world.expect(&[
        "propose plan for 1",
        "operator 1 ok",
        "s1 not asked O5.2",
        "s1 asked O5.3 n1 from 9 for None",
    ]);
    world.update(n1, "a", TaskState::Finished, 3);
    let told = world.told();
    assert!(told.contains(&"s1 not asked O5.3".to_owned()), "{told:?}");
    assert_eq!(world.said(1), Vec::<String>::new());
    world.plan(1, None);
    world.told();
    assert!(world.master.view().maintenance.is_empty());
}

#[test]
fn the_end_of_the_plan_takes_the_question_back() {
    let (mut world, ..) = with_task();
    world.plan(1, Some(7));
    world.told();
    world.ask(OperatorCall::PlanMaintenance { nodes: Plan::new(), replace: true });
    world.expect(&["propose plan of 0", "operator 1 ok", "s1 not asked O5.2"]);
}

#[test]
fn offers_tell_when_the_node_will_be_away_and_are_made_anew_when_that_changes() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    let told = |world: &World, number| {
        let id = OfferId { term: Term(5), number };
        world.offers[&id].unavailability.map(|away| away.start.0)
    };
    assert_eq!(told(&world, 1), None);
    world.plan(1, Some(7));
    world.pass(10);
    world.expect(&[
        "propose plan for 1",
        "operator 1 ok",
        "s1 rescind O5.1",
        "s1 offers O5.2 n1 cpus:4;mem:4096",
    ]);
    assert_eq!(told(&world, 2), Some(7));
    // Who takes it knows, and is asked all the same.
    world.accept(s1, &[2], vec![task("a", "cpus:4;mem:4096")]);
    world.expect(&["n1 launch F1 a cpus:4;mem:4096", "s1 ok", "s1 asked O5.3 n1 from 7 for None"]);
    world.update(n1, "a", TaskState::Finished, 1);
    world.pass(10);
    assert_eq!(told(&world, 4), Some(7));
    world.plan(1, None);
    world.pass(10);
    assert_eq!(told(&world, 5), None);
}

#[test]
fn executors_and_reservations_count_as_tasks_do() {
    let mut world = World::new();
    let n1 = world.connect(1);
    let mut registration = world.registration(1, "cpus:2;mem:2048");
    registration.resources += &reserved("cpus:2");
    world.say(n1, ToLeader::Register(registration));
    let s1 = world.framework("one");
    world.pass(10);
    world.accept(s1, &[1], vec![in_pool("a")]);
    world.update(n1, "a", TaskState::Finished, 1);
    for (name, role) in [("two", "db/small"), ("three", "d")] {
        let session = world.open("p");
        let mut said = subscribe(name);
        said.info.roles = [Role::new(role).unwrap()].into();
        world.subscribe(session, said);
    }
    world.pass(10);
    world.told();
    world.plan(1, Some(7));
    world.told();
    // The executor is idle, and role `db/small` could be given what is reserved for `db`.
    assert_eq!(world.said(1), ["F1 - asked", "F2 - asked"]);
}

#[test]
fn what_was_answered_is_shown_and_asked_again_when_its_time_has_come() {
    let (mut world, _, s1, s2) = with_task();
    world.plan(1, Some(7));
    world.told();
    // Of others, of what is no inverse offer, and twice.
    world.answers_asked(s2, &[2], true, None);
    world.answers_asked(s1, &[1, 99], true, None);
    assert_eq!(world.said(1), ["F1 - asked"]);
    world.answers_asked(s1, &[2, 2], false, Some(20_000));
    world.expect(&["s2 ok", "s1 ok", "s1 ok"]);
    assert_eq!(world.said(1), ["F1 declined"]);
    assert_eq!(world.row(1).asked[0].answered_at, Some(world.now.wall));
    world.answers_asked(s1, &[2], true, None);
    assert_eq!(world.said(1), ["F1 declined"], "that one is answered");
    world.told();
    world.pass(19_999);
    assert_eq!(world.told(), Vec::<String>::new());
    world.pass(1);
    world.expect(&["s1 asked O5.3 n1 from 7 for None"]);
    assert_eq!(world.said(1), ["F1 declined asked"]);
    // Without a time it is not asked again, unless something else is planned.
    world.answers_asked(s1, &[3], true, None);
    world.pass(10_000_000);
    world.expect(&["s1 ok"]);
    assert_eq!(world.said(1), ["F1 accepted"]);
    world.plan(1, Some(8));
    world.expect(&["propose plan for 1", "operator 1 ok", "s1 asked O5.4 n1 from 8 for None"]);
    assert_eq!(world.said(1), ["F1 - asked"]);
    // Whoever would be asked at once is asked after a second.
    world.answers_asked(s1, &[4], true, Some(0));
    world.expect(&["s1 ok"]);
    world.pass(999);
    assert_eq!(world.told(), Vec::<String>::new());
    world.pass(1);
    world.expect(&["s1 asked O5.5 n1 from 8 for None"]);
    let counters = world.master.view().counters;
    let counts = (counters.inverse_offers_accepted, counters.inverse_offers_declined);
    assert_eq!((counters.inverse_offers_sent, counts), (4, (2, 1)));
}

#[test]
fn whoever_subscribes_is_told_what_it_has_not_answered_and_a_new_instance_all() {
    let (mut world, _, s1, _) = with_task();
    world.plan(1, Some(7));
    world.event(Event::SessionClosed { session: s1 });
    world.told();
    assert_eq!(world.said(1), ["F1 -"]);
    // Through another gateway.
    let s3 = world.open("p");
    world.subscribe(s3, subscribe_as(1, Some(1)));
    assert_eq!(world.told().last().unwrap(), "s3 asked O5.3 n1 from 7 for None");
    world.answers_asked(s3, &[3], true, None);
    world.told();
    world.event(Event::SessionClosed { session: s3 });
    let s4 = world.open("p");
    world.subscribe(s4, subscribe_as(1, Some(1)));
    assert!(!world.told().iter().any(|line| line.contains("asked")), "it has answered");
    let s5 = world.open("p");
    world.subscribe(s5, subscribe_as(1, None));
    assert_eq!(world.told().last().unwrap(), "s5 asked O5.4 n1 from 7 for None");
    assert_eq!(world.said(1), ["F1 accepted asked"]);
    // Its end ends that, too.
    world.call(s5, Call::Teardown);
    assert_eq!(world.said(1), Vec::<String>::new());
}

#[test]
fn the_next_leader_asks_anew_once_the_agent_has_reported() {
    let (mut world, _, s1, _) = with_task();
    world.plan(1, Some(7));
    world.answers_asked(s1, &[2], true, None);
    let mut world = world.next_leader();
    assert_eq!(world.row(1).start, Wall(7));
    let s3 = world.open("p");
    world.subscribe(s3, subscribe_as(1, Some(1)));
    world.pass(10);
    assert!(!world.told().iter().any(|line| line.contains("asked")), "nobody knows the task yet");
    world.register(1, "cpus:4;mem:4096", vec![report("a", TaskState::Running, &[])]);
    let told = world.told();
    assert!(told.contains(&"s3 asked O6.2 n1 from 7 for None".to_owned()), "{told:?}");
    assert_eq!(world.said(1), ["F1 - asked"]);
}

#[test]
fn an_agent_that_is_lost_is_asked_about_no_more() {
    let (mut world, n1, ..) = with_task();
    world.plan(1, Some(7));
    world.event(Event::AgentDisconnected { connection: n1 });
    world.told();
    assert_eq!(world.said(1), ["F1 - asked"], "it may come back");
    world.pass(80_000);
    let told = world.told();
    assert!(told.contains(&"s1 not asked O5.2".to_owned()), "{told:?}");
    world.ask(OperatorCall::MarkAgentGone { agent: agent(1, 1) });
    assert!(world.master.view().maintenance.is_empty(), "a node that is gone is in no window");
    world.told();
    world.plan(1, Some(7));
    assert!(world.told()[0].contains("is gone"));
}

#[test]
fn maintenance_begins_with_a_drain_and_ends_with_offers() {
    let (mut world, n1, s1, _) = with_task();
    world.start(1, Some(5_000));
    assert!(world.told()[0].contains("is in no maintenance window"));
    world.plan(1, Some(7));
    world.stop(1);
    assert!(world.told().last().unwrap().contains("is not in maintenance"));
    let began = world.now.wall;
    world.start(1, Some(5_000));
    world.expect(&[
        "propose n1.1 held drain",
        "propose plan for 1",
        "n1 drain true",
        "n1 kill F1 a (drain 5000)",
        "operator 1 ok",
    ]);
    assert_eq!((world.state(1), world.row(1).begun), (NodeState::Draining, Some(began)));
    world.start(1, Some(5_000));
    world.expect(&["operator 1 ok"]);
    // What is begun is ended in one way.
    world.plan(1, None);
    world.ask(OperatorCall::PlanMaintenance { nodes: plan(2, None), replace: true });
    world.ask(OperatorCall::Reactivate { agent: agent(1, 1) });
    world.ask(OperatorCall::SetDraining { agent: agent(1, 1), draining: false });
    let told = world.told();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|line| line.contains("`meshos maintenance stop")), "{told:?}");
    // Another time is another matter: it stays begun.
    world.plan(1, Some(8));
    assert_eq!((world.row(1).start, world.row(1).begun), (Wall(8), Some(began)));
    world.update(n1, "a", TaskState::Killed, 2);
    let update = meshos_protocol::ids::UpdateId::from_bytes([2; 16]);
    world.call(s1, Call::Acknowledge { task: task_id("a"), agent: agent(1, 1), update });
    assert_eq!(world.state(1), NodeState::Drained);
    world.told();
    world.stop(1);
    world.pass(10);
    let told = world.told();
    assert_eq!(told[..2], ["propose n1.1 held no more", "propose plan for 1"], "{told:?}");
    assert!(told.contains(&"operator 1 ok".to_owned()), "{told:?}");
    assert!(told.iter().any(|line| line.contains("offers O")), "{told:?}");
    assert_eq!(world.state(1), NodeState::Active);
    assert!(world.master.view().maintenance.is_empty());
}

#[test]
fn without_a_grace_period_tasks_go_on_and_a_drain_stays_one() {
    let (mut world, ..) = with_task();
    world.plan(1, Some(7));
    world.told();
    world.start(1, None);
    world.expect(&[
        "propose n1.1 held deactivated",
        "propose plan for 1",
        "n1 drain true",
        "operator 1 ok",
    ]);
    assert_eq!(world.state(1), NodeState::Deactivated);
    world.start(1, Some(9));
    assert_eq!(world.told()[0], "propose n1.1 held drain");
    world.start(1, None);
    world.expect(&["operator 1 ok"]);
    assert_eq!(world.state(1), NodeState::Draining);
}

#[test]
fn one_change_of_the_plan_is_made_at_a_time_and_unknown_nodes_are_refused() {
    let (mut world, ..) = with_task();
    world.commits = false;
    world.plan(1, Some(7));
    world.plan(1, Some(8));
    let told = world.told();
    assert!(told[1].contains("Busy") && told[1].contains("on its way"), "{told:?}");
    world.commits = true;
    world.commit();
    world.told();
    world.plan(3, Some(8));
    assert!(world.told()[0].contains("is not on record"));
    world.plan(1, Some(8));
    assert_eq!(world.told()[0], "propose plan for 1");
}

#[test]
fn plans_wait_until_all_voters_know_them() {
    let mut world = World::amid_an_upgrade();
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.voters(&[(9, Some(crate::registry::LEVEL)), (2, Some(5))]);
    world.told();
    world.plan(1, Some(7));
    let told = world.told();
    assert!(told[0].contains("maintenance windows cannot be put on record yet"), "{told:?}");
    assert_eq!(Registry::maintenance(&world.log).len(), 0);
}

/// What is shown of a node that was told to drain without an end for its tasks.
#[test]
fn a_drain_that_leaves_tasks_alone_is_over_when_none_is_left() {
    let (mut world, n1, s1, _) = with_task();
    world.ask(OperatorCall::SetDraining { agent: agent(1, 1), draining: true });
    assert_eq!(world.state(1), NodeState::Draining);
    world.update(n1, "a", TaskState::Finished, 2);
    assert_eq!(world.state(1), NodeState::Draining, "the end is not acknowledged");
    let update = meshos_protocol::ids::UpdateId::from_bytes([2; 16]);
    world.call(s1, Call::Acknowledge { task: task_id("a"), agent: agent(1, 1), update });
    assert_eq!(world.state(1), NodeState::Drained);
    // A new leader does not know until it has reported.
    let mut next = world.next_leader();
    assert_eq!(next.state(1), NodeState::Draining);
    next.register(1, "cpus:4;mem:4096", vec![]);
    assert_eq!(next.state(1), NodeState::Drained);
    next.ask(OperatorCall::SetDraining { agent: agent(1, 1), draining: false });
    assert_eq!(next.state(1), NodeState::Active);
    let total: Resources = "cpus:4;mem:4096".parse().unwrap();
    assert_eq!(next.master.view().agents.iter().next().unwrap().resources, total);
    assert_eq!(FrameworkId(1), next.log.frameworks().next().unwrap().0);
}

/// Nobody comes back from maintenance who was given up in it.
#[test]
fn a_node_that_is_drained_to_be_given_up_does_not_begin_its_maintenance() {
    let (mut world, ..) = with_task();
    world.plan(1, Some(7));
    let drain = |mark_gone| OperatorCall::Drain { agent: agent(1, 1), grace_max_ms: 5, mark_gone };
    world.ask(drain(true));
    world.told();
    for grace_max_ms in [None, Some(5), Some(9)] {
        world.start(1, grace_max_ms);
        assert!(world.told()[0].contains("drained to be given up"), "{grace_max_ms:?}");
    }
}
