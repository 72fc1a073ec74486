//! Checks that frameworks ask for.

use std::collections::BTreeMap;

use meshos_protocol::{
    check::{CHECK_TIME_MAX_MS, Check, CheckTimes, HealthCheck, PROBE_BYTES_MAX, Probe},
    task::CommandLine,
};

use super::{groups::group, world::task};
use crate::master::validate;

fn judged(health: Option<HealthCheck>, plain: Option<Check>) -> Result<(), String> {
    let mut description = task("a", "cpus:1");
    description.health_check = health.map(Box::new);
    description.check = plain.map(Box::new);
    validate::task(&description)
}

fn shell(line: &str) -> Probe {
    Probe::Command { line: CommandLine::shell(line), environment: BTreeMap::new() }
}

fn http(port: u16, path: &str) -> Probe {
    Probe::Http { port, path: path.to_owned() }
}

#[test]
fn good_checks_pass() {
    for probe in [shell("true"), http(80, ""), http(65_535, "/a?b=%20"), Probe::Tcp { port: 1 }] {
        let health = HealthCheck::new(probe.clone());
        assert_eq!(judged(Some(health), Some(Check::new(probe))), Ok(()));
    }
}

#[test]
fn bad_probes_are_told_apart() {
    let exec = |program: &str| Probe::Command {
        line: CommandLine::exec(program, [String::new()]),
        environment: BTreeMap::new(),
    };
    let variable = Probe::Command {
        line: CommandLine::shell("x"),
        environment: [("A=".to_owned(), String::new())].into(),
    };
    for (probe, word) in [
        (shell(""), "the shell line of the task's check is empty"),
        (exec(""), "the task's check names no program"),
        (variable, "is not a name for an environment variable"),
        (shell(&"x".repeat(PROBE_BYTES_MAX + 1)), "has 16385 bytes, at most 16384"),
        (http(0, "/"), "port 0"),
        (Probe::Tcp { port: 0 }, "port 0"),
        (http(80, "health"), "does not start with a slash"),
        (http(80, "/a b"), "spaces or control characters"),
        (http(80, "/a\r\nX: y"), "spaces or control characters"),
        (Probe::Unknown, "does not know the kind of the task's check"),
    ] {
        let why = judged(None, Some(Check::new(probe.clone()))).unwrap_err();
        assert!(why.contains(word), "{probe:?}: {why}");
    }
}

#[test]
fn bad_times_and_counts_are_told_apart() {
    let good = HealthCheck::new(Probe::Tcp { port: 80 });
    let times = |change: fn(&mut CheckTimes)| {
        let mut health = good.clone();
        change(&mut health.times);
        health
    };
    let day = "at most 86400000 ms (a day) are allowed";
    for (health, word) in [
        (times(|times| times.delay_ms = CHECK_TIME_MAX_MS + 1), day),
        (times(|times| times.interval_ms = CHECK_TIME_MAX_MS + 1), day),
        (times(|times| times.timeout_ms = CHECK_TIME_MAX_MS + 1), day),
        (times(|times| times.timeout_ms = 0), "no time"),
        (HealthCheck { grace_ms: CHECK_TIME_MAX_MS + 1, ..good.clone() }, day),
        (HealthCheck { consecutive_failures: 0, ..good.clone() }, "at least 1"),
        (HealthCheck { consecutive_failures: u32::MAX, ..good.clone() }, "failures in a row"),
    ] {
        let why = judged(Some(health.clone()), None).unwrap_err();
        assert!(why.contains(word), "{health:?}: {why}");
    }
}

#[test]
fn checks_of_tasks_whose_executor_does_none_are_refused() {
    let mut member = group(&["a", "b"]).remove(0);
    assert_eq!(validate::task(&member), Ok(()));
    member.check = Some(Box::new(Check::new(shell("true"))));
    let why = validate::task(&member).unwrap_err();
    assert!(why.contains("carries out no checks"), "{why}");
}
