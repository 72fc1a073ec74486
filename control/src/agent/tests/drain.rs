//! Tasks that end because their node is drained.

use meshos_protocol::{
    messages::agent::{ToAgent, ToLeader},
    task::{DrainKill, Exit, Reason, TaskState},
};

use super::{
    super::Event,
    executors::{heard, pool, running, told, update},
    rig::{CODE_0, F1, Rig, executor_task, killed, launch_of, task, task_id},
};

const KILLED: Exit = Exit::Signal { signal: 9 };

fn drain(rig: &mut Rig, name: &str, grace_max_ms: u64, mark_gone: bool) {
    rig.tell(ToAgent::Kill {
        framework: F1,
        task: task_id(name),
        grace_ms: Some(grace_max_ms),
        drain: Some(DrainKill { grace_max_ms, mark_gone }),
    });
}

/// A running task with a grace period of its own.
fn patient(rig: &mut Rig, name: &str, grace_ms: u64) -> meshos_protocol::ids::ContainerId {
    let mut launch = task(name);
    launch.description.kill_grace_ms = Some(grace_ms);
    rig.tell(launch_of(F1, vec![launch]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    let running = rig.update();
    rig.acknowledge(&running);
    container
}

#[test]
fn a_task_has_its_own_grace_but_no_longer_than_the_drain_allows() {
    for (own, most, waited) in [(9_000, 5_000, 5_000), (500, 5_000, 500), (9_000, 0, 0)] {
        let mut rig = Rig::registered();
        let container = patient(&mut rig, "a", own);
        drain(&mut rig, "a", most, false);
        let killing = rig.update();
        assert_eq!(killed(&killing), (TaskState::Killing, Some(Reason::AgentDraining)));
        rig.acknowledge(&killing);
        if waited > 0 {
            rig.wait(waited - 1);
            assert!(rig.destroyed.is_empty());
            rig.wait(1);
        }
        assert_eq!(rig.destroyed, std::slice::from_ref(&container), "{own} {most}");
        rig.exits(&container, KILLED);
        rig.flush();
        assert_eq!(killed(&rig.update()), (TaskState::Killed, Some(Reason::AgentDraining)));
    }
}

#[test]
fn asked_again_by_the_next_leader_it_ends_no_later() {
    let mut rig = Rig::registered();
    let container = patient(&mut rig, "a", 60_000);
    drain(&mut rig, "a", 5_000, false);
    let killing = rig.update();
    rig.acknowledge(&killing);
    rig.wait(3_000);
    drain(&mut rig, "a", 5_000, false);
    rig.wait(1_999);
    assert!(rig.destroyed.is_empty());
    rig.wait(1);
    assert_eq!(rig.destroyed, std::slice::from_ref(&container));
    // A shorter one counts from when it is asked for.
    let other = patient(&mut rig, "b", 60_000);
    drain(&mut rig, "b", 5_000, false);
    rig.wait(1_000);
    drain(&mut rig, "b", 1_000, false);
    rig.wait(1_000);
    assert_eq!(rig.destroyed, [container, other]);
}

#[test]
fn of_a_node_that_is_to_be_gone_that_is_what_tasks_are_told() {
    let gone = (TaskState::GoneByOperator, Some(Reason::AgentDraining));
    let mut rig = Rig::registered();
    let container = patient(&mut rig, "a", 1_000);
    rig.launch("queued");
    drain(&mut rig, "queued", 1_000, true);
    rig.flush();
    assert_eq!(killed(&rig.update()), gone, "it had not started");
    drain(&mut rig, "a", 1_000, true);
    let killing = rig.update();
    rig.acknowledge(&killing);
    rig.exits(&container, CODE_0);
    rig.flush();
    let end = rig.update();
    assert_eq!((killed(&end), end.exit.clone()), (gone, Some(CODE_0)));
    rig.acknowledge(&end);
    rig.flush();
    assert_eq!(rig.disk.records.len(), 1, "the other end is not acknowledged");
}

#[test]
fn a_node_that_starts_again_in_between_still_knows_why_its_tasks_end() {
    let mut rig = Rig::registered();
    let container = patient(&mut rig, "a", 60_000);
    drain(&mut rig, "a", 5_000, true);
    let killing = rig.update();
    rig.acknowledge(&killing);
    rig.flush();
    rig.crash();
    rig.wait(5_000);
    assert_eq!(rig.destroyed.last(), Some(&container));
    rig.exits(&container, KILLED);
    rig.flush();
    let record = &rig.disk.records[&(F1, task_id("a"))];
    let told = record.unacknowledged.last().unwrap();
    assert_eq!(killed(told), (TaskState::GoneByOperator, Some(Reason::AgentDraining)));
}

#[test]
fn whoever_asked_for_its_end_before_names_the_reason() {
    let mut rig = Rig::registered();
    let container = patient(&mut rig, "a", 60_000);
    let kill = ToAgent::Kill { framework: F1, task: task_id("a"), grace_ms: None, drain: None };
    rig.tell(kill);
    let killing = rig.update();
    assert_eq!(killed(&killing), (TaskState::Killing, None));
    rig.acknowledge(&killing);
    drain(&mut rig, "a", 1_000, true);
    rig.wait(1_000);
    assert_eq!(rig.destroyed, std::slice::from_ref(&container), "but it ends as soon");
    rig.exits(&container, KILLED);
    rig.flush();
    assert_eq!(killed(&rig.update()), (TaskState::Killed, None));
}

#[test]
fn an_executor_that_does_not_end_its_task_in_time_ends_with_it() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    drain(&mut rig, "a", 2_000, true);
    assert_eq!(heard(&mut rig), ["kill a"]);
    rig.wait(1_999);
    assert!(rig.destroyed.is_empty());
    rig.wait(1);
    assert_eq!(rig.destroyed, std::slice::from_ref(&container));
    rig.exits(&container, KILLED);
    rig.flush();
    let ends: Vec<_> = rig.updates().iter().map(killed).collect();
    assert_eq!(ends, [(TaskState::GoneByOperator, Some(Reason::AgentDraining))]);
}

/// The others of the executor have their own time.
#[test]
fn an_executor_is_not_ended_before_the_drain_allows_for_a_task_with_a_short_grace() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    let mut hasty = executor_task("b", false);
    hasty.description.kill_grace_ms = Some(0);
    rig.tell(launch_of(F1, vec![hasty]));
    rig.flush();
    rig.told.clear();
    drain(&mut rig, "b", 2_000, false);
    assert_eq!(heard(&mut rig), ["kill b"]);
    rig.wait(1_999);
    assert!(rig.destroyed.is_empty());
    rig.wait(1);
    assert_eq!(rig.destroyed, [container]);
}

#[test]
fn of_two_drains_the_later_one_says_what_ends_are_told() {
    let mut rig = Rig::registered();
    let container = patient(&mut rig, "a", 60_000);
    drain(&mut rig, "a", 60_000, false);
    rig.flush();
    drain(&mut rig, "a", 1_000, true);
    rig.flush();
    rig.crash();
    rig.register_again(2);
    rig.updates();
    rig.exits(&container, KILLED);
    rig.flush();
    assert_eq!(rig.disk.records[&(F1, task_id("a"))].state, TaskState::GoneByOperator);
}

#[test]
fn an_executor_that_obeys_has_its_words_passed_on_and_is_shut_down_in_time() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    drain(&mut rig, "a", 2_000, false);
    assert_eq!(heard(&mut rig), ["kill a"]);
    update(&mut rig, &container, told("a", TaskState::Killed, 1));
    rig.flush();
    let end = rig.update();
    assert_eq!(killed(&end), (TaskState::Killed, Some(Reason::AgentDraining)));
    assert_eq!(end.message, "update 1");
    assert_eq!(heard(&mut rig), ["acknowledged a 1"]);
    let shutdown =
        ToAgent::ShutdownExecutor { framework: F1, executor: pool(), grace_max_ms: Some(1_000) };
    rig.tell(shutdown.clone());
    assert_eq!(heard(&mut rig), ["shutdown"]);
    rig.wait(600);
    rig.tell(shutdown);
    assert!(heard(&mut rig).is_empty(), "it knows");
    rig.wait(399);
    assert!(rig.destroyed.is_empty());
    rig.wait(1);
    assert_eq!(rig.destroyed, [container]);
}

#[test]
fn a_node_that_was_given_up_ends_and_registers_only_when_it_is_started_again() {
    let mut rig = Rig::registered();
    rig.tell(ToAgent::Gone { message: "given up".to_owned(), leave: true });
    assert_eq!(rig.halted, None, "started again it would still be the old agent");
    rig.flush();
    assert_eq!(rig.halted.as_deref(), Some("given up"));
    // A leader that comes before the node has ended.
    rig.connect(2);
    assert!(rig.said.is_empty(), "it would be a new agent before it ends: {:?}", rig.said);
    assert_eq!(rig.disk.agent, None);
    rig.crash();
    rig.connect(3);
    let registers = |it: &ToLeader| matches!(it, ToLeader::Register(it) if it.agent.is_none());
    assert!(rig.said.iter().any(registers), "{:?}", rig.said);
}

#[test]
fn a_node_that_was_given_up_ends_though_its_disk_refuses_writes() {
    let leave = || ToAgent::Gone { message: "given up".to_owned(), leave: true };
    let fails = || Event::StorageFailed { why: "no space left on device".to_owned() };
    let mut failed_before = Rig::registered();
    failed_before.event(fails());
    failed_before.tell(leave());
    assert_eq!(failed_before.halted.as_deref(), Some("given up"));
    let mut fails_meanwhile = Rig::registered();
    fails_meanwhile.tell(leave());
    assert_eq!(fails_meanwhile.halted, None);
    fails_meanwhile.event(fails());
    assert_eq!(fails_meanwhile.halted.as_deref(), Some("given up"));
}
