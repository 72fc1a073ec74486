//! All randomness of a run, from one seed.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// A seeded generator whose numbers are the same on every machine and for ever.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number in the range, both ends included. (The slight bias of the remainder does not
    /// matter here.)
    pub fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        low + self.0.next_u64() % (high - low + 1)
    }

    /// An index below `length`, which must not be 0.
    pub fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).expect("a length fits");
        usize::try_from(self.0.next_u64() % length).expect("below a length")
    }

    /// True in so many of 1,000 throws.
    pub fn chance(&mut self, of_thousand: u64) -> bool {
        self.number(0..=999) < of_thousand
    }

    /// One of the things, if there are any.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        if things.is_empty() { None } else { things.get(self.index(things.len())) }
    }

    /// Mostly something near the low end, sometimes something near the high one.
    pub fn skewed(&mut self, range: RangeInclusive<u64>) -> u64 {
        let high = self.number(range.clone());
        let higher = self.number(*range.start()..=high);
        self.number(*range.start()..=higher)
    }
}
