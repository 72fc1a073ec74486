//! What can go wrong with the data directory.

use std::{io, path::PathBuf};

use meshos_protocol::ids::{ClusterId, Fence};

/// Why the data directory cannot be used, with the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
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
    /// Another process works in the directory.
    #[error(
        "data directory {path} is in use by {holder}: stop that process, or give this node another --data-dir"
    )]
    Held {
        /// The data directory.
        path: PathBuf,
        /// Who holds it (`process 4711`), as far as it is known.
        holder: String,
    },
    /// A file is not what was written into it.
    #[error(
        "file {path} is damaged ({reason}): restore it from a copy, or empty the data directory to let this machine join as a new node"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The node belongs to a cluster and was asked to belong to another.
    #[error(
        "this node belongs to cluster {ours}, not to {theirs}: point it at seeds of its own cluster, or empty the data directory to move it"
    )]
    OtherCluster {
        /// The cluster in the data directory.
        ours: ClusterId,
        /// The cluster that was met.
        theirs: ClusterId,
    },
    /// A fence would go back to a lower term.
    #[error("term {} is below term {} that this node has already seen", .offered.term, .newest.term)]
    StaleFence {
        /// What was to be stored.
        offered: Fence,
        /// What is on disk.
        newest: Fence,
    },
    /// The kept statement on a rebuilt group of voters is not one.
    #[error(
        "file {path} is not usable ({reason}): if this is the node that was recovered, run `meshos voters recover` again with the keys of this cluster, else remove the file"
    )]
    BadRecovery {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The system's source of randomness failed, so no ids can be made.
    #[error("the system's random number generator failed: ids cannot be made")]
    NoRandomness,
}

impl IdentityError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
