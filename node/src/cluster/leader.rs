//! Who leads: claims come in from raft, from announcements and from gossip; only what a majority
//! of the voters confirms is believed, and it is on disk before anyone acts on it.

mod confirm;
mod voters;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use meshos_membership::{gossip, identity::FenceStore, raft::RaftGroup, view::ViewChange};
use meshos_protocol::{
    ids::{ClusterId, Fence, NodeId, Term},
    messages::node::{Announcement, Reply, Request},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::net::{Net, Target};
use voters::KnownVoters;

/// Claims that may wait; more are dropped, since claims are repeated.
const CLAIMS_MAX: usize = 256;
/// Between two attempts to confirm a claim.
const RETRY: Duration = Duration::from_millis(50);
/// How long a claim is worth confirming.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);
/// How often a node that follows nobody asks the voters.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How long one question may take.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// A leader that this node follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    /// Cluster and term.
    pub fence: Fence,
    /// The node.
    pub node: NodeId,
    /// `host:port` of its QUIC port.
    pub agent_address: String,
    /// `host:port` of its cluster HTTP port.
    pub http_address: String,
}

/// What the tracker needs.
pub(crate) struct TrackerOptions {
    pub net: Net,
    pub raft: Arc<RaftGroup>,
    pub gossip: gossip::Handle,
    pub cluster: watch::Receiver<Option<ClusterId>>,
    pub fence: FenceStore,
    pub data_dir: PathBuf,
    /// The seeds' QUIC addresses: whom to ask before any voter is known.
    pub seeds: Vec<String>,
    /// `host:port` of this node's QUIC port.
    pub agent_address: String,
    /// `host:port` of this node's cluster HTTP port.
    pub http_address: String,
}

/// A claim that somebody leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    term: Term,
    leader: NodeId,
    address: String,
}

/// Reaches the tracker.
#[derive(Clone)]
pub(crate) struct LeaderTracker {
    claims: mpsc::Sender<Claim>,
    leader: watch::Receiver<Option<Leader>>,
    raft: Arc<RaftGroup>,
    cluster: watch::Receiver<Option<ClusterId>>,
    me: Target,
    http_address: String,
}

impl LeaderTracker {
    /// Starts the tracker, which runs until `shutdown`.
    pub(crate) async fn start(
        options: TrackerOptions,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let (claims, queue) = mpsc::channel(CLAIMS_MAX);
        let (publish, leader) = watch::channel(None);
        let tracker = Self {
            claims,
            leader,
            raft: Arc::clone(&options.raft),
            cluster: options.cluster.clone(),
            me: Target { node: Some(options.net.node()), address: options.agent_address.clone() },
            http_address: options.http_address.clone(),
        };
        let voters = KnownVoters::load(&options.data_dir, &options.seeds);
        let run = Run { tracker: tracker.clone(), options, queue, publish, voters };
        tokio::spawn(async move { shutdown.run_until_cancelled(run.run()).await });
        Ok(tracker)
    }

    /// The leader that this node follows: confirmed, and its fence on disk.
    pub(crate) fn leader(&self) -> watch::Receiver<Option<Leader>> {
        self.leader.clone()
    }

    /// A peer tells that it leads.
    pub(crate) fn announced(&self, announcement: &Announcement) {
        let ours = *self.cluster.borrow();
        if ours.is_none_or(|ours| ours == announcement.fence.cluster) {
            self.claim(Claim {
                term: announcement.fence.term,
                leader: announcement.leader,
                address: announcement.agent_address.clone(),
            });
        }
    }

    /// Whether this voter holds that `leader` leads in `term`.
    pub(crate) fn agrees(&self, term: Term, leader: NodeId) -> bool {
        let leadership = self.raft.leadership();
        let known = leadership.borrow();
        known.term == term && known.leader.as_ref().is_some_and(|voter| voter.node_id == leader)
    }

    /// What this node knows of the leader, for whoever asks.
    pub(crate) fn announcement(&self) -> Option<Announcement> {
        if let Some(own) = self.own_announcement() {
            return Some(own);
        }
        let leader = self.leader.borrow().clone()?;
        Some(Announcement {
            fence: leader.fence,
            leader: leader.node,
            agent_address: leader.agent_address,
            http_address: leader.http_address,
            voters: Vec::new(),
        })
    }

    fn own_announcement(&self) -> Option<Announcement> {
        let led = self.raft.leadership().borrow().led?;
        let cluster = (*self.cluster.borrow())?;
        let voters = self.raft.voters().into_iter().map(|status| status.voter);
        Some(Announcement {
            fence: Fence { cluster, term: led.term },
            leader: self.me.node?,
            agent_address: self.me.address.clone(),
            http_address: self.http_address.clone(),
            voters: voters.map(|voter| (voter.node_id, voter.address)).collect(),
        })
    }

    fn claim(&self, claim: Claim) {
        if self.claims.try_send(claim).is_err() {
            tracing::debug!("a claim to lead is dropped: too many wait");
        }
    }
}

struct Run {
    tracker: LeaderTracker,
    options: TrackerOptions,
    queue: mpsc::Receiver<Claim>,
    publish: watch::Sender<Option<Leader>>,
    voters: KnownVoters,
}

impl Run {
    async fn run(mut self) {
        let leadership = self.options.raft.leadership();
        tokio::spawn(claims_of_raft(leadership, self.tracker.clone()));
        tokio::spawn(claims_of_gossip(self.options.gossip.clone(), self.tracker.clone()));
        let mut ask = tokio::time::interval(ASK_INTERVAL);
        loop {
            tokio::select! {
                biased;
                claim = self.queue.recv() => match claim {
                    Some(claim) => self.consider(claim).await,
                    None => return,
                },
                _ = ask.tick() => {
                    if self.publish.borrow().is_none() {
                        self.ask_voters();
                    }
                }
            }
        }
    }

    /// A node that follows nobody asks around.
    fn ask_voters(&self) {
        for voter in self.voters.targets() {
            let (net, tracker) = (self.options.net.clone(), self.tracker.clone());
            tokio::spawn(async move {
                if let Some(announcement) = ask_for_leader(&net, &voter).await {
                    tracker.announced(&announcement);
                }
            });
        }
    }

    async fn consider(&mut self, claim: Claim) {
        let newest = self.options.fence.current().map(|fence| fence.term);
        let followed = self.publish.borrow().as_ref().map(|leader| leader.fence.term);
        let old = newest.is_some_and(|newest| claim.term < newest)
            || followed.is_some_and(|followed| claim.term <= followed);
        if old {
            return;
        }
        let give_up = tokio::time::Instant::now() + CONFIRM_LIMIT;
        let mut claim = claim;
        while tokio::time::Instant::now() < give_up {
            if let Some(announcement) = self.attempt(&claim).await {
                return self.follow(announcement).await;
            }
            tokio::select! {
                newer = self.queue.recv() => match newer {
                    Some(newer) if newer.term > claim.term => claim = newer,
                    Some(_) => {}
                    None => return,
                },
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        tracing::warn!(term = %claim.term, leader = %claim.leader, "a claim to lead was not confirmed");
    }

    async fn attempt(&self, claim: &Claim) -> Option<Announcement> {
        let announcement = self.details(claim).await?;
        if announcement.fence.term != claim.term || announcement.leader != claim.leader {
            return None;
        }
        let voters = self.voters_to_ask();
        let agreed = confirm::by_majority(
            &self.options.net,
            &self.tracker,
            &voters,
            claim.term,
            claim.leader,
        )
        .await;
        agreed.then_some(announcement)
    }

    /// The voters as the raft group has them where this node is a member, else as last told.
    fn voters_to_ask(&self) -> Vec<Target> {
        let members = self.options.raft.voters();
        if members.iter().any(|status| status.voter.node_id == self.options.net.node()) {
            return confirm::voting(&members);
        }
        self.voters.targets()
    }

    async fn details(&self, claim: &Claim) -> Option<Announcement> {
        if claim.leader == self.options.net.node() {
            return self.tracker.own_announcement();
        }
        let target = Target { node: Some(claim.leader), address: claim.address.clone() };
        ask_for_leader(&self.options.net, &target).await
    }

    async fn follow(&mut self, announcement: Announcement) {
        let ours = *self.options.cluster.borrow();
        if ours.is_some_and(|ours| ours != announcement.fence.cluster) {
            tracing::error!(theirs = %announcement.fence.cluster, "a leader of another cluster is refused");
            return;
        }
        // The fence is on disk before anyone acts under it.
        if let Err(error) = self.options.fence.store(announcement.fence) {
            tracing::error!(%error, "the fence cannot be written: the new leader is not followed");
            return;
        }
        self.voters.learn(&announcement.voters);
        let leader = Leader {
            fence: announcement.fence,
            node: announcement.leader,
            agent_address: announcement.agent_address,
            http_address: announcement.http_address,
        };
        tracing::info!(leader = %leader.node, term = %leader.fence.term, "leader confirmed");
        self.publish.send_replace(Some(leader));
    }
}

async fn ask_for_leader(net: &Net, target: &Target) -> Option<Announcement> {
    let link = net.link(target).await.ok()?;
    match link.request(Request::Leader, ASK_LIMIT).await.ok()? {
        Reply::Leader { announcement } => announcement,
        _ => None,
    }
}

async fn claims_of_raft(
    mut leadership: watch::Receiver<meshos_membership::raft::Leadership>,
    tracker: LeaderTracker,
) {
    loop {
        let (known, me) = (leadership.borrow_and_update().clone(), tracker.me.node);
        let leader =
            known.leader.filter(|leader| Some(leader.node_id) != me || known.led.is_some());
        if let Some(leader) = leader {
            let (term, address) = (known.term, leader.address);
            tracker.claim(Claim { term, leader: leader.node_id, address });
        }
        if leadership.changed().await.is_err() {
            return;
        }
    }
}

async fn claims_of_gossip(gossip: gossip::Handle, tracker: LeaderTracker) {
    let mut changes = gossip.changes();
    while let Some(changes) = changes.next().await {
        let hint = changes.iter().find_map(|change| match change {
            ViewChange::LeaderHint(hint) => Some(*hint),
            _ => None,
        });
        let Some(hint) = hint else { continue };
        if let Some(peer) = gossip.view().peers.get(&hint.leader) {
            let address = peer.facts.address_quic.to_string();
            tracker.claim(Claim { term: hint.term, leader: hint.leader, address });
        }
    }
}
