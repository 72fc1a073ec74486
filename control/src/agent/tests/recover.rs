//! Every state in which a crash can leave a task.

use meshos_protocol::{
    messages::agent::ToAgent,
    task::{Exit, Reason, StatusUpdate, TaskState},
};

use super::rig::{CODE_0, F1, Rig, killed, task_id};
use crate::agent::FoundContainer;

/// Crashes, registers again, and returns the updates that reach the leader.
fn crash_and_tell(rig: &mut Rig) -> Vec<StatusUpdate> {
    rig.crash();
    told(rig)
}

fn told(rig: &mut Rig) -> Vec<StatusUpdate> {
    rig.flush();
    let registration = rig.register_again(2);
    registration.tasks.into_iter().flat_map(|report| report.unacknowledged).collect()
}

#[test]
fn a_launch_that_was_not_written_is_forgotten() {
    let mut rig = Rig::registered();
    rig.launch("a");
    assert!(crash_and_tell(&mut rig).is_empty());
    assert!(rig.starts.is_empty());
}

#[test]
fn a_launch_without_a_container_is_dropped_not_started() {
    let mut rig = Rig::registered();
    rig.launch("a");
    rig.flush();
    let updates = crash_and_tell(&mut rig);
    assert_eq!(killed(&updates[0]), (TaskState::Dropped, Some(Reason::LaunchInterrupted)));
    assert_eq!(rig.starts.len(), 1, "asked for before the crash, not after");
}

#[test]
fn a_launch_whose_container_came_up_runs() {
    let mut rig = Rig::registered();
    rig.launch("a");
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    let found = FoundContainer { container: container.clone(), ended: None, pid: Some(5) };
    rig.containers.insert(container, found);
    let updates = crash_and_tell(&mut rig);
    assert_eq!(killed(&updates[0]), (TaskState::Running, None));
    assert_eq!(rig.agent.view().tasks[0].pid, Some(5));
}

#[test]
fn a_running_task_is_adopted_without_a_word() {
    let mut rig = Rig::registered();
    rig.run_acknowledged("a");
    rig.flush();
    let began = rig.agent.view().tasks[0].record.started_at;
    rig.crash();
    assert!(rig.pending.is_empty());
    let record = &rig.agent.view().tasks[0].record;
    assert_eq!((record.state, record.started_at), (TaskState::Running, began));
    assert!(began.is_some());
    assert_eq!(rig.agent.view().used, "cpus:1;mem:64".parse().unwrap());
}

#[test]
fn an_exit_that_fell_into_the_gap_is_told() {
    let mut rig = Rig::registered();
    let container = rig.run_acknowledged("a");
    rig.exits_unseen(&container, Exit::Code { code: 3 });
    let updates = crash_and_tell(&mut rig);
    let last = updates.last().unwrap();
    assert_eq!(killed(last), (TaskState::Failed, Some(Reason::CommandFailed)));
    assert_eq!(rig.released, [container]);
}

#[test]
fn an_end_that_was_not_written_is_found_again() {
    let mut rig = Rig::registered();
    let container = rig.run_acknowledged("a");
    rig.exits(&container, CODE_0);
    let updates = crash_and_tell(&mut rig);
    assert_eq!(updates.last().unwrap().state, TaskState::Finished);
    assert_eq!(rig.released, [container]);
}

#[test]
fn an_end_that_was_written_is_told_under_the_same_id() {
    let mut rig = Rig::registered();
    let container = rig.run_acknowledged("a");
    rig.exits(&container, CODE_0);
    rig.flush();
    let finished = rig.update();
    let updates = crash_and_tell(&mut rig);
    assert_eq!(updates, [finished]);
}

#[test]
fn a_release_that_the_launcher_never_heard_is_repeated() {
    let mut rig = Rig::registered();
    let container = rig.run_acknowledged("a");
    rig.exits(&container, CODE_0);
    rig.flush();
    let found =
        FoundContainer { container: container.clone(), ended: Some((CODE_0, None)), pid: None };
    rig.containers.insert(container.clone(), found);
    rig.released.clear();
    rig.crash();
    assert_eq!(rig.released, [container]);
}

#[test]
fn a_container_that_nobody_knows_any_more_failed() {
    let mut rig = Rig::registered();
    rig.run_acknowledged("a");
    rig.containers.clear();
    let updates = crash_and_tell(&mut rig);
    assert_eq!(
        killed(updates.last().unwrap()),
        (TaskState::Failed, Some(Reason::ExitStatusUnreadable))
    );
}

#[test]
fn after_a_reboot_every_task_is_over_and_none_is_said_to_have_been_dropped() {
    let mut rig = Rig::registered();
    rig.run_acknowledged("a");
    rig.launch("b");
    rig.flush();
    rig.reboot();
    for update in told(&mut rig).iter().filter(|update| update.state != TaskState::Running) {
        assert_eq!(killed(update), (TaskState::Failed, Some(Reason::AgentRebooted)));
    }
    assert!(rig.agent.view().used.is_empty());
}

#[test]
fn a_kill_goes_on_after_a_crash() {
    let mut rig = Rig::registered();
    let container = rig.run_acknowledged("a");
    rig.tell(ToAgent::Kill { framework: F1, task: task_id("a"), grace_ms: None, drain: None });
    rig.flush();
    rig.terminated.clear();
    rig.crash();
    assert_eq!(rig.terminated, std::slice::from_ref(&container));
    rig.wait(3_000);
    assert_eq!(rig.destroyed, std::slice::from_ref(&container));
    rig.exits(&container, Exit::Signal { signal: 9 });
    let updates = told(&mut rig);
    assert_eq!(updates.last().unwrap().state, TaskState::Killed);
}

#[test]
fn a_kill_while_starting_that_ended_in_a_crash_is_a_kill() {
    let mut rig = Rig::registered();
    rig.launch("a");
    rig.flush();
    rig.tell(ToAgent::Kill { framework: F1, task: task_id("a"), grace_ms: None, drain: None });
    rig.flush();
    let updates = crash_and_tell(&mut rig);
    assert_eq!(updates.last().unwrap().state, TaskState::Killed);
}

#[test]
fn containers_without_a_record_are_removed() {
    let mut rig = Rig::registered();
    let running = rig.run_acknowledged("a");
    let ended = rig.run_acknowledged("b");
    rig.exits_unseen(&ended, CODE_0);
    rig.disk.records.clear();
    rig.crash();
    assert_eq!((&rig.destroyed, &rig.released), (&vec![running.clone()], &vec![ended]));
    rig.exits(&running, CODE_0);
    assert_eq!(rig.released.last(), Some(&running));
}
