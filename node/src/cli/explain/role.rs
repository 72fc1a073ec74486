//! How a role stands among the others.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{
    framework::RolePart,
    words::{Amounts, Circumstances, Shares, amounts},
};
use crate::cli::text::{count, plain};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WholeRole {
    #[serde(flatten)]
    circumstances: Circumstances,
    role: String,
    weight: String,
    priority: i32,
    guarantee: Amounts,
    limit: Amounts,
    consumed: Amounts,
    held: Amounts,
    offered: Amounts,
    revocable: Amounts,
    waiting: usize,
    waiting_in_all: usize,
    position: Option<usize>,
    shares: Shares,
    frameworks: Vec<Member>,
    first: Option<RolePart>,
}

/// A framework in a role.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub framework: String,
    pub role: String,
    rule: Option<String>,
    agents: usize,
}

/// The explanation in sentences.
///
/// # Errors
/// When the value is no explanation.
pub(super) fn sentences(value: Value) -> Result<Vec<String>> {
    let told: WholeRole =
        serde_json::from_value(value).context("the node's answer is not an explanation")?;
    let role = plain(&told.role);
    let mut lines = told.circumstances.agents();
    lines.push(format!(
        "role {role} has the weight {} and the priority {}; it is guaranteed {} and limited in {}, \
         and consumes {} of that",
        plain(&told.weight),
        told.priority,
        amounts(&told.guarantee),
        amounts(&told.limit),
        amounts(&told.consumed)
    ));
    let offered = match told.offered.is_empty() {
        true => String::new(),
        false => format!(", {} of it in offers that are not answered yet", amounts(&told.offered)),
    };
    let revocable = match told.revocable.is_empty() {
        true => String::new(),
        false => format!(
            ", and {} of what may be taken back at any time, which counts for nothing",
            amounts(&told.revocable)
        ),
    };
    lines.push(format!("it holds {}{offered}{revocable}", amounts(&told.held)));
    lines.push(match told.position {
        None => "nobody in it waits for offers".to_owned(),
        Some(position) => format!(
            "{} of the {} that wait for offers are in it; {position} go before its first",
            told.waiting, told.waiting_in_all
        ),
    });
    let members = told.frameworks.iter().map(|member| member.sentence(&told.role));
    let members = members.collect::<Vec<_>>().join(", ");
    if !members.is_empty() {
        lines.push(format!("its frameworks in the order of service: {members}"));
    }
    if let (Some(first), Some(member)) = (&told.first, told.frameworks.first()) {
        let who = format!("{}, its first, ", plain(&member.framework));
        lines.extend(first.sentences(&who, told.shares.are_shares()));
    }
    lines.extend(told.shares.sentence());
    Ok(lines)
}

impl Member {
    fn sentence(&self, within: &str) -> String {
        let mut notes = Vec::new();
        if self.role != within {
            notes.push(format!("in {}", plain(&self.role)));
        }
        if self.agents > 0 {
            notes.push(format!("on {}", count(self.agents, "node")));
        }
        notes.extend(self.rule.as_deref().map(plain));
        match notes.is_empty() {
            true => plain(&self.framework),
            false => format!("{} ({})", plain(&self.framework), notes.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_is_told_with_its_order_and_its_first() {
        let value = json!({
            "agents_unreachable": 1, "role": "web", "weight": "2.5", "priority": -1,
            "guarantee": {"cpus": 4}, "limit": {}, "consumed": {"cpus": 1.5, "mem": 64},
            "held": {"cpus": 1.5, "mem": 64}, "offered": {"cpus": 1}, "waiting": 1,
            "waiting_in_all": 3, "position": 2,
            "frameworks": [
                {"framework": "F3", "role": "web/a", "rule": null, "agents": 1},
                {"framework": "F4", "role": "web", "rule": "suppressed", "agents": 0}
            ],
            "first": {"role": "web/a", "position": 2, "waiting": 3, "grants": 1, "agents": 1}
        });
        assert_eq!(
            sentences(value).unwrap(),
            [
                "1 node is unreachable",
                "role web has the weight 2.5 and the priority -1; it is guaranteed cpus:4 and limited in \
                 nothing, and consumes cpus:1.5;mem:64 of that",
                "it holds cpus:1.5;mem:64, cpus:1 of it in offers that are not answered yet",
                "1 of the 3 that wait for offers are in it; 2 go before its first",
                "its frameworks in the order of service: F3 (in web/a, on 1 node), F4 (suppressed)",
                "F3, its first, in role web/a: 0 of 1 node could be offered now, 1 offer so far; 2 of 3 \
                 that wait go first",
            ]
        );
    }

    #[test]
    fn a_role_in_which_nobody_waits_is_told() {
        let told = sentences(json!({"role": "web", "weight": "1"})).unwrap();
        assert_eq!(told[2], "nobody in it waits for offers");
        assert!(sentences(json!("web")).is_err());
    }
}
