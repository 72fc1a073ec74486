//! The backend for version 2: one directory per container, in the unified tree.
//!
//! `memory.oom.group` makes the kernel kill the whole container when its limit is hit, so there is no alarm to watch:
//! the container's end is the alarm, and `memory.events` says why.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::tree::CgroupTree;
use super::{
    CFS_PERIOD_US, CgroupBackend, Controller, CpuUsage, MemoryUsage, OomReport, cfs_quota_us,
    cpu_shares, cpu_weight, keyed,
};
use crate::container::{ContainerId, Limits};
use crate::isolator::IsolatorError;

/// The controllers that must be there.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Control groups of version 2 below `<root>/meshos/<tag>`.
#[derive(Debug)]
pub struct V2Backend<T> {
    tree: T,
    parent: PathBuf,
    has_swap_limit: bool,
}

impl<T: CgroupTree> V2Backend<T> {
    /// Makes `<root>/meshos/<tag>` and passes the controllers down to it.
    pub fn open(tree: T, root: &Path, tag: &str) -> Result<Self, IsolatorError> {
        let available = tree
            .read(&root.join("cgroup.controllers"))
            .map_err(IsolatorError::new("read", root.join("cgroup.controllers")))?;
        for controller in CONTROLLERS {
            if !available.split_whitespace().any(|name| name == controller) {
                let missing = format!("the controller {controller:?} is not available");
                return Err(IsolatorError::new("use", root.join("cgroup.controllers"))(
                    std::io::Error::other(missing),
                ));
            }
        }
        let shared = root.join("meshos");
        let parent = shared.join(tag);
        for (above, directory) in [(root, &shared), (&shared, &parent)] {
            enable(&tree, above)?;
            tree.make(directory).map_err(IsolatorError::new("make", directory))?;
        }
        enable(&tree, &parent)?;
        let has_swap_limit = tree.exists(&parent.join("memory.swap.max"));
        Ok(Self { tree, parent, has_swap_limit })
    }

    fn path(&self, container: &ContainerId) -> PathBuf {
        self.parent.join(container.as_str())
    }

    fn write(&self, container: &ContainerId, file: &str, text: &str) -> Result<(), IsolatorError> {
        let path = self.path(container).join(file);
        self.tree.write(&path, text).map_err(IsolatorError::new("write", path))
    }

    fn read(&self, container: &ContainerId, file: &str) -> Result<String, IsolatorError> {
        let path = self.path(container).join(file);
        self.tree.read(&path).map_err(IsolatorError::new("read", path))
    }

    fn read_number(
        &self,
        container: &ContainerId,
        file: &str,
    ) -> Result<Option<u64>, IsolatorError> {
        Ok(self.read(container, file)?.trim().parse().ok())
    }
}

/// Passes the controllers down to the directories in `directory`. Writing them one by one, because one that cannot be
/// passed makes the kernel refuse the whole line.
fn enable<T: CgroupTree>(tree: &T, directory: &Path) -> Result<(), IsolatorError> {
    let file = directory.join("cgroup.subtree_control");
    let enabled = tree.read(&file).map_err(IsolatorError::new("read", &file))?;
    for controller in CONTROLLERS {
        if !enabled.split_whitespace().any(|name| name == controller) {
            let line = format!("+{controller}");
            tree.write(&file, &line).map_err(IsolatorError::new("write", &file))?;
        }
    }
    Ok(())
}

impl<T: CgroupTree> CgroupBackend for V2Backend<T> {
    fn create(&self, container: &ContainerId, _: Controller) -> Result<(), IsolatorError> {
        let path = self.path(container);
        self.tree.make(&path).map_err(IsolatorError::new("make", path))
    }

    fn directory(&self, container: &ContainerId, _: Controller) -> PathBuf {
        self.path(container)
    }

    fn set_cpu(
        &self,
        container: &ContainerId,
        limits: &Limits,
        quota: bool,
    ) -> Result<(), IsolatorError> {
        let weight = cpu_weight(cpu_shares(limits));
        self.write(container, "cpu.weight", &weight.to_string())?;
        if quota {
            let line = format!("{} {CFS_PERIOD_US}", cfs_quota_us(limits.cpus_millis));
            self.write(container, "cpu.max", &line)?;
        }
        Ok(())
    }

    fn set_memory(&self, container: &ContainerId, bytes: u64) -> Result<(), IsolatorError> {
        self.write(container, "memory.max", &bytes.to_string())?;
        if self.has_swap_limit {
            self.write(container, "memory.swap.max", "0")?;
        }
        self.write(container, "memory.oom.group", "1")
    }

    fn change_memory(
        &self,
        container: &ContainerId,
        bytes: u64,
        _raise: bool,
    ) -> Result<(), IsolatorError> {
        self.write(container, "memory.max", &bytes.to_string())
    }

    fn set_pids(&self, container: &ContainerId, max: u32) -> Result<(), IsolatorError> {
        self.write(container, "pids.max", &max.to_string())
    }

    fn adopt(&self, _: &ContainerId) -> Result<(), IsolatorError> {
        Ok(())
    }

    fn oom(&self, container: &ContainerId) -> Result<OomReport, IsolatorError> {
        let events = self.read(container, "memory.events")?;
        let kills = keyed(&events, "oom_kill").unwrap_or(0);
        if kills == 0 {
            return Ok(OomReport::default());
        }
        Ok(OomReport {
            kills,
            limit_bytes: self.read_number(container, "memory.max")?.unwrap_or(0),
            // The file is there since Linux 5.19.
            usage_max_bytes: self.read_number(container, "memory.peak").ok().flatten().unwrap_or(0),
        })
    }

    fn oom_alarm(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn oom_alarmed(&self) -> Vec<ContainerId> {
        Vec::new()
    }

    fn cpu_usage(&self, container: &ContainerId) -> Result<CpuUsage, IsolatorError> {
        let stat = self.read(container, "cpu.stat")?;
        Ok(CpuUsage {
            user_us: keyed(&stat, "user_usec"),
            system_us: keyed(&stat, "system_usec"),
            throttled_periods: keyed(&stat, "nr_throttled"),
        })
    }

    fn memory_usage(&self, container: &ContainerId) -> Result<MemoryUsage, IsolatorError> {
        Ok(MemoryUsage {
            bytes: self.read_number(container, "memory.current")?.unwrap_or(0),
            limit_bytes: self.read_number(container, "memory.max")?,
        })
    }

    fn processes(&self, container: &ContainerId) -> Result<u64, IsolatorError> {
        Ok(self.read_number(container, "pids.current")?.unwrap_or(0))
    }

    fn remove(&self, container: &ContainerId, _: Controller) -> Result<(), IsolatorError> {
        let path = self.path(container);
        self.tree.remove(&path).map_err(IsolatorError::new("remove", path))
    }

    fn list(&self, _: Controller) -> Result<Vec<ContainerId>, IsolatorError> {
        let names = self.tree.children(&self.parent);
        let names = names.map_err(IsolatorError::new("list", &self.parent))?;
        Ok(names.into_iter().filter_map(|name| ContainerId::new(name).ok()).collect())
    }

    fn remove_parents(&self) {
        super::v1::remove_parents(&self.tree, &self.parent);
    }
}

#[cfg(test)]
impl V2Backend<super::tree::FakeTree> {
    /// Over a tree in memory at `/cg`.
    pub(crate) fn over_fake(tag: &str) -> Self {
        let root = Path::new("/cg");
        Self::open(super::tree::FakeTree::new(root, tests::FILES), root, tag).unwrap()
    }

    pub(crate) fn tree(&self) -> &super::tree::FakeTree {
        &self.tree
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::FakeTree;
    use super::*;

    pub(super) const FILES: &[(&str, &str)] = &[
        ("cgroup.controllers", "cpuset cpu io memory hugetlb pids"),
        ("cgroup.subtree_control", ""),
        ("cpu.weight", "100"),
        ("cpu.max", "max 100000"),
        ("cpu.stat", "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_throttled 4\n"),
        ("memory.max", "max\n"),
        ("memory.current", "4096\n"),
        ("memory.oom.group", "0"),
        ("memory.swap.max", "max"),
        ("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n"),
        ("pids.max", "max"),
        ("pids.current", "3\n"),
    ];

    fn backend() -> V2Backend<FakeTree> {
        V2Backend::over_fake("tag")
    }

    fn id() -> ContainerId {
        ContainerId::new("c1").unwrap()
    }

    fn cpus(cpus_millis: u32) -> Limits {
        Limits { cpus_millis, ..Limits::default() }
    }

    #[test]
    fn revocable_cpus_weigh_little_and_are_capped_like_others() {
        let backend = backend();
        backend.create(&id(), Controller::Cpu).unwrap();
        let read = |file: &str| backend.tree.read(&backend.path(&id()).join(file)).unwrap();
        let lent = Limits { revocable_cpus_millis: 4000, ..cpus(4000) };
        backend.set_cpu(&id(), &lent, true).unwrap();
        // 1 + (40 - 2) * 9999 / 262142, where 4 cpus that are not lent weigh 157.
        assert_eq!((read("cpu.weight"), read("cpu.max")), ("2".into(), "400000 100000".into()));
        let both = Limits { revocable_cpus_millis: 4000, ..cpus(5000) };
        backend.set_cpu(&id(), &both, true).unwrap();
        assert_eq!((read("cpu.weight"), read("cpu.max")), ("41".into(), "500000 100000".into()));
    }

    #[test]
    fn limits_are_written_in_version_2_terms() {
        let backend = backend();
        backend.create(&id(), Controller::Cpu).unwrap();
        backend.create(&id(), Controller::Memory).unwrap();
        backend.set_cpu(&id(), &cpus(1000), true).unwrap();
        backend.set_memory(&id(), 64 << 20).unwrap();
        backend.change_memory(&id(), 128 << 20, true).unwrap();
        assert_eq!(
            backend.tree.read(&backend.path(&id()).join("memory.max")).unwrap(),
            "134217728"
        );
        backend.change_memory(&id(), 64 << 20, false).unwrap();
        backend.set_pids(&id(), 12).unwrap();
        let read = |file: &str| backend.tree.read(&backend.path(&id()).join(file)).unwrap();
        assert_eq!(read("cpu.weight"), "39");
        assert_eq!(read("cpu.max"), "100000 100000");
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("memory.oom.group"), "1");
        assert_eq!(read("pids.max"), "12");
    }

    #[test]
    fn usage_and_oom_are_read_from_the_files_that_version_2_has() {
        let backend = backend();
        backend.create(&id(), Controller::Memory).unwrap();
        assert_eq!(backend.oom(&id()).unwrap().kills, 0);
        assert_eq!(backend.memory_usage(&id()).unwrap().limit_bytes, None);
        backend.set_memory(&id(), 64 << 20).unwrap();
        let events = backend.path(&id()).join("memory.events");
        backend.tree.set(&events, "low 0\noom 1\noom_kill 2\noom_group_kill 1\n");
        let oom = backend.oom(&id()).unwrap();
        assert_eq!(oom, OomReport { kills: 2, limit_bytes: 64 << 20, usage_max_bytes: 0 });
        let cpu = backend.cpu_usage(&id()).unwrap();
        assert_eq!((cpu.user_us, cpu.system_us), (Some(10), Some(20)));
        assert_eq!(cpu.throttled_periods, Some(4));
        assert_eq!(backend.processes(&id()).unwrap(), 3);
    }

    #[test]
    fn containers_are_listed_and_removed_with_the_parents() {
        let backend = backend();
        backend.create(&id(), Controller::Tracking).unwrap();
        assert_eq!(backend.list(Controller::Tracking).unwrap(), [id()]);
        backend.remove_parents();
        assert!(backend.tree.exists(&backend.path(&id())), "a container is in the way");
        backend.remove(&id(), Controller::Cpu).unwrap();
        backend.remove(&id(), Controller::Memory).unwrap();
        backend.remove_parents();
        assert!(!backend.tree.exists(Path::new("/cg/meshos")));
        assert!(backend.tree.exists(Path::new("/cg")));
    }

    #[test]
    fn controllers_are_passed_down_one_by_one_and_only_where_they_are_not() {
        let root = Path::new("/cg");
        let tree = FakeTree::new(root, FILES);
        tree.set(&root.join("cgroup.subtree_control"), "cpuset cpu io memory");
        let backend = V2Backend::open(tree, root, "tag").unwrap();
        let written = backend.tree.written();
        let lines = |directory: &str| -> Vec<&str> {
            let file = Path::new(directory).join("cgroup.subtree_control");
            let of_file = written.iter().filter(|(path, _)| *path == file);
            of_file.map(|(_, text)| text.as_str()).collect()
        };
        assert_eq!(lines("/cg"), ["+pids"]);
        assert_eq!(lines("/cg/meshos"), ["+cpu", "+memory", "+pids"]);
        assert_eq!(lines("/cg/meshos/tag"), ["+cpu", "+memory", "+pids"]);
        backend.create(&id(), Controller::Cpu).unwrap();
        let in_container = |(path, _): &(PathBuf, String)| path.starts_with("/cg/meshos/tag/c1");
        assert!(!backend.tree.written().iter().any(in_container), "a leaf keeps its controllers");
    }

    #[test]
    fn a_kernel_without_swap_accounting_and_a_node_without_quota_write_less() {
        let root = Path::new("/cg");
        let files: Vec<_> =
            FILES.iter().copied().filter(|(name, _)| *name != "memory.swap.max").collect();
        let backend = V2Backend::open(FakeTree::new(root, &files), root, "tag").unwrap();
        backend.create(&id(), Controller::Cpu).unwrap();
        backend.set_cpu(&id(), &cpus(500), false).unwrap();
        backend.set_memory(&id(), 64 << 20).unwrap();
        let read = |file: &str| backend.tree.read(&backend.path(&id()).join(file)).unwrap();
        // 1 + (512 - 2) * 9999 / 262142, not 512.
        assert_eq!((read("cpu.weight"), read("cpu.max")), ("20".into(), "max 100000".into()));
        assert_eq!(read("memory.oom.group"), "1");
    }

    #[test]
    fn a_peak_is_told_where_the_kernel_counts_it() {
        let backend = backend();
        backend.create(&id(), Controller::Memory).unwrap();
        backend.set_memory(&id(), 64 << 20).unwrap();
        let path = backend.path(&id());
        backend.tree.set(&path.join("memory.events"), "oom_kill 1\n");
        backend.tree.set(&path.join("memory.peak"), "67000000\n");
        assert_eq!(backend.oom(&id()).unwrap().usage_max_bytes, 67_000_000);
    }

    #[test]
    fn a_missing_controller_is_named() {
        let root = Path::new("/cg");
        let tree = FakeTree::new(root, &[("cgroup.controllers", "cpu pids")]);
        let error = V2Backend::open(tree, root, "tag").unwrap_err();
        assert!(error.to_string().contains("\"memory\" is not available"), "{error}");
    }
}
