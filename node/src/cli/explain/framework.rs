//! Why a framework is not offered what it wants.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use super::words::{
    Amounts, Circumstances, Figures, Fit, Miss, Rules, Share, Shares, amounts, nearest, percent,
    place,
};
use crate::cli::text::{count, plain};

/// What the leader says, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Explanation {
    #[serde(flatten)]
    circumstances: Circumstances,
    allocator: Option<Allocator>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Allocator {
    roles: Vec<RolePart>,
    shares: Shares,
}

/// A framework in one role.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RolePart {
    role: String,
    share: Share,
    position: Option<usize>,
    waiting: usize,
    grants: u64,
    agents: usize,
    available: usize,
    skipped: Rules,
    figures: Figures,
    nearest: Vec<Miss>,
    requests: Vec<Request>,
}

/// What a framework has said it wants.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    agent: Option<String>,
    resources: Amounts,
    left: u32,
    fit: Fit,
}

/// The explanation in sentences, the weightiest first.
///
/// # Errors
/// When the value is no explanation.
pub(super) fn sentences(value: Value) -> Result<Vec<String>> {
    let explanation: Explanation =
        serde_json::from_value(value).context("the node's answer is not an explanation")?;
    let mut lines = explanation.circumstances.sentences();
    if let Some(allocator) = &explanation.allocator {
        lines.extend(
            allocator
                .roles
                .iter()
                .flat_map(|role| role.sentences("", allocator.shares.are_shares())),
        );
        lines.extend(allocator.shares.sentence());
    }
    if lines.is_empty() {
        let active = explanation.circumstances.agents_active;
        lines.push(format!("nothing is in the way: {} take part", count(active, "node")));
    }
    Ok(lines)
}

impl RolePart {
    /// What keeps agents from it; `who` goes first. `shares`: whether shares are parts of the cluster.
    pub(super) fn sentences(&self, who: &str, shares: bool) -> Vec<String> {
        let role = plain(&self.role);
        let mut text = format!(
            "{who}in role {role}: {} of {} could be offered now, {} so far",
            self.available,
            count(self.agents, "node"),
            count(usize::try_from(self.grants).unwrap_or(usize::MAX), "offer")
        );
        if let Some(place) = place(self.position, self.waiting) {
            text += &format!("; {place}");
        }
        if shares && self.share.per_mille > 0 {
            text += &format!("; its share is {}", percent(&self.share));
        }
        for (rule, number) in &self.skipped {
            text += &format!("; {} {}", count(*number, "node"), self.figures.because(rule));
        }
        let mut lines = vec![text];
        lines.extend(nearest(&format!("the nearest in role {role}"), &self.nearest));
        for request in &self.requests {
            let of = request.agent.as_ref().map(|agent| format!(" of {}", plain(agent)));
            let what = format!(
                "it wants {} {} more{}, which",
                amounts(&request.resources),
                count(usize::try_from(request.left).unwrap_or(usize::MAX), "time"),
                of.unwrap_or_default()
            );
            lines.push(request.fit.sentence(&what));
            lines.extend(request.fit.nearest());
        }
        lines
    }
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
                "share": {"fraction": "1/8", "per_mille": 125},
                "skipped": {"refused": 2, "nothing_free": 1},
                "nearest": [{
                    "agent": "aaaaaaaaaaaa.1", "hostname": "lab", "rule": "refused", "left_ms": 4_100,
                    "free": {"cpus": 1.5, "mem": 64}
                }],
                "requests": [{
                    "agent": null, "resources": {"cpus": 8}, "left": 2,
                    "fit": {"considered": 3, "fits": 0, "fits_when_empty": 0, "lacking": {"cpus": 3},
                        "nearest": [{"agent": "a.1", "hostname": "", "short": {"cpus": 6.5}}]}
                }]
            }], "shares": {"roles": 3, "shown": [
                {"role": "web", "share": {"per_mille": 0}}, {"role": "*", "share": {"per_mille": 250}}
            ]}}
        });
        assert_eq!(
            sentences(value).unwrap(),
            [
                "the framework wants no offers for web",
                "1 node has not yet reported to this leader",
                "2 nodes are unreachable",
                "in role *: 0 of 3 nodes could be offered now, 5 offers so far; 1 of 2 that wait go first; \
             its share is 12.5 %; 1 node with nothing free for the \
             framework (nothing_free); 2 nodes refused by the framework for the time being (refused)",
                "the nearest in role *: lab (aaaaaaaaaaaa.1) with cpus:1.5;mem:64 free, refused by the \
             framework for the time being (refused), for 5 s more",
                "it wants cpus:8 2 times more, which fits on 0 of 3 nodes now, and on none even if it were \
             empty; 3 nodes lack cpus",
                "the nearest: a.1 lacks cpus:6.5",
                "shares of the roles, over their weights, the least first: web 0 %, * 25 % (and 1 role more)",
            ]
        );
    }

    #[test]
    fn an_earlier_release_tells_less() {
        let value = json!({
            "agents_active": 3,
            "allocator": {"roles": [{
                "role": "*", "position": 0, "waiting": 1, "grants": 1, "agents": 3, "available": 1,
                "nearest": [{"agent": "a.1", "rule": "gpu", "free": []}]
            }]}
        });
        let told = sentences(value).unwrap();
        assert_eq!(
            told[1],
            "the nearest in role *: a.1, with GPUs, which frameworks with the capability GPU_RESOURCES alone are \
             offered (gpu)"
        );
    }

    #[test]
    fn nothing_in_the_way_is_said_too() {
        let value = json!({"agents_active": 3});
        assert_eq!(sentences(value).unwrap(), ["nothing is in the way: 3 nodes take part"]);
        assert!(sentences(json!([1])).is_err());
    }
}
