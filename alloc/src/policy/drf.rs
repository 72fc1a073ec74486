//! Dominant resource fairness.

use super::{Account, Policy, Rank, positive};
use crate::Share;

/// Weighted dominant resource fairness, level by level (Ghodsi et al., NSDI 2011; the levels as in
/// Bhattacharya et al., SoCC 2013: rescaled to the child that is served next).
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

    fn rescales(&self) -> bool {
        true
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
