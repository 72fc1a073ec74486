//! Quota in the tree: who has less than it is guaranteed, and how much more anybody may have.

use std::collections::BTreeMap;

use meshos_protocol::{
    resources::{Amount, ResourceName, Resources, ScalarQuantities},
    role::Role,
};

use super::{Kind, Node, Tree, ledger};
use crate::{
    agent::Agent,
    arena::Key,
    quota::{Headroom, Quota},
};

/// What offers that are wanted back change in what roles consume: those who borrow lose them, and those
/// who are guaranteed them get what they can use of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moves {
    gained: BTreeMap<Role, ScalarQuantities>,
    lost: BTreeMap<Role, ScalarQuantities>,
}

impl Moves {
    /// A framework in a role gets so much.
    pub(crate) fn gain(&mut self, role: &Role, amounts: &ScalarQuantities) {
        for role in role.with_those_above() {
            *self.gained.entry(role).or_default() += amounts;
        }
    }

    /// A framework in a role gives so much back.
    pub(crate) fn lose(&mut self, role: &Role, amounts: &ScalarQuantities) {
        for role in role.with_those_above() {
            *self.lost.entry(role).or_default() += amounts;
        }
    }

    /// It keeps that after all.
    pub(crate) fn keep(&mut self, role: &Role, amounts: &ScalarQuantities) {
        for role in role.with_those_above() {
            let lost = self.lost.entry(role).or_default();
            *lost = lost.saturating_sub(amounts);
        }
    }

    fn after(&self, role: &Role, name: &ResourceName, consumed: Amount) -> Amount {
        let of = |all: &BTreeMap<Role, ScalarQuantities>| {
            all.get(role).map_or(Amount::ZERO, |amounts| amounts.get(name))
        };
        consumed.saturating_add(of(&self.gained)).remaining_after(of(&self.lost))
    }
}

impl Tree {
    /// Sets or, when it is empty, clears the quota of a role.
    pub(crate) fn set_quota(&mut self, role: &Role, quota: Quota) {
        let quota = Some(quota).filter(|quota| !quota.is_empty());
        match &quota {
            Some(quota) => drop(self.settings.quotas.insert(role.clone(), quota.clone())),
            None => drop(self.settings.quotas.remove(role)),
        }
        self.limited = self.settings.quotas.values().any(|quota| !quota.limit.is_empty());
        if let Some(nodes) = self.roles.get(role).copied() {
            self.nodes[nodes.role].quota = quota.map(Box::new);
            self.refresh_unmet(nodes.role);
        }
    }

    /// Whether any role has a limit.
    pub(crate) fn has_limit(&self) -> bool {
        self.limited
    }

    /// What a role consumes: see [`Quota`].
    pub(crate) fn consumption(&self, role: &Role) -> ScalarQuantities {
        let mut consumed = self.reserved.get(role).cloned().unwrap_or_default();
        if let Some(node) = self.role(role) {
            let held = node.held.saturating_sub(&node.held_reserved);
            consumed += &match self.twice.get(role) {
                Some(twice) => held.saturating_sub(twice),
                None => held,
            };
        }
        consumed
    }

    fn consumed(&self, role: &Role, node: &Node, name: &ResourceName) -> Amount {
        let reserved = self.reserved.get(role).map_or(Amount::ZERO, |all| all.get(name));
        let held = node.held.get(name).remaining_after(node.held_reserved.get(name));
        let twice = self.twice.get(role).map_or(Amount::ZERO, |all| all.get(name));
        reserved.saturating_add(held.remaining_after(twice))
    }

    /// More or less of what a role is offered is counted twice.
    pub(crate) fn change_twice(
        &mut self,
        role: &Role,
        before: &ScalarQuantities,
        now: &ScalarQuantities,
    ) {
        let sum = self.twice.entry(role.clone()).or_default();
        *sum += now;
        *sum = sum.saturating_sub(before);
        if sum.is_empty() {
            self.twice.remove(role);
        }
        if let Some(nodes) = self.roles.get(role).copied() {
            self.refresh_unmet(nodes.role);
        }
    }

    /// How much more a framework may have of the unreserved pool before a role above it meets its
    /// limit.
    pub(crate) fn headroom(&self, framework: Key<Node>) -> Headroom {
        self.headroom_after(framework, &Moves::default())
    }

    /// The same after such moves: what comes back of a role is no part of what those above it consume.
    pub(crate) fn headroom_after(&self, framework: Key<Node>, moves: &Moves) -> Headroom {
        self.headroom_beside(framework, moves, |_, _| None)
    }

    /// The same of one agent: where its role consumes no more by being offered all that is free there
    /// than it may, because others in it are offered the same, there is no limit.
    pub(crate) fn headroom_on(&self, framework: Key<Node>, page: &Agent) -> Headroom {
        let moves = Moves::default();
        self.headroom_beside(framework, &moves, |role, name| page.not_promised(role, name))
    }

    /// `most` answers how much more a role could consume of a resource at all, if that is known.
    fn headroom_beside(
        &self,
        framework: Key<Node>,
        moves: &Moves,
        most: impl Fn(&Role, &ResourceName) -> Option<Amount>,
    ) -> Headroom {
        let mut headroom = Headroom::default();
        if !self.has_limit() {
            return headroom;
        }
        for (role, node, quota) in self.quotas_above(framework) {
            for (name, limit) in &quota.limit {
                if self.limits_held {
                    headroom.narrow(name, Amount::ZERO);
                    continue;
                }
                let consumed = moves.after(role, name, self.consumed(role, node, name));
                let rest = limit.remaining_after(consumed);
                if most(role, name).is_none_or(|most| most > rest) {
                    headroom.narrow(name, rest);
                }
            }
        }
        headroom
    }

    /// Whether roles that have a limit get no more for now.
    pub(crate) fn limits_held(&self) -> bool {
        self.limits_held
    }

    /// Says whether they do. Returns whether that is new.
    pub(crate) fn hold_limits(&mut self, held: bool) -> bool {
        std::mem::replace(&mut self.limits_held, held) != held
    }

    /// Whether a role or one above it exceeds its limit.
    pub(crate) fn exceeds_limit(&self, role: &Role) -> bool {
        self.has_limit()
            && role.with_those_above().any(|role| {
                let Some(quota) = self.settings.quotas.get(&role) else { return false };
                let consumed = self.consumption(&role);
                quota.limit.iter().any(|(name, limit)| consumed.get(name) > *limit)
            })
    }

    /// By how much roles exceed their limits; by all that they have as long as it is not known what
    /// they have beside that.
    pub(crate) fn excesses(&self) -> BTreeMap<Role, ScalarQuantities> {
        let excess = |(role, quota): (&Role, &Quota)| {
            let consumed = self.consumption(role);
            let over = quota.limit.iter().map(|(name, limit)| {
                let limit = if self.limits_held { Amount::ZERO } else { *limit };
                (name.clone(), consumed.get(name).remaining_after(limit))
            });
            let over: ScalarQuantities = over.collect();
            (!over.is_empty()).then(|| (role.clone(), over))
        };
        self.settings.quotas.iter().filter_map(excess).collect()
    }

    /// What a framework's roles lack of what they are guaranteed, after such moves.
    pub(crate) fn shortage(&self, framework: Key<Node>, moves: &Moves) -> ScalarQuantities {
        let mut short = ScalarQuantities::new();
        for (role, node, quota) in self.quotas_above(framework) {
            for (name, guarantee) in quota.guarantee.iter() {
                let consumed = moves.after(role, name, self.consumed(role, node, name));
                let lacking = guarantee.remaining_after(consumed);
                short.add(name, lacking.remaining_after(short.get(name)));
            }
        }
        short
    }

    /// Whether the roles of a framework have all that they are guaranteed without `pool`, too, after
    /// such moves.
    pub(crate) fn can_spare(
        &self,
        framework: Key<Node>,
        pool: &ScalarQuantities,
        moves: &Moves,
    ) -> bool {
        self.quotas_above(framework).all(|(role, node, quota)| {
            !quota.is_unmet(|name| {
                let consumed = moves.after(role, name, self.consumed(role, node, name));
                consumed.remaining_after(pool.get(name))
            })
        })
    }

    /// The limits of the roles of a framework, the nearest role first: whose, of what, how much, and what
    /// is left of it.
    pub(crate) fn limits_above(
        &self,
        framework: Key<Node>,
    ) -> impl Iterator<Item = (&Role, &ResourceName, Amount, Amount)> {
        self.quotas_above(framework).flat_map(move |(role, node, quota)| {
            quota.limit.iter().map(move |(name, limit)| {
                let left = limit.remaining_after(self.consumed(role, node, name));
                (role, name, *limit, left)
            })
        })
    }

    fn quotas_above(&self, key: Key<Node>) -> impl Iterator<Item = (&Role, &Node, &Quota)> {
        self.above(key).filter_map(|node| match (&node.kind, &node.quota) {
            (Kind::Role(role), Some(quota)) => Some((role, node, &**quota)),
            _ => None,
        })
    }

    /// Reservations have come or gone.
    pub(super) fn change_reserved(&mut self, added: &Resources, removed: &Resources) {
        let mut changed = Vec::new();
        for (resources, more) in [(added, true), (removed, false)] {
            for resource in resources {
                let Some(reserved) = resource.metadata().reserved_role() else { continue };
                let one = Resources::from(resource.clone());
                for role in reserved.with_those_above() {
                    let sum = self.reserved.entry(role.clone()).or_default();
                    if more {
                        ledger::add(sum, &one)
                    } else {
                        ledger::subtract(sum, &one)
                    }
                    changed.push(role);
                }
            }
        }
        for role in changed {
            if self.reserved.get(&role).is_some_and(ScalarQuantities::is_empty) {
                self.reserved.remove(&role);
            }
            if let Some(nodes) = self.roles.get(&role).copied() {
                self.refresh_unmet(nodes.role);
            }
        }
    }

    /// Brings up to date whether a role has less than it is guaranteed.
    pub(super) fn refresh_unmet(&mut self, key: Key<Node>) {
        let unmet = self.is_unmet(key);
        if unmet != self.nodes[key].unmet {
            self.nodes[key].unmet = unmet;
            self.refresh_needy(key);
        }
    }

    pub(super) fn is_unmet(&self, key: Key<Node>) -> bool {
        let node = &self.nodes[key];
        let (Some(role), Some(quota)) = (self.role_of(key), &node.quota) else { return false };
        quota.is_unmet(|name| self.consumed(role, node, name))
    }
}
