//! What arrives, and when.

use meshos_protocol::resources::Resources;

use crate::dice::Dice;

/// A distribution as its quantiles: (thousandths, value), from 0 to 1,000.
type Quantiles = &'static [(u64, u64)];

/// Thousandths of a processor of one task.
const CPUS_MILLIS: Quantiles = &[
    (0, 1_000),
    (100, 3_150),
    (250, 4_000),
    (500, 11_300),
    (750, 12_000),
    (900, 16_400),
    (990, 32_000),
    (1_000, 88_000),
];
/// MB of memory of one task.
const MEM_MB: Quantiles =
    &[(0, 1_024), (100, 5_632), (500, 41_574), (900, 58_368), (990, 125_952), (1_000, 250_000)];
/// Milliseconds that a task of a piece of batch work runs: log-normal, median 120 s, sigma 1.74.
const BATCH_MS: Quantiles = &[
    (0, 500),
    (10, 2_100),
    (100, 12_900),
    (250, 37_100),
    (500, 120_000),
    (750, 388_000),
    (900, 1_116_000),
    (950, 2_100_000),
    (990, 6_869_000),
    (999, 25_950_000),
    (1_000, 301_000_000),
];
/// Milliseconds that an interactive task runs: log-normal, median 0.68 s, sigma 2.36.
const INTERACTIVE_MS: Quantiles =
    &[(0, 1), (100, 33), (500, 684), (750, 3_360), (900, 14_060), (990, 165_000), (1_000, 600_000)];
/// How many tasks a piece of batch work has: a negative binomial of median 1 and mean 52.
const TASKS: Quantiles =
    &[(0, 1), (500, 1), (750, 3), (900, 60), (950, 200), (990, 900), (1_000, 2_900)];
/// Between two pieces of batch work, in thousandths of the mean: Weibull of shape 0.54.
const GAP: Quantiles = &[
    (0, 0),
    (100, 9),
    (250, 57),
    (500, 290),
    (750, 1_046),
    (900, 2_679),
    (950, 4_361),
    (990, 9_672),
    (1_000, 25_000),
];
/// How busy each two hours of the day are, in thousandths of the mean.
const DIURNAL: [u64; 12] =
    [700, 600, 600, 700, 900, 1_200, 1_300, 1_300, 1_250, 1_200, 1_150, 1_100];

/// Tasks that are all alike and come together.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) arrived_s: u64,
    pub(super) resources: Resources,
    pub(super) tasks_left: u64,
    pub(super) run_ms: u64,
}

fn draw(dice: &mut Dice, quantiles: Quantiles) -> u64 {
    let at = dice.number(0..=999_999);
    let above = quantiles.iter().position(|(part, _)| part * 1_000 > at).unwrap_or(1).max(1);
    let ((from, low), (to, high)) = (quantiles[above - 1], quantiles[above]);
    low + (high - low) * (at - from * 1_000) / ((to - from) * 1_000)
}

/// A piece of batch work: one in three fails half way, and half of its tasks never start.
pub(super) fn batch(dice: &mut Dice, now_s: u64) -> Work {
    let fails = dice.chance(350);
    let (tasks, run_ms) = (draw(dice, TASKS), draw(dice, BATCH_MS));
    Work {
        arrived_s: now_s,
        resources: resources(draw(dice, CPUS_MILLIS), draw(dice, MEM_MB), dice.chance(500)),
        tasks_left: if fails { tasks.div_ceil(2) } else { tasks },
        run_ms: if fails { run_ms / 2 } else { run_ms },
    }
}

/// A service: a few tasks for days.
pub(super) fn service(dice: &mut Dice, now_s: u64) -> Work {
    Work {
        arrived_s: now_s,
        resources: resources(draw(dice, CPUS_MILLIS), draw(dice, MEM_MB), false),
        tasks_left: dice.number(1..=6),
        run_ms: dice.number(86_400_000..=6 * 86_400_000),
    }
}

pub(super) fn interactive(dice: &mut Dice, now_s: u64) -> Work {
    let (resources, run_ms) = (resources(1_000, 2_048, false), draw(dice, INTERACTIVE_MS));
    Work { arrived_s: now_s, resources, tasks_left: 1, run_ms }
}

fn resources(cpus_millis: u64, mem_mb: u64, gpu: bool) -> Resources {
    let (cpus, rest) = (cpus_millis / 1_000, cpus_millis % 1_000);
    let gpu = if gpu { ";gpus:1" } else { "" };
    format!("cpus:{cpus}.{rest:03};mem:{mem_mb}{gpu}").parse().expect("a resource text")
}

/// Seconds until the next piece of batch work, when one comes every `mean_s` on average.
pub(super) fn gap_s(dice: &mut Dice, now_s: u64, mean_s: u64) -> u64 {
    let hour = usize::try_from(now_s % super::DAY_S / 7_200).unwrap_or(0);
    draw(dice, GAP) * mean_s / DIURNAL[hour]
}

/// One of so many frameworks: the first has the most, as by Zipf's law with exponent 1.2.
pub(super) fn framework(dice: &mut Dice, count: usize) -> usize {
    const SHARES: [u64; 12] = [1000, 435, 268, 189, 145, 116, 97, 82, 72, 63, 56, 51];
    let shares = &SHARES[..count.min(SHARES.len())];
    let mut at = dice.number(0..=shares.iter().sum::<u64>() - 1);
    for (index, share) in shares.iter().enumerate() {
        if at < *share {
            return index;
        }
        at -= share;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_as_published() {
        let mut dice = Dice::new(1);
        let count = 100_000;
        let mean = |dice: &mut Dice, quantiles| {
            (0..count).map(|_| draw(dice, quantiles)).sum::<u64>() / count
        };
        assert!((9_500..11_500).contains(&mean(&mut dice, CPUS_MILLIS)), "10.5 processors");
        assert!((34_000..40_000).contains(&mean(&mut dice, MEM_MB)), "36.4 GiB");
        assert!((40..65).contains(&mean(&mut dice, TASKS)), "52 tasks");
        assert!((400_000..900_000).contains(&mean(&mut dice, BATCH_MS)), "545 s");
        assert!((900..1_200).contains(&mean(&mut dice, GAP)), "the mean");
    }
}
