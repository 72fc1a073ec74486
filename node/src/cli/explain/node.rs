//! Who has something of a node, and why others are not offered it.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{
    role::Member,
    words::{Amounts, Rules, amounts, because, node_name},
};
use crate::cli::text::plain;

/// So many holders are told.
const HOLDERS_SHOWN: usize = 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Explanation {
    node_id: String,
    obstacles: Vec<String>,
    allocator: Option<Agent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Agent {
    hostname: String,
    closed: Option<String>,
    total: Amounts,
    free: Amounts,
    holders: Vec<Holder>,
    considered: usize,
    skipped: Rules,
    next: Option<Member>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Holder {
    framework: String,
    role: String,
    offered: Amounts,
    allocated: Amounts,
}

/// The explanation in sentences.
///
/// # Errors
/// When the value is no explanation.
pub(super) fn sentences(value: Value) -> Result<Vec<String>> {
    let told: Explanation =
        serde_json::from_value(value).context("the node's answer is not an explanation")?;
    let name = told.allocator.as_ref().map_or("", |agent| &agent.hostname);
    let name = node_name(name, &told.node_id);
    let mut lines: Vec<String> =
        told.obstacles.iter().map(|what| format!("node {name} {}", obstacle(what))).collect();
    match &told.allocator {
        Some(agent) => lines.extend(agent.sentences(&name)),
        None => lines.push(format!("nothing of node {name} can be offered to anybody")),
    }
    Ok(lines)
}

fn obstacle(name: &str) -> String {
    match name {
        "gone" => "was declared gone".to_owned(),
        "unreachable" => "is unreachable".to_owned(),
        "disconnected" => "has lost its connection".to_owned(),
        "not_reported" => "has not yet reported to this leader".to_owned(),
        "draining" => "drains: its tasks go on, and it is offered no more".to_owned(),
        "draining_tasks" => {
            "drains or is drained: its tasks are ended, and it is offered no more until `meshos undrain`".to_owned()
        }
        "deactivated" => {
            "is deactivated: its tasks go on, and it is offered no more until `meshos reactivate`"
                .to_owned()
        }
        other => plain(other),
    }
}

impl Agent {
    fn sentences(&self, name: &str) -> Vec<String> {
        let mut lines = vec![format!(
            "node {name} has {}, of which {} free",
            amounts(&self.total),
            match self.free.is_empty() {
                true => "nothing is".to_owned(),
                false => format!("{} is", amounts(&self.free)),
            }
        )];
        let holders = self.holders.iter().take(HOLDERS_SHOWN);
        lines.extend(holders.flat_map(Holder::sentences));
        let more = self.holders.len().saturating_sub(HOLDERS_SHOWN);
        if more > 0 {
            lines.push(format!("{more} more hold something of it"));
        }
        if let Some(rule) = &self.closed {
            lines.push(format!("it is {}", because(rule)));
        }
        if self.considered == 0 {
            lines.push("nobody waits for offers".to_owned());
            return lines;
        }
        let kept: usize = self.skipped.values().sum();
        let mut text = format!(
            "{} of the {} that wait for offers could be offered it now",
            self.considered.saturating_sub(kept),
            self.considered
        );
        if let Some(next) = &self.next {
            let (framework, role) = (plain(&next.framework), plain(&next.role));
            text += &format!(", framework {framework} in role {role} first");
        }
        for (rule, number) in &self.skipped {
            let find = if *number == 1 { "finds" } else { "find" };
            text += &format!("; {number} {find} it {}", because(rule));
        }
        lines.push(text);
        lines
    }
}

impl Holder {
    fn sentences(&self) -> Vec<String> {
        let who = format!("framework {} in role {}", plain(&self.framework), plain(&self.role));
        let mut lines = Vec::new();
        if !self.allocated.is_empty() {
            lines.push(format!("tasks of {who} use {}", amounts(&self.allocated)));
        }
        if !self.offered.is_empty() {
            lines.push(format!("{who} is offered {}", amounts(&self.offered)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_told_with_who_holds_what() {
        let value = json!({
            "node_id": "aaaaaaaaaaaa", "agent": "aaaaaaaaaaaa.1", "obstacles": ["draining"],
            "allocator": {
                "hostname": "lab", "closed": "agent_inactive", "total": {"cpus": 4}, "free": {"cpus": 1},
                "holders": [
                    {"framework": "F1", "role": "*", "offered": {}, "allocated": {"cpus": 2}},
                    {"framework": "F2", "role": "a", "offered": {"cpus": 1}, "allocated": {}}
                ],
                "considered": 3, "skipped": {"agent_inactive": 2},
                "next": {"framework": "F9", "role": "a"}
            }
        });
        assert_eq!(
            sentences(value).unwrap(),
            [
                "node lab (aaaaaaaaaaaa) drains: its tasks go on, and it is offered no more",
                "node lab (aaaaaaaaaaaa) has cpus:4, of which cpus:1 is free",
                "tasks of framework F1 in role * use cpus:2",
                "framework F2 in role a is offered cpus:1",
                "it is not offered to anybody at present (agent_inactive)",
                "1 of the 3 that wait for offers could be offered it now, framework F9 in role a first; \
                 2 find it not offered to anybody at present (agent_inactive)",
            ]
        );
    }

    #[test]
    fn a_node_that_is_not_there_is_told() {
        let told = sentences(json!({"node_id": "a", "obstacles": ["not_reported"]})).unwrap();
        assert_eq!(
            told,
            [
                "node a has not yet reported to this leader",
                "nothing of node a can be offered to anybody"
            ]
        );
        let idle = json!({"node_id": "a", "allocator": {"total": {"mem": 1}}});
        let told = sentences(idle).unwrap();
        assert_eq!(told, ["node a has mem:1, of which nothing is free", "nobody waits for offers"]);
    }
}
