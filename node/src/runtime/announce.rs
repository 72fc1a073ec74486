//! A new leader tells every node, and again when other nodes vote; every voter's gossip says whom it follows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use meshos_membership::{
    gossip,
    raft::RaftGroup,
    view::{ClusterView, LeaderClaim, Peer},
};
use meshos_protocol::{
    ids::NodeId,
    messages::node::{Announcement, Request},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::LeaderTracker,
    net::{Net, Target},
};

/// Nodes told at a time.
const AT_ONCE: usize = 64;
/// Between two looks at who has not been told yet.
const AGAIN: Duration = Duration::from_secs(2);
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
        let mut members = self.raft.releases();
        let mut changes = self.gossip.changes();
        let mut told = (None, None);
        let mut known: BTreeMap<NodeId, u64> = BTreeMap::new();
        loop {
            let now = leadership.borrow_and_update().clone();
            let leader = now.leader.as_ref().map(|voter| voter.node_id);
            self.gossip
                .set_leader_claim(leader.map(|leader| LeaderClaim { term: now.term, leader }));
            let announcement = now.led.and_then(|_| self.tracker.announcement());
            // Whoever hears of other voters only from the next leader cannot have that one confirmed.
            let news = (now.led, announcement.as_ref().map(|it| it.voters.clone()));
            if news != told {
                known.clear();
                told = news;
            }
            if let Some(announcement) = &announcement {
                // As long as it leads nobody else tells it who votes, and then it may be none of them. It
                // may not follow itself yet, so it is said at each turn; the same again writes nothing.
                self.tracker.told_by_leader(announcement.clone());
                self.tell(&mut known, &self.gossip.view(), announcement).await;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN), if told.0.is_some() => {}
                changed = leadership.changed() => if changed.is_err() { return },
                changed = members.changed() => if changed.is_err() { return },
                changed = changes.next() => if changed.is_none() { return },
            }
        }
    }

    /// Tells each live node that has not been told since it started.
    async fn tell(
        &self,
        known: &mut BTreeMap<NodeId, u64>,
        view: &ClusterView,
        announcement: &Announcement,
    ) {
        let fresh = |peer: &&Peer| known.get(&peer.node_id) != Some(&peer.generation.0);
        let peers: Vec<Peer> = view.alive().filter(fresh).cloned().collect();
        for some in peers.chunks(AT_ONCE) {
            let told = some.iter().map(|peer| self.tell_one(peer, announcement));
            let told = futures_util::future::join_all(told).await;
            known.extend(told.into_iter().flatten());
        }
    }

    /// Tells one node; it is told again at the next look when it was not reached.
    async fn tell_one(&self, peer: &Peer, announcement: &Announcement) -> Option<(NodeId, u64)> {
        let request = Request::Announce(announcement.clone());
        let address = peer.facts.address_quic.to_string();
        let target = Target { node: Some(peer.node_id), address };
        let told = async { self.net.link(&target).await?.request(request, TELL_LIMIT).await };
        match told.await {
            Ok(_) => Some((peer.node_id, peer.generation.0)),
            Err(error) => {
                tracing::debug!(node = %peer.node_id, %error, "a node could not be told who leads");
                None
            }
        }
    }
}
