//! The containerizer as the agent sees it: what can be asked of it and what it tells.
//!
//! The agent's state machine decides; a [`Containerizer`] carries out. The agent writes its intent to disk before it
//! calls [`Containerizer::launch`], and an exit status before it calls [`Containerizer::release`]; between these two the
//! launcher process keeps the truth, so that a node that dies in between learns it at its next
//! [`Containerizer::recover`].

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::container::{ContainerId, ContainerSpec, Limits};
use crate::error::{Error, LaunchError};

/// Starts, stops and watches containers.
///
/// Every method may be called again after an error. Only `launch` is not idempotent: a second launch of the same
/// name is [`LaunchError::Exists`] until the first was released.
#[async_trait]
pub trait Containerizer: Send + Sync + fmt::Debug {
    /// Everything that is known to run or to have ended without being released, and cleans up what an interrupted
    /// launch left behind. Called once when the node starts, before the first launch. Exits listed here are also
    /// delivered as events; both may be acted on, the second changes nothing.
    async fn recover(&self) -> Result<Vec<RecoveredContainer>, Error>;

    /// Makes the sandbox, fetches, isolates and starts. When it returns `Ok`, the process has replaced itself with
    /// the command; when it returns an error, nothing of the container is left but its sandbox.
    async fn launch(&self, spec: ContainerSpec) -> Result<Started, LaunchError>;

    /// Sends SIGTERM to the container's processes. A container that has ended is left alone.
    async fn terminate(&self, container: &ContainerId) -> Result<(), Error>;

    /// Kills everything in the container and returns when nothing of it is left. Idempotent; a container that is
    /// not known is no error. The exit is still announced, and still has to be released. A launch that is under way is
    /// called off: it returns [`LaunchError::Destroyed`], or the container ends as soon as it has started.
    async fn destroy(&self, container: &ContainerId) -> Result<(), Error>;

    /// The exit status is on the agent's disk: kills leftovers, forgets the container and removes its cgroups.
    /// Idempotent. Refused while the container's first process runs.
    async fn release(&self, container: &ContainerId) -> Result<(), Error>;

    /// Changes what a running container may use. Memory is limited to less only when the container uses less than
    /// that already: the kernel would end what it needs.
    async fn update(&self, container: &ContainerId, limits: Limits) -> Result<(), Error>;

    /// What the container uses now.
    async fn usage(&self, container: &ContainerId) -> Result<Usage, Error>;
}

/// A container that has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its first process; also its process group and session.
    pub pid: u32,
}

/// A container that the launcher knew when the node came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredContainer {
    /// Its name.
    pub container: ContainerId,
    /// Its first process, also when that has ended.
    pub pid: u32,
    /// What became of it.
    pub state: RecoveredState,
}

/// What became of a recovered container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveredState {
    /// Its first process runs.
    Running,
    /// Its first process has ended.
    Exited {
        /// How.
        status: ExitStatus,
        /// The limit that it hit, if an isolator can tell.
        limitation: Option<Limitation>,
    },
}

/// How a container's first process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It is over, but nobody could read how.
    Unreadable {
        /// Why, as a whole sentence for the framework.
        reason: String,
    },
}

impl ExitStatus {
    /// Whether the process ended with exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(named) => write!(f, "ended by signal {signal} ({named})"),
                Err(_) => write!(f, "ended by signal {signal}"),
            },
            Self::Unreadable { reason } => f.write_str(reason),
        }
    }
}

/// A limit that a container hit, found by an isolator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limitation {
    /// The kernel killed processes of the container because its memory limit was reached.
    Memory {
        /// The limit, in bytes.
        limit_bytes: u64,
        /// The highest use that was counted, in bytes; 0 when the kernel does not say.
        usage_max_bytes: u64,
        /// How many processes the kernel killed.
        kills: u64,
    },
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { limit_bytes, usage_max_bytes, kills } => write!(
                f,
                "memory limit exceeded: the limit is {limit_bytes} bytes, the highest use {usage_max_bytes} bytes, \
                 and the kernel killed {kills} of the container's processes"
            ),
        }
    }
}

/// What a container uses. A field is none when no selected isolator can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in user mode since the start, in microseconds.
    pub cpu_user_us: Option<u64>,
    /// Processor time in the kernel since the start, in microseconds.
    pub cpu_system_us: Option<u64>,
    /// Periods in which the container was held back by its cpu quota.
    pub cpu_throttled_periods: Option<u64>,
    /// Memory in use, in bytes.
    pub memory_bytes: Option<u64>,
    /// The memory limit in force, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Processes (posix) or processes and threads (cgroups) in the container.
    pub processes: Option<u64>,
}

/// What a containerizer tells without being asked, over the channel given at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// A container's first process has ended.
    Exited {
        /// Which.
        container: ContainerId,
        /// How.
        status: ExitStatus,
        /// The limit that it hit, if an isolator can tell.
        limitation: Option<Limitation>,
    },
    /// The launcher is gone; containers go on. A new one is being started.
    LauncherLost {
        /// What was seen.
        reason: String,
    },
    /// A launcher is there again and has adopted what still runs.
    LauncherBack {
        /// Its process.
        pid: u32,
    },
}
