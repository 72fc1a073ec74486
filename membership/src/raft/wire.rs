//! What voters say to each other.

use meshos_protocol::codec;
use serde::{Deserialize, Serialize};

use super::{
    HandleError, NetworkError, Release,
    record::{EntryRecord, LogIdRecord, SnapshotMetaRecord, VoteRecord},
};

/// The form of requests and answers; it rises when an older release would misread them.
pub(super) const VERSION: u16 = 1;

/// A request, addressed to one log: a node that lost its data must not answer for the lost one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) version: u16,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) body: RequestBody,
}

/// The requests of raft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RequestBody {
    Append(Append),
    Vote(Ballot),
    PreVote(Ballot),
    SnapshotChunk(SnapshotChunk),
    Transfer(Transfer),
}

/// Entries, or a heartbeat when there are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Append {
    pub(super) vote: VoteRecord,
    pub(super) previous: Option<LogIdRecord>,
    pub(super) entries: Vec<EntryRecord>,
    pub(super) committed: Option<LogIdRecord>,
}

/// A candidate asks for a vote, or whether it would get one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ballot {
    pub(super) vote: VoteRecord,
    pub(super) last: Option<LogIdRecord>,
    #[serde(default)]
    pub(super) transfer: bool,
}

/// One part of a snapshot; parts come in order, each after the answer to the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotChunk {
    pub(super) vote: VoteRecord,
    /// Tells this sending from an earlier one of the same snapshot that was broken off.
    pub(super) transfer_id: u64,
    pub(super) meta: SnapshotMetaRecord,
    pub(super) total_bytes: u64,
    pub(super) offset: u64,
    #[serde(with = "serde_bytes")]
    pub(super) data: Vec<u8>,
}

/// The leader asks a voter to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub(super) leader: VoteRecord,
    pub(super) to: u64,
    pub(super) last: Option<LogIdRecord>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) version: u16,
    /// What the sender runs; absent in answers of releases that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) release: Option<Release>,
    pub(super) body: AnswerBody,
}

/// The answers of raft; each fits one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AnswerBody {
    /// All entries are on disk.
    Appended,
    /// The entry before those sent is not in the log.
    Conflict,
    /// The sender's term is over.
    HigherVote(VoteRecord),
    Ballot(BallotAnswer),
    /// More chunks are expected from this offset on.
    ChunkTaken {
        offset: u64,
    },
    /// The snapshot is installed, or refused for this higher vote.
    SnapshotDone {
        vote: VoteRecord,
    },
    /// The receiver's raft has ended. Not known to older releases, for which it is no answer.
    Stopped {
        reason: String,
    },
    /// Whether the receiver will campaign.
    Transfer {
        accepted: bool,
    },
}

/// Whether the voter votes for the candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BallotAnswer {
    pub(super) vote: VoteRecord,
    pub(super) granted: bool,
    pub(super) last: Option<LogIdRecord>,
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<Request, HandleError> {
    let request: Request =
        codec::decode(bytes).map_err(|error| HandleError::Malformed(error.to_string()))?;
    if request.version != VERSION {
        let reason = format!("version {} is not spoken here, {VERSION} is", request.version);
        return Err(HandleError::Malformed(reason));
    }
    Ok(request)
}

pub(super) fn encode_answer(body: AnswerBody, release: Release) -> Vec<u8> {
    codec::encode(&Answer { version: VERSION, release: Some(release), body })
}

pub(super) fn decode_answer(bytes: &[u8]) -> Result<(AnswerBody, Release), NetworkError> {
    let answer: Answer =
        codec::decode(bytes).map_err(|error| NetworkError::Refused(error.to_string()))?;
    if answer.version != VERSION {
        return Err(NetworkError::Refused(format!("version {} of an answer", answer.version)));
    }
    Ok((answer.body, Release::told(answer.release)))
}
