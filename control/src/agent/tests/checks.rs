//! Checks of tasks that run.

use meshos_protocol::{
    check::{CHECK_TIME_MAX_MS, Check, CheckStatus, CheckTimes, HealthCheck, Probe},
    ids::{ContainerId, FrameworkId},
    messages::agent::{ToAgent, ToLeader},
    task::{CommandLine, Exit, Reason, StatusUpdate, TaskLaunch, TaskState},
};

use super::rig::{CODE_0, F1, Rig, config, executor_task, launch_of, task, task_id};
use crate::agent::{Event, ProbeOutcome};

const TIMES: CheckTimes = CheckTimes { delay_ms: 1_000, interval_ms: 500, timeout_ms: 2_000 };

/// A task whose health check has a second of delay, two of grace and allows three failures.
pub(super) fn healthy(name: &str) -> TaskLaunch {
    let mut launch = task(name);
    let health = HealthCheck { times: TIMES, grace_ms: 2_000, ..HealthCheck::new(tcp()) };
    launch.description.health_check = Some(Box::new(health));
    launch
}

/// A task with another check.
pub(super) fn checked(name: &str, probe: Probe) -> TaskLaunch {
    let mut launch = task(name);
    launch.description.check = Some(Box::new(Check { times: TIMES, ..Check::new(probe) }));
    launch
}

fn tcp() -> Probe {
    Probe::Tcp { port: 80 }
}

fn command() -> Probe {
    Probe::Command { line: CommandLine::shell("true"), environment: Default::default() }
}

fn refused() -> ProbeOutcome {
    ProbeOutcome::Failed { why: "127.0.0.1:80: refused".to_owned() }
}

/// Runs a task whose running update is acknowledged.
fn run(rig: &mut Rig, launch: TaskLaunch) -> ContainerId {
    run_of(rig, F1, launch)
}

fn run_of(rig: &mut Rig, framework: FrameworkId, launch: TaskLaunch) -> ContainerId {
    rig.tell(launch_of(framework, vec![launch]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    rig.flush();
    let running = rig.update();
    assert_eq!((running.state, running.healthy), (TaskState::Running, None));
    rig.acknowledge(&running);
    container
}

/// The next probe finds this, an interval later.
fn found(rig: &mut Rig, outcome: ProbeOutcome) {
    let probe = rig.probe();
    rig.probe_ends(&probe, outcome);
    rig.flush();
    rig.wait(TIMES.interval_ms);
}

/// What was told, acknowledged: the state, whether it is healthy, why.
fn heard(rig: &mut Rig) -> Option<(TaskState, Option<bool>, Option<Reason>)> {
    let mut updates = rig.updates();
    assert!(updates.len() <= 1, "{updates:?}");
    let update = updates.pop()?;
    rig.acknowledge(&update);
    Some((update.state, update.healthy, update.reason))
}

const UPDATED: Option<Reason> = Some(Reason::HealthCheckStatusUpdated);
const WELL: Option<(TaskState, Option<bool>, Option<Reason>)> =
    Some((TaskState::Running, Some(true), UPDATED));
const UNWELL: Option<(TaskState, Option<bool>, Option<Reason>)> =
    Some((TaskState::Running, Some(false), UPDATED));

#[test]
fn a_task_is_told_to_be_healthy_or_not_when_that_changes() {
    let mut rig = Rig::registered();
    run(&mut rig, healthy("a"));
    rig.wait(999);
    assert!(rig.probes.is_empty(), "the delay is not over");
    rig.wait(1);
    assert_eq!(rig.probes.values().next(), Some(&tcp()));
    found(&mut rig, ProbeOutcome::Connected);
    assert_eq!(heard(&mut rig), WELL);
    found(&mut rig, ProbeOutcome::Connected);
    assert_eq!(heard(&mut rig), None, "nothing has changed");
    found(&mut rig, refused());
    assert_eq!(heard(&mut rig), UNWELL);
    found(&mut rig, refused());
    assert_eq!(heard(&mut rig), None);
    found(&mut rig, ProbeOutcome::Connected);
    assert_eq!(heard(&mut rig), WELL);
    // The row begins anew.
    found(&mut rig, refused());
    assert_eq!(heard(&mut rig), UNWELL);
    found(&mut rig, refused());
    assert!(rig.terminated.is_empty() && rig.updates().is_empty());
}

#[test]
fn after_too_many_failures_in_a_row_the_task_is_killed_and_told_so() {
    let mut rig = Rig::registered();
    let container = run(&mut rig, healthy("a"));
    rig.wait(3_000);
    // The first one took too long, at the end of the grace period.
    assert_eq!(rig.ended_probes.len(), 1);
    let late = rig.ended_probes[0].clone();
    rig.probe_ends(&late, ProbeOutcome::NotAsked { why: "called off".to_owned() });
    assert_eq!(heard(&mut rig), UNWELL);
    rig.wait(500);
    found(&mut rig, ProbeOutcome::Status(500));
    let probe = rig.probe();
    rig.probe_ends(&probe, refused());
    rig.flush();
    assert_eq!(rig.terminated, std::slice::from_ref(&container));
    let reason = Some(Reason::HealthCheckFailed);
    assert_eq!(heard(&mut rig), Some((TaskState::Killing, Some(false), reason)));
    rig.wait(2_000);
    assert!(rig.probes.is_empty(), "what is being ended is not asked");
    rig.exits(&container, Exit::Signal { signal: 15 });
    rig.flush();
    let end = rig.update();
    assert_eq!(
        (end.state, end.healthy, end.reason),
        (TaskState::Killed, Some(false), Some(Reason::HealthCheckFailed))
    );
    assert_eq!(
        end.message,
        "the TCP health check has failed 3 times in a row: 127.0.0.1:80: refused"
    );
    assert_eq!(rig.agent.view().counters.health_kills, 1);
}

#[test]
fn failures_count_when_grace_is_over_or_a_probe_has_succeeded() {
    let mut rig = Rig::registered();
    run(&mut rig, healthy("a"));
    rig.wait(1_000);
    found(&mut rig, refused());
    found(&mut rig, refused());
    assert_eq!(heard(&mut rig), None, "within the two seconds");
    found(&mut rig, refused());
    assert_eq!(heard(&mut rig), None, "at their very end");
    found(&mut rig, refused());
    assert_eq!(heard(&mut rig), UNWELL);

    let mut rig = Rig::registered();
    run(&mut rig, healthy("a"));
    rig.wait(1_000);
    found(&mut rig, ProbeOutcome::Connected);
    assert_eq!(heard(&mut rig), WELL);
    found(&mut rig, refused());
    assert_eq!(heard(&mut rig), UNWELL, "it was well before");
}

#[test]
fn what_the_agent_could_not_ask_is_no_failure() {
    let mut rig = Rig::registered();
    run(&mut rig, healthy("a"));
    rig.wait(3_500);
    for _ in 0..9 {
        let not_asked = ProbeOutcome::NotAsked { why: "the launcher is lost".to_owned() };
        if let Some(probe) = rig.probes.keys().next().cloned() {
            rig.probe_ends(&probe, not_asked);
        }
        rig.wait(500);
    }
    let failed_once = heard(&mut rig);
    assert_eq!(failed_once, UNWELL, "the one that took too long");
    assert!(rig.terminated.is_empty());
}

#[test]
fn a_probe_that_does_not_end_fails_again_and_none_is_started_beside_it() {
    let mut rig = Rig::registered();
    let container = run(&mut rig, healthy("a"));
    rig.wait(3_000);
    assert_eq!(heard(&mut rig), UNWELL);
    let first = rig.ended_probes[0].clone();
    rig.wait(500);
    assert!(rig.terminated.is_empty());
    rig.wait(500);
    assert_eq!(rig.terminated, [container], "three failures of one probe");
    assert!(rig.ended_probes.iter().all(|probe| *probe == first));
    assert_eq!(rig.agent.view().counters.probes, 1);
}

#[test]
fn another_check_tells_what_it_finds_when_that_changes_and_never_kills() {
    let mut rig = Rig::registered();
    rig.tell(launch_of(F1, vec![checked("a", command())]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    let running = rig.update();
    let status = |exit_code| Some(CheckStatus::Command { exit_code });
    assert_eq!(running.check_status, status(None), "there is a check, it has found nothing");
    rig.acknowledge(&running);
    rig.wait(1_000);
    let mut last = Vec::new();
    for code in [0, 0, 7, 7, 7, 7, 1] {
        let probe = rig.probe();
        rig.probes.clear();
        let exit = Exit::Code { code };
        let event = Event::ContainerExited { container: probe.clone(), exit, limitation: None };
        rig.event(event);
        assert_eq!(rig.released.last(), Some(&probe), "the launcher forgets it");
        for update in rig.updates() {
            assert_eq!(update.reason, Some(Reason::CheckStatusUpdated));
            rig.acknowledge(&update);
            last.push(update.check_status);
        }
        rig.wait(500);
    }
    assert_eq!(last, [status(Some(0)), status(Some(7)), status(Some(1))]);
    let probe = rig.probe();
    rig.probe_ends(&probe, ProbeOutcome::Failed { why: "command not found".to_owned() });
    assert_eq!(rig.update().check_status, status(None));
    assert!(rig.terminated.is_empty());
}

#[test]
fn checks_go_on_after_a_crash_from_what_is_on_disk_and_kill_once() {
    let mut rig = Rig::registered();
    let container = run(&mut rig, healthy("a"));
    rig.wait(1_000);
    found(&mut rig, ProbeOutcome::Connected);
    assert_eq!(heard(&mut rig), WELL);
    found(&mut rig, refused());
    assert_eq!(heard(&mut rig), UNWELL);
    found(&mut rig, refused());
    rig.crash();
    rig.register_again(2);
    assert_eq!(heard(&mut rig), None, "all that was told is acknowledged");
    rig.wait(0);
    let report = rig.agent.view().tasks[0].record.checks.clone().unwrap();
    assert_eq!((report.healthy, report.failures), (Some(false), 2));
    let probe = rig.probe();
    rig.probe_ends(&probe, refused());
    rig.flush();
    assert_eq!(rig.terminated, std::slice::from_ref(&container), "two failures before, one after");
    rig.crash();
    rig.flush();
    assert_eq!(rig.terminated.len(), 2, "the kill goes on");
    assert!(rig.probes.is_empty());
    rig.wait(1_000);
    assert!(rig.probes.is_empty(), "and nobody asks any more");
    rig.exits(&container, CODE_0);
    rig.flush();
    let registration = rig.register_again(3);
    let told = registration.tasks[0].unacknowledged.last().unwrap();
    assert_eq!((told.state, told.healthy), (TaskState::Killed, Some(false)));
    assert_eq!(told.reason, Some(Reason::HealthCheckFailed));
}

#[test]
fn a_new_leader_hears_whether_a_task_is_healthy() {
    let mut rig = Rig::registered();
    run(&mut rig, healthy("a"));
    rig.wait(1_000);
    found(&mut rig, ProbeOutcome::Connected);
    assert_eq!(heard(&mut rig), WELL);
    let registration = rig.register_again(2);
    let report = &registration.tasks[0];
    assert!(report.unacknowledged.is_empty());
    assert_eq!((report.healthy, report.check_status), (Some(true), None));
}

#[test]
fn a_task_that_changes_its_mind_while_nobody_listens_keeps_few_updates() {
    let mut rig = Rig::registered();
    run(&mut rig, healthy("a"));
    rig.wait(1_000);
    let first = {
        found(&mut rig, ProbeOutcome::Connected);
        rig.update()
    };
    for _ in 0..5 {
        found(&mut rig, refused());
        found(&mut rig, ProbeOutcome::Connected);
    }
    found(&mut rig, refused());
    let waiting = rig.agent.view().tasks[0].record.unacknowledged.clone();
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    rig.updates();
    rig.acknowledge(&first);
    assert_eq!(heard(&mut rig), UNWELL, "the newest");
}

/// What took its place was told and acknowledged, and that is lost with the crash.
#[test]
fn what_a_check_found_before_a_crash_is_not_told_behind_what_it_found_later_under_its_old_id() {
    let mut rig = Rig::registered();
    run(&mut rig, healthy("a"));
    rig.wait(1_000);
    found(&mut rig, ProbeOutcome::Connected);
    let first = rig.update();
    found(&mut rig, refused());
    let probe = rig.probe();
    rig.probe_ends(&probe, ProbeOutcome::Connected);
    rig.acknowledge(&first);
    let newest = rig.updates().pop().unwrap();
    assert_eq!(newest.healthy, Some(true), "it took the place of the other");
    rig.acknowledge(&newest);
    rig.crash();
    let registration = rig.register_again(2);
    let told = &registration.tasks[0].unacknowledged;
    let ids: Vec<_> = told.iter().map(|status| status.update).collect();
    assert!(ids.len() == 2 && newest.update < ids[0] && ids[0] < ids[1], "{ids:?}");
    assert_eq!(told[1].healthy, Some(false), "what the agent knows");
}

/// That it was acknowledged is not on disk before the next change is.
#[test]
fn what_a_check_found_is_told_anew_after_a_crash_and_not_under_its_old_id() {
    let mut rig = Rig::registered();
    run(&mut rig, healthy("a"));
    rig.wait(1_000);
    found(&mut rig, ProbeOutcome::Connected);
    let first = rig.update();
    rig.acknowledge(&first);
    let probe = rig.probe();
    rig.probe_ends(&probe, refused());
    let second = rig.updates().pop().unwrap();
    assert_eq!(second.healthy, Some(false));
    rig.crash();
    let registration = rig.register_again(2);
    let told = registration.tasks[0].unacknowledged.last().unwrap();
    assert!(told.update > second.update && told.healthy == Some(true), "{told:?}");
}

#[test]
fn a_kill_that_somebody_asked_for_is_not_for_health() {
    let mut rig = Rig::registered();
    let container = run(&mut rig, healthy("a"));
    rig.wait(3_000);
    heard(&mut rig);
    let kill = ToAgent::Kill { framework: F1, task: task_id("a"), grace_ms: None, drain: None };
    rig.tell(kill);
    rig.wait(2_000);
    rig.exits(&container, CODE_0);
    rig.flush();
    let ends: Vec<StatusUpdate> = {
        rig.said.retain(|message| matches!(message, ToLeader::Update { .. }));
        let killing = rig.updates().remove(0);
        rig.acknowledge(&killing);
        rig.updates()
    };
    assert_eq!((ends[0].state, ends[0].healthy, ends[0].reason), (TaskState::Killed, None, None));
}

#[test]
fn tasks_wait_for_a_place_and_the_longest_first() {
    let mut settings = config(1);
    settings.probes_max = 4;
    let mut rig = Rig::registered_with(settings);
    for name in ["a", "b", "c", "d"] {
        run(&mut rig, checked(name, tcp()));
        rig.wait(1);
    }
    rig.wait(1_000);
    assert_eq!(rig.probes.len(), 2, "half of the places for one framework");
    let view = rig.agent.view();
    assert_eq!((view.probes, view.checks_waiting), (2, 2));
    let [first, second] = [0, 1].map(|index| rig.probes.keys().nth(index).unwrap().clone());
    rig.probe_ends(&first, ProbeOutcome::Connected);
    rig.probe_ends(&second, ProbeOutcome::Connected);
    assert_eq!(rig.probes.len(), 2, "the others, and not these again");
    let told: Vec<_> = rig.updates().into_iter().map(|update| update.task).collect();
    assert_eq!(told, [task_id("a"), task_id("b")]);
}

#[test]
fn a_framework_whose_probes_hang_leaves_places_for_others() {
    let mut settings = config(1);
    settings.resources = "cpus:16;mem:4096;disk:1000".parse().unwrap();
    settings.probes_max = 8;
    let mut rig = Rig::registered_with(settings);
    for name in ["a", "b", "c", "d", "e", "f"] {
        let mut hangs = checked(name, tcp());
        hangs.description.check.as_mut().unwrap().times.timeout_ms = CHECK_TIME_MAX_MS;
        run(&mut rig, hangs);
    }
    rig.wait(60_000);
    assert_eq!(rig.probes.len(), 4, "they have all that they are given");
    let under_way = |rig: &Rig, port| {
        rig.probes
            .values()
            .filter(|probe| matches!(probe, Probe::Tcp { port: of } if *of == port))
            .count()
    };
    let second = Probe::Tcp { port: 82 };
    for name in ["a", "b", "c"] {
        run_of(&mut rig, FrameworkId(2), checked(name, second.clone()));
    }
    rig.wait(1_500);
    assert_eq!((under_way(&rig, 80), under_way(&rig, 82)), (4, 2), "half of what was left");
    // The next one does not have to wait for any of theirs.
    run_of(&mut rig, FrameworkId(3), checked("a", Probe::Tcp { port: 83 }));
    rig.wait(1_500);
    assert_eq!(under_way(&rig, 83), 1);
}

#[test]
fn tasks_of_executors_are_checked_by_these() {
    let mut rig = Rig::registered();
    let mut launch = executor_task("x", true);
    launch.description.health_check = healthy("x").description.health_check;
    rig.tell(launch_of(F1, vec![launch]));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    rig.wait(30_000);
    assert_eq!(rig.agent.view().counters.probes, 0);
}
