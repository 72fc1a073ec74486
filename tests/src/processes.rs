//! Processes that outlive their node, found in `/proc` by the directory they belong to.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use meshos_protocol::fnv::Fnv1a;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::poll_until;

/// How long killed processes may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(20);
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
const MARK: &[u8] = b"MESHOS_CONTAINER=";

/// A process of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub pid: u32,
}

impl Process {
    /// Sends SIGKILL.
    pub fn kill(self) {
        signal(self.pid, Signal::SIGKILL);
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_alive(self) -> bool {
        pid_alive(self.pid)
    }
}

/// `kill -9` of a process.
pub fn kill_process(pid: u32) {
    signal(pid, Signal::SIGKILL);
}

/// Whether there is a process of that id which is no zombie.
#[must_use]
pub fn pid_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    !matches!(state, Some("Z" | "X") | None)
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    // A process that is gone needs no signal.
    kill(Pid::from_raw(pid.cast_signed()), signal).ok();
}

/// The living processes but this one that have `directory` in their command line or in the environment they were started with:
/// nodes, launchers and the processes of containers below it.
#[must_use]
pub fn of_path(directory: &Path) -> Vec<Process> {
    let needle = directory.as_os_str().as_encoded_bytes();
    let belongs = |pid: &u32| {
        *pid != std::process::id()
            && ["cmdline", "environ"].iter().any(|file| {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                bytes.windows(needle.len()).any(|window| window == needle)
            })
            && pid_alive(*pid)
    };
    pids().filter(belongs).map(|pid| Process { pid }).collect()
}

/// The launchers whose directory is below `directory`.
#[must_use]
pub fn launchers_below(directory: &Path) -> Vec<Process> {
    let is_launcher = |process: &Process| {
        let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"launcher")
    };
    of_path(directory).into_iter().filter(is_launcher).collect()
}

/// Kills everything that belongs to `directory` and removes the cgroups of its containers.
pub fn sweep(directory: &Path) {
    let mut cgroups: Vec<PathBuf> = Vec::new();
    // Launchers first, so that nothing new is started; then whatever is left, until nothing is.
    for launcher in launchers_below(directory) {
        launcher.kill();
    }
    poll_until(END_LIMIT, "the processes of a test are gone", || {
        let left = of_path(directory);
        for process in &left {
            if let Some(tag) = tag_of(process.pid) {
                cgroups.extend(cgroups_of(&tag));
            }
            process.kill();
        }
        left.is_empty().then_some(())
    });
    cgroups.extend(cgroups_below(directory));
    cgroups.sort_unstable();
    cgroups.dedup();
    for cgroup in cgroups {
        remove_cgroup(&cgroup);
    }
}

/// What tells one node's containers from another's, out of the mark that each of their processes carries.
fn tag_of(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mark = environment.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(MARK))?;
    let tag = mark.split(|byte| *byte == b'/').next()?;
    String::from_utf8(tag.to_vec()).ok().filter(|tag| !tag.is_empty())
}

fn cgroups_of(tag: &str) -> Vec<PathBuf> {
    let trees = fs::read_dir(CGROUP_ROOT).into_iter().flatten().flatten().map(|tree| tree.path());
    let own = trees.chain([PathBuf::from(CGROUP_ROOT)]).map(|tree| tree.join("meshos").join(tag));
    own.filter(|path| path.is_dir()).collect()
}

/// The cgroups of nodes whose data directory is `directory` or in it, also those without a process: a node's tag is
/// the FNV-1a hash of its data directory.
#[must_use]
pub fn cgroups_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let directories = entries.chain([directory.to_owned()]).filter(|path| path.is_dir());
    directories.flat_map(|path| cgroups_of(&hashed_tag(&path))).collect()
}

fn hashed_tag(data_dir: &Path) -> String {
    let hash = Fnv1a::of(data_dir.as_os_str().as_encoded_bytes());
    format!("{:012x}", hash & 0xffff_ffff_ffff)
}

fn remove_cgroup(cgroup: &Path) {
    let children = fs::read_dir(cgroup).into_iter().flatten().flatten().map(|child| child.path());
    let children: Vec<PathBuf> = children.filter(|child| child.is_dir()).collect();
    for directory in children.iter().map(PathBuf::as_path).chain([cgroup]) {
        // The kernel lets go of a cgroup a moment after its last process was seen to end.
        poll_until(END_LIMIT, "a cgroup of a test can be removed", || {
            (fs::remove_dir(directory).is_ok() || !directory.exists()).then_some(())
        });
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
