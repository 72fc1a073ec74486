//! A disk that refuses writes.

use meshos_protocol::{
    messages::agent::ToAgent,
    task::{Reason, TaskState},
};

use super::rig::{CODE_0, F1, Rig, killed, task_id};
use crate::agent::{Event, WriteId};

fn fail(rig: &mut Rig) {
    rig.event(Event::StorageFailed { why: "no space left on device".to_owned() });
    rig.pending.clear();
}

#[test]
fn a_launch_that_may_not_be_on_disk_is_dropped_and_never_started() {
    let mut rig = Rig::registered();
    rig.launch("a");
    fail(&mut rig);
    let update = rig.update();
    assert_eq!(killed(&update), (TaskState::Dropped, Some(Reason::StorageFailed)));
    assert!(update.message.contains("no space left"), "{}", update.message);
    rig.event(Event::Persisted(WriteId(99)));
    rig.launch("b");
    assert_eq!(killed(&rig.update()), (TaskState::Dropped, Some(Reason::StorageFailed)));
    assert!(rig.starts.is_empty() && rig.pending.is_empty());
    assert!(rig.agent.view().storage_failure.is_some());
}

#[test]
fn tasks_run_on_and_can_be_killed_but_their_ends_wait_for_a_restart() {
    let mut rig = Rig::registered();
    let a = rig.run_acknowledged("a");
    let b = rig.run_acknowledged("b");
    fail(&mut rig);
    rig.exits(&a, CODE_0);
    rig.tell(ToAgent::Kill { framework: F1, task: task_id("b"), grace_ms: None, drain: None });
    assert_eq!(rig.terminated, std::slice::from_ref(&b));
    assert_eq!(rig.states(), [TaskState::Killing]);
    rig.exits(&b, CODE_0);
    assert!(rig.updates().is_empty() && rig.released.is_empty());
    rig.crash();
    rig.flush();
    let ends: Vec<_> = rig
        .register_again(2)
        .tasks
        .iter()
        .map(|report| report.unacknowledged.last().unwrap().state)
        .collect();
    assert_eq!(ends, [TaskState::Finished, TaskState::Finished], "the kill was not on disk");
}
