//! Isolators: what holds a container to its limits and says what it uses.
//!
//! An isolator lives in the node, not in the launcher: it prepares before the start, names the cgroups that the new
//! process enters by itself before it becomes the command, and cleans up after the end. Nothing of it has to survive
//! the node, because all it knows can be read again from the cgroups.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::str::FromStr;

use crate::container::{ContainerId, Limits};
use crate::containerizer::{Limitation, Usage};

/// One aspect of isolation. Calls are short, synchronous file operations; the containerizer makes them off the
/// async workers.
pub trait Isolator: Send + Sync + fmt::Debug {
    /// The name it is selected by.
    fn name(&self) -> IsolatorName;

    /// Makes what the container needs before it starts, with the limits in force. Called once per container.
    fn prepare(&self, container: &ContainerId, limits: &Limits) -> Result<(), IsolatorError>;

    /// Puts other limits in force on a container that runs.
    fn update(&self, _container: &ContainerId, _limits: &Limits) -> Result<(), IsolatorError> {
        Ok(())
    }

    /// The cgroup directories that the container's first process enters before it executes its command.
    fn isolate(&self, container: &ContainerId) -> Vec<PathBuf>;

    /// The limit that the container has hit, if it has. Level-triggered: it says so until the container is cleaned
    /// up, also after the container's end.
    fn watch(&self, container: &ContainerId) -> Option<Limitation>;

    /// A descriptor that becomes readable when some container may have hit a limit; then [`Isolator::alarmed`] names it.
    fn alarm(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The containers behind the alarm, each told once. Whether one really hit its limit, [`Isolator::watch`] says.
    fn alarmed(&self) -> Vec<ContainerId> {
        Vec::new()
    }

    /// Watches a container again that runs since before this node process was started.
    fn adopt(&self, _container: &ContainerId) -> Result<(), IsolatorError> {
        Ok(())
    }

    /// Adds what this isolator can tell about a container whose first process is `pid`.
    fn usage(
        &self,
        container: &ContainerId,
        pid: u32,
        usage: &mut Usage,
    ) -> Result<(), IsolatorError>;

    /// Removes what [`Isolator::prepare`] made. Idempotent.
    fn cleanup(&self, container: &ContainerId) -> Result<(), IsolatorError>;

    /// The containers that this isolator holds something for, to find what an interrupted launch left behind.
    fn known(&self) -> Result<Vec<ContainerId>, IsolatorError> {
        Ok(Vec::new())
    }
}

/// Why an isolator could not do its part.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path:?}: {source}")]
pub struct IsolatorError {
    /// What was tried, as a verb phrase.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// The system's answer.
    pub source: std::io::Error,
}

impl IsolatorError {
    pub(crate) fn new(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self { action, path, source }
    }
}

/// The isolators that can be selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IsolatorName {
    /// `cgroups/cpu`: shares, and a quota where it is switched on.
    CgroupsCpu,
    /// `cgroups/mem`: the memory limit; says when it was hit.
    CgroupsMem,
    /// `cgroups/pids`: the number of processes and threads.
    CgroupsPids,
    /// `posix/cpu`: only reports processor use.
    PosixCpu,
    /// `posix/mem`: only reports memory use.
    PosixMem,
}

/// Why a text is not an isolator, or a list of them cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IsolatorNameError {
    /// No isolator has that name.
    #[error("unknown isolator {found:?}; did you mean {nearest:?}? known are {}", known_names())]
    Unknown {
        /// The text.
        found: String,
        /// The known name that is most like it.
        nearest: &'static str,
    },
    /// Two isolators of the list do the same.
    #[error("the isolators {first:?} and {second:?} exclude each other; choose one of them")]
    Conflict {
        /// The one named first.
        first: &'static str,
        /// The one named second.
        second: &'static str,
    },
}

impl IsolatorName {
    /// Every known isolator.
    pub const ALL: [Self; 5] =
        [Self::CgroupsCpu, Self::CgroupsMem, Self::CgroupsPids, Self::PosixCpu, Self::PosixMem];
    /// The isolators used where cgroups can be used.
    pub const CGROUPS: [Self; 3] = [Self::CgroupsCpu, Self::CgroupsMem, Self::CgroupsPids];
    /// The isolators used elsewhere.
    pub const POSIX: [Self; 2] = [Self::PosixCpu, Self::PosixMem];

    /// The name as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CgroupsCpu => "cgroups/cpu",
            Self::CgroupsMem => "cgroups/mem",
            Self::CgroupsPids => "cgroups/pids",
            Self::PosixCpu => "posix/cpu",
            Self::PosixMem => "posix/mem",
        }
    }

    /// Whether it needs cgroups.
    #[must_use]
    pub const fn needs_cgroups(self) -> bool {
        matches!(self, Self::CgroupsCpu | Self::CgroupsMem | Self::CgroupsPids)
    }

    /// What it is about: two isolators of one subject exclude each other.
    const fn subject(self) -> &'static str {
        match self {
            Self::CgroupsCpu | Self::PosixCpu => "cpu",
            Self::CgroupsMem | Self::PosixMem => "mem",
            Self::CgroupsPids => "pids",
        }
    }

    /// Parses a list as the flag `--isolation` takes it: names with commas between.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, IsolatorNameError> {
        let mut names: Vec<Self> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let name = part.parse::<Self>()?;
            if let Some(first) = names.iter().find(|other| other.subject() == name.subject()) {
                return Err(IsolatorNameError::Conflict {
                    first: first.as_str(),
                    second: name.as_str(),
                });
            }
            names.push(name);
        }
        Ok(names)
    }
}

impl fmt::Display for IsolatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for IsolatorName {
    type Err = IsolatorNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(name) = Self::ALL.into_iter().find(|name| name.as_str() == text) {
            return Ok(name);
        }
        let nearest = Self::ALL
            .into_iter()
            .min_by_key(|name| strsim::damerau_levenshtein(name.as_str(), text))
            .unwrap_or(Self::CgroupsCpu);
        Err(IsolatorNameError::Unknown { found: text.to_owned(), nearest: nearest.as_str() })
    }
}

fn known_names() -> String {
    IsolatorName::ALL.map(IsolatorName::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_is_parsed() {
        let names = IsolatorName::parse_list("cgroups/cpu, cgroups/mem,posix/cpu");
        assert!(matches!(names, Err(IsolatorNameError::Conflict { .. })));
        let names = IsolatorName::parse_list("cgroups/cpu, cgroups/mem,cgroups/pids").unwrap();
        assert_eq!(names, IsolatorName::CGROUPS);
        assert_eq!(IsolatorName::parse_list("").unwrap(), []);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let error = IsolatorName::parse_list("cgroup/memory").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown isolator \"cgroup/memory\"; did you mean \"cgroups/mem\"? known are \
             cgroups/cpu, cgroups/mem, cgroups/pids, posix/cpu, posix/mem"
        );
    }
}
