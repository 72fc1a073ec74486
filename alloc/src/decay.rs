//! Use that fades: averages over the past in which newer times count more.
//!
//! Shares must be the same on every leader, so the exponentials here are computed with integers:
//! a power of two is a product of square roots of square roots of a half.

use std::{sync::LazyLock, time::Duration};

use meshos_protocol::{
    resources::{Amount, ResourceName, ScalarQuantities},
    time::{Mono, millis},
};

/// Binary digits after the point of the factors below.
const FACTOR_BITS: u32 = 40;
/// Binary digits after the point of a thousandth in an average: what a short time adds to a long
/// average is far below a thousandth, and must not be lost.
const AVERAGE_BITS: u32 = 24;
/// The largest amount that is averaged, in thousandths; more counts as so much. With it, products
/// of averages and factors stay below 2^122.
const MILLIS_MAX: i64 = 1 << 56;
/// Binary digits after the point of logarithms.
const LOG_BITS: u32 = 32;

/// `2^(-2^-i)` for i from 1 on, in units of `2^-62`.
static ROOTS: LazyLock<[u64; FACTOR_BITS as usize]> = LazyLock::new(|| {
    let mut root = 1u128 << 61;
    std::array::from_fn(|_| {
        root = (root << 62).isqrt();
        u64::try_from(root).expect("a root of a half is below one")
    })
});

/// `2^(-elapsed / half_life)` in units of 2^-40.
fn factor(elapsed_ms: u64, half_life_ms: u64) -> i128 {
    let half_life = u128::from(half_life_ms.max(1));
    let halvings = u128::from(elapsed_ms) / half_life;
    if halvings > u128::from(FACTOR_BITS) {
        return 0;
    }
    let exponent = ((u128::from(elapsed_ms) % half_life) << FACTOR_BITS) / half_life;
    let mut power = 1u128 << 62;
    for (index, root) in ROOTS.iter().enumerate() {
        let bit = u32::try_from(index).map_or(0, |index| FACTOR_BITS - 1 - index);
        if exponent >> bit & 1 == 1 {
            power = (power * u128::from(*root)) >> 62;
        }
    }
    i128::try_from((power >> (62 - FACTOR_BITS)) >> halvings).unwrap_or(0)
}

/// `-log2` of a number taken as a fraction of 2^64, in units of the second number: exponentially
/// distributed with a mean of about 1.44 of that unit when `number` is uniform.
pub(crate) fn log2_of_inverse(number: u64) -> (u64, u64) {
    let number = number.max(1);
    let whole = u64::from(number.leading_zeros());
    // In [1, 2), in units of 2^-63; squared it doubles its logarithm, bit by bit.
    let mut rest = u128::from(number) << number.leading_zeros();
    let mut fraction = 0u64;
    for _ in 0..LOG_BITS {
        rest = (rest * rest) >> 63;
        let carry = rest >> 64 != 0;
        fraction = fraction << 1 | u64::from(carry);
        if carry {
            rest >>= 1;
        }
    }
    let one = 1u64 << LOG_BITS;
    ((whole + 1) * one - fraction, one)
}

/// The past fades in so many steps in a half-life: a tenth of a percent each.
const STEPS_PER_HALF_LIFE: u64 = 1_000;

/// Up to when the past has faded at a time: to the last step before it. So it does not matter at
/// which moments between two steps it is looked at.
pub(crate) fn faded_until(now: Mono, half_life: Duration) -> Mono {
    let step_ms = (millis(half_life) / STEPS_PER_HALF_LIFE).max(1);
    Mono(now.0 - now.0 % step_ms)
}

/// The faded average of what a party has held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// In units of 2^-24 thousandths.
    averages: Vec<(ResourceName, i128)>,
    /// The same, rounded down.
    amounts: ScalarQuantities,
    /// Up to when.
    until: Mono,
}

impl Past {
    /// Nothing was held before then.
    pub(crate) fn new(until: Mono) -> Self {
        Self { averages: Vec::new(), amounts: ScalarQuantities::new(), until }
    }

    /// What was an average that long before `until`, and nothing was held since.
    pub(crate) fn of_earlier(
        average: &ScalarQuantities,
        age_ms: u64,
        half_life: Duration,
        until: Mono,
    ) -> Self {
        let averages = average.iter().map(|(name, amount)| {
            let millis = i128::from(amount.millis().clamp(0, MILLIS_MAX));
            (name.clone(), millis << AVERAGE_BITS)
        });
        let mut averages: Vec<_> = averages.collect();
        averages.sort_unstable();
        let mut past = Self { averages, amounts: average.clone(), until: Mono(0) };
        past.advance(Mono(age_ms), half_life, &ScalarQuantities::new());
        past.until = until;
        past
    }

    /// The average as of the last call of [`Past::advance`].
    pub(crate) fn amounts(&self) -> &ScalarQuantities {
        &self.amounts
    }

    /// Whether there is nothing left of the past.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.amounts.is_empty()
    }

    /// Time has gone on until `now`, and all the while `held` was held:
    /// `average := held + (average - held) * 2^(-elapsed / half_life)`.
    pub(crate) fn advance(&mut self, now: Mono, half_life: Duration, held: &ScalarQuantities) {
        let elapsed_ms = now.0.saturating_sub(self.until.0);
        if elapsed_ms == 0 {
            return;
        }
        self.until = now;
        let factor = factor(elapsed_ms, millis(half_life));
        for (name, _) in held.iter() {
            if let Err(place) = self.averages.binary_search_by(|(known, _)| known.cmp(name)) {
                self.averages.insert(place, (name.clone(), 0));
            }
        }
        self.averages.retain_mut(|(name, average)| {
            let held = i128::from(held.get(name).millis().clamp(0, MILLIS_MAX)) << AVERAGE_BITS;
            *average = held + (((*average - held) * factor) >> FACTOR_BITS);
            *average > 0
        });
        self.amounts = self
            .averages
            .iter()
            .map(|(name, average)| {
                let millis = i64::try_from(average >> AVERAGE_BITS).unwrap_or(MILLIS_MAX);
                (name.clone(), Amount::from_millis(millis))
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::resources::Resources;

    use super::*;

    fn quantities(text: &str) -> ScalarQuantities {
        text.parse::<Resources>().unwrap().quantities()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(minutes: u64) -> Mono {
        Mono(minutes * 60_000)
    }

    #[test]
    fn factors_are_powers_of_two() {
        let one = 1i128 << FACTOR_BITS;
        assert_eq!(factor(0, 1000), one);
        assert_eq!(factor(1000, 1000), one / 2);
        assert_eq!(factor(5000, 1000), one / 32);
        assert_eq!(factor(u64::MAX, 1000), 0);
        // 2^-0.5 and 2^-0.1, to nine digits.
        let billionths = |factor: i128| factor * 1_000_000_000 / one;
        assert_eq!(billionths(factor(500, 1000)), 707_106_781);
        assert_eq!(billionths(factor(100, 1000)), 933_032_991);
    }

    #[test]
    fn logarithms_are_those_of_the_fraction() {
        let log = |number| log2_of_inverse(number).0;
        let one = log2_of_inverse(1).1;
        assert_eq!(log(1 << 63), one);
        assert_eq!(log(1 << 60), 4 * one);
        assert_eq!(log(0), log(1));
        assert!(log(u64::MAX) <= 1);
        // -log2(3/4) = 0.41503749...
        assert_eq!(log(3 << 62) * 100_000_000 / one, 41_503_749);
    }

    #[test]
    fn averages_approach_what_is_held_by_half_every_half_life() {
        let mut past = Past::new(at(0));
        past.advance(at(60), HOUR, &quantities("cpus:8;mem:100"));
        assert_eq!(past.amounts(), &quantities("cpus:4;mem:50"));
        past.advance(at(120), HOUR, &quantities("cpus:8"));
        assert_eq!(past.amounts(), &quantities("cpus:6;mem:25"));
        past.advance(at(240), HOUR, &quantities(""));
        assert_eq!(past.amounts(), &quantities("cpus:1.5;mem:6.25"));
        past.advance(at(60_000), HOUR, &quantities(""));
        assert!(past.is_forgotten());
    }

    #[test]
    fn an_average_goes_on_from_what_it_was() {
        let earlier = quantities("cpus:8;mem:100;b:4;a:2");
        let mut past = Past::of_earlier(&earlier, 2 * 3_600_000, HOUR, at(5));
        assert_eq!(past.amounts(), &quantities("cpus:2;mem:25;b:1;a:0.5"));
        past.advance(at(65), HOUR, &quantities("b:3"));
        assert_eq!(past.amounts(), &quantities("cpus:1;mem:12.5;b:2;a:0.25"));
        let now = Past::of_earlier(&earlier, 0, HOUR, at(5));
        assert_eq!(now.amounts(), &earlier);
        assert!(Past::of_earlier(&earlier, u64::MAX, HOUR, at(5)).is_forgotten());
    }

    #[test]
    fn many_short_steps_come_to_the_same_as_one_long_one() {
        let held = quantities("cpus:3");
        let mut steps = Past::new(at(0));
        for millisecond in 1..=36_000 {
            steps.advance(Mono(millisecond * 100), HOUR, &held);
        }
        let average = steps.amounts().get(&ResourceName::Cpus).millis();
        assert!((1_499..=1_500).contains(&average), "{average}");
    }
}
