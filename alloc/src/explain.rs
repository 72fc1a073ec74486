//! Why an offer was made or was not.
//!
//! "Why is nothing offered to me?" is the first question of every operator. So every skip has a
//! named rule, counted as it happens, and the present state is worked out exactly on request.

mod figures;

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Amount, ResourceName, Resources, ScalarQuantities},
    role::Role,
    shown,
};
use serde::Serialize;

pub use figures::{AgentName, Figures, LimitReached};

use crate::{
    Measure, Share,
    arena::{Dense, Key},
    membership::Membership,
};

/// Why an agent was not offered to a framework in a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipRule {
    /// The framework refused as much or more of this agent, and the time it gave has not run out.
    Refused,
    /// The framework has let an offer of as much or more of this agent lie until it timed out, and is not
    /// offered it for a while.
    TimedOut,
    /// The framework gave this agent back without refusing it, and others go first.
    TurnTaken,
    /// The role, or one above it, would exceed its limit.
    QuotaLimit,
    /// The role, or one above it, has a limit, and how much of it is in use is not known yet: agents
    /// that may run tasks of it have still to report.
    ConsumptionUnknown,
    /// The framework has said what it wants, and what it may have here is not that.
    NotRequested,
    /// The framework wants several things at once or not at all, and not all of them are to be had.
    NotTogether,
    /// What it may have here is less than the framework wants to be offered.
    BelowWish,
    /// The framework is offered this agent, and has not answered yet.
    OfferedAlready,
    /// What it may have here is held for somebody else, who has not yet answered an offer.
    OfferedElsewhere,
    /// Something that it may have is free, but less than is worth an offer.
    BelowMinimum,
    /// Nothing that it may have is free.
    NothingFree,
    /// All that is worth an offer, whether it is free or not, is reserved for roles that are neither
    /// this one nor above it.
    ReservedForOtherRole,
    /// What the role may have, free or not, is revocable or reserved in a way that the framework does not
    /// understand.
    NotUnderstood,
    /// The agent does not fulfil the framework's constraints.
    Constraint,
    /// The agent is in another region and the framework does not say that it goes there.
    OtherRegion,
    /// The agent has GPUs and the framework does not say that it uses them.
    Gpu,
    /// The agent's total lacks cpus or memory, so it is never offered.
    NotOfferable,
    /// The agent is not offered to anybody at present.
    AgentInactive,
    /// All that the framework has said it wants is offered or used already.
    DemandMet,
    /// The time is over in which the framework wanted several things at once, and they were not to be had.
    GangExpired,
    /// The framework has suppressed offers for the role.
    Suppressed,
    /// The framework is not connected, or not in the role any more.
    Inactive,
}

impl SkipRule {
    /// All rules, the nearest to an offer first.
    pub const ALL: [Self; 23] = [
        Self::Refused,
        Self::TimedOut,
        Self::TurnTaken,
        Self::QuotaLimit,
        Self::ConsumptionUnknown,
        Self::NotRequested,
        Self::NotTogether,
        Self::BelowWish,
        Self::OfferedAlready,
        Self::OfferedElsewhere,
        Self::BelowMinimum,
        Self::NothingFree,
        Self::ReservedForOtherRole,
        Self::NotUnderstood,
        Self::Constraint,
        Self::OtherRegion,
        Self::Gpu,
        Self::NotOfferable,
        Self::AgentInactive,
        Self::DemandMet,
        Self::GangExpired,
        Self::Suppressed,
        Self::Inactive,
    ];

    /// The name as in metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::TurnTaken => "turn_taken",
            Self::QuotaLimit => "quota_limit",
            Self::ConsumptionUnknown => "consumption_unknown",
            Self::NotRequested => "not_requested",
            Self::NotTogether => "not_together",
            Self::BelowWish => "below_wish",
            Self::OfferedAlready => "offered_already",
            Self::OfferedElsewhere => "offered_elsewhere",
            Self::BelowMinimum => "below_minimum",
            Self::NothingFree => "nothing_free",
            Self::ReservedForOtherRole => "reserved_for_other_role",
            Self::NotUnderstood => "not_understood",
            Self::Constraint => "constraint",
            Self::OtherRegion => "other_region",
            Self::Gpu => "gpu",
            Self::NotOfferable => "not_offerable",
            Self::AgentInactive => "agent_inactive",
            Self::DemandMet => "demand_met",
            Self::GangExpired => "gang_expired",
            Self::Suppressed => "suppressed",
            Self::Inactive => "inactive",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Refused => 0,
            Self::TimedOut => 1,
            Self::TurnTaken => 2,
            Self::QuotaLimit => 3,
            Self::ConsumptionUnknown => 4,
            Self::NotRequested => 5,
            Self::NotTogether => 6,
            Self::BelowWish => 7,
            Self::OfferedAlready => 8,
            Self::OfferedElsewhere => 9,
            Self::BelowMinimum => 10,
            Self::NothingFree => 11,
            Self::ReservedForOtherRole => 12,
            Self::NotUnderstood => 13,
            Self::Constraint => 14,
            Self::OtherRegion => 15,
            Self::Gpu => 16,
            Self::NotOfferable => 17,
            Self::AgentInactive => 18,
            Self::DemandMet => 19,
            Self::GangExpired => 20,
            Self::Suppressed => 21,
            Self::Inactive => 22,
        }
    }
}

/// How often each rule has applied, and to whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct SkipCounts {
    all: [u64; RULES],
    /// By rule and not by membership, as one run mostly meets one rule.
    of_each: [Dense<Membership, u64>; RULES],
}

const RULES: usize = SkipRule::ALL.len();

impl SkipCounts {
    pub(crate) fn count(&mut self, key: Key<Membership>, rule: SkipRule) {
        for count in [&mut self.all[rule.index()], self.of_each[rule.index()].entry(key)] {
            *count = count.saturating_add(1);
        }
    }

    /// A membership is gone; another may get its key.
    pub(crate) fn forget(&mut self, key: Key<Membership>) {
        self.of_each.iter_mut().for_each(|counts| counts.reset(key));
    }

    /// The rules that have applied to a membership.
    pub(crate) fn of(&self, key: Key<Membership>) -> BTreeMap<SkipRule, u64> {
        applied(|rule| self.of_each[rule.index()].get(key))
    }

    /// The rules that have applied to anybody.
    pub(crate) fn all(&self) -> BTreeMap<SkipRule, u64> {
        applied(|rule| self.all[rule.index()])
    }
}

fn applied(count: impl Fn(SkipRule) -> u64) -> BTreeMap<SkipRule, u64> {
    let counted = SkipRule::ALL.map(|rule| (rule, count(rule)));
    counted.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// What the allocator thinks of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who.
    pub framework: FrameworkId,
    /// Whether it may be offered anything at all.
    pub active: bool,
    /// Role by role.
    pub roles: Vec<RoleExplanation>,
    /// The shares of the roles.
    pub shares: Shares,
}

/// What the allocator thinks of a framework in one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleExplanation {
    /// In which role.
    pub role: Role,
    /// Whether the framework has suppressed offers for it.
    pub suppressed: bool,
    /// The framework's share, as the policy sees it.
    pub share: Share,
    /// The share of the whole role, over its weight.
    pub role_share: Share,
    /// The role's weight, in thousandths.
    #[serde(rename = "role_weight", serialize_with = "shown::millis_as_text")]
    pub role_weight_millis: u64,
    /// How many are served before it (as of the last run); nothing when it does not wait.
    pub position: Option<usize>,
    /// How many wait for offers, in all roles together.
    pub waiting: usize,
    /// How many offers were made to it.
    pub grants: u64,
    /// How many agents there are.
    pub agents: usize,
    /// How many agents would be offered to it if it were its turn now.
    pub available: usize,
    /// How many agents each rule keeps from it now.
    pub skipped: BTreeMap<SkipRule, usize>,
    /// The figures behind these rules.
    pub figures: Figures,
    /// How often each rule has cost it an agent that was looked at for it. Rules that close an
    /// agent or a framework for everything are not counted here, because then nobody looks.
    pub skipped_so_far: BTreeMap<SkipRule, u64>,
    /// The agents that came nearest to being offered: those first that may still be.
    pub nearest: Vec<NearMiss>,
    /// What it has said it wants and was not offered yet: the first of it.
    pub requests: Vec<RequestExplanation>,
}

/// An agent that was nearly offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// Which.
    pub agent: AgentId,
    /// Its host name.
    pub hostname: String,
    /// The rule that prevented it.
    pub rule: SkipRule,
    /// What it has free.
    #[serde(serialize_with = "shown::resources_as_map")]
    pub free: Resources,
    /// What is missing of what the rule asks for, where it asks for amounts.
    #[serde(serialize_with = "shown::quantities_as_map")]
    pub short: ScalarQuantities,
    /// For how many milliseconds more the rule applies, if a time was given.
    pub left_ms: Option<u64>,
}

/// Something that a framework has said it wants, and where it would fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestExplanation {
    /// Of this agent, if it named one.
    pub agent: Option<AgentId>,
    /// What.
    #[serde(serialize_with = "shown::resources_as_map")]
    pub resources: Resources,
    /// How many times more.
    pub left: u32,
    /// Where it would fit; of the agent that it names, if it names one.
    pub fit: Fit,
}

/// Where something would fit, and what is in the way elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// How many agents there are.
    pub considered: usize,
    /// On how many it would fit in what the framework would be offered now.
    pub fits: usize,
    /// On how many it would fit if nobody used anything there, rules aside.
    pub fits_when_empty: usize,
    /// On how many it fits into what the framework is offered already and has not answered,
    pub fits_open_offers: usize,
    /// and on which: the first of them.
    pub open_offers_on: Vec<AgentName>,
    /// How many agents each rule keeps from the framework now.
    pub skipped: BTreeMap<SkipRule, usize>,
    /// The figures behind these rules.
    pub figures: Figures,
    /// On how many agents there is too little of each resource, rules aside; resources by their keys, as in
    /// [`shown::key_of`].
    pub lacking: BTreeMap<String, usize>,
    /// Those on which it does not fit, each under the first thing that decides it: how many under each
    /// rule,
    pub kept_by: BTreeMap<SkipRule, usize>,
    /// and how many under each resource; by its key.
    pub short_of: BTreeMap<String, usize>,
    /// The agents that came nearest: those first where it may fit one day, of these where the least is
    /// lacking.
    pub nearest: Vec<TaskMiss>,
}

/// Where a task would fit, what is in the way elsewhere, and who goes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskExplanation {
    /// Where it would fit.
    #[serde(flatten)]
    pub fit: Fit,
    /// How many are served before the framework; nothing when it does not wait.
    pub position: Option<usize>,
    /// How many wait for offers, in all roles together.
    pub waiting: usize,
    /// The framework's share, as the policy sees it.
    pub share: Share,
    /// The shares of the roles.
    pub shares: Shares,
}

/// The shares of the roles, over their weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shares {
    /// What these are, and those of frameworks.
    pub measure: Measure,
    /// How many roles there are.
    pub roles: usize,
    /// The least shares of the lowest bands, in this order, and those of the roles that are asked about.
    pub shown: Vec<RoleShare>,
}

/// The share of one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleShare {
    /// Which.
    pub role: Role,
    /// Its share over its weight, as the policy sees it.
    pub share: Share,
    /// Its band, if the policy has bands: among the roles beside it a lower one is served first, whatever
    /// the shares.
    pub band: i64,
}

/// An agent on which a task nearly fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskMiss {
    /// Which.
    pub agent: AgentId,
    /// Its host name.
    pub hostname: String,
    /// The rule by which it is not offered, if there is one.
    pub rule: Option<SkipRule>,
    /// What is missing of each resource.
    #[serde(serialize_with = "shown::resources_by_key")]
    pub short: BTreeMap<String, Resources>,
}

/// What the allocator thinks of a role with all roles below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WholeRole {
    /// Which.
    pub role: Role,
    /// Its weight, in thousandths.
    #[serde(rename = "weight", serialize_with = "shown::millis_as_text")]
    pub weight_millis: u64,
    /// Its priority; only policies with bands look at it.
    pub priority: i32,
    /// What it is guaranteed.
    #[serde(serialize_with = "shown::quantities_as_map")]
    pub guarantee: ScalarQuantities,
    /// What it may not exceed.
    #[serde(serialize_with = "shown::amounts_as_map")]
    pub limit: BTreeMap<ResourceName, Amount>,
    /// What it consumes of its quota.
    #[serde(serialize_with = "shown::quantities_as_map")]
    pub consumed: ScalarQuantities,
    /// What it holds, offered or used.
    #[serde(serialize_with = "shown::quantities_as_map")]
    pub held: ScalarQuantities,
    /// What it holds of what may be taken back at any time, offered or used. It counts for nothing.
    #[serde(serialize_with = "shown::quantities_as_map")]
    pub revocable: ScalarQuantities,
    /// How much of that is offered and not answered yet.
    #[serde(serialize_with = "shown::quantities_as_map")]
    pub offered: ScalarQuantities,
    /// How many of its frameworks wait for offers, each once for every role.
    pub waiting: usize,
    /// How many wait for offers, in all roles together.
    pub waiting_in_all: usize,
    /// How many are served before the first of its own; nothing when none of them waits.
    pub position: Option<usize>,
    /// The shares of the roles.
    pub shares: Shares,
    /// Those of its frameworks that are served first, in this order, then some that do not wait.
    pub frameworks: Vec<RoleMember>,
    /// What keeps agents from the first that waits.
    pub first: Option<RoleExplanation>,
}

/// A framework in a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleMember {
    /// Which.
    pub framework: FrameworkId,
    /// The role, which may be below the one that is asked about.
    pub role: Role,
    /// The rule by which it is offered nothing at all, if there is one.
    pub rule: Option<SkipRule>,
    /// On how many agents it holds something.
    pub agents: usize,
}

/// What the allocator thinks of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentExplanation {
    /// Which.
    pub agent: AgentId,
    /// Its host name.
    pub hostname: String,
    /// The rule by which nobody is offered it, if there is one.
    pub closed: Option<SkipRule>,
    /// All it has.
    #[serde(serialize_with = "shown::resources_as_map")]
    pub total: Resources,
    /// What is free.
    #[serde(serialize_with = "shown::resources_as_map")]
    pub free: Resources,
    /// Who holds something of it.
    pub holders: Vec<Holder>,
    /// How many wait for offers, each framework once for every role.
    pub considered: usize,
    /// From how many of them each rule keeps it.
    pub skipped: BTreeMap<SkipRule, usize>,
    /// The first to whom it would be offered.
    pub next: Option<RoleMember>,
}

/// Who holds something of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Which framework.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// What it is offered and has not answered yet.
    #[serde(serialize_with = "shown::resources_as_map")]
    pub offered: Resources,
    /// What its tasks use.
    #[serde(serialize_with = "shown::resources_as_map")]
    pub allocated: Resources,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_counted_under_their_own_index() {
        for (index, rule) in SkipRule::ALL.into_iter().enumerate() {
            assert_eq!(rule.index(), index);
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.name());
        }
        assert!(SkipRule::ALL.is_sorted());
        let mut counts = SkipCounts::default();
        counts.count(Key::first(), SkipRule::Gpu);
        counts.count(Key::first(), SkipRule::Gpu);
        let twice = BTreeMap::from([(SkipRule::Gpu, 2)]);
        assert_eq!((counts.all(), counts.of(Key::first())), (twice.clone(), twice.clone()));
        counts.forget(Key::first());
        assert_eq!((counts.all(), counts.of(Key::first())), (twice, BTreeMap::new()));
    }
}
