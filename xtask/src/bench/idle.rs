//! What a node costs while nothing happens.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::Bench;
use super::cluster::OneNode;
use super::cpu;
use super::figures::Figures;
use super::folder::Folder;

/// `cargo xtask bench idle`.
pub const BENCH: Bench =
    Bench { name: "idle", about: "resident memory and CPU time of a node at rest", run: bench };

/// How long the node is left to settle, and how long it is then watched.
const SETTLE: Duration = Duration::from_secs(5);
const WATCH: Duration = Duration::from_secs(20);

fn bench() -> anyhow::Result<Figures> {
    let folder = Folder::new("idle");
    let node = OneNode::start(folder.path().to_owned(), "posix/cpu,posix/mem")?;
    let processes = node.processes()?;
    std::thread::sleep(SETTLE);
    let (begun, before) = (Instant::now(), cpu::of_trees(&processes)?);
    std::thread::sleep(WATCH);
    let spent = cpu::of_trees(&processes)? - before;
    let mut figures = Figures::default();
    let share = spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    figures.add("idle_cpu_percent_of_a_core", share * 100.0, "%")?;
    figures.add("idle_node_rss_mb", resident_mb(processes[0])?, "MB")?;
    figures.add("idle_launcher_rss_mb", resident_mb(processes[1])?, "MB")?;
    Ok(figures)
}

fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
