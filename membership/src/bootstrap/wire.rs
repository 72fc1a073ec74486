//! What seeds ask and answer each other.

use meshos_protocol::ids::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

use crate::raft::Voter;

/// Asks a seed what it holds. The transport has proved `node_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// The form of this message; 1.
    pub version: u16,
    /// Who asks.
    pub node_id: NodeId,
    /// The seed that was asked, as the asker lists it.
    pub seed: String,
    /// The seed that the asker is, if any.
    pub own_seed: Option<String>,
    /// The asker's seed list, sorted.
    pub seeds: Vec<String>,
    /// Whether the asker's log is empty and it knows no cluster.
    pub empty: bool,
}

/// Answers a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// The form of this message; 1.
    pub version: u16,
    /// What the seed holds.
    pub answer: SeedAnswer,
}

/// What a seed holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
pub enum SeedAnswer {
    /// Nothing: no log, no vote, no cluster id.
    Empty {
        /// The node, its log and its QUIC address.
        voter: SeedVoter,
        /// Its seed list, sorted.
        seeds: Vec<String>,
        /// The seed that it is, if any.
        own_seed: Option<String>,
    },
    /// It belongs to a cluster, or to a group that begins to form one.
    Member {
        /// The answering node.
        node_id: NodeId,
        /// The cluster, once its id is committed.
        cluster_id: Option<ClusterId>,
        /// The voters as the answerer knows them; none if it knows the cluster alone.
        voters: Vec<SeedVoter>,
        /// The leader, if known.
        leader: Option<SeedVoter>,
    },
    /// Nothing, but it has promised another node to take the log from that one alone, or may have
    /// done so before it restarted. Ask again.
    Promised {
        /// The answering node.
        node_id: NodeId,
    },
    /// Nothing, but gossip tells it of a cluster that lives: it takes part in no other.
    Sees {
        /// The answering node.
        node_id: NodeId,
        /// The cluster that gossip names.
        cluster_id: ClusterId,
    },
    /// Something that a newer release says.
    #[serde(other)]
    Unknown,
}

/// A voter, as seeds name it to each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeedVoter {
    /// Its log.
    pub raft_id: u64,
    /// Its node.
    pub node_id: NodeId,
    /// Where it listens for QUIC.
    pub address: String,
}

impl From<SeedVoter> for Voter {
    fn from(voter: SeedVoter) -> Self {
        let SeedVoter { raft_id, node_id, address } = voter;
        Self { raft_id, node_id, address }
    }
}

impl From<Voter> for SeedVoter {
    fn from(voter: Voter) -> Self {
        let Voter { raft_id, node_id, address } = voter;
        Self { raft_id, node_id, address }
    }
}
