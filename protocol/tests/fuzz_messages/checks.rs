//! Frames about checks of tasks.

use meshos_protocol::{
    check::{Check, CheckStatus, CheckTimes, HealthCheck, Probe},
    messages::{
        agent::{ToAgent, ToLeader},
        scheduler::{Accept, Call, Event},
    },
    task::{CommandLine, StatusUpdate, TaskDescription, TaskLaunch, TaskReport},
};

use crate::samples::{self, description, status};

fn probes() -> [Probe; 5] {
    let environment = [("A".to_owned(), "1".to_owned())].into();
    [
        Probe::Command { line: CommandLine::shell("test -f ready"), environment },
        Probe::Http { port: 8080, path: "/up".into() },
        Probe::Http { port: 8080, path: String::new() },
        Probe::Tcp { port: 65_535 },
        Probe::Unknown,
    ]
}

fn checked() -> Vec<TaskDescription> {
    let times = CheckTimes { delay_ms: 0, interval_ms: 1_000, timeout_ms: 500 };
    let of = |probe: Probe| TaskDescription {
        health_check: Some(Box::new(HealthCheck {
            times,
            grace_ms: 0,
            consecutive_failures: 1,
            ..HealthCheck::new(probe.clone())
        })),
        check: Some(Box::new(Check { times, probe })),
        ..description()
    };
    probes().map(of).to_vec()
}

fn updates() -> Vec<StatusUpdate> {
    let found = [
        CheckStatus::Command { exit_code: Some(137) },
        CheckStatus::Http { status_code: Some(503) },
        CheckStatus::Tcp { succeeded: Some(false) },
        CheckStatus::Tcp { succeeded: None },
        CheckStatus::Unknown,
    ];
    let of = |found| StatusUpdate { healthy: Some(false), check_status: Some(found), ..status() };
    found.map(of).to_vec()
}

pub(crate) fn to_leader() -> Vec<ToLeader> {
    let report = |update: &StatusUpdate| TaskReport {
        healthy: update.healthy,
        check_status: update.check_status,
        ..samples::report()
    };
    let tasks = updates().iter().map(report).collect();
    let updates = updates().into_iter().map(|status| ToLeader::Update { status });
    updates.chain([ToLeader::Report { tasks, more: false }]).collect()
}

pub(crate) fn to_agent() -> Vec<ToAgent> {
    let launch =
        |description| TaskLaunch { description, role: samples::role(), executor_resources: None };
    let of = |description| ToAgent::Launch {
        framework: status().framework,
        user: String::new(),
        info: None,
        tasks: vec![launch(description)],
    };
    checked().into_iter().map(of).collect()
}

pub(crate) fn calls() -> Vec<Call> {
    let of = |description| Call::Accept(Accept { launch: vec![description], ..samples::accept() });
    checked().into_iter().map(of).collect()
}

pub(crate) fn events() -> Vec<Event> {
    updates().into_iter().map(|status| Event::Update { status }).collect()
}
