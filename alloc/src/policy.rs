//! The plug: in which order those who want offers are served.
//!
//! A policy ranks; it does not allocate. Who holds what, filters, reservations, suppression and
//! explanations are the allocator's and the same under every policy. So a policy is a formula, and
//! cannot break the ledger.

use std::fmt;

use meshos_protocol::{ids::FrameworkId, resources::ScalarQuantities, role::Role, time::Mono};

use crate::Share;

/// An order of service.
///
/// Parties are ranked among their siblings: roles below one role (or at the top) among each other,
/// frameworks within one role among each other. The lowest [`Rank`] is served first; ties go to the
/// party that was granted fewer offers, then to the smaller name or id.
pub trait Policy: fmt::Debug + Send + Sync {
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
    /// What it holds, offered or allocated, of all agents together.
    pub held: &'a ScalarQuantities,
    /// What all agents have together.
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

/// Weighted dominant resource fairness, level by level (Ghodsi et al., NSDI 2011).
///
/// The share is `max over resources of (held / total) / weight`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Drf;

impl Policy for Drf {
    fn name(&self) -> &'static str {
        "drf"
    }

    fn rank(&self, account: &Account<'_>) -> Rank {
        Rank { band: 0, share: dominant_share(account) }
    }
}

/// The largest of the party's shares of single resources, divided by its weight. Resources of which
/// no agent has any do not count.
pub fn dominant_share(account: &Account<'_>) -> Share {
    let mut dominant = (0u128, 1u128);
    for (name, held) in account.held.iter() {
        let total = positive(account.total.get(name).millis());
        let held = positive(held.millis());
        // Both factors are below 2^63, so the products fit.
        if total != 0 && held * dominant.1 > dominant.0 * total {
            dominant = (held, total);
        }
    }
    let weight = u128::from(account.weight_millis.max(1));
    // Below 2^73 over 2^127.
    Share::new(dominant.0 * 1000, dominant.1 * weight)
}

fn positive(millis: i64) -> u128 {
    u128::try_from(millis).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use meshos_protocol::resources::Resources;

    use super::*;

    fn share_of(held: &str, total: &str, weight_millis: u64) -> Share {
        let quantities = |text: &str| text.parse::<Resources>().unwrap().quantities();
        let (held, total) = (quantities(held), quantities(total));
        dominant_share(&Account { party: Party::Direct, weight_millis, held: &held, total: &total })
    }

    #[test]
    fn the_dominant_resource_is_the_scarcest_one_held() {
        assert_eq!(share_of("cpus:3;mem:12", "cpus:9;mem:18", 1000), Share::new(2, 3));
        assert_eq!(share_of("cpus:6;mem:2", "cpus:9;mem:18", 1000), Share::new(2, 3));
        assert_eq!(share_of("", "cpus:9;mem:18", 1000), Share::ZERO);
    }

    #[test]
    fn weights_divide_the_share() {
        assert_eq!(share_of("cpus:3", "cpus:9", 2000), Share::new(1, 6));
        assert_eq!(share_of("cpus:3", "cpus:9", 500), Share::new(2, 3));
        assert_eq!(share_of("cpus:3", "cpus:9", 0), share_of("cpus:3", "cpus:9", 1));
    }

    #[test]
    fn what_nobody_has_does_not_count() {
        assert_eq!(share_of("cpus:1;gone:5", "cpus:4", 1000), Share::new(1, 4));
        assert_eq!(share_of("gone:5", "", 1000), Share::ZERO);
    }
}
