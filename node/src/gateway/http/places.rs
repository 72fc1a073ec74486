//! Where nodes listen for HTTP, as gossip and the leader's announcement have it.

use meshos_membership::{gossip, view::NodeFacts};
use meshos_mesos::{convert::offer::Place, session::Places};
use meshos_protocol::ids::NodeId;
use tokio::sync::watch;

use crate::cluster::Leader;

/// What this node knows of where others listen.
#[derive(Clone)]
pub(super) struct NodePlaces {
    pub node: NodeId,
    pub gossip: gossip::Handle,
    /// What this node says of itself, which gossip does not tell it back.
    pub facts: watch::Receiver<NodeFacts>,
    pub leader: watch::Receiver<Option<Leader>>,
}

impl Places for NodePlaces {
    fn agent(&self, node: NodeId) -> Option<Place> {
        let address = if node == self.node {
            self.facts.borrow().address_agent_http
        } else {
            self.gossip.view().peers.get(&node)?.facts.address_agent_http
        };
        Place::read(&address.to_string())
    }

    fn leader(&self) -> Option<Place> {
        Place::read(&self.leader.borrow().as_ref()?.http_address)
    }
}
