//! Requests between nodes, with replies.

use serde::{Deserialize, Serialize};

use super::agent::TaskHint;
use crate::ids::{Fence, NodeId, RequestId, Term};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Pairs it with its reply.
    pub id: RequestId,
    /// What is asked.
    pub request: Request,
}

/// The reply to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyFrame {
    /// The request.
    pub id: RequestId,
    /// The answer.
    pub reply: Reply,
}

/// What one node may ask another. Each is checked against the asking peer's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Request {
    /// A message of the raft group; only from its members.
    Raft {
        /// Opaque here.
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
    /// A seed asks another what it knows while a cluster forms.
    Probe {
        /// Opaque here.
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
    /// A leader tells that it leads.
    Announce(Announcement),
    /// Who leads, as the asked node has it confirmed?
    Leader,
    /// Does this voter hold that `leader` leads in `term`?
    ConfirmLeader {
        /// The claimed term.
        term: Term,
        /// The claimed leader.
        leader: NodeId,
    },
    /// Launches and ends of tasks, for the next leader.
    Hints {
        /// The leader whose word it is.
        fence: Fence,
        /// In order.
        hints: Vec<TaskHint>,
        /// Where they stand in all that the leader tells this voter; absent from leaders of releases that do not count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<HintsPlace>,
    },
    /// A seed that lost its log, or comes late, asks the leader to be made a voter.
    JoinVoters {
        /// Its log; the node and its QUIC address are the peer's own.
        raft_id: u64,
        /// `host:port` of its QUIC port.
        address: String,
        /// The log at the same address that is lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<u64>,
        /// What it runs; absent when its release does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<Release>,
    },
    /// A read or an operator's call of the HTTP API, passed on to the leader or to the node that
    /// has the answer.
    Http {
        /// `GET` or `POST`.
        method: String,
        /// With the query.
        path: String,
        /// The caller's identity as the entry node authenticated it.
        principal: String,
        /// The body.
        #[serde(default, with = "serde_bytes")]
        body: Vec<u8>,
    },
    /// Sign a certificate, against the join token (nodes) or for an authenticated operator
    /// (frameworks).
    Sign {
        /// The certificate signing request in DER.
        #[serde(with = "serde_bytes")]
        request: Vec<u8>,
        /// For whom.
        subject: SignSubject,
        /// The join token's secret; empty when the peer's own identity allows it.
        #[serde(default)]
        token: String,
    },
    /// A request that this build does not know; answered with an error.
    #[serde(other)]
    Unknown,
}

/// The release that a node runs, as it tells who keeps the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its name, for people; empty in the place of a release that tells nothing.
    pub name: String,
    /// The level up to which it knows the registry.
    pub level: u32,
}

impl Release {
    /// One that is so old that it tells nothing: it knows what all releases know.
    pub const SILENT: Self = Self { name: String::new(), level: 1 };

    /// A longer name is left out.
    const NAME_BYTES_MAX: usize = 64;

    /// What a node has told, or not: fit to be kept and shown.
    #[must_use]
    pub fn told(told: Option<Self>) -> Self {
        let mut release = told.unwrap_or(Self::SILENT);
        if release.name.len() > Self::NAME_BYTES_MAX {
            release.name.clear();
        }
        release
    }
}

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum SignSubject {
    /// A node that joins.
    Node {
        /// Its id.
        node: NodeId,
    },
    /// A framework of an authenticated operator.
    Framework {
        /// The principal.
        principal: String,
    },
    /// A subject that this build does not know; refused.
    #[serde(other)]
    Unknown,
}

/// A leader's claim; believed only when a majority of the voters confirms it, of those that the
/// node knows or of those that a statement of the cluster's authority names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Cluster and term.
    pub fence: Fence,
    /// Who leads.
    pub leader: NodeId,
    /// `host:port` of its QUIC port.
    pub agent_address: String,
    /// `host:port` of its cluster HTTP port.
    pub http_address: String,
    /// The voters as the leader knows them: node and QUIC address.
    pub voters: Vec<(NodeId, String)>,
    /// When the group was rebuilt: the statement, signed by the cluster's authority, on which nodes
    /// believe it that no majority of the old voters can convince. Opaque here.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub recovery: Vec<u8>,
}

/// Where hints stand in what a leader tells one voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintsPlace {
    /// How many hints the leader told this voter before these.
    pub number: u64,
    /// The term of the leader before, if this one knows all that was told in it: whoever knows that too has missed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Term>,
    /// Present on pages of all that the leader knows, told again from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retold: Option<Retold>,
}

/// A page of all that a leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retold {
    /// The first.
    pub first: bool,
    /// The last.
    pub last: bool,
    /// After the last page: tasks that were on none of them are to be forgotten.
    pub all: bool,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Reply {
    /// Carried out; nothing to tell.
    Done,
    /// Bytes whose meaning the request fixes.
    Bytes {
        /// Opaque here.
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
    /// The answer to [`Request::Leader`].
    Leader {
        /// Absent when no leader is known there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        announcement: Option<Announcement>,
    },
    /// The answer to [`Request::ConfirmLeader`].
    Confirmed {
        /// Whether this voter holds the claim for true now.
        agrees: bool,
    },
    /// The answer to [`Request::Http`].
    Http {
        /// The HTTP status.
        status: u16,
        /// The media type of the body.
        content_type: String,
        /// The body.
        #[serde(with = "serde_bytes")]
        body: Vec<u8>,
    },
    /// The answer to [`Request::Sign`].
    Signed {
        /// The certificate in DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The CA's certificate in DER.
        #[serde(with = "serde_bytes")]
        authority: Vec<u8>,
        /// The gossip key, for nodes only.
        #[serde(default, with = "serde_bytes")]
        gossip_key: Vec<u8>,
    },
    /// The answer to [`Request::Hints`] of a voter that has missed some: it is to be told all again.
    HintsMissed,
    /// Not carried out.
    Failed {
        /// A whole sentence.
        message: String,
    },
    /// An answer that this build does not know; treated as failed.
    #[serde(other)]
    Unknown,
}
