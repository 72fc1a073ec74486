//! The selected isolators as one: prepares all of them or none, and cleans up after all of them.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::{CpuIsolator, MemIsolator, PidsIsolator, PosixCpuIsolator, PosixMemIsolator};
use crate::container::{ContainerId, Limits};
use crate::containerizer::{Limitation, Usage};
use crate::error::{Error, LaunchError};
use crate::isolator::{Isolator, IsolatorError, IsolatorName};
use crate::linux::cgroups::{self, CgroupBackend, Controller, Unusable};

/// What the selection needs to know.
#[derive(Debug, Clone)]
pub struct IsolationOptions {
    /// The isolators; empty chooses by what the machine allows.
    pub names: Vec<IsolatorName>,
    /// Cap each container at its cpus, instead of only weighing it.
    pub cpu_quota: bool,
    /// Tells the nodes of one machine apart: `a-z`, `0-9` and `-`.
    pub tag: String,
}

/// The isolators of one node.
#[derive(Debug)]
pub struct Isolation {
    isolators: Vec<Box<dyn Isolator>>,
    /// There when a cgroup isolator is selected: then every container is tracked by a cgroup too.
    backend: Option<Arc<dyn CgroupBackend>>,
    tag: String,
}

/// What a prepared container enters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Directories to enter, the tracking one first.
    pub(crate) cgroups: Vec<PathBuf>,
    /// The directory that tells who is in the container.
    pub(crate) tracking: Option<PathBuf>,
}

impl Isolation {
    /// Selects isolators. Without names: those of control groups where they can be used, otherwise the posix ones, with
    /// a warning that says why.
    ///
    /// # Errors
    /// When a named isolator cannot work here.
    pub fn select(options: &IsolationOptions) -> Result<Self, Error> {
        Self::select_by(options, cgroups::detect)
    }

    fn select_by(
        options: &IsolationOptions,
        detect: impl FnOnce(&str) -> Result<Arc<dyn CgroupBackend>, Unusable>,
    ) -> Result<Self, Error> {
        let wants_cgroups = options.names.iter().any(|name| name.needs_cgroups());
        let detected = (options.names.is_empty() || wants_cgroups).then(|| detect(&options.tag));
        let (names, backend) = match detected {
            None => (options.names.clone(), None),
            Some(Ok(backend)) if options.names.is_empty() => {
                (IsolatorName::CGROUPS.to_vec(), Some(backend))
            }
            Some(Ok(backend)) => (options.names.clone(), Some(backend)),
            Some(Err(unusable)) if options.names.is_empty() => {
                tracing::warn!(
                    reason = %unusable,
                    "control groups cannot be used: containers are not held to their limits, use is only reported"
                );
                (IsolatorName::POSIX.to_vec(), None)
            }
            Some(Err(unusable)) => {
                return Err(Error::Options(format!(
                    "--isolation names an isolator that needs control groups, which cannot be used here: {unusable}; \
                     use posix/cpu,posix/mem instead"
                )));
            }
        };
        Ok(Self::with(&names, backend, options))
    }

    fn with(
        names: &[IsolatorName],
        backend: Option<Arc<dyn CgroupBackend>>,
        options: &IsolationOptions,
    ) -> Self {
        let tag = &options.tag;
        let mut isolators: Vec<Box<dyn Isolator>> = Vec::new();
        for name in names {
            match (name, &backend) {
                (IsolatorName::CgroupsCpu, Some(backend)) => {
                    isolators
                        .push(Box::new(CpuIsolator::new(Arc::clone(backend), options.cpu_quota)));
                }
                (IsolatorName::CgroupsMem, Some(backend)) => {
                    isolators.push(Box::new(MemIsolator::new(Arc::clone(backend))));
                }
                (IsolatorName::CgroupsPids, Some(backend)) => {
                    isolators.push(Box::new(PidsIsolator::new(Arc::clone(backend))));
                }
                (IsolatorName::PosixCpu, _) => isolators.push(Box::new(PosixCpuIsolator::new(tag))),
                (IsolatorName::PosixMem, _) => isolators.push(Box::new(PosixMemIsolator::new(tag))),
                // `select` has refused these.
                (_, None) => {}
            }
        }
        Self { isolators, backend, tag: options.tag.clone() }
    }

    /// The names of the selected isolators.
    #[must_use]
    pub fn names(&self) -> Vec<IsolatorName> {
        self.isolators.iter().map(|isolator| isolator.name()).collect()
    }

    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// Prepares every isolator; when one fails, what the others did is undone.
    pub(crate) fn prepare(
        &self,
        container: &ContainerId,
        limits: &Limits,
    ) -> Result<Prepared, LaunchError> {
        let prepared = self.try_prepare(container, limits);
        if prepared.is_err()
            && let Err(error) = self.cleanup(container)
        {
            tracing::warn!(%container, %error, "could not clean up after a failed launch");
        }
        prepared
    }

    fn try_prepare(
        &self,
        container: &ContainerId,
        limits: &Limits,
    ) -> Result<Prepared, LaunchError> {
        let mut prepared = Prepared::default();
        if let Some(backend) = &self.backend {
            backend.create(container, Controller::Tracking).map_err(failed("cgroups"))?;
            let directory = backend.directory(container, Controller::Tracking);
            prepared.tracking = Some(directory.clone());
            prepared.cgroups.push(directory);
        }
        for isolator in &self.isolators {
            isolator.prepare(container, limits).map_err(failed(isolator.name().as_str()))?;
            for directory in isolator.isolate(container) {
                if !prepared.cgroups.contains(&directory) {
                    prepared.cgroups.push(directory);
                }
            }
        }
        Ok(prepared)
    }

    /// The cgroups of a container that runs, for another process in it. What tells its processes from the container's own is
    /// not a cgroup, but its session and its mark.
    pub(crate) fn inside(&self, outer: &ContainerId) -> Prepared {
        let tracking =
            self.backend.iter().map(|backend| backend.directory(outer, Controller::Tracking));
        let of_isolators = self.isolators.iter().flat_map(|isolator| isolator.isolate(outer));
        let mut cgroups: Vec<PathBuf> = Vec::new();
        for directory in tracking.chain(of_isolators) {
            // The container may have been started by a node with other isolators.
            if !cgroups.contains(&directory) && directory.is_dir() {
                cgroups.push(directory);
            }
        }
        Prepared { cgroups, tracking: None }
    }

    /// Puts other limits in force. Goes on after an error and returns the first.
    pub(crate) fn update(
        &self,
        container: &ContainerId,
        limits: &Limits,
    ) -> Result<(), IsolatorError> {
        let mut first = Ok(());
        for isolator in &self.isolators {
            let updated = isolator.update(container, limits);
            first = first.and(updated);
        }
        first
    }

    /// Whether there is anything to clean up after a container: posix isolators make nothing.
    pub(crate) fn leaves_traces(&self) -> bool {
        self.backend.is_some()
    }

    /// Removes what is left of a container. Goes on after an error and returns the first.
    pub(crate) fn cleanup(&self, container: &ContainerId) -> Result<(), IsolatorError> {
        let isolators = self.isolators.iter().map(|isolator| isolator.cleanup(container));
        let tracking =
            self.backend.iter().map(|backend| backend.remove(container, Controller::Tracking));
        let mut first = Ok(());
        for result in isolators.chain(tracking) {
            first = first.and(result);
        }
        first
    }

    /// Watches a container again that was started before this node process.
    pub(crate) fn adopt(&self, container: &ContainerId) {
        for isolator in &self.isolators {
            if let Err(error) = isolator.adopt(container) {
                let isolator = isolator.name();
                tracing::warn!(%container, %isolator, %error, "could not watch a recovered container");
            }
        }
    }

    /// The limit that a container has hit.
    pub(crate) fn limitation(&self, container: &ContainerId) -> Option<Limitation> {
        self.isolators.iter().find_map(|isolator| isolator.watch(container))
    }

    /// Becomes readable when containers may have hit a limit.
    pub(crate) fn alarm(&self) -> Option<BorrowedFd<'_>> {
        self.isolators.iter().find_map(|isolator| isolator.alarm())
    }

    /// The containers behind the alarm.
    pub(crate) fn alarmed(&self) -> Vec<ContainerId> {
        self.isolators.iter().flat_map(|isolator| isolator.alarmed()).collect()
    }

    /// What a container uses, as far as the isolators can tell.
    pub(crate) fn usage(&self, container: &ContainerId, pid: u32) -> Result<Usage, IsolatorError> {
        let mut usage = Usage::default();
        for isolator in &self.isolators {
            isolator.usage(container, pid, &mut usage)?;
        }
        Ok(usage)
    }

    /// Kills and removes what belongs to no container of `keep`: an interrupted launch or release has left it behind.
    pub(crate) fn remove_strangers(
        &self,
        keep: &BTreeSet<ContainerId>,
    ) -> Result<(), IsolatorError> {
        let mut strangers = BTreeSet::new();
        for isolator in &self.isolators {
            strangers.extend(isolator.known()?);
        }
        if let Some(backend) = &self.backend {
            strangers.extend(backend.list(Controller::Tracking)?);
        }
        for container in strangers.difference(keep) {
            tracing::info!(%container, "removing the cgroups of a container that is over or not known");
            if let Some(backend) = &self.backend {
                let directory = backend.directory(container, Controller::Tracking);
                cgroups::kill_all(&directory)?;
            }
            if let Err(error) = self.cleanup(container) {
                tracing::warn!(%container, %error, "could not remove the cgroups of a container");
            }
        }
        Ok(())
    }

    /// Removes the node's own cgroup directories, where no container is left in them.
    pub(crate) fn remove_parents(&self) {
        if let Some(backend) = &self.backend {
            backend.remove_parents();
        }
    }
}

fn failed(isolator: &str) -> impl FnOnce(IsolatorError) -> LaunchError {
    let isolator = isolator.to_owned();
    move |error| LaunchError::Isolation { isolator, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::cgroups::{CgroupTree, FakeTree, V2Backend};

    fn options(names: &[IsolatorName]) -> IsolationOptions {
        IsolationOptions { names: names.to_vec(), cpu_quota: false, tag: "unit".to_owned() }
    }

    #[test]
    fn without_control_groups_only_use_is_reported_unless_they_were_asked_for() {
        let unusable = |_: &str| Err(Unusable { reason: "they are not mounted".to_owned() });
        let isolation = Isolation::select_by(&options(&[]), unusable).unwrap();
        assert_eq!(isolation.names(), IsolatorName::POSIX);
        assert!(!isolation.leaves_traces());
        let asked = options(&[IsolatorName::PosixCpu, IsolatorName::CgroupsMem]);
        let error = Isolation::select_by(&asked, unusable).unwrap_err().to_string();
        assert!(error.contains("they are not mounted; use posix/cpu,posix/mem"), "{error}");
        let asked = options(&IsolatorName::POSIX);
        let not_looked_for = |_: &str| panic!("nobody asked for control groups");
        assert_eq!(
            Isolation::select_by(&asked, not_looked_for).unwrap().names(),
            IsolatorName::POSIX
        );
    }

    /// The version 2 backend over a tree in memory, chosen as on a machine that has it.
    fn over_version_2() -> (Isolation, Arc<V2Backend<FakeTree>>) {
        let backend = Arc::new(V2Backend::over_fake("unit"));
        let shared: Arc<dyn CgroupBackend> = backend.clone();
        (Isolation::select_by(&options(&[]), |_| Ok(shared)).unwrap(), backend)
    }

    #[test]
    fn a_container_of_version_2_has_one_directory_its_limits_and_a_named_oom() {
        let (isolation, backend) = over_version_2();
        assert_eq!(isolation.names(), IsolatorName::CGROUPS);
        let id = ContainerId::new("c1").unwrap();
        let (memory_bytes, pids_max) = (Some(64 << 20), Some(7));
        let limits = Limits { cpus_millis: 2_000, memory_bytes, pids_max, ..Limits::default() };
        let prepared = isolation.prepare(&id, &limits).unwrap();
        let directory = PathBuf::from("/cg/meshos/unit/c1");
        assert_eq!(prepared.cgroups, std::slice::from_ref(&directory), "entered once");
        assert_eq!(prepared.tracking, Some(directory.clone()));
        let read = |file: &str| backend.tree().read(&directory.join(file)).unwrap();
        assert_eq!(
            (read("cpu.weight"), read("cpu.max")),
            ("79".to_owned(), "max 100000".to_owned())
        );
        assert_eq!((read("memory.max"), read("pids.max")), ("67108864".to_owned(), "7".to_owned()));
        assert_eq!(isolation.limitation(&id), None, "oom 1 alone is no kill");
        backend.tree().set(&directory.join("memory.events"), "oom 3\noom_kill 2\n");
        let limitation = Limitation::Memory { limit_bytes: 64 << 20, usage_max_bytes: 0, kills: 2 };
        assert_eq!(isolation.limitation(&id), Some(limitation));
        assert!(isolation.alarm().is_none(), "the kernel kills the whole group");
        let usage = isolation.usage(&id, 1).unwrap();
        assert_eq!((usage.cpu_user_us, usage.memory_bytes), (Some(10), Some(4096)));
        isolation.cleanup(&id).unwrap();
        isolation.cleanup(&id).unwrap();
        assert!(!backend.tree().exists(&directory));
        isolation.remove_parents();
        assert!(!backend.tree().exists(&PathBuf::from("/cg/meshos")));
    }

    #[test]
    fn strangers_of_version_2_are_removed_and_others_kept() {
        let (isolation, _) = over_version_2();
        let [kept, lost] = ["kept", "lost"].map(|name| ContainerId::new(name).unwrap());
        for id in [&kept, &lost] {
            isolation.prepare(id, &Limits::default()).unwrap();
        }
        isolation.remove_strangers(&BTreeSet::from([kept.clone()])).unwrap();
        let backend = isolation.backend.as_ref().unwrap();
        assert_eq!(backend.list(Controller::Tracking).unwrap(), [kept]);
    }

    #[test]
    fn posix_isolators_can_be_asked_for_anywhere() {
        let isolation = Isolation::select(&options(&IsolatorName::POSIX)).unwrap();
        assert_eq!(isolation.names(), IsolatorName::POSIX);
        let id = ContainerId::new("c1").unwrap();
        let prepared = isolation.prepare(&id, &Limits::default()).unwrap();
        assert_eq!(prepared, Prepared::default());
        let usage = isolation.usage(&id, std::process::id()).unwrap();
        assert!(usage.memory_bytes.unwrap() > 0);
        assert!(usage.processes.unwrap() >= 1);
    }
}
