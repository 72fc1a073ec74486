//! What the members run, as they tell with every answer.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::sync::watch;

use super::{MemberRelease, Release, config::StoredMembership};

/// What is known of the members' releases; shared by all who hear of them or ask.
pub(super) struct Releases {
    own: u64,
    /// By raft id, this node among them.
    known: watch::Sender<BTreeMap<u64, Release>>,
    /// The members as of now.
    members: watch::Sender<Vec<MemberRelease>>,
    /// What the registry requires of them.
    required: AtomicU32,
}

impl Releases {
    pub(super) fn new(own: u64, release: Release) -> Self {
        Self {
            own,
            known: watch::Sender::new(BTreeMap::from([(own, release)])),
            members: watch::Sender::default(),
            required: AtomicU32::new(0),
        }
    }

    /// A member has answered.
    pub(super) fn heard(&self, member: u64, release: Release) {
        self.known.send_if_modified(|known| {
            let new = known.get(&member) != Some(&release);
            if new {
                known.insert(member, release);
            }
            new
        });
    }

    /// This node leads no more: what others run by the time it leads again is not known.
    pub(super) fn forget(&self) {
        self.known.send_if_modified(|known| {
            let before = known.len();
            known.retain(|member, _| *member == self.own);
            known.len() != before
        });
    }

    /// What this member runs now is not known.
    pub(super) fn forget_member(&self, member: u64) {
        self.known.send_if_modified(|known| known.remove(&member).is_some());
    }

    /// Tells who asks of members that came or went, and of what they were heard to run.
    pub(super) fn publish(&self, membership: &StoredMembership) {
        let known = self.known.borrow();
        let members = membership.nodes().map(|(raft_id, member)| MemberRelease {
            voter: member.voter(*raft_id),
            release: known.get(raft_id).cloned(),
        });
        let members: Vec<MemberRelease> = members.collect();
        self.members.send_if_modified(|now| {
            let new = *now != members;
            *now = members;
            new
        });
    }

    pub(super) fn members(&self) -> watch::Receiver<Vec<MemberRelease>> {
        self.members.subscribe()
    }

    pub(super) fn changes(&self) -> watch::Receiver<BTreeMap<u64, Release>> {
        self.known.subscribe()
    }

    /// The registry has changed.
    pub(super) fn require(&self, level: u32) {
        self.required.store(level, Ordering::SeqCst);
    }

    /// Why a member must not vote, when it knows less than the registry holds.
    pub(super) fn obstacle(&self, member: u64) -> Option<String> {
        let required = self.required.load(Ordering::SeqCst);
        let known = self.known.borrow();
        let release = known.get(&member)?;
        let name = if release.name.is_empty() { "an older one" } else { &release.name };
        (release.level < required).then(|| {
            format!(
                "its release ({name}) knows the registry up to level {}, and the registry is at level {required}: upgrade it, then try again",
                release.level
            )
        })
    }
}
