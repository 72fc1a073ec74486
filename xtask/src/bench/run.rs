//! How long one task takes from `meshos run` to its exit, through a node that does not lead.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::dev::DevCluster;
use super::disk;
use super::figures::{Figures, milliseconds, percentile};
use super::folder::Folder;
use crate::cmd;

/// Runs that are measured, after some that fill caches.
const RUNS: u32 = 60;
const WARM_UP: u32 = 5;
const SYNCS: u32 = 300;

/// Adds the figures. The durable writes are those that waited for the disk: commits of the registry (the voters write at
/// the same time) and transactions of agents' records. The last of them, with which a record is forgotten, is waited for
/// by nobody.
///
/// # Errors
/// When the cluster does not come up or a run fails.
pub fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    // The nodes' data and the yardstick are on the same disk.
    let folder = Folder::new("run");
    let cluster = DevCluster::start_in(3, &folder.path().join("cluster"))?;
    let sync = disk::measure(folder.path(), SYNCS)?;
    let follower = cluster.follower()?;
    let run = || -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut command = cluster.command(&follower);
        command.args(["run", "--quiet", "--", "/bin/true"]);
        cmd::run(command.stdout(Stdio::null()))?;
        Ok(start.elapsed())
    };
    for _ in 0..WARM_UP {
        run()?;
    }
    let before = writes(&cluster)?;
    let mut times = (0..RUNS).map(|_| run()).collect::<anyhow::Result<Vec<_>>>()?;
    let after = writes(&cluster)?;
    let p50 = percentile(&mut times, 50).context("nothing was run")?;
    let p99 = percentile(&mut times, 99).context("nothing was run")?;
    figures.add("run_p50_ms", milliseconds(p50), "ms")?;
    figures.add("run_p99_ms", milliseconds(p99), "ms")?;
    let each = |after: f64, before: f64| (after - before) / f64::from(RUNS);
    figures.add("run_registry_commits", each(after.0, before.0), "a run")?;
    figures.add("run_agent_writes", each(after.1, before.1), "a run")?;
    figures.add("run_fdatasync_p50_ms", milliseconds(sync.p50), "ms")?;
    Ok(())
}

/// Entries committed, and transactions of agents' records.
fn writes(cluster: &DevCluster) -> anyhow::Result<(f64, f64)> {
    let commits = cluster.metric("meshos_raft_commit_index")?;
    let stores = cluster.metric("meshos_agent_store_writes_total")?;
    Ok((commits.into_iter().fold(0.0, f64::max), stores.into_iter().sum()))
}
