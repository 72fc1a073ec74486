//! Health checks and checks, and what they find.

mod executors;

pub(super) use executors::{read_status, write, write_health};

use meshos_protocol::{
    check::{
        CHECK_TIME_MAX_MS, CONSECUTIVE_FAILURES_MAX, Check, CheckStatus, CheckTimes, HealthCheck,
        Probe,
    },
    task::Command,
};

use super::{number, task::read_command};
use crate::schema::{self, CheckInfoType, HealthCheckType, NetworkInfoProtocol};

// What holds when a field is left out, as Mesos's messages declare it.
const DELAY_SECONDS: f64 = 15.0;
const INTERVAL_SECONDS: f64 = 10.0;
const TIMEOUT_SECONDS: f64 = 20.0;
const GRACE_SECONDS: f64 = 10.0;
const FAILURES: u32 = 3;

/// Reads a task's health check.
///
/// # Errors
/// When it is not valid, or asks for what this release cannot do: the sentence names it.
pub(super) fn read_health(health: &schema::HealthCheck) -> Result<HealthCheck, String> {
    let probe = match health.r#type() {
        HealthCheckType::Command => {
            let command = health.command.as_ref().ok_or_else(|| missing("command", "health "))?;
            command_probe(command, "health check")?
        }
        HealthCheckType::Http => {
            let http = health.http.as_ref().ok_or_else(|| missing("http", "health "))?;
            refuse_scheme(http)?;
            Probe::Http {
                port: port(http.port(), "health check")?,
                path: http.path.clone().unwrap_or_default(),
            }
        }
        HealthCheckType::Tcp => {
            let tcp = health.tcp.as_ref().ok_or_else(|| missing("tcp", "health "))?;
            refuse_protocol(tcp.protocol())?;
            Probe::Tcp { port: port(tcp.port(), "health check")? }
        }
        HealthCheckType::Unknown => {
            return Err("HealthCheck must specify 'type': COMMAND, HTTP or TCP".to_owned());
        }
    };
    let grace = health.grace_period_seconds.unwrap_or(GRACE_SECONDS);
    let grace_ms = millis(grace, "grace_period_seconds")?;
    // None at all ends a task at its first failure, in Mesos too.
    let failures = health.consecutive_failures.unwrap_or(FAILURES);
    let consecutive_failures = failures.clamp(1, CONSECUTIVE_FAILURES_MAX);
    let times = times(health.delay_seconds, health.interval_seconds, health.timeout_seconds)?;
    Ok(HealthCheck { probe, times, grace_ms, consecutive_failures })
}

/// Reads a task's check.
///
/// # Errors
/// Likewise.
pub(super) fn read(check: &schema::CheckInfo) -> Result<Check, String> {
    let probe = match check.r#type() {
        CheckInfoType::Command => {
            let command = check.command.as_ref().and_then(|it| it.command.as_ref());
            command_probe(command.ok_or_else(|| missing("command", ""))?, "check")?
        }
        CheckInfoType::Http => {
            let http = check.http.as_ref().ok_or_else(|| missing("http", ""))?;
            Probe::Http {
                port: port(http.port(), "check")?,
                path: http.path.clone().unwrap_or_default(),
            }
        }
        CheckInfoType::Tcp => {
            let tcp = check.tcp.as_ref().ok_or_else(|| missing("tcp", ""))?;
            Probe::Tcp { port: port(tcp.port(), "check")? }
        }
        CheckInfoType::Unknown => {
            return Err("CheckInfo must specify 'type': COMMAND, HTTP or TCP".to_owned());
        }
    };
    let times = times(check.delay_seconds, check.interval_seconds, check.timeout_seconds)?;
    Ok(Check { probe, times })
}

/// Tells what a check has found.
pub(crate) fn status(status: CheckStatus) -> schema::CheckStatusInfo {
    let none = schema::CheckStatusInfo::default();
    let of = |kind: CheckInfoType| Some(kind.into());
    match status {
        CheckStatus::Command { exit_code } => schema::CheckStatusInfo {
            r#type: of(CheckInfoType::Command),
            command: Some(schema::CheckStatusInfoCommand { exit_code }),
            ..none
        },
        CheckStatus::Http { status_code } => schema::CheckStatusInfo {
            r#type: of(CheckInfoType::Http),
            http: Some(schema::CheckStatusInfoHttp { status_code: status_code.map(u32::from) }),
            ..none
        },
        CheckStatus::Tcp { succeeded } => schema::CheckStatusInfo {
            r#type: of(CheckInfoType::Tcp),
            tcp: Some(schema::CheckStatusInfoTcp { succeeded }),
            ..none
        },
        CheckStatus::Unknown => {
            schema::CheckStatusInfo { r#type: of(CheckInfoType::Unknown), ..none }
        }
    }
}

fn missing(field: &str, health: &str) -> String {
    format!("Expecting '{field}' to be set for {} {health}check", field.to_uppercase())
}

/// It runs as the task's user and beside what was fetched for the task.
fn command_probe(command: &schema::CommandInfo, what: &str) -> Result<Probe, String> {
    let Command { line, environment, user, uris } = read_command(command)?;
    if user.is_some() {
        return Err(format!("Task's {what} names a user, but it runs as the task's own"));
    }
    if !uris.is_empty() {
        return Err(format!("Task's {what} has URIs, but nothing is fetched for it"));
    }
    Ok(Probe::Command { line, environment })
}

fn refuse_scheme(http: &schema::HealthCheckHttpCheckInfo) -> Result<(), String> {
    refuse_protocol(http.protocol())?;
    if !http.statuses.is_empty() {
        return Err(
            "Task's health check names 'statuses', which is not supported: 200 to 399 are taken for success"
                .to_owned(),
        );
    }
    match http.scheme.as_deref() {
        None | Some("http" | "") => Ok(()),
        Some("https") => {
            Err("HTTP health checks over https are not supported by this release".to_owned())
        }
        Some(scheme) => Err(format!("Unsupported HTTP health check scheme: '{scheme}'")),
    }
}

fn refuse_protocol(protocol: NetworkInfoProtocol) -> Result<(), String> {
    match protocol {
        NetworkInfoProtocol::Ipv4 => Ok(()),
        NetworkInfoProtocol::Ipv6 => {
            Err("Task's health check must use IPv4 in this release".to_owned())
        }
    }
}

fn port(port: u32, what: &str) -> Result<u16, String> {
    let valid = u16::try_from(port).ok().filter(|port| *port != 0);
    valid.ok_or_else(|| format!("Task's {what} names port {port}: expected 1 to 65535"))
}

fn times(
    delay: Option<f64>,
    interval: Option<f64>,
    timeout: Option<f64>,
) -> Result<CheckTimes, String> {
    // No time at all stands for any time, in Mesos.
    let timeout_ms = match millis(timeout.unwrap_or(TIMEOUT_SECONDS), "timeout_seconds")? {
        0 => CHECK_TIME_MAX_MS,
        timeout_ms => timeout_ms,
    };
    Ok(CheckTimes {
        delay_ms: millis(delay.unwrap_or(DELAY_SECONDS), "delay_seconds")?,
        interval_ms: millis(interval.unwrap_or(INTERVAL_SECONDS), "interval_seconds")?,
        timeout_ms,
    })
}

fn millis(seconds: f64, field: &str) -> Result<u64, String> {
    let millis = number::millis(seconds, CHECK_TIME_MAX_MS);
    millis.ok_or_else(|| format!("Expecting '{field}' to be non-negative"))
}

#[cfg(test)]
mod tests {
    use meshos_protocol::task::CommandLine;
    use serde_json::{Value, json};

    use super::*;

    fn health(value: Value) -> Result<HealthCheck, String> {
        read_health(&crate::json::read(value).unwrap())
    }

    fn plain(value: Value) -> Result<Check, String> {
        read(&crate::json::read(value).unwrap())
    }

    #[test]
    fn all_kinds_of_health_checks_are_read_with_mesos_defaults() {
        let tcp = health(json!({"type": "TCP", "tcp": {"port": 80}})).unwrap();
        assert_eq!(tcp, HealthCheck::new(Probe::Tcp { port: 80 }));
        let http = json!({"type": "HTTP", "http": {"port": 8080, "path": "/up", "scheme": "http"},
            "delay_seconds": 0, "interval_seconds": 0.25, "timeout_seconds": 0, "grace_period_seconds": 1.5,
            "consecutive_failures": 0});
        let http = health(http).unwrap();
        assert_eq!(http.probe, Probe::Http { port: 8080, path: "/up".to_owned() });
        let times = CheckTimes { delay_ms: 0, interval_ms: 250, timeout_ms: CHECK_TIME_MAX_MS };
        assert_eq!((http.times, http.grace_ms, http.consecutive_failures), (times, 1_500, 1));
        let command = json!({"type": "COMMAND", "command": {"value": "exit 3",
            "environment": {"variables": [{"name": "A", "value": "1"}]}}});
        let Probe::Command { line, environment } = health(command).unwrap().probe else {
            panic!("another kind")
        };
        assert_eq!((line, environment["A"].as_str()), (CommandLine::shell("exit 3"), "1"));
    }

    #[test]
    fn all_kinds_of_checks_are_read() {
        let tcp = plain(json!({"type": "TCP", "tcp": {"port": 80}})).unwrap();
        assert_eq!(tcp, Check::new(Probe::Tcp { port: 80 }));
        let http = plain(json!({"type": "HTTP", "http": {"port": 80}})).unwrap();
        assert_eq!(http.probe, Probe::Http { port: 80, path: String::new() });
        let command = json!({"type": "COMMAND", "delay_seconds": 1.0,
            "command": {"command": {"shell": false, "value": "/bin/ls", "arguments": ["ls", "-l"]}}});
        let command = plain(command).unwrap();
        let line = CommandLine::exec("/bin/ls", ["-l"]);
        let environment = Default::default();
        assert_eq!(command.probe, Probe::Command { line, environment });
        assert_eq!(command.times.delay_ms, 1_000);
    }

    #[test]
    fn what_is_wrong_or_not_supported_is_named() {
        let http = |rest: Value| {
            let mut http = json!({"port": 80});
            http.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            json!({"type": "HTTP", "http": http})
        };
        let tcp = |rest: Value| {
            let mut check = json!({"type": "TCP", "tcp": {"port": 80}});
            check.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            check
        };
        let command = |rest: Value| {
            let mut command = json!({"value": "x"});
            command.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            json!({"type": "COMMAND", "command": command})
        };
        for (value, word) in [
            (json!({}), "HealthCheck must specify 'type'"),
            (json!({"type": "TCP"}), "Expecting 'tcp' to be set for TCP health check"),
            (json!({"type": "HTTP"}), "Expecting 'http'"),
            (json!({"type": "COMMAND"}), "Expecting 'command'"),
            (tcp(json!({"tcp": {"port": 0}})), "port 0"),
            (tcp(json!({"tcp": {"port": 65_536}})), "port 65536"),
            (tcp(json!({"tcp": {"port": 80, "protocol": "IPv6"}})), "IPv4"),
            (tcp(json!({"delay_seconds": -1.0})), "'delay_seconds' to be non-negative"),
            (tcp(json!({"grace_period_seconds": -1.0})), "'grace_period_seconds'"),
            (http(json!({"scheme": "https"})), "https"),
            (http(json!({"scheme": "gopher"})), "Unsupported HTTP health check scheme: 'gopher'"),
            (http(json!({"statuses": [200]})), "'statuses'"),
            (command(json!({"user": "root"})), "names a user"),
            (command(json!({"uris": [{"value": "/x"}]})), "URIs"),
        ] {
            let why = health(value.clone()).unwrap_err();
            assert!(why.contains(word), "{value}: {why}");
        }
        for (value, word) in [
            (json!({}), "CheckInfo must specify 'type'"),
            (json!({"type": "COMMAND"}), "Expecting 'command' to be set for COMMAND check"),
            (tcp(json!({"timeout_seconds": -0.5})), "'timeout_seconds'"),
            (json!({"type": "HTTP", "http": {"port": 0}}), "Task's check names port 0"),
        ] {
            let why = plain(value.clone()).unwrap_err();
            assert!(why.contains(word), "{value}: {why}");
        }
    }

    #[test]
    fn what_was_found_is_told_with_its_kind() {
        for (found, told) in [
            (
                CheckStatus::Command { exit_code: Some(3) },
                json!({"type": "COMMAND", "command": {"exit_code": 3}}),
            ),
            (CheckStatus::Command { exit_code: None }, json!({"type": "COMMAND", "command": {}})),
            (
                CheckStatus::Http { status_code: Some(404) },
                json!({"type": "HTTP", "http": {"status_code": 404}}),
            ),
            (
                CheckStatus::Tcp { succeeded: Some(false) },
                json!({"type": "TCP", "tcp": {"succeeded": false}}),
            ),
        ] {
            assert_eq!(serde_json::to_value(status(found)).unwrap(), told);
        }
    }
}
