//! What can go wrong with keys.

use std::{io, path::PathBuf};

/// Why a key, certificate or token cannot be used. No text of it holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The disk or the file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, in words.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key file is not there.
    #[error(
        "key file {path} is missing: make keys with `meshos keygen`, or copy all files of the cluster's key directory"
    )]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// There is something where new keys were to be written.
    #[error(
        "{path} exists and is not an empty directory: keys are never overwritten, name a new directory"
    )]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// Others than its owner may read or change a secret.
    #[error(
        "key file {path} is open to others (mode {mode:03o}): run `chmod 600 {path}`, and make new keys if it was read"
    )]
    Permissive {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret belongs to somebody else, who could change it.
    #[error(
        "key file {path} belongs to user {owner}, not to the user of this process or root: run `chown` on it"
    )]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// The owner's user id.
        owner: u32,
    },
    /// A key file does not hold what its name says.
    #[error("key file {path} is not valid ({reason}): copy it again from where the keys were made")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A text that was handed over is not a key or token.
    #[error("not a valid {what}: {reason}")]
    Text {
        /// What was expected.
        what: &'static str,
        /// What does not fit.
        reason: &'static str,
    },
    /// A certificate or a signing request is refused.
    #[error("{what} refused: {reason}")]
    Refused {
        /// Certificate or request.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// Making a key or a certificate failed.
    #[error("cannot make {what}: {reason}")]
    Crypto {
        /// What was to be made.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl KeyError {
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn refused(what: &'static str, reason: impl ToString) -> Self {
        Self::Refused { what, reason: reason.to_string() }
    }

    pub(super) fn crypto<E: ToString>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |reason| Self::Crypto { what, reason: reason.to_string() }
    }
}
