//! The errors of this crate. A [`LaunchError`] ends a task and is shown to the framework, so each is a whole
//! sentence that says what was wrong, where, and what to do.

use std::path::PathBuf;

use crate::container::ContainerId;
use crate::isolator::IsolatorError;

/// Why an operation on a containerizer failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container of that name is known.
    #[error("no container {container} is known to the launcher")]
    UnknownContainer {
        /// The name that was asked for.
        container: ContainerId,
    },
    /// The launcher could not be started or reached.
    #[error("the launcher is not reachable: {reason}")]
    LauncherUnreachable {
        /// What happened, and where its log is when it has one.
        reason: String,
    },
    /// The launcher answered, but refused.
    #[error("the launcher refused to {action}: {reason}")]
    Refused {
        /// What was asked for, as a verb phrase.
        action: &'static str,
        /// The launcher's words.
        reason: String,
    },
    /// The containerizer is shutting down.
    #[error("the containerizer has stopped")]
    Stopped,
    /// An option has a value that cannot be used.
    #[error("{0}")]
    Options(String),
    /// A system call on a path failed.
    #[error("{action} {path:?}: {source}")]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The path it was tried on.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl From<IsolatorError> for Error {
    fn from(error: IsolatorError) -> Self {
        Self::Io { action: error.action, path: error.path, source: error.source }
    }
}

/// Why a container did not start. Nothing of it runs after one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The specification itself cannot be carried out.
    #[error("the container cannot be started: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// A container of that name runs already or was not released yet.
    #[error("a container named {container} exists already")]
    Exists {
        /// The name.
        container: ContainerId,
    },
    /// Something that the task needs could not be fetched.
    #[error("could not fetch {uri}: {reason}")]
    Fetch {
        /// The URI as the framework gave it.
        uri: String,
        /// Why.
        reason: String,
    },
    /// The user does not exist or may not be used.
    #[error("{reason}")]
    User {
        /// The user asked for, if one was.
        user: Option<String>,
        /// A whole sentence.
        reason: String,
    },
    /// A volume cannot be shown in the sandbox.
    #[error("the volume at {path:?} cannot be used: {reason}")]
    Volume {
        /// Where the task would see it.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The sandbox could not be made or entered.
    #[error("could not prepare the sandbox {path:?}: {reason}")]
    Sandbox {
        /// The sandbox.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The container could not be isolated as asked.
    #[error("could not isolate the container with {isolator}: {reason}")]
    Isolation {
        /// The isolator's name, or `launcher` for what the launcher does itself.
        isolator: String,
        /// Why.
        reason: String,
    },
    /// The command could not be executed.
    #[error("could not execute {command}: {reason}")]
    Exec {
        /// The command as shown to users.
        command: String,
        /// Why, for example `command not found in PATH ...`.
        reason: String,
    },
    /// Somebody asked for its end while it was being launched.
    #[error("the container was destroyed before it was started")]
    Destroyed,
    /// The launcher could not be asked, or died before it started the container.
    #[error("the container was not started: {reason}")]
    Launcher {
        /// Why.
        reason: String,
    },
}
