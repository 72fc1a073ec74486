//! Whether this node can do its work.

use std::time::Duration;

use meshos_membership::raft::Health;
use meshos_protocol::ids::NodeId;
use serde::Serialize;

use super::{
    Api,
    call::{Answer, Failure},
};
use crate::{
    config::print_duration,
    runtime::{deaf_for, missed_for},
};

/// What anybody may know of a node, so that probes need no credentials: nothing of what runs here.
#[derive(Debug, Serialize)]
struct HealthRow {
    /// False when the node must be looked after: a restart or an operator is needed.
    healthy: bool,
    /// What is wrong, in sentences.
    problems: Vec<String>,
    node_id: NodeId,
    version: &'static str,
    /// Whether this node leads, or is registered with the leader. An election is no illness: this may
    /// be false for a second.
    leader_known: bool,
    /// Whether that leader has this node's registration.
    registered: bool,
    /// Nodes that gossip holds for alive, this one too.
    nodes_alive: usize,
    /// How many voters there are, and how many of them answer this node; null when it does not know
    /// the voters.
    voters: Option<usize>,
    voters_answering: Option<usize>,
}

impl Api {
    pub(super) fn health(&self) -> Result<Answer, Failure> {
        let raft = self.options.raft.health().borrow().clone();
        let agent = self.options.agent.view();
        let leader_known = agent.registered || self.led().is_some();
        let mut problems = problems(&raft, agent.storage_failure.as_deref());
        let missing = *self.options.missing.borrow();
        if let Some(since) = missed_for(missing.leader).filter(|_| !leader_known) {
            problems.push(leaderless_for(since, &self.why_leaderless()));
        }
        if missed_for(missing.gossip).is_some() {
            problems.push(deaf_for(&self.options.options.http_address().to_string()));
        }
        let voters = self.voters_answering();
        let row = HealthRow {
            healthy: problems.is_empty(),
            problems,
            node_id: self.options.node,
            version: env!("CARGO_PKG_VERSION"),
            leader_known,
            registered: agent.registered,
            nodes_alive: 1 + self.options.gossip.view().alive().count(),
            voters: voters.map(|voters| voters.voters),
            voters_answering: voters.map(|voters| voters.answer),
        };
        let status = if row.healthy { 200 } else { 503 };
        Ok(Answer::json(&row)?.with_status(status))
    }
}

fn leaderless_for(since: Duration, why: &[String]) -> String {
    let since = print_duration(Duration::from_secs(since.as_secs()));
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
    format!("no leader has had this node's registration for {since}{why}")
}

fn problems(raft: &Health, storage_failure: Option<&str>) -> Vec<String> {
    let raft = match raft {
        Health::Running => None,
        Health::StorageFailed { file, error } => {
            Some(format!("{} cannot be written: {error}", file.display()))
        }
        Health::NotTaken(why) => Some(why.clone()),
        Health::Stopped(why) => Some(format!("raft has stopped: {why}")),
    };
    let agent = storage_failure.map(|why| format!("the agent's disk refuses writes: {why}"));
    raft.into_iter().chain(agent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_leader_says_for_how_long_and_why() {
        let told = leaderless_for(Duration::from_millis(61_900), &["a".into(), "b".into()]);
        assert_eq!(told, "no leader has had this node's registration for 61s: a; b");
        assert!(leaderless_for(Duration::from_secs(10), &[]).ends_with("for 10s"));
    }

    #[test]
    fn a_disk_that_fails_makes_a_node_ill() {
        assert!(problems(&Health::Running, None).is_empty());
        let failed =
            Health::StorageFailed { file: "/d/raft.log".into(), error: "disk full".into() };
        let problems = problems(&failed, Some("no space"));
        assert_eq!(
            problems,
            [
                "/d/raft.log cannot be written: disk full",
                "the agent's disk refuses writes: no space"
            ]
        );
    }
}
