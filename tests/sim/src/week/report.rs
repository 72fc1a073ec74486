//! What came of it.

use std::{collections::BTreeMap, fmt};

use super::framework::Kind;

/// How long tasks waited, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waits(BTreeMap<u64, u64>);

impl Waits {
    pub(super) fn add(&mut self, waited_s: u64) {
        *self.0.entry(waited_s).or_default() += 1;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// So many of a hundred waited at most this long.
    pub fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        for (waited_s, count) in &self.0 {
            seen += count;
            if seen >= wanted {
                return *waited_s;
            }
        }
        0
    }
}

/// What came of a stretch of synthetic life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The policy.
    pub policy: String,
    /// Of the processors, memory and GPUs, so many thousandths were used on average.
    pub used: [u64; 3],
    /// Of the processors, so many thousandths were used or waited for on average.
    pub asked: u64,
    /// How many offers were made.
    pub offers: u64,
    /// How many offers were wanted back.
    pub rescinds: u64,
    pub(super) waits: BTreeMap<Kind, Waits>,
}

impl Report {
    /// How long the tasks of pieces of batch work waited.
    pub fn batch_waits(&self) -> Waits {
        self.waits.get(&Kind::Batch).cloned().unwrap_or_default()
    }

    /// The head of the table whose rows reports are.
    pub const HEAD: &str = "\
| policy | cpus used | mem used | gpus used | cpus used or waited for | offers | wanted back | services: tasks, wait p50, p99 | batch | interactive |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| `{}` |", self.policy)?;
        for part in self.used.iter().chain([&self.asked]) {
            write!(f, " {}.{} % |", part / 10, part % 10)?;
        }
        write!(f, " {} | {} |", self.offers, self.rescinds)?;
        for kind in [Kind::Service, Kind::Batch, Kind::Interactive] {
            let waits = self.waits.get(&kind).cloned().unwrap_or_default();
            let (p50, p99) = (waits.percentile(50), waits.percentile(99));
            write!(f, " {}, {p50} s, {p99} s |", waits.count())?;
        }
        Ok(())
    }
}
