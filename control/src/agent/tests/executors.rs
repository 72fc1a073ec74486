//! Executors: started once, handed each task once, and ended with all that runs in them.

use meshos_protocol::{
    ids::{ContainerId, ExecutorId, UpdateId},
    messages::{
        agent::{ToAgent, ToLeader},
        executor::{Call, Event as ExecutorEvent, ExecutorStatus, Subscribe},
    },
    task::{Exit, Reason, Source, TaskState},
};

use super::rig::{F1, Rig, executor_task, launch_of, task_id};
use crate::agent::{Event, TaskRecord};

const EXIT_1: Exit = Exit::Code { code: 1 };

pub(super) fn pool() -> ExecutorId {
    ExecutorId::new("pool").unwrap()
}

fn update_id(number: u8) -> UpdateId {
    UpdateId::from_bytes([number; 16])
}

pub(super) fn told(task: &str, state: TaskState, number: u8) -> ExecutorStatus {
    ExecutorStatus {
        task: task_id(task),
        state,
        update: update_id(number),
        reason: None,
        message: format!("update {number}"),
        data: vec![number],
        at: None,
        healthy: None,
        check_status: None,
    }
}

/// Names of what an executor was told since the last look.
pub(super) fn heard(rig: &mut Rig) -> Vec<String> {
    let told = std::mem::take(&mut rig.told).into_iter();
    told.map(|(_, event)| match event {
        ExecutorEvent::Subscribed(_) => "subscribed".to_owned(),
        ExecutorEvent::Launch { task } => {
            assert_eq!(task.executor, None);
            format!("launch {}", task.task_id)
        }
        ExecutorEvent::LaunchGroup { tasks } => {
            assert!(tasks.iter().all(|task| task.executor.is_none()), "{tasks:?}");
            let names: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
            format!("launch group {}", names.join(" "))
        }
        ExecutorEvent::Kill { task, .. } => format!("kill {task}"),
        ExecutorEvent::Acknowledged { task, update } => {
            format!("acknowledged {task} {}", update.as_bytes()[0])
        }
        ExecutorEvent::Message { data } => format!("message {data:?}"),
        ExecutorEvent::Shutdown { .. } => "shutdown".to_owned(),
        ExecutorEvent::Error { message } => format!("error: {message}"),
        ExecutorEvent::Unknown => "unknown".to_owned(),
    })
    .collect()
}

pub(super) fn says(rig: &mut Rig, container: &ContainerId, call: Call) {
    rig.event(Event::ExecutorCalled { container: container.clone(), call });
}

pub(super) fn update(rig: &mut Rig, container: &ContainerId, status: ExecutorStatus) {
    says(rig, container, Call::Update { status });
}

fn subscribes(
    rig: &mut Rig,
    container: &ContainerId,
    again: bool,
    tasks: &[&str],
    updates: Vec<ExecutorStatus>,
) {
    let subscribe = Subscribe {
        again,
        tasks: tasks.iter().map(|task| task_id(task)).collect(),
        updates,
        ..subscription(container, 1)
    };
    says(rig, container, Call::Subscribe(subscribe));
}

/// What a program says that has nothing yet.
pub(super) fn subscription(container: &ContainerId, program: u64) -> Subscribe {
    Subscribe {
        version: 1,
        version_min: 1,
        token: String::new(),
        framework: F1,
        executor: pool(),
        container: container.clone(),
        program,
        again: false,
        acknowledged_left_out: false,
        groups: true,
        tasks: Vec::new(),
        updates: Vec::new(),
    }
}

/// That it has subscribed is on disk too.
pub(super) fn introduces_itself(rig: &mut Rig, container: &ContainerId) {
    subscribes(rig, container, false, &[], vec![]);
    rig.flush();
}

/// Launches a task that starts the executor, whose container comes up.
fn started(rig: &mut Rig, task: &str) -> ContainerId {
    rig.tell(launch_of(F1, vec![executor_task(task, true)]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    assert_eq!(rig.served, std::slice::from_ref(&container));
    container
}

/// The same, and the executor has subscribed and runs the task.
pub(super) fn running(rig: &mut Rig, task: &str) -> ContainerId {
    let container = started(rig, task);
    introduces_itself(rig, &container);
    assert_eq!(heard(rig), ["subscribed".to_owned(), format!("launch {task}")]);
    container
}

pub(super) fn ended(rig: &mut Rig) -> Vec<(ExecutorId, Option<Exit>)> {
    let said = std::mem::take(&mut rig.said).into_iter();
    said.filter_map(|message| {
        let ToLeader::ExecutorEnded { executor, exit, .. } = message else { return None };
        Some((executor, exit))
    })
    .collect()
}

fn record(rig: &Rig, task: &str) -> TaskRecord {
    rig.disk.records[&(F1, task_id(task))].clone()
}

#[test]
fn an_executor_is_started_once_and_runs_what_waited_for_it_and_what_comes_later() {
    let mut rig = Rig::registered();
    rig.tell(launch_of(F1, vec![executor_task("a", true), executor_task("b", false)]));
    assert!(rig.preparing.is_empty(), "nothing starts before it is on disk");
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    assert!(rig.preparing.is_empty(), "one container for both");
    // Half a cpu for the executor, one for each task.
    assert_eq!(rig.agent.view().used, "cpus:2.5;mem:160".parse().unwrap());
    rig.comes_up(&container);
    assert_eq!(rig.limited.last().unwrap().1, "cpus:2.5;mem:160".parse().unwrap());
    assert!(rig.told.is_empty());
    introduces_itself(&mut rig, &container);
    assert_eq!(heard(&mut rig), ["subscribed", "launch a", "launch b"]);
    rig.tell(launch_of(F1, vec![executor_task("c", false)]));
    assert!(heard(&mut rig).is_empty());
    rig.flush();
    assert_eq!(heard(&mut rig), ["launch c"]);
    assert_eq!(rig.limited.last().unwrap().1, "cpus:3.5;mem:224".parse().unwrap());
}

#[test]
fn an_update_keeps_its_id_and_is_acknowledged_when_it_is_on_disk() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    update(&mut rig, &container, told("a", TaskState::Running, 1));
    let sent = rig.update();
    assert_eq!((sent.update, sent.source), (Some(update_id(1)), Source::Executor));
    assert_eq!((sent.executor, sent.data), (Some(pool()), vec![1]));
    // Told again before it is on disk, it is not taken twice; nor afterwards.
    update(&mut rig, &container, told("a", TaskState::Running, 1));
    assert!(heard(&mut rig).is_empty());
    rig.flush();
    assert_eq!(heard(&mut rig), ["acknowledged a 1"]);
    update(&mut rig, &container, told("a", TaskState::Running, 1));
    assert_eq!(heard(&mut rig), ["acknowledged a 1"]);
    assert!(rig.updates().is_empty());
    rig.acknowledge_id(&task_id("a"), update_id(1));
    update(&mut rig, &container, told("a", TaskState::Finished, 2));
    assert!(rig.updates().is_empty() && heard(&mut rig).is_empty(), "not before it is on disk");
    rig.flush();
    let last = rig.update();
    assert_eq!((last.state, last.update), (TaskState::Finished, Some(update_id(2))));
    assert_eq!(heard(&mut rig), ["acknowledged a 2"]);
    assert_eq!(rig.agent.view().used, "cpus:0.5;mem:32".parse().unwrap(), "the executor stays");
    assert_eq!(rig.limited.last().unwrap().1, "cpus:0.5;mem:32".parse().unwrap());
    update(&mut rig, &container, told("a", TaskState::Finished, 2));
    assert_eq!(heard(&mut rig), ["acknowledged a 2"], "told again after its end");
    rig.acknowledge(&last);
    rig.flush();
    update(&mut rig, &container, told("a", TaskState::Finished, 2));
    assert_eq!(heard(&mut rig), ["acknowledged a 2"], "of a task that is forgotten");
}

#[test]
fn updates_for_which_there_was_no_room_are_told_in_their_order_when_they_come_again() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    for number in 1..=100 {
        update(&mut rig, &container, told("a", TaskState::Running, number));
        rig.flush();
    }
    // There is no room for the next, and so for none after it, be it the last.
    update(&mut rig, &container, told("a", TaskState::Running, 101));
    let first = rig.update();
    rig.acknowledge(&first);
    update(&mut rig, &container, told("a", TaskState::Running, 102));
    update(&mut rig, &container, told("a", TaskState::Finished, 103));
    rig.flush();
    heard(&mut rig);
    assert_eq!(rig.agent.view().tasks[0].record.state, TaskState::Running);
    // They are told again, as they were.
    for (state, number) in [(TaskState::Running, 101), (TaskState::Finished, 103)] {
        update(&mut rig, &container, told("a", state, number));
    }
    rig.flush();
    assert_eq!(heard(&mut rig), ["acknowledged a 101", "acknowledged a 103"]);
    let mut told = Vec::new();
    loop {
        let updates = rig.updates();
        let Some(last) = updates.last() else { break };
        rig.acknowledge(last);
        told.extend(updates.iter().filter_map(|it| it.update).map(|it| it.as_bytes()[0]));
        rig.flush();
    }
    let expected: Vec<u8> = (2..=101).chain([103]).collect();
    assert_eq!(told, expected);
}

#[test]
fn an_executor_tells_only_what_it_may_of_what_it_has() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    let plain = rig.run_acknowledged("plain");
    for (task, state) in [("a", TaskState::Staging), ("a", TaskState::GoneByOperator)] {
        update(&mut rig, &container, told(task, state, 9));
    }
    // Of others' tasks it is told that they are settled, and nothing comes of it.
    update(&mut rig, &container, told("plain", TaskState::Failed, 8));
    assert_eq!(heard(&mut rig), ["acknowledged plain 8"]);
    rig.flush();
    assert!(rig.updates().is_empty());
    assert_eq!(rig.agent.view().counters.executor_calls_refused, 2);
    // Nor does the container of a plain task speak for anybody.
    update(&mut rig, &plain, told("a", TaskState::Failed, 7));
    subscribes(&mut rig, &plain, false, &[], vec![]);
    assert!(heard(&mut rig)[0].starts_with("error: "), "it is no executor's container");
    assert!(rig.updates().is_empty());
}

#[test]
fn a_kill_goes_through_the_executor_and_again_when_it_comes_back() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    let kill = ToAgent::Kill { framework: F1, task: task_id("a"), grace_ms: None, drain: None };
    rig.tell(kill.clone());
    assert_eq!(heard(&mut rig), ["kill a"]);
    rig.event(Event::ExecutorDisconnected { container: container.clone() });
    rig.tell(kill);
    assert!(heard(&mut rig).is_empty() && rig.destroyed.is_empty() && rig.terminated.is_empty());
    subscribes(&mut rig, &container, true, &["a"], vec![]);
    assert_eq!(heard(&mut rig), ["subscribed", "kill a"]);
    update(&mut rig, &container, told("a", TaskState::Killed, 1));
    rig.flush();
    assert_eq!(rig.states(), [TaskState::Killed]);
}

#[test]
fn tasks_that_are_killed_before_their_executor_is_there_end_at_once_and_it_is_not_kept() {
    let mut rig = Rig::registered();
    let container = started(&mut rig, "a");
    rig.tell(ToAgent::Kill { framework: F1, task: task_id("a"), grace_ms: None, drain: None });
    rig.flush();
    assert_eq!(rig.update().reason, Some(Reason::KilledDuringLaunch));
    introduces_itself(&mut rig, &container);
    assert_eq!(heard(&mut rig), ["subscribed", "shutdown"]);
}

#[test]
fn an_executor_that_ends_takes_its_tasks_with_it_and_what_it_held_is_free() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    update(&mut rig, &container, told("a", TaskState::Running, 1));
    rig.tell(launch_of(F1, vec![executor_task("b", false)]));
    rig.flush();
    let first = rig.update();
    rig.acknowledge(&first);
    rig.exits(&container, EXIT_1);
    assert!(rig.said.is_empty(), "nothing is told before it is on disk");
    rig.flush();
    let (updates, others): (Vec<_>, Vec<_>) = std::mem::take(&mut rig.said)
        .into_iter()
        .partition(|message| matches!(message, ToLeader::Update { .. }));
    for message in &updates {
        let ToLeader::Update { status } = message else { unreachable!() };
        let end = (status.state, status.reason);
        assert_eq!(end, (TaskState::Failed, Some(Reason::ExecutorTerminated)));
        assert_eq!(status.executor, Some(pool()));
    }
    assert_eq!(updates.len(), 2);
    rig.said = others;
    assert_eq!(ended(&mut rig), [(pool(), Some(EXIT_1))]);
    assert!(rig.agent.view().used.is_empty());
    assert_eq!(rig.released, [container]);
    assert!(rig.disk.executors.is_empty());
    // What comes for it now comes too late, unless the leader has paid for another.
    rig.tell(launch_of(F1, vec![executor_task("late", false)]));
    let late = rig.update();
    assert_eq!((late.state, late.reason), (TaskState::Dropped, Some(Reason::ExecutorTerminated)));
    started_again(&mut rig);
}

fn started_again(rig: &mut Rig) {
    rig.tell(launch_of(F1, vec![executor_task("anew", true)]));
    rig.flush();
    assert_eq!(rig.preparing.len(), 1);
}

#[test]
fn the_leader_is_told_when_nothing_came_of_an_executor_that_it_paid_for() {
    let mut rig = Rig::registered();
    let mut large = executor_task("large", true);
    large.executor_resources = Some("cpus:3.5".parse().unwrap());
    rig.tell(launch_of(F1, vec![large]));
    assert_eq!(ended(&mut rig), [(pool(), None)]);
    assert_eq!(rig.agent.view().counters.launches_without_room, 1);
    rig.run_acknowledged("known");
    rig.said.clear();
    rig.tell(launch_of(F1, vec![executor_task("known", true)]));
    assert_eq!(ended(&mut rig), [(pool(), None)]);
    rig.tell(launch_of(F1, vec![executor_task("a", true)]));
    rig.event(Event::StorageFailed { why: "full".to_owned() });
    assert_eq!(ended(&mut rig), [(pool(), None)]);
    assert_eq!(rig.agent.view().used, "cpus:1;mem:64".parse().unwrap());
}

#[test]
fn an_executor_that_does_not_register_in_time_is_ended() {
    let mut rig = Rig::registered();
    let container = started(&mut rig, "a");
    rig.wait(59_999);
    assert!(rig.destroyed.is_empty());
    rig.wait(1);
    assert_eq!(rig.destroyed, std::slice::from_ref(&container));
    rig.exits(&container, Exit::Signal { signal: 9 });
    rig.flush();
    let end = rig.updates().remove(0);
    assert_eq!(end.state, TaskState::Failed);
    assert_eq!(end.reason, Some(Reason::ExecutorRegistrationTimeout));
}

#[test]
fn an_executor_that_cannot_be_started_fails_its_tasks_with_the_reason() {
    let mut rig = Rig::registered();
    rig.tell(launch_of(F1, vec![executor_task("a", true)]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    let (reason, message) = (Reason::FetchFailed, "no such file".to_owned());
    rig.event(Event::ContainerFailed { container, reason, message });
    rig.flush();
    assert_eq!(rig.updates()[0].reason, Some(Reason::FetchFailed));
    assert!(rig.agent.view().used.is_empty());
}

#[test]
fn a_shutdown_gives_time_and_then_none() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    rig.tell(ToAgent::ShutdownExecutor { framework: F1, executor: pool(), grace_max_ms: None });
    assert_eq!(heard(&mut rig), ["shutdown"]);
    // It takes nothing more.
    rig.tell(launch_of(F1, vec![executor_task("b", false)]));
    assert_eq!(rig.update().reason, Some(Reason::ExecutorTerminated));
    rig.wait(4_999);
    assert!(rig.destroyed.is_empty());
    rig.wait(1);
    assert_eq!(rig.destroyed, std::slice::from_ref(&container));
    rig.exits(&container, Exit::Signal { signal: 9 });
    rig.flush();
    assert_eq!(rig.states(), [TaskState::Failed]);
}

#[test]
fn executors_end_with_their_framework_and_with_their_agent_id() {
    for gone in [false, true] {
        let mut rig = Rig::registered();
        let container = running(&mut rig, "a");
        rig.said.clear();
        if gone {
            rig.tell(ToAgent::Gone { message: String::new(), leave: false });
            assert_eq!(rig.destroyed, std::slice::from_ref(&container));
        } else {
            rig.tell(ToAgent::CloseFramework { framework: F1 });
            assert_eq!(heard(&mut rig), ["shutdown"]);
        }
        rig.exits(&container, EXIT_1);
        rig.flush();
        let view = rig.agent.view();
        assert!(view.tasks.is_empty() && view.executors.is_empty() && view.used.is_empty());
        assert!(rig.disk.records.is_empty() && rig.disk.executors.is_empty());
        let registered_anew = rig.said.iter().any(|it| matches!(it, ToLeader::Register(_)));
        assert_eq!(registered_anew, gone);
    }
}

#[test]
fn an_executor_outlives_its_agents_process_and_tells_what_was_not_acknowledged() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    update(&mut rig, &container, told("a", TaskState::Running, 1));
    rig.flush();
    rig.tell(launch_of(F1, vec![executor_task("b", false), executor_task("c", false)]));
    rig.flush();
    rig.told.clear();
    // What is said now does not reach the disk any more.
    update(&mut rig, &container, told("b", TaskState::Finished, 2));
    rig.served.clear();
    rig.crash();
    assert_eq!(rig.served, std::slice::from_ref(&container));
    let registration = rig.register_again(2);
    assert_eq!(registration.executors.unwrap().len(), 1);
    rig.said.clear();
    let again = vec![told("a", TaskState::Running, 1), told("b", TaskState::Finished, 2)];
    subscribes(&mut rig, &container, true, &["a", "b"], again);
    // The first was on disk; nobody knows of the third, which was on its way when the agent died.
    assert_eq!(heard(&mut rig), ["subscribed", "acknowledged a 1"]);
    rig.flush();
    assert_eq!(heard(&mut rig), ["acknowledged b 2"]);
    let updates = rig.updates();
    let of = |task: &str| updates.iter().find(|it| it.task == task_id(task)).unwrap();
    assert_eq!((of("b").state, of("b").update), (TaskState::Finished, Some(update_id(2))));
    assert_eq!(
        (of("c").state, of("c").reason),
        (TaskState::Dropped, Some(Reason::LaunchInterrupted))
    );
    assert!(!updates.iter().any(|it| it.task == task_id("a")), "known from the registration");
    assert_eq!(record(&rig, "a").state, TaskState::Running);
}

#[test]
fn an_executor_that_never_had_a_task_gets_those_that_waited_over_a_restart() {
    let mut rig = Rig::registered();
    let container = started(&mut rig, "a");
    rig.crash();
    rig.register_again(2);
    introduces_itself(&mut rig, &container);
    assert_eq!(heard(&mut rig), ["subscribed", "launch a"]);
}

#[test]
fn nothing_is_handed_over_before_it_is_on_disk_that_the_executor_has_subscribed() {
    let mut rig = Rig::registered();
    let container = started(&mut rig, "a");
    subscribes(&mut rig, &container, false, &[], vec![]);
    rig.tell(launch_of(F1, vec![executor_task("b", false)]));
    assert_eq!(heard(&mut rig), ["subscribed"]);
    // The agent dies before that: nobody has been handed anything.
    rig.crash();
    rig.register_again(2);
    introduces_itself(&mut rig, &container);
    assert_eq!(heard(&mut rig), ["subscribed", "launch a"]);
    rig.tell(launch_of(F1, vec![executor_task("b", false)]));
    rig.flush();
    assert_eq!(heard(&mut rig), ["launch b"]);
}

#[test]
fn a_program_that_is_started_anew_in_its_container_is_handed_nothing_again() {
    for crash in [false, true] {
        let mut rig = Rig::registered();
        let container = running(&mut rig, "a");
        rig.tell(launch_of(F1, vec![executor_task("b", false)]));
        rig.flush();
        update(&mut rig, &container, told("b", TaskState::Running, 1));
        rig.flush();
        rig.told.clear();
        let anew = subscription(&container, 2);
        says(&mut rig, &container, Call::Subscribe(anew.clone()));
        if crash {
            // What it said of the tasks of the one before it is lost, and that it is there too.
            rig.crash();
            rig.register_again(2);
            rig.told.clear();
            says(&mut rig, &container, Call::Subscribe(Subscribe { again: true, ..anew }));
        }
        rig.tell(launch_of(F1, vec![executor_task("c", false)]));
        rig.flush();
        assert_eq!(heard(&mut rig), ["subscribed", "launch c"], "crash: {crash}");
        for task in ["a", "b"] {
            let found = record(&rig, task);
            assert_eq!(found.state, TaskState::Failed, "{task}, crash: {crash}");
        }
        assert_eq!(record(&rig, "c").state, TaskState::Staging);
    }
}

#[test]
fn a_program_that_never_heard_that_it_is_subscribed_never_heard_of_tasks_either() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    rig.event(Event::ExecutorDisconnected { container: container.clone() });
    introduces_itself(&mut rig, &container);
    assert_eq!(heard(&mut rig), ["subscribed"]);
    assert_eq!(record(&rig, "a").state, TaskState::Dropped);
}

#[test]
fn an_executor_that_never_registered_has_no_more_time_for_it_after_a_restart_of_its_agent() {
    let mut rig = Rig::registered();
    started(&mut rig, "a");
    rig.crash();
    rig.register_again(2);
    rig.wait(60_000);
    assert_eq!(rig.destroyed.len(), 1);
}

#[test]
fn an_executor_that_does_not_come_back_is_ended_with_its_tasks() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    rig.crash();
    rig.register_again(2);
    rig.wait(15 * 60_000);
    assert_eq!(rig.destroyed, std::slice::from_ref(&container));
    rig.exits(&container, Exit::Signal { signal: 9 });
    rig.flush();
    assert_eq!(rig.updates()[0].reason, Some(Reason::ExecutorReregistrationTimeout));
}

#[test]
fn executors_that_ended_while_their_agent_was_away_are_told_with_their_tasks() {
    for reboot in [false, true] {
        let mut rig = Rig::registered();
        let container = running(&mut rig, "a");
        update(&mut rig, &container, told("a", TaskState::Running, 1));
        rig.flush();
        rig.acknowledge_id(&task_id("a"), update_id(1));
        rig.flush();
        if reboot {
            rig.reboot();
        } else {
            rig.exits_unseen(&container, EXIT_1);
            rig.crash();
        }
        rig.flush();
        rig.register_again(2);
        let view = rig.agent.view();
        assert!(view.executors.is_empty() && view.used.is_empty());
        let end = record(&rig, "a").unacknowledged.pop().unwrap();
        let expected = if reboot { Reason::AgentRebooted } else { Reason::ExecutorTerminated };
        assert_eq!((end.state, end.reason), (TaskState::Failed, Some(expected)));
    }
}

#[test]
fn messages_pass_both_ways_within_bounds() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    rig.said.clear();
    for _ in 0..1_001 {
        says(&mut rig, &container, Call::Message { data: vec![1] });
    }
    assert_eq!(rig.said.len(), 1_000);
    let executor = pool();
    let expected = ToLeader::ExecutorMessage { framework: F1, executor, data: vec![1] };
    assert_eq!(rig.said[0], expected);
    rig.tell(ToAgent::ExecutorMessage { framework: F1, executor: pool(), data: vec![2] });
    assert_eq!(heard(&mut rig), ["message [2]"]);
    rig.event(Event::ExecutorDisconnected { container });
    rig.tell(ToAgent::ExecutorMessage { framework: F1, executor: pool(), data: vec![3] });
    assert!(heard(&mut rig).is_empty());
    assert_eq!(rig.agent.view().counters.executor_messages_dropped, 2);
}

#[test]
fn a_node_that_stops_with_its_tasks_ends_executors_too() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, "a");
    rig.event(Event::StopTasks);
    assert_eq!(heard(&mut rig), ["shutdown"]);
    assert_eq!(rig.agent.unfinished_tasks(), 2);
    rig.exits(&container, EXIT_1);
    rig.flush();
    let end = rig.updates().remove(0);
    assert_eq!((end.state, end.reason), (TaskState::Killed, Some(Reason::AgentStopped)));
    assert_eq!(rig.agent.unfinished_tasks(), 0);
}
