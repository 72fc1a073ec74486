//! A seed that lost its log, or comes late, asks to be made a voter.

use std::time::Duration;

use meshos_membership::raft::{ChangeError, RaftGroup, Voter, VoterRole};
use meshos_protocol::messages::node::{Release, Reply, Request};

use super::{Formation, told::Reasons};
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
    let mut told = Reasons::default();
    while !is_voter(formation.raft(), own.raft_id) {
        let request = Request::JoinVoters {
            raft_id: own.raft_id,
            address: own.address.clone(),
            replaces,
            release: Some(formation.raft().release()),
        };
        // Whoever is asked and does not lead refuses, so all are asked in turn.
        for voter in voters.iter().filter(|voter| voter.raft_id != own.raft_id) {
            let target = Target { node: Some(voter.node_id), address: voter.address.clone() };
            let asked = async {
                formation.net().link(&target).await?.request(request.clone(), CATCH_UP_LIMIT).await
            };
            match asked.await {
                Ok(Reply::Done) => tracing::info!(via = %voter.node_id, "this node is a voter"),
                Ok(Reply::Failed { message }) if told.is_new(&message) => {
                    tracing::info!(via = %voter.node_id, why = %message, "not a voter yet; this node goes on asking");
                }
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
    voter: Voter,
    replaces: Option<u64>,
    release: Option<Release>,
) -> Result<(), ChangeError> {
    let members = raft.voters();
    // A lost log may be replaced by the node at its address only, so that a node cannot push
    // another voter out.
    let replaces = replaces.filter(|gone| {
        members.iter().any(|status| {
            let member = &status.voter;
            member.raft_id == *gone && member.address == voter.address && *gone != voter.raft_id
        })
    });
    let release = Release::told(release);
    match replaces {
        Some(gone) => raft.replace_voter(gone, voter, &release, CATCH_UP_LIMIT).await,
        None => raft.add_voter(voter, &release, CATCH_UP_LIMIT).await,
    }
}
