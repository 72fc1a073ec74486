//! What the members run, as they tell before they are added and with every answer.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    MemberRelease, RaftGroup, Release, Timing, Voter, VoterRole, config::StoredMembership,
};

/// A member that did not answer for so many of the longest elections does not answer: several
/// heartbeats, and a busy moment.
const SILENT_ELECTIONS: u64 = 5;

/// What a member has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    release: Release,
    /// When it told so last; absent for this node itself.
    at: Option<Instant>,
}

/// What is known of the members' releases; shared by all who hear of them or ask.
pub(super) struct Releases {
    own: u64,
    /// How long what a member told is its present answer.
    present_for: Duration,
    /// By raft id, this node among them.
    known: watch::Sender<BTreeMap<u64, Told>>,
    /// The members as of now.
    members: watch::Sender<Vec<MemberRelease>>,
    /// What the registry requires of them.
    required: AtomicU32,
}

impl Releases {
    pub(super) fn new(own: u64, release: Release, timing: Timing) -> Self {
        let millis = timing.election_max_ms.saturating_mul(SILENT_ELECTIONS);
        Self {
            own,
            present_for: Duration::from_millis(millis),
            known: watch::Sender::new(BTreeMap::from([(own, Told { release, at: None })])),
            members: watch::Sender::default(),
            required: AtomicU32::new(0),
        }
    }

    /// What this node runs.
    fn own(&self) -> Release {
        let known = self.known.borrow();
        known.get(&self.own).map_or(Release::SILENT, |told| told.release.clone())
    }

    /// A member, or one that is about to be one, has told.
    pub(super) fn heard(&self, member: u64, release: Release) {
        let now = Instant::now();
        self.known.send_if_modified(|known| match known.get_mut(&member) {
            // Of each answer only the time is new.
            Some(told) if told.release == release => {
                let was_present = self.is_present(told, now);
                told.at = told.at.map(|_| now);
                !was_present
            }
            _ => {
                known.insert(member, Told { release, at: Some(now) });
                true
            }
        });
    }

    fn is_present(&self, told: &Told, now: Instant) -> bool {
        told.at.is_none_or(|at| now.saturating_duration_since(at) < self.present_for)
    }

    /// This node leads no more: what others run by the time it leads again is not known.
    pub(super) fn forget(&self) {
        self.known.send_if_modified(|known| {
            let before = known.len();
            known.retain(|member, _| *member == self.own);
            known.len() != before
        });
    }

    /// The member was not added.
    pub(super) fn forget_member(&self, member: u64) {
        self.known.send_if_modified(|known| known.remove(&member).is_some());
    }

    /// Tells who asks of members that came or went, and of what they were heard to run. Returns
    /// when a member that answers will not, unless it does so again.
    pub(super) fn publish(&self, membership: &StoredMembership) -> Option<Instant> {
        let now = Instant::now();
        let known = self.known.borrow();
        let is_voter = |raft_id: u64| membership.voter_ids().any(|voter| voter == raft_id);
        let mut next: Option<Instant> = None;
        let members = membership.nodes().map(|(raft_id, member)| {
            let told = known.get(raft_id);
            let present = told.filter(|told| self.is_present(told, now));
            let until = present.and_then(|told| told.at).map(|at| at + self.present_for);
            next = next.into_iter().chain(until).min();
            MemberRelease {
                voter: member.voter(*raft_id),
                role: if is_voter(*raft_id) { VoterRole::Voter } else { VoterRole::Learner },
                release: told.map(|told| told.release.clone()),
                answers: present.is_some(),
            }
        });
        let members: Vec<MemberRelease> = members.collect();
        self.members.send_if_modified(|now| {
            let new = *now != members;
            *now = members;
            new
        });
        next
    }

    pub(super) fn members(&self) -> watch::Receiver<Vec<MemberRelease>> {
        self.members.subscribe()
    }

    /// Tells when there may be something to publish.
    pub(super) fn changes(&self) -> watch::Receiver<BTreeMap<u64, Told>> {
        self.known.subscribe()
    }

    /// The registry has changed.
    pub(super) fn require(&self, level: u32) {
        self.required.store(level, Ordering::SeqCst);
    }

    /// What a release has to know of the registry to vote here: what the registry holds, and what
    /// the voters are just about to make it hold, since all of them know it.
    pub(super) fn required(&self) -> u32 {
        let members = self.members.borrow();
        let voters = members.iter().filter(|member| member.role == VoterRole::Voter);
        let present = |member: &MemberRelease| {
            member.release.as_ref().filter(|_| member.answers).map(|release| release.level)
        };
        let levels: Option<Vec<u32>> = voters.map(present).collect();
        let imminent = levels.unwrap_or_default().into_iter().min().unwrap_or(0);
        imminent.max(self.required.load(Ordering::SeqCst))
    }

    /// Why a node of that release must not vote, when it knows less than it has to.
    pub(super) fn shortfall(&self, voter: &Voter, release: &Release) -> Option<String> {
        let required = self.required();
        let Release { name, level } = release;
        let named = match name.as_str() {
            "" => "it runs an older release, which".to_owned(),
            name => format!("it runs release {name}, which"),
        };
        (*level < required).then(|| {
            format!(
                "node {voter} cannot be a voter: {named} knows the registry up to level {level}, and the voters keep it \
                 at level {required}: start the release on it that the voters run (`meshos voters` shows it), then try \
                 again"
            )
        })
    }

    /// The same of a member, as it told last.
    pub(super) fn obstacle(&self, voter: &Voter) -> Option<String> {
        let release = self.known.borrow().get(&voter.raft_id)?.release.clone();
        self.shortfall(voter, &release)
    }
}

impl RaftGroup {
    /// The members of the group, voters and learners, and the release that each was last heard to
    /// run while this node leads; changes are told at once.
    #[must_use]
    pub fn releases(&self) -> watch::Receiver<Vec<MemberRelease>> {
        self.inner.releases.members()
    }

    /// What this node runs.
    #[must_use]
    pub fn release(&self) -> Release {
        self.inner.releases.own()
    }

    /// The level up to which a node's release has to know the registry for it to be made a voter,
    /// as this node has applied it.
    #[must_use]
    pub fn level_required(&self) -> u32 {
        self.inner.releases.required()
    }
}
