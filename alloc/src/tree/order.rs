//! The order of service: who is next.

use std::collections::BTreeMap;

use meshos_protocol::resources::ScalarQuantities;

use super::{FRESH, Kind, NEEDY, Node, Scope, Tree, WAITING};
use crate::{arena::Key, membership::Membership, policy::Rank};

/// Who of those below a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    All,
    /// Those in roles that consume less than they are guaranteed, and in roles below these.
    Needy,
    /// All others.
    Met,
}

impl Who {
    fn where_nobody_is_needy(self) -> Self {
        if self == Self::Met { Self::All } else { self }
    }

    /// Who is asked of those below a child, if anybody is.
    fn below(self, unmet: bool) -> Option<Self> {
        match self {
            Self::Needy if unmet => Some(Self::All),
            Self::Met if unmet => None,
            Self::All | Self::Needy | Self::Met => Some(self),
        }
    }
}

/// By node the children that are gone through, when not all are.
type Ways = BTreeMap<Key<Node>, Vec<Key<Node>>>;

/// Who is served next below a node.
struct Next<T> {
    taker: Key<Membership>,
    used: T,
    /// The discount of the node when that one is served, unless it is as usual.
    discount: Option<ScalarQuantities>,
}

impl Tree {
    /// Puts a framework into a scope or takes it out.
    pub(crate) fn set_in(&mut self, scope: Scope, framework: Key<Node>, member: bool) {
        let list = list_of(scope);
        if (self.nodes[framework].counts[list] > 0) == member {
            return;
        }
        let mut next = Some(framework);
        while let Some(key) = next {
            if self.rescaling && list == WAITING && key != framework {
                // Others wait below it than did, so it counts differently.
                self.update(key, |_| {});
            }
            let count = &mut self.nodes[key].counts[list];
            let before = *count;
            *count = if member { before + 1 } else { before - 1 };
            let after = *count;
            next = self.nodes[key].parent;
            if let Some(parent) = next {
                match (before, after) {
                    (0, _) => {
                        self.link(list, parent, key);
                        self.join_sums(key);
                    }
                    (_, 0) => {
                        self.unlink(list, parent, key);
                        if list == WAITING {
                            self.leave_sums(key);
                        }
                    }
                    _ => {}
                }
            }
            if list == WAITING && (before == 0 || after == 0) {
                self.refresh_needy(key);
            }
        }
    }

    /// Whether a framework is in a scope.
    pub(crate) fn is_in(&self, scope: Scope, node: Key<Node>) -> bool {
        self.nodes[node].counts[list_of(scope)] > 0
    }

    /// Who is served next: the first in the order of service of those who have a use for it, and
    /// which. Those who are guaranteed more than they have come before all others.
    pub(crate) fn next<T>(
        &self,
        scope: Scope,
        mut useful: impl FnMut(Key<Membership>) -> Option<T>,
    ) -> Option<(Key<Membership>, T)> {
        let list = list_of(scope);
        if self.rescaling {
            let mut below = |who| self.next_below(self.root, list, who, &mut useful);
            let found = below(Who::Needy).or_else(|| below(Who::Met))?;
            return Some((found.taker, found.used));
        }
        let mut used = None;
        let taker = self.first(scope, |key| {
            used = useful(key);
            used.is_some()
        });
        taker.zip(used)
    }

    /// Whether a few can be put in order without all others: not while levels are rescaled.
    pub(crate) fn takes_few(&self) -> bool {
        !self.rescaling
    }

    /// The same as [`Tree::next`] when only these frameworks can have a use for it, see [`Tree::takes_few`]. All others are
    /// passed over.
    pub(crate) fn next_among<T>(
        &self,
        scope: Scope,
        among: impl Iterator<Item = Key<Node>>,
        mut useful: impl FnMut(Key<Membership>) -> Option<T>,
    ) -> Option<(Key<Membership>, T)> {
        debug_assert!(self.takes_few(), "levels are counted for all of those who wait");
        let list = list_of(scope);
        let ways = self.ways_to(among, list);
        let mut used = None;
        let mut wanted = |key| {
            used = useful(key);
            used.is_some()
        };
        let mut below = |who| self.first_below(self.root, list, who, Some(&ways), &mut wanted);
        let taker = below(Who::Needy).or_else(|| below(Who::Met));
        taker.zip(used)
    }

    /// For each node above frameworks in a list those children that lead to them, in the order of
    /// service.
    fn ways_to(&self, frameworks: impl Iterator<Item = Key<Node>>, list: usize) -> Ways {
        let mut ways = Ways::new();
        for framework in frameworks.filter(|key| self.nodes[*key].is_listed(list)) {
            let mut child = framework;
            while let Some(parent) = self.nodes[child].parent {
                let children = ways.entry(parent).or_default();
                if children.contains(&child) {
                    break;
                }
                children.push(child);
                child = parent;
            }
        }
        for children in ways.values_mut() {
            children.sort_by(|one, other| self.nodes[*one].service_order(&self.nodes[*other]));
        }
        ways
    }

    /// The one of those below a node who is served next, while levels are rescaled.
    ///
    /// Children are gone through in the order of what they count when the first of those who wait
    /// below them is served. That is the least that they can count (but for roles three levels deep),
    /// so the search ends at the first that does not count less than the best so far.
    fn next_below<T>(
        &self,
        key: Key<Node>,
        list: usize,
        who: Who,
        useful: &mut impl FnMut(Key<Membership>) -> Option<T>,
    ) -> Option<Next<T>> {
        let node = &self.nodes[key];
        if let Kind::Framework(_, taker) = node.kind {
            return useful(taker).map(|used| Next { taker, used, discount: None });
        }
        let who = if node.lists[NEEDY].is_empty() { who.where_nobody_is_needy() } else { who };
        let mut best: Option<(Key<Node>, Rank, Next<T>)> = None;
        for &child in &node.lists[if who == Who::Needy { NEEDY } else { list }] {
            let Some(who) = who.below(self.nodes[child].unmet) else { continue };
            let stands = |rank: Rank| (rank, self.nodes[child].grants, self.nodes[child].party());
            let before = |best: &Option<(Key<Node>, Rank, Next<T>)>, rank| {
                best.as_ref().is_none_or(|(key, best, _)| {
                    let node = &self.nodes[*key];
                    stands(rank) < (*best, node.grants, node.party())
                })
            };
            if !before(&best, self.nodes[child].rank) {
                break;
            }
            let Some(found) = self.next_below(child, list, who, useful) else { continue };
            let rank = match &found.discount {
                Some(discount) => self.rank_discounted(&self.nodes[child], discount),
                None => self.nodes[child].rank,
            };
            if before(&best, rank) {
                best = Some((child, rank, found));
            }
        }
        let (child, rank, mut found) = best?;
        let usual = found.discount.is_none() && node.lists[WAITING].front() == Some(&child);
        if !usual {
            let discount = found.discount.as_ref();
            found.discount = Some(self.discount_serving(node, child, rank.share, discount));
        }
        Some(found)
    }

    /// The first in the order of service for whom `wanted` holds: those first who are guaranteed
    /// more than they have.
    pub(crate) fn first(
        &self,
        scope: Scope,
        mut wanted: impl FnMut(Key<Membership>) -> bool,
    ) -> Option<Key<Membership>> {
        let list = list_of(scope);
        self.first_below(self.root, list, Who::Needy, None, &mut wanted)
            .or_else(|| self.first_below(self.root, list, Who::Met, None, &mut wanted))
    }

    /// The first in the order of service, among those who are guaranteed more than they have, for
    /// whom `wanted` holds.
    pub(crate) fn first_needy(
        &self,
        mut wanted: impl FnMut(Key<Membership>) -> bool,
    ) -> Option<Key<Membership>> {
        self.first_below(self.root, WAITING, Who::Needy, None, &mut wanted)
    }

    /// The first of them below a role for whom `wanted` holds.
    fn first_below(
        &self,
        key: Key<Node>,
        list: usize,
        who: Who,
        ways: Option<&Ways>,
        wanted: &mut impl FnMut(Key<Membership>) -> bool,
    ) -> Option<Key<Membership>> {
        let node = &self.nodes[key];
        let who = if node.lists[NEEDY].is_empty() { who.where_nobody_is_needy() } else { who };
        let listed = if who == Who::Needy { NEEDY } else { list };
        // As deep as roles are nested, which their length bounds.
        let below = |child: &Key<Node>| {
            if let Some(taker) = self.takers.get(*child) {
                return wanted(taker).then_some(taker);
            }
            let who = who.below(self.nodes[*child].unmet)?;
            self.first_below(*child, list, who, ways, wanted)
        };
        let Some(ways) = ways else { return node.lists[listed].iter().find_map(below) };
        let is_listed = |child: &&Key<Node>| self.nodes[**child].is_listed(listed);
        ways.get(&key)?.iter().filter(is_listed).find_map(below)
    }

    /// Whether somebody waits who is guaranteed more than it has.
    pub(crate) fn somebody_needy(&self) -> bool {
        !self.nodes[self.root].lists[NEEDY].is_empty()
    }

    /// The nodes above one, from the nearest.
    pub(super) fn above(&self, key: Key<Node>) -> impl Iterator<Item = &Node> {
        let mut next = self.nodes[key].parent;
        std::iter::from_fn(move || {
            let node = &self.nodes[next?];
            next = node.parent;
            Some(node)
        })
    }

    /// Brings up to date whether a role and those above it are in the lists of the needy.
    pub(super) fn refresh_needy(&mut self, key: Key<Node>) {
        let mut next = Some(key);
        while let Some(key) = next {
            let node = &self.nodes[key];
            let Some(parent) = node.parent else { return };
            let is_role = matches!(node.kind, Kind::Role(_));
            let needy = is_role
                && node.counts[WAITING] > 0
                && (node.unmet || !node.lists[NEEDY].is_empty());
            if needy == node.needy {
                return;
            }
            self.nodes[key].needy = needy;
            if needy {
                self.link(NEEDY, parent, key);
            } else {
                self.unlink(NEEDY, parent, key);
            }
            next = Some(parent);
        }
    }

    fn refresh_rank(&mut self, key: Key<Node>) {
        if self.nodes[key].rank_stale {
            self.rank(key);
        }
    }

    fn place(&self, list: usize, parent: Key<Node>, key: Key<Node>) -> Result<usize, usize> {
        let node = &self.nodes[key];
        self.nodes[parent].lists[list]
            .binary_search_by(|sibling| self.nodes[*sibling].service_order(node))
    }

    pub(super) fn link(&mut self, list: usize, parent: Key<Node>, key: Key<Node>) {
        let listed = &self.nodes[parent].lists[list];
        match (listed.len(), listed.front().copied()) {
            (1, Some(only)) => {
                self.refresh_rank(only);
                self.refresh_rank(key);
            }
            (0, _) => {}
            _ => self.refresh_rank(key),
        }
        match self.place(list, parent, key) {
            Ok(_) => debug_assert!(false, "{key:?} is in the list already"),
            Err(place) => self.nodes[parent].lists[list].insert(place, key),
        }
    }

    pub(super) fn unlink(&mut self, list: usize, parent: Key<Node>, key: Key<Node>) {
        let listed = &mut self.nodes[parent].lists[list];
        if listed.front() == Some(&key) {
            listed.pop_front();
            return;
        }
        match self.place(list, parent, key) {
            Ok(place) => {
                self.nodes[parent].lists[list].remove(place);
            }
            Err(_) => debug_assert!(false, "{key:?} is not in the list"),
        }
    }
}

fn list_of(scope: Scope) -> usize {
    match scope {
        Scope::Waiting => WAITING,
        Scope::Fresh => FRESH,
    }
}
