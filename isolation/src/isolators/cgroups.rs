//! The cgroup isolators, the same for both cgroup versions: what differs lies below [`CgroupBackend`].

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::container::{ContainerId, Limits};
use crate::containerizer::{Limitation, Usage};
use crate::isolator::{Isolator, IsolatorError, IsolatorName};
use crate::linux::cgroups::{CgroupBackend, Controller};

/// The smallest memory limit that is set, in bytes: below it the kernel kills the command before it has started.
const MEMORY_BYTES_MIN: u64 = 4 << 20;

/// Shares of the processor by weight, and a hard quota when it is switched on.
#[derive(Debug)]
pub struct CpuIsolator {
    backend: Arc<dyn CgroupBackend>,
    quota: bool,
}

/// The memory limit.
#[derive(Debug)]
pub struct MemIsolator {
    backend: Arc<dyn CgroupBackend>,
}

/// The limit on processes and threads.
#[derive(Debug)]
pub struct PidsIsolator {
    backend: Arc<dyn CgroupBackend>,
}

impl CpuIsolator {
    /// Weighs cpu by shares; `quota` also caps each container at its cpus (CFS bandwidth control).
    pub fn new(backend: Arc<dyn CgroupBackend>, quota: bool) -> Self {
        Self { backend, quota }
    }
}

impl MemIsolator {
    /// Limits memory through `backend`.
    pub fn new(backend: Arc<dyn CgroupBackend>) -> Self {
        Self { backend }
    }
}

impl PidsIsolator {
    /// Limits processes through `backend`.
    pub fn new(backend: Arc<dyn CgroupBackend>) -> Self {
        Self { backend }
    }
}

impl Isolator for CpuIsolator {
    fn name(&self) -> IsolatorName {
        IsolatorName::CgroupsCpu
    }

    fn prepare(&self, container: &ContainerId, limits: &Limits) -> Result<(), IsolatorError> {
        self.backend.create(container, Controller::Cpu)?;
        self.backend.set_cpu(container, limits, self.quota)
    }

    fn update(&self, container: &ContainerId, limits: &Limits) -> Result<(), IsolatorError> {
        self.backend.set_cpu(container, limits, self.quota)
    }

    fn isolate(&self, container: &ContainerId) -> Vec<PathBuf> {
        vec![self.backend.directory(container, Controller::Cpu)]
    }

    fn watch(&self, _: &ContainerId) -> Option<Limitation> {
        None
    }

    fn usage(
        &self,
        container: &ContainerId,
        _pid: u32,
        usage: &mut Usage,
    ) -> Result<(), IsolatorError> {
        let cpu = self.backend.cpu_usage(container)?;
        usage.cpu_user_us = cpu.user_us;
        usage.cpu_system_us = cpu.system_us;
        usage.cpu_throttled_periods = cpu.throttled_periods;
        Ok(())
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), IsolatorError> {
        self.backend.remove(container, Controller::Cpu)
    }

    fn known(&self) -> Result<Vec<ContainerId>, IsolatorError> {
        self.backend.list(Controller::Cpu)
    }
}

impl Isolator for MemIsolator {
    fn name(&self) -> IsolatorName {
        IsolatorName::CgroupsMem
    }

    fn prepare(&self, container: &ContainerId, limits: &Limits) -> Result<(), IsolatorError> {
        self.backend.create(container, Controller::Memory)?;
        match limits.memory_bytes {
            Some(bytes) => self.backend.set_memory(container, bytes.max(MEMORY_BYTES_MIN)),
            None => Ok(()),
        }
    }

    fn update(&self, container: &ContainerId, limits: &Limits) -> Result<(), IsolatorError> {
        let Some(bytes) = limits.memory_bytes else { return Ok(()) };
        let bytes = bytes.max(MEMORY_BYTES_MIN);
        let now = self.backend.memory_usage(container)?;
        match now.limit_bytes {
            None => self.backend.set_memory(container, bytes),
            // What is in use cannot be taken away; the limit stays where it was.
            Some(limit) if bytes < limit && now.bytes >= bytes => Ok(()),
            Some(limit) if bytes == limit => Ok(()),
            Some(limit) => self.backend.change_memory(container, bytes, bytes > limit),
        }
    }

    fn isolate(&self, container: &ContainerId) -> Vec<PathBuf> {
        vec![self.backend.directory(container, Controller::Memory)]
    }

    fn watch(&self, container: &ContainerId) -> Option<Limitation> {
        // An error means that the cgroup is gone: then there is nothing to say about it.
        let oom = self.backend.oom(container).ok()?;
        (oom.kills > 0).then_some(Limitation::Memory {
            limit_bytes: oom.limit_bytes,
            usage_max_bytes: oom.usage_max_bytes,
            kills: oom.kills,
        })
    }

    fn alarm(&self) -> Option<BorrowedFd<'_>> {
        self.backend.oom_alarm()
    }

    fn alarmed(&self) -> Vec<ContainerId> {
        self.backend.oom_alarmed()
    }

    fn adopt(&self, container: &ContainerId) -> Result<(), IsolatorError> {
        self.backend.adopt(container)
    }

    fn usage(
        &self,
        container: &ContainerId,
        _pid: u32,
        usage: &mut Usage,
    ) -> Result<(), IsolatorError> {
        let memory = self.backend.memory_usage(container)?;
        usage.memory_bytes = Some(memory.bytes);
        usage.memory_limit_bytes = memory.limit_bytes;
        Ok(())
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), IsolatorError> {
        self.backend.remove(container, Controller::Memory)
    }

    fn known(&self) -> Result<Vec<ContainerId>, IsolatorError> {
        self.backend.list(Controller::Memory)
    }
}

impl Isolator for PidsIsolator {
    fn name(&self) -> IsolatorName {
        IsolatorName::CgroupsPids
    }

    fn prepare(&self, container: &ContainerId, limits: &Limits) -> Result<(), IsolatorError> {
        self.backend.create(container, Controller::Pids)?;
        match limits.pids_max {
            Some(max) => self.backend.set_pids(container, max),
            None => Ok(()),
        }
    }

    fn isolate(&self, container: &ContainerId) -> Vec<PathBuf> {
        vec![self.backend.directory(container, Controller::Pids)]
    }

    fn watch(&self, _: &ContainerId) -> Option<Limitation> {
        None
    }

    fn usage(
        &self,
        container: &ContainerId,
        _pid: u32,
        usage: &mut Usage,
    ) -> Result<(), IsolatorError> {
        usage.processes = Some(self.backend.processes(container)?);
        Ok(())
    }

    fn cleanup(&self, container: &ContainerId) -> Result<(), IsolatorError> {
        self.backend.remove(container, Controller::Pids)
    }

    fn known(&self) -> Result<Vec<ContainerId>, IsolatorError> {
        self.backend.list(Controller::Pids)
    }
}
