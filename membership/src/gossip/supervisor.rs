//! Runs chitchat, watches it, and starts it again when it breaks.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat,
};
use meshos_protocol::ids::NodeId;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    assemble::{self, Assembler},
    facts,
    options::RESTART_BITS,
    own::{self, Spoiled},
    wire::{SealedTransport, Wire},
};
use crate::view::{ClusterView, LeaderClaim, NodeFacts, Peer, Refusal};

/// How long chitchat remembers nodes that died and keys that were deleted. Its messages name each of
/// them until half of this has passed.
const DEAD_GRACE: Duration = Duration::from_secs(15 * 60);
/// Heartbeat intervals that are remembered for each peer.
const SAMPLING_WINDOW: usize = 32;
/// A peer is dead after this many of its mean intervals without a heartbeat.
const PHI_THRESHOLD: f64 = 8.0;
/// Rounds after a restart in which peers that were known before are still believed.
const SETTLE_ROUNDS: u32 = 20;
/// Live peers that a change of leader is sent to at once, and that a restart begins from.
const URGENT_PEERS: usize = 32;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// Gossip that ran this long before it broke is started again without delay.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// What this node says.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) facts: NodeFacts,
    pub(super) claim: Option<LeaderClaim>,
}

impl Published {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        facts::encode(&self.facts, self.claim).expect("checked when it was handed in")
    }
}

/// Why chitchat does not run any more.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("it could not start: {0}")]
    Start(anyhow::Error),
    #[error("it stopped: {0}")]
    Stopped(anyhow::Error),
    #[error("a peer made this node's own entry unusable")]
    Spoiled,
}

impl From<Spoiled> for Broken {
    fn from(_: Spoiled) -> Self {
        Self::Spoiled
    }
}

/// Owns gossip for the life of the process.
#[derive(Debug)]
pub(super) struct Supervisor {
    options: Options,
    advertise: SocketAddr,
    wire: Arc<Wire>,
    published: watch::Receiver<Published>,
    show: watch::Sender<Arc<ClusterView>>,
    restarts: u64,
}

/// One life of chitchat.
struct Run {
    chitchat: ChitchatHandle,
    assembler: Assembler,
    pairs: Vec<(&'static str, String)>,
    claim: Option<LeaderClaim>,
    settled_at: Instant,
}

impl Supervisor {
    pub(super) fn new(
        options: Options,
        advertise: SocketAddr,
        wire: Arc<Wire>,
        published: watch::Receiver<Published>,
        show: watch::Sender<Arc<ClusterView>>,
    ) -> Self {
        Self { options, advertise, wire, published, show, restarts: 0 }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let started = Instant::now();
            let Err(broken) = self.run_once(&stop).await else {
                return;
            };
            self.restarts += 1;
            self.wire.tally.restarts.add(1);
            if started.elapsed() > HEALTHY_AFTER {
                back_off = BACK_OFF_MIN;
            }
            tracing::error!(
                reason = %broken,
                restarts = self.restarts,
                retry_ms = back_off.as_millis(),
                "gossip broke and is started again"
            );
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep(back_off) => {}
            }
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    /// Runs until `stop`, which is `Ok`, or until something breaks.
    async fn run_once(&mut self, stop: &CancellationToken) -> Result<(), Broken> {
        let mut run = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            started = self.start() => started.map_err(Broken::Start)?,
        };
        let outcome = self.follow(&mut run, stop).await;
        // An error here is the one that was already seen, or comes too late to matter.
        if let Err(error) = run.chitchat.shutdown().await {
            tracing::debug!(%error, "gossip ended");
        }
        outcome
    }

    async fn start(&mut self) -> anyhow::Result<Run> {
        let published = self.published.borrow_and_update().clone();
        let pairs = published.pairs();
        let initial = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let transport = SealedTransport(Arc::clone(&self.wire));
        let chitchat = spawn_chitchat(self.config(), initial, &transport).await?;
        let wire = Arc::clone(&self.wire);
        chitchat
            .with_chitchat(|chitchat| {
                let wire = Arc::clone(&wire);
                // Called with chitchat's lock held, so it only leaves word.
                chitchat.subscribe_event("", move |_| wire.changed.notify_one()).forever();
            })
            .await;
        let settled_at = match self.restarts {
            0 => Instant::now(),
            _ => Instant::now() + self.options.interval * SETTLE_ROUNDS,
        };
        Ok(Run {
            chitchat,
            assembler: Assembler::default(),
            pairs,
            claim: published.claim,
            settled_at,
        })
    }

    fn config(&self) -> ChitchatConfig {
        let options = &self.options;
        let restarts = self.restarts.min((1 << RESTART_BITS) - 1);
        let generation = (options.generation.0 << RESTART_BITS) | restarts;
        let mut seed_nodes = options.seeds.clone();
        // After a restart the seeds may be gone while the others are still there.
        let known = self.show.borrow();
        let known = known.alive().take(URGENT_PEERS);
        seed_nodes.extend(known.map(|peer| peer.address_gossip.to_string()));
        ChitchatConfig {
            chitchat_id: ChitchatId::new(options.node_id.to_string(), generation, self.advertise),
            cluster_id: options.tag.clone(),
            gossip_interval: options.interval,
            listen_addr: options.listen,
            seed_nodes,
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: PHI_THRESHOLD,
                sampling_window_size: SAMPLING_WINDOW,
                max_interval: options.interval * 10,
                // The default of five seconds would delay the first detections to 40 s.
                initial_interval: options.interval,
                dead_node_grace_period: DEAD_GRACE,
            },
            marked_for_deletion_grace_period: DEAD_GRACE,
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        }
    }

    /// Publishes what this node says and shows what the others say.
    async fn follow(&mut self, run: &mut Run, stop: &CancellationToken) -> Result<(), Broken> {
        let terminated = run.chitchat.termination_watcher();
        tokio::pin!(terminated);
        // Who is alive changes only at a round.
        let mut rounds = interval(self.options.interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut handles_left = true;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                ended = &mut terminated => {
                    let reason = ended.err().unwrap_or_else(|| anyhow::anyhow!("it just ended"));
                    return Err(Broken::Stopped(reason));
                }
                changed = self.published.changed(), if handles_left => {
                    // Without handles nobody can change anything, but gossip goes on.
                    handles_left = changed.is_ok();
                    self.publish(run).await?;
                }
                _ = rounds.tick() => {
                    self.wire.expire();
                    self.refresh(run).await?;
                }
                () = self.wire.changed.notified() => self.refresh(run).await?,
            }
        }
    }

    async fn publish(&mut self, run: &mut Run) -> Result<(), Broken> {
        let published = self.published.borrow_and_update().clone();
        let pairs = published.pairs();
        let urgent = published.claim.is_some() && published.claim != run.claim;
        own::publish(&mut *run.chitchat.chitchat().lock().await, &pairs)?;
        run.pairs = pairs;
        run.claim = published.claim;
        if urgent {
            let view = Arc::clone(&self.show.borrow());
            for peer in view.alive().take(URGENT_PEERS) {
                run.chitchat.gossip(peer.address_gossip).map_err(Broken::Stopped)?;
            }
        }
        Ok(())
    }

    /// Sets right our own keys and shows the view when it has changed.
    async fn refresh(&mut self, run: &mut Run) -> Result<(), Broken> {
        let mut peers = {
            let chitchat = run.chitchat.chitchat();
            let mut chitchat = chitchat.lock().await;
            let overwritten = own::reassert(&mut chitchat, &run.pairs)?;
            if overwritten > 0 {
                self.wire.tally.overwritten.add(overwritten);
                tracing::warn!(overwritten, "a peer changed what this node says; set right");
            }
            run.assembler.peers(&chitchat, self.options.node_id)
        };
        let before = Arc::clone(&self.show.borrow());
        if Instant::now() < run.settled_at {
            assemble::carry_over(&mut peers, &before.peers);
        }
        self.refuse_other_clusters(&mut peers);
        self.admit(&mut peers, &before.peers);
        let refusals = self.wire.refusals();
        let view = ClusterView { peers, restarts: self.restarts, refusals };
        if view != *before {
            self.show.send_replace(Arc::new(view));
        }
        Ok(())
    }

    /// Leaves out the peers of other clusters, once this node knows its own.
    fn refuse_other_clusters(&self, peers: &mut BTreeMap<NodeId, Peer>) {
        let Some(ours) = self.published.borrow().facts.cluster else { return };
        peers.retain(|node, peer| match peer.facts.cluster {
            Some(theirs) if theirs != ours => {
                let node = *node;
                self.wire.refuse(node, Refusal::OtherCluster { node, ours, theirs });
                false
            }
            Some(_) | None => true,
        });
    }

    /// Keeps the cluster within its limit.
    fn admit(&self, peers: &mut BTreeMap<NodeId, Peer>, before: &BTreeMap<NodeId, Peer>) {
        let nodes_max = self.options.nodes_max;
        for node in assemble::limit(peers, before, nodes_max - 1) {
            self.wire.refuse(node, Refusal::ClusterFull { node, nodes_max });
        }
        let full = assemble::alive(peers) + 1 >= nodes_max;
        self.wire.set_admitted(peers.keys().copied().collect(), full);
    }
}
