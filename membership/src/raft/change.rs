//! How members come and go.
//!
//! A new voter is a learner first, until it has the log; only then does it count for a majority.
//! A voter that lost its data is replaced by what it became, in one change: its old id never
//! comes back, for with it an empty log would speak for what the lost one had promised.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Weak,
    time::Duration,
};

use meshos_protocol::ids::Term;
use openraft::{
    ChangeMembers,
    async_runtime::watch::WatchReceiver as _,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use tokio::{sync::MutexGuard, time::Instant};

use super::{
    ChangeError, Leadership, RaftGroup, Release, VOTERS_MAX, Voter,
    config::{Member, TypeConfig},
    group::Inner,
};

/// A learner with fewer entries missing than this is promoted: the rest comes within a round trip.
const CAUGHT_UP_ENTRIES: u64 = 64;

type Changes = ChangeMembers<u64, Member>;
type WriteError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

impl RaftGroup {
    /// Makes `voter` a voter, once it has the log. It may be one already. It is asked before which
    /// release it runs: one that knows less than the registry holds would stop at the log.
    ///
    /// # Errors
    /// When this node does not lead, the voter's release knows too little, it does not catch up
    /// `within` that time, or the group is full.
    pub async fn add_voter(
        &self,
        voter: Voter,
        release: &Release,
        within: Duration,
    ) -> Result<(), ChangeError> {
        let change = Change::begin(self, within).await?;
        let members = change.members();
        if members.voters.contains(&voter.raft_id) {
            return members.check_same(&voter);
        }
        if members.voters.len() >= VOTERS_MAX {
            return Err(ChangeError::Refused("a raft group has at most seven voters".to_owned()));
        }
        change.teach(&members, &voter, release).await?;
        change.commit(Changes::AddVoterIds(BTreeSet::from([voter.raft_id]))).await
    }

    /// Removes a voter or a learner. If it is this node, leadership ends with it.
    ///
    /// # Errors
    /// When this node does not lead, or it is the last voter.
    pub async fn remove_voter(&self, raft_id: u64, within: Duration) -> Result<(), ChangeError> {
        let change = Change::begin(self, within).await?;
        let members = change.members();
        if members.voters.contains(&raft_id) {
            if members.voters.len() == 1 {
                let text = "the last voter cannot be removed";
                return Err(ChangeError::Refused(text.to_owned()));
            }
            change.commit(Changes::RemoveVoters(BTreeSet::from([raft_id]))).await
        } else if members.nodes.contains_key(&raft_id) {
            change.commit(Changes::RemoveNodes(BTreeSet::from([raft_id]))).await
        } else {
            Ok(())
        }
    }

    /// Puts `voter`, which tells to run `release`, in the place of `gone`, in one change, once it
    /// has the log.
    ///
    /// # Errors
    /// When this node does not lead, is itself `gone`, the voter's release knows too little, or it
    /// does not catch up `within`.
    pub async fn replace_voter(
        &self,
        gone: u64,
        voter: Voter,
        release: &Release,
        within: Duration,
    ) -> Result<(), ChangeError> {
        if gone == self.inner.own.raft_id {
            let text = "the leader cannot replace itself; hand leadership over first";
            return Err(ChangeError::Refused(text.to_owned()));
        }
        let change = Change::begin(self, within).await?;
        let members = change.members();
        if members.voters.contains(&voter.raft_id) {
            members.check_same(&voter)?;
        } else {
            change.teach(&members, &voter, release).await?;
        }
        let mut steps = vec![Changes::AddVoterIds(BTreeSet::from([voter.raft_id]))];
        if members.voters.contains(&gone) {
            steps.push(Changes::RemoveVoters(BTreeSet::from([gone])));
        } else if members.nodes.contains_key(&gone) {
            steps.push(Changes::RemoveNodes(BTreeSet::from([gone])));
        }
        change.commit(Changes::Batch(steps)).await
    }

    /// Hands leadership to the voter `to`. This node stops acting as the leader at once, whether
    /// or not the other takes over.
    ///
    /// # Errors
    /// When this node does not lead, `to` is no other voter, or no new term began in time.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), ChangeError> {
        let within = Duration::from_millis(self.inner.timing.election_max_ms.saturating_mul(3));
        let change = Change::begin(self, within).await?;
        if to == self.inner.own.raft_id || !change.members().voters.contains(&to) {
            let text = format!("raft id {to:x} is not another voter");
            return Err(ChangeError::Refused(text));
        }
        let term = change.term;
        let mut leadership = self.leadership();
        // The voters forget their promise to this leader as soon as they hear of the transfer.
        self.inner.tracker.spend(term);
        let trigger = self.inner.raft.trigger().transfer_leader(to).await;
        trigger.map_err(|fatal| ChangeError::Stopped(fatal.to_string()))?;
        let begun = leadership.wait_for(|now| now.term > term && now.leader.is_some());
        match tokio::time::timeout_at(change.deadline, begun).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ChangeError::Stopped("raft has ended".to_owned())),
            Err(_) => Err(ChangeError::Uncertain),
        }
    }
}

/// Who is in the group at the start of a change.
struct Members {
    voters: BTreeSet<u64>,
    nodes: BTreeMap<u64, Member>,
}

impl Members {
    fn check_same(&self, voter: &Voter) -> Result<(), ChangeError> {
        match self.nodes.get(&voter.raft_id) {
            Some(member) if *member != Member::of(voter) => {
                let known = member.voter(voter.raft_id);
                Err(ChangeError::Refused(format!("raft id {:x} is {known}", voter.raft_id)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// One change, while no other is made.
struct Change<'a> {
    inner: &'a Inner,
    term: Term,
    deadline: Instant,
    _only: MutexGuard<'a, ()>,
}

impl<'a> Change<'a> {
    async fn begin(group: &'a RaftGroup, within: Duration) -> Result<Self, ChangeError> {
        let inner = &*group.inner;
        let deadline = Instant::now() + within;
        let only = tokio::time::timeout_at(deadline, inner.changes.lock()).await;
        let only = only.map_err(|_| ChangeError::InProgress)?;
        let leadership = group.leadership();
        let now: Leadership = leadership.borrow().clone();
        let Some(led) = now.led else {
            return Err(ChangeError::NotLeader { leader: now.leader });
        };
        Ok(Self { inner, term: led.term, deadline, _only: only })
    }

    fn members(&self) -> Members {
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        Members {
            voters: metrics.membership_config.voter_ids().collect(),
            nodes: metrics.membership_config.nodes().map(|(id, m)| (*id, m.clone())).collect(),
        }
    }

    /// Makes `voter` a learner and waits until it has nearly all of the log.
    async fn teach(
        &self,
        members: &Members,
        voter: &Voter,
        release: &Release,
    ) -> Result<(), ChangeError> {
        members.check_same(voter)?;
        // Before it gets the log: it could not be started again with what it does not know.
        if let Some(why) = self.inner.releases.shortfall(voter, release) {
            return Err(ChangeError::Refused(why));
        }
        // From now on the level is not raised above what it knows.
        self.inner.releases.heard(voter.raft_id, release.clone());
        if !members.nodes.contains_key(&voter.raft_id) {
            let added = Changes::AddNodes(BTreeMap::from([(voter.raft_id, Member::of(voter))]));
            let added = self.commit(added).await;
            if added.is_err() {
                self.inner.releases.forget_member(voter.raft_id);
            }
            added?;
        }
        let mut metrics = self.inner.raft.metrics();
        let caught_up = async {
            loop {
                if let Some(why) = self.inner.releases.obstacle(voter) {
                    return Err(why);
                }
                {
                    let now = metrics.borrow_and_update();
                    let Some(replication) = &now.replication else { return Ok(false) };
                    let last = now.last_log_index.unwrap_or(0);
                    let has = replication.get(&voter.raft_id).copied().flatten();
                    if has.is_some_and(|has| has.index + CAUGHT_UP_ENTRIES > last) {
                        return Ok(true);
                    }
                }
                if metrics.changed().await.is_err() {
                    return Ok(false);
                }
            }
        };
        match tokio::time::timeout_at(self.deadline, caught_up).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(why)) => {
                // It cannot go on with the log.
                self.commit(Changes::RemoveNodes(BTreeSet::from([voter.raft_id]))).await?;
                Err(ChangeError::Refused(why))
            }
            Ok(Ok(false)) => Err(ChangeError::NotLeader { leader: None }),
            Err(_) => Err(ChangeError::Refused(format!(
                "{voter} did not receive the log in time; it stays a learner, try again"
            ))),
        }
    }

    async fn commit(&self, changes: Changes) -> Result<(), ChangeError> {
        let raft = self.inner.raft.clone();
        // On a task of its own: a change that is cancelled between its two steps would leave the
        // group between two memberships until the next leader ends it.
        let task = tokio::spawn(async move { raft.change_membership(changes, false).await });
        match tokio::time::timeout_at(self.deadline, task).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(change_error(error)),
            Ok(Err(join)) => Err(ChangeError::Stopped(join.to_string())),
            Err(_) => Err(ChangeError::Uncertain),
        }
    }
}

fn change_error(error: WriteError) -> ChangeError {
    match error {
        RaftError::Fatal(fatal) => ChangeError::Stopped(fatal.to_string()),
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            let leader = forward.leader_id.zip(forward.leader_node);
            ChangeError::NotLeader { leader: leader.map(|(id, member)| member.voter(id)) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        )) => ChangeError::InProgress,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            ChangeError::Refused(error.to_string())
        }
        RaftError::APIError(
            ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::PreconditionFailed(_),
        ) => ChangeError::Uncertain,
    }
}

/// Ends the change that an earlier leader began and could not end, whenever this node leads.
pub(super) async fn finish_changes(inner: Weak<Inner>) {
    let Some(mut leadership) = inner.upgrade().map(|inner| inner.tracker.leadership()) else {
        return;
    };
    while leadership.wait_for(Leadership::i_lead).await.is_ok() {
        {
            let Some(inner) = inner.upgrade() else { return };
            let _only = inner.changes.lock().await;
            let joint = {
                let metrics = inner.raft.server_metrics();
                let metrics = metrics.borrow_watched();
                super::tracker::is_joint(metrics.membership_config.membership())
            };
            if joint {
                tracing::info!("ending the change of voters that the last leader began");
                let nothing = Changes::AddVoterIds(BTreeSet::new());
                if let Err(error) = inner.raft.change_membership(nothing, false).await {
                    tracing::warn!(%error, "the change of voters is not ended");
                }
            }
        }
        if leadership.wait_for(|now| !now.i_lead()).await.is_err() {
            return;
        }
    }
}
