//! What the rest of the node sees of gossip.

use std::{net::SocketAddr, sync::Arc};

use meshos_protocol::ids::ClusterId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Counters, FactsError, GossipError, Options, facts,
    supervisor::{Published, Supervisor},
    wire::Wire,
};
use crate::view::{ClusterView, LeaderClaim, NodeFacts, ViewChange, diff};

/// Gossip, bound to its port and ready to run.
#[derive(Debug)]
pub struct Service(Supervisor);

impl Service {
    /// Takes the port. What this node says of itself starts with `facts`.
    ///
    /// # Errors
    /// When the port is taken, an option makes no sense or a fact is too large.
    pub async fn bind(options: Options, facts: NodeFacts) -> Result<(Self, Handle), GossipError> {
        options.check()?;
        let published = Published { facts, claim: None };
        facts::encode(&published.facts, published.claim)?;
        let wire = Arc::new(Wire::bind(&options).await?);
        let mut address = options.advertise;
        if address.port() == 0 {
            address.set_port(wire.address().port());
        }
        let (publish, published) = watch::channel(published);
        let (show, view) = watch::channel(Arc::default());
        let handle = Handle { publish: Arc::new(publish), view, wire: Arc::clone(&wire), address };
        Ok((Self(Supervisor::new(options, address, wire, published, show)), handle))
    }

    /// Gossips until `stop` is cancelled. Whatever breaks inside is started again.
    pub async fn run(self, stop: CancellationToken) {
        self.0.run(stop).await;
    }
}

/// Speaks to running gossip; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    publish: Arc<watch::Sender<Published>>,
    view: watch::Receiver<Arc<ClusterView>>,
    wire: Arc<Wire>,
    address: SocketAddr,
}

impl Handle {
    /// Changes what this node says of itself. Only what differs is sent; still, round numbers that
    /// change all the time, since every change costs a message on every node. The cluster is not
    /// changed by this: once it is told it stays.
    ///
    /// # Errors
    /// When a fact is too large; what the node said before then stays.
    pub fn set(&self, facts: NodeFacts) -> Result<(), FactsError> {
        facts::encode(&facts, None)?;
        self.publish.send_if_modified(|published| {
            let cluster = published.facts.cluster.or(facts.cluster);
            let facts = NodeFacts { cluster, ..facts };
            let differs = published.facts != facts;
            published.facts = facts;
            differs
        });
        Ok(())
    }

    /// Says to which cluster this node belongs. Peers of any other are not shown from here on.
    pub fn set_cluster(&self, cluster: ClusterId) {
        self.publish.send_if_modified(|published| {
            let differs = published.facts.cluster != Some(cluster);
            published.facts.cluster = Some(cluster);
            differs
        });
    }

    /// Says whom this node, a voter, takes for the leader; `None` when it knows none or is no
    /// voter. A new claim is passed on at once, not only at the next round.
    pub fn set_leader_claim(&self, claim: Option<LeaderClaim>) {
        self.publish.send_if_modified(|published| {
            let differs = published.claim != claim;
            published.claim = claim;
            differs
        });
    }

    /// What is known of the others now.
    pub fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view.borrow())
    }

    /// What changes from now on; the first change of it is all that is known now.
    pub fn changes(&self) -> Changes {
        // Handles never mark the view as seen, so the first wait ends at once.
        Changes { view: self.view.clone(), told: Arc::default() }
    }

    /// Where peers find this node's gossip.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has been counted so far.
    pub fn counters(&self) -> Counters {
        self.wire.tally.snapshot()
    }

    #[cfg(test)]
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }
}

/// Tells one reader what changes. A slow reader gets fewer, larger steps; it never misses where
/// things stand, and nothing queues up for it.
#[derive(Debug)]
pub struct Changes {
    view: watch::Receiver<Arc<ClusterView>>,
    told: Arc<ClusterView>,
}

impl Changes {
    /// Waits until the view differs from what was told before and gives the differences, never
    /// none; `None` once gossip has ended. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Option<Vec<ViewChange>> {
        loop {
            self.view.changed().await.ok()?;
            let now = Arc::clone(&self.view.borrow_and_update());
            let changes = diff(&self.told, &now);
            self.told = now;
            if !changes.is_empty() {
                return Some(changes);
            }
        }
    }
}
