//! Which benches there are, and how one is run by name.

use anyhow::bail;

use super::figures::Figures;
use super::{allocator, bare, disk, failover, idle, launch, rebuild, registry};
use crate::cmd;

/// A measurement that can be asked for by name.
#[derive(Debug)]
pub struct Bench {
    /// What is typed after `cargo xtask bench`.
    pub name: &'static str,
    /// What it measures, in one line.
    pub about: &'static str,
    /// Measures; progress goes to standard error.
    pub run: fn() -> anyhow::Result<Figures>,
}

/// Every bench there is.
pub const BENCHES: &[Bench] = &[
    allocator::BENCH,
    bare::BENCH,
    disk::BENCH,
    failover::BENCH,
    idle::BENCH,
    launch::BENCH,
    rebuild::BENCH,
    registry::BENCH,
];

/// Runs one bench and prints its figures, or lists the benches when no name is given.
///
/// # Errors
/// When the name is unknown (the error lists the known ones) or the measurement failed.
pub fn command(name: Option<&str>, json: bool) -> anyhow::Result<()> {
    let Some(name) = name else {
        if json {
            bail!("--json needs the name of a bench, one of: {}", known_names());
        }
        for bench in BENCHES {
            cmd::say(format_args!("{:<10} {}", bench.name, bench.about));
        }
        return Ok(());
    };
    let figures = (find(name)?.run)()?;
    cmd::say(if json { figures.to_json() } else { figures.to_table() });
    Ok(())
}

fn find(name: &str) -> anyhow::Result<&'static Bench> {
    match BENCHES.iter().find(|bench| bench.name == name) {
        Some(bench) => Ok(bench),
        None => bail!("there is no bench \"{name}\", the known ones are: {}", known_names()),
    }
}

fn known_names() -> String {
    BENCHES.iter().map(|bench| bench.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = find("no-such-bench").unwrap_err().to_string();
        assert!(BENCHES.iter().all(|bench| error.contains(bench.name)), "{error}");
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BENCHES.len());
    }
}
