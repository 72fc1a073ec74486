//! The types that openraft is instantiated with, and nothing else of ours depends on.

use std::fmt;

use meshos_protocol::ids::NodeId;
use openraft::{SnapshotPolicy, StepDownPolicy};
use serde::{Deserialize, Serialize};

use super::{OpenError, SNAPSHOT_CHUNK_BYTES_MAX, Timing, Voter};

openraft::declare_raft_types!(
    /// `leader_id_std`: one leader for each term, or the term could not fence anything.
    pub(crate) TypeConfig:
        D = Command,
        R = Response,
        NodeId = u64,
        Node = Member,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::alias::PayloadOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

/// An opaque command of the registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command(#[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The registry's opaque answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Response(#[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

/// What the group's membership records for each raft id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) node_id: NodeId,
    pub(crate) address: String,
}

#[cfg(test)]
impl Default for Member {
    fn default() -> Self {
        Self { node_id: NodeId::from_bits(0), address: String::new() }
    }
}

impl Member {
    pub(crate) fn of(voter: &Voter) -> Self {
        Self { node_id: voter.node_id, address: voter.address.clone() }
    }

    pub(crate) fn voter(&self, raft_id: u64) -> Voter {
        Voter { raft_id, node_id: self.node_id, address: self.address.clone() }
    }
}

pub(crate) const fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: openraft::vote::leader_id_std::CommittedLeaderId { term }, index }
}

/// What part of the entries that make a snapshot stays in the log after it, for voters that lag a little.
const LOG_KEPT_PART: u64 = 5;

/// Openraft's settings. What is not named here stays as it is by default, on purpose.
pub(super) fn openraft_config(
    timing: Timing,
    snapshot_every_entries: u64,
) -> Result<openraft::Config, OpenError> {
    let Timing { heartbeat_ms, election_min_ms, election_max_ms } = timing;
    let chunk_bytes = u64::try_from(SNAPSHOT_CHUNK_BYTES_MAX).expect("a constant below 2^64");
    let config = openraft::Config {
        cluster_name: "meshos".to_owned(),
        heartbeat_interval: heartbeat_ms,
        election_timeout_min: election_min_ms,
        election_timeout_max: election_max_ms,
        // Covers a whole chunk with its fsync at the receiver, not the whole snapshot.
        install_snapshot_timeout: election_max_ms.saturating_mul(10),
        snapshot_max_chunk_size: chunk_bytes,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_every_entries),
        max_in_snapshot_log_to_keep: snapshot_every_entries / LOG_KEPT_PART,
        // Queues are bounded well below the defaults: a registry write is never one of thousands.
        api_channel_size: Some(4_096),
        notification_channel_size: Some(4_096),
        // Followers write an entry while the leader does, which is most of a commit's time.
        broadcast_submitted_on_append: Some(true),
        enable_pre_vote: Some(true),
        // A restarted leader must be elected again: it may have been replaced meanwhile.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        // A leader that is heard but hears nobody must fall silent, or its heartbeats would keep
        // the others from electing one that can work.
        quorum_loss_probe_interval: Some(election_max_ms.saturating_mul(2)),
        removed_leader_step_down: StepDownPolicy::After(election_min_ms),
        backoff: format!("{heartbeat_ms}ms ..{}ms", election_max_ms.max(heartbeat_ms * 4)),
        ..openraft::Config::default()
    };
    config.validate().map_err(|error| OpenError::Options(error.to_string()))
}
