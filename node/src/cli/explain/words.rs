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
    offers_optimistic: bool,
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
    measure: Option<String>,
    roles: usize,
    shown: Vec<RoleShare>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RoleShare {
    role: String,
    share: Share,
    band: i64,
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
    fits_open_offers: usize,
    open_offers_on: Vec<Miss>,
    pub skipped: Rules,
    pub figures: Figures,
    pub lacking: Rules,
    /// Each node once; a leader of an earlier release tells neither.
    kept_by: Rules,
    short_of: Rules,
    pub nearest: Vec<Miss>,
}

impl Circumstances {
    /// What stands in the way, the weightiest first.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.obstacles.iter().map(obstacle).collect();
        lines.extend(self.agents());
        if self.open_offers > 0 {
            let are = if self.open_offers == 1 { "is" } else { "are" };
            let held = match self.offers_optimistic {
                true => {
                    "what they hold is not offered to it again before they are answered, others may be offered the same \
                     meanwhile"
                }
                false => "what they hold is not offered again before they are answered",
            };
            lines.push(format!("{} of it {are} open: {held}", count(self.open_offers, "offer")));
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
    /// Whether what the policy goes by is a part of the cluster.
    pub(super) fn are_shares(&self) -> bool {
        self.measure.as_deref().is_none_or(|measure| measure == "share")
    }

    /// The roles beside each other, the least share first, or the lowest band where the policy has
    /// several.
    pub(super) fn sentence(&self) -> Option<String> {
        // One alone says nothing.
        if self.shown.len() < 2 {
            return None;
        }
        let banded = self.shown.iter().any(|role| role.band != 0);
        let order = if banded { "the highest priority first" } else { "the least first" };
        let shares = self.are_shares();
        let intro = match self.measure.as_deref() {
            Some("chance") => {
                return Some(
                    "whose turn it is among the roles is drawn by chance, by their weights: there are no shares"
                        .to_owned(),
                );
            }
            Some("decayed_use") => "the roles by what they used lately, over their weights",
            _ => "shares of the roles, over their weights",
        };
        let shown = self.shown.iter().map(|role| {
            let share = if shares { format!(" {}", percent(&role.share)) } else { String::new() };
            // A band is a priority with its sign turned, as the lowest is served first.
            let band = match banded {
                true => format!(" with the priority {}", role.band.saturating_neg()),
                false => String::new(),
            };
            format!("{}{share}{band}", plain(&role.role))
        });
        let mut text = format!("{intro}, {order}: {}", shown.collect::<Vec<_>>().join(", "));
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
        let mut text = match self.in_open_offers() {
            Some(open) => {
                format!("{what} {open}; beside that it fits on {} of {of} now", self.fits)
            }
            None => format!("{what} fits on {} of {of} now", self.fits),
        };
        if self.fits_when_empty == Some(0) && self.considered > 0 {
            text += ", and on none even if it were empty";
        }
        let (lacking, rules) = match self.kept_by.is_empty() && self.short_of.is_empty() {
            true => (&self.lacking, &self.skipped),
            false => (&self.short_of, &self.kept_by),
        };
        for (name, number) in lacking {
            let lack = if *number == 1 { "lacks" } else { "lack" };
            text += &format!("; {} {lack} {}", count(*number, "node"), plain(name));
        }
        for (rule, number) in rules {
            text += &format!("; {} {}", count(*number, "node"), self.figures.because(rule));
        }
        text
    }

    /// Into which of the framework's open offers it fits.
    fn in_open_offers(&self) -> Option<String> {
        let number = self.fits_open_offers;
        let names = self.open_offers_on.iter().take(NEAREST_SHOWN);
        let names: Vec<String> = names.map(|node| node_name(&node.hostname, &node.agent)).collect();
        let more = match number.saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (number > 0).then(|| {
            format!(
                "fits into what the framework is offered on {} ({}{more}) and has not answered yet",
                count(number, "node"),
                names.join(", ")
            )
        })
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
    // What several have in common is said once.
    let mut told: Vec<(Vec<String>, &Miss)> = Vec::new();
    for miss in misses.iter().take(NEAREST_SHOWN) {
        let name = node_name(&miss.hostname, &miss.agent);
        match told.iter_mut().find(|(_, other)| says_the_same(miss, other)) {
            Some((names, _)) => names.push(name),
            None => told.push((vec![name], miss)),
        }
    }
    let told = told.iter().map(|(names, it)| {
        let lack = if names.len() == 1 { "lacks" } else { "lack" };
        format!("{}{}", listed(names), miss(it, lack))
    });
    Some(format!("{intro}: {}", told.collect::<Vec<_>>().join("; ")))
}

fn says_the_same(one: &Miss, other: &Miss) -> bool {
    miss(one, "lack") == miss(other, "lack")
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn miss(miss: &Miss, lack: &str) -> String {
    let mut text = String::new();
    if !miss.short.is_empty() {
        text += &format!(" {lack} {}", amounts(&miss.short));
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

/// The figures behind the rules; a leader of an earlier release tells none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    limits: Vec<LimitReached>,
    wish: Option<String>,
    minimum: Option<String>,
    constraints: Option<String>,
}

/// A limit that keeps something back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LimitReached {
    role: String,
    limit: Amounts,
    left: Amounts,
}

impl Figures {
    /// A rule in words, with the figures behind it.
    pub(super) fn because(&self, rule: &str) -> String {
        let one_of = |sizes: &str| plain(&sizes.replace('|', " or "));
        let told = match (rule, self) {
            ("quota_limit", Self { limits, .. }) if !limits.is_empty() => {
                let limits = limits.iter().map(|LimitReached { role, limit, left }| {
                    let (role, limit, left) = (plain(role), amounts(limit), amounts(left));
                    format!(
                        "kept back by the limit of role {role} to {limit}, of which {left} is left"
                    )
                });
                limits.collect::<Vec<_>>().join(" and ")
            }
            ("below_wish", Self { wish: Some(wish), .. }) => {
                format!("with less than the framework wants in an offer, {} at least", one_of(wish))
            }
            ("below_minimum", Self { minimum: Some(minimum), .. }) => {
                format!("with less than is worth an offer, {} at least", one_of(minimum))
            }
            ("constraint", Self { constraints: Some(text), .. }) => {
                format!("against the constraints of the framework, {}", plain(text))
            }
            _ => return because(rule),
        };
        format!("{told} ({rule})")
    }
}

/// The named rules of the allocator, in words.
pub(super) fn because(rule: &str) -> String {
    let words = match rule {
        "refused" => "refused by the framework for the time being (refused)",
        "timed_out" => "not offered for a while, as an offer of it timed out (timed_out)",
        "turn_taken" => "given back before, so others go first (turn_taken)",
        "quota_limit" => "kept back by a limit (quota_limit)",
        "consumption_unknown" => {
            "held back until all nodes have reported, as the role has a limit (consumption_unknown)"
        }
        "not_requested" => "without what the framework asked for (not_requested)",
        "not_together" => {
            "offered only when all that the framework wants together is there (not_together)"
        }
        "below_wish" => "with less than the framework wants in an offer (below_wish)",
        "offered_already" => {
            "offered to the framework, which has not yet answered (offered_already)"
        }
        "offered_elsewhere" => "held for somebody who has not yet answered (offered_elsewhere)",
        "below_minimum" => "with too little free to be worth an offer (below_minimum)",
        "nothing_free" => "with nothing free for the framework (nothing_free)",
        "reserved_for_other_role" => "reserved for other roles (reserved_for_other_role)",
        "not_understood" => {
            "of which only what the framework does not say it takes would do: revocable or shared resources, or \
             reservations within reservations (not_understood)"
        }
        "constraint" => "against the constraints of the framework (constraint)",
        "other_region" => {
            "in another region, where frameworks with the capability REGION_AWARE alone are offered nodes (other_region)"
        }
        "gpu" => {
            "with GPUs, which frameworks with the capability GPU_RESOURCES alone are offered (gpu)"
        }
        "not_offerable" => "without cpus or mem (not_offerable)",
        "agent_inactive" => "not offered to anybody at present (agent_inactive)",
        "demand_met" => "beyond what the framework asked for (demand_met)",
        "gang_expired" => {
            "not offered since the time was over for what the framework wanted together (gang_expired)"
        }
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

    #[test]
    fn bands_go_before_shares_where_there_are_some() {
        let role = |name: &str, per_mille, band| RoleShare {
            role: name.to_owned(),
            share: Share { per_mille },
            band,
        };
        let told = |first, second| {
            let shown = vec![first, second];
            Shares { measure: Some("share".to_owned()), roles: 2, shown }.sentence().unwrap()
        };
        assert_eq!(
            told(role("web", 500, -10), role("batch", 0, 0)),
            "shares of the roles, over their weights, the highest priority first: web 50 % with the priority \
             10, batch 0 % with the priority 0"
        );
        let plain = told(role("batch", 0, 0), role("web", 500, 0));
        assert!(plain.ends_with("the least first: batch 0 %, web 50 %"), "{plain}");
    }

    #[test]
    fn what_is_no_share_is_not_told_in_percent() {
        let told = |measure: &str| {
            let value = serde_json::json!({"measure": measure, "roles": 2, "shown": [
                {"role": "web", "share": {"per_mille": 4_167}, "band": 0},
                {"role": "batch", "share": {"per_mille": 5_000}, "band": 0}
            ]});
            serde_json::from_value::<Shares>(value).unwrap().sentence().unwrap()
        };
        assert!(told("chance").ends_with("drawn by chance, by their weights: there are no shares"));
        assert_eq!(
            told("decayed_use"),
            "the roles by what they used lately, over their weights, the least first: web, batch"
        );
        assert!(told("share").ends_with("web 416.7 %, batch 500 %"));
    }

    #[test]
    fn rules_are_told_with_the_figures_behind_them() {
        let figures: Figures = serde_json::from_value(serde_json::json!({
            "limits": [{"role": "par", "limit": {"cpus": 4}, "left": {"cpus": 0.5}}],
            "wish": "cpus:600|mem:1", "minimum": "cpus:0.01|mem:32", "constraints": "hostname is n0"
        }))
        .unwrap();
        for (rule, told) in [
            (
                "quota_limit",
                "kept back by the limit of role par to cpus:4, of which cpus:0.5 is left (quota_limit)",
            ),
            (
                "below_wish",
                "with less than the framework wants in an offer, cpus:600 or mem:1 at least (below_wish)",
            ),
            (
                "below_minimum",
                "with less than is worth an offer, cpus:0.01 or mem:32 at least (below_minimum)",
            ),
            ("constraint", "against the constraints of the framework, hostname is n0 (constraint)"),
            ("refused", "refused by the framework for the time being (refused)"),
        ] {
            assert_eq!(figures.because(rule), told);
            assert!(Figures::default().because(rule).ends_with(&format!("({rule})")));
        }
    }
}
