//! `meshos-sim`: replays one seed, runs the fixed ones, hunts with random ones, or plays days of
//! synthetic life under each policy.

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use meshos_sim::{
    run::{self, Summary},
    week::{Cluster, DAY_S, Report},
};

const USAGE: &str = "usage: meshos-sim --seed N | --fixed | --minutes M | --days D";
/// A run of the fixed seeds that takes more of the processor fails; see docs/testing.md.
const FIXED_TIME_MAX: Duration = Duration::from_secs(120);
/// The seeds that CI runs.
const FIXED: &str = include_str!("../seeds.txt");

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

fn start() -> anyhow::Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--seed", seed] => Ok(replay(seed.parse().context("--seed takes a whole number")?)),
        ["--fixed"] => fixed(),
        ["--minutes", minutes] => {
            let minutes: u64 = minutes.parse().context("--minutes takes a whole number")?;
            hunt(Duration::from_secs(minutes.saturating_mul(60)))
        }
        ["--days", days] => days_of_life(days.parse().context("--days takes a whole number")?),
        _ => bail!("{USAGE}"),
    }
}

/// Runs one seed and prints everything that happens.
fn replay(seed: u64) -> bool {
    let summary = run::seed(seed, true);
    say(format_args!("seed {seed}: {summary:?}, hash {:016x}", summary.hash));
    true
}

fn fixed() -> anyhow::Result<bool> {
    let began = Instant::now();
    let (mut count, mut echoes) = (0u32, 0u64);
    for line in FIXED.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let seed = line.split_whitespace().next().unwrap_or_default();
        let seed = seed.parse().with_context(|| format!("seeds.txt has the line {line:?}"))?;
        let Some(summary) = passes(seed) else { return Ok(false) };
        count += 1;
        echoes += summary.echoes;
    }
    let took = processor_time()?;
    say(format_args!(
        "{count} fixed seeds ran clean in {:.1?}, {took:.1?} of the processor; {echoes} frames were said twice",
        began.elapsed()
    ));
    if took > FIXED_TIME_MAX {
        say(format_args!(
            "the fixed seeds are to take less than a minute, and took {took:.1?} of the processor, more than the \
             {FIXED_TIME_MAX:.0?} that are left to slow machines: make the simulation faster or the list in seeds.txt shorter"
        ));
    }
    Ok(took <= FIXED_TIME_MAX)
}

/// What this process has taken of the processor: unlike the time on the wall, it does not depend on what else the machine
/// does.
fn processor_time() -> anyhow::Result<Duration> {
    let file = "/proc/self/schedstat";
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    nanos.map(Duration::from_nanos).with_context(|| format!("{file} has no number in front"))
}

/// Runs seeds from the system's entropy until time is up or one fails.
fn hunt(time: Duration) -> anyhow::Result<bool> {
    let began = Instant::now();
    let mut count = 0u64;
    while began.elapsed() < time {
        let seed = random_seed()?;
        count += 1;
        if passes(seed).is_none() {
            say(format_args!("{count} seeds ran, the last one failed"));
            return Ok(false);
        }
    }
    say(format_args!("{count} random seeds ran clean in {:.1?}", began.elapsed()));
    Ok(true)
}

/// Plays days of synthetic life under each policy and prints what came of it.
fn days_of_life(days: u64) -> anyhow::Result<bool> {
    let began = Instant::now();
    say(format_args!("{}", Report::HEAD));
    for policy in ["drf", "max-min:cpus", "priority", "fair-decay:1d", "random"] {
        let mut cluster = Cluster::new(&policy.parse()?, 1);
        cluster.run_s(days.saturating_mul(DAY_S));
        say(format_args!("{}", cluster.report()));
    }
    say(format_args!(
        "no law was broken in {days} days under each policy; {:.1?}",
        began.elapsed()
    ));
    Ok(true)
}

/// What a seed came to, unless it failed.
fn passes(seed: u64) -> Option<Summary> {
    let result = panic::catch_unwind(AssertUnwindSafe(|| run::seed(seed, false)));
    if result.is_err() {
        say(format_args!("seed {seed} failed; replay it with: meshos-sim --seed {seed}"));
    }
    result.ok()
}

fn random_seed() -> anyhow::Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    // Short enough to be typed again.
    Ok(u64::from_le_bytes(bytes) >> 20)
}

#[expect(clippy::print_stderr, reason = "this is what the program is for")]
fn say(what: std::fmt::Arguments<'_>) {
    eprintln!("{what}");
}
