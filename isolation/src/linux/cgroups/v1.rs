//! The backend for version 1, with the unified tree of hybrid machines for tracking.
//!
//! On version 1 each controller is a tree of its own. Hybrid machines mount the version 2 tree beside them, without
//! controllers; its core still kills a whole group at once (`cgroup.kill`), says when it is empty and counts processor
//! time, so a container gets a directory there too when that tree can be written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::tree::{CgroupTree, KernelTree};
use super::{
    CgroupBackend, Controller, CpuUsage, MemoryUsage, OomReport, cfs_quota_us, cpu_shares, keyed,
    limits,
};
use crate::container::{ContainerId, Limits};
use crate::isolator::IsolatorError;

/// How many alarms are read at a time.
const ALARMS_AT_ONCE: usize = 64;
/// Limits at or above this mean "no limit" on version 1, which shows the largest page-aligned number.
const UNLIMITED_BYTES: u64 = 1 << 62;
/// The kernel counts `cpuacct.stat` in hundredths of a second for user space, on every platform.
const CPUACCT_TICK_US: u64 = 10_000;

/// Where the trees of version 1 are mounted.
#[derive(Debug, Clone)]
pub struct V1Mounts {
    /// Processor weight and quota.
    pub cpu: PathBuf,
    /// Processor accounting; often the same as `cpu`.
    pub cpuacct: Option<PathBuf>,
    /// Memory.
    pub memory: PathBuf,
    /// Processes and threads.
    pub pids: PathBuf,
    /// Freezer: tracks containers where there is no unified tree.
    pub freezer: Option<PathBuf>,
    /// The version 2 tree of a hybrid machine.
    pub unified: Option<PathBuf>,
}

/// Control groups of version 1 below `<mount>/meshos/<tag>`.
#[derive(Debug)]
pub struct V1Backend {
    tree: KernelTree,
    cpu: PathBuf,
    cpuacct: Option<PathBuf>,
    memory: PathBuf,
    pids: PathBuf,
    tracking: PathBuf,
    tracking_is_unified: bool,
    has_swap_limit: bool,
    alarm: Epoll,
    watched: Mutex<Watched>,
}

/// The eventfds that the kernel signals when a container hits its memory limit, by the token in the epoll set.
#[derive(Debug, Default)]
struct Watched {
    next_token: u64,
    by_token: BTreeMap<u64, (ContainerId, EventFd)>,
    tokens: BTreeMap<ContainerId, u64>,
}

impl V1Backend {
    /// Makes `<mount>/meshos/<tag>` in each tree.
    pub fn open(mounts: &V1Mounts, tag: &str) -> Result<Self, IsolatorError> {
        let tree = KernelTree;
        let unified = mounts.unified.as_ref().map(|root| parent(root, tag));
        let unified = unified.filter(|path| make_parents(&tree, path).is_ok());
        let tracking_is_unified = unified.is_some();
        let tracking = unified
            .or_else(|| mounts.freezer.as_ref().map(|root| parent(root, tag)))
            .unwrap_or_else(|| parent(&mounts.pids, tag));
        // The unified tree counts processor time too: one directory fewer per container.
        let cpuacct = mounts.cpuacct.as_ref().filter(|_| !tracking_is_unified);
        let backend = Self {
            tree,
            cpu: parent(&mounts.cpu, tag),
            cpuacct: cpuacct.map(|root| parent(root, tag)),
            memory: parent(&mounts.memory, tag),
            pids: parent(&mounts.pids, tag),
            tracking,
            tracking_is_unified,
            has_swap_limit: tree.exists(&mounts.memory.join("memory.memsw.usage_in_bytes")),
            alarm: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
                .map_err(|errno| IsolatorError::new("watch", &mounts.memory)(errno.into()))?,
            watched: Mutex::default(),
        };
        for directory in backend.parents() {
            make_parents(&tree, directory).map_err(IsolatorError::new("make", directory))?;
        }
        Ok(backend)
    }

    fn parents(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.cpu, &self.memory, &self.pids, &self.tracking].into_iter().chain(&self.cpuacct)
    }

    fn parent_of(&self, what: Controller) -> &Path {
        match what {
            Controller::Cpu => &self.cpu,
            Controller::Memory => &self.memory,
            Controller::Pids => &self.pids,
            Controller::Tracking => &self.tracking,
        }
    }

    fn file(&self, container: &ContainerId, what: Controller, file: &str) -> PathBuf {
        let mut path = self.directory(container, what);
        path.push(file);
        path
    }

    fn read(
        &self,
        container: &ContainerId,
        what: Controller,
        file: &str,
    ) -> Result<String, IsolatorError> {
        let path = self.file(container, what, file);
        self.tree.read(&path).map_err(IsolatorError::new("read", path))
    }

    fn read_number(
        &self,
        container: &ContainerId,
        what: Controller,
        file: &str,
    ) -> Result<u64, IsolatorError> {
        Ok(self.read(container, what, file)?.trim().parse().unwrap_or(0))
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the kernel to signal an eventfd when the container hits its limit: on version 1 it kills one process of
    /// it, not the container.
    fn watch_oom(&self, container: &ContainerId) -> io::Result<()> {
        let signal = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let control = File::open(self.file(container, Controller::Memory, "memory.oom_control"))?;
        let line = format!("{} {}", signal.as_fd().as_raw_fd(), control.as_raw_fd());
        self.tree
            .write(&self.file(container, Controller::Memory, "cgroup.event_control"), &line)?;
        let mut watched = self.watched();
        let token = watched.next_token;
        watched.next_token += 1;
        self.alarm.add(&signal, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        watched.by_token.insert(token, (container.clone(), signal));
        watched.tokens.insert(container.clone(), token);
        Ok(())
    }

    /// Closing the eventfd first spares the alarm that the kernel raises when a watched cgroup is removed.
    fn unwatch_oom(&self, container: &ContainerId) {
        let mut watched = self.watched();
        if let Some(token) = watched.tokens.remove(container) {
            watched.by_token.remove(&token);
        }
    }
}

fn parent(mount: &Path, tag: &str) -> PathBuf {
    mount.join("meshos").join(tag)
}

/// Makes `<mount>/meshos/<tag>`; again when another node on this machine removed `meshos` in between.
fn make_parents(tree: &KernelTree, directory: &Path) -> io::Result<()> {
    let shared = directory.parent().unwrap_or(directory);
    let mut result = Ok(());
    for _ in 0..8 {
        tree.make(shared)?;
        result = tree.make(directory);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    result
}

/// Removes `<tag>` when it is empty, and `meshos` when that is empty then. Nothing depends on it, so errors (another
/// node has directories there) are passed over.
pub(super) fn remove_parents<T: CgroupTree>(tree: &T, directory: &Path) {
    let Ok(children) = tree.children(directory) else { return };
    if children.is_empty() && tree.remove(directory).is_ok() {
        let shared = directory.parent().unwrap_or(directory);
        if tree.children(shared).is_ok_and(|children| children.is_empty()) {
            // Another node may make a directory here at this moment: then it stays.
            drop(tree.remove(shared));
        }
    }
}

impl CgroupBackend for V1Backend {
    fn create(&self, container: &ContainerId, what: Controller) -> Result<(), IsolatorError> {
        let path = self.directory(container, what);
        self.tree.make(&path).map_err(IsolatorError::new("make", path))?;
        if what == Controller::Cpu
            && let Some(parent) = &self.cpuacct
        {
            let path = parent.join(container.as_str());
            self.tree.make(&path).map_err(IsolatorError::new("make", path))?;
        }
        Ok(())
    }

    fn directory(&self, container: &ContainerId, what: Controller) -> PathBuf {
        self.parent_of(what).join(container.as_str())
    }

    fn set_cpu(
        &self,
        container: &ContainerId,
        limits: &Limits,
        quota: bool,
    ) -> Result<(), IsolatorError> {
        let directory = self.directory(container, Controller::Cpu);
        let quota_us = quota.then(|| cfs_quota_us(limits.cpus_millis));
        limits::set_cpu(&directory, cpu_shares(limits), quota_us)
    }

    fn set_memory(&self, container: &ContainerId, bytes: u64) -> Result<(), IsolatorError> {
        let directory = self.directory(container, Controller::Memory);
        limits::set_memory(&directory, bytes, self.has_swap_limit)?;
        self.watch_oom(container).map_err(IsolatorError::new("watch", directory))
    }

    fn change_memory(
        &self,
        container: &ContainerId,
        bytes: u64,
        raise: bool,
    ) -> Result<(), IsolatorError> {
        let directory = self.directory(container, Controller::Memory);
        limits::change_memory(&directory, bytes, self.has_swap_limit, raise)
    }

    fn set_pids(&self, container: &ContainerId, max: u32) -> Result<(), IsolatorError> {
        limits::set_pids(&self.directory(container, Controller::Pids), max)
    }

    fn adopt(&self, container: &ContainerId) -> Result<(), IsolatorError> {
        let directory = self.directory(container, Controller::Memory);
        if self.watched().tokens.contains_key(container) || !self.tree.exists(&directory) {
            return Ok(());
        }
        self.watch_oom(container).map_err(IsolatorError::new("watch", directory))
    }

    fn oom(&self, container: &ContainerId) -> Result<OomReport, IsolatorError> {
        let control = self.read(container, Controller::Memory, "memory.oom_control")?;
        let kills = keyed(&control, "oom_kill").unwrap_or(0);
        if kills == 0 {
            return Ok(OomReport::default());
        }
        let number = |file| self.read_number(container, Controller::Memory, file);
        Ok(OomReport {
            kills,
            limit_bytes: number("memory.limit_in_bytes")?,
            usage_max_bytes: number("memory.max_usage_in_bytes")?,
        })
    }

    fn oom_alarm(&self) -> Option<BorrowedFd<'_>> {
        Some(self.alarm.0.as_fd())
    }

    fn oom_alarmed(&self) -> Vec<ContainerId> {
        let mut events = [EpollEvent::empty(); ALARMS_AT_ONCE];
        let count = self.alarm.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        let watched = self.watched();
        let mut alarmed = Vec::new();
        for event in events.iter().take(count) {
            if let Some((container, signal)) = watched.by_token.get(&event.data()) {
                // Only takes the alarm back; that it may be taken back already is no error.
                signal.read().ok();
                alarmed.push(container.clone());
            }
        }
        alarmed
    }

    fn cpu_usage(&self, container: &ContainerId) -> Result<CpuUsage, IsolatorError> {
        let throttled = self.read(container, Controller::Cpu, "cpu.stat")?;
        let throttled_periods = keyed(&throttled, "nr_throttled");
        if self.tracking_is_unified {
            let stat = self.read(container, Controller::Tracking, "cpu.stat")?;
            let (user_us, system_us) = (keyed(&stat, "user_usec"), keyed(&stat, "system_usec"));
            return Ok(CpuUsage { user_us, system_us, throttled_periods });
        }
        let Some(parent) = &self.cpuacct else {
            return Ok(CpuUsage { throttled_periods, ..CpuUsage::default() });
        };
        let path = parent.join(container.as_str()).join("cpuacct.stat");
        let stat = self.tree.read(&path).map_err(IsolatorError::new("read", path))?;
        let time = |key| keyed(&stat, key).map(|ticks| ticks.saturating_mul(CPUACCT_TICK_US));
        Ok(CpuUsage { user_us: time("user"), system_us: time("system"), throttled_periods })
    }

    fn memory_usage(&self, container: &ContainerId) -> Result<MemoryUsage, IsolatorError> {
        let number = |file| self.read_number(container, Controller::Memory, file);
        let limit_bytes = number("memory.limit_in_bytes")?;
        Ok(MemoryUsage {
            bytes: number("memory.usage_in_bytes")?,
            limit_bytes: (limit_bytes < UNLIMITED_BYTES).then_some(limit_bytes),
        })
    }

    fn processes(&self, container: &ContainerId) -> Result<u64, IsolatorError> {
        self.read_number(container, Controller::Pids, "pids.current")
    }

    fn remove(&self, container: &ContainerId, what: Controller) -> Result<(), IsolatorError> {
        if what == Controller::Memory {
            self.unwatch_oom(container);
        }
        if what == Controller::Cpu
            && let Some(parent) = &self.cpuacct
        {
            let path = parent.join(container.as_str());
            self.tree.remove(&path).map_err(IsolatorError::new("remove", path))?;
        }
        let path = self.directory(container, what);
        self.tree.remove(&path).map_err(IsolatorError::new("remove", path))
    }

    fn list(&self, what: Controller) -> Result<Vec<ContainerId>, IsolatorError> {
        let parent = self.parent_of(what);
        let names = self.tree.children(parent).map_err(IsolatorError::new("list", parent))?;
        Ok(names.into_iter().filter_map(|name| ContainerId::new(name).ok()).collect())
    }

    fn remove_parents(&self) {
        for directory in self.parents() {
            remove_parents(&self.tree, directory);
        }
    }
}
