//! The words of the raft group's interface.

use std::{fmt, path::PathBuf, time::Duration};

use meshos_protocol::{
    ids::{NodeId, Term},
    messages::node::Release,
};
use serde::{Deserialize, Serialize};

/// The longest command that can be proposed, in bytes.
pub const COMMAND_BYTES_MAX: usize = 1024 * 1024;
/// The longest request or answer between voters, in bytes; transports refuse longer frames.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest part of a snapshot in one request, in bytes.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// The largest snapshot, in bytes.
pub const SNAPSHOT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The most voters a group may have.
pub const VOTERS_MAX: usize = 7;

/// A member of the raft group. A node that lost its data comes back under another `raft_id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Voter {
    /// Names one log for its whole life; never used again once that log is lost.
    pub raft_id: u64,
    /// The node that keeps the log.
    pub node_id: NodeId,
    /// Where the node listens for QUIC, `host:port`.
    pub address: String,
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.node_id, self.address)
    }
}

/// How fast raft notices that a leader is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often the leader shows that it lives, in milliseconds.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a voter campaigns, in milliseconds.
    pub election_min_ms: u64,
    /// The longest such silence, and how long voters keep faith with a leader, in milliseconds.
    pub election_max_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 300, election_max_ms: 600 }
    }
}

impl Timing {
    /// All times multiplied, for slow disks and loaded test machines.
    #[must_use]
    pub const fn scaled(self, factor: u64) -> Self {
        let factor = if factor == 0 { 1 } else { factor };
        Self {
            heartbeat_ms: self.heartbeat_ms.saturating_mul(factor),
            election_min_ms: self.election_min_ms.saturating_mul(factor),
            election_max_ms: self.election_max_ms.saturating_mul(factor),
        }
    }

    /// How long after a request that a majority acknowledged no other leader can exist. Voters
    /// wait `election_max_ms` from the receipt; a tenth is left for clocks that run unevenly.
    #[must_use]
    pub const fn lease(self) -> Duration {
        Duration::from_millis(self.election_max_ms - self.election_max_ms / 10)
    }

    /// How long a restarted voter neither campaigns nor votes: it has forgotten to which leader
    /// it promised what, and a lease that counts on the promise may still run.
    #[must_use]
    pub const fn settle(self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }
}

/// A member of the group and the release that it runs; known on the leader alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRelease {
    /// The member.
    pub voter: Voter,
    /// Voter or learner.
    pub role: VoterRole,
    /// As it told last, before it was added or with an answer; absent while it has told nothing.
    pub release: Option<Release>,
    /// Whether it has told so within the last few heartbeats. Whoever does not answer may come back
    /// with another release.
    pub answers: bool,
}

/// How many entries make a new snapshot due.
pub const SNAPSHOT_EVERY_ENTRIES: u64 = 5_000;

/// What a group needs to open.
#[derive(Debug, Clone)]
pub struct Options {
    /// Holds `raft.redb` and the snapshots; made if missing.
    pub data_dir: PathBuf,
    /// This log's id, from the node's identity.
    pub raft_id: u64,
    /// This node.
    pub node_id: NodeId,
    /// Where this node listens for QUIC, `host:port`.
    pub address: String,
    /// Heartbeats and election time-outs; the same on all voters.
    pub timing: Timing,
    /// What this node runs.
    pub release: Release,
    /// After how many entries a snapshot is made; [`SNAPSHOT_EVERY_ENTRIES`] but in tests.
    pub snapshot_every_entries: u64,
}

/// Who leads, as this node knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The highest term this node has seen.
    pub term: Term,
    /// The leader of that term, once known. It may be this node before `led` is set.
    pub leader: Option<Voter>,
    /// Set while this node leads and may act; see [`Led`].
    pub led: Option<Led>,
}

impl Leadership {
    /// Whether this node leads and may act.
    #[must_use]
    pub const fn i_lead(&self) -> bool {
        self.led.is_some()
    }
}

/// This node leads: it has committed an entry of its own term, everything before it is applied,
/// and its lease runs.
///
/// Given at most once for a term. When the lease ends, or leadership is handed over, it is taken
/// back for good: a leader that finds its majority again hands over to a new term, so that the
/// term fences what the deposed one had in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Led {
    /// The term that this node leads.
    pub term: Term,
    /// The registry was current when it had applied this index.
    pub applied_index: u64,
}

/// A member of the group as seen from here; contact and lag are known on the leader alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterStatus {
    /// The member.
    pub voter: Voter,
    /// Voter or learner.
    pub role: VoterRole,
    /// Whether this is the leader.
    pub is_leader: bool,
    /// How long ago the request was sent that it last acknowledged. Zero for the leader itself.
    pub last_contact: Option<Duration>,
    /// How many entries of the leader's log it does not have yet.
    pub lag: Option<u64>,
}

/// What a member of the group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoterRole {
    /// Votes, and counts for a majority.
    Voter,
    /// Receives the log only, until it is promoted.
    Learner,
}

/// A command that was committed and applied here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its place in the log.
    pub index: u64,
    /// The term that it was proposed in.
    pub term: Term,
    /// What [`RegistryMachine::apply`](super::RegistryMachine::apply) returned.
    pub response: Vec<u8>,
}

/// Whether this node still takes part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Running,
    /// The disk failed: nothing is acknowledged any more. The node must end; it may be started
    /// again once the cause is gone.
    StorageFailed {
        /// The file that could not be written or read.
        file: PathBuf,
        /// What the system said.
        error: String,
    },
    /// The registry did not take a snapshot or an entry, for this reason. The node must end;
    /// another release of it may be able to go on.
    NotTaken(String),
    /// It was shut down, or raft gave up for this reason.
    Stopped(String),
}

/// Where the log stands; indexes count from 0, and are absent before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// The highest term seen.
    pub term: Term,
    /// The newest entry.
    pub last_index: Option<u64>,
    /// The newest entry known here to be committed.
    pub committed_index: Option<u64>,
    /// The newest entry that the registry has applied.
    pub applied_index: Option<u64>,
    /// The newest entry in the snapshot on disk.
    pub snapshot_index: Option<u64>,
    /// The newest entry that the log no longer holds.
    pub purged_index: Option<u64>,
}
