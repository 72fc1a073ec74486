//! The form of raft's data on disk and on the wire: ours, so that it outlives openraft's releases.
//!
//! Named MessagePack fields; new ones get a default, and nothing is ever renamed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Voter,
    config::{
        Command, Entry, LeaderId, LogId, Member, Membership, Payload, SnapshotMeta,
        StoredMembership, Vote, log_id,
    },
};

/// A joint membership has two sets of voters; more than this is not ours.
const CONFIGS_MAX: usize = 4;
/// Voters and learners together, those that are on their way in and out among them.
const MEMBERS_MAX: usize = 64;

/// A record that decodes but cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadRecord(pub(super) String);

/// The place of an entry in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogIdRecord {
    pub(super) term: u64,
    pub(super) index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        log_id(record.term, record.index)
    }
}

/// For whom a voter voted, or whom it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VoteRecord {
    pub(super) term: u64,
    pub(super) candidate: u64,
    pub(super) committed: bool,
}

impl From<Vote> for VoteRecord {
    fn from(vote: Vote) -> Self {
        let LeaderId { term, voted_for } = vote.leader_id;
        Self { term, candidate: voted_for, committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        let leader_id = LeaderId { term: record.term, voted_for: record.candidate };
        Self { leader_id, committed: record.committed }
    }
}

/// Who is in the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MembershipRecord {
    /// The sets of voters: one, or two while a change is under way.
    pub(super) configs: Vec<BTreeSet<u64>>,
    /// Voters and learners.
    pub(super) members: Vec<Voter>,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            configs: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, member)| member.voter(*id)).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = BadRecord;

    fn try_from(record: MembershipRecord) -> Result<Self, BadRecord> {
        if record.configs.len() > CONFIGS_MAX || record.members.len() > MEMBERS_MAX {
            return Err(BadRecord("membership is larger than any group".to_owned()));
        }
        let nodes: BTreeMap<u64, Member> =
            record.members.iter().map(|voter| (voter.raft_id, Member::of(voter))).collect();
        Self::new(record.configs, nodes).map_err(|error| BadRecord(error.to_string()))
    }
}

/// A membership and where the log holds it; the empty one of a pristine log has no place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredMembershipRecord {
    pub(super) log_id: Option<LogIdRecord>,
    pub(super) membership: Option<MembershipRecord>,
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> Self {
        let membership = stored.membership();
        let known = !membership.get_joint_config().is_empty();
        Self {
            log_id: stored.log_id().map(LogIdRecord::from),
            membership: known.then(|| MembershipRecord::from(membership)),
        }
    }
}

impl TryFrom<StoredMembershipRecord> for StoredMembership {
    type Error = BadRecord;

    fn try_from(record: StoredMembershipRecord) -> Result<Self, BadRecord> {
        let membership = record.membership.map(Membership::try_from).transpose()?;
        Ok(Self::new(record.log_id.map(LogId::from), membership.unwrap_or_default()))
    }
}

/// What a snapshot covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotMetaRecord {
    pub(super) last: Option<LogIdRecord>,
    pub(super) membership: StoredMembershipRecord,
}

impl From<&SnapshotMeta> for SnapshotMetaRecord {
    fn from(meta: &SnapshotMeta) -> Self {
        Self {
            last: meta.last_log_id.map(LogIdRecord::from),
            membership: StoredMembershipRecord::from(&meta.last_membership),
        }
    }
}

impl TryFrom<SnapshotMetaRecord> for SnapshotMeta {
    type Error = BadRecord;

    fn try_from(record: SnapshotMetaRecord) -> Result<Self, BadRecord> {
        Ok(Self {
            last_log_id: record.last.map(LogId::from),
            last_membership: record.membership.try_into()?,
        })
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EntryRecord {
    pub(super) term: u64,
    pub(super) index: u64,
    pub(super) payload: PayloadRecord,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PayloadRecord {
    /// A new leader's first entry.
    Blank,
    /// A command of the registry.
    Command(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The group as it is from here on.
    Membership(MembershipRecord),
}

impl From<Entry> for EntryRecord {
    fn from(entry: Entry) -> Self {
        let LogIdRecord { term, index } = entry.log_id.into();
        let payload = match entry.payload {
            Payload::Blank => PayloadRecord::Blank,
            Payload::Normal(Command(bytes)) => PayloadRecord::Command(bytes),
            Payload::Membership(membership) => PayloadRecord::Membership((&membership).into()),
        };
        Self { term, index, payload }
    }
}

impl EntryRecord {
    pub(super) fn into_entry(self) -> Result<Entry, BadRecord> {
        let payload = match self.payload {
            PayloadRecord::Blank => Payload::Blank,
            PayloadRecord::Command(bytes) => Payload::Normal(Command(bytes)),
            PayloadRecord::Membership(membership) => Payload::Membership(membership.try_into()?),
        };
        Ok(Entry { log_id: log_id(self.term, self.index), payload })
    }
}

/// About how many bytes an entry takes in memory and on the wire.
pub(super) fn entry_bytes(entry: &Entry) -> usize {
    const FIXED: usize = 64;
    match &entry.payload {
        Payload::Blank => FIXED,
        Payload::Normal(command) => FIXED + command.0.len(),
        Payload::Membership(membership) => FIXED + 128 * membership.nodes().count(),
    }
}
