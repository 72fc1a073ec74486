//! The group that elects the leader, as operators see and change it.

use std::time::{Duration, Instant};

use meshos_control::master::View;
use meshos_membership::raft::{ChangeError, Voter, VoterRole, VoterStatus};
use meshos_protocol::{ids::NodeId, messages::node::Release, time::millis};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Api,
    bodies::{self, NodeBody},
    call::{Answer, Call, Failure},
    leader::{CHANGE_LIMIT, READ_LIMIT},
};
use crate::{config::KeySource, net::Target};

/// How long a node is asked to take the leader's log that does not follow this leader yet.
const ADMIT_LIMIT: Duration = Duration::from_secs(10);
/// Between two times that it is asked.
const ADMIT_PAUSE: Duration = Duration::from_millis(250);
/// How long copying the log may take before a new voter is given up.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);
// Whoever passed the change on waits until the leader has given up, and then knows how it ended.
const _: () = assert!(
    ADMIT_LIMIT.as_secs() + READ_LIMIT.as_secs() + CATCH_UP_LIMIT.as_secs()
        < CHANGE_LIMIT.as_secs()
);
/// A voter that was heard of within this time answers: several heartbeats, and a busy moment.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// How long removing a voter may take.
const REMOVE_LIMIT: Duration = Duration::from_secs(15);

#[derive(Debug, Serialize)]
struct VoterRow {
    node_id: NodeId,
    /// Names its log; null when this node is no member and nobody leads.
    raft_id: Option<u64>,
    /// `host:port` of its QUIC port.
    address: String,
    /// `host:port` of its cluster port; null when gossip has not heard of the node.
    cluster_address: Option<String>,
    role: &'static str,
    leader: bool,
    /// How long ago it was last heard of; known to the leader alone.
    last_contact_ms: Option<u64>,
    /// How many entries of the leader's log it lacks; known to the leader alone.
    lag: Option<u64>,
    /// The release that it runs; known to the leader alone, once it has told.
    release: Option<String>,
}

impl VoterRow {
    /// `led` says whether anybody leads: raft takes a leader without a majority for one.
    fn of(status: &VoterStatus, cluster_address: Option<String>, led: bool) -> Self {
        let role = match status.role {
            VoterRole::Voter => "voter",
            VoterRole::Learner => "learner",
        };
        Self {
            node_id: status.voter.node_id,
            raft_id: Some(status.voter.raft_id),
            address: status.voter.address.clone(),
            cluster_address,
            role,
            leader: led && status.is_leader,
            last_contact_ms: status.last_contact.map(millis),
            lag: status.lag,
            release: None,
        }
    }
}

/// Names a member by its node or, when a node stands there twice, by its log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberBody {
    #[serde(default)]
    node_id: Option<String>,
    #[serde(default)]
    raft_id: Option<u64>,
}

/// Who asks a node to take its log.
#[derive(Debug, Default, Serialize, Deserialize)]
struct AdmitLeader {
    #[serde(default)]
    leader: Option<NodeId>,
}

/// What a node answers that is asked to take the leader's log.
#[derive(Debug, Serialize, Deserialize)]
struct Admitted {
    node_id: NodeId,
    raft_id: u64,
    address: String,
    /// Whether it holds the cluster's keys, and so can let other nodes join; earlier releases do not
    /// say.
    #[serde(default)]
    signs: Option<bool>,
    /// What it runs; nodes of earlier releases do not tell.
    #[serde(default)]
    release: Option<Release>,
}

/// A node that takes the leader's log.
struct Newcomer {
    voter: Voter,
    release: Release,
    /// Whether it can let other nodes join, if it says so.
    signs: Option<bool>,
}

impl Api {
    /// The voters as this node knows them while nobody leads: from its own log when it is a member,
    /// else as the last leader told; absent when it has not heard of any.
    pub(super) fn voters_without_leader(&self) -> Option<Result<Answer, Failure>> {
        if !self.options.raft.voters().is_empty() && !self.options.tracker.is_left_out() {
            return Some(self.voters_known(false));
        }
        let rows: Vec<VoterRow> = self
            .options
            .tracker
            .known_voters()
            .into_iter()
            .map(|(node_id, address)| VoterRow {
                node_id,
                raft_id: None,
                address,
                cluster_address: self.cluster_address(node_id),
                role: "voter",
                leader: false,
                last_contact_ms: None,
                lag: None,
                release: None,
            })
            .collect();
        (!rows.is_empty()).then(|| Answer::json(&rows))
    }

    /// `led` says whether anybody leads.
    pub(super) fn voters_known(&self, led: bool) -> Result<Answer, Failure> {
        let releases = self.options.raft.releases().borrow().clone();
        let row = |status: &VoterStatus| {
            let told = releases.iter().find(|told| told.voter == status.voter);
            let release = told.and_then(|told| told.release.clone()).map(|release| release.name);
            let row = VoterRow::of(status, self.cluster_address(status.voter.node_id), led);
            VoterRow { release: release.filter(|name| !name.is_empty()), ..row }
        };
        let rows: Vec<VoterRow> = self.options.raft.voters().iter().map(row).collect();
        Answer::json(&rows)
    }

    /// `host:port` of a node's cluster port, as gossip has it.
    fn cluster_address(&self, node: NodeId) -> Option<String> {
        if node == self.options.node {
            return Some(self.options.options.http_address().to_string());
        }
        let view = self.options.gossip.view();
        view.peers.get(&node).map(|peer| peer.facts.address_http.to_string())
    }

    /// How many of how many voters answer this node, itself among them; absent when it does not
    /// know the voters. A node without a vote is connected to the leader alone: of the others it
    /// knows by gossip.
    pub(super) fn voters_answering(&self) -> Option<Answering> {
        let reaches = |node: NodeId| node == self.options.node || self.options.net.reaches(node);
        let members = self.options.raft.voters();
        let voters: Vec<NodeId> = voting(&members).collect();
        if voters.contains(&self.options.node) && !self.options.tracker.is_left_out() {
            return Answering::of(&voters, reaches);
        }
        let gossip = self.options.gossip.view();
        let heard = |node: NodeId| gossip.peers.get(&node).is_some_and(|peer| peer.alive);
        let voters: Vec<NodeId> =
            self.options.tracker.known_voters().into_iter().map(|(node, _)| node).collect();
        Answering::of(&voters, |node| reaches(node) || heard(node))
    }

    pub(super) async fn add_voter(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let NodeBody { node_id: name } = bodies::read(&call.body)?;
        let node = self.node_id_of(view, &name)?;
        let members = self.options.raft.voters();
        let known = members.iter().find(|status| status.voter.node_id == node);
        if known.is_some_and(|status| status.role == VoterRole::Voter) {
            return Err(Failure::invalid(format!("node {node} is a voter already")));
        }
        // A node registers with the leader before gossip has told of it.
        let registered = view.agents.iter().find(|agent| agent.id == node && agent.connected);
        let registered = registered.map(|agent| agent.agent_address.clone());
        let address = registered.filter(|address| !address.is_empty());
        let address = address.or_else(|| self.agent_address(node)).ok_or_else(|| {
            Failure::not_found(format!(
                "neither the leader nor gossip knows a node {node}: is it running and of this cluster?"
            ))
        })?;
        let Newcomer { voter, release, signs } = self.ask_to_admit(node, address).await?;
        let raft_id = voter.raft_id;
        tracing::info!(%voter, principal = %call.principal, "an operator adds a voter");
        self.options.raft.add_voter(voter, &release, CATCH_UP_LIMIT).await.map_err(failed)?;
        Answer::json(&json!({
            "node_id": node, "raft_id": raft_id, "added": true, "signs": signs
        }))
    }

    /// A node takes raft's requests from members only, and learns those from the log that it does
    /// not have yet. It tells its release, which must know what is in that log. One that does not
    /// follow this leader yet, or cannot be reached, is asked for a while.
    async fn ask_to_admit(&self, node: NodeId, address: String) -> Result<Newcomer, Failure> {
        let asked_until = Instant::now() + ADMIT_LIMIT;
        let target = Target { node: Some(node), address };
        loop {
            let admitted = self.ask_once_to_admit(&target, node).await;
            match admitted {
                Err(failure) if failure.may_pass() && Instant::now() < asked_until => {
                    tokio::time::sleep(ADMIT_PAUSE).await;
                }
                admitted => return admitted,
            }
        }
    }

    async fn ask_once_to_admit(&self, target: &Target, node: NodeId) -> Result<Newcomer, Failure> {
        let mut call = Call::read("/api/voters/admit-leader".to_owned());
        call.method = "POST".to_owned();
        let leader = AdmitLeader { leader: Some(self.options.node) };
        call.body = serde_json::to_vec(&leader).unwrap_or_default();
        let answer = self.forward_to_node(target, &call).await?;
        let admitted = read_admitted(node, &answer)?;
        let Admitted { node_id, raft_id, address, signs, release } = admitted;
        let voter = Voter { raft_id, node_id, address };
        Ok(Newcomer { voter, release: Release::told(release), signs })
    }

    /// Makes a healthy node a voter in the place of one that is gone; for the leader itself.
    pub(crate) async fn replace_voter(
        &self,
        gone: &Voter,
        by: NodeId,
        at: String,
    ) -> Result<Voter, String> {
        let newcomer = self.ask_to_admit(by, at).await.map_err(Failure::into_message)?;
        let Newcomer { voter, release, signs: _ } = newcomer;
        let raft = &self.options.raft;
        let replaced = raft.replace_voter(gone.raft_id, voter.clone(), &release, CATCH_UP_LIMIT);
        let replaced = replaced.await;
        let Err(error) = replaced else { return Ok(voter) };
        // Whoever did not receive the log in time must not stay half a member.
        let is_half =
            |status: &VoterStatus| status.voter == voter && status.role == VoterRole::Learner;
        if raft.voters().iter().any(is_half)
            && let Err(error) = raft.remove_voter(voter.raft_id, REMOVE_LIMIT).await
        {
            tracing::warn!(%voter, %error, "a learner that is not needed stays for now");
        }
        Err(error.to_string())
    }

    /// The other side: takes the log of the leader that this node follows, and of nobody else.
    pub(super) fn admit_leader(&self, call: &Call) -> Result<Answer, Failure> {
        if !call.forwarded {
            return Err(Failure::invalid("only the leader asks for this: use /api/voters/add"));
        }
        let asked = match call.body.is_empty() {
            // As earlier releases ask.
            true => AdmitLeader::default(),
            false => bodies::read(&call.body)?,
        };
        let leader = self.options.tracker.leader().borrow().clone();
        let leader = leader.ok_or_else(|| self.no_leader())?;
        if let Some(asks) = asked.leader.filter(|asks| *asks != leader.node) {
            return Err(Failure::unavailable(format!(
                "it follows {} in term {} and has not confirmed that {asks} leads: try again in a moment",
                leader.node, leader.fence.term
            )));
        }
        let members = self.options.raft.voters();
        let knows = |node| members.iter().any(|status| status.voter.node_id == node);
        // Members know each other and must not take requests from anybody else. But who is a member by
        // a log that has not gone on since it was taken out does not know the leader.
        if !knows(self.options.node) || !knows(leader.node) {
            self.options.raft.admit([leader.node]);
        }
        Answer::json(&Admitted {
            node_id: self.options.node,
            raft_id: self.options.raft_id,
            address: self.options.options.agent_address().to_string(),
            signs: Some(!matches!(self.options.options.keys, KeySource::JoinToken(_))),
            release: Some(self.options.raft.release()),
        })
    }

    pub(super) async fn remove_voter(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let member = self.member_to_change(call, view)?;
        let heard = |status: &VoterStatus| {
            status.voter.node_id == self.options.node
                || status.last_contact.is_some_and(|ago| ago <= HEARD_WITHIN)
        };
        refuse_loss_of_majority(&self.options.raft.voters(), &member, heard)?;
        tracing::info!(voter = %member, principal = %call.principal, "an operator removes a voter");
        self.options.raft.remove_voter(member.raft_id, REMOVE_LIMIT).await.map_err(failed)?;
        let Voter { raft_id, node_id, .. } = member;
        let voters = voting(&self.options.raft.voters()).count();
        Answer::json(
            &json!({ "node_id": node_id, "raft_id": raft_id, "removed": true, "voters": voters }),
        )
    }

    fn member_to_change(&self, call: &Call, view: &View) -> Result<Voter, Failure> {
        let MemberBody { node_id: name, raft_id } = bodies::read(&call.body)?;
        let node = name.map(|name| self.node_id_of(view, &name)).transpose()?;
        member(&self.options.raft.voters(), node, raft_id)
    }

    pub(super) async fn transfer_leader(
        &self,
        call: &Call,
        view: &View,
    ) -> Result<Answer, Failure> {
        let member = self.member_to_change(call, view)?;
        tracing::info!(to = %member, principal = %call.principal, "an operator hands leadership over");
        self.options.raft.transfer_leader(member.raft_id).await.map_err(failed)?;
        // Another voter may have won the election that this one was asked to hold.
        let now = self.options.raft.leadership().borrow().leader.clone();
        let Voter { raft_id, node_id, .. } = member;
        let transferred = now.as_ref().is_some_and(|leader| leader.raft_id == raft_id);
        let leader = now.map(|leader| leader.node_id);
        Answer::json(
            &json!({ "node_id": node_id, "raft_id": raft_id, "transferred": transferred, "leader": leader }),
        )
    }
}

/// How many voters answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answering {
    pub voters: usize,
    pub answer: usize,
}

impl Answering {
    fn of(voters: &[NodeId], answers: impl Fn(NodeId) -> bool) -> Option<Self> {
        let answer = voters.iter().filter(|node| answers(**node)).count();
        (!voters.is_empty()).then_some(Self { voters: voters.len(), answer })
    }

    /// Says so when there are too few for a leader.
    pub(super) fn shortage(self) -> Option<String> {
        let Self { voters, answer } = self;
        let needed = voters / 2 + 1;
        let answers = if answer == 1 { "answers" } else { "answer" };
        (answer < needed).then(|| {
            format!(
                "{answer} of {voters} voters {answers} this node, and a leader needs {needed} (`meshos voters` names them)"
            )
        })
    }
}

/// What a node says that was asked to take the leader's log.
fn read_admitted(node: NodeId, answer: &Answer) -> Result<Admitted, Failure> {
    let said = || format!("node {node} does not take the leader's log: {}", answer.message());
    match answer.status {
        200 => {}
        503 => return Err(Failure::unavailable(said())),
        // It would say the same again.
        _ => return Err(Failure::invalid(said())),
    }
    let admitted: Admitted =
        serde_json::from_slice(&answer.body).map_err(|_| Failure::invalid(said()))?;
    if admitted.node_id == node { Ok(admitted) } else { Err(Failure::invalid(said())) }
}

/// Without `removed`, a majority of the voters must still answer, or nobody could lead any more.
fn refuse_loss_of_majority(
    members: &[VoterStatus],
    removed: &Voter,
    heard: impl Fn(&VoterStatus) -> bool,
) -> Result<(), Failure> {
    let left = |status: &&VoterStatus| {
        status.role == VoterRole::Voter && status.voter.raft_id != removed.raft_id
    };
    let left: Vec<&VoterStatus> = members.iter().filter(left).collect();
    let silent: Vec<String> = left
        .iter()
        .filter(|status| !heard(status))
        .map(|status| status.voter.node_id.to_string())
        .collect();
    if left.is_empty() || (left.len() - silent.len()) > left.len() / 2 {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "without it {} of {} voters would be left that answer, and nobody could lead: start {} again, or remove that \
         voter first",
        left.len() - silent.len(),
        left.len(),
        silent.join(", "),
    )))
}

fn voting(members: &[VoterStatus]) -> impl Iterator<Item = NodeId> + '_ {
    let voters = members.iter().filter(|status| status.role == VoterRole::Voter);
    voters.map(|status| status.voter.node_id)
}

fn member(
    members: &[VoterStatus],
    node: Option<NodeId>,
    raft_id: Option<u64>,
) -> Result<Voter, Failure> {
    if node.is_none() && raft_id.is_none() {
        return Err(Failure::invalid("the body must name a node_id or a raft_id"));
    }
    let mut found = members.iter().map(|status| &status.voter).filter(|voter| {
        node.is_none_or(|node| node == voter.node_id)
            && raft_id.is_none_or(|raft_id| raft_id == voter.raft_id)
    });
    match (found.next(), found.next()) {
        (Some(voter), None) => Ok(voter.clone()),
        (None, _) => {
            let which = node.map_or_else(String::new, |node| format!(" {node}"));
            Err(Failure::not_found(format!(
                "node{which} is no member of the group of voters: `meshos voters` lists them"
            )))
        }
        (Some(_), Some(_)) => {
            Err(Failure::invalid("the node is in the group more than once: name the raft_id"))
        }
    }
}

fn failed(error: ChangeError) -> Failure {
    match error {
        ChangeError::Refused(_) => Failure::invalid(error.to_string()),
        ChangeError::NotLeader { .. } => Failure::no_leader(&[]),
        ChangeError::InProgress | ChangeError::Uncertain | ChangeError::Stopped(_) => {
            Failure::unavailable(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(raft_id: u64, node: u64, role: VoterRole) -> VoterStatus {
        let voter = Voter { raft_id, node_id: NodeId::from_bits(node), address: "h:1".to_owned() };
        VoterStatus {
            voter,
            role,
            is_leader: raft_id == 1,
            last_contact: Some(Duration::from_millis(12)),
            lag: None,
        }
    }

    #[test]
    fn a_member_is_named_by_its_node_or_its_log() {
        let members = [
            status(1, 7, VoterRole::Voter),
            status(2, 8, VoterRole::Voter),
            status(3, 8, VoterRole::Learner),
        ];
        let member =
            |node: Option<u64>, raft_id| member(&members, node.map(NodeId::from_bits), raft_id);
        assert_eq!(member(Some(7), None).unwrap().raft_id, 1);
        assert_eq!(member(None, Some(3)).unwrap().raft_id, 3);
        assert_eq!(member(Some(8), Some(2)).unwrap().raft_id, 2);
        let code = |node, raft_id| Answer::from(member(node, raft_id).unwrap_err()).status;
        assert_eq!(code(Some(8), None), 400);
        assert_eq!(code(None, None), 400);
        assert_eq!(code(Some(9), None), 404);
    }

    #[test]
    fn a_node_is_asked_again_only_when_its_refusal_may_pass() {
        let node = NodeId::from_bits(7);
        let may_pass = |answer: &Answer| read_admitted(node, answer).unwrap_err().may_pass();
        assert!(may_pass(&Answer::error(503, "it follows another leader")));
        for status in [400, 404, 405] {
            assert!(!may_pass(&Answer::error(status, "no such call")));
        }
        let admitted = |node: u64| {
            let node_id = NodeId::from_bits(node);
            Answer::json(&json!({ "node_id": node_id, "raft_id": 1, "address": "h:1" })).unwrap()
        };
        assert!(!may_pass(&admitted(8)), "another node answered");
        assert!(!may_pass(&Answer::plain(200, "yes")));
        assert_eq!(read_admitted(node, &admitted(7)).unwrap().raft_id, 1);
    }

    #[test]
    fn a_node_that_does_not_tell_its_release_knows_least() {
        let told = |release| {
            let node_id = NodeId::from_bits(7);
            let body =
                json!({ "node_id": node_id, "raft_id": 1, "address": "h:1", "release": release });
            Release::told(serde_json::from_value::<Admitted>(body).unwrap().release)
        };
        let earlier = json!({ "node_id": NodeId::from_bits(7), "raft_id": 1, "address": "h:1" });
        let earlier: Admitted = serde_json::from_value(earlier).unwrap();
        assert_eq!(Release::told(earlier.release), Release::SILENT);
        let release = Release { name: "0.2.0".to_owned(), level: 2 };
        assert_eq!(told(Some(&release)), release);
        let endless = Release { name: "x".repeat(65), level: 2 };
        assert_eq!(told(Some(&endless)), Release { name: String::new(), level: 2 });
    }

    #[test]
    fn a_member_is_shown_with_its_place_in_the_log() {
        let shown = |led| -> serde_json::Value {
            let status = status(1, 7, VoterRole::Voter);
            serde_json::to_value(VoterRow::of(&status, Some("h:0".to_owned()), led)).unwrap()
        };
        let row = shown(true);
        assert_eq!(shown(false)["leader"], false);
        assert_eq!(row["role"], "voter");
        assert_eq!(row["leader"], true);
        assert_eq!(row["last_contact_ms"], 12);
        assert_eq!(row["lag"], serde_json::Value::Null);
        assert_eq!((&row["address"], &row["cluster_address"]), (&"h:1".into(), &"h:0".into()));
    }

    #[test]
    fn a_voter_is_not_removed_whom_the_majority_needs() {
        let members = [1, 2, 3].map(|id| status(id, id, VoterRole::Voter));
        let refused = |removed: usize, silent: &[u64]| {
            let heard = |status: &VoterStatus| !silent.contains(&status.voter.raft_id);
            refuse_loss_of_majority(&members, &members[removed].voter, heard)
                .err()
                .map(Failure::into_message)
        };
        assert_eq!(refused(2, &[]), None);
        assert_eq!(refused(2, &[3]), None, "the silent one itself");
        let told = refused(1, &[3]).expect("one of two would answer");
        assert!(told.starts_with("without it 1 of 2 voters would be left that answer"), "{told}");
        assert!(told.contains(&NodeId::from_bits(3).to_string()), "{told}");
        let alone = [status(1, 1, VoterRole::Voter)];
        // Raft says that the last one stays.
        assert!(refuse_loss_of_majority(&alone, &alone[0].voter, |_| true).is_ok());
    }

    #[test]
    fn too_few_voters_are_told_in_numbers() {
        let members = [1, 2, 3, 4]
            .map(|id| status(id, id, if id < 4 { VoterRole::Voter } else { VoterRole::Learner }));
        let voters: Vec<NodeId> = voting(&members).collect();
        let told = |reached: &[u64]| {
            let answers = |node| reached.iter().any(|bits| NodeId::from_bits(*bits) == node);
            Answering::of(&voters, answers).unwrap().shortage()
        };
        let one =
            "1 of 3 voters answers this node, and a leader needs 2 (`meshos voters` names them)";
        assert_eq!(told(&[1, 4]).unwrap(), one);
        assert!(told(&[]).unwrap().starts_with("0 of 3 voters answer this node"));
        assert_eq!(told(&[1, 2]), None);
        assert!(Answering::of(&[], |_| true).is_none());
    }
}
