//! What every policy must keep, as a suite that its tests run.
//!
//! ```
//! use meshos_alloc::{conformance, policy::Drf};
//!
//! conformance::check(|| Box::new(Drf), 2);
//! conformance::check_fairness(|| Box::new(Drf), true, 2);
//! ```
//!
//! [`check`] is for all policies: it plays random histories of a cluster and asserts that the ledger
//! adds up, that the same history gives the same offers, that the order in which agents and
//! frameworks are added does not matter, that no limit is exceeded, that nobody waits for what it
//! could have, that a run over what has changed offers what a run over everything offers, that what is
//! wanted together is offered as a whole or told to have failed when its time is over, and that another
//! policy can take over at any moment without losing an offer.
//!
//! [`check_fairness`] is for policies that say they are fair: the laws of dominant resource fairness
//! (Ghodsi et al., NSDI 2011), each up to one task, because tasks cannot be divided.

pub(crate) mod account;
mod cluster;
pub(crate) mod conversions;
mod fairness;
mod fill;
mod gangs;
mod history;
pub(crate) mod kinds;
mod laws;

pub use fairness::{Laws, Need, Problem, check_fairness};
pub use fill::{Filled, User, fill};
pub use laws::check;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Numbers that follow from a seed.
#[derive(Debug)]
struct Chance(ChaCha8Rng);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.0.next_u64() % bound).unwrap_or(0)
    }

    /// One of several.
    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A random order.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
