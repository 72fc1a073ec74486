//! Whether the other seeds stand ready for a new group, and what to tell the operator when not.

use meshos_protocol::{ids::ClusterId, time::Mono};

use super::{ANSWER_FRESH, Bootstrap};
use crate::{
    bootstrap::{SeedAnswer, SeedVoter},
    raft::Voter,
};

/// Why a seed is not ready, and whether waiting alone will not help.
type Unready = (String, bool);

impl Bootstrap {
    /// The voter at `seed`, if it is empty, has the same list and is not in `members` already.
    pub(super) fn readiness(
        &self,
        now: Mono,
        seed: &str,
        members: &[Voter],
    ) -> Result<Voter, Unready> {
        let heard = self.heard.get(seed);
        let failure = heard.and_then(|heard| heard.failure.as_ref());
        let silent = |otherwise: &str| match failure {
            Some((why, true)) => (strangers(seed, why), true),
            Some((why, false)) => (format!("waiting for seed {seed}: {why}"), false),
            None => (format!("waiting for seed {seed}: {otherwise}"), false),
        };
        let Some((at, answer)) = heard.and_then(|heard| heard.answer.as_ref()) else {
            return Err(silent("it has not answered yet"));
        };
        if now.since(*at) > ANSWER_FRESH {
            return Err(silent("it has not answered for a while"));
        }
        let (text, needs_operator) = match answer {
            SeedAnswer::Empty { voter, seeds, own_seed } => {
                return match self.unfit(seed, voter, seeds, own_seed.as_deref(), members) {
                    Some(text) => Err((text, true)),
                    None => Ok(voter.clone().into()),
                };
            }
            SeedAnswer::Unknown => {
                (format!("seed {seed} runs a release that answers in another way"), true)
            }
            SeedAnswer::Sees { cluster_id, .. } => {
                let text = format!(
                    "seed {seed} is empty and hears of cluster {cluster_id} by gossip; bring back a seed that has its data"
                );
                (text, true)
            }
            SeedAnswer::Promised { .. } => {
                (format!("seed {seed} restarted, or answered another node, a moment ago"), false)
            }
            SeedAnswer::Member { cluster_id: Some(cluster_id), .. } => {
                self.unjoinable(seed, *cluster_id)
            }
            SeedAnswer::Member { cluster_id: None, .. } => {
                (format!("waiting for the group that seed {seed} is forming"), false)
            }
        };
        Err((text, needs_operator))
    }

    /// Why a seed of a cluster gives no way into it.
    fn unjoinable(&self, seed: &str, cluster_id: ClusterId) -> Unready {
        if self.is_ours(Some(cluster_id)) {
            let text = format!("seed {seed} belongs to cluster {cluster_id} and knows no voters");
            return (text, false);
        }
        let text = format!(
            "seed {seed} belongs to cluster {cluster_id}, but all that gossip knows belong to another; correct the seed list"
        );
        (text, true)
    }

    /// Why an empty seed cannot be one of the first voters.
    fn unfit(
        &self,
        seed: &str,
        voter: &SeedVoter,
        seeds: &[String],
        own_seed: Option<&str>,
        members: &[Voter],
    ) -> Option<String> {
        if !seeds.iter().map(String::as_str).eq(self.seeds.iter()) {
            return Some(format!(
                "seed {seed} was started with the seeds {}, this node with {}; start all with the same",
                seeds.join(", "),
                self.seeds
            ));
        }
        if own_seed != Some(seed) {
            let name = own_seed.unwrap_or("no seed");
            return Some(format!(
                "the node at seed {seed} takes itself for {name}; say with --advertise which it is"
            ));
        }
        let is_twin =
            |member: &Voter| member.raft_id == voter.raft_id || member.node_id == voter.node_id;
        members.iter().any(is_twin).then(|| {
            format!("seed {seed} has the identity of another seed; was a data directory copied?")
        })
    }
}

fn strangers(seed: &str, why: &str) -> String {
    format!(
        "seed {seed} and this node do not accept each other's certificates: {why}; start both with the keys of the same \
         `meshos keygen`, correct --seed, or set the clocks"
    )
}
