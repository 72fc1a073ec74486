//! The rules for checks of tasks.

use std::collections::BTreeMap;

use meshos_protocol::{
    check::{
        CHECK_TIME_MAX_MS, CONSECUTIVE_FAILURES_MAX, CheckTimes, HealthCheck, PROBE_BYTES_MAX,
        Probe,
    },
    executor::ExecutorKind,
    task::{CommandLine, TaskDescription},
};

use super::{at_most, text_bytes};

/// Whether the checks of a task follow the rules.
///
/// # Errors
/// Says which rule is broken.
pub(super) fn checks(task: &TaskDescription) -> Result<(), String> {
    let asks = task.health_check.is_some() || task.check.is_some();
    if asks && task.executor.as_ref().is_some_and(|it| it.kind == ExecutorKind::Group) {
        return Err(
            "the executor in the box carries out no checks yet: leave the task's health check and check out, or \
             launch it by itself"
                .to_owned(),
        );
    }
    if let Some(health) = &task.health_check {
        check("the task's health check", &health.probe, health.times)?;
        of_health(health)?;
    }
    match &task.check {
        Some(plain) => check("the task's check", &plain.probe, plain.times),
        None => Ok(()),
    }
}

fn of_health(health: &HealthCheck) -> Result<(), String> {
    time("the grace period of the task's health check", health.grace_ms)?;
    match health.consecutive_failures {
        0 => Err("the task's health check allows no failure at all: say after how many in a row the task is \
                  killed, at least 1"
            .to_owned()),
        failures if failures > CONSECUTIVE_FAILURES_MAX => Err(format!(
            "the task's health check waits for {failures} failures in a row, at most {CONSECUTIVE_FAILURES_MAX} are \
             counted"
        )),
        _ => Ok(()),
    }
}

fn check(what: &str, probe: &Probe, times: CheckTimes) -> Result<(), String> {
    time(&format!("the delay of {what}"), times.delay_ms)?;
    time(&format!("the interval of {what}"), times.interval_ms)?;
    time(&format!("the timeout of {what}"), times.timeout_ms)?;
    if times.timeout_ms == 0 {
        return Err(format!("{what} gives its probes no time: its timeout must be more than 0 ms"));
    }
    match probe {
        Probe::Command { line, environment } => command(what, line, environment),
        Probe::Http { port: 0, .. } | Probe::Tcp { port: 0 } => Err(format!(
            "{what} asks at port 0, which nobody can listen on: name one from 1 to 65535"
        )),
        Probe::Http { path, .. } => self::path(what, path),
        Probe::Tcp { .. } => Ok(()),
        Probe::Unknown => Err(format!("this release does not know the kind of {what}")),
    }
}

fn command(
    what: &str,
    line: &CommandLine,
    environment: &BTreeMap<String, String>,
) -> Result<(), String> {
    let bytes = match line {
        CommandLine::Shell { line } if line.is_empty() => {
            return Err(format!("the shell line of {what} is empty"));
        }
        CommandLine::Exec { program, .. } if program.is_empty() => {
            return Err(format!("{what} names no program"));
        }
        CommandLine::Shell { line } => line.len(),
        CommandLine::Exec { program, arguments } => {
            program.len() + arguments.iter().map(String::len).sum::<usize>()
        }
        CommandLine::Unknown => {
            return Err(format!("this release does not know the form of the command of {what}"));
        }
    };
    if let Some(name) = environment.keys().find(|name| name.is_empty() || name.contains('=')) {
        return Err(format!("{name:?}, in {what}, is not a name for an environment variable"));
    }
    let bytes = bytes + text_bytes(environment);
    at_most(&format!("the command of {what} with its environment"), bytes, PROBE_BYTES_MAX)
}

fn path(what: &str, path: &str) -> Result<(), String> {
    if !path.is_empty() && !path.starts_with('/') {
        return Err(format!("the path {path:?} of {what} does not start with a slash"));
    }
    if path.contains(|letter: char| letter.is_control() || letter.is_whitespace()) {
        return Err(format!(
            "the path {path:?} of {what} has spaces or control characters in it: write them as %20 and the like"
        ));
    }
    at_most(&format!("the path of {what}"), path.len(), PROBE_BYTES_MAX)
}

fn time(what: &str, ms: u64) -> Result<(), String> {
    if ms <= CHECK_TIME_MAX_MS {
        return Ok(());
    }
    Err(format!("{what} is {ms} ms, at most {CHECK_TIME_MAX_MS} ms (a day) are allowed"))
}
