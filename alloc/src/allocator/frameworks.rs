//! Frameworks come, change, fall silent and go.

use std::collections::BTreeSet;

use meshos_protocol::{framework::Capabilities, ids::FrameworkId, role::Role};

use super::Allocator;
use crate::{
    arena::Key,
    membership::{Framework, Membership},
    tree::Scope,
};

impl Allocator {
    /// The frameworks that wait for offers in any role: active, not suppressed, and with a demand that
    /// is not met if they have stated one.
    pub fn waiting_frameworks(&self) -> impl Iterator<Item = FrameworkId> {
        let waits =
            |key: &Key<Membership>| self.tree.is_in(Scope::Waiting, self.memberships[*key].node);
        let waiting = move |(_, framework): &(&FrameworkId, &Framework)| {
            framework.memberships.values().any(waits)
        };
        self.frameworks.iter().filter(waiting).map(|(id, _)| *id)
    }

    /// Whether a framework began to wait for offers in a role since the last call: offers that others hold may be
    /// wanted for it.
    pub fn take_began_to_wait(&mut self) -> bool {
        std::mem::take(&mut self.began_to_wait)
    }

    /// Adds a framework, which is offered something from the next run on in the roles that are not
    /// suppressed. Tasks of it that are known already stay counted.
    pub fn add_framework(
        &mut self,
        framework: FrameworkId,
        roles: &BTreeSet<Role>,
        suppressed: &BTreeSet<Role>,
        capabilities: Capabilities,
    ) {
        self.frameworks.entry(framework).or_default().active = true;
        self.apply_roles(framework, roles, suppressed, capabilities);
    }

    /// Changes the roles and capabilities of a framework. What it holds in roles that it leaves
    /// stays held.
    pub fn update_framework(
        &mut self,
        framework: FrameworkId,
        roles: &BTreeSet<Role>,
        suppressed: &BTreeSet<Role>,
        capabilities: Capabilities,
    ) {
        if self.frameworks.contains_key(&framework) {
            self.apply_roles(framework, roles, suppressed, capabilities);
        }
    }

    /// Says whether a framework is offered anything. Offers that it has stay until they are
    /// recovered.
    pub fn set_framework_active(&mut self, framework: FrameworkId, active: bool) {
        let Some(entry) = self.frameworks.get_mut(&framework) else { return };
        entry.active = active;
        for key in self.memberships_of(framework) {
            self.membership_changed(key, false);
        }
    }

    /// Takes a framework away. What it was offered is free again; what is allocated stays so until
    /// its tasks have ended.
    pub fn remove_framework(&mut self, framework: FrameworkId) {
        let Some(entry) = self.frameworks.get_mut(&framework) else { return };
        entry.active = false;
        for key in self.memberships_of(framework) {
            self.unsubscribe(key);
            self.take_back_offers(key);
            self.forget_if_unused(key);
        }
        if self.frameworks.get(&framework).is_some_and(|entry| entry.memberships.is_empty()) {
            self.frameworks.remove(&framework);
        }
    }

    /// The framework wants no offers in these roles, or in none of its roles when none is named.
    pub fn suppress(&mut self, framework: FrameworkId, roles: &BTreeSet<Role>) {
        for key in self.named(framework, roles) {
            self.memberships[key].suppressed = true;
            self.membership_changed(key, false);
        }
    }

    /// The framework wants offers again in these roles, or in all its roles when none is named,
    /// of what it has refused as well.
    pub fn revive(&mut self, framework: FrameworkId, roles: &BTreeSet<Role>) {
        for key in self.named(framework, roles) {
            let stamp = self.next_stamp();
            let membership = &mut self.memberships[key];
            membership.suppressed = false;
            membership.stamp = stamp;
            self.refusals_are_over(key);
            self.membership_changed(key, true);
        }
    }

    /// Looks at every agent, as the run that follows does.
    fn refusals_are_over(&mut self, key: Key<Membership>) {
        self.agents.iter_mut().for_each(|page| page.filters.outdate(key));
    }

    fn apply_roles(
        &mut self,
        framework: FrameworkId,
        roles: &BTreeSet<Role>,
        suppressed: &BTreeSet<Role>,
        capabilities: Capabilities,
    ) {
        let Some(entry) = self.frameworks.get_mut(&framework) else { return };
        entry.capabilities = capabilities;
        let left: Vec<_> = entry
            .memberships
            .iter()
            .filter(|(role, _)| !roles.contains(*role))
            .map(|(_, key)| *key)
            .collect();
        for role in roles {
            let key = self.membership(framework, role);
            let stamp = self.next_stamp();
            let membership = &mut self.memberships[key];
            if !membership.subscribed {
                // It starts anew, whatever was refused before it left.
                (membership.stamp, membership.born) = (stamp, stamp);
            }
            let more = understands_more(capabilities, membership.capabilities);
            membership.subscribed = true;
            membership.suppressed = suppressed.contains(role);
            membership.capabilities = capabilities;
            self.membership_changed(key, more);
        }
        for key in left {
            self.unsubscribe(key);
            self.forget_if_unused(key);
        }
    }

    /// A framework leaves a role, and takes its wishes with it.
    fn unsubscribe(&mut self, key: Key<Membership>) {
        self.forget_gang(key);
        let membership = &mut self.memberships[key];
        if membership.subscribed {
            membership.subscribed = false;
            membership.wishes = None;
            self.refusals_are_over(key);
        }
        self.membership_changed(key, false);
    }

    /// The membership of a framework in a role, made without a subscription when there is none.
    pub(super) fn membership(&mut self, framework: FrameworkId, role: &Role) -> Key<Membership> {
        if let Some(key) = self.find_membership(framework, role) {
            return key;
        }
        let stamp = self.next_stamp();
        let entry = self.frameworks.entry(framework).or_default();
        let tree = &mut self.tree;
        let key = self.memberships.insert_with(|key| Membership {
            framework,
            role: role.clone(),
            node: tree.insert(role, framework, key),
            subscribed: false,
            suppressed: false,
            capabilities: entry.capabilities,
            wishes: None,
            stamp,
            born: stamp,
            agents: 0,
        });
        entry.memberships.insert(role.clone(), key);
        key
    }

    pub(super) fn find_membership(
        &self,
        framework: FrameworkId,
        role: &Role,
    ) -> Option<Key<Membership>> {
        self.frameworks.get(&framework)?.memberships.get(role).copied()
    }

    /// A membership holds something on one agent less.
    pub(super) fn holds_on_one_less(&mut self, key: Key<Membership>) {
        self.memberships[key].agents -= 1;
        self.forget_if_unused(key);
    }

    /// Forgets a membership that nobody is subscribed with and that holds nothing, and a framework
    /// that is gone with its last one.
    fn forget_if_unused(&mut self, key: Key<Membership>) {
        let Some(membership) = self.memberships.get(key) else { return };
        if membership.subscribed || membership.agents > 0 {
            return;
        }
        debug_assert!(!self.tree.is_in(Scope::Waiting, membership.node));
        if let Some(membership) = self.memberships.remove(key) {
            self.tree.remove(membership.node);
            self.skips.forget(key);
            self.wishing.remove(key);
            if let Some(entry) = self.frameworks.get_mut(&membership.framework) {
                entry.memberships.remove(&membership.role);
                if entry.memberships.is_empty() && !entry.active {
                    self.frameworks.remove(&membership.framework);
                }
            }
        }
    }

    fn memberships_of(&self, framework: FrameworkId) -> Vec<Key<Membership>> {
        self.frameworks.get(&framework).map_or_else(Vec::new, |entry: &Framework| {
            entry.memberships.values().copied().collect()
        })
    }

    /// The subscribed memberships in these roles, or in all when none is named.
    fn named(&self, framework: FrameworkId, roles: &BTreeSet<Role>) -> Vec<Key<Membership>> {
        let Some(entry) = self.frameworks.get(&framework) else { return Vec::new() };
        entry
            .memberships
            .iter()
            .filter(|(role, key)| {
                (roles.is_empty() || roles.contains(*role)) && self.memberships[**key].subscribed
            })
            .map(|(_, key)| *key)
            .collect()
    }
}

/// Whether a framework may be offered what it could not be offered before.
fn understands_more(now: Capabilities, before: Capabilities) -> bool {
    (now.gpu_resources && !before.gpu_resources)
        || (now.shared_resources && !before.shared_resources)
        || (now.revocable_resources && !before.revocable_resources)
        || (now.reservation_refinement && !before.reservation_refinement)
        || (now.region_aware && !before.region_aware)
}
