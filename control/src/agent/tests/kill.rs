//! The way from SIGTERM to SIGKILL.

use meshos_protocol::{
    messages::agent::{ToAgent, ToLeader},
    task::{Exit, KILL_GRACE_MAX_MS, Reason, TaskState},
};

use super::rig::{CODE_0, F1, Rig, killed, task, task_id};
use crate::agent::Event;

const TERM: Exit = Exit::Signal { signal: 15 };

fn kill(rig: &mut Rig, name: &str, grace_ms: Option<u64>) {
    rig.tell(ToAgent::Kill { framework: F1, task: task_id(name), grace_ms, drain: None });
}

#[test]
fn a_task_that_is_killed_before_it_is_written_never_starts() {
    let mut rig = Rig::registered();
    rig.launch("a");
    kill(&mut rig, "a", None);
    rig.flush();
    let update = rig.update();
    assert_eq!(killed(&update), (TaskState::Killed, Some(Reason::KilledDuringLaunch)));
    assert!(rig.starts.is_empty());
    assert!(rig.agent.view().used.is_empty());
}

#[test]
fn a_task_that_is_killed_while_it_starts_is_destroyed() {
    for comes_up in [true, false] {
        let mut rig = Rig::registered();
        rig.launch("a");
        rig.flush();
        let container = rig.preparing.pop().unwrap();
        kill(&mut rig, "a", None);
        assert_eq!(rig.destroyed, std::slice::from_ref(&container));
        let killing = rig.update();
        assert_eq!(killing.state, TaskState::Killing);
        rig.acknowledge(&killing);
        if comes_up {
            rig.comes_up(&container);
            assert_eq!(rig.destroyed.len(), 2, "it came up all the same");
            rig.exits(&container, TERM);
        } else {
            let (reason, message) = (Reason::FetchFailed, "interrupted".to_owned());
            rig.event(Event::ContainerFailed { container, reason, message });
        }
        rig.flush();
        assert_eq!(rig.update().state, TaskState::Killed);
    }
}

#[test]
fn a_running_task_gets_its_grace_then_sigkill_again_and_again() {
    let mut rig = Rig::registered();
    let container = rig.run_acknowledged("a");
    kill(&mut rig, "a", None);
    assert_eq!(rig.terminated, std::slice::from_ref(&container));
    let killing = rig.update();
    assert_eq!(killing.state, TaskState::Killing);
    rig.acknowledge(&killing);
    rig.wait(2_999);
    assert!(rig.destroyed.is_empty());
    rig.wait(1);
    assert_eq!(rig.destroyed.len(), 1);
    rig.wait(10_000);
    assert_eq!(rig.destroyed.len(), 2);
    rig.exits(&container, Exit::Signal { signal: 9 });
    rig.flush();
    assert_eq!(killed(&rig.update()), (TaskState::Killed, None));
    rig.wait(60_000);
    assert_eq!(rig.destroyed.len(), 2);
}

#[test]
fn the_grace_is_the_calls_or_else_the_tasks() {
    let mut rig = Rig::registered();
    let mut launch = task("a");
    launch.description.kill_grace_ms = Some(500);
    rig.tell(super::rig::launch_of(F1, vec![launch]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    kill(&mut rig, "a", Some(9_000));
    rig.wait(8_999);
    assert!(rig.destroyed.is_empty());
    kill(&mut rig, "a", None);
    rig.wait(1);
    assert_eq!(rig.destroyed, [container], "a second kill does not prolong the first");
}

#[test]
fn nobody_waits_longer_than_the_longest_grace() {
    let mut rig = Rig::registered();
    let container = rig.run("a");
    kill(&mut rig, "a", Some(u64::MAX));
    rig.wait(KILL_GRACE_MAX_MS - 1);
    assert!(rig.destroyed.is_empty());
    rig.wait(1);
    assert_eq!(rig.destroyed, [container]);
}

#[test]
fn no_grace_is_sigkill_at_once() {
    let mut rig = Rig::registered();
    let container = rig.run("a");
    kill(&mut rig, "a", Some(0));
    assert!(rig.terminated.is_empty());
    assert_eq!(rig.destroyed, [container]);
}

#[test]
fn a_task_that_was_asked_to_end_is_killed_however_it_ends() {
    let mut rig = Rig::registered();
    let container = rig.run("a");
    kill(&mut rig, "a", None);
    rig.exits(&container, CODE_0);
    rig.flush();
    let record = &rig.agent.view().tasks[0].record;
    assert_eq!((record.state, record.exit.clone()), (TaskState::Killed, Some(CODE_0)));
}

#[test]
fn a_kill_of_an_unknown_task_changes_nothing() {
    let mut rig = Rig::registered();
    kill(&mut rig, "a", None);
    assert!(rig.said.is_empty() && rig.pending.is_empty());
}

#[test]
fn a_closed_framework_takes_its_tasks_and_their_updates_along() {
    let mut rig = Rig::registered();
    let running = rig.run("a");
    let ended = rig.run("b");
    rig.exits(&ended, CODE_0);
    rig.flush();
    rig.launch("c");
    rig.said.clear();
    rig.tell(ToAgent::CloseFramework { framework: F1 });
    assert_eq!(rig.terminated, std::slice::from_ref(&running));
    rig.flush();
    assert_eq!(rig.agent.view().tasks.len(), 1, "what was over or not started is forgotten");
    rig.exits(&running, TERM);
    rig.flush();
    assert!(rig.agent.view().tasks.is_empty());
    assert!(rig.disk.records.is_empty() && rig.containers.is_empty());
    let told: Vec<_> = std::mem::take(&mut rig.said);
    assert_eq!(told.len(), 3, "{told:?}");
    for message in told {
        assert!(matches!(message, ToLeader::TaskEnded { .. }), "{message:?}");
    }
}

#[test]
fn a_node_that_stops_kills_its_tasks_and_takes_on_no_more() {
    let mut rig = Rig::registered();
    let container = rig.run_acknowledged("a");
    rig.event(Event::StopTasks);
    assert_eq!(rig.said.remove(0), ToLeader::Leaving);
    let killing = rig.update();
    rig.acknowledge(&killing);
    assert_eq!(rig.terminated, std::slice::from_ref(&container));
    rig.launch("b");
    assert_eq!(killed(&rig.update()), (TaskState::Dropped, Some(Reason::AgentStopped)));
    assert_eq!(rig.agent.unfinished_tasks(), 1);
    rig.exits(&container, TERM);
    assert_eq!(rig.agent.unfinished_tasks(), 1, "its end is not on disk");
    rig.flush();
    assert_eq!(rig.agent.unfinished_tasks(), 0);
    assert_eq!(killed(&rig.update()), (TaskState::Killed, Some(Reason::AgentStopped)));
}
