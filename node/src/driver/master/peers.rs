//! What gossip says of nodes, as hints for the master.

use std::{collections::BTreeSet, sync::Arc};

use meshos_control::master::Event;
use meshos_membership::view::ClusterView;
use meshos_protocol::ids::NodeId;

/// Remembers which nodes gossip calls dead.
#[derive(Default)]
pub(super) struct Peers {
    down: BTreeSet<NodeId>,
}

impl Peers {
    /// The changes since the last view.
    pub(super) fn changes(&mut self, view: &Arc<ClusterView>) -> Vec<Event> {
        let dead = view.peers.values().filter(|peer| !peer.alive).map(|peer| peer.node_id);
        let dead: BTreeSet<NodeId> = dead.collect();
        let went = dead.difference(&self.down).map(|node| Event::PeerDown { node: *node });
        let came = self.down.difference(&dead).map(|node| Event::PeerUp { node: *node });
        let changes = went.chain(came).collect();
        self.down = dead;
        changes
    }
}
