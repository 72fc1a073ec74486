//! Checks as executors see them: these carry them out for their tasks, and tell what they found.

use std::collections::BTreeMap;

use meshos_protocol::{
    check::{Check, CheckStatus, CheckTimes, HealthCheck, Probe},
    task::{Command, CommandLine},
};

use crate::{
    convert::{number, task::write_command},
    schema::{self, CheckInfoType, HealthCheckType},
};

fn seconds(CheckTimes { delay_ms, interval_ms, timeout_ms }: CheckTimes) -> [Option<f64>; 3] {
    [delay_ms, interval_ms, timeout_ms].map(|ms| Some(number::seconds(ms)))
}

fn command_of(line: &CommandLine, environment: &BTreeMap<String, String>) -> schema::CommandInfo {
    let (line, environment) = (line.clone(), environment.clone());
    write_command(&Command { line, environment, ..Command::none() })
}

/// A health check, as its framework gave it.
pub(in crate::convert) fn write_health(health: &HealthCheck) -> schema::HealthCheck {
    let [delay_seconds, interval_seconds, timeout_seconds] = seconds(health.times);
    let times = schema::HealthCheck {
        delay_seconds,
        interval_seconds,
        timeout_seconds,
        consecutive_failures: Some(health.consecutive_failures),
        grace_period_seconds: Some(number::seconds(health.grace_ms)),
        ..schema::HealthCheck::default()
    };
    let of = |kind: HealthCheckType| Some(kind.into());
    match &health.probe {
        Probe::Command { line, environment } => {
            let command = Some(command_of(line, environment));
            schema::HealthCheck { r#type: of(HealthCheckType::Command), command, ..times }
        }
        Probe::Http { port, path } => {
            let http = schema::HealthCheckHttpCheckInfo {
                port: Some(u32::from(*port)),
                path: Some(path.clone()),
                ..schema::HealthCheckHttpCheckInfo::default()
            };
            schema::HealthCheck { r#type: of(HealthCheckType::Http), http: Some(http), ..times }
        }
        Probe::Tcp { port } => {
            let tcp = schema::HealthCheckTcpCheckInfo {
                port: Some(u32::from(*port)),
                ..schema::HealthCheckTcpCheckInfo::default()
            };
            schema::HealthCheck { r#type: of(HealthCheckType::Tcp), tcp: Some(tcp), ..times }
        }
        Probe::Unknown => schema::HealthCheck { r#type: of(HealthCheckType::Unknown), ..times },
    }
}

/// A check, as its framework gave it.
pub(in crate::convert) fn write(check: &Check) -> schema::CheckInfo {
    let [delay_seconds, interval_seconds, timeout_seconds] = seconds(check.times);
    let times = schema::CheckInfo {
        delay_seconds,
        interval_seconds,
        timeout_seconds,
        ..schema::CheckInfo::default()
    };
    let of = |kind: CheckInfoType| Some(kind.into());
    match &check.probe {
        Probe::Command { line, environment } => {
            let command = schema::CheckInfoCommand { command: Some(command_of(line, environment)) };
            schema::CheckInfo {
                r#type: of(CheckInfoType::Command),
                command: Some(command),
                ..times
            }
        }
        Probe::Http { port, path } => {
            let (port, path) = (Some(u32::from(*port)), Some(path.clone()));
            let http = Some(schema::CheckInfoHttp { port, path });
            schema::CheckInfo { r#type: of(CheckInfoType::Http), http, ..times }
        }
        Probe::Tcp { port } => {
            let tcp = Some(schema::CheckInfoTcp { port: Some(u32::from(*port)) });
            schema::CheckInfo { r#type: of(CheckInfoType::Tcp), tcp, ..times }
        }
        Probe::Unknown => schema::CheckInfo { r#type: of(CheckInfoType::Unknown), ..times },
    }
}

/// What an executor's check has found; nothing when it is of no kind that is known here.
pub(in crate::convert) fn read_status(told: &schema::CheckStatusInfo) -> Option<CheckStatus> {
    match told.r#type() {
        CheckInfoType::Command => {
            let exit_code = told.command.as_ref().and_then(|it| it.exit_code);
            Some(CheckStatus::Command { exit_code })
        }
        CheckInfoType::Http => {
            let status_code = told.http.as_ref().and_then(|it| it.status_code);
            let status_code = status_code.and_then(|code| u16::try_from(code).ok());
            Some(CheckStatus::Http { status_code })
        }
        CheckInfoType::Tcp => {
            Some(CheckStatus::Tcp { succeeded: told.tcp.as_ref().and_then(|it| it.succeeded) })
        }
        CheckInfoType::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::check;

    fn probes() -> [Probe; 3] {
        let environment = [("A".to_owned(), "b".to_owned())].into();
        [
            Probe::Command { line: CommandLine::shell("test -e x"), environment },
            Probe::Http { port: 80, path: "/health".to_owned() },
            Probe::Tcp { port: 22 },
        ]
    }

    #[test]
    fn executors_are_told_what_frameworks_said() {
        for probe in probes() {
            let times = CheckTimes { delay_ms: 1_500, interval_ms: 250, timeout_ms: 3_000 };
            let plain = Check { probe: probe.clone(), times };
            assert_eq!(check::read(&write(&plain)), Ok(plain));
            let health = HealthCheck { probe, times, grace_ms: 7_000, consecutive_failures: 4 };
            assert_eq!(check::read_health(&write_health(&health)), Ok(health));
        }
    }

    #[test]
    fn what_their_checks_found_is_read() {
        for found in [
            CheckStatus::Command { exit_code: Some(3) },
            CheckStatus::Http { status_code: Some(503) },
            CheckStatus::Http { status_code: None },
            CheckStatus::Tcp { succeeded: Some(false) },
        ] {
            assert_eq!(read_status(&check::status(found)), Some(found));
        }
        assert_eq!(read_status(&schema::CheckStatusInfo::default()), None);
    }
}
