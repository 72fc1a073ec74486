//! What a durable change of the registry costs on three voters, beside the disk's own append and fdatasync.

use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use super::Bench;
use super::figures::Figures;
use super::release;
use crate::cmd;

/// `cargo xtask bench registry`.
pub const BENCH: Bench = Bench {
    name: "registry",
    about: "durable registry writes on three voters with 1 and 16 writers, beside the disk's fdatasync",
    run: bench,
};

/// How long each of the four measurements takes, in slices that take turns.
const SECONDS: u32 = 10;

fn bench() -> anyhow::Result<Figures> {
    let program = release::example("commit_cost")?;
    let folder = cmd::workspace_root().join("target");
    let mut command = Command::new(program);
    command.arg(folder).arg(SECONDS.to_string()).arg("--json");
    let told: Value = serde_json::from_str(&cmd::capture(&mut command)?)
        .context("the measuring program printed no JSON")?;
    let mut figures = Figures::default();
    for (part, name) in [
        ("disk", "fdatasync"),
        ("one_voter", "commit_1_voter"),
        ("three_voters", "commit_1_writer"),
        ("many_writers", "commit_16_writers"),
    ] {
        let number = |key: &str| {
            told[part][key].as_f64().with_context(|| format!("no {part}.{key} in {told}"))
        };
        figures.add(&format!("{name}_p50_ms"), number("p50_us")? / 1_000.0, "ms")?;
        figures.add(&format!("{name}_p99_ms"), number("p99_us")? / 1_000.0, "ms")?;
        figures.add(&format!("{name}_rate_per_s"), number("rate_per_s")?, "1/s")?;
    }
    let p50 = |part: &str| told[part]["p50_us"].as_f64().unwrap_or(f64::NAN);
    let ratio = p50("three_voters") / p50("disk");
    figures.add("commit_p50_in_fdatasyncs", ratio, "fdatasyncs")?;
    Ok(figures)
}
