//! Exact fractions, the currency of fair sharing.
//!
//! Shares decide who is served next, so two leaders with the same state must agree on every last
//! comparison, whatever the order in which amounts were added up: integers only.

use std::{cmp::Ordering, fmt};

use meshos_protocol::resources::Amount;
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Binary digits after the point in the approximation that settles most comparisons.
const APPROXIMATION_BITS: u32 = 40;

/// A share of something: `numerator / denominator`, compared exactly.
#[derive(Clone, Copy)]
pub struct Share {
    /// The fraction in units of 2^-40, rounded down and cut to 64 bits. It grows with the
    /// fraction, so when two differ, the fractions differ the same way.
    approximation: u64,
    numerator: u128,
    denominator: u128,
}

impl Share {
    /// Nothing.
    pub const ZERO: Self = Self { approximation: 0, numerator: 0, denominator: 1 };

    /// The fraction `numerator / denominator`; zero when both are zero.
    ///
    /// A share of nothing (a denominator of zero under some numerator) is more than every other.
    pub fn new(numerator: u128, denominator: u128) -> Self {
        if numerator == 0 {
            return Self::ZERO;
        }
        Self { approximation: approximate(numerator, denominator), numerator, denominator }
    }

    /// The part above the line, as given.
    pub const fn numerator(self) -> u128 {
        self.numerator
    }

    /// The part below the line, as given.
    pub const fn denominator(self) -> u128 {
        self.denominator
    }

    /// An amount over this share, to the nearest thousandth; nothing over nothing.
    pub(crate) fn over(self, amount: Amount) -> Amount {
        let (numerator, denominator) = self.halved_until_64_bits();
        scaled(amount, denominator, numerator)
    }

    /// This share of an amount, to the nearest thousandth.
    pub(crate) fn of(self, amount: Amount) -> Amount {
        let (numerator, denominator) = self.halved_until_64_bits();
        scaled(amount, numerator, denominator)
    }

    /// Numerator and denominator, both below 2^64: exact, unless they are very large.
    fn halved_until_64_bits(self) -> (u128, u128) {
        let bits = 128 - (self.numerator | self.denominator).leading_zeros();
        let shift = bits.saturating_sub(64);
        (self.numerator >> shift, self.denominator >> shift)
    }

    /// The fraction in thousandths, rounded down: for people, never for decisions.
    pub fn per_mille(self) -> u64 {
        let thousandths = self.numerator.saturating_mul(1000).checked_div(self.denominator);
        thousandths.and_then(|value| u64::try_from(value).ok()).unwrap_or(u64::MAX)
    }
}

/// `amount * by / over` to the nearest thousandth, cut to what fits; nothing over nothing.
fn scaled(amount: Amount, by: u128, over: u128) -> Amount {
    let millis = u128::try_from(amount.millis()).unwrap_or(0);
    // Below 2^63 * 2^64, and half of 2^64 on top.
    let product = millis * by + over / 2;
    let scaled = product.checked_div(over).unwrap_or(0);
    Amount::from_millis(i64::try_from(scaled).unwrap_or(i64::MAX))
}

/// The fraction times 2^40, rounded down; all that is too large is [`u64::MAX`].
fn approximate(numerator: u128, denominator: u128) -> u64 {
    let scaled = match numerator.checked_mul(1 << APPROXIMATION_BITS) {
        Some(scaled) => scaled.checked_div(denominator),
        None => divide_digit_by_digit(numerator, denominator),
    };
    scaled.and_then(|scaled| u64::try_from(scaled).ok()).unwrap_or(u64::MAX)
}

/// The same for numerators that do not leave room to be scaled first.
fn divide_digit_by_digit(numerator: u128, denominator: u128) -> Option<u128> {
    let mut quotient = numerator.checked_div(denominator)?;
    let mut rest = numerator % denominator;
    for _ in 0..APPROXIMATION_BITS {
        let carried = rest >> 127 == 1;
        rest <<= 1;
        let digit = carried || rest >= denominator;
        if digit {
            rest = rest.wrapping_sub(denominator);
        }
        quotient = quotient.checked_mul(2)? | u128::from(digit);
    }
    Some(quotient)
}

/// Compares `a / b` with `c / d` by their continued fractions, which cannot overflow.
fn compare_exactly(mut a: u128, mut b: u128, mut c: u128, mut d: u128) -> Ordering {
    let mut flipped = false;
    let ordering = loop {
        match (b == 0, d == 0) {
            (true, true) => break Ordering::Equal,
            (true, false) => break Ordering::Greater,
            (false, true) => break Ordering::Less,
            (false, false) => {}
        }
        let whole = (a / b).cmp(&(c / d));
        if whole.is_ne() {
            break whole;
        }
        // Equal whole parts: compare what remains, r/b with s/d, by their inverses.
        (a, b, c, d) = (b, a % b, d, c % d);
        flipped = !flipped;
    };
    if flipped { ordering.reverse() } else { ordering }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        self.approximation.cmp(&other.approximation).then_with(|| {
            if (self.numerator, self.denominator) == (other.numerator, other.denominator) {
                return Ordering::Equal;
            }
            let left = self.numerator.checked_mul(other.denominator);
            let right = other.numerator.checked_mul(self.denominator);
            match (left, right) {
                (Some(left), Some(right)) => left.cmp(&right),
                _ => compare_exactly(
                    self.numerator,
                    self.denominator,
                    other.numerator,
                    other.denominator,
                ),
            }
        })
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

/// In lowest terms: `2/3`.
impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut a, mut b) = (self.numerator, self.denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = a.max(1);
        write!(formatter, "{}/{}", self.numerator / divisor, self.denominator / divisor)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Share({self})")
    }
}

/// As `{"fraction": "2/3", "per_mille": 666}`.
impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Share", 2)?;
        fields.serialize_field("fraction", &format_args!("{self}"))?;
        fields.serialize_field("per_mille", &self.per_mille())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fractions_too_close_for_the_approximation_are_told_apart() {
        let big = 1u128 << 100;
        assert!(Share::new(big, big + 1) < Share::new(big + 1, big + 2));
        assert_eq!(Share::new(big, 3 * big), Share::new(1, 3));
        assert_eq!(Share::new(u128::MAX, u128::MAX), Share::new(7, 7));
        assert!(Share::new(u128::MAX, u128::MAX - 1) > Share::new(u128::MAX - 1, u128::MAX - 1));
    }

    #[test]
    fn a_share_of_nothing_is_the_largest() {
        assert_eq!(Share::new(0, 0), Share::ZERO);
        assert!(Share::new(1, 0) > Share::new(u128::MAX, 1));
        assert_eq!(Share::new(5, 0).per_mille(), u64::MAX);
    }

    #[test]
    fn prints_in_lowest_terms() {
        assert_eq!(Share::new(12_000, 18_000).to_string(), "2/3");
        assert_eq!(Share::new(12_000, 18_000).per_mille(), 666);
        assert_eq!(Share::ZERO.to_string(), "0/1");
    }

    proptest! {
        #[test]
        fn the_long_way_agrees_with_cross_multiplication(a: u64, b in 1u64.., c: u64, d in 1u64..) {
            let [a, b, c, d] = [a, b, c, d].map(u128::from);
            prop_assert_eq!(compare_exactly(a, b, c, d), (a * d).cmp(&(c * b)));
            prop_assert_eq!(Share::new(a, b).cmp(&Share::new(c, d)), (a * d).cmp(&(c * b)));
        }

        #[test]
        fn the_order_is_the_same_at_any_size(a: u128, b in 1u128.., c: u128, d in 1u128..) {
            prop_assert_eq!(Share::new(a, b).cmp(&Share::new(c, d)), compare_exactly(a, b, c, d));
        }
    }
}
