//! How many instructions an allocation run takes, counted by valgrind's callgrind: the same on a busy machine as on an
//! idle one, so that a change of the code shows where a change of the time would be noise.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::figures::Figures;
use crate::cmd;

/// The cases that are counted: the figure, the case of the measuring program, and in how many rounds.
const CASES: [(&str, &str, u32); 2] =
    [("decline_10k_1k_minstr", "decline_10k_1k_ms", 3), ("quota_3k_minstr", "quota_3k_ms", 3)];

/// Adds the figures, in millions of instructions a run, or says that there is no valgrind.
///
/// # Errors
/// When the measuring program or callgrind fails.
pub fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    if !cmd::succeeds(Command::new("valgrind").arg("--version")) {
        cmd::complain("no instructions are counted, because valgrind is not installed");
        return Ok(());
    }
    let target = cmd::workspace_root().join("target");
    let program = target.join("release/examples/allocator");
    let counts = target.join("callgrind.allocator.out");
    for (figure, case, rounds) in CASES {
        let mut command = Command::new("valgrind");
        command
            .args(["-q", "--tool=callgrind", "--collect-atstart=no"])
            .arg("--toggle-collect=*counted_run*")
            .arg(format!("--callgrind-out-file={}", counts.display()))
            .arg(&program)
            .args([case, &rounds.to_string()]);
        cmd::capture(&mut command)?;
        let all = instructions_in(&counts)?;
        figures.add(figure, all / f64::from(rounds) / 1e6, "million")?;
    }
    std::fs::remove_file(&counts).context("cannot remove callgrind's counts")
}

fn instructions_in(counts: &Path) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(counts)
        .with_context(|| format!("cannot read {}", counts.display()))?;
    total_of(&text)
}

/// The instructions of all functions, as callgrind's file says.
fn total_of(text: &str) -> anyhow::Result<f64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.context("callgrind counted nothing")?.trim().parse().context("callgrind's total")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_among_the_counts() {
        assert_eq!(total_of("events: Ir\nfn=(1) a\n1 5\n\ntotals: 1234\n").unwrap(), 1234.0);
        assert!(total_of("events: Ir\n").is_err());
    }
}
