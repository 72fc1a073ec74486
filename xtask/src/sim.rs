//! `cargo xtask sim`: starts the simulator's own program, which owns seeds and invariants.

use crate::cmd;

/// The simulator's program.
pub const BINARY: &str = "meshos-sim";

/// Runs one seed, random seeds for some minutes, or, when neither is given, the fixed seeds.
///
/// # Errors
/// When the simulator cannot be built or found a violated invariant.
pub fn run(seed: Option<u64>, minutes: Option<u64>) -> anyhow::Result<()> {
    let mut command = cmd::cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--package",
        "meshos-sim",
        "--bin",
        BINARY,
        "--",
    ]);
    command.args(arguments(seed, minutes));
    cmd::run(&mut command)
}

fn arguments(seed: Option<u64>, minutes: Option<u64>) -> Vec<String> {
    match (seed, minutes) {
        (Some(seed), _) => vec!["--seed".to_owned(), seed.to_string()],
        (None, Some(minutes)) => vec!["--minutes".to_owned(), minutes.to_string()],
        (None, None) => vec!["--fixed".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn a_seed_is_replayed_minutes_are_random_and_nothing_means_the_fixed_seeds() {
        assert_eq!(arguments(Some(7), None), ["--seed", "7"]);
        assert_eq!(arguments(None, Some(30)), ["--minutes", "30"]);
        assert_eq!(arguments(None, None), ["--fixed"]);
    }
}
