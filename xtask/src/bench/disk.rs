//! The yardstick for durable writes: what one small append with fdatasync costs on the disk at hand.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Bench;
use super::figures::{Figures, milliseconds, percentile};
use crate::cmd;

/// `cargo xtask bench disk`.
pub const BENCH: Bench = Bench {
    name: "disk",
    about: "p50, p99 and rate of 300-byte appends with fdatasync, under target/",
    run: bench,
};

/// About the size of one registry command.
const RECORD_BYTES: usize = 300;
const WRITES: u32 = 500;

fn bench() -> anyhow::Result<Figures> {
    let folder = cmd::workspace_root().join("target");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let sync = measure(&folder, WRITES)?;
    let mut figures = Figures::default();
    figures.add("fdatasync_p50_ms", milliseconds(sync.p50), "ms")?;
    figures.add("fdatasync_p99_ms", milliseconds(sync.p99), "ms")?;
    figures.add("fdatasync_rate_per_s", f64::from(WRITES) / sync.wall.as_secs_f64(), "1/s")?;
    Ok(figures)
}

/// What appends with fdatasync cost.
#[derive(Debug, Clone, Copy)]
pub struct SyncCost {
    /// Half of the appends were at most this slow.
    pub p50: Duration,
    /// 99 in 100 of the appends were at most this slow.
    pub p99: Duration,
    /// All of them, one after the other.
    pub wall: Duration,
}

/// Appends that many records to a new file in `folder`, each followed by fdatasync, and removes the file.
///
/// # Errors
/// When the file cannot be written or `writes` is 0.
pub fn measure(folder: &Path, writes: u32) -> anyhow::Result<SyncCost> {
    let path = folder.join(format!(".fdatasync-{}", std::process::id()));
    let outcome =
        measure_file(&path, writes).with_context(|| format!("cannot measure {}", path.display()));
    if path.exists() {
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    outcome
}

fn measure_file(path: &Path, writes: u32) -> anyhow::Result<SyncCost> {
    let mut file = OpenOptions::new().create_new(true).append(true).open(path)?;
    let record = [0x5a_u8; RECORD_BYTES];
    let mut samples = Vec::new();
    let start = Instant::now();
    for _ in 0..writes {
        let write_start = Instant::now();
        file.write_all(&record)?;
        // On Linux this is fdatasync(2).
        file.sync_data()?;
        samples.push(write_start.elapsed());
    }
    let wall = start.elapsed();
    match (percentile(&mut samples, 50), percentile(&mut samples, 99)) {
        (Some(p50), Some(p99)) => Ok(SyncCost { p50, p99, wall }),
        _ => bail!("no writes were asked for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_measured_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let cost = measure(folder.path(), 5).unwrap();
        assert!(
            cost.p50 > Duration::ZERO && cost.p50 <= cost.p99 && cost.p99 <= cost.wall,
            "{cost:?}"
        );
        assert!(measure(folder.path(), 0).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = format!("{:#}", measure(Path::new("/nonexistent/folder"), 1).unwrap_err());
        assert!(error.contains("/nonexistent/folder"), "{error}");
    }
}
