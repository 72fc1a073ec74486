//! The machine: what it remembers, and how it decides.

mod readiness;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use meshos_protocol::{
    ids::{ClusterId, NodeId},
    time::Mono,
};

use super::{
    Decision, Effect, Event, Own, ProbeRequest, Refusal, SeedAnswer, SeedList, SeedVoter, Waiting,
};
use crate::raft::Voter;

/// How often every seed is asked while nothing is decided.
pub const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long after it was asked for an answer counts for beginning a group.
pub const ANSWER_FRESH: Duration = Duration::from_secs(3);
/// How long a seed keeps its promise to the first. Longer than anything can be begun on it.
pub const PROMISE: Duration = Duration::from_secs(6);
/// Probes whose answers may still come; older ones are too old to count.
const PROBES_OPEN_MAX: usize = 16;
/// How many voters of an answer are looked at.
const VOTERS_SEEN_MAX: usize = 16;
/// How many clusters that gossip names are remembered: two are one too many already.
const CLUSTERS_SEEN_MAX: usize = 8;
const VERSION: u16 = 1;

/// What is known of one seed.
#[derive(Debug, Clone, Default)]
struct Heard {
    answer: Option<(Mono, SeedAnswer)>,
    /// Why it could not be asked, and whether that is about certificates.
    failure: Option<(String, bool)>,
}

/// Decides how this node comes into its group. See the module's documentation for the argument.
#[derive(Debug)]
pub struct Bootstrap {
    own: Own,
    seeds: SeedList,
    heard: BTreeMap<String, Heard>,
    /// This node's group as its log has it.
    voters: Vec<Voter>,
    leader: Option<Voter>,
    /// Set for good when this process hears of any group or cluster.
    group_exists: bool,
    /// The clusters that gossip has named.
    clusters_seen: BTreeSet<ClusterId>,
    admitted: BTreeSet<NodeId>,
    /// To whom this seed has promised to take the log from nobody else, and until when. The node
    /// is absent after a restart, when an earlier process may have promised to anybody.
    promise: Option<(Option<NodeId>, Mono)>,
    decided: Option<Decision>,
    waiting: Vec<Waiting>,
    next_probe: Option<Mono>,
    /// When the open probes were sent, by number.
    probes: VecDeque<(u64, Mono)>,
    probe_number: u64,
}

impl Bootstrap {
    /// A machine for a node that has just started.
    #[must_use]
    pub fn new(own: Own, seeds: SeedList) -> Self {
        let group_exists = own.has_raft_state || own.cluster_id.is_some();
        Self {
            own,
            seeds,
            heard: BTreeMap::new(),
            voters: Vec::new(),
            leader: None,
            group_exists,
            clusters_seen: BTreeSet::new(),
            admitted: BTreeSet::new(),
            promise: None,
            decided: None,
            waiting: Vec::new(),
            next_probe: None,
            probes: VecDeque::new(),
            probe_number: 0,
        }
    }

    /// The only way in; never blocks, never fails.
    pub fn handle(&mut self, now: Mono, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Started => {
                self.next_probe = Some(now);
                if !self.own.first_start {
                    self.promise = Some((None, now.after(PROMISE)));
                }
            }
            Event::Tick => {}
            Event::Answered { seed, probe, answer } => {
                self.answered(now, seed, probe, answer, effects);
            }
            Event::Unreachable { seed, why, refused } => {
                if self.seeds.contains(&seed) {
                    self.heard.entry(seed).or_default().failure = Some((why, refused));
                }
            }
            Event::Probed(request) => self.probed(now, &request, effects),
            Event::GroupChanged { voters, leader } => {
                self.own.has_raft_state = true;
                self.group_exists = true;
                self.voters = voters;
                self.leader = leader;
            }
            Event::ClusterKnown(cluster_id) => {
                let told_to_join = matches!(
                    self.decided,
                    Some(Decision::JoinAsLearner { .. } | Decision::JoinAsNode { .. })
                );
                if self.own.cluster_id.is_none() && !told_to_join {
                    // Then its log has told it, though the group in it may be heard of a moment later.
                    self.own.has_raft_state = true;
                }
                self.own.cluster_id.get_or_insert(cluster_id);
                self.group_exists = true;
            }
            Event::ClusterSeen(cluster_id) => {
                if self.clusters_seen.len() < CLUSTERS_SEEN_MAX {
                    self.clusters_seen.insert(cluster_id);
                }
            }
        }
        self.decide(now, effects);
        self.probe(now, effects);
    }

    /// When to hand in [`Event::Tick`] if nothing else happens.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Mono> {
        self.next_probe
    }

    /// What was decided last.
    #[must_use]
    pub const fn decided(&self) -> Option<&Decision> {
        self.decided.as_ref()
    }

    fn is_empty(&self) -> bool {
        !self.own.has_raft_state && self.own.cluster_id.is_none()
    }

    fn answered(
        &mut self,
        now: Mono,
        seed: String,
        probe: u64,
        answer: SeedAnswer,
        effects: &mut Vec<Effect>,
    ) {
        let sent = self.probes.iter().find(|(number, _)| *number == probe).map(|(_, at)| *at);
        let Some(sent) = sent.filter(|_| self.seeds.contains(&seed)) else { return };
        if let SeedAnswer::Member { cluster_id, voters, .. } = &answer {
            self.group_exists = true;
            let ours = self.is_ours(*cluster_id) && !voters.is_empty();
            let wants_log = self.own.seed.is_some() && !self.own.has_raft_state;
            if ours && wants_log && self.promise_to(now).is_none() {
                let voters = voters.iter().take(VOTERS_SEEN_MAX).map(|voter| voter.node_id);
                self.admit(voters.collect(), effects);
            }
        }
        let heard = self.heard.entry(seed).or_default();
        if heard.answer.as_ref().is_none_or(|(newest, _)| *newest <= sent) {
            heard.answer = Some((sent, answer));
            heard.failure = None;
        }
    }

    /// Answers as the log is at this moment. "Empty", said to the first seed, is a promise to take
    /// the log from that node alone.
    fn probed(&mut self, now: Mono, request: &ProbeRequest, effects: &mut Vec<Effect>) {
        let node_id = self.own.voter.node_id;
        if !self.is_empty() {
            let voters = self.voters.iter().take(VOTERS_SEEN_MAX);
            effects.push(Effect::Answer(SeedAnswer::Member {
                node_id,
                cluster_id: self.own.cluster_id,
                voters: voters.cloned().map(SeedVoter::from).collect(),
                leader: self.leader.clone().map(SeedVoter::from),
            }));
            return;
        }
        if let Some(cluster_id) = self.clusters_seen.first().copied() {
            effects.push(Effect::Answer(SeedAnswer::Sees { node_id, cluster_id }));
            return;
        }
        let could_begin = request.empty
            && request.own_seed.is_some()
            && request.own_seed.as_deref() == self.seeds.first()
            && request.seeds.iter().map(String::as_str).eq(self.seeds.iter());
        if could_begin && request.node_id != node_id {
            if self.promise_to(now).is_some_and(|holder| holder != Some(request.node_id)) {
                effects.push(Effect::Answer(SeedAnswer::Promised { node_id }));
                return;
            }
            self.promise = Some((Some(request.node_id), now.after(PROMISE)));
            self.admit(BTreeSet::from([request.node_id]), effects);
        }
        effects.push(Effect::Answer(SeedAnswer::Empty {
            voter: self.own.voter.clone(),
            seeds: self.seeds.iter().map(str::to_owned).collect(),
            own_seed: self.own.seed.clone(),
        }));
    }

    /// To whom a promise holds now; the inner value is absent when that is not known.
    fn promise_to(&self, now: Mono) -> Option<Option<NodeId>> {
        self.promise.filter(|(_, until)| now < *until).map(|(holder, _)| holder)
    }

    /// Whether a cluster may be this node's: the one it knows, else one that gossip names, else any.
    fn is_ours(&self, cluster_id: Option<ClusterId>) -> bool {
        match (self.own.cluster_id, cluster_id) {
            (Some(own), Some(theirs)) => own == theirs,
            (None, Some(theirs)) => {
                self.clusters_seen.is_empty() || self.clusters_seen.contains(&theirs)
            }
            (_, None) => true,
        }
    }

    fn admit(&mut self, nodes: BTreeSet<NodeId>, effects: &mut Vec<Effect>) {
        if self.admitted != nodes {
            self.admitted.clone_from(&nodes);
            effects.push(Effect::Admit(nodes));
        }
    }

    fn decide(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let mut waiting = Vec::new();
        let decision = self.decision(now, &mut waiting);
        match decision {
            Some(decision) => {
                self.waiting.clear();
                if let Decision::Initialise { members } = &decision {
                    // From here on this node speaks as a member; if it dies before the log is
                    // written it starts over as an empty one.
                    self.voters.clone_from(members);
                    self.own.has_raft_state = true;
                    self.group_exists = true;
                }
                if self.decided.as_ref() != Some(&decision) {
                    self.decided = Some(decision.clone());
                    effects.push(Effect::Decided(decision));
                }
            }
            None => {
                self.decided = None;
                if waiting != self.waiting {
                    self.waiting.clone_from(&waiting);
                    effects.push(Effect::WaitingFor(waiting));
                }
            }
        }
    }

    fn decision(&self, now: Mono, waiting: &mut Vec<Waiting>) -> Option<Decision> {
        match &self.decided {
            // Begun, or given up: nothing that is heard later changes that.
            Some(
                begun @ (Decision::Initialise { .. }
                | Decision::Refuse(_)
                | Decision::JoinAsNode { .. }),
            ) => return Some(begun.clone()),
            _ if self.own.has_raft_state => return Some(Decision::AwaitLog),
            Some(Decision::AwaitLog | Decision::JoinAsLearner { .. }) | None => {}
        }
        if self.seeds.is_empty() {
            return Some(match self.own.cluster_id {
                Some(own) => Decision::Refuse(Refusal::NoSeeds { own }),
                None => Decision::Initialise { members: vec![self.own.voter.clone().into()] },
            });
        }
        if let Some(refusal) = self.clusters_disagree() {
            return Some(Decision::Refuse(refusal));
        }
        if let Some(decision) = self.join() {
            return Some(decision);
        }
        self.form(now, waiting)
    }

    /// Seeds of other clusters. One such seed beside right ones is the operator's to mend, and no
    /// reason to keep a node of the cluster from starting.
    fn clusters_disagree(&self) -> Option<Refusal> {
        let mut named =
            self.members().filter_map(|(seed, cluster_id, _)| Some((seed, cluster_id?)));
        let (first, one) = named.next()?;
        match self.own.cluster_id {
            Some(own) => {
                let other = one != own && named.all(|(_, cluster_id)| cluster_id != own);
                other.then(|| Refusal::OtherCluster { own, seed: first.to_owned(), other: one })
            }
            None => named.find(|(_, cluster_id)| *cluster_id != one).map(|(second, other)| {
                let (first, second) = (first.to_owned(), second.to_owned());
                Refusal::ClustersDiffer { first, one, second, other }
            }),
        }
    }

    /// The newest answers that tell of a group.
    fn members(&self) -> impl Iterator<Item = (&str, Option<ClusterId>, &[SeedVoter])> {
        self.heard.iter().filter_map(|(seed, heard)| match &heard.answer {
            Some((_, SeedAnswer::Member { cluster_id, voters, .. })) => {
                Some((seed.as_str(), *cluster_id, voters.as_slice()))
            }
            Some((
                _,
                SeedAnswer::Empty { .. }
                | SeedAnswer::Promised { .. }
                | SeedAnswer::Sees { .. }
                | SeedAnswer::Unknown,
            ))
            | None => None,
        })
    }

    /// The way into a group that exists.
    fn join(&self) -> Option<Decision> {
        let own = &self.own.voter;
        let groups = || self.members().filter(|(_, cluster_id, _)| self.is_ours(*cluster_id));
        if self.own.seed.is_none() {
            let (via, cluster_id) =
                groups().find_map(|(seed, cluster_id, _)| Some((seed.to_owned(), cluster_id?)))?;
            return Some(Decision::JoinAsNode { via, cluster_id });
        }
        let counts_on_us = |voters: &[SeedVoter]| voters.iter().any(|v| v.raft_id == own.raft_id);
        if groups().any(|(_, _, voters)| counts_on_us(voters)) {
            // A node learns the cluster's id from its log, or before it asks to become a learner,
            // and a learner becomes a voter only with the log: this one had it and lost it.
            return Some(match self.own.cluster_id {
                Some(_) => Decision::Refuse(Refusal::LogLost),
                None => Decision::AwaitLog,
            });
        }
        let (via, cluster_id, voters) = groups().find_map(|(seed, cluster_id, voters)| {
            Some((seed.to_owned(), cluster_id?, voters)).filter(|_| !voters.is_empty())
        })?;
        let voters: Vec<Voter> =
            voters.iter().take(VOTERS_SEEN_MAX).cloned().map(Voter::from).collect();
        let replaces = voters.iter().find(|voter| voter.address == own.address).cloned();
        Some(Decision::JoinAsLearner { via, cluster_id, voters, replaces })
    }

    /// Begins a group if every seed stands ready; else says what is missing.
    fn form(&self, now: Mono, waiting: &mut Vec<Waiting>) -> Option<Decision> {
        let mut members = vec![Voter::from(self.own.voter.clone())];
        for seed in self.seeds.iter().filter(|seed| Some(*seed) != self.own.seed.as_deref()) {
            match self.readiness(now, seed, &members) {
                Ok(voter) => members.push(voter),
                Err((reason, needs_operator)) => {
                    waiting.push(Waiting { seed: seed.to_owned(), reason, needs_operator });
                }
            }
        }
        let first = self.seeds.first()?.to_owned();
        let missing = |reason: String, needs_operator| Waiting {
            seed: first.clone(),
            reason,
            needs_operator,
        };
        // Seeds that were not asked yet may know it.
        let all_heard = self
            .seeds
            .iter()
            .all(|seed| self.own.seed.as_deref() == Some(seed) || self.heard.contains_key(seed));
        if let Some(alive) = self.foreign_clusters().filter(|_| all_heard) {
            let text = format!(
                "gossip tells that {alive} is alive, but no seed knows it; bring back a seed that has its data, or stop the nodes of that cluster and then the seeds to begin a new one"
            );
            waiting.push(missing(text, true));
        } else if let Some((seed, ..)) = self.members().next() {
            let reason = "its group is only just forming and has no id yet".to_owned();
            waiting.push(Waiting { seed: seed.to_owned(), reason, needs_operator: false });
        } else if self.group_exists && all_heard {
            let text =
                "a seed told of a group and none does now; bring back a seed that has its data";
            waiting.push(missing(text.to_owned(), true));
        }
        if !waiting.is_empty() {
            return None;
        }
        if self.own.seed.as_deref() != Some(first.as_str()) {
            waiting.push(missing(format!("waiting for {first} to begin the group"), false));
            return None;
        }
        members.sort();
        Some(Decision::Initialise { members })
    }

    /// The clusters that gossip names and no seed, in words.
    fn foreign_clusters(&self) -> Option<String> {
        let known: BTreeSet<ClusterId> =
            self.members().filter_map(|(_, cluster_id, _)| cluster_id).collect();
        let unknown = self.clusters_seen.difference(&known).map(|id| format!("cluster {id}"));
        let unknown: Vec<String> = unknown.collect();
        (!unknown.is_empty()).then(|| unknown.join(" and "))
    }

    fn probe(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let over = self.own.has_raft_state
            || self.seeds.is_empty()
            || matches!(self.decided, Some(Decision::JoinAsNode { .. } | Decision::Refuse(_)));
        if over {
            self.next_probe = None;
            return;
        }
        let Some(due) = self.next_probe else { return };
        if now < due {
            return;
        }
        self.next_probe = Some(now.after(PROBE_EVERY));
        let seeds: Vec<String> = self.seeds.iter().map(str::to_owned).collect();
        self.probe_number += 1;
        self.probes.push_back((self.probe_number, now));
        if self.probes.len() > PROBES_OPEN_MAX {
            self.probes.pop_front();
        }
        for seed in seeds.iter().filter(|seed| Some(*seed) != self.own.seed.as_ref()) {
            let request = ProbeRequest {
                version: VERSION,
                node_id: self.own.voter.node_id,
                seed: seed.clone(),
                own_seed: self.own.seed.clone(),
                seeds: seeds.clone(),
                empty: self.is_empty(),
            };
            let probe = self.probe_number;
            effects.push(Effect::Probe { seed: seed.clone(), probe, request });
        }
    }
}
