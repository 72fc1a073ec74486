//! Asks the voters whether a claim to lead is true.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use meshos_membership::raft::{VoterRole, VoterStatus};
use meshos_protocol::{
    ids::{NodeId, Term},
    messages::node::{Reply, Request},
};

use crate::net::{Net, Target};

/// How long a voter may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The members that vote.
pub(super) fn voting(members: &[VoterStatus]) -> Vec<Target> {
    let voting = members.iter().filter(|status| matches!(status.role, VoterRole::Voter));
    let target = |status: &VoterStatus| Target {
        node: Some(status.voter.node_id),
        address: status.voter.address.clone(),
    };
    voting.map(target).collect()
}

/// Whether more than half of `voters` hold that `leader` leads in `term`; `own` is what this node
/// says when it is one of them. Answers as soon as it is certain.
pub(super) async fn by_majority(
    net: &Net,
    own: bool,
    voters: &[Target],
    term: Term,
    leader: NodeId,
) -> bool {
    let needed = voters.len() / 2 + 1;
    let mut answers: FuturesUnordered<_> =
        voters.iter().map(|voter| agrees(net, own, voter, term, leader)).collect();
    let mut agreed = 0;
    while let Some(yes) = answers.next().await {
        agreed += usize::from(yes);
        if agreed >= needed {
            return true;
        }
        if agreed + answers.len() < needed {
            return false;
        }
    }
    false
}

async fn agrees(net: &Net, own: bool, voter: &Target, term: Term, leader: NodeId) -> bool {
    if voter.node == Some(net.node()) {
        return own;
    }
    let Ok(link) = net.link(voter).await else { return false };
    let request = Request::ConfirmLeader { term, leader };
    matches!(link.request(request, ANSWER_LIMIT).await, Ok(Reply::Confirmed { agrees: true }))
}
