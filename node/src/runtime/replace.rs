//! The leader replaces voters that are gone: looks, has it decided, and carries it out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use meshos_control::master::{AgentView, NodeState};
use meshos_membership::{
    gossip,
    raft::{RaftGroup, VoterStatus},
    replacement::{Candidate, MemberSeen, Rules, Step, next_step},
};
use meshos_protocol::ids::{NodeId, Term};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{api::Api, driver::master};

/// How often the group is looked at, at most and at least; between them, often enough for the time
/// after which a voter is gone.
const LOOK_INTERVALS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long taking out a member may take.
const REMOVE_LIMIT: Duration = Duration::from_secs(15);
/// Nodes that are remembered as having failed to become voters.
const FAILED_MAX: usize = 1_024;

/// What replacing needs.
pub(super) struct Replacer {
    pub rules: Rules,
    /// The seeds' QUIC addresses.
    pub seeds: BTreeSet<String>,
    pub raft: Arc<RaftGroup>,
    pub gossip: gossip::Handle,
    pub master: master::Handle,
    pub api: Arc<Api>,
}

/// What is remembered while this node leads.
struct Leading {
    term: Term,
    since: Instant,
    failures: BTreeMap<NodeId, u32>,
    /// Whether it was told that nodes of older releases cannot take a voter's place.
    told_older: bool,
}

impl Replacer {
    /// Runs until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.watch()).await;
    }

    async fn watch(self) {
        let (least, most) = LOOK_INTERVALS;
        let mut looks = tokio::time::interval((self.rules.gone_after / 10).clamp(least, most));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut leading: Option<Leading> = None;
        loop {
            looks.tick().await;
            let led = self.raft.leadership().borrow().led;
            let Some(led) = led else {
                leading = None;
                continue;
            };
            let now = match leading.take().filter(|known| known.term == led.term) {
                Some(known) => known,
                None => Leading {
                    term: led.term,
                    since: Instant::now(),
                    failures: BTreeMap::new(),
                    told_older: false,
                },
            };
            let now = leading.insert(now);
            if let Some(step) = self.decide(now) {
                self.perform(step, now).await;
            }
        }
    }

    fn decide(&self, leading: &mut Leading) -> Option<Step> {
        let led_for = leading.since.elapsed();
        let members = self.raft.voters();
        let members: Vec<MemberSeen> = members.iter().map(|member| seen(member, led_for)).collect();
        let is_silent = |member: &MemberSeen| member.silent_for >= self.rules.gone_after;
        if !members.iter().any(is_silent) {
            return None;
        }
        let candidates = self.candidates(&leading.failures);
        let step = next_step(self.rules, &members, &candidates);
        if step.is_none() && !leading.told_older && candidates.iter().any(|node| !node.capable) {
            leading.told_older = true;
            tracing::warn!(
                level = self.raft.level_required(),
                "a voter is gone and no node can take its place; some run a release that does not know the registry \
                 as the voters keep it: start the release on them that the voters run"
            );
        }
        step
    }

    /// The nodes whose agents are connected to this leader and take tasks.
    fn candidates(&self, failures: &BTreeMap<NodeId, u32>) -> Vec<Candidate> {
        let Some(view) = self.master.view() else { return Vec::new() };
        let gossip = self.gossip.view();
        let required = self.raft.level_required();
        let candidate = |agent: &Arc<AgentView>| {
            let peer = gossip.peers.get(&agent.id)?;
            let address = peer.facts.address_quic.to_string();
            Some(Candidate {
                node_id: agent.id,
                is_seed: self.seeds.contains(&address),
                address,
                connected: agent.connected && agent.state == NodeState::Active,
                alive: peer.alive && !peer.facts.health.draining,
                // A hint that spares the asking; the node tells it again before it is added.
                capable: peer.facts.registry_level >= required,
                failures: failures.get(&agent.id).copied().unwrap_or(0),
            })
        };
        view.agents.iter().filter_map(candidate).collect()
    }

    async fn perform(&self, step: Step, leading: &mut Leading) {
        match step {
            Step::Replace { gone, by, at } => {
                tracing::warn!(%gone, %by, after = ?self.rules.gone_after, "a voter is gone; a healthy node takes its place");
                match self.api.replace_voter(&gone, by, at).await {
                    Ok(voter) => tracing::info!(%gone, %voter, "the voter is replaced"),
                    Err(why) => {
                        tracing::warn!(%gone, %by, %why, "the voter could not be replaced");
                        if leading.failures.len() < FAILED_MAX {
                            *leading.failures.entry(by).or_default() += 1;
                        }
                    }
                }
            }
            Step::Remove { gone } => {
                match self.raft.remove_voter(gone.raft_id, REMOVE_LIMIT).await {
                    Ok(()) => tracing::info!(%gone, "a member that is gone was taken out"),
                    Err(error) => tracing::warn!(%gone, %error, "a member that is gone stays"),
                }
            }
        }
    }
}

/// One that this leader never heard is silent since it leads.
fn seen(status: &VoterStatus, led_for: Duration) -> MemberSeen {
    MemberSeen {
        voter: status.voter.clone(),
        role: status.role,
        leads: status.is_leader,
        silent_for: status.last_contact.map_or(led_for, |contact| contact.min(led_for)),
    }
}
