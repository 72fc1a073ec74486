//! What a node knows of the others: plain data, replaced whole, compared by [`diff`].
//!
//! Nothing here shows how the facts spread. Today that is one gossip cluster; later it becomes
//! cells with a backbone, and whoever reads a [`ClusterView`] does not notice.
//!
//! Everything in it is a hint. Registration, leadership and task truth go by other ways.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use meshos_protocol::ids::{ClusterId, Generation, NodeId, Term};

/// What one node tells the others about itself. Each text is at most
/// [`crate::gossip::VALUE_BYTES_MAX`] bytes long on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Where the node serves the cluster over HTTP.
    pub address_http: SocketAddr,
    /// Where the node's agent serves HTTP.
    pub address_agent_http: SocketAddr,
    /// Where the node takes QUIC connections.
    pub address_quic: SocketAddr,
    /// The node's name for people; empty when its release does not say.
    pub hostname: String,
    /// Total resources in the text form.
    pub resources: String,
    /// Attributes in the text form.
    pub attributes: String,
    /// Version of the software.
    pub version: String,
    /// The level up to which that knows the registry; the lowest when its release does not say.
    pub registry_level: u32,
    /// Roles that the node plays in the cluster, separated by commas (`voter`, `agent`).
    pub roles: String,
    /// How the node fares.
    pub health: Health,
    /// The cluster that it belongs to, once it knows.
    pub cluster: Option<ClusterId>,
}

/// How a node fares. Coarse on purpose: each change costs a gossip message on every node, so the
/// owner rounds the numbers before it publishes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Load average of one minute, in thousandths.
    pub load_thousandths: u32,
    /// Share of time in which something waited for memory, in thousandths.
    pub memory_pressure_thousandths: u16,
    /// Share of time in which something waited for the disk, in thousandths.
    pub disk_pressure_thousandths: u16,
    /// The node takes no new tasks.
    pub draining: bool,
}

/// A voter's word that `leader` leads in `term`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaderClaim {
    /// The raft term; a higher one is the newer claim.
    pub term: Term,
    /// The node that leads in that term.
    pub leader: NodeId,
}

/// Another node, as gossip shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Whose facts these are.
    pub node_id: NodeId,
    /// The peer's start that published them: the newest one known.
    pub generation: Generation,
    /// Where the peer's gossip is heard.
    pub address_gossip: SocketAddr,
    /// What the peer says of itself.
    pub facts: NodeFacts,
    /// What the failure detector says of it.
    pub alive: bool,
    /// Whom the peer takes for the leader, when it is a voter that knows one.
    pub leader_claim: Option<LeaderClaim>,
}

/// Why gossip keeps a node out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This cluster is as large as gossip lets it grow.
    #[error(
        "node {node} is refused: the cluster has reached its limit of {nodes_max} nodes; remove nodes or start another cluster"
    )]
    ClusterFull {
        /// Who asked.
        node: NodeId,
        /// The limit.
        nodes_max: usize,
    },
    /// The node belongs to another cluster, which has the same gossip key.
    #[error(
        "node {node} is refused: it belongs to cluster {theirs}, this node to {ours}; correct the seeds of one of them"
    )]
    OtherCluster {
        /// Who.
        node: NodeId,
        /// This node's cluster.
        ours: ClusterId,
        /// The other node's.
        theirs: ClusterId,
    },
    /// A peer keeps this node out of a cluster that is full.
    #[error(
        "node {by} refuses this node: its cluster has reached its limit of {nodes_max} nodes; remove nodes or join another cluster"
    )]
    RefusedByPeer {
        /// Who refused.
        by: NodeId,
        /// The limit there.
        nodes_max: usize,
    },
}

/// The newest refusal and how many there were, so that a reader who looks seldom misses none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many nodes were refused, each counted once per minute at most.
    pub count: u64,
    /// The newest one.
    pub newest: Option<Refusal>,
}

/// All that a node knows of the others at one moment. The node itself is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// The newest start of each other node that has published its facts.
    pub peers: BTreeMap<NodeId, Peer>,
    /// How often gossip had to be restarted in this process.
    pub restarts: u64,
    /// Who was kept out.
    pub refusals: Refusals,
}

impl ClusterView {
    /// The peers that the failure detector calls alive, in order of their ids.
    pub fn alive(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().filter(|peer| peer.alive)
    }

    /// The clusters that live peers belong to. A hint, for a node that does not know its own yet.
    pub fn clusters(&self) -> BTreeSet<ClusterId> {
        self.alive().filter_map(|peer| peer.facts.cluster).collect()
    }

    /// The claim of the highest term among the live peers. A hint: ask that node over QUIC.
    pub fn leader_hint(&self) -> Option<LeaderClaim> {
        self.alive().filter_map(|peer| peer.leader_claim).max()
    }
}

/// One difference between two views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewChange {
    /// A peer appeared, came back, or started anew under a higher generation.
    PeerUp(Peer),
    /// A live peer's facts or addresses changed; it did not restart.
    PeerChanged(Peer),
    /// The failure detector calls the peer dead, from now on or since before the reader began.
    PeerDown(Peer),
    /// The peer has been dead so long that gossip forgot it.
    PeerGone(NodeId),
    /// The live peers' newest claim changed.
    LeaderHint(LeaderClaim),
    /// A node was kept out, or this node was.
    Refused(Refusal),
    /// Gossip broke and was started again; how often so far.
    GossipRestarted(u64),
}

/// What happened between two views, in the order in which a reader wants to hear it: restarts,
/// then peers in order of their ids, then the leader hint.
///
/// Against an empty view all that is known is told, the dead peers among it: a reader that begins
/// late knows who is dead as well as one that heard of each death.
///
/// Changes of `leader_claim` alone show only as [`ViewChange::LeaderHint`], and facts of a dead
/// peer do not change for a reader. Of several refusals in between only the newest is told.
pub fn diff(old: &ClusterView, new: &ClusterView) -> Vec<ViewChange> {
    let mut changes = Vec::new();
    if new.restarts != old.restarts {
        changes.push(ViewChange::GossipRestarted(new.restarts));
    }
    if new.refusals.count != old.refusals.count {
        changes.extend(new.refusals.newest.clone().map(ViewChange::Refused));
    }
    for (node_id, peer) in &new.peers {
        changes.extend(peer_change(old.peers.get(node_id), peer));
    }
    let gone = old.peers.keys().filter(|node_id| !new.peers.contains_key(node_id));
    changes.extend(gone.map(|node_id| ViewChange::PeerGone(*node_id)));
    if new.leader_hint() != old.leader_hint() {
        changes.extend(new.leader_hint().map(ViewChange::LeaderHint));
    }
    changes
}

fn peer_change(old: Option<&Peer>, new: &Peer) -> Option<ViewChange> {
    let was_alive = old.is_some_and(|old| old.alive);
    let restarted = old.is_some_and(|old| old.generation != new.generation);
    match (was_alive, new.alive) {
        (false, true) => Some(ViewChange::PeerUp(new.clone())),
        (true, true) if restarted => Some(ViewChange::PeerUp(new.clone())),
        (true, true) => {
            let same = old.is_some_and(|old| {
                old.facts == new.facts && old.address_gossip == new.address_gossip
            });
            (!same).then(|| ViewChange::PeerChanged(new.clone()))
        }
        (true, false) => Some(ViewChange::PeerDown(new.clone())),
        (false, false) => old.is_none().then(|| ViewChange::PeerDown(new.clone())),
    }
}

#[cfg(test)]
mod tests;
