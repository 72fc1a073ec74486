//! Whether a claim to lead is true: the claimant and the voters are asked.

use meshos_protocol::{
    ids::NodeId,
    messages::node::{Announcement, Reply, Request},
};

use super::{
    ASK_LIMIT, Claim, LeaderTracker,
    beliefs::Beliefs,
    claims::{Confirm, Confirmed},
    confirm,
    voters::{self, Source, Told},
};
use crate::net::{Net, Target};

/// Asks the claimant and the voters.
#[derive(Clone)]
pub(super) struct Voting {
    pub(super) net: Net,
    pub(super) tracker: LeaderTracker,
    pub(super) beliefs: Beliefs,
}

impl Confirm for Voting {
    async fn confirm(&self, claim: &Claim) -> Option<Confirmed> {
        let basis = self.beliefs.version();
        let announcement = self.details(claim).await?;
        if announcement.fence.term != claim.term || announcement.leader != claim.leader {
            return None;
        }
        for voters in self.voters_to_ask() {
            if self.is_confirmed_by(&voters, claim).await {
                return Some(Confirmed { announcement, basis });
            }
        }
        let cluster = *self.tracker.cluster.borrow();
        let voters = self.beliefs.rebuilt_voters(&announcement, cluster).await?;
        self.is_confirmed_by(&voters, claim).await.then_some(Confirmed { announcement, basis })
    }
}

impl Voting {
    async fn is_confirmed_by(&self, voters: &[Target], claim: &Claim) -> bool {
        let own = self.tracker.agrees(claim.term, claim.leader);
        confirm::by_majority(&self.net, own, voters, claim.term, claim.leader).await
    }

    /// The voters as the raft group has them in this node's own log, or as last told, or both.
    fn voters_to_ask(&self) -> Vec<Vec<Target>> {
        let (members, own) = (self.tracker.raft.voters(), self.net.node());
        let written = self.tracker.raft.members_term();
        let written = written.filter(|written| !self.tracker.is_superseded(*written));
        let is_member = members.iter().any(|status| status.voter.node_id == own);
        let told = match self.beliefs.told_in() {
            Some(term) => Told::In { term, left_out: self.beliefs.left_out(own) },
            None => Told::Never,
        };
        let sources = voters::sources(written, is_member, told);
        let group = |source: &Source| match source {
            Source::Log => confirm::voting(&members),
            Source::Told => self.beliefs.known_voters(),
        };
        sources.iter().map(group).collect()
    }

    /// A member whose log does not know the leader takes the log from it all the same: it became a
    /// voter while this node was away, and was confirmed.
    pub(super) fn take_log_from(&self, leader: NodeId) {
        let members = self.tracker.raft.voters();
        let knows = |node| members.iter().any(|status| status.voter.node_id == node);
        if knows(self.net.node()) && !knows(leader) {
            self.tracker.raft.admit([leader]);
        }
    }

    async fn details(&self, claim: &Claim) -> Option<Announcement> {
        if claim.leader == self.net.node() {
            return self.tracker.own_announcement();
        }
        let target = Target { node: Some(claim.leader), address: claim.address.clone() };
        ask_for_leader(&self.net, &target).await
    }
}

pub(super) async fn ask_for_leader(net: &Net, target: &Target) -> Option<Announcement> {
    let link = net.link(target).await.ok()?;
    match link.request(Request::Leader, ASK_LIMIT).await.ok()? {
        Reply::Leader { announcement } => announcement,
        _ => None,
    }
}
