//! What gossip is told at its start.

use std::{io, net::SocketAddr, time::Duration};

use meshos_protocol::ids::{Generation, NodeId};

use crate::keys::GossipKey;

/// How many nodes one gossip cluster takes in, unless told otherwise. Bytes and CPU time of every
/// node grow with the number of nodes; at this one they are about 20 KB and 3 ms a second.
pub const NODES_MAX_DEFAULT: usize = 250;

/// The number of nodes above which gossip's messages no longer fit their format.
const NODES_MAX_LIMIT: usize = 1_000;

/// Starts of a node are counted in the upper bits of gossip's own generation, restarts of gossip
/// within one start in these lower ones.
pub(super) const RESTART_BITS: u32 = 20;

/// What gossip needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node.
    pub node_id: NodeId,
    /// This start of it: higher than at any start before.
    pub generation: Generation,
    /// Where to listen (UDP); port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where peers find this node; with port 0, at the port that was taken.
    pub advertise: SocketAddr,
    /// `host:port` of nodes to start from. Names are looked up again every minute.
    pub seeds: Vec<String>,
    /// The cluster's key.
    pub key: GossipKey,
    /// Keeps apart what shares a key; nodes with different tags do not understand each other.
    pub tag: String,
    /// Time between two rounds. A dead node is noticed after about eight of them.
    pub interval: Duration,
    /// How many nodes the cluster takes in, this one included.
    pub nodes_max: usize,
}

impl Options {
    /// The usual options: a round each second, [`NODES_MAX_DEFAULT`] nodes, no seeds.
    pub fn new(
        node_id: NodeId,
        generation: Generation,
        listen: SocketAddr,
        advertise: SocketAddr,
        key: GossipKey,
    ) -> Self {
        Self {
            node_id,
            generation,
            listen,
            advertise,
            seeds: Vec::new(),
            key,
            tag: "meshos".to_owned(),
            interval: Duration::from_secs(1),
            nodes_max: NODES_MAX_DEFAULT,
        }
    }

    pub(super) fn check(&self) -> Result<(), GossipError> {
        let bad = |reason: &str| Err(GossipError::Options { reason: reason.to_owned() });
        if self.advertise.ip().is_unspecified() {
            return bad("the advertised address must be one that peers can reach, not 0.0.0.0");
        }
        if self.interval < Duration::from_millis(10) || self.interval > Duration::from_secs(60) {
            return bad("the interval must be between 10 milliseconds and one minute");
        }
        if self.nodes_max == 0 || self.nodes_max > NODES_MAX_LIMIT {
            return bad("the number of nodes must be between 1 and 1,000");
        }
        if self.generation.0 >> (u64::BITS - RESTART_BITS) != 0 {
            return bad("the start generation is too large");
        }
        if self.tag.len() > 255 {
            return bad("the tag must be at most 255 bytes long");
        }
        Ok(())
    }
}

/// Why gossip cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The socket could not be opened.
    #[error("cannot listen for gossip on {address}/udp: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An option makes no sense.
    #[error("gossip options: {reason}")]
    Options {
        /// Which one, and why.
        reason: String,
    },
    /// A fact about this node is too large.
    #[error(transparent)]
    Facts(#[from] super::FactsError),
    /// The system's source of randomness failed.
    #[error("the system's random number generator failed: gossip cannot be sealed")]
    NoRandomness,
}
