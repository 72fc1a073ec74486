//! Counting by size.

use std::marker::PhantomData;

use crate::PercentileStats;

/// Each power of two has so many buckets.
const PER_POWER: usize = 4;
/// The bits that tell the buckets of one power of two apart, with the leading one.
const WIDTH: u32 = 3;
/// Zero to three have one each, then come the powers of two up to 2^63.
const BUCKETS: usize = PER_POWER + (u64::BITS - WIDTH + 1) as usize * PER_POWER;

/// Counts values by their size, with a precision of a quarter of a power of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Vec<u64>,
    slots: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// One that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], slots: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value several times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        if let Some(counted) = self.counts.get_mut(bucket_of(value)) {
            *counted = counted.saturating_add(count);
        }
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The limits below which parts of the values lie.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        let total = self.total();
        let below = |thousandths: u64| self.below(total, thousandths);
        PercentileStats {
            samples: total,
            p0_1: below(1),
            p1: below(10),
            p5: below(50),
            p10: below(100),
            p50: below(500),
            p90: below(900),
            p99: below(990),
            p99_9: below(999),
        }
    }

    /// The lower limit of the bucket in which that part of the values is complete; 0 without values.
    fn below(&self, total: u64, thousandths: u64) -> u64 {
        let rank = (u128::from(total) * u128::from(thousandths)).div_ceil(1_000).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += u128::from(*count);
            seen >= rank
        });
        found.map_or(0, lower_limit)
    }
}

fn bucket_of(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let Some(shift) = bits.checked_sub(WIDTH) else {
        // One to three bits less than the width: the value itself, which is below four.
        return usize::try_from(value).unwrap_or(0);
    };
    let within = usize::try_from(value >> shift).unwrap_or(0) % PER_POWER;
    PER_POWER + shift as usize * PER_POWER + within
}

fn lower_limit(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(PER_POWER) else { return bucket as u64 };
    ((above % PER_POWER + PER_POWER) as u64) << (above / PER_POWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_bucket_whose_limits_are_around_it() {
        let powers = (0..64).map(|power| 1_u64 << power);
        let values = powers.flat_map(|power| [power - 1, power, power + power / 3]);
        for value in values.chain([u64::MAX]) {
            let bucket = bucket_of(value);
            assert!(bucket < BUCKETS, "{value}");
            assert!(lower_limit(bucket) <= value, "{value}");
            assert!(bucket + 1 == BUCKETS || value < lower_limit(bucket + 1), "{value}");
        }
        assert_eq!(BUCKETS, 252, "as in the crate");
    }

    #[test]
    fn parts_are_found() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        histogram.record_n(3, 98);
        histogram.record(100);
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p0_1, stats.p90), (100, 3, 3));
        assert_eq!((stats.p99, stats.p99_9), (96, 7 << 61));
        let chart = crate::AsciiChart::new().add("batches", histogram).detailed().to_string();
        assert!(chart.starts_with("batches: [samples: 100, P0.1: 3"), "{chart}");
    }
}
