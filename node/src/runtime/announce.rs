//! A new leader tells every node, and every voter's gossip says whom it follows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use meshos_membership::{
    gossip,
    raft::RaftGroup,
    view::{ClusterView, LeaderClaim, Peer},
};
use meshos_protocol::{ids::NodeId, messages::node::Request};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::LeaderTracker,
    net::{Net, Target},
};

/// Nodes told at a time.
const AT_ONCE: usize = 64;
/// How long telling one node may take.
const TELL_LIMIT: Duration = Duration::from_secs(2);

/// What telling needs.
pub(super) struct Announcer {
    pub net: Net,
    pub raft: Arc<RaftGroup>,
    pub gossip: gossip::Handle,
    pub tracker: LeaderTracker,
}

impl Announcer {
    /// Runs until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.watch()).await;
    }

    async fn watch(self) {
        let mut leadership = self.raft.leadership();
        let mut changes = self.gossip.changes();
        let mut told = None;
        let mut known: BTreeMap<NodeId, u64> = BTreeMap::new();
        loop {
            let now = leadership.borrow_and_update().clone();
            let leader = now.leader.as_ref().map(|voter| voter.node_id);
            self.gossip
                .set_leader_claim(leader.map(|leader| LeaderClaim { term: now.term, leader }));
            if now.led != told {
                known.clear();
                told = now.led;
            }
            if told.is_some() {
                let view = self.gossip.view();
                self.tell(&mut known, &view).await;
            }
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { return },
                changed = changes.next() => if changed.is_none() { return },
            }
        }
    }

    /// Tells each live node that has not been told since it started.
    async fn tell(&self, known: &mut BTreeMap<NodeId, u64>, view: &ClusterView) {
        let Some(announcement) = self.tracker.announcement() else { return };
        let fresh = |peer: &&Peer| known.get(&peer.node_id) != Some(&peer.generation.0);
        let peers: Vec<Peer> = view.alive().filter(fresh).cloned().collect();
        futures_util::stream::iter(&peers)
            .for_each_concurrent(AT_ONCE, |peer| {
                let request = Request::Announce(announcement.clone());
                async move {
                    let address = peer.facts.address_quic.to_string();
                    let target = Target { node: Some(peer.node_id), address };
                    let told = async { self.net.link(&target).await?.request(request, TELL_LIMIT).await };
                    if let Err(error) = told.await {
                        tracing::debug!(node = %peer.node_id, %error, "a node could not be told who leads");
                    }
                }
            })
            .await;
        known.extend(peers.iter().map(|peer| (peer.node_id, peer.generation.0)));
    }
}
