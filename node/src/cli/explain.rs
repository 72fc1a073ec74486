//! `meshos explain`: why a framework is not offered what it wants.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use super::{
    common::Common,
    output,
    text::{count, encode, plain, wrap},
};

/// Say why nothing is offered to a framework
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say why nothing is offered to a framework
    Framework {
        /// The framework's id, as `meshos frameworks` shows it
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

/// What the leader says, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Explanation {
    obstacles: Vec<Obstacle>,
    open_offers: usize,
    agents_not_reported: usize,
    agents_disconnected: usize,
    agents_unreachable: usize,
    agents_draining: usize,
    agents_active: usize,
    allocator: Option<Allocator>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Obstacle {
    name: String,
    roles: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Allocator {
    roles: Vec<RolePart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RolePart {
    role: String,
    position: Option<usize>,
    waiting: usize,
    grants: u64,
    agents: usize,
    available: usize,
    skipped: BTreeMap<String, usize>,
}

/// Prints the explanation.
pub(super) async fn execute(arguments: Arguments) -> Result<ExitCode> {
    let What::Framework { id, common } = arguments.what;
    let value = common.get(&path(&id)).await?;
    if common.json {
        output::json(&value)?;
    } else {
        let lines: Vec<String> = sentences(value)?.iter().map(|line| wrap(line, 2)).collect();
        output::line(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the API explains a framework.
pub(super) fn path(framework: &str) -> String {
    format!("/api/explain/framework/{}", encode(framework))
}

/// The explanation in sentences, the weightiest first.
///
/// # Errors
/// When the value is no explanation.
pub(super) fn sentences(value: Value) -> Result<Vec<String>> {
    let explanation: Explanation =
        serde_json::from_value(value).context("the node's answer is not an explanation")?;
    let mut lines: Vec<String> = explanation.obstacles.iter().map(obstacle).collect();
    let agents = [
        (
            explanation.agents_not_reported,
            "has not yet reported to this leader",
            "have not yet reported to this leader",
        ),
        (explanation.agents_disconnected, "has lost its connection", "have lost their connections"),
        (explanation.agents_unreachable, "is unreachable", "are unreachable"),
        (explanation.agents_draining, "drains", "drain"),
    ];
    for (number, one, many) in agents.into_iter().filter(|(number, ..)| *number > 0) {
        lines.push(format!("{} {}", count(number, "node"), if number == 1 { one } else { many }));
    }
    if explanation.open_offers > 0 {
        let offers = count(explanation.open_offers, "offer");
        lines.push(format!(
            "{offers} of it are open: what they hold is not offered again before they are answered"
        ));
    }
    lines.extend(explanation.allocator.iter().flat_map(|allocator| &allocator.roles).map(role));
    if lines.is_empty() {
        lines.push(format!(
            "nothing is in the way: {} take part",
            count(explanation.agents_active, "node")
        ));
    }
    Ok(lines)
}

fn obstacle(obstacle: &Obstacle) -> String {
    match obstacle.name.as_str() {
        "closed" => "the framework has ended".to_owned(),
        "not_subscribed" => "the framework's connection is lost".to_owned(),
        "disconnected" => "the framework is disconnected".to_owned(),
        "suppressed" => {
            format!("the framework wants no offers for {}", plain(&obstacle.roles.join(", ")))
        }
        "no_agents" => "no node takes part".to_owned(),
        other => plain(other),
    }
}

fn role(part: &RolePart) -> String {
    let mut text = format!(
        "in role {}: {} of {} could be offered now, {} so far",
        plain(&part.role),
        part.available,
        count(part.agents, "node"),
        count(usize::try_from(part.grants).unwrap_or(usize::MAX), "offer")
    );
    if let Some(position) = part.position.filter(|position| *position > 0) {
        text += &format!("; {position} of {} that wait go first", part.waiting);
    }
    for (rule, number) in &part.skipped {
        text += &format!("; {} {}", count(*number, "node"), because(rule));
    }
    text
}

/// The named rules of the allocator, in words.
fn because(rule: &str) -> String {
    let words = match rule {
        "refused" => "refused by the framework for the time being (refused)",
        "turn_taken" => "given back before, so others go first (turn_taken)",
        "quota_limit" => "kept back by the limit of the role (quota_limit)",
        "not_requested" => "without what the framework asked for (not_requested)",
        "below_wish" => "with less than the framework wants in an offer (below_wish)",
        "offered_elsewhere" => "held for somebody who has not yet answered (offered_elsewhere)",
        "below_minimum" => "with too little free to be worth an offer (below_minimum)",
        "nothing_free" => "with nothing free (nothing_free)",
        "reserved_for_other_role" => "reserved for other roles (reserved_for_other_role)",
        "not_understood" => {
            "of which only what the framework cannot handle is free (not_understood)"
        }
        "constraint" => "against the constraints of the framework (constraint)",
        "other_region" => "in another region (other_region)",
        "gpu" => "with GPUs, which the framework does not use (gpu)",
        "not_offerable" => "without cpus or mem (not_offerable)",
        "agent_inactive" => "not offered to anybody at present (agent_inactive)",
        "demand_met" => "beyond what the framework asked for (demand_met)",
        "suppressed" => "suppressed by the framework (suppressed)",
        "inactive" => "not for a framework that is not connected (inactive)",
        other => return format!("because of {}", plain(other)),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_is_told_in_sentences() {
        let value = json!({
            "framework": "F1",
            "obstacles": [{"name": "suppressed", "roles": ["web"]}],
            "open_offers": 0, "agents_not_reported": 1, "agents_disconnected": 0,
            "agents_unreachable": 2, "agents_draining": 0, "agents_active": 3,
            "allocator": {"framework": "F1", "active": true, "roles": [{
                "role": "*", "position": 1, "waiting": 2, "grants": 5, "agents": 3, "available": 0,
                "skipped": {"refused": 2, "nothing_free": 1}
            }]}
        });
        assert_eq!(
            sentences(value).unwrap(),
            [
                "the framework wants no offers for web",
                "1 node has not yet reported to this leader",
                "2 nodes are unreachable",
                "in role *: 0 of 3 nodes could be offered now, 5 offers so far; 1 of 2 that wait go first; \
             1 node with nothing free (nothing_free); \
             2 nodes refused by the framework for the time being (refused)",
            ]
        );
    }

    #[test]
    fn every_rule_of_the_allocator_has_words() {
        for rule in meshos_alloc::SkipRule::ALL {
            let Value::String(name) = serde_json::to_value(rule).unwrap() else {
                panic!("a rule is not a name");
            };
            assert!(because(&name).ends_with(&format!("({name})")), "{name}");
        }
    }

    #[test]
    fn nothing_in_the_way_is_said_too() {
        let value = json!({"agents_active": 3});
        assert_eq!(sentences(value).unwrap(), ["nothing is in the way: 3 nodes take part"]);
        assert!(sentences(json!([1])).is_err());
    }
}
