//! Finds out which control groups this machine has, through cgroups-rs, and whether we may use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cgroups_rs::fs::Controllers;
use cgroups_rs::fs::hierarchies::{V1, is_cgroup2_unified_mode};

use super::tree::KernelTree;
use super::{CgroupBackend, V1Backend, V1Mounts, V2Backend};

/// Where version 2 is mounted on machines that have only it.
const UNIFIED_ROOT: &str = "/sys/fs/cgroup";

/// Why control groups cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unusable {
    /// A whole sentence.
    pub reason: String,
}

/// The backend for this machine, with `meshos/<tag>` made in it.
///
/// Being root is asked for first: a delegated tree of another user would take the limits but could not be entered by
/// processes of a third one.
pub fn detect(tag: &str) -> Result<Arc<dyn CgroupBackend>, Unusable> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Unusable { reason: "the node does not run as root".to_owned() });
    }
    let unusable = |error: crate::isolator::IsolatorError| Unusable { reason: error.to_string() };
    if is_cgroup2_unified_mode() {
        let backend =
            V2Backend::open(KernelTree, Path::new(UNIFIED_ROOT), tag).map_err(unusable)?;
        return Ok(Arc::new(backend));
    }
    let mounts = v1_mounts()?;
    Ok(Arc::new(V1Backend::open(&mounts, tag).map_err(unusable)?))
}

fn v1_mounts() -> Result<V1Mounts, Unusable> {
    let hierarchy = V1::new();
    let mount = |controller: Controllers| hierarchy.get_mount_point(controller).map(|(at, _)| at);
    let needed = |controller: Controllers, name: &str| {
        mount(controller).ok_or_else(|| Unusable {
            reason: format!("the cgroup controller {name:?} is not mounted"),
        })
    };
    let cpu = needed(Controllers::Cpu, "cpu")?;
    Ok(V1Mounts {
        cpuacct: mount(Controllers::CpuAcct),
        cpu,
        memory: needed(Controllers::Mem, "memory")?,
        pids: needed(Controllers::Pids, "pids")?,
        freezer: mount(Controllers::Freezer),
        unified: unified_mount(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
    })
}

/// The mount point of the version 2 tree of a hybrid machine, which cgroups-rs leaves aside.
fn unified_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_cgroup2 = after.split(' ').next() == Some("cgroup2");
        is_cgroup2.then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_tree_is_found_beside_version_1() {
        let text = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    41 25 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(unified_mount(text), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(unified_mount("30 25 0:26 / /x rw - cgroup cgroup rw,cpu\n"), None);
    }
}
