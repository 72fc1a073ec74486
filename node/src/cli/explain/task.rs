//! What became of a task, and where one would fit that waits.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use super::words::{
    Amounts, Circumstances, Fit, Share, Shares, amounts, node_name, percent, place,
};
use crate::cli::text::{ago, now_ms, plain};

/// A task that was launched.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Launched {
    id: String,
    framework_id: String,
    node_id: String,
    hostname: Option<String>,
    role: String,
    resources: Amounts,
    state: String,
    reason: Option<String>,
    message: String,
    healthy: Option<bool>,
    check_status: Option<Value>,
    node_connected: bool,
    ended: bool,
    changed_at: u64,
}

/// A task that waits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    framework: String,
    role: String,
    resources: Amounts,
    #[serde(flatten)]
    circumstances: Circumstances,
    allocator: Option<Allocator>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Allocator {
    #[serde(flatten)]
    fit: Fit,
    position: Option<usize>,
    waiting: usize,
    share: Share,
    shares: Shares,
}

/// What became of a task, in sentences.
///
/// # Errors
/// When the value is no explanation.
pub(super) fn launched(value: Value) -> Result<Vec<String>> {
    let task: Launched =
        serde_json::from_value(value).context("the node's answer is not an explanation")?;
    let node = node_name(task.hostname.as_deref().unwrap_or_default(), &task.node_id);
    let mut text = format!(
        "task {} of framework {} is {} since {}",
        plain(&task.id),
        plain(&task.framework_id),
        plain(&task.state),
        ago(task.changed_at, now_ms())
    );
    let why = [task.reason.as_deref().unwrap_or_default(), &task.message];
    let why: Vec<_> = why.into_iter().filter(|part| !part.is_empty()).map(plain).collect();
    if !why.is_empty() {
        text += &format!(": {}", why.join(", "));
    }
    let was = if task.ended { "used" } else { "uses" };
    let place = format!(
        "it {was} {} of node {node} in role {}",
        amounts(&task.resources),
        plain(&task.role)
    );
    let mut lines = vec![text, place];
    if !task.ended {
        lines.extend(task.healthy.map(|healthy| {
            let found = if healthy { "well" } else { "not well" };
            format!("its health check finds it {found}")
        }));
        lines.extend(task.check_status.as_ref().map(found));
    }
    if !task.ended && !task.node_connected {
        lines.push("its node is not connected, so its state may be another by now".to_owned());
    } else if task.state == "staging" {
        lines.push("its node has not yet said that it started it".to_owned());
    }
    Ok(lines)
}

/// What its other check has found: one of `exit_code`, `status_code` and `succeeded`.
fn found(status: &Value) -> String {
    let found = status.as_object().and_then(|found| found.iter().next());
    match found {
        None => "its check has found nothing yet".to_owned(),
        Some((name, value)) => {
            plain(&format!("its check has found: {} {value}", name.replace('_', " ")))
        }
    }
}

/// Where a task would fit that waits, in sentences, the weightiest first.
///
/// # Errors
/// When the value is no explanation.
pub(super) fn waiting(value: Value) -> Result<Vec<String>> {
    let told: Waiting =
        serde_json::from_value(value).context("the node's answer is not an explanation")?;
    let mut lines = told.circumstances.sentences();
    let Some(allocator) = &told.allocator else { return Ok(lines) };
    let role = plain(&told.role);
    let what = format!(
        "a task of {} of framework {} in role {role}",
        amounts(&told.resources),
        plain(&told.framework)
    );
    lines.push(allocator.fit.sentence(&what));
    lines.extend(allocator.fit.nearest());
    if let Some(place) = place(allocator.position, allocator.waiting) {
        let share = match allocator.shares.are_shares() {
            true => format!("; its share is {}", percent(&allocator.share)),
            false => String::new(),
        };
        lines.push(format!("in the order of service {place}{share}"));
    }
    lines.extend(allocator.shares.sentence());
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_that_waits_is_told_where_it_would_fit() {
        let value = json!({
            "framework": "F7", "role": "web", "resources": {"cpus": 8, "mem": 128},
            "obstacles": [], "open_offers": 1, "agents_active": 2,
            "allocator": {
                "considered": 4, "fits": 0, "fits_when_empty": 1, "skipped": {"offered_elsewhere": 1},
                "lacking": {"cpus": 4, "mem": 2},
                "kept_by": {"offered_elsewhere": 1}, "short_of": {"cpus": 3},
                "nearest": [
                    {"agent": "a.1", "hostname": "lab", "rule": null, "short": {"cpus": 4}},
                    {"agent": "b.1", "hostname": "lab2", "rule": null, "short": {"cpus": 4}},
                    {"agent": "c.1", "hostname": "lab3", "rule": null, "short": {"cpus": 5}}
                ],
                "position": 0, "waiting": 1, "share": {"per_mille": 500},
                "shares": {"roles": 1, "shown": [{"role": "web", "share": {"per_mille": 500}}]}
            }
        });
        assert_eq!(
            waiting(value).unwrap(),
            [
                "1 offer of it is open: what they hold is not offered again before they are answered",
                "a task of cpus:8;mem:128 of framework F7 in role web fits on 0 of 4 nodes now; 3 nodes lack \
                 cpus; 1 node held for somebody who has not yet answered (offered_elsewhere)",
                "the nearest: lab (a.1) and lab2 (b.1) lack cpus:4; lab3 (c.1) lacks cpus:5",
                "in the order of service it is the next of 1 that wait; its share is 50 %",
            ]
        );
    }

    #[test]
    fn a_task_that_fits_into_open_offers_is_told_so() {
        let value = json!({
            "framework": "F7", "role": "web", "resources": {"cpus": 2}, "agents_active": 2,
            "open_offers": 2, "offers_optimistic": true,
            "allocator": {
                "considered": 2, "fits": 0, "fits_when_empty": 2, "fits_open_offers": 2,
                "open_offers_on": [
                    {"agent": "a.1", "hostname": "lab"}, {"agent": "b.1", "hostname": ""}
                ],
                "skipped": {"offered_already": 2}, "kept_by": {"offered_already": 2}
            }
        });
        assert_eq!(
            waiting(value).unwrap(),
            [
                "2 offers of it are open: what they hold is not offered to it again before they are \
                 answered, others may be offered the same meanwhile",
                "a task of cpus:2 of framework F7 in role web fits into what the framework is offered on 2 \
                 nodes (lab (a.1), b.1) and has not answered yet; beside that it fits on 0 of 2 nodes now; 2 \
                 nodes offered to the framework, which has not yet answered (offered_already)",
            ]
        );
    }

    #[test]
    fn a_task_that_was_launched_is_told_with_its_node() {
        let value = json!({
            "id": "web-1", "framework_id": "F7", "node_id": "aaaaaaaaaaaa", "hostname": "lab", "role": "web",
            "resources": {"cpus": 1}, "state": "unreachable", "reason": "agent_unreachable",
            "message": "not heard of", "node_connected": false, "ended": false, "changed_at": now_ms()
        });
        let told = launched(value).unwrap();
        assert_eq!(
            told[0],
            "task web-1 of framework F7 is unreachable since 0s: agent_unreachable, not heard of"
        );
        assert_eq!(told[1], "it uses cpus:1 of node lab (aaaaaaaaaaaa) in role web");
        assert!(told[2].starts_with("its node is not connected"), "{told:?}");
        let ended = launched(json!({"state": "finished", "ended": true})).unwrap();
        assert!(ended.len() == 2 && ended[1].starts_with("it used nothing"), "{ended:?}");
    }

    #[test]
    fn what_checks_have_found_is_told_of_a_task_that_has_not_ended() {
        let told = |status: Value, ended: bool| {
            let value = json!({
                "state": "running", "healthy": false, "check_status": status, "ended": ended,
                "node_connected": true
            });
            launched(value).unwrap().split_off(2)
        };
        assert_eq!(
            told(json!({"exit_code": 3}), false),
            ["its health check finds it not well", "its check has found: exit code 3"]
        );
        assert_eq!(told(json!({}), false)[1], "its check has found nothing yet");
        assert!(told(json!({"exit_code": 3}), true).is_empty());
    }
}
