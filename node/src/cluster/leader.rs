//! Who leads: claims come in from raft, from announcements and from gossip; only what a majority
//! of the voters confirms is believed, and it is on disk before anyone acts on it. When the voters
//! that the node knows confirm nothing, those count that a statement of the cluster's authority
//! names, if the leader presents one.

mod beliefs;
mod claims;
mod confirm;
mod reach;
mod rebuilt;
mod voters;
mod voting;

#[cfg(test)]
mod scene;
#[cfg(test)]
mod tests;

use std::{cmp::Ordering, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use meshos_membership::{
    gossip, identity::FenceStore, raft::RaftGroup, recovery::RecoveryStore, view::ViewChange,
};
use meshos_protocol::{
    ids::{ClusterId, Fence, NodeId, Term},
    messages::node::Announcement,
};
use rustls_pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::net::{Net, Target};
use beliefs::{Beliefs, Written};
use claims::{Claims, Confirmed};
pub(crate) use reach::Reach;
use rebuilt::{Held, Rebuilt};
use voters::KnownVoters;
use voting::{Voting, ask_for_leader};

/// Claims that may wait; more are dropped, since claims are repeated.
const CLAIMS_MAX: usize = 256;
/// Words of the followed leader that may wait; of more, the next change of voters tells again.
const WORDS_MAX: usize = 4;
/// How often a node that follows nobody asks the voters.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How often one does that could not confirm a newer claim.
const ASK_AGAIN_INTERVAL: Duration = Duration::from_secs(5);
/// How often one does whose leader is away: it may hear of the next from nobody else.
const ASK_AWAY_INTERVAL: Duration = Duration::from_secs(2);
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
    /// The statement on rebuilt voters that this node holds, if any.
    pub recovery: RecoveryStore,
    /// The certificate of the cluster's authority, which signs such statements.
    pub authority: CertificateDer<'static>,
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

impl Claim {
    fn of(announcement: &Announcement) -> Self {
        Self {
            term: announcement.fence.term,
            leader: announcement.leader,
            address: announcement.agent_address.clone(),
        }
    }
}

/// Reaches the tracker.
#[derive(Clone)]
pub(crate) struct LeaderTracker {
    claims: mpsc::Sender<Claim>,
    words: mpsc::Sender<Announcement>,
    leader: watch::Receiver<Option<Leader>>,
    /// The newest claim that nobody confirmed.
    doubt: watch::Receiver<Option<(Term, NodeId)>>,
    beliefs: Beliefs,
    raft: Arc<RaftGroup>,
    cluster: watch::Receiver<Option<ClusterId>>,
    recovery: Held,
    reach: Reach,
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
        let (words, told) = mpsc::channel(WORDS_MAX);
        let (publish, leader) = watch::channel(None);
        let (show_doubt, doubt) = watch::channel(None);
        let TrackerOptions { net, raft, gossip, cluster, fence, seeds, data_dir, .. } = options;
        let rebuilt = Rebuilt::new(options.recovery, options.authority);
        let held = rebuilt.held();
        let beliefs = Beliefs::new(KnownVoters::load(&data_dir, &seeds), rebuilt, fence);
        let tracker = Self {
            claims,
            words,
            leader,
            doubt,
            beliefs: beliefs.clone(),
            raft: Arc::clone(&raft),
            cluster: cluster.clone(),
            recovery: held,
            reach: Reach::default(),
            me: Target { node: Some(net.node()), address: options.agent_address },
            http_address: options.http_address,
        };
        let voting = Voting { net, tracker: tracker.clone(), beliefs };
        let claims = Claims::new(voting.clone());
        let run = Run {
            voting,
            gossip,
            queue,
            told,
            publish,
            doubt: show_doubt,
            claims,
            unwritten: false,
        };
        tokio::spawn(async move { shutdown.run_until_cancelled(run.run()).await });
        Ok(tracker)
    }

    /// The leader that this node follows: confirmed, and its fence on disk.
    pub(crate) fn leader(&self) -> watch::Receiver<Option<Leader>> {
        self.leader.clone()
    }

    /// Where it is told whether that leader is there.
    pub(crate) fn reach(&self) -> Reach {
        self.reach.clone()
    }

    /// The voters as last told, for a node that is none itself: each with `host:port` of its QUIC port.
    pub(crate) fn known_voters(&self) -> Vec<(NodeId, String)> {
        let voters = self.beliefs.known_voters().into_iter();
        voters.filter_map(|voter| Some((voter.node?, voter.address))).collect()
    }

    /// Who says that it leads and is not believed, in a sentence.
    pub(crate) fn doubted(&self) -> Option<String> {
        let (term, leader) = (*self.doubt.borrow())?;
        let voters = self.known_voters().into_iter().map(|(node, _)| node.to_string());
        let voters = voters.collect::<Vec<_>>().join(", ");
        Some(format!(
            "node {leader} says that it leads in term {term}, but not enough of the voters that this node was told of \
             confirm it ({voters}): start those again that are down, if they follow that leader this node will too"
        ))
    }

    /// A peer tells that it leads.
    pub(crate) fn announced(&self, announcement: &Announcement) {
        let ours = *self.cluster.borrow();
        if ours.is_none_or(|ours| ours == announcement.fence.cluster) {
            self.claim(Claim::of(announcement));
        }
    }

    /// The leader itself says something, over its own connection: when it is the one that is
    /// followed, it may say who votes now.
    pub(crate) fn told_by_leader(&self, announcement: Announcement) {
        // Looked at here, so that others who claim to lead take up none of the places.
        let is_followed = self.leader.borrow().as_ref().is_some_and(|leader| {
            leader.fence == announcement.fence && leader.node == announcement.leader
        });
        if is_followed && self.words.try_send(announcement).is_err() {
            tracing::debug!("a word of a leader is dropped: too many wait");
        }
    }

    /// Whether this node holds that `leader` leads in `term`: as a voter, or since it follows that
    /// leader. Nodes that were told of voters which have been replaced since ask those, and what they
    /// follow was confirmed to them by the voters after them.
    pub(crate) fn agrees(&self, term: Term, leader: NodeId) -> bool {
        let leadership = self.raft.leadership();
        let known = leadership.borrow();
        let leads = known.leader.as_ref().is_some_and(|voter| voter.node_id == leader);
        // A voter that knows of a later term takes back what it followed.
        match known.term.cmp(&term) {
            Ordering::Equal if leads => true,
            Ordering::Equal | Ordering::Less => self.follows(term, leader),
            Ordering::Greater => false,
        }
    }

    fn follows(&self, term: Term, leader: NodeId) -> bool {
        let followed = self.leader.borrow();
        followed.as_ref().is_some_and(|it| it.fence.term == term && it.node == leader)
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
            recovery: self.statement_below(leader.fence.term),
        })
    }

    /// The statement that this node holds, if leaders of this term are of the rebuilt group.
    fn statement_below(&self, term: Term) -> Vec<u8> {
        let held = self.recovery.borrow();
        let held = held.as_ref().filter(|held| held.recovery().above < term);
        held.map(|held| held.bytes().to_vec()).unwrap_or_default()
    }

    fn own_announcement(&self) -> Option<Announcement> {
        let led = self.raft.leadership().borrow().led?;
        let cluster = (*self.cluster.borrow())?;
        let voters = confirm::voting(&self.raft.voters());
        let voters = voters.into_iter().filter_map(|voter| Some((voter.node?, voter.address)));
        // A leader of the old group may hold the statement too; it is not for that one.
        let recovery = match self.raft.members_term() {
            Some(term) if !self.is_superseded(term) => self.statement_below(led.term),
            Some(_) | None => Vec::new(),
        };
        Some(Announcement {
            fence: Fence { cluster, term: led.term },
            leader: self.me.node?,
            agent_address: self.me.address.clone(),
            http_address: self.http_address.clone(),
            voters: voters.collect(),
            recovery,
        })
    }

    /// Whether a group whose members were written in this term was rebuilt since.
    fn is_superseded(&self, members_term: Term) -> bool {
        self.recovery.borrow().as_ref().is_some_and(|held| members_term < held.recovery().above)
    }

    fn claim(&self, claim: Claim) {
        if self.claims.try_send(claim).is_err() {
            tracing::debug!("a claim to lead is dropped: too many wait");
        }
    }
}

struct Run {
    voting: Voting,
    gossip: gossip::Handle,
    queue: mpsc::Receiver<Claim>,
    /// What leaders say themselves.
    told: mpsc::Receiver<Announcement>,
    publish: watch::Sender<Option<Leader>>,
    doubt: watch::Sender<Option<(Term, NodeId)>>,
    claims: Claims<Voting>,
    /// A leader was confirmed and could not be written down: the voters are asked until one is.
    unwritten: bool,
}

impl Run {
    async fn run(mut self) {
        let tracker = &self.voting.tracker;
        tokio::spawn(claims_of_raft(tracker.raft.leadership(), tracker.clone()));
        tokio::spawn(claims_of_gossip(self.gossip.clone(), tracker.clone()));
        let mut ask = tokio::time::interval(ASK_INTERVAL);
        let mut ask_again = tokio::time::interval(ASK_AGAIN_INTERVAL);
        let mut look = tokio::time::interval(ASK_AWAY_INTERVAL);
        loop {
            let follows = self.publish.borrow().is_some();
            let doubts = self.unwritten || self.claims.gave_up().is_some();
            self.doubt.send_if_modified(|shown| {
                std::mem::replace(shown, self.claims.gave_up()) != *shown
            });
            tokio::select! {
                biased;
                settled = self.claims.settled() => if let Some(confirmed) = settled {
                    self.follow(confirmed).await;
                },
                claim = self.queue.recv() => match claim {
                    Some(claim) if self.is_old(claim.term) => {}
                    Some(claim) => self.claims.take(claim),
                    None => return,
                },
                Some(announcement) = self.told.recv() => self.learn_voters(&announcement).await,
                _ = ask.tick(), if !follows => self.ask_voters(),
                _ = ask_again.tick(), if doubts => self.ask_voters(),
                _ = look.tick() => if follows && self.voting.tracker.reach.is_lost() {
                    self.ask_voters();
                },
            }
        }
    }

    /// A node that follows nobody, or could not confirm a newer claim, asks around.
    fn ask_voters(&self) {
        for voter in self.voting.beliefs.known_voters() {
            let (net, tracker) = (self.voting.net.clone(), self.voting.tracker.clone());
            tokio::spawn(async move {
                if let Some(announcement) = ask_for_leader(&net, &voter).await {
                    tracker.announced(&announcement);
                }
            });
        }
    }

    /// Whether this node follows a leader of this term or above, or has promised to.
    fn is_old(&self, term: Term) -> bool {
        let newest = self.voting.beliefs.obeyed();
        let followed = self.publish.borrow().as_ref().map(|leader| leader.fence.term);
        newest.is_some_and(|newest| term < newest)
            || followed.is_some_and(|followed| term <= followed)
    }

    /// Other nodes vote than when the leader was confirmed.
    async fn learn_voters(&self, announcement: &Announcement) {
        if let Err(error) = self.voting.beliefs.learn_voters(announcement).await {
            tracing::error!(error = format!("{error:#}"), "who votes now is not written down");
        }
    }

    async fn follow(&mut self, Confirmed { announcement, basis }: Confirmed) {
        if self.is_old(announcement.fence.term) {
            return;
        }
        let ours = *self.voting.tracker.cluster.borrow();
        if ours.is_some_and(|ours| ours != announcement.fence.cluster) {
            tracing::error!(theirs = %announcement.fence.cluster, "a leader of another cluster is refused");
            return;
        }
        let beliefs = &self.voting.beliefs;
        match beliefs::establish(beliefs, &announcement, basis, &self.publish).await {
            Ok(Written::Done) => {}
            // Other voters count now than those that confirmed it.
            Ok(Written::Outdated) => return self.claims.take(Claim::of(&announcement)),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the new leader is not followed");
                self.unwritten = true;
                return;
            }
        }
        self.unwritten = false;
        self.claims.give_up_to(announcement.fence.term);
        self.voting.take_log_from(announcement.leader);
        self.ask_who_votes(announcement);
    }

    /// What the leader has said of voters since it was asked, before it was followed, was not taken.
    fn ask_who_votes(&self, followed: Announcement) {
        let (net, tracker) = (self.voting.net.clone(), self.voting.tracker.clone());
        let target = Target { node: Some(followed.leader), address: followed.agent_address };
        if target.node == tracker.me.node {
            return;
        }
        tokio::spawn(async move {
            if let Some(announcement) = ask_for_leader(&net, &target).await {
                tracker.told_by_leader(announcement);
            }
        });
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
