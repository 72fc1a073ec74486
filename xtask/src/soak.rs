//! `cargo xtask soak`: a storm of kills over real processes, and the account of every task after it.

use std::process::Command;

use crate::tidy::metadata::Metadata;
use crate::{cmd, test_run};

/// The program that is the storm.
const BINARY: &str = "meshos-soak";

/// Builds everything and runs the storm.
///
/// # Errors
/// When something does not build, or a task cannot be accounted for.
pub fn run(minutes: u64, seed: Option<u64>) -> anyhow::Result<()> {
    test_run::build_everything()?;
    run_built(minutes, seed)
}

/// Runs the storm with the programs that were built with the tests: it starts them.
///
/// # Errors
/// When a task cannot be accounted for.
pub fn run_built(minutes: u64, seed: Option<u64>) -> anyhow::Result<()> {
    let metadata = Metadata::of_workspace()?;
    let program = metadata.target_directory.join("debug").join(BINARY);
    cmd::run(
        Command::new(program).current_dir(cmd::workspace_root()).args(arguments(minutes, seed)),
    )
}

fn arguments(minutes: u64, seed: Option<u64>) -> Vec<String> {
    let seed = seed.map(|seed| ["--seed".to_owned(), seed.to_string()]);
    let minutes = ["--minutes".to_owned(), minutes.to_string()];
    minutes.into_iter().chain(seed.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn the_storm_is_told_how_long_it_lasts_and_what_it_is_drawn_from() {
        assert_eq!(arguments(10, None), ["--minutes", "10"]);
        assert_eq!(arguments(1, Some(7)), ["--minutes", "1", "--seed", "7"]);
    }
}
