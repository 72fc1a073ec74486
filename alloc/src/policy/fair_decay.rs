//! Fair shares over time.

use std::time::Duration;

use meshos_protocol::time::Mono;

use super::{Account, Measure, Policy, Rank, positive};
use crate::{Share, decay::faded_until};

/// Weighted dominant resource fairness over what is held now and what was held before, the past
/// fading with a half-life (as the decayed usage of Slurm's multifactor priority).
///
/// The share is `max over resources of ((held + past) / total) / weight`, where `past` is the
/// average of what was held, weighted by `2^(-age / half-life)`. So who has used much waits until
/// the others have caught up, and after some half-lives everybody is equal again.
#[derive(Debug, Clone, Copy)]
pub struct FairDecay {
    half_life: Duration,
    ranked_at: Option<Mono>,
}

impl FairDecay {
    /// Past use counts half after `half_life`, which is at least a second.
    pub fn new(half_life: Duration) -> Self {
        Self { half_life: half_life.max(Duration::from_secs(1)), ranked_at: None }
    }
}

impl Policy for FairDecay {
    fn name(&self) -> &'static str {
        "fair-decay"
    }

    fn measure(&self) -> Measure {
        Measure::DecayedUse
    }

    fn rank(&self, account: &Account<'_>) -> Rank {
        let mut dominant = (0u128, 1u128);
        for (name, total) in account.total.iter() {
            let total = positive(total.millis());
            let of = |millis: i64| positive(millis);
            let used = of(account.held.get(name).millis()) + of(account.past.get(name).millis());
            // The factors are below 2^64, so the products fit.
            if total != 0 && used * dominant.1 > dominant.0 * total {
                dominant = (used, total);
            }
        }
        let weight = u128::from(account.weight_millis.max(1));
        Rank { band: 0, share: Share::new(dominant.0 * 1000, dominant.1 * weight) }
    }

    fn begin_run(&mut self, now: Mono, _draw: u64) -> bool {
        let step = Some(faded_until(now, self.half_life));
        std::mem::replace(&mut self.ranked_at, step) != step
    }

    fn half_life(&self) -> Option<Duration> {
        Some(self.half_life)
    }
}
