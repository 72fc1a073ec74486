//! What the results of probes mean for a task, and what is told of them.

use meshos_protocol::{
    check::{CheckStatus, HealthCheck, Probe},
    task::{Exit, Reason, Source, StatusUpdate, TaskState},
    time::Now,
};
use serde::{Deserialize, Serialize};

use super::{CheckKey, CheckKind, ProbeOutcome};
use crate::agent::{
    Agent, Effect, TaskRecord,
    end::tell_why,
    task::{Task, TaskKey},
};

/// The most bytes that are told of why a probe failed.
const WHY_BYTES_MAX: usize = 1 << 10;

/// What the checks of a task have found, on its agent's disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// Whether the task is healthy, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Whether a probe has ever succeeded: then there is no grace any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub succeeded: bool,
    /// How many probes in a row have failed.
    #[serde(default)]
    pub failures: u32,
    /// Set when the task's end was asked for because it is not healthy: why, a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<String>,
    /// What the other check has found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CheckStatus>,
}

impl Agent {
    /// What a probe found, or nothing because it took too long.
    pub(super) fn judge(
        &mut self,
        now: Now,
        check: &CheckKey,
        found: Option<&ProbeOutcome>,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(found, Some(ProbeOutcome::NotAsked { .. })) {
            return;
        }
        let (key, kind) = check;
        let Some(task) = self.tasks.get(key) else { return };
        let description = &task.record.launch.description;
        match kind {
            CheckKind::Health => {
                let Some(health) = description.health_check.as_deref().cloned() else { return };
                match failure(&health, found) {
                    None => self.probe_succeeded(now, key, effects),
                    Some(why) => self.probe_failed(now, check, &health, &why, effects),
                }
            }
            CheckKind::Plain => {
                let Some(plain) = &description.check else { return };
                let status = status_of(&plain.probe, found);
                self.check_found(now, key, status, effects);
            }
        }
    }

    fn probe_succeeded(&mut self, now: Now, key: &TaskKey, effects: &mut Vec<Effect>) {
        let Some(record) = self.check_record(key) else { return };
        let before = record.clone();
        (record.healthy, record.succeeded, record.failures) = (Some(true), true, 0);
        if before.healthy != Some(true) {
            let reason = Reason::HealthCheckStatusUpdated;
            self.tell_check(now, key, reason, "the health check succeeds".to_owned(), effects);
        }
    }

    fn probe_failed(
        &mut self,
        now: Now,
        check: &CheckKey,
        health: &HealthCheck,
        why: &str,
        effects: &mut Vec<Effect>,
    ) {
        self.counters.probes_failed += 1;
        let key = &check.0;
        let in_grace =
            self.checks.watches.get(check).is_some_and(|watch| now.mono <= watch.grace_until);
        let Some(record) = self.check_record(key) else { return };
        if in_grace && !record.succeeded {
            return;
        }
        let was_healthy = record.healthy != Some(false);
        record.healthy = Some(false);
        record.failures = record.failures.saturating_add(1);
        let times = match record.failures {
            1 => "once".to_owned(),
            failures => format!("{failures} times in a row"),
        };
        let message = format!("the {} health check has failed {times}: {why}", name(&health.probe));
        if record.failures >= health.consecutive_failures.max(1) {
            record.unhealthy = Some(message);
            self.counters.health_kills += 1;
            self.kill(now, key, None, effects);
        } else if was_healthy {
            self.tell_check(now, key, Reason::HealthCheckStatusUpdated, message, effects);
        } else {
            self.write_record(key, effects);
        }
    }

    fn check_found(
        &mut self,
        now: Now,
        key: &TaskKey,
        status: CheckStatus,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get(key) else { return };
        if status_before(&task.record) == Some(status) {
            return;
        }
        let Some(record) = self.check_record(key) else { return };
        record.status = Some(status);
        self.tell_check(now, key, Reason::CheckStatusUpdated, String::new(), effects);
    }

    fn check_record(&mut self, key: &TaskKey) -> Option<&mut CheckRecord> {
        let task = self.tasks.get_mut(key)?;
        Some(task.record_mut().checks.get_or_insert_default())
    }

    /// Tells that a task goes on running, and what its checks have found now. Of several such updates of one check that wait
    /// behind another update only the newest stays: a task that changes its mind must not fill the disk.
    fn tell_check(
        &mut self,
        now: Now,
        key: &TaskKey,
        reason: Reason,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        let mut status = self.status(now, key, TaskState::Running);
        status.update = Some(self.mint_update());
        (status.reason, status.message) = (Some(reason), message);
        let Some(task) = self.tasks.get_mut(key) else { return };
        let abandoned = task.abandoned.is_some();
        if !abandoned {
            let waiting = &mut task.record_mut().unacknowledged;
            let mut behind = waiting.iter().skip(1);
            if let Some(index) = behind.position(|before| is_like(before, reason)) {
                waiting.remove(index + 1);
            }
            waiting.push(status);
        }
        self.write_record(key, effects);
        self.send_head(now, key, effects);
    }
}

impl Agent {
    /// After a crash: what waits to tell what checks found may be older than what was told since. It was acknowledged or something newer
    /// took its place, and none of that was on disk yet. So it gets new ids: it is what the agent knows now, and is told after all
    /// that was told before. What something else stands behind was not replaced: checks had ended then. What executors tell of
    /// their own checks has the ids that they gave it.
    pub(in crate::agent) fn renew_what_checks_found(&mut self, key: &TaskKey) {
        let of_checks = |status: &StatusUpdate| {
            let reasons = [Reason::HealthCheckStatusUpdated, Reason::CheckStatusUpdated];
            let own = status.source != Source::Executor;
            own && reasons.into_iter().any(|reason| is_like(status, reason))
        };
        let Some(task) = self.tasks.get(key) else { return };
        let waiting = &task.record.unacknowledged;
        let last = waiting.iter().rev().take_while(|status| of_checks(status)).count();
        let length = waiting.len();
        for index in length.saturating_sub(last)..length {
            let update = Some(self.mint_update());
            let Some(task) = self.tasks.get_mut(key) else { return };
            if let Some(status) = task.record_mut().unacknowledged.get_mut(index) {
                status.update = update;
            }
        }
    }
}

/// Whether an update tells nothing but what the same check had found.
fn is_like(status: &StatusUpdate, reason: Reason) -> bool {
    status.state == TaskState::Running && status.reason == Some(reason)
}

/// What a task's check has found, if it has one that its agent carries out.
fn status_before(record: &TaskRecord) -> Option<CheckStatus> {
    let known = record.checks.as_ref().and_then(|checks| checks.status);
    let description = &record.launch.description;
    let own = description.check.as_ref().filter(|_| description.executor.is_none());
    known.or_else(|| own.map(|check| check.probe.nothing_found()))
}

/// What is known of a task that has not ended: whether it is healthy, and what its check has found.
pub(in crate::agent) fn found_by_checks(
    record: &TaskRecord,
) -> (Option<bool>, Option<CheckStatus>) {
    let healthy = record.checks.as_ref().and_then(|checks| checks.healthy);
    (healthy, status_before(record))
}

/// A task was killed because it was not healthy, unless something else was faster.
pub(in crate::agent) fn tell_of_health(
    terminal: &mut StatusUpdate,
    record: &TaskRecord,
    other: Option<Reason>,
) {
    let why = record.checks.as_ref().and_then(|checks| checks.unhealthy.clone());
    let Some(why) = why.filter(|_| terminal.state == TaskState::Killed) else { return };
    if tell_why(terminal, other, Reason::HealthCheckFailed, why) {
        terminal.healthy = Some(false);
    }
}

impl Task {
    /// Whether its end was asked for because it is not healthy.
    pub(in crate::agent) fn is_unhealthy(&self) -> bool {
        self.record.checks.as_ref().is_some_and(|checks| checks.unhealthy.is_some())
    }
}

const fn name(probe: &Probe) -> &'static str {
    match probe {
        Probe::Command { .. } => "command",
        Probe::Http { .. } => "HTTP",
        Probe::Tcp { .. } => "TCP",
        Probe::Unknown => "unknown",
    }
}

/// Why a probe has failed, if it has; nothing found means that it took too long.
fn failure(health: &HealthCheck, found: Option<&ProbeOutcome>) -> Option<String> {
    let why = match found {
        None => format!("it took longer than {} ms", health.times.timeout_ms),
        Some(ProbeOutcome::Exited(Exit::Code { code: 0 }) | ProbeOutcome::Connected) => {
            return None;
        }
        Some(ProbeOutcome::Status(200..=399) | ProbeOutcome::NotAsked { .. }) => return None,
        Some(ProbeOutcome::Exited(Exit::Code { code })) => format!("it exited with status {code}"),
        Some(ProbeOutcome::Exited(Exit::Signal { signal })) => format!("signal {signal} ended it"),
        Some(ProbeOutcome::Exited(Exit::Unreadable { why })) => why.clone(),
        Some(ProbeOutcome::Exited(Exit::Unknown)) => "nobody knows how it ended".to_owned(),
        Some(ProbeOutcome::Status(status)) => format!("it was answered with status {status}"),
        Some(ProbeOutcome::Failed { why }) => why.clone(),
    };
    Some(shortened(why))
}

fn shortened(mut why: String) -> String {
    why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
    why
}

fn status_of(probe: &Probe, found: Option<&ProbeOutcome>) -> CheckStatus {
    match found {
        Some(ProbeOutcome::Exited(Exit::Code { code })) => {
            CheckStatus::Command { exit_code: Some(*code) }
        }
        Some(ProbeOutcome::Exited(Exit::Signal { signal })) => {
            CheckStatus::Command { exit_code: Some(signal.saturating_add(128)) }
        }
        Some(ProbeOutcome::Status(status)) => CheckStatus::Http { status_code: Some(*status) },
        Some(ProbeOutcome::Connected) => CheckStatus::Tcp { succeeded: Some(true) },
        Some(ProbeOutcome::Failed { .. }) if matches!(probe, Probe::Tcp { .. }) => {
            CheckStatus::Tcp { succeeded: Some(false) }
        }
        Some(
            ProbeOutcome::Exited(Exit::Unreadable { .. } | Exit::Unknown)
            | ProbeOutcome::Failed { .. }
            | ProbeOutcome::NotAsked { .. },
        )
        | None => probe.nothing_found(),
    }
}
