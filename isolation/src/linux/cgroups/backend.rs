//! What an isolator needs from control groups, and the arithmetic that both versions share.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::container::{ContainerId, Limits};
use crate::isolator::IsolatorError;
use crate::linux::process;

/// What a cgroup is for. On version 1 each is a directory of its own, on version 2 they share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Controller {
    /// Processor weight and quota.
    Cpu,
    /// Memory limit.
    Memory,
    /// Number of processes and threads.
    Pids,
    /// Nothing but membership: to find and to kill everything in the container.
    Tracking,
}

/// What an isolator needs from control groups. Every path lies below `meshos/<tag>/<container>`; nothing else is
/// touched.
pub trait CgroupBackend: Send + Sync + fmt::Debug {
    /// Makes the container's directory. It may exist already.
    fn create(&self, container: &ContainerId, what: Controller) -> Result<(), IsolatorError>;
    /// The container's directory; how a process gets in is the matter of `linux::entrance`.
    fn directory(&self, container: &ContainerId, what: Controller) -> PathBuf;
    /// Weighs the processor by the cpus of `limits`, and caps it at them when `quota`.
    fn set_cpu(
        &self,
        container: &ContainerId,
        limits: &Limits,
        quota: bool,
    ) -> Result<(), IsolatorError>;
    /// Limits memory (and swap with it), and watches for the limit to be hit.
    fn set_memory(&self, container: &ContainerId, bytes: u64) -> Result<(), IsolatorError>;
    /// Changes a memory limit that is set; `raise` says in which direction.
    fn change_memory(
        &self,
        container: &ContainerId,
        bytes: u64,
        raise: bool,
    ) -> Result<(), IsolatorError>;
    /// Limits processes and threads.
    fn set_pids(&self, container: &ContainerId, max: u32) -> Result<(), IsolatorError>;
    /// Watches a container for OOM again that an earlier process of this node has set up.
    fn adopt(&self, container: &ContainerId) -> Result<(), IsolatorError>;
    /// What the kernel counted about OOM in the container.
    fn oom(&self, container: &ContainerId) -> Result<OomReport, IsolatorError>;
    /// Becomes readable when a container may have hit its memory limit, where the kernel does not kill the whole
    /// container by itself.
    fn oom_alarm(&self) -> Option<BorrowedFd<'_>>;
    /// The containers behind the alarm, each told once.
    fn oom_alarmed(&self) -> Vec<ContainerId>;
    /// Processor time.
    fn cpu_usage(&self, container: &ContainerId) -> Result<CpuUsage, IsolatorError>;
    /// Memory in use.
    fn memory_usage(&self, container: &ContainerId) -> Result<MemoryUsage, IsolatorError>;
    /// Processes and threads.
    fn processes(&self, container: &ContainerId) -> Result<u64, IsolatorError>;
    /// Removes the container's directory. It may be gone already; it must be empty of processes.
    fn remove(&self, container: &ContainerId, what: Controller) -> Result<(), IsolatorError>;
    /// The containers that have a directory.
    fn list(&self, what: Controller) -> Result<Vec<ContainerId>, IsolatorError>;
    /// Removes the node's own directories, if no container is left in them.
    fn remove_parents(&self);
}

/// What the kernel counted about running out of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OomReport {
    /// Processes killed because of the container's own limit.
    pub kills: u64,
    /// The limit, in bytes.
    pub limit_bytes: u64,
    /// The highest use, in bytes; 0 when the kernel does not say.
    pub usage_max_bytes: u64,
}

/// Processor time of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// In user mode, in microseconds.
    pub user_us: Option<u64>,
    /// In the kernel, in microseconds.
    pub system_us: Option<u64>,
    /// Periods in which the quota held the container back.
    pub throttled_periods: Option<u64>,
}

/// Memory of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// In use, in bytes.
    pub bytes: u64,
    /// The limit, in bytes, if there is one.
    pub limit_bytes: Option<u64>,
}

/// Kills everything in a cgroup, at once where the kernel can (`cgroup.kill`, since Linux 5.14), otherwise one by one.
/// Tells whether anything was there to kill; it may take a moment to end, so this is called again until nothing is.
pub(crate) fn kill(directory: &Path) -> io::Result<bool> {
    // `write` on a cgroup file never makes one: cgroupfs does not allow it, and the trees of tests are not killed in.
    match fs::write(directory.join("cgroup.kill"), "1") {
        Ok(()) => return populated(directory),
        Err(_) if !directory.exists() => return Ok(false),
        // A kernel before 5.14, or version 1.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
        }
        Err(error) => return Err(error),
    }
    let found = process::signal_cgroup(directory, Signal::SIGKILL)?;
    // A frozen group does not die before it is thawed.
    for (file, text) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        let path = directory.join(file);
        if path.exists() {
            fs::write(path, text)?;
        }
    }
    Ok(found > 0)
}

/// As [`kill`], until nothing is left, for a directory that no launcher looks after. Gives up after a second: what does
/// not die by then makes the removal of the directory fail, which is told.
pub(crate) fn kill_all(directory: &Path) -> Result<(), IsolatorError> {
    for _ in 0..100 {
        if !kill(directory).map_err(IsolatorError::new("kill everything in", directory))? {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

pub(super) fn populated(directory: &Path) -> io::Result<bool> {
    match fs::read_to_string(directory.join("cgroup.events")) {
        Ok(text) => Ok(text.lines().any(|line| line == "populated 1")),
        Err(_) if !directory.exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The kernel's default weight of one cpu on version 1.
pub(super) const SHARES_PER_CPU: u64 = 1024;
/// The weight of one cpu that may be taken back at any time.
pub(super) const SHARES_PER_REVOCABLE_CPU: u64 = 10;
/// The kernel's smallest and largest shares on version 1.
pub(super) const SHARES_MIN: u64 = 2;
pub(super) const SHARES_MAX: u64 = 262_144;
/// The period of the quota, in microseconds: the kernel's default.
pub(super) const CFS_PERIOD_US: u64 = 100_000;
/// The smallest quota that the kernel takes, in microseconds.
pub(super) const CFS_QUOTA_US_MIN: u64 = 1_000;

/// `cpu.shares` of a container's cpus: 1024 for each, and 10 for each that is revocable, so that what was lent hardly
/// slows down whom it was lent by. Those are Mesos's numbers (`CPU_SHARES_PER_CPU` and `CPU_SHARES_PER_CPU_REVOCABLE`, with
/// its agent's `--revocable_cpu_low_priority`, which is on by default). A container with both kinds has the sum;
/// Mesos refuses such tasks, and weighs an executor that has both as if all of it were revocable.
pub(super) fn cpu_shares(limits: &Limits) -> u64 {
    let revocable = limits.revocable_cpus_millis.min(limits.cpus_millis);
    let kept = u64::from(limits.cpus_millis - revocable) * SHARES_PER_CPU;
    let lent = u64::from(revocable) * SHARES_PER_REVOCABLE_CPU;
    ((kept + lent) / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

/// `cpu.weight` of version 2 from shares of version 1, by the formula that the OCI runtimes share:
/// 2..=262144 is mapped linearly to 1..=10000.
pub(super) fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.clamp(SHARES_MIN, SHARES_MAX) - SHARES_MIN) * 9_999 / (SHARES_MAX - SHARES_MIN)
}

/// The quota of a number of cpus, in microseconds per [`CFS_PERIOD_US`].
pub(super) fn cfs_quota_us(cpus_millis: u32) -> u64 {
    (u64::from(cpus_millis) * CFS_PERIOD_US / 1000).max(CFS_QUOTA_US_MIN)
}

/// The number behind `key` in a file of lines `key number`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_weights_and_quotas_follow_their_formulas() {
        let shares = |cpus_millis, revocable_cpus_millis| {
            cpu_shares(&Limits { cpus_millis, revocable_cpus_millis, ..Limits::default() })
        };
        assert_eq!(shares(1000, 0), 1024);
        assert_eq!(shares(500, 0), 512);
        assert_eq!(shares(0, 0), 2);
        assert_eq!(shares(u32::MAX, 0), SHARES_MAX);
        assert_eq!(shares(1000, 1000), 10);
        assert_eq!(shares(100, 100), 2, "the least that the kernel takes");
        assert_eq!(shares(3000, 2000), 1024 + 20);
        assert_eq!(shares(1000, 2000), 10, "no more is lent than there is");
        assert_eq!((cpu_weight(shares(1000, 1000)), cpu_weight(shares(8000, 8000))), (1, 3));
        assert_eq!(cpu_weight(2), 1);
        assert_eq!(cpu_weight(1024), 39);
        assert_eq!(cpu_weight(262_144), 10_000);
        assert_eq!(cfs_quota_us(2500), 250_000);
        assert_eq!(cfs_quota_us(1), CFS_QUOTA_US_MIN);
    }

    #[test]
    fn everything_is_killed_at_once_where_the_kernel_can() {
        let group = tempfile::tempdir().unwrap();
        let (kill_file, events) =
            (group.path().join("cgroup.kill"), group.path().join("cgroup.events"));
        fs::write(&kill_file, "").unwrap();
        for (populated, left) in
            [("populated 1\nfrozen 0\n", true), ("populated 0\nfrozen 1\n", false)]
        {
            fs::write(&events, populated).unwrap();
            assert_eq!(kill(group.path()).unwrap(), left);
            assert_eq!(fs::read_to_string(&kill_file).unwrap(), "1");
        }
        assert!(!kill(&group.path().join("gone")).unwrap());
    }

    #[test]
    fn keyed_files_are_read_by_whole_keys() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(3));
        assert_eq!(keyed(text, "oom"), None);
        assert_eq!(keyed("oom_kill x\n", "oom_kill"), None);
    }
}
