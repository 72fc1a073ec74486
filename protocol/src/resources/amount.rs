//! Exact amounts.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::{Cursor, TextError, parse_amount};

/// Thousandths in one unit.
const MILLIS_PER_UNIT: i64 = 1_000;

/// An amount of a scalar resource: a whole number of thousandths, so that sums do not depend on
/// the order in which they are formed and what was added can be taken away again exactly.
///
/// The text form has at most three decimals when printed (`0.1`, `24`, `1.125`). When read, finer
/// digits are rounded to the nearest thousandth, halves away from zero, as Mesos does. On the wire
/// it is the number of thousandths.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);
    /// The largest amount.
    pub const MAX: Amount = Amount(i64::MAX);
    /// The smallest amount.
    pub const MIN: Amount = Amount(i64::MIN);

    /// So many thousandths.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Amount(millis)
    }

    /// So many whole units; what does not fit is cut to [`Amount::MAX`] or [`Amount::MIN`].
    #[must_use]
    pub const fn whole(units: i64) -> Self {
        Amount(units.saturating_mul(MILLIS_PER_UNIT))
    }

    /// The number of thousandths.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The number of whole units, what is beyond them cut off towards zero.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0 / MILLIS_PER_UNIT
    }

    /// Whether this is a number of whole units.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.0 % MILLIS_PER_UNIT == 0
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether this is less than nothing. No amount in [`Resources`](super::Resources) is.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The sum, or nothing when it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Amount) -> Option<Amount> {
        match self.0.checked_add(other.0) {
            Some(millis) => Some(Amount(millis)),
            None => None,
        }
    }

    /// The difference, which may be negative, or nothing when it does not fit.
    #[must_use]
    pub const fn checked_sub(self, other: Amount) -> Option<Amount> {
        match self.0.checked_sub(other.0) {
            Some(millis) => Some(Amount(millis)),
            None => None,
        }
    }

    /// The sum, cut to what fits.
    #[must_use]
    pub const fn saturating_add(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }

    /// The difference, cut to what fits; it may be negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0))
    }

    /// What remains when `other` is taken away, and zero when `other` is more than there is.
    #[must_use]
    pub const fn remaining_after(self, other: Amount) -> Amount {
        let rest = self.0.saturating_sub(other.0);
        Amount(if rest < 0 { 0 } else { rest })
    }

    /// This amount `count` times, cut to what fits.
    #[must_use]
    pub const fn saturating_mul(self, count: i64) -> Amount {
        Amount(self.0.saturating_mul(count))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let per_unit = MILLIS_PER_UNIT.unsigned_abs();
        let (units, millis) = (magnitude / per_unit, magnitude % per_unit);
        let mut text = units.to_string();
        if millis != 0 {
            let decimals = format!("{millis:03}");
            text.push('.');
            text.push_str(decimals.trim_end_matches('0'));
        }
        formatter.pad_integral(!self.is_negative(), "", &text)
    }
}

impl FromStr for Amount {
    type Err = TextError;

    /// Reads `[+-] digits [. digits]`; white space around is ignored.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut cursor = Cursor::new(text)?;
        cursor.skip_whitespace();
        let amount = parse_amount(&mut cursor)?;
        cursor.skip_whitespace();
        if cursor.at_end() { Ok(amount) } else { Err(cursor.unexpected("the end of the number")) }
    }
}

/// The sum, cut to what fits.
impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::ZERO, Amount::saturating_add)
    }
}
