//! The health check of the tasks.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use meshos_protocol::{
    check::{HealthCheck, Probe},
    task::CommandLine,
    time::millis,
};

use crate::config::parse_duration;

#[derive(Debug, Default, Args)]
#[group(skip)]
#[command(next_help_heading = "Health check")]
pub(super) struct Health {
    /// Run this line with /bin/sh -c beside each task, in its sandbox: exit code 0 means healthy. A task that is not healthy
    /// for --health-failures probes in a row is killed
    #[arg(long, value_name = "LINE", conflicts_with_all = ["health_http", "health_tcp"])]
    health_cmd: Option<String>,
    /// Get this from the task's node, 127.0.0.1: a status from 200 to 399 means healthy
    #[arg(long, value_name = "PORT[/PATH]", conflicts_with = "health_tcp")]
    health_http: Option<String>,
    /// Connect to this port of the task's node, 127.0.0.1: a connection means healthy
    #[arg(long, value_name = "PORT")]
    health_tcp: Option<String>,
    /// From the start of a task to its first probe [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    health_delay: Option<Duration>,
    /// From the end of one probe to the next [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    health_interval: Option<Duration>,
    /// How long a probe may take; then it has failed [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    health_timeout: Option<Duration>,
    /// From the start of a task: failures before that do not count, unless a probe has succeeded [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    health_grace: Option<Duration>,
    /// After so many failures in a row the task is killed [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    health_failures: Option<u32>,
}

impl Health {
    /// The check that was asked for, if one was.
    pub(super) fn check(&self) -> Result<Option<HealthCheck>> {
        let Some(probe) = self.probe()? else {
            let named = [
                ("--health-delay", self.health_delay.is_some()),
                ("--health-interval", self.health_interval.is_some()),
                ("--health-timeout", self.health_timeout.is_some()),
                ("--health-grace", self.health_grace.is_some()),
                ("--health-failures", self.health_failures.is_some()),
            ];
            if let Some((flag, _)) = named.into_iter().find(|(_, given)| *given) {
                return Err(anyhow!(
                    "{flag} is given, but no check: add --health-cmd, --health-http or --health-tcp"
                ));
            }
            return Ok(None);
        };
        let mut check = HealthCheck::new(probe);
        let set = |value: &mut u64, given: Option<Duration>| {
            *value = given.map_or(*value, millis);
        };
        set(&mut check.times.delay_ms, self.health_delay);
        set(&mut check.times.interval_ms, self.health_interval);
        set(&mut check.times.timeout_ms, self.health_timeout);
        set(&mut check.grace_ms, self.health_grace);
        ensure!(
            check.times.timeout_ms > 0,
            "--health-timeout is 0: say how long a probe may take, for example 5s"
        );
        check.consecutive_failures = self.health_failures.unwrap_or(check.consecutive_failures);
        Ok(Some(check))
    }

    fn probe(&self) -> Result<Option<Probe>> {
        if let Some(line) = &self.health_cmd {
            ensure!(
                !line.is_empty(),
                "--health-cmd is empty: name a command, for example 'test -f ready'"
            );
            let line = CommandLine::shell(line);
            return Ok(Some(Probe::Command { line, environment: Default::default() }));
        }
        if let Some(text) = &self.health_http {
            let (number, path) = text.split_once('/').unwrap_or((text, ""));
            let port = port("--health-http", text, number, "8080/health")?;
            return Ok(Some(Probe::Http { port, path: format!("/{path}") }));
        }
        let Some(text) = &self.health_tcp else { return Ok(None) };
        Ok(Some(Probe::Tcp { port: port("--health-tcp", text, text, "8080")? }))
    }
}

fn port(flag: &str, text: &str, number: &str, example: &str) -> Result<u16> {
    let port = number.parse::<u16>().ok().filter(|port| *port != 0);
    port.ok_or_else(|| {
        anyhow!("{flag} is {text:?}: expected a port from 1 to 65535, for example {example}")
    })
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::request;
    use super::*;

    fn check(line: &[&str]) -> Option<HealthCheck> {
        let line = [line, &["--", "./serve"]].concat();
        request(&line).unwrap().template.health_check.map(|check| *check)
    }

    fn error(line: &[&str]) -> String {
        request(&[line, &["--", "./serve"]].concat()).unwrap_err().to_string()
    }

    #[test]
    fn each_kind_of_check_has_its_flag() {
        assert_eq!(check(&[]), None);
        let of = |probe| Some(HealthCheck::new(probe));
        assert_eq!(check(&["--health-tcp", "80"]), of(Probe::Tcp { port: 80 }));
        let http = |path: &str| of(Probe::Http { port: 80, path: path.to_owned() });
        assert_eq!(check(&["--health-http", "80"]), http("/"));
        assert_eq!(check(&["--health-http", "80/a/b?c"]), http("/a/b?c"));
        let line = CommandLine::shell("test -f ready");
        let command = Probe::Command { line, environment: Default::default() };
        assert_eq!(check(&["--health-cmd", "test -f ready"]), of(command));
    }

    #[test]
    fn times_and_counts_are_taken_over() {
        let flags = [
            "--health-tcp",
            "80",
            "--health-delay",
            "0s",
            "--health-interval",
            "1s",
            "--health-timeout",
            "2s",
            "--health-grace",
            "3s",
            "--health-failures",
            "4",
        ];
        let check = check(&flags).unwrap();
        let times = (check.times.delay_ms, check.times.interval_ms, check.times.timeout_ms);
        assert_eq!(times, (0, 1_000, 2_000));
        assert_eq!((check.grace_ms, check.consecutive_failures), (3_000, 4));
    }

    #[test]
    fn what_is_no_check_is_told() {
        assert_eq!(
            error(&["--health-tcp", "0"]),
            "--health-tcp is \"0\": expected a port from 1 to 65535, for example 8080"
        );
        assert!(error(&["--health-http", "/health"]).starts_with("--health-http is \"/health\": "));
        assert!(error(&["--health-cmd", ""]).starts_with("--health-cmd is empty"));
        assert!(
            error(&["--health-grace", "1s"]).starts_with("--health-grace is given, but no check")
        );
        let none = error(&["--health-tcp", "80", "--health-timeout", "0s"]);
        assert!(none.starts_with("--health-timeout is 0"), "{none}");
    }
}
