//! What a short task costs on its way through offer, accept, launch, end and acknowledgement on one node, beside a bare
//! loop of fork, exec and wait in the same run.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use super::Bench;
use super::bare;
use super::cluster::OneNode;
use super::cpu;
use super::figures::{Figures, milliseconds};
use super::folder::Folder;
use super::{release, run};
use crate::cmd;

/// `cargo xtask bench launch`.
pub const BENCH: Bench = Bench {
    name: "launch",
    about: "CPU time, rate and latency of short tasks on one node, beside a bare loop",
    run: bench,
};

const TASKS: u32 = 2_000;
const WARM_UP: u32 = 200;

fn bench() -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let bare = bare::measure(TASKS)?;
    figures.add("bare_cpu_ms", milliseconds(bare.cpu_per_task()), "ms")?;
    figures.add("bare_rate_per_s", bare.rate_per_s(), "1/s")?;
    let folder = Folder::new("launch");
    let posix = measure(folder.path(), ("posix", "posix/cpu,posix/mem"))?;
    figures.add("launch_cpu_posix_ms", posix.cpu_ms, "ms")?;
    figures.add("launch_rate_per_s", posix.rate_per_s, "1/s")?;
    figures.add("launch_running_p50_ms", posix.running_p50_ms, "ms")?;
    figures.add("launch_running_p99_ms", posix.running_p99_ms, "ms")?;
    if cmd::is_root() {
        let isolation = "cgroups/cpu,cgroups/mem,cgroups/pids";
        let cgroups = measure(folder.path(), ("cgroups", isolation))?;
        figures.add("launch_cpu_cgroups_ms", cgroups.cpu_ms, "ms")?;
        figures.add("launch_rate_cgroups_per_s", cgroups.rate_per_s, "1/s")?;
    }
    let again = bare::measure(TASKS)?;
    run::measure(&mut figures)?;
    figures.add("bare_cpu_after_ms", milliseconds(again.cpu_per_task()), "ms")?;
    Ok(figures)
}

struct Cost {
    cpu_ms: f64,
    rate_per_s: f64,
    running_p50_ms: f64,
    running_p99_ms: f64,
}

fn measure(folder: &Path, (name, isolation): (&str, &str)) -> anyhow::Result<Cost> {
    let burst = release::example("burst")?;
    let node = OneNode::start(folder.join(name), isolation)?;
    let credentials = node.framework_credentials()?;
    let run = |tasks: u32| -> anyhow::Result<Value> {
        let mut command = Command::new(&burst);
        command.arg("--node").arg(node.quic()).arg("--credentials").arg(&credentials);
        command.arg("--tasks").arg(tasks.to_string());
        serde_json::from_str(&cmd::capture(&mut command)?).context("the burst printed no JSON")
    };
    run(WARM_UP)?;
    let processes = node.processes()?;
    let before = cpu::of_trees(&processes)?;
    let told = run(TASKS)?;
    let spent = cpu::of_trees(&processes)? - before;
    let number = |name: &str| told[name].as_f64().with_context(|| format!("no {name} in {told}"));
    anyhow::ensure!(number("failed")? == 0.0, "tasks failed: {told}");
    Ok(Cost {
        cpu_ms: milliseconds(spent) / f64::from(TASKS),
        rate_per_s: number("rate_per_s")?,
        running_p50_ms: number("running_p50_us")? / 1_000.0,
        running_p99_ms: number("running_p99_us")? / 1_000.0,
    })
}
