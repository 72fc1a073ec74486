//! Groups: all of their tasks are launched, handed over and ended before they begin, or none.

use meshos_protocol::{
    ids::{ContainerId, ExecutorId},
    messages::{
        agent::ToAgent,
        executor::{Call, Event as ExecutorEvent, Subscribe},
    },
    task::{Reason, TaskLaunch, TaskState},
};

use super::{
    executors::{ended, heard, says, subscription, told, update},
    rig::{CODE_0, F1, Rig, executor_task, group, launch_of, task_id},
};
use crate::agent::Event;

fn pod() -> ExecutorId {
    ExecutorId::new("pod").unwrap()
}

fn launch_group(rig: &mut Rig, tasks: Vec<TaskLaunch>) {
    rig.tell(ToAgent::LaunchGroup { framework: F1, user: String::new(), info: None, tasks });
}

fn kill(rig: &mut Rig, task: &str) {
    let (task, grace_ms) = (task_id(task), None);
    rig.tell(ToAgent::Kill { framework: F1, task, grace_ms, drain: None });
}

fn connects(rig: &mut Rig, container: &ContainerId, groups: bool, again: bool, has: &[&str]) {
    let tasks = has.iter().map(|task| task_id(task)).collect();
    let subscribe =
        Subscribe { executor: pod(), groups, again, tasks, ..subscription(container, 1) };
    says(rig, container, Call::Subscribe(subscribe));
    rig.flush();
}

/// A group of two whose executor's container runs.
fn started(rig: &mut Rig) -> ContainerId {
    launch_group(rig, group(&["a", "b"], true));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    container
}

/// The same, handed over.
fn running(rig: &mut Rig) -> ContainerId {
    let container = started(rig);
    connects(rig, &container, true, false, &[]);
    assert_eq!(heard(rig), ["subscribed", "launch group a b"]);
    container
}

/// Tasks, states and reasons of the updates since the last look.
fn ends(rig: &mut Rig) -> Vec<(String, TaskState, Option<Reason>)> {
    let updates = rig.updates().into_iter();
    updates.map(|it| (it.task.to_string(), it.state, it.reason)).collect()
}

#[test]
fn a_group_is_written_and_handed_over_as_one() {
    let mut rig = Rig::registered();
    launch_group(&mut rig, group(&["a", "b", "c"], true));
    // The executor's record and one for all tasks.
    assert_eq!(rig.pending.len(), 2);
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    assert!(rig.preparing.is_empty(), "one container for all");
    assert_eq!(rig.agent.view().used, "cpus:3.5;mem:224".parse().unwrap());
    rig.comes_up(&container);
    connects(&mut rig, &container, true, false, &[]);
    let told = std::mem::take(&mut rig.told);
    let (_, ExecutorEvent::LaunchGroup { tasks }) = &told[1] else { panic!("{told:?}") };
    assert_eq!(tasks.len(), 3);
    // The executor in the box is told the agent's default.
    assert!(tasks.iter().all(|task| task.kill_grace_ms.is_some() && task.executor.is_none()));
}

#[test]
fn the_executor_in_the_box_is_told_to_end_when_the_last_end_is_on_disk() {
    let mut rig = Rig::registered();
    let container = running(&mut rig);
    update(&mut rig, &container, told("a", TaskState::Finished, 1));
    rig.flush();
    assert_eq!(heard(&mut rig), ["acknowledged a 1"]);
    update(&mut rig, &container, told("b", TaskState::Finished, 2));
    assert!(heard(&mut rig).is_empty());
    rig.flush();
    assert_eq!(heard(&mut rig), ["acknowledged b 2", "shutdown"]);
    // What comes now is refused whole, and can be launched again.
    rig.updates();
    launch_group(&mut rig, group(&["c", "d"], false));
    let refused = Some(Reason::ExecutorTerminated);
    let dropped = |task: &str| (task.to_owned(), TaskState::Dropped, refused);
    assert_eq!(ends(&mut rig), [dropped("c"), dropped("d")]);
    rig.exits(&container, CODE_0);
    rig.flush();
    assert_eq!(ended(&mut rig), [(pod(), Some(CODE_0))]);
    assert!(rig.agent.view().used.is_empty() && rig.agent.view().executors.is_empty());
}

#[test]
fn a_kill_before_the_start_ends_all_of_the_group_and_its_executor() {
    for written in [false, true] {
        let mut rig = Rig::registered();
        launch_group(&mut rig, group(&["a", "b"], true));
        if written {
            rig.flush();
        }
        kill(&mut rig, "b");
        rig.flush();
        let killed = |task: &str, reason| (task.to_owned(), TaskState::Killed, Some(reason));
        assert_eq!(
            ends(&mut rig),
            [killed("b", Reason::KilledDuringLaunch), killed("a", Reason::TaskGroupEnded)]
        );
        assert!(rig.starts.is_empty());
        while let Some(container) = rig.preparing.pop() {
            rig.comes_up(&container);
            rig.exits(&container, CODE_0);
        }
        rig.flush();
        assert!(rig.agent.view().executors.is_empty(), "nobody else would end it");
    }
}

#[test]
fn a_group_that_a_crash_took_before_it_was_written_is_not_there_and_one_that_was_is_whole() {
    let mut rig = Rig::registered();
    launch_group(&mut rig, group(&["a", "b"], true));
    rig.flush_some(1);
    rig.crash();
    assert!(rig.disk.records.is_empty() && rig.agent.view().tasks.is_empty());

    let mut rig = Rig::registered();
    let container = started(&mut rig);
    rig.crash();
    rig.register_again(2);
    assert_eq!(rig.agent.view().tasks.len(), 2);
    connects(&mut rig, &container, true, false, &[]);
    assert_eq!(heard(&mut rig), ["subscribed", "launch group a b"]);
}

#[test]
fn a_kill_while_the_executor_is_awaited_after_a_restart_ends_all() {
    let mut rig = Rig::registered();
    let container = started(&mut rig);
    rig.crash();
    rig.register_again(2);
    kill(&mut rig, "a");
    connects(&mut rig, &container, true, false, &[]);
    let told = heard(&mut rig);
    assert!(!told.iter().any(|it| it.starts_with("launch")), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("shutdown"));
    let states: Vec<_> = ends(&mut rig).into_iter().map(|(task, state, _)| (task, state)).collect();
    assert_eq!(states, [("a".to_owned(), TaskState::Killed), ("b".to_owned(), TaskState::Killed)]);
}

#[test]
fn what_was_handed_over_goes_on_over_a_crash_and_what_was_not_is_dropped_whole() {
    let mut rig = Rig::registered();
    let container = running(&mut rig);
    rig.crash();
    rig.register_again(2);
    connects(&mut rig, &container, true, true, &["a", "b"]);
    assert_eq!(heard(&mut rig), ["subscribed"]);
    rig.crash();
    rig.register_again(3);
    connects(&mut rig, &container, true, true, &[]);
    let dropped = Some(Reason::LaunchInterrupted);
    let dropped = |task: &str| (task.to_owned(), TaskState::Dropped, dropped);
    assert_eq!(ends(&mut rig), [dropped("a"), dropped("b")]);
    assert_eq!(heard(&mut rig), ["subscribed", "shutdown"]);
}

#[test]
fn an_executor_that_knows_no_groups_is_handed_none() {
    let mut rig = Rig::registered();
    let container = started(&mut rig);
    connects(&mut rig, &container, false, false, &[]);
    assert!(!heard(&mut rig).iter().any(|told| told.starts_with("launch")));
    let invalid = Some(Reason::TaskGroupInvalid);
    let dropped = |task: &str| (task.to_owned(), TaskState::Dropped, invalid);
    assert_eq!(ends(&mut rig), [dropped("a"), dropped("b")]);
}

#[test]
fn a_group_of_which_one_does_not_fit_or_is_known_is_refused_whole() {
    let mut rig = Rig::registered();
    // Four cpus are there; each task takes one, their executor half of one.
    launch_group(&mut rig, group(&["a", "b", "c", "d"], true));
    let told = ends(&mut rig);
    assert_eq!(told.len(), 4);
    let exceeded = (TaskState::Dropped, Some(Reason::ResourcesExceeded));
    assert!(told.iter().all(|it| (it.1, it.2) == exceeded), "{told:?}");
    assert!(rig.pending.is_empty() && rig.agent.view().executors.is_empty());
    rig.tell(launch_of(F1, vec![executor_task("b", true)]));
    launch_group(&mut rig, group(&["a", "b"], true));
    let told = ends(&mut rig);
    let invalid = Some(Reason::TaskGroupInvalid);
    assert_eq!(told[0], ("a".to_owned(), TaskState::Dropped, invalid));
    assert_eq!((told[1].0.as_str(), told[1].1), ("b", TaskState::Staging));
    assert_eq!(rig.agent.view().tasks.len(), 1);
}

#[test]
fn a_disk_that_fails_drops_all_of_a_group() {
    let mut rig = Rig::registered();
    launch_group(&mut rig, group(&["a", "b"], true));
    rig.event(Event::StorageFailed { why: "full".to_owned() });
    let failed = Some(Reason::StorageFailed);
    let dropped = |task: &str| (task.to_owned(), TaskState::Dropped, failed);
    assert_eq!(ends(&mut rig), [dropped("a"), dropped("b")]);
}
