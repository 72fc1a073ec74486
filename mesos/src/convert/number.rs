//! Doubles, which the wire has, and whole numbers of thousandths, which are counted with here.

use meshos_protocol::resources::Amount;

/// Doubles beyond this many units are not told apart by thousandths any more.
const LARGEST: f64 = 9_000_000_000_000.0;

/// The nearest amount, as Mesos rounds; nothing for what is no number or too large.
#[must_use]
#[expect(clippy::float_arithmetic, reason = "the wire has doubles")]
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub fn amount(value: f64) -> Option<Amount> {
    (value.abs() <= LARGEST).then(|| Amount::from_millis((value * 1_000.0).round() as i64))
}

/// The amount as a double.
#[must_use]
#[expect(clippy::float_arithmetic, reason = "the wire has doubles")]
pub fn double(amount: Amount) -> f64 {
    amount.millis() as f64 / 1_000.0
}

/// Seconds in whole milliseconds; nothing for what is no number or negative, and at most `max`.
#[must_use]
pub fn millis(seconds: f64, max: u64) -> Option<u64> {
    if seconds.is_nan() || seconds < 0.0 {
        return None;
    }
    let Some(millis) = amount(seconds) else { return Some(max) };
    u64::try_from(millis.millis()).ok().map(|millis| millis.min(max))
}

/// Milliseconds in seconds.
#[must_use]
pub fn seconds(millis: u64) -> f64 {
    double(Amount::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_become_thousandths_as_mesos_rounds_them() {
        for (value, millis) in [
            (0.1, 100),
            (0.000_4, 0),
            (0.000_5, 1),
            (-0.000_5, -1),
            (1.1 + 2.2, 3_300),
            (4.0, 4_000),
            (9_000_000_000_000.0, 9_000_000_000_000_000),
        ] {
            assert_eq!(amount(value), Some(Amount::from_millis(millis)), "{value}");
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
            assert_eq!(amount(value), None, "{value}");
        }
        assert_eq!(double(Amount::from_millis(1_125)), 1.125);
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(millis(5.0, 10_000), Some(5_000));
        assert_eq!(millis(0.0, 10_000), Some(0));
        for long in [11.0, f64::INFINITY, 1e300] {
            assert_eq!(millis(long, 10_000), Some(10_000), "{long}");
        }
        for wrong in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(millis(wrong, 10_000), None, "{wrong}");
        }
        assert_eq!(seconds(1_500), 1.5);
    }
}
