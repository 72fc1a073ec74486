//! Max-min fairness over one resource.

use meshos_protocol::resources::ResourceName;

use super::{Account, Policy, Rank, positive};
use crate::Share;

/// Weighted max-min fairness over one named resource; the others do not count.
///
/// Serving whoever has least of it, over its weight, is progressive filling (Bertsekas and
/// Gallager, *Data Networks*, 6.5.2).
#[derive(Debug, Clone)]
pub struct MaxMin {
    /// The resource that is shared out.
    pub resource: ResourceName,
}

impl Policy for MaxMin {
    fn name(&self) -> &'static str {
        "max-min"
    }

    fn rank(&self, account: &Account<'_>) -> Rank {
        let held = positive(account.held.get(&self.resource).millis());
        let total = positive(account.total.get(&self.resource).millis());
        let weight = u128::from(account.weight_millis.max(1));
        // Below 2^73 over 2^127. What no agent has is shared equally: nobody has any.
        let share = if total == 0 { Share::ZERO } else { Share::new(held * 1000, total * weight) };
        Rank { band: 0, share }
    }

    fn shares_one(&self) -> Option<&ResourceName> {
        Some(&self.resource)
    }
}
