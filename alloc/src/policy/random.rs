//! A weighted shuffle.

use meshos_protocol::{fnv::Fnv1a, time::Mono};

use super::{Account, Measure, Party, Policy, Rank};
use crate::{Share, decay::log2_of_inverse, mix::mix};

/// Every run draws a new order, in which who has twice the weight is twice as likely to stand
/// before another (Efraimidis and Spirakis, 2006), whatever anybody holds.
///
/// The n-th turn of a party in a run stands at `(n + e) / weight`, with `e` drawn from an
/// exponential distribution: so one run shares many agents out by weight, too.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random {
    draw: u64,
}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn measure(&self) -> Measure {
        Measure::Chance
    }

    fn rank(&self, account: &Account<'_>) -> Rank {
        let drawn = mix(mix(party_number(account.party) ^ self.draw) ^ account.turns);
        let (exponential, one) = log2_of_inverse(drawn);
        let place = u128::from(account.turns) * u128::from(one) + u128::from(exponential);
        let weight = u128::from(account.weight_millis.max(1));
        // Below 2^64 * 2^32 * 2^10 over 2^96.
        Rank { band: 0, share: Share::new(place * 1000, u128::from(one) * weight) }
    }

    fn begin_run(&mut self, _now: Mono, draw: u64) -> bool {
        self.draw = draw;
        true
    }
}

/// A number that tells a party from its siblings: the same in every process.
fn party_number(party: Party<'_>) -> u64 {
    match party {
        Party::Direct => 0,
        Party::Framework(framework) => mix(framework.0),
        Party::Role(role) => Fnv1a::of(role.as_str().as_bytes()),
    }
}
