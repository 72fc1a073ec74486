//! Isolators for machines without usable cgroups: they hold nobody to anything and report what the container's
//! processes use, found by session and descent in `/proc`.

use std::path::PathBuf;

use crate::container::{ContainerId, Limits};
use crate::containerizer::{Limitation, Usage};
use crate::isolator::{Isolator, IsolatorError, IsolatorName};
use crate::linux::process::{self, Processes};

/// Reports processor time. Time of processes that have ended and were not waited for by a process of the container
/// is not counted.
#[derive(Debug)]
pub struct PosixCpuIsolator {
    tag: String,
}

/// Reports resident memory; memory shared between processes counts once for each.
#[derive(Debug)]
pub struct PosixMemIsolator {
    tag: String,
}

impl PosixCpuIsolator {
    /// For the containers of the node whose tag is `tag`.
    #[must_use]
    pub fn new(tag: &str) -> Self {
        Self { tag: tag.to_owned() }
    }
}

impl PosixMemIsolator {
    /// For the containers of the node whose tag is `tag`.
    #[must_use]
    pub fn new(tag: &str) -> Self {
        Self { tag: tag.to_owned() }
    }
}

fn members(
    tag: &str,
    container: &ContainerId,
    pid: u32,
) -> Result<Vec<process::Stat>, IsolatorError> {
    let all = Processes::read().map_err(IsolatorError::new("list", "/proc"))?;
    Ok(all.of_container(&process::mark(tag, container.as_str()), pid, None))
}

impl Isolator for PosixCpuIsolator {
    fn name(&self) -> IsolatorName {
        IsolatorName::PosixCpu
    }

    fn prepare(&self, _: &ContainerId, _: &Limits) -> Result<(), IsolatorError> {
        Ok(())
    }

    fn isolate(&self, _: &ContainerId) -> Vec<PathBuf> {
        Vec::new()
    }

    fn watch(&self, _: &ContainerId) -> Option<Limitation> {
        None
    }

    fn usage(
        &self,
        container: &ContainerId,
        pid: u32,
        usage: &mut Usage,
    ) -> Result<(), IsolatorError> {
        let members = members(&self.tag, container, pid)?;
        usage.cpu_user_us = Some(members.iter().map(|stat| stat.cpu_user_us).sum());
        usage.cpu_system_us = Some(members.iter().map(|stat| stat.cpu_system_us).sum());
        usage.processes = Some(members.len() as u64);
        Ok(())
    }

    fn cleanup(&self, _: &ContainerId) -> Result<(), IsolatorError> {
        Ok(())
    }
}

impl Isolator for PosixMemIsolator {
    fn name(&self) -> IsolatorName {
        IsolatorName::PosixMem
    }

    fn prepare(&self, _: &ContainerId, _: &Limits) -> Result<(), IsolatorError> {
        Ok(())
    }

    fn isolate(&self, _: &ContainerId) -> Vec<PathBuf> {
        Vec::new()
    }

    fn watch(&self, _: &ContainerId) -> Option<Limitation> {
        None
    }

    fn usage(
        &self,
        container: &ContainerId,
        pid: u32,
        usage: &mut Usage,
    ) -> Result<(), IsolatorError> {
        let members = members(&self.tag, container, pid)?;
        usage.memory_bytes = Some(members.iter().map(|stat| stat.resident_bytes).sum());
        usage.processes = Some(members.len() as u64);
        Ok(())
    }

    fn cleanup(&self, _: &ContainerId) -> Result<(), IsolatorError> {
        Ok(())
    }
}
