//! The figures behind the rules that keep agents from somebody.

use std::collections::BTreeMap;

use meshos_protocol::resources::{Resources, ScalarQuantities};

use super::Allocator;
use crate::{
    agent::Agent,
    arena::Key,
    explain::{Figures, LimitReached, SkipRule},
    membership::Membership,
    quota::pool,
};

/// How much of the text of constraints is told, in characters.
const CONSTRAINTS_MAX: usize = 300;

impl Allocator {
    /// The figures behind rules that apply to a membership. `limited`: of what the limit keeps something
    /// back.
    pub(super) fn figures<'a>(
        &self,
        key: Key<Membership>,
        rules: impl Iterator<Item = &'a SkipRule>,
        limited: &ScalarQuantities,
    ) -> Figures {
        let membership = &self.memberships[key];
        let wishes = membership.wishes.as_deref();
        let mut figures =
            Figures { limits: self.limits(membership, limited), ..Figures::default() };
        for rule in rules {
            match rule {
                SkipRule::BelowWish => {
                    let sizes = wishes.map(|wishes| wishes.minimum.iter().map(amounts));
                    figures.wish = sizes.map(|sizes| sizes.collect::<Vec<_>>().join("|"));
                }
                SkipRule::BelowMinimum => figures.minimum = Some(self.min_allocatable.to_string()),
                SkipRule::Constraint => {
                    let text = wishes.and_then(|wishes| wishes.constraints.as_ref());
                    figures.constraints = text.map(|text| cut(text.to_string()));
                }
                SkipRule::Refused
                | SkipRule::TimedOut
                | SkipRule::TurnTaken
                | SkipRule::QuotaLimit
                | SkipRule::ConsumptionUnknown
                | SkipRule::NotRequested
                | SkipRule::NotTogether
                | SkipRule::OfferedAlready
                | SkipRule::OfferedElsewhere
                | SkipRule::NothingFree
                | SkipRule::ReservedForOtherRole
                | SkipRule::NotUnderstood
                | SkipRule::OtherRegion
                | SkipRule::Gpu
                | SkipRule::NotOfferable
                | SkipRule::AgentInactive
                | SkipRule::DemandMet
                | SkipRule::GangExpired
                | SkipRule::Suppressed
                | SkipRule::Inactive => {}
            }
        }
        figures
    }

    /// The limits that leave less than this.
    fn limits(&self, membership: &Membership, limited: &ScalarQuantities) -> Vec<LimitReached> {
        let mut limits: Vec<LimitReached> = Vec::new();
        if limited.is_empty() {
            return limits;
        }
        for (role, name, limit, left) in self.tree.limits_above(membership.node) {
            if left >= limited.get(name) {
                continue;
            }
            if limits.last().is_none_or(|last| last.role != *role) {
                let (limit, left) = (BTreeMap::new(), BTreeMap::new());
                limits.push(LimitReached { role: role.clone(), limit, left });
            }
            if let Some(last) = limits.last_mut() {
                last.limit.insert(name.clone(), limit);
                last.left.insert(name.clone(), left);
            }
        }
        limits
    }

    /// What an agent lacks of what a rule asks for, where it asks for amounts, and whether it could ever
    /// have that.
    pub(super) fn missing(
        &self,
        page: &Agent,
        membership: &Membership,
        rule: SkipRule,
    ) -> (ScalarQuantities, bool) {
        let suited = |all: &Resources| all.filter(|resource| membership.may_have(resource));
        let missing = |all: &Resources| match (rule, &membership.wishes) {
            (SkipRule::BelowWish, Some(wishes)) => wishes.missing(&suited(all)),
            (SkipRule::BelowMinimum, _) => page.least.missing(&suited(all)),
            _ => ScalarQuantities::new(),
        };
        (missing(page.free()), missing(page.total()).is_empty())
    }
}

/// Notes what of an agent a limit may keep back: the most of each resource.
pub(super) fn note_limited(limited: &mut ScalarQuantities, resources: &Resources) {
    for (name, amount) in pool(resources).quantities().iter() {
        limited.add(name, amount.remaining_after(limited.get(name)));
    }
}

fn amounts(amounts: &ScalarQuantities) -> String {
    let one = |(name, amount)| format!("{name}:{amount}");
    amounts.iter().map(one).collect::<Vec<_>>().join(";")
}

fn cut(text: String) -> String {
    match text.char_indices().nth(CONSTRAINTS_MAX) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}
