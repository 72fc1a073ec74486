//! The voters that a node knows, kept over restarts.

use std::{
    cmp::Ordering,
    fs, io,
    path::{Path, PathBuf},
};

use meshos_membership::{identity::write_atomic, recovery::Recovery};
use meshos_protocol::{
    codec,
    ids::{NodeId, Term},
};

use crate::net::Target;

const FILE: &str = "voters";

/// Where a node knows voters from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Its own copy of raft's log.
    Log,
    /// The leader that it followed last.
    Told,
}

/// What a node was told of the voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: it knows the seeds.
    Never,
    /// By the leader of this term.
    In {
        term: Term,
        /// They were told without this node.
        left_out: bool,
    },
}

/// Whose voters may confirm a leader: the newer ones, and both when either may be the newer. `written`
/// is the term of the members in the node's own log, if that counts at all; `is_member` says whether
/// the node is one of them.
///
/// * A member knows the group by its log, unless a leader has told voters without it since: a voter
///   that was away is replaced without being told by the log, which ends before that.
/// * Whoever is no member has no log that goes on. But that of a leader which took itself out ends with
///   the voters after it, and nobody has told it those.
pub(super) fn sources(written: Option<Term>, is_member: bool, told: Told) -> &'static [Source] {
    use Source::{Log, Told as Tale};
    match (written, told) {
        (None, _) => &[Tale],
        (Some(_), Told::Never) if is_member => &[Log],
        (Some(_), Told::Never) => &[Log, Tale],
        (Some(_), Told::In { left_out: false, .. }) if is_member => &[Log],
        (Some(written), Told::In { term, .. }) => match written.cmp(&term) {
            Ordering::Less => &[Tale],
            Ordering::Equal => &[Log, Tale],
            Ordering::Greater if is_member => &[Log],
            Ordering::Greater => &[Log, Tale],
        },
    }
}

impl super::LeaderTracker {
    /// Whether this node's log takes it for a member, and a leader has told voters without it since: the end of its
    /// membership never reached its log.
    pub(crate) fn is_left_out(&self) -> bool {
        let told = self.beliefs.told_in();
        let written = self.raft.members_term();
        told.is_some_and(|told| written.is_none_or(|written| written <= told))
            && self.me.node.is_some_and(|own| self.beliefs.left_out(own))
    }
}

/// The voters as the newest confirmed leader told them; the seeds before that.
pub(super) struct KnownVoters {
    file: PathBuf,
    voters: Vec<(NodeId, String)>,
    seeds: Vec<String>,
}

impl KnownVoters {
    /// Reads what an earlier run of the node knew.
    pub(super) fn load(data_dir: &Path, seeds: &[String]) -> Self {
        let file = data_dir.join(FILE);
        let voters = fs::read(&file)
            .ok()
            .and_then(|bytes| match codec::decode::<Vec<(NodeId, String)>>(&bytes) {
                Ok(voters) => Some(voters),
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "known voters cannot be read; the seeds are asked");
                    None
                }
            })
            .unwrap_or_default();
        Self { file, voters, seeds: seeds.to_vec() }
    }

    /// Whom to ask.
    pub(super) fn targets(&self) -> Vec<Target> {
        if self.are_unknown() {
            let seed = |address: &String| Target { node: None, address: address.clone() };
            return self.seeds.iter().map(seed).collect();
        }
        let voter = |(node, address): &(NodeId, String)| Target {
            node: Some(*node),
            address: address.clone(),
        };
        self.voters.iter().map(voter).collect()
    }

    /// Whether no leader has told who votes, or what was told is lost.
    pub(super) fn are_unknown(&self) -> bool {
        self.voters.is_empty()
    }

    /// Takes the voters of a statement that was kept and not acted on before the node ended.
    pub(super) fn replace(&mut self, recovery: &Recovery) {
        let voter = |voter: &meshos_membership::raft::Voter| (voter.node_id, voter.address.clone());
        self.voters = recovery.voters.iter().map(voter).collect();
    }

    /// Takes the voters of a leader that was confirmed. They are on disk when this returns: once
    /// the node has a fence of a rebuilt group, the old voters convince it of nothing.
    pub(super) fn learn(&mut self, voters: &[(NodeId, String)]) -> io::Result<()> {
        if voters.is_empty() || voters == self.voters.as_slice() {
            return Ok(());
        }
        write_atomic(&self.file, &codec::encode(voters))?;
        self.voters = voters.to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use meshos_membership::raft::Voter;
    use meshos_protocol::ids::ClusterId;

    use super::*;

    #[test]
    fn the_newer_of_log_and_tale_counts_and_both_where_either_may_be() {
        use Source::{Log, Told as Tale};
        let told = |term, left_out| Told::In { term: Term(term), left_out };
        let table: [(Option<u64>, bool, Told, &[Source]); 12] = [
            (None, false, Told::Never, &[Tale]),
            (None, false, told(3, true), &[Tale]),
            (Some(1), true, Told::Never, &[Log]),
            (Some(1), true, told(3, false), &[Log]),
            // A voter that was away while it was replaced.
            (Some(1), true, told(3, true), &[Tale]),
            (Some(3), true, told(3, true), &[Log, Tale]),
            (Some(4), true, told(3, true), &[Log]),
            // A leader that took itself out, of voters that it was told as their leader.
            (Some(3), false, told(3, false), &[Log, Tale]),
            (Some(4), false, told(3, false), &[Log, Tale]),
            (Some(3), false, told(3, true), &[Log, Tale]),
            // It follows a later leader by now.
            (Some(3), false, told(4, true), &[Tale]),
            (Some(3), false, Told::Never, &[Log, Tale]),
        ];
        for (written, is_member, told, expected) in table {
            let found = sources(written.map(Term), is_member, told);
            assert_eq!(found, expected, "{written:?} {is_member} {told:?}");
        }
    }

    #[test]
    fn the_seeds_are_asked_until_voters_are_known() {
        let scratch = tempfile::tempdir().unwrap();
        let load = || KnownVoters::load(scratch.path(), &["s:1".to_owned()]);
        assert_eq!(load().targets(), [Target { node: None, address: "s:1".to_owned() }]);
        let node = NodeId::from_bits(7);
        let told = vec![(node, "v:1".to_owned())];
        load().learn(&told).unwrap();
        let mut known = load();
        assert!(!known.are_unknown());
        assert_eq!(known.targets(), [Target { node: Some(node), address: "v:1".to_owned() }]);

        // What a statement names stands only until a leader that was confirmed tells better.
        let other = NodeId::from_bits(8);
        let voter = Voter { raft_id: 8, node_id: other, address: "w:1".to_owned() };
        let recovery =
            Recovery { cluster: ClusterId::from_u128(1), above: Term(3), voters: vec![voter] };
        known.replace(&recovery);
        assert_eq!(known.targets(), [Target { node: Some(other), address: "w:1".to_owned() }]);
        known.learn(&told).unwrap();
        assert_eq!(load().targets(), known.targets());
    }
}
