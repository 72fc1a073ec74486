//! What a durable change of the registry costs on three voters, beside the disk's own append and fdatasync: on a cluster of
//! three nodes, over HTTP, and the raft commit alone, in one process.

use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::Bench;
use super::dev::DevCluster;
use super::disk;
use super::figures::{Figures, milliseconds, percentile};
use super::folder::Folder;
use super::release;
use super::writers::{Written, write};
use crate::cmd;

/// `cargo xtask bench registry`.
pub const BENCH: Bench = Bench {
    name: "registry",
    about: "durable registry writes on three voters with 1 and 16 writers, beside the disk's fdatasync",
    run: bench,
};

/// How long each of the measurements takes, in slices that take turns.
const SECONDS: u32 = 10;
const SLICES: u32 = 10;
/// Appends in each slice of the disk's own measurement.
const SYNCS: u32 = 500;

fn bench() -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    on_nodes(&mut figures)?;
    in_process(&mut figures)?;
    Ok(figures)
}

/// Calls to the leader of a cluster of real nodes, answered when they are committed.
fn on_nodes(figures: &mut Figures) -> anyhow::Result<()> {
    // The nodes' data and the yardstick are on the same disk.
    let folder = Folder::new("registry");
    let cluster = DevCluster::start_in(3, &folder.path().join("cluster"))?;
    let folder = folder.path();
    let first = &cluster.addresses()[0];
    let (leader, _) = cluster.leader_of(first).context("nobody leads")?;
    let slice = Duration::from_secs(SECONDS.into()) / SLICES;
    write(&leader, 1, slice)?;
    let mut syncs = Vec::new();
    let (mut one, mut many) = (Written::default(), Written::default());
    for _ in 0..SLICES {
        syncs.push(disk::measure(folder, SYNCS)?.p50);
        one.add(write(&leader, 1, slice)?);
        many.add(write(&leader, 16, slice)?);
    }
    let sync = percentile(&mut syncs, 50).context("nothing was measured")?;
    figures.add("fdatasync_beside_p50_ms", milliseconds(sync), "ms")?;
    for (name, written) in [("write_1_writer", &mut one), ("write_16_writers", &mut many)] {
        for percent in [50, 99] {
            let time =
                percentile(&mut written.latencies, percent).context("nothing was written")?;
            figures.add(&format!("{name}_p{percent}_ms"), milliseconds(time), "ms")?;
        }
        figures.add(&format!("{name}_rate_per_s"), written.rate_per_s(), "1/s")?;
    }
    let p50 = percentile(&mut one.latencies, 50).context("nothing was written")?;
    let ratio = p50.as_secs_f64() / sync.as_secs_f64();
    figures.add("write_p50_in_fdatasyncs", ratio, "fdatasyncs")
}

/// The commit alone: three voters in one process that call each other directly.
fn in_process(figures: &mut Figures) -> anyhow::Result<()> {
    let program = release::example("commit_cost")?;
    let folder = cmd::workspace_root().join("target");
    let mut command = Command::new(program);
    command.arg(folder).arg(SECONDS.to_string()).arg("--json");
    let told: Value = serde_json::from_str(&cmd::capture(&mut command)?)
        .context("the measuring program printed no JSON")?;
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
    figures.add("commit_p50_in_fdatasyncs", ratio, "fdatasyncs")
}
