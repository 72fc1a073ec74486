//! The words that explanations have in common.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::cli::text::{count, plain};

/// How many near misses are told.
const NEAREST_SHOWN: usize = 3;

pub(super) type Amounts = BTreeMap<String, Value>;
pub(super) type Rules = BTreeMap<String, usize>;

/// What stands in the way beside the allocator.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Circumstances {
    pub obstacles: Vec<Obstacle>,
    pub open_offers: usize,
    pub agents_not_reported: usize,
    pub agents_disconnected: usize,
    pub agents_unreachable: usize,
    pub agents_draining: usize,
    pub agents_deactivated: usize,
    pub agents_active: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Obstacle {
    name: String,
    roles: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Share {
    pub per_mille: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Shares {
    roles: usize,
    shown: Vec<RoleShare>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RoleShare {
    role: String,
    share: Share,
}

/// A node on which something nearly fits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Miss {
    pub agent: String,
    pub hostname: String,
    pub rule: Option<String>,
    /// A map; a leader of an earlier release tells a list.
    pub free: Value,
    pub left_ms: Option<u64>,
    pub short: Amounts,
}

/// Where something would fit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fit {
    pub considered: usize,
    pub fits: usize,
    pub fits_when_empty: Option<usize>,
    pub skipped: Rules,
    pub lacking: Rules,
    pub nearest: Vec<Miss>,
}

impl Circumstances {
    /// What stands in the way, the weightiest first.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.obstacles.iter().map(obstacle).collect();
        lines.extend(self.agents());
        if self.open_offers > 0 {
            let are = if self.open_offers == 1 { "is" } else { "are" };
            lines.push(format!(
                "{} of it {are} open: what they hold is not offered again before they are answered",
                count(self.open_offers, "offer")
            ));
        }
        lines
    }

    /// The nodes that do not take part.
    pub(super) fn agents(&self) -> Vec<String> {
        let agents = [
            (
                self.agents_not_reported,
                "has not yet reported to this leader",
                "have not yet reported to this leader",
            ),
            (self.agents_disconnected, "has lost its connection", "have lost their connections"),
            (self.agents_unreachable, "is unreachable", "are unreachable"),
            (self.agents_draining, "drains", "drain"),
            (self.agents_deactivated, "is deactivated", "are deactivated"),
        ];
        let told = agents.into_iter().filter(|(number, ..)| *number > 0);
        told.map(|(number, one, many)| {
            format!("{} {}", count(number, "node"), if number == 1 { one } else { many })
        })
        .collect()
    }
}

impl Shares {
    /// The roles beside each other, the least share first.
    pub(super) fn sentence(&self) -> Option<String> {
        // One alone says nothing.
        if self.shown.len() < 2 {
            return None;
        }
        let shown =
            self.shown.iter().map(|role| format!("{} {}", plain(&role.role), percent(&role.share)));
        let mut text = format!(
            "shares of the roles, over their weights, the least first: {}",
            shown.collect::<Vec<_>>().join(", ")
        );
        let more = self.roles.saturating_sub(self.shown.len());
        if more > 0 {
            text += &format!(" (and {} more)", count(more, "role"));
        }
        Some(text)
    }
}

impl Fit {
    /// Where it fits and where it does not, after who it is.
    pub(super) fn sentence(&self, what: &str) -> String {
        let of = count(self.considered, "node");
        let mut text = format!("{what} fits on {} of {of} now", self.fits);
        if self.fits_when_empty == Some(0) && self.considered > 0 {
            text += ", and on none even if it were empty";
        }
        for (name, number) in &self.lacking {
            let lack = if *number == 1 { "lacks" } else { "lack" };
            text += &format!("; {} {lack} {}", count(*number, "node"), plain(name));
        }
        for (rule, number) in &self.skipped {
            text += &format!("; {} {}", count(*number, "node"), because(rule));
        }
        text
    }

    /// The nodes that came nearest.
    pub(super) fn nearest(&self) -> Option<String> {
        nearest("the nearest", &self.nearest)
    }
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

/// The nodes that came nearest, with what each lacks.
pub(super) fn nearest(intro: &str, misses: &[Miss]) -> Option<String> {
    if misses.is_empty() {
        return None;
    }
    let misses = misses.iter().take(NEAREST_SHOWN).map(miss);
    Some(format!("{intro}: {}", misses.collect::<Vec<_>>().join("; ")))
}

fn miss(miss: &Miss) -> String {
    let mut text = node_name(&miss.hostname, &miss.agent);
    if !miss.short.is_empty() {
        text += &format!(" lacks {}", amounts(&miss.short));
    }
    if let Ok(free) = serde_json::from_value::<Amounts>(miss.free.clone()) {
        text += &format!(" with {} free", amounts(&free));
    }
    if let Some(rule) = &miss.rule {
        text += &format!(", {}", because(rule));
    }
    if let Some(left) = miss.left_ms {
        text += &format!(", for {} s more", left.div_ceil(1_000));
    }
    text
}

/// A node by its host name and the id of its agent.
pub(super) fn node_name(hostname: &str, agent: &str) -> String {
    match hostname {
        "" => plain(agent),
        hostname => format!("{} ({})", plain(hostname), plain(agent)),
    }
}

/// `cpus:2;mem:1024`.
pub(super) fn amounts(amounts: &Amounts) -> String {
    let one = |(name, value): (&String, &Value)| match value {
        Value::String(text) => plain(&format!("{name}:{text}")),
        other => plain(&format!("{name}:{other}")),
    };
    match amounts.is_empty() {
        true => "nothing".to_owned(),
        false => amounts.iter().map(one).collect::<Vec<_>>().join(";"),
    }
}

/// A share for people.
pub(super) fn percent(share: &Share) -> String {
    match share.per_mille {
        u64::MAX => "more than all".to_owned(),
        thousandths if thousandths % 10 == 0 => format!("{} %", thousandths / 10),
        thousandths => format!("{}.{} %", thousandths / 10, thousandths % 10),
    }
}

/// Where it stands in the order of service.
pub(super) fn place(position: Option<usize>, waiting: usize) -> Option<String> {
    match position {
        None => None,
        Some(0) => Some(format!("it is the next of {waiting} that wait")),
        Some(position) => Some(format!("{position} of {waiting} that wait go first")),
    }
}

/// The named rules of the allocator, in words.
pub(super) fn because(rule: &str) -> String {
    let words = match rule {
        "refused" => "refused by the framework for the time being (refused)",
        "timed_out" => "not offered for a while, as an offer of it timed out (timed_out)",
        "turn_taken" => "given back before, so others go first (turn_taken)",
        "quota_limit" => "kept back by the limit of the role (quota_limit)",
        "consumption_unknown" => {
            "held back until all nodes have reported, as the role has a limit (consumption_unknown)"
        }
        "not_requested" => "without what the framework asked for (not_requested)",
        "below_wish" => "with less than the framework wants in an offer (below_wish)",
        "offered_already" => {
            "offered to the framework, which has not yet answered (offered_already)"
        }
        "offered_elsewhere" => "held for somebody who has not yet answered (offered_elsewhere)",
        "below_minimum" => "with too little free to be worth an offer (below_minimum)",
        "nothing_free" => "with nothing free (nothing_free)",
        "reserved_for_other_role" => "reserved for other roles (reserved_for_other_role)",
        "not_understood" => {
            "of which only what the framework does not say it takes would do: revocable or shared resources, or \
             reservations within reservations (not_understood)"
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
    use super::*;

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
    fn shares_are_told_in_percent() {
        for (per_mille, text) in [(0, "0 %"), (125, "12.5 %"), (1_000, "100 %"), (3, "0.3 %")] {
            assert_eq!(percent(&Share { per_mille }), text);
        }
        assert_eq!(percent(&Share { per_mille: u64::MAX }), "more than all");
    }
}
