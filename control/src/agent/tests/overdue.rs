//! Tasks that may run for a limited time.

use meshos_protocol::{
    ids::ContainerId,
    messages::agent::ToAgent,
    task::{Exit, Reason, TaskState},
};

use super::{
    executors::{heard, introduces_itself, told, update},
    rig::{CODE_0, F1, Rig, executor_task, killed, launch_of, task, task_id},
};

const TERMINATED: Exit = Exit::Signal { signal: 15 };
const LATE: Option<Reason> = Some(Reason::MaxCompletionTimeReached);

/// A task that is up, whose running update is acknowledged.
fn limited(rig: &mut Rig, limit_ms: u64) -> ContainerId {
    let mut launch = task("a");
    launch.description.max_completion_ms = Some(limit_ms);
    rig.tell(launch_of(F1, vec![launch]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    // What its preparation takes does not count.
    rig.wait(5_000);
    rig.comes_up(&container);
    rig.flush();
    let running = rig.update();
    rig.acknowledge(&running);
    rig.flush();
    container
}

#[test]
fn a_task_that_takes_longer_than_it_may_is_killed_and_has_failed() {
    let mut rig = Rig::registered();
    let container = limited(&mut rig, 60_000);
    rig.wait(59_999);
    assert!(rig.updates().is_empty());
    rig.wait(1);
    let killing = rig.update();
    assert_eq!(killed(&killing), (TaskState::Killing, LATE));
    rig.acknowledge(&killing);
    // It ends well: that is too late.
    rig.exits(&container, CODE_0);
    rig.flush();
    let end = rig.update();
    assert_eq!(killed(&end), (TaskState::Failed, LATE));
    assert_eq!(end.message, "the task had not ended 60s after it began to run");
    assert_eq!(end.exit, Some(CODE_0));
}

#[test]
fn one_that_ends_in_time_has_finished() {
    let mut rig = Rig::registered();
    let container = limited(&mut rig, 60_000);
    rig.wait(59_999);
    rig.exits(&container, CODE_0);
    rig.flush();
    let end = rig.update();
    assert_eq!(killed(&end), (TaskState::Finished, None));
    rig.acknowledge(&end);
    rig.flush();
    rig.wait(60_000);
    assert!(rig.updates().is_empty() && rig.destroyed.is_empty());
}

#[test]
fn one_that_was_killed_before_that_was_killed() {
    let mut rig = Rig::registered();
    let container = limited(&mut rig, 60_000);
    let grace_ms = Some(100_000);
    rig.tell(ToAgent::Kill { framework: F1, task: task_id("a"), grace_ms, drain: None });
    let killing = rig.update();
    assert_eq!(killed(&killing), (TaskState::Killing, None));
    rig.acknowledge(&killing);
    rig.wait(70_000);
    assert!(rig.destroyed.is_empty());
    rig.exits(&container, TERMINATED);
    rig.flush();
    assert_eq!(killed(&rig.update()), (TaskState::Killed, None));
}

#[test]
fn the_time_goes_on_while_the_agent_is_away() {
    for (away, left) in [(20_000, 40_000), (90_000, 0)] {
        let mut rig = Rig::registered();
        let container = limited(&mut rig, 60_000);
        rig.now.wall.0 += away;
        rig.now.mono.0 += away;
        rig.crash();
        rig.register_again(2);
        if left > 0 {
            rig.wait(left - 1);
            rig.flush();
            assert!(!rig.disk.records[&(F1, task_id("a"))].kill_asked, "away for {away} ms");
        }
        rig.wait(1);
        rig.flush();
        assert!(rig.disk.records[&(F1, task_id("a"))].overdue, "away for {away} ms");
        // Why it ends is known after another restart, too.
        rig.crash();
        rig.exits(&container, TERMINATED);
        rig.flush();
        let record = &rig.disk.records[&(F1, task_id("a"))];
        assert_eq!(killed(record.unacknowledged.last().unwrap()), (TaskState::Failed, LATE));
    }
}

#[test]
fn the_executor_of_a_task_is_asked_to_end_it() {
    let mut rig = Rig::registered();
    let mut launch = executor_task("a", true);
    launch.description.max_completion_ms = Some(1_000);
    rig.tell(launch_of(F1, vec![launch]));
    rig.flush();
    let executor = rig.preparing.pop().unwrap();
    rig.comes_up(&executor);
    introduces_itself(&mut rig, &executor);
    update(&mut rig, &executor, told("a", TaskState::Running, 1));
    rig.flush();
    let first = rig.update();
    rig.acknowledge(&first);
    heard(&mut rig);
    rig.wait(1_000);
    assert_eq!(heard(&mut rig), ["kill a"]);
    update(&mut rig, &executor, told("a", TaskState::Killed, 2));
    rig.flush();
    let end = rig.update();
    assert_eq!((killed(&end), end.message.as_str()), ((TaskState::Failed, LATE), "update 2"));
}
