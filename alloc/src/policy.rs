//! The plug: in which order those who want offers are served.
//!
//! A policy ranks; it does not allocate. Who holds what, quota, filters, reservations, constraints,
//! suppression and explanations are the allocator's and the same under every policy. So a policy is
//! a formula, and cannot break the ledger. Every policy, also one of another crate, must pass
//! [`crate::conformance`].

mod choice;
mod drf;
mod fair_decay;
mod max_min;
mod priority;
mod random;

use std::{fmt, time::Duration};

use meshos_protocol::{
    ids::FrameworkId,
    resources::{ResourceName, ScalarQuantities},
    role::Role,
    time::Mono,
};
use serde::Serialize;

pub use choice::{PolicyChoice, PolicyChoiceError};
pub use drf::{Drf, dominant_share};
pub use fair_decay::FairDecay;
pub use max_min::MaxMin;
pub use priority::Priority;
pub use random::Random;

use crate::Share;

/// Its examples are compiled, and the policy in them runs the suite.
#[cfg(doctest)]
#[doc = include_str!("../../docs/allocation-policies.md")]
struct Page;

/// An order of service.
///
/// Parties are ranked among their siblings: roles below one role (or at the top) among each other,
/// frameworks within one role among each other. The lowest [`Rank`] is served first; ties go to the
/// party that was granted fewer offers, then to the smaller name or id.
pub trait Policy: fmt::Debug + Send + Sync + ClonePolicy {
    /// How operators choose and see it: lower-case words joined with `-`.
    fn name(&self) -> &'static str;

    /// Where a party stands. Called whenever what it holds has changed, so it must depend only on
    /// `account` and on what [`Policy::begin_run`] has set.
    fn rank(&self, account: &Account<'_>) -> Rank;

    /// Told before each run, with the time and a number drawn from the allocator's seed. Returns
    /// whether ranks may have changed by it, so that all of them are asked for anew.
    fn begin_run(&mut self, now: Mono, draw: u64) -> bool {
        let _ = (now, draw);
        false
    }

    /// Whether a role stands, among the roles beside it, by what it would hold if nobody who waits
    /// below it held more than the one of them who is served next (hierarchical dominant resource
    /// fairness), so that nobody starves because its sibling holds much of another resource. The
    /// default: a role stands by the sum of what is held below it.
    fn rescales(&self) -> bool {
        false
    }

    /// The one resource that this policy shares out. It counts also when operators have resources
    /// left out of the shares. The default: the policy looks at whatever counts.
    fn shares_one(&self) -> Option<&ResourceName> {
        None
    }

    /// What [`Rank::share`] is: shown to operators, who would take anything for a part of the cluster.
    fn measure(&self) -> Measure {
        Measure::Share
    }

    /// After how long past use counts half. Nothing, the default: the past does not count, and
    /// [`Account::past`] is always empty.
    fn half_life(&self) -> Option<Duration> {
        None
    }
}

/// What the shares of a policy are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// A part of the cluster, over the weight.
    #[default]
    Share,
    /// A place that was drawn, and no part of anything.
    Chance,
    /// What was used before and is used now, over the weight; it may be more than there is.
    DecayedUse,
}

/// Copies of policies, which pictures of an allocator need; every policy that is `Clone` has it.
pub trait ClonePolicy {
    /// A policy in the same state.
    fn clone_boxed(&self) -> Box<dyn Policy>;
}

impl<P: Policy + Clone + 'static> ClonePolicy for P {
    fn clone_boxed(&self) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Policy> {
    fn clone(&self) -> Self {
        // Of what is in the box: the box itself is no policy.
        (**self).clone_boxed()
    }
}

/// One who is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party<'a> {
    /// The frameworks directly in a role that has roles below it as well, taken together: they
    /// compete with those roles as one.
    Direct,
    /// A role with everything below it.
    Role(&'a Role),
    /// A framework within its role.
    Framework(FrameworkId),
}

/// What is known of a party when it is ranked.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Who.
    pub party: Party<'a>,
    /// Its weight in thousandths, at least one.
    pub weight_millis: u64,
    /// Its priority; more is more urgent, and who was given none has 0. Only roles have one.
    pub priority: i32,
    /// How often it has been granted an offer in the present run.
    pub turns: u64,
    /// What it holds, offered or allocated, of all agents together. Of a role only what counts, when
    /// the policy [rescales](Policy::rescales).
    pub held: &'a ScalarQuantities,
    /// What it held on average in the past, newer times counting more: empty unless the policy has
    /// a [`Policy::half_life`].
    pub past: &'a ScalarQuantities,
    /// What all agents have together, of the resources that count: a party may hold others, which
    /// no share should count.
    pub total: &'a ScalarQuantities,
}

/// A place in the order: by band, within a band by share. Lower is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Coarse order; policies without bands leave it at zero.
    pub band: i64,
    /// Fine order.
    pub share: Share,
}

fn positive(millis: i64) -> u128 {
    u128::try_from(millis).unwrap_or(0)
}

#[cfg(test)]
mod tests;
