//! What was logged of the seeds that this node waits for, so that each thing is logged once.

use std::collections::{BTreeMap, BTreeSet};

use meshos_membership::bootstrap::Waiting;

/// Reasons that are remembered; with more they are told anew.
const REASONS_MAX: usize = 16;

/// Reasons that were logged.
#[derive(Debug, Default)]
pub(super) struct Reasons(BTreeSet<String>);

impl Reasons {
    /// Whether this one was not logged yet; from now on it was.
    pub(super) fn is_new(&mut self, reason: &str) -> bool {
        if self.0.len() >= REASONS_MAX {
            self.0.clear();
        }
        self.0.insert(reason.to_owned())
    }
}

/// The reasons that were logged, by seed.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<String, Reasons>);

impl Told {
    /// Logs what is new, with what to do. A seed that is waited for no more is forgotten.
    pub(super) fn tell(&mut self, waiting: &[Waiting]) {
        for one in self.news(waiting) {
            let Waiting { seed, reason, needs_operator } = one;
            if *needs_operator {
                tracing::warn!(%seed, needs_operator, "{reason}");
            } else {
                tracing::info!(%seed, needs_operator, "{reason}; it is asked again every second{}", advice(reason));
            }
        }
    }

    fn news<'a>(&mut self, waiting: &'a [Waiting]) -> Vec<&'a Waiting> {
        self.0.retain(|seed, _| waiting.iter().any(|one| one.seed == *seed));
        let is_new =
            |one: &&Waiting| self.0.entry(one.seed.clone()).or_default().is_new(&one.reason);
        waiting.iter().filter(is_new).collect()
    }
}

/// A cluster begins only when all its seeds have answered.
fn advice(reason: &str) -> &'static str {
    if reason.starts_with("waiting for seed") {
        ": start the node there if it does not run, or correct --seed on all seeds"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_told_once_until_the_seed_is_there() {
        let waits = |seed: &str, reason: &str| Waiting {
            seed: seed.to_owned(),
            reason: reason.to_owned(),
            needs_operator: false,
        };
        let mut told = Told::default();
        let mut news = |waiting: &[Waiting]| told.news(waiting).len();
        let (silent, lost, other) =
            (waits("a", "silent"), waits("a", "lost"), waits("b", "silent"));
        assert_eq!(news(&[silent.clone(), other.clone()]), 2);
        assert_eq!(news(&[lost.clone(), other.clone()]), 1);
        assert_eq!(news(&[silent.clone(), other.clone()]), 0, "it goes to and fro");
        assert_eq!(news(std::slice::from_ref(&other)), 0);
        assert_eq!(news(&[silent, other]), 1, "the seed was there meanwhile");
        let reasons: Vec<Waiting> =
            (0..=REASONS_MAX).map(|number| waits("c", &number.to_string())).collect();
        assert_eq!(news(&reasons), REASONS_MAX + 1);
    }
}
