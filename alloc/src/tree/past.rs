//! What parties have used before, while the policy in force counts that.

use std::collections::BTreeMap;

use meshos_protocol::{ids::FrameworkId, resources::ScalarQuantities, role::Role};
use serde::{Deserialize, Serialize};

use super::{Kind, Node, Tree, WEIGHT_DEFAULT_MILLIS};
use crate::{
    arena::Key,
    decay::{Past, faded_until},
    policy::{Account, Party},
    share::Share,
};

/// The most parties that are not in the tree and whose past use is remembered.
const REMEMBERED_MAX: usize = 10_000;

/// What a role and those in it have used before, fading: the averages that the policy counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastUse {
    /// All of it, with the roles below.
    #[serde(default, skip_serializing_if = "ScalarQuantities::is_empty")]
    pub used: ScalarQuantities,
    /// The frameworks in this very role, also those that have left it.
    #[serde(default, skip_serializing_if = "ScalarQuantities::is_empty")]
    pub own: ScalarQuantities,
    /// Each of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub frameworks: BTreeMap<FrameworkId, ScalarQuantities>,
}

/// One whose past use counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct User {
    role: Role,
    part: Part,
}

/// What of a role. In the order in which those that hold more stand before those inside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Whole,
    Own,
    Framework(FrameworkId),
}

impl Tree {
    /// Whose past a node of that kind below that parent has.
    fn user(&self, kind: &Kind, parent: Option<Key<Node>>) -> Option<User> {
        let role_above = |key: Key<Node>| self.role_of(key).cloned();
        let (role, part) = match kind {
            Kind::Root => return None,
            Kind::Role(role) => (role.clone(), Part::Whole),
            Kind::Direct => (role_above(parent?)?, Part::Own),
            Kind::Framework(framework, _) => {
                (role_above(self.nodes[parent?].parent?)?, Part::Framework(*framework))
            }
        };
        Some(User { role, part })
    }

    /// Keeps what a role has used, so that leaving and coming back does not clear it. Frameworks that
    /// leave seldom come back.
    pub(super) fn remember(&mut self, node: &mut Node) {
        if matches!(node.kind, Kind::Framework(..)) {
            return;
        }
        if let Some(past) = node.past.take()
            && let Some(user) = self.user(&node.kind, node.parent)
            && self.makes_room(&past)
        {
            self.remembered.insert(user, *past);
        }
    }

    /// Forgets who has used least where too many are remembered. Returns whether there is room then for one that
    /// has used so much.
    fn makes_room(&mut self, past: &Past) -> bool {
        if self.remembered.len() < REMEMBERED_MAX {
            return true;
        }
        self.fade_remembered();
        if self.remembered.len() < REMEMBERED_MAX {
            return true;
        }
        let shares = self.remembered.iter();
        let shares = shares.map(|(user, past)| (self.share_of_past(past.amounts()), user));
        let Some((least, user)) = shares.min() else { return false };
        let user = user.clone();
        let more = self.share_of_past(past.amounts()) > least;
        if more {
            self.remembered.remove(&user);
        }
        more
    }

    /// The past with which a node begins, if any counts.
    pub(super) fn past_of_new(&mut self, kind: &Kind, parent: Key<Node>) -> Option<Box<Past>> {
        self.half_life?;
        let known = self.user(kind, Some(parent)).and_then(|user| self.remembered.remove(&user));
        Some(Box::new(known.unwrap_or_else(|| Past::new(self.clock))))
    }

    /// Brings the past of a node up to date.
    pub(super) fn fade(&mut self, key: Key<Node>) {
        let Some(half_life) = self.half_life else { return };
        let node = &mut self.nodes[key];
        if let Some(past) = &mut node.past {
            past.advance(faded_until(self.clock, half_life), half_life, &node.held);
        }
    }

    /// Brings the past of those up to date who are not in the tree, and forgets those of whom nothing
    /// is left.
    pub(super) fn fade_remembered(&mut self) {
        let Some(half_life) = self.half_life else { return };
        let (clock, nothing) = (faded_until(self.clock, half_life), ScalarQuantities::new());
        self.remembered.retain(|_, past| {
            past.advance(clock, half_life, &nothing);
            !past.is_forgotten()
        });
    }

    /// What has been used up to now: of so many parties at most, those that have used most.
    pub(crate) fn past_use(&mut self, parties_max: usize) -> BTreeMap<Role, PastUse> {
        let keys: Vec<_> = self.nodes.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.fade(key);
        }
        self.fade_remembered();
        let in_tree = self.nodes.iter().filter_map(|(_, node)| {
            let user = self.user(&node.kind, node.parent)?;
            Some((user, node.past.as_deref()?.amounts().clone()))
        });
        let outside = self.remembered.iter();
        let outside = outside.map(|(user, past)| (user.clone(), past.amounts().clone()));
        let mut all: Vec<(Share, User, ScalarQuantities)> = in_tree
            .chain(outside)
            .filter(|(_, used)| !used.is_empty())
            .map(|(user, used)| (self.share_of_past(&used), user, used))
            .collect();
        all.sort_unstable_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        let mut by_role: BTreeMap<Role, PastUse> = BTreeMap::new();
        for (_, user, used) in all.into_iter().take(parties_max) {
            let of_role = by_role.entry(user.role).or_default();
            match user.part {
                Part::Whole => of_role.used = used,
                Part::Own => of_role.own = used,
                Part::Framework(framework) => {
                    of_role.frameworks.insert(framework, used);
                }
            }
        }
        by_role
    }

    /// The share of one that has used so much and holds nothing.
    fn share_of_past(&self, used: &ScalarQuantities) -> Share {
        let account = Account {
            party: Party::Direct,
            weight_millis: WEIGHT_DEFAULT_MILLIS,
            priority: 0,
            turns: 0,
            held: &ScalarQuantities::new(),
            past: used,
            total: self.shared_out.as_ref().unwrap_or(&self.total),
        };
        self.policy.rank(&account).share
    }

    /// Goes on from what was used before, as it was `age_ms` ago. Of who is in the tree it replaces what
    /// is known.
    pub(crate) fn set_past_use(&mut self, by_role: &BTreeMap<Role, PastUse>, age_ms: u64) {
        let Some(half_life) = self.half_life else { return };
        let mut faded = BTreeMap::new();
        for (role, past) in by_role {
            let frameworks = past.frameworks.iter();
            let frameworks = frameworks.map(|(id, used)| (Part::Framework(*id), used));
            let of_role = [(Part::Whole, &past.used), (Part::Own, &past.own)];
            for (part, used) in of_role.into_iter().chain(frameworks) {
                let past = Past::of_earlier(used, age_ms, half_life, self.clock);
                faded.insert(User { role: role.clone(), part }, past);
            }
        }
        let in_tree: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|(key, node)| Some((key, self.user(&node.kind, node.parent)?)))
            .collect();
        for (key, user) in in_tree {
            if let Some(past) = faded.remove(&user) {
                self.nodes[key].past = Some(Box::new(past));
            }
        }
        faded.retain(|_, past| !past.is_forgotten());
        let room = REMEMBERED_MAX.saturating_sub(self.remembered.len());
        self.remembered.extend(faded.into_iter().take(room));
        self.stale = true;
    }
}
