//! Checks of tasks: how an agent asks a task that runs whether it is well, and what came of it.
//!
//! The kinds, the defaults and what they mean are those of Mesos's `HealthCheck` and `CheckInfo` (`include/mesos/v1/mesos.proto`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::task::CommandLine;

/// The longest time that a check may say for its delay, interval, timeout or grace period: a day.
pub const CHECK_TIME_MAX_MS: u64 = 24 * 3_600 * 1_000;
/// The shortest time from the end of one probe to the next; a shorter interval counts as this.
pub const CHECK_INTERVAL_MIN_MS: u64 = 100;
/// The most bytes of a probe's command with its arguments and environment, or of its path.
pub const PROBE_BYTES_MAX: usize = 16 << 10;
/// The most failures in a row that a health check may wait for.
pub const CONSECUTIVE_FAILURES_MAX: u32 = 1_000_000;

const DELAY_DEFAULT_MS: u64 = 15_000;
const INTERVAL_DEFAULT_MS: u64 = 10_000;
const TIMEOUT_DEFAULT_MS: u64 = 20_000;
const GRACE_DEFAULT_MS: u64 = 10_000;
const FAILURES_DEFAULT: u32 = 3;

/// How a task is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Probe {
    /// A command beside the task: as its user, in its sandbox, with its environment and within its limits. What it prints is
    /// kept by nobody. It succeeds with exit code 0.
    Command {
        /// What is executed.
        line: CommandLine,
        /// Added to the environment of the task.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        environment: BTreeMap<String, String>,
    },
    /// A `GET` to a port of the task's host, 127.0.0.1. It succeeds with a status from 200 to 399; redirections are not followed.
    Http {
        /// Not 0.
        port: u16,
        /// From its first slash on; `/` when empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        path: String,
    },
    /// A connection to a port of the task's host, 127.0.0.1. It succeeds when it is taken.
    Tcp {
        /// Not 0.
        port: u16,
    },
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

/// When a task is asked. Times are in milliseconds, at most [`CHECK_TIME_MAX_MS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTimes {
    /// From when the task runs to the first probe.
    pub delay_ms: u64,
    /// From the end of one probe to the next; less than [`CHECK_INTERVAL_MIN_MS`] counts as that.
    pub interval_ms: u64,
    /// How long one probe may take: then it is ended, and has failed. Not 0.
    pub timeout_ms: u64,
}

impl Default for CheckTimes {
    /// 15 s, 10 s and 20 s.
    fn default() -> Self {
        Self {
            delay_ms: DELAY_DEFAULT_MS,
            interval_ms: INTERVAL_DEFAULT_MS,
            timeout_ms: TIMEOUT_DEFAULT_MS,
        }
    }
}

/// A check that tells whether a task is healthy, and ends it when it is not for too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// How the task is asked.
    pub probe: Probe,
    /// When.
    #[serde(default)]
    pub times: CheckTimes,
    /// From when the task runs: failures before that count only if a probe has succeeded already. At most
    /// [`CHECK_TIME_MAX_MS`].
    #[serde(default = "grace_default")]
    pub grace_ms: u64,
    /// After so many failures in a row the task is killed; from 1 to [`CONSECUTIVE_FAILURES_MAX`].
    #[serde(default = "failures_default")]
    pub consecutive_failures: u32,
}

const fn grace_default() -> u64 {
    GRACE_DEFAULT_MS
}

const fn failures_default() -> u32 {
    FAILURES_DEFAULT
}

impl HealthCheck {
    /// With the defaults: 10 s of grace, 3 failures.
    #[must_use]
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            times: CheckTimes::default(),
            grace_ms: GRACE_DEFAULT_MS,
            consecutive_failures: FAILURES_DEFAULT,
        }
    }
}

/// A check whose result is told and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// How the task is asked.
    pub probe: Probe,
    /// When.
    #[serde(default)]
    pub times: CheckTimes,
}

impl Check {
    /// With the defaults.
    #[must_use]
    pub fn new(probe: Probe) -> Self {
        Self { probe, times: CheckTimes::default() }
    }
}

/// What the newest probe of a [`Check`] found; without a value when it found nothing, as before the first one, or because
/// it took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum CheckStatus {
    /// Of a command.
    Command {
        /// Its exit code; 128 and the number of the signal that ended it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
    },
    /// Of a `GET`.
    Http {
        /// The status of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status_code: Option<u16>,
    },
    /// Of a connection.
    Tcp {
        /// Whether it was taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        succeeded: Option<bool>,
    },
    /// Of a kind that this build does not know.
    #[serde(other)]
    Unknown,
}

impl Probe {
    /// What is known of a task that has not been asked yet.
    #[must_use]
    pub const fn nothing_found(&self) -> CheckStatus {
        match self {
            Self::Command { .. } => CheckStatus::Command { exit_code: None },
            Self::Http { .. } => CheckStatus::Http { status_code: None },
            Self::Tcp { .. } => CheckStatus::Tcp { succeeded: None },
            Self::Unknown => CheckStatus::Unknown,
        }
    }
}
