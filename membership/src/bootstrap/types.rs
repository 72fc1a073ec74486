//! What the machine is told, what it asks for and what it decides.

use std::collections::BTreeSet;

use meshos_protocol::ids::{ClusterId, NodeId};

use super::{ProbeRequest, SeedAnswer, SeedVoter};
use crate::raft::Voter;

/// This node, as its identity, its flags and its disk say at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// This node, its log and its QUIC address.
    pub voter: SeedVoter,
    /// The cluster it knows to belong to.
    pub cluster_id: Option<ClusterId>,
    /// Whether its log holds an entry, a vote or a snapshot.
    pub has_raft_state: bool,
    /// The seed that it is, as [`own_seed`](super::own_seed) found.
    pub seed: Option<String>,
    /// Whether this data directory was never started before, so that no earlier process of this
    /// node can have promised anything.
    pub first_start: bool,
}

/// Everything that can happen to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The process has started; given once, first.
    Started,
    /// Time has passed; see [`Bootstrap::next_deadline`](super::Bootstrap::next_deadline).
    Tick,
    /// A seed has answered.
    Answered {
        /// Which, as it was asked.
        seed: String,
        /// The number of the probe that it answers.
        probe: u64,
        /// What it holds.
        answer: SeedAnswer,
    },
    /// A seed could not be asked.
    Unreachable {
        /// Which.
        seed: String,
        /// Why, in words.
        why: String,
        /// Whether one of the two does not accept the other's certificate, which stays so until
        /// somebody changes it.
        refused: bool,
    },
    /// Another node asks; answered with [`Effect::Answer`].
    Probed(ProbeRequest),
    /// The log received its first entry, or its voters changed.
    GroupChanged {
        /// The voters as the log has them.
        voters: Vec<Voter>,
        /// The leader, if known.
        leader: Option<Voter>,
    },
    /// The registry has the cluster's id, from the log or a snapshot.
    ClusterKnown(ClusterId),
    /// Gossip, sealed with the cluster's key, names a cluster that lives. A hint: it only ever stops
    /// forming a cluster, and joining one that nobody in gossip belongs to.
    ClusterSeen(ClusterId),
}

/// Everything that the machine can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask this seed; hand in what comes of it.
    Probe {
        /// Which.
        seed: String,
        /// To be handed in with the answer: an answer to an old probe says nothing about now.
        probe: u64,
        /// What to ask.
        request: ProbeRequest,
    },
    /// Answer the probe that was just handed in. Before "empty" leaves, the log is asked once
    /// more ([`RaftGroup::is_pristine`](crate::raft::RaftGroup::is_pristine)), after the
    /// [`Effect::Admit`] that came with it; if something has come in meanwhile, nothing is
    /// answered.
    Answer(SeedAnswer),
    /// Serve raft requests of exactly these nodes beside the members. To be carried out before
    /// the answer that follows it leaves.
    Admit(BTreeSet<NodeId>),
    /// Nothing can be decided for these reasons. Given when they change.
    WaitingFor(Vec<Waiting>),
    /// What this node is to do. Given again when it changes.
    Decided(Decision),
}

/// A seed that keeps this node waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The seed.
    pub seed: String,
    /// Why, as a sentence for the operator.
    pub reason: String,
    /// Whether waiting alone will not help.
    pub needs_operator: bool,
}

/// What this node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Begin the group with these voters, this node among them: it is the first seed, or it has
    /// no seeds and is a cluster of one. The first leader then commits the cluster's id.
    Initialise {
        /// The first voters.
        members: Vec<Voter>,
    },
    /// Wait for the log: another seed has begun the group with this node, or this node has a log.
    AwaitLog,
    /// Ask the leader to be made a learner and then a voter.
    JoinAsLearner {
        /// A seed that knows the cluster.
        via: String,
        /// The cluster, to be written to the identity before asking.
        cluster_id: ClusterId,
        /// The voters to ask for the leader.
        voters: Vec<Voter>,
        /// The voter at this node's address whose log is lost, to be removed.
        replaces: Option<Voter>,
    },
    /// Register as a node of the cluster; it is no seed.
    JoinAsNode {
        /// A seed that knows the cluster.
        via: String,
        /// The cluster, to be written to the identity before registering.
        cluster_id: ClusterId,
    },
    /// Do not start.
    Refuse(Refusal),
}

/// Why a node must not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The seeds belong to another cluster than this node.
    #[error(
        "this node belongs to cluster {own}, but seed {seed} to {other}; correct the seed list, or move this \
         node's data directory away to let it join the other cluster as a new node"
    )]
    OtherCluster {
        /// What the identity says.
        own: ClusterId,
        /// The seed that answered otherwise.
        seed: String,
        /// What it answered.
        other: ClusterId,
    },
    /// The seeds belong to different clusters.
    #[error(
        "seed {first} belongs to cluster {one} and seed {second} to {other}; correct the seed list"
    )]
    ClustersDiffer {
        /// A seed.
        first: String,
        /// Its cluster.
        one: ClusterId,
        /// Another seed.
        second: String,
        /// Its cluster.
        other: ClusterId,
    },
    /// The group counts on a log that is gone.
    #[error(
        "the raft group knows this node as a voter, but its raft log is gone; move its data directory away \
         and start it again, so that it joins as a new node in the place of the old one"
    )]
    LogLost,
    /// The node has a cluster and no way to it.
    #[error("this node belongs to cluster {own} but has no seeds; give the cluster's with --seed")]
    NoSeeds {
        /// What the identity says.
        own: ClusterId,
    },
}
