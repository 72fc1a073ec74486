//! The voters that a node knows, kept over restarts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use meshos_membership::{identity::write_atomic, recovery::Recovery};
use meshos_protocol::{codec, ids::NodeId};

use crate::net::Target;

const FILE: &str = "voters";

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
    use meshos_protocol::ids::{ClusterId, Term};

    use super::*;

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
