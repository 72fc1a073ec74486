//! What can go wrong, said so that the operator knows what to do.

use std::path::PathBuf;

use super::Voter;

/// Why a group did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data directory.
    #[error("{} is in use by another process; stop that one first", file.display())]
    InUse {
        /// The locked file.
        file: PathBuf,
    },
    /// The file lost what was acknowledged; this log must not be used again.
    #[error(
        "{} is damaged: {reason}; this node's raft log cannot be trusted any more: move its data directory \
         away and start the node again, so that it joins as a new node and copies the log from the others",
        file.display()
    )]
    Damaged {
        /// The damaged file.
        file: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file belongs to another log.
    #[error(
        "{} belongs to raft id {found:x}, but this node's identity says {expected:x}; the data directory is mixed \
         from two nodes: restore the right one, or move it away and start the node again as a new one",
        file.display()
    )]
    OtherLog {
        /// The file.
        file: PathBuf,
        /// The id in the file.
        found: u64,
        /// The id in the options.
        expected: u64,
    },
    /// The file was written by a newer release.
    #[error("{} has format {found}, this release reads up to {known}; start the newer release", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// The format in the file.
        found: u64,
        /// The newest format known here.
        known: u64,
    },
    /// The system refused.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The registry did not take the snapshot or the log.
    #[error("the registry cannot be restored: {0}")]
    Restore(String),
    /// The options cannot be used.
    #[error("raft cannot start: {0}")]
    Options(String),
}

/// Why a proposal was not applied here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was proposed: this node does not lead.
    #[error("this node does not lead{}", leader_hint(leader.as_ref()))]
    NotLeader {
        /// Who does, if known.
        leader: Option<Voter>,
    },
    /// Leadership ended before the outcome was known: the command may yet be applied, or never.
    #[error("leadership ended before the command was committed; it may yet be applied")]
    Uncertain,
    /// Nothing was proposed: the command is too long.
    #[error("the command has {bytes} bytes, the most is {max}")]
    TooBig {
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        max: usize,
    },
    /// Nothing is proposed any more: the group stopped.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// Why the group was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Only the leader changes the group.
    #[error("this node does not lead{}", leader_hint(leader.as_ref()))]
    NotLeader {
        /// Who does, if known.
        leader: Option<Voter>,
    },
    /// Another change is under way.
    #[error("another change of the group is under way; try again when it is done")]
    InProgress,
    /// The change cannot be made.
    #[error("{0}")]
    Refused(String),
    /// The change was begun, and whether it took effect is not known; look at the voters.
    #[error("the change did not end within its time; look at the voters before trying again")]
    Uncertain,
    /// The group stopped.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// Why a request of another voter was not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// The sender is no member of the group, and nobody vouched for it.
    #[error("{from} is not a member of the raft group")]
    NotMember {
        /// The sender, as the connection proved it.
        from: meshos_protocol::ids::NodeId,
    },
    /// The request is for another log, most often one that was lost and replaced.
    #[error("the request is for raft id {wanted:x}, this node is {own:x}")]
    NotForMe {
        /// The id in the request.
        wanted: u64,
        /// This node's id.
        own: u64,
    },
    /// The request is longer than allowed.
    #[error("the request has {bytes} bytes, the most is {max}")]
    TooBig {
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        max: usize,
    },
    /// The request cannot be read, or breaks raft's rules.
    #[error("bad request: {0}")]
    Malformed(String),
    /// The voter restarted a moment ago and does not vote yet.
    #[error("restarted a moment ago, not voting yet")]
    Settling,
    /// The group stopped.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

fn leader_hint(leader: Option<&Voter>) -> String {
    leader.map_or_else(|| "; no leader is known".to_owned(), |leader| format!("; {leader} does"))
}
