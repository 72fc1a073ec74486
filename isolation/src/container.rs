//! What a container is asked to be: the plain data that the agent hands to a containerizer.
//!
//! Everything here is serializable with named fields, because the same data goes to the launcher process and
//! into records on disk that the next release must still read.

use std::borrow::Borrow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest container id, in bytes. It becomes a file name and a cgroup name, so it stays far below `NAME_MAX`.
pub const CONTAINER_ID_BYTES_MAX: usize = 64;

/// The name of one container: 1 to 64 characters of `a-z`, `0-9` and `-`.
///
/// It is used as a file name, as a cgroup directory and as an environment value, so it can never hold a `/`, a dot
/// or a NUL; the only way to make one is to parse it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Why a text is not a container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerIdError {
    /// The text has no characters.
    #[error("a container id is empty; it needs 1 to 64 characters of a-z, 0-9 and '-'")]
    Empty,
    /// The text is too long to be a cgroup and file name with room to spare.
    #[error("a container id has {0} bytes; at most 64 are allowed")]
    TooLong(usize),
    /// A character outside the alphabet, and its byte position.
    #[error(
        "a container id has the character {found:?} at position {position}; only a-z, 0-9 and '-' are allowed"
    )]
    Character {
        /// The character that is not allowed.
        found: char,
        /// Its position in bytes, from 0.
        position: usize,
    },
}

impl ContainerId {
    /// Checks `text` and makes it an id.
    pub fn new(text: impl Into<String>) -> Result<Self, ContainerIdError> {
        let text = text.into();
        if text.is_empty() {
            return Err(ContainerIdError::Empty);
        }
        if text.len() > CONTAINER_ID_BYTES_MAX {
            return Err(ContainerIdError::TooLong(text.len()));
        }
        let wrong = text.char_indices().find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '-'));
        match wrong {
            Some((position, found)) => Err(ContainerIdError::Character { found, position }),
            None => Ok(Self(text)),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({})", self.0)
    }
}

impl FromStr for ContainerId {
    type Err = ContainerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = ContainerIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl Borrow<str> for ContainerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments. A `path` without a slash is looked for in the container's `PATH`; one with a
    /// slash that is not absolute is taken from the sandbox.
    Exec {
        /// The program.
        path: String,
        /// The arguments after the program's own name, which is `path` as given.
        args: Vec<String>,
    },
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(line) => write!(f, "sh -c {line:?}"),
            Self::Exec { path, .. } => write!(f, "{path:?}"),
        }
    }
}

/// What a container may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor share, in thousandths of one cpu.
    pub cpus_millis: u32,
    /// How much of it may be taken back at any time, which weighs little beside what may not.
    #[serde(default)]
    pub revocable_cpus_millis: u32,
    /// Memory, in bytes; none means no limit.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Processes and threads; none means no limit.
    #[serde(default)]
    pub pids_max: Option<u32>,
}

/// One thing to bring into the sandbox before the container starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uri {
    /// An absolute path, or a URI of the kinds `file://` and `http://`.
    pub value: String,
    /// Make the fetched file executable.
    #[serde(default)]
    pub executable: bool,
    /// Unpack the fetched file when its name says that it is an archive (tar, tar.gz, tgz, gz).
    #[serde(default)]
    pub extract: bool,
    /// Name of the file, relative to the sandbox; otherwise the last part of the URI's path.
    #[serde(default)]
    pub output_file: Option<String>,
    /// The file may come from a cache. It is a permission: without a cache the file is fetched each time.
    #[serde(default)]
    pub cache: bool,
}

impl Uri {
    /// A URI with every option off.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            executable: false,
            extract: false,
            output_file: None,
            cache: false,
        }
    }
}

/// A directory that outlives the container and is seen in its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The directory, an absolute path; made when it does not exist.
    pub source: PathBuf,
    /// Where it is seen, relative to the sandbox.
    pub container_path: String,
}

/// Everything a containerizer needs to know to start a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The container's name, never used before on this node.
    pub container: ContainerId,
    /// What it runs.
    pub command: Command,
    /// Variables added to the minimal environment (`PATH`, `HOME`, `USER`, `LOGNAME`, the sandbox). Later entries win.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// The user it runs as; none means the node's own user (see [`crate::user`]).
    #[serde(default)]
    pub user: Option<String>,
    /// This container may run as root, if the node allows root tasks too.
    #[serde(default)]
    pub allow_root: bool,
    /// Its working directory, an absolute path; made when it does not exist.
    pub sandbox: PathBuf,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// What to fetch into the sandbox first.
    #[serde(default)]
    pub uris: Vec<Uri>,
    /// The volumes that it sees in its sandbox.
    #[serde(default)]
    pub volumes: Vec<VolumeMount>,
    /// The container beside whose processes it runs: in its cgroups, so that it counts against its limits, and not longer than it.
    /// Then `sandbox` is there already, `limits`, `uris` and `volumes` are not looked at, and what the command prints goes nowhere.
    #[serde(default)]
    pub inside: Option<ContainerId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_hold_only_their_alphabet() {
        assert_eq!(ContainerId::new("a-0").unwrap().as_str(), "a-0");
        assert_eq!(ContainerId::new(""), Err(ContainerIdError::Empty));
        assert_eq!(ContainerId::new("a".repeat(65)), Err(ContainerIdError::TooLong(65)));
        assert!(ContainerId::new("a".repeat(64)).is_ok());
        for bad in ["../x", "a/b", "A", "a.b", "a\0", "ä"] {
            assert!(
                matches!(ContainerId::new(bad), Err(ContainerIdError::Character { .. })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_decoded_container_id_is_checked() {
        let bytes = rmp_serde::to_vec("../../etc").unwrap();
        assert!(rmp_serde::from_slice::<ContainerId>(&bytes).is_err());
    }
}
