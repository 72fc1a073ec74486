//! Why an offer was made or was not.
//!
//! "Why is nothing offered to me?" is the first question of every operator. So every skip has a
//! named rule, counted as it happens, and the present state is worked out exactly on request.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::Resources,
    role::Role,
    time::Mono,
};
use serde::Serialize;

use crate::Share;

/// Why an agent was not offered to a framework in a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipRule {
    /// The framework refused as much or more of this agent, and the time it gave has not run out.
    Refused,
    /// The framework gave this agent back without refusing it, and others go first.
    TurnTaken,
    /// What is free is held for somebody who has not yet answered an offer.
    OfferedElsewhere,
    /// Something is free, but less than is worth an offer.
    BelowMinimum,
    /// Nothing is free.
    NothingFree,
    /// What is free is reserved for roles that are neither this one nor above it.
    ReservedForOtherRole,
    /// The agent has GPUs and the framework does not say that it uses them.
    Gpu,
    /// The agent's total lacks cpus or memory, so it is never offered.
    NotOfferable,
    /// The agent is not offered to anybody at present.
    AgentInactive,
    /// The framework has suppressed offers for the role.
    Suppressed,
    /// The framework is not connected, or not in the role any more.
    Inactive,
}

impl SkipRule {
    /// All rules, the nearest to an offer first.
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::TurnTaken,
        Self::OfferedElsewhere,
        Self::BelowMinimum,
        Self::NothingFree,
        Self::ReservedForOtherRole,
        Self::Gpu,
        Self::NotOfferable,
        Self::AgentInactive,
        Self::Suppressed,
        Self::Inactive,
    ];

    fn index(self) -> usize {
        match self {
            Self::Refused => 0,
            Self::TurnTaken => 1,
            Self::OfferedElsewhere => 2,
            Self::BelowMinimum => 3,
            Self::NothingFree => 4,
            Self::ReservedForOtherRole => 5,
            Self::Gpu => 6,
            Self::NotOfferable => 7,
            Self::AgentInactive => 8,
            Self::Suppressed => 9,
            Self::Inactive => 10,
        }
    }
}

/// How often each rule has applied.
#[derive(Debug, Clone, Default)]
pub(crate) struct SkipCounts([u64; SkipRule::ALL.len()]);

impl SkipCounts {
    pub(crate) fn count(&mut self, rule: SkipRule) {
        let count = &mut self.0[rule.index()];
        *count = count.saturating_add(1);
    }

    /// The rules that have applied.
    pub(crate) fn to_map(&self) -> BTreeMap<SkipRule, u64> {
        let counted = SkipRule::ALL.map(|rule| (rule, self.0[rule.index()]));
        counted.into_iter().filter(|(_, count)| *count > 0).collect()
    }
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
    /// How often each rule has cost it an agent that was looked at for it. Rules that close an
    /// agent or a framework for everything are not counted here, because then nobody looks.
    pub skipped_so_far: BTreeMap<SkipRule, u64>,
    /// The agents that came nearest to being offered.
    pub nearest: Vec<NearMiss>,
}

/// An agent that was nearly offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// Which.
    pub agent: AgentId,
    /// The rule that prevented it.
    pub rule: SkipRule,
    /// What it has free.
    pub free: Resources,
    /// When the rule ends, if a time was given.
    pub until: Option<Mono>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_counted_under_their_own_index() {
        for (index, rule) in SkipRule::ALL.into_iter().enumerate() {
            assert_eq!(rule.index(), index);
        }
        assert!(SkipRule::ALL.is_sorted());
        let mut counts = SkipCounts::default();
        counts.count(SkipRule::Gpu);
        counts.count(SkipRule::Gpu);
        assert_eq!(counts.to_map(), BTreeMap::from([(SkipRule::Gpu, 2)]));
    }
}
