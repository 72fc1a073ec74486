//! The voters that a node knows, kept over restarts.

use std::path::{Path, PathBuf};

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
        let voters = std::fs::read(&file)
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
        if self.voters.is_empty() {
            let seed = |address: &String| Target { node: None, address: address.clone() };
            return self.seeds.iter().map(seed).collect();
        }
        let voter = |(node, address): &(NodeId, String)| Target {
            node: Some(*node),
            address: address.clone(),
        };
        self.voters.iter().map(voter).collect()
    }

    /// Takes the voters of a leader that was confirmed. Losing the file costs nothing but asking
    /// the seeds again, so it is not flushed.
    pub(super) fn learn(&mut self, voters: &[(NodeId, String)]) {
        if voters.is_empty() || voters == self.voters.as_slice() {
            return;
        }
        self.voters = voters.to_vec();
        let fresh = self.file.with_extension("new");
        let written = std::fs::write(&fresh, codec::encode(&self.voters))
            .and_then(|()| std::fs::rename(&fresh, &self.file));
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "known voters cannot be written");
        }
    }
}
