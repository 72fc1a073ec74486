//! Delivery of status updates: in order for each task, at least once, one at a time.

use std::collections::BTreeSet;

use meshos_protocol::{
    messages::agent::{ToAgent, ToLeader},
    task::TaskState,
};

use super::rig::{CODE_0, F1, Rig, task_id};
use crate::agent::Event;

#[test]
fn the_next_update_waits_for_the_one_before() {
    let mut rig = Rig::registered();
    let container = rig.run("a");
    let running = rig.update();
    rig.exits(&container, CODE_0);
    rig.flush();
    let state = TaskState::Finished;
    let at = Some(rig.now.wall);
    let ended = ToLeader::TaskEnded { framework: F1, task: task_id("a"), state, at };
    assert_eq!(std::mem::take(&mut rig.said), [ended], "the leader learns that resources are free");
    rig.acknowledge(&running);
    let finished = rig.update();
    assert_eq!(finished.state, TaskState::Finished);
    assert_eq!(rig.released, [container]);
    rig.acknowledge(&running);
    assert!(rig.said.is_empty() && rig.pending.is_empty(), "acknowledged before");
    rig.acknowledge(&finished);
    rig.flush();
    assert!(rig.agent.view().tasks.is_empty() && rig.disk.records.is_empty());
}

#[test]
fn an_unacknowledged_update_is_sent_again_after_10_s_doubling_to_10_min() {
    let mut rig = Rig::registered();
    rig.run("a");
    let running = rig.update();
    for seconds in [10, 20, 40, 80, 160, 320, 600, 600] {
        rig.wait(seconds * 1_000 - 1);
        assert!(rig.said.is_empty(), "too early: {seconds}");
        rig.wait(1);
        assert_eq!(rig.update(), running);
    }
    rig.acknowledge(&running);
    rig.wait(3_600_000);
    assert!(rig.said.is_empty());
    assert_eq!(rig.agent.view().counters.updates_retried, 8);
}

#[test]
fn an_acknowledgement_starts_the_wait_of_the_next_update_afresh() {
    let mut rig = Rig::registered();
    let container = rig.run("a");
    let running = rig.update();
    rig.wait(30_000);
    rig.exits(&container, CODE_0);
    rig.flush();
    rig.said.clear();
    rig.acknowledge(&running);
    let finished = rig.update();
    rig.wait(10_000);
    assert_eq!(rig.update(), finished);
}

#[test]
fn updates_are_not_sent_without_a_leader_and_are_all_in_the_next_registration() {
    let mut rig = Rig::registered();
    let a = rig.run_acknowledged("a");
    rig.run("b");
    rig.said.clear();
    rig.event(Event::Disconnected);
    rig.exits(&a, CODE_0);
    rig.flush();
    rig.wait(3_600_000);
    assert!(rig.said.is_empty());
    rig.connect(2);
    let registration = rig.registration();
    let heads: Vec<_> = registration
        .tasks
        .iter()
        .map(|report| (report.state, report.unacknowledged[0].state))
        .collect();
    assert_eq!(
        heads,
        [(TaskState::Finished, TaskState::Finished), (TaskState::Running, TaskState::Running)]
    );
    rig.tell(ToAgent::Registered { agent: super::rig::AGENT, draining: false });
    assert!(rig.said.is_empty(), "the registration carried the heads");
    rig.wait(10_000);
    assert_eq!(rig.updates().len(), 2);
}

#[test]
fn an_end_between_registration_and_its_answer_is_told_after_it() {
    let mut rig = Rig::registered();
    let a = rig.run("a");
    let running = rig.update();
    let b = rig.run_acknowledged("b");
    rig.connect(2);
    rig.said.clear();
    rig.exits(&a, CODE_0);
    rig.exits(&b, CODE_0);
    rig.flush();
    assert!(rig.said.is_empty());
    rig.tell(ToAgent::Registered { agent: super::rig::AGENT, draining: false });
    let told = std::mem::take(&mut rig.said);
    assert!(matches!(&told[0], ToLeader::TaskEnded { task, .. } if *task == task_id("a")));
    assert!(matches!(&told[1], ToLeader::Update { status } if status.task == task_id("b")));
    assert_eq!(told.len(), 2);
    rig.acknowledge(&running);
    assert_eq!(rig.update().state, TaskState::Finished);
}

#[test]
fn update_ids_are_never_used_twice_not_even_over_a_crash() {
    let mut rig = Rig::registered();
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        let container = rig.run(&format!("t{round}"));
        let running = rig.update();
        assert!(seen.insert(running.update.unwrap()));
        rig.acknowledge(&running);
        rig.exits(&container, CODE_0);
        rig.flush();
        let finished = rig.update();
        assert!(seen.insert(finished.update.unwrap()));
        rig.acknowledge(&finished);
        rig.flush();
        rig.crash();
        rig.register_again(1);
    }
}
