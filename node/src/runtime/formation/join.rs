//! A seed that lost its log, or comes late, asks to be made a voter.

use std::time::Duration;

use meshos_membership::raft::{ChangeError, RaftGroup, Voter, VoterRole};
use meshos_protocol::{
    ids::NodeId,
    messages::node::{Reply, Request},
};

use super::Formation;
use crate::net::Target;

/// How long copying the log may take before the leader gives up.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// Asks the group's leader until this node votes.
pub(super) async fn ask_until_voter(
    formation: Formation,
    mut voters: Vec<Voter>,
    replaces: Option<Voter>,
) {
    let own = formation.own().clone();
    let replaces = replaces.map(|voter| voter.raft_id);
    while !is_voter(formation.raft(), own.raft_id) {
        let request =
            Request::JoinVoters { raft_id: own.raft_id, address: own.address.clone(), replaces };
        // Whoever is asked and does not lead refuses, so all are asked in turn.
        for voter in voters.iter().filter(|voter| voter.raft_id != own.raft_id) {
            let target = Target { node: Some(voter.node_id), address: voter.address.clone() };
            let asked = async {
                formation.net().link(&target).await?.request(request.clone(), CATCH_UP_LIMIT).await
            };
            match asked.await {
                Ok(Reply::Done) => tracing::info!(via = %voter.node_id, "this node is a voter"),
                Ok(reply) => tracing::debug!(via = %voter.node_id, ?reply, "not a voter yet"),
                Err(error) => tracing::debug!(via = %voter.node_id, %error, "not a voter yet"),
            }
        }
        tokio::time::sleep(RETRY).await;
        let known: Vec<Voter> =
            formation.raft().voters().into_iter().map(|status| status.voter).collect();
        if !known.is_empty() {
            voters = known;
        }
    }
}

fn is_voter(raft: &RaftGroup, raft_id: u64) -> bool {
    let is_own = |status: &meshos_membership::raft::VoterStatus| {
        status.voter.raft_id == raft_id && matches!(status.role, VoterRole::Voter)
    };
    raft.voters().iter().any(is_own)
}

/// The leader's side: makes the node a voter, in the place of the lost log if there is one.
pub(in crate::runtime) async fn make_voter(
    raft: &RaftGroup,
    node: NodeId,
    raft_id: u64,
    address: String,
    replaces: Option<u64>,
) -> Result<(), ChangeError> {
    let members = raft.voters();
    // A lost log may be replaced by the node at its address only, so that a node cannot push
    // another voter out.
    let replaces = replaces.filter(|gone| {
        members.iter().any(|status| {
            status.voter.raft_id == *gone && status.voter.address == address && *gone != raft_id
        })
    });
    let voter = Voter { raft_id, node_id: node, address };
    match replaces {
        Some(gone) => raft.replace_voter(gone, voter, CATCH_UP_LIMIT).await,
        None => raft.add_voter(voter, CATCH_UP_LIMIT).await,
    }
}
