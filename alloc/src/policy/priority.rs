//! Bands of priority.

use super::{Account, Policy, Rank, dominant_share};

/// Strict bands: whoever has the higher priority is served first, and those of one band share by
/// weighted dominant resource fairness.
///
/// Priorities are given to roles ([`crate::Allocator::set_priority`]) and compared among siblings. A
/// lower band is offered what the higher ones have refused or do not want; what it has launched is
/// never taken away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Priority;

impl Policy for Priority {
    fn name(&self) -> &'static str {
        "priority"
    }

    fn rank(&self, account: &Account<'_>) -> Rank {
        Rank { band: -i64::from(account.priority), share: dominant_share(account) }
    }

    fn rescales(&self) -> bool {
        true
    }
}
