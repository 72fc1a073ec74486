//! What operators say of roles, and which policy they choose.

use std::{collections::BTreeMap, time::Duration};

use meshos_protocol::{
    role::Role,
    time::{Mono, millis},
};

use super::Allocator;
use crate::{
    PastUse, Policy, Quota, QuotaError, arena::Key, membership::Membership, quota::Headroom,
};

impl Allocator {
    /// The policy in force.
    pub fn policy(&self) -> &dyn Policy {
        self.tree.policy()
    }

    /// Another order of service, from the next run on. What is offered and allocated stays so.
    pub fn set_policy(&mut self, policy: Box<dyn Policy>) {
        self.tree.set_policy(policy);
    }

    /// Tells the time. Policies that count past use need to know how long what is held now has
    /// been held, so this is called before anything that changes what is held.
    pub fn advance(&mut self, now: Mono) {
        self.tree.advance(now);
    }

    /// What roles and those in them have used before, up to now: of so many parties at most, those that
    /// have used most. Nothing unless the policy in force counts past use.
    pub fn past_use(&mut self, parties_max: usize) -> BTreeMap<Role, PastUse> {
        self.tree.past_use(parties_max)
    }

    /// Goes on from what was used before, as another allocator of the same policy told it `age` ago;
    /// what was used since is not known to anybody.
    pub fn set_past_use(&mut self, by_role: &BTreeMap<Role, PastUse>, age: Duration) {
        self.tree.set_past_use(by_role, millis(age));
    }

    /// Weighs a role against its siblings, in thousandths; 1000 is the weight of a role that was
    /// never weighed, and zero counts as one. It shows in what is offered from now on.
    pub fn set_weight(&mut self, role: &Role, weight_millis: u64) {
        self.tree.set_weight(role, weight_millis);
    }

    /// Makes a role more or less urgent than its siblings; 0 is the priority of a role that was
    /// never given one, and more is more urgent. Only policies with bands look at it.
    pub fn set_priority(&mut self, role: &Role, priority: i32) {
        self.tree.set_priority(role, priority);
    }

    /// Sets, or with an empty one clears, what a role is guaranteed and may not exceed. Offers that
    /// a new limit does not allow are wanted back ([`Allocator::take_rescinds`]), and so are offers in
    /// a role of which tasks turn up that nobody knew; what is launched stays.
    pub fn set_quota(&mut self, role: &Role, quota: Quota) {
        self.tree.set_quota(role, quota);
        self.enforce_limits();
        self.limits_moved |= !self.limited.is_empty();
        self.reclaim_due = true;
    }

    /// Says whether all tasks are known. Until they are, roles that have a limit are offered nothing
    /// more of what is limited: the rest of it may be in use.
    pub fn set_tasks_known(&mut self, known: bool) {
        if self.tree.hold_limits(!known) {
            self.limits_moved |= known && !self.limited.is_empty();
        }
    }

    /// Those whose role was at its limit may want what they could not have, when they may have more
    /// now than then.
    pub(super) fn wake_limited(&mut self) {
        if !std::mem::take(&mut self.limits_moved) {
            return;
        }
        let (tree, memberships) = (&self.tree, &self.memberships);
        let woken = |(key, before): (&Key<Membership>, &Headroom)| match memberships.get(*key) {
            None => Some((*key, false)),
            Some(member) => tree.headroom(member.node).exceeds(before).then_some((*key, true)),
        };
        let woken: Vec<_> = self.limited.iter().filter_map(woken).collect();
        for (key, exists) in woken {
            self.limited.remove(&key);
            if exists {
                self.membership_changed(key, true);
            }
        }
    }

    /// Whether a quota makes sense beside the others and the cluster as it is.
    ///
    /// # Errors
    ///
    /// When it cannot be kept, or the role exceeds it already.
    pub fn check_quota(&self, role: &Role, quota: &Quota) -> Result<(), QuotaError> {
        self.check_quotas(&[(role.clone(), quota.clone())].into())
    }

    /// The same of several that are set together: each is held against the others.
    ///
    /// # Errors
    ///
    /// When one of them cannot be kept, or its role exceeds it already.
    pub fn check_quotas(&self, quotas: &BTreeMap<Role, Quota>) -> Result<(), QuotaError> {
        self.tree.check_quotas(quotas)
    }
}
