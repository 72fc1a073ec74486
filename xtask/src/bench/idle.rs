//! What a node costs while nothing happens.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::Bench;
use super::cluster::OneNode;
use super::cpu;
use super::dev::DevCluster;
use super::figures::Figures;
use super::folder::Folder;

/// `cargo xtask bench idle`.
pub const BENCH: Bench =
    Bench { name: "idle", about: "resident memory and CPU time of a node at rest", run: bench };

/// How long the node is left to settle, and how long it is then watched.
const SETTLE: Duration = Duration::from_secs(5);
const WATCH: Duration = Duration::from_secs(20);

fn bench() -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    alone(&mut figures)?;
    in_a_cluster(&mut figures)?;
    Ok(figures)
}

/// One node that is a cluster of its own, with its launcher.
fn alone(figures: &mut Figures) -> anyhow::Result<()> {
    let folder = Folder::new("idle");
    let node = OneNode::start(folder.path().to_owned(), "posix/cpu,posix/mem")?;
    let processes = node.processes()?;
    let [share] = shares([processes.clone()])?;
    figures.add("idle_cpu_percent_of_a_core", share * 100.0, "%")?;
    figures.add("idle_node_rss_mb", resident_mb(processes[0])?, "MB")?;
    figures.add("idle_launcher_rss_mb", resident_mb(processes[1])?, "MB")?;
    Ok(())
}

/// Voters of a cluster of three, which gossip and send heartbeats.
fn in_a_cluster(figures: &mut Figures) -> anyhow::Result<()> {
    let cluster = DevCluster::start(3)?;
    let processes = cluster.processes()?;
    let [leader, follower, ..] = processes[..] else { anyhow::bail!("the cluster has one node") };
    let [of_leader, of_follower] = shares([vec![leader], vec![follower]])?;
    figures.add("idle_leader_cpu_percent_of_a_core", of_leader * 100.0, "%")?;
    figures.add("idle_follower_cpu_percent_of_a_core", of_follower * 100.0, "%")?;
    figures.add("idle_leader_rss_mb", resident_mb(leader)?, "MB")?;
    figures.add("idle_follower_rss_mb", resident_mb(follower)?, "MB")?;
    Ok(())
}

/// The share of a core that each of these trees of processes takes once it has settled.
fn shares<const N: usize>(trees: [Vec<u32>; N]) -> anyhow::Result<[f64; N]> {
    std::thread::sleep(SETTLE);
    let look = || trees.iter().map(|tree| cpu::of_trees(tree)).collect::<anyhow::Result<Vec<_>>>();
    let (begun, before) = (Instant::now(), look()?);
    std::thread::sleep(WATCH);
    let (after, elapsed) = (look()?, begun.elapsed());
    Ok(std::array::from_fn(|index| {
        (after[index] - before[index]).as_secs_f64() / elapsed.as_secs_f64()
    }))
}

fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
