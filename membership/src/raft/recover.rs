//! Making one survivor the whole group, when the majority is lost for good.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use meshos_protocol::ids::Term;

use super::{
    OpenError, Voter,
    config::{Entry, LeaderId, Member, Membership, Payload, Vote, log_id},
    store::LogFile,
};

/// What a recovered log will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The group's next leader, this node, leads a term above this one.
    pub above: Term,
    /// The entry that makes this node the only voter.
    pub index: u64,
}

/// Rewrites the log in `data_dir`, which nobody may have open, so that `own` is the only voter.
/// All entries of this log are kept, also those whose commit this node never heard of; what only
/// the lost voters had is lost. The next term is above all in this log and above `term_above`,
/// which is to be the highest term seen anywhere in the cluster.
///
/// The other voters of the old group must not come back with their logs: between them they might
/// still be a majority of it.
///
/// # Errors
/// When the log cannot be opened, is empty, or cannot be written.
pub fn recover_offline(
    data_dir: &Path,
    own: &Voter,
    term_above: Term,
) -> Result<Recovered, OpenError> {
    let (file, stored) = LogFile::open(data_dir, own.raft_id)?;
    let Some(last) = stored.last else {
        let text = "this log is empty: there is nothing to recover, choose another survivor";
        return Err(OpenError::Options(text.to_owned()));
    };
    let voted = stored.vote.map_or(0, |vote| vote.leader_id.term);
    let term = voted.max(last.leader_id.term).max(term_above.0) + 1;
    let index = last.index + 1;
    let members = BTreeMap::from([(own.raft_id, Member::of(own))]);
    let membership = Membership::new(vec![BTreeSet::from([own.raft_id])], members).map_err(
        |error: openraft::errors::MembershipError<u64>| OpenError::Options(error.to_string()),
    )?;
    let entry = Entry { log_id: log_id(term, index), payload: Payload::Membership(membership) };
    let vote = Vote { leader_id: LeaderId { term, voted_for: own.raft_id }, committed: false };
    file.rewrite(&[Arc::new(entry)], vote)?;
    tracing::warn!(term, index, voter = %own, "this node is now the only voter of the raft group");
    Ok(Recovered { above: Term(term), index })
}
