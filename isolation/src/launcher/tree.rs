//! Finding and killing everything in a container, by cgroup where it has one, by session and descent otherwise.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::linux::cgroups;
use crate::linux::process::{self, Processes};

/// How the processes of one container are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tracker {
    /// Everything in this cgroup.
    Cgroup(PathBuf),
    /// By session, group, descent and mark.
    Session {
        /// In the environment of each of them.
        mark: String,
    },
}

impl Tracker {
    pub(crate) fn new(tracking: Option<&str>, mark: &str) -> Self {
        match tracking {
            Some(directory) => Self::Cgroup(PathBuf::from(directory)),
            None => Self::Session { mark: mark.to_owned() },
        }
    }

    /// Sends SIGTERM to the processes of the container whose first process is or was `pid`.
    pub(crate) fn terminate(&self, pid: u32) -> io::Result<()> {
        match self {
            Self::Cgroup(directory) => process::signal_cgroup(directory, Signal::SIGTERM).map(drop),
            Self::Session { mark } => signal_session(mark, pid, Signal::SIGTERM).map(drop),
        }
    }

    /// Kills everything in the container once and tells whether anything was there to kill. Called again until
    /// nothing is: a process may be forking while it is looked for.
    pub(crate) fn kill(&self, pid: u32) -> io::Result<Remains> {
        match self {
            Self::Cgroup(directory) => cgroups::kill(directory).map(remains),
            Self::Session { mark } => signal_session(mark, pid, Signal::SIGKILL),
        }
    }

    /// Kills what the first process leaves behind, as cheaply as possible: most leave nothing. Called when it has ended
    /// and was not waited for yet, so that its pid still names its group.
    pub(crate) fn kill_leftovers(&self, pid: u32) -> io::Result<Remains> {
        match self {
            Self::Cgroup(directory) => cgroups::kill(directory).map(remains),
            Self::Session { .. } => {
                // Reaches the dead leader itself too, so it says nothing about who is left.
                match killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => Ok(Remains::Unknown),
                    Err(errno) => Err(errno.into()),
                }
            }
        }
    }
}

/// What was found in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing.
    Nothing,
    /// Processes, which were killed and are about to end.
    Some,
    /// Not looked for.
    Unknown,
}

fn remains(any: bool) -> Remains {
    if any { Remains::Some } else { Remains::Nothing }
}

fn signal_session(mark: &str, pid: u32, signal: Signal) -> io::Result<Remains> {
    let members = Processes::read()?.of_container(mark, pid, Some(std::process::id()));
    for member in &members {
        member.signal(signal)?;
    }
    Ok(remains(!members.is_empty()))
}
