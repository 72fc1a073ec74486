//! Hierarchical fairness without a single clever idea, for the reference: who is below whom, and how
//! much of a role counts, is found by looking at everybody.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::resources::{Resources, ScalarQuantities};

use super::facts::{Member, Party, Reference, is_on_account, path};
use crate::{
    Share,
    tree::levels::{per_share, share_of},
};

/// Where a party stands among those beside it.
type Place = ((Share, u64), Option<Party>);

/// Everybody, and what there is in all.
pub(super) struct Levels<'a> {
    reference: &'a Reference,
    total: ScalarQuantities,
    /// The ways of all members, whether they wait, and what they hold.
    members: BTreeMap<Vec<Party>, (bool, ScalarQuantities)>,
    /// Nobody stands beside the only role, so it counts as a whole.
    several: bool,
}

impl Reference {
    pub(super) fn levels(&self) -> Levels<'_> {
        let mut members = BTreeMap::<Vec<Party>, (bool, ScalarQuantities)>::new();
        for (framework, (_, _, roles)) in &self.frameworks {
            roles.keys().for_each(|role| {
                members.entry(path(&(*framework, role.clone()))).or_default();
            });
        }
        for member in self.waiting() {
            members.entry(path(&member)).or_default().0 = true;
        }
        for ((_, member), both) in &self.held {
            let held = &mut members.entry(path(member)).or_default().1;
            both.iter().for_each(|part| *held += &part.filter(is_on_account).quantities());
        }
        let totals = self.agents.values().map(|agent| agent.0.filter(is_on_account));
        let total: Resources = totals.sum();
        let roles = members.keys().flatten().filter_map(|(role, _)| role.clone());
        let several = roles.collect::<BTreeSet<_>>().len() > 1;
        Levels { reference: self, total: total.quantities(), members, several }
    }
}

impl Levels<'_> {
    fn below(
        &self,
        way: &[Party],
    ) -> impl Iterator<Item = (&Vec<Party>, &(bool, ScalarQuantities))> {
        self.members.iter().filter(move |(path, _)| path.starts_with(way))
    }

    fn children(&self, way: &[Party]) -> BTreeSet<Vec<Party>> {
        let below = self.below(way).filter(|(path, _)| path.len() > way.len());
        below.map(|(path, _)| path[..=way.len()].to_vec()).collect()
    }

    fn waits(&self, way: &[Party]) -> bool {
        self.below(way).any(|(_, (waits, _))| *waits)
    }

    fn held(&self, way: &[Party]) -> ScalarQuantities {
        let mut sum = ScalarQuantities::new();
        self.below(way).for_each(|(_, (_, held))| sum += held);
        sum
    }

    /// The children of a party, each with what counts of it.
    fn counted_children(&self, way: &[Party]) -> Vec<(Vec<Party>, ScalarQuantities)> {
        let counted = |child: Vec<Party>| (child.clone(), self.counted(&child));
        self.children(way).into_iter().map(counted).collect()
    }

    /// What counts of a party when it is compared with those beside it: the first of those who wait
    /// below it is the one who is served.
    pub(super) fn counted(&self, way: &[Party]) -> ScalarQuantities {
        let framework = way.last().is_some_and(|(_, framework)| framework.is_some());
        if framework || !self.several {
            return self.held(way);
        }
        let children = self.counted_children(way);
        let waiting = children.iter().filter(|(child, _)| self.waits(child));
        match waiting.min_by_key(|(child, counts)| self.place(child, counts)) {
            Some((first, counts)) => self.counted_serving(&children, first, counts),
            None => {
                let mut sum = ScalarQuantities::new();
                children.iter().for_each(|(_, counts)| sum += counts);
                sum
            }
        }
    }

    /// What counts of a party when a certain child is served: others who wait count no more than that
    /// one, over their weights.
    fn counted_serving(
        &self,
        children: &[(Vec<Party>, ScalarQuantities)],
        served: &[Party],
        counts: &ScalarQuantities,
    ) -> ScalarQuantities {
        let share = self.share(served, counts);
        let mut sum = counts.clone();
        let (mut larger, mut larger_per_share) = (ScalarQuantities::new(), ScalarQuantities::new());
        for (other, counts) in children.iter().filter(|(other, _)| other != served) {
            let of_other = self.share(other, counts);
            if self.waits(other) && of_other >= share {
                larger += counts;
                larger_per_share += &per_share(counts, of_other);
            } else {
                sum += counts;
            }
        }
        // They count no more than what they hold, whatever was rounded.
        let rescaled = share_of(share, &larger_per_share);
        sum += &larger.saturating_sub(&larger.saturating_sub(&rescaled));
        sum
    }

    fn place(&self, way: &[Party], counts: &ScalarQuantities) -> Place {
        let grants = self.reference.grants.get(way).copied().unwrap_or(0);
        ((self.share(way, counts), grants), way.last().cloned())
    }

    /// Who of the `willing` is served next of those at the end of a way, and what counts of the way
    /// then.
    pub(super) fn next(
        &self,
        way: &[Party],
        willing: &[Member],
    ) -> Option<(Member, ScalarQuantities)> {
        let mut children = self.counted_children(way);
        if children.is_empty() {
            let member = willing.iter().find(|member| path(member) == way)?;
            return Some((member.clone(), self.held(way)));
        }
        children.sort_by_key(|(child, counts)| self.place(child, counts));
        let mut best: Option<(Place, &[Party], Member, ScalarQuantities)> = None;
        for (child, usual) in &children {
            if best.as_ref().is_some_and(|(best, ..)| *best < self.place(child, usual)) {
                break;
            }
            let Some((member, counts)) = self.next(child, willing) else { continue };
            let place = self.place(child, &counts);
            if best.as_ref().is_none_or(|(best, ..)| place < *best) {
                best = Some((place, child, member, counts));
            }
        }
        let (_, child, member, counts) = best?;
        if !self.several {
            return Some((member, self.held(way)));
        }
        Some((member, self.counted_serving(&children, child, &counts)))
    }

    /// The largest share of any resource, over the weight.
    fn share(&self, way: &[Party], counts: &ScalarQuantities) -> Share {
        let role = way.last().and_then(|(role, _)| role.as_ref());
        let weight = role.and_then(|role| self.reference.weights.get(role)).unwrap_or(&1000);
        let number =
            |amount: meshos_protocol::resources::Amount| u128::try_from(amount.millis()).unwrap();
        let shares = counts.iter().map(|(name, held)| (held, self.total.get(name)));
        let shares = shares.filter(|(_, total)| !total.is_zero()).map(|(held, total)| {
            Share::new(number(held) * 1000, number(total) * u128::from(*weight))
        });
        shares.max().unwrap_or(Share::ZERO)
    }

    /// The share of whoever is at the end of the way, and how many offers that was made.
    pub(super) fn standing(&self, way: &[Party]) -> (Share, u64) {
        self.place(way, &self.counted(way)).0
    }
}
