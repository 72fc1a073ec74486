//! How a level of the tree counts at the level above it: hierarchical dominant resource fairness.
//!
//! When what the leaves hold is merely added up, a role whose one leaf holds all memory stands behind
//! every role that wants processors, and its leaf that wants processors, too, starves: naive H-DRF
//! (Bhattacharya et al., *Hierarchical Scheduling for Diverse Datacenter Workloads*, SoCC 2013,
//! section 5). So a role is ranked by what would be there if all its children that wait held no more
//! than the one of them that is served next: the paper's rescaling to the minimum node. Children
//! that do not wait count in full: the paper's blocked nodes. Which one is served next depends on the
//! agent, because those ahead of it may have refused it: they count in full too, else somebody who
//! holds nothing and wants nothing would move all of its role to the front.
//!
//! All of it is kept as the *discount* of a node: by how much what counts is less than what is held.
//! With `s(c)` for the share of a child and `m` for that of the one that is served, the children that
//! wait count `m * c / s(c)` each, and because `c / s(c)` does not depend on `m`, one sum over the
//! children is enough: a change of one child costs the same however many there are.

use std::borrow::Cow;

use meshos_protocol::resources::{Amount, ScalarQuantities};

use super::{Node, Tree, WAITING};
use crate::{Share, arena::Key, policy::Rank};

/// How a node counts at its parent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    /// The discounts of its children.
    below: ScalarQuantities,
    /// By how much it counts less than it holds.
    pub(super) discount: ScalarQuantities,
    /// What counts of it, over its share.
    per_share: ScalarQuantities,
    /// It waits, and so it is in the sums of its parent.
    summed: bool,
}

/// Sums over the children that wait, of a node that has or had several children.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    /// What counts of them.
    counts: ScalarQuantities,
    /// What counts of each, over its share.
    per_share: ScalarQuantities,
}

impl Node {
    /// What counts of it when it is ranked.
    pub(super) fn counts(&self) -> Cow<'_, ScalarQuantities> {
        match &self.counted {
            Some(counted) => without(&self.held, &counted.discount),
            None => Cow::Borrowed(&self.held),
        }
    }
}

/// What remains of what is held.
pub(super) fn without<'a>(
    held: &'a ScalarQuantities,
    discount: &ScalarQuantities,
) -> Cow<'a, ScalarQuantities> {
    if discount.is_empty() {
        Cow::Borrowed(held)
    } else {
        Cow::Owned(held.saturating_sub(discount))
    }
}

/// Each amount over a share. Cut, so that a thousand of them can be added up: only weights in the
/// millions come near that.
pub(crate) fn per_share(counts: &ScalarQuantities, share: Share) -> ScalarQuantities {
    const MOST: Amount = Amount::from_millis(1 << 53);
    counts.iter().map(|(name, amount)| (name.clone(), share.over(amount).min(MOST))).collect()
}

/// A share of each amount.
pub(crate) fn share_of(share: Share, sum: &ScalarQuantities) -> ScalarQuantities {
    sum.iter().map(|(name, amount)| (name.clone(), share.of(amount))).collect()
}

impl Tree {
    /// Whether levels must be rescaled: not while nobody stands beside the only role.
    fn must_rescale(&self) -> bool {
        self.roles.len() > 1 && self.policy.rescales()
    }

    /// Begins or ends to rescale after roles have come or gone, or the policy has changed.
    pub(super) fn refresh_rescaling(&mut self) {
        if self.rescaling != self.must_rescale() {
            self.rescaling = !self.rescaling;
            self.rank_all();
        }
    }

    /// Ranks everybody anew, if the total has changed since everybody was ranked.
    pub(crate) fn refresh(&mut self) {
        if self.stale && self.rescaling {
            self.stale = false;
            self.rank_all();
        }
    }

    /// Ranks everybody anew, from the leaves to the root.
    pub(super) fn rank_all(&mut self) {
        let mut keys: Vec<_> =
            self.nodes.iter().map(|(key, _)| (self.above(key).count(), key)).collect();
        keys.sort_unstable_by(|a, b| b.cmp(a));
        for &(_, key) in &keys {
            let several = self.rescaling && self.nodes[key].children > 1 && key != self.root;
            let node = &mut self.nodes[key];
            node.counted = self.rescaling.then(Box::default);
            node.sums = several.then(Box::default);
        }
        for (_, key) in keys {
            self.fade(key);
            let mut lists = std::mem::take(&mut self.nodes[key].lists);
            for list in &mut lists {
                list.make_contiguous()
                    .sort_by(|a, b| self.nodes[*a].service_order(&self.nodes[*b]));
            }
            self.nodes[key].lists = lists;
            self.recount(key);
            self.rank(key);
            self.join_sums(key);
        }
    }

    /// Ranks a node anew. It must be in no list with others, or be put in its place afterwards.
    pub(super) fn rank(&mut self, key: Key<Node>) {
        if self.rescaling {
            return self.rank_in_levels(key);
        }
        let node = &self.nodes[key];
        let rank = self.rank_holding(node, &node.held);
        let node = &mut self.nodes[key];
        (node.rank, node.rank_stale) = (rank, false);
    }

    fn rank_in_levels(&mut self, key: Key<Node>) {
        let node = &self.nodes[key];
        let rank = self.rank_of(node);
        let parent = node.parent.filter(|parent| self.nodes[*parent].sums.is_some());
        // What it counts over its share is not worked out for an only child. Should it get siblings
        // while it does not wait, that is made up for when it waits again.
        let only_child = parent.is_none() && node.parent != Some(self.root);
        if let Some(parent) = parent
            && node.counted.is_some()
        {
            let per_share = per_share(&node.counts(), rank.share);
            let counted = self.nodes[key].counted.get_or_insert_default();
            let before = std::mem::replace(&mut counted.per_share, per_share.clone());
            if counted.summed
                && let Some(sums) = &mut self.nodes[parent].sums
            {
                sums.per_share = sums.per_share.saturating_sub(&before);
                sums.per_share += &per_share;
            }
        }
        let node = &mut self.nodes[key];
        (node.rank, node.rank_stale) = (rank, only_child);
    }

    /// The rank of a node with such a discount.
    pub(super) fn rank_discounted(&self, node: &Node, discount: &ScalarQuantities) -> Rank {
        self.rank_holding(node, &without(&node.held, discount))
    }

    /// Takes a node out of the sums of its parent.
    pub(super) fn leave_sums(&mut self, key: Key<Node>) {
        let node = &self.nodes[key];
        let (Some(parent), Some(counted)) = (node.parent, &node.counted) else { return };
        if !counted.summed {
            return;
        }
        let (counts, per_share) = (node.counts().into_owned(), counted.per_share.clone());
        if let Some(sums) = &mut self.nodes[parent].sums {
            sums.counts = sums.counts.saturating_sub(&counts);
            sums.per_share = sums.per_share.saturating_sub(&per_share);
        }
        self.nodes[key].counted.get_or_insert_default().summed = false;
    }

    /// Adds a node to the sums of its parent, when it waits.
    pub(super) fn join_sums(&mut self, key: Key<Node>) {
        let node = &self.nodes[key];
        let (Some(parent), Some(counted)) = (node.parent, &node.counted) else { return };
        if counted.summed || node.counts[WAITING] == 0 || self.nodes[parent].sums.is_none() {
            return;
        }
        let (counts, per_share) = (node.counts().into_owned(), counted.per_share.clone());
        if let Some(sums) = &mut self.nodes[parent].sums {
            sums.counts += &counts;
            sums.per_share += &per_share;
        }
        self.nodes[key].counted.get_or_insert_default().summed = true;
    }

    /// A node has got a second child: from now on it matters which one is served.
    pub(super) fn begin_sums(&mut self, key: Key<Node>) {
        if !self.rescaling || key == self.root || self.nodes[key].sums.is_some() {
            return;
        }
        self.nodes[key].sums = Some(Box::default());
        if let Some(only) = self.nodes[key].lists[WAITING].front().copied() {
            self.rank(only);
            self.join_sums(only);
        }
    }

    /// Brings the discount of a node up to date. It must be in no sums.
    pub(super) fn recount(&mut self, key: Key<Node>) {
        let node = &self.nodes[key];
        let Some(counted) = &node.counted else { return };
        let discount = self.usual_discount(node, counted);
        if discount == counted.discount {
            return;
        }
        let parent = node.parent;
        let counted = self.nodes[key].counted.get_or_insert_default();
        let before = std::mem::replace(&mut counted.discount, discount.clone());
        if let Some(above) = parent.and_then(|parent| self.nodes[parent].counted.as_mut()) {
            above.below = above.below.saturating_sub(&before);
            above.below += &discount;
        }
    }

    /// By how much a node counts less than it holds when the first of those who wait is served.
    fn usual_discount(&self, node: &Node, counted: &Counted) -> ScalarQuantities {
        match node.lists[WAITING].front() {
            Some(first) => {
                let share = self.nodes[*first].rank.share;
                self.discount_serving(node, *first, share, None)
            }
            None => counted.below.clone(),
        }
    }

    /// By how much a node counts less than it holds when a child of the given share is served, which
    /// has another discount than usual if one is given.
    pub(super) fn discount_serving(
        &self,
        node: &Node,
        child: Key<Node>,
        share: Share,
        discount: Option<&ScalarQuantities>,
    ) -> ScalarQuantities {
        let Some(counted) = &node.counted else { return ScalarQuantities::new() };
        let served = &self.nodes[child];
        let mut below = counted.below.clone();
        if let (Some(discount), Some(usual)) = (discount, &served.counted) {
            below = below.saturating_sub(&usual.discount);
            below += discount;
        }
        let Some(sums) = node.sums.as_ref().filter(|_| node.lists[WAITING].len() > 1) else {
            return below;
        };
        let (first, last) = (node.lists[WAITING].front(), node.lists[WAITING].back());
        let band = |key: Option<&Key<Node>>| key.map(|key| self.nodes[*key].rank.band);
        if band(first) != band(last) {
            return self.discount_among_bands(node, child, share, below);
        }
        let mut scaled = (sums.counts.clone(), sums.per_share.clone());
        let mut in_full = |node: &Node| {
            scaled.0 = scaled.0.saturating_sub(&node.counts());
            if let Some(counted) = &node.counted {
                scaled.1 = scaled.1.saturating_sub(&counted.per_share);
            }
        };
        in_full(served);
        let waiting = node.lists[WAITING].iter().filter(|key| **key != child);
        let waiting = waiting.map(|key| &self.nodes[*key]);
        waiting.take_while(|node| node.rank.share < share).for_each(&mut in_full);
        below += &scaled.0.saturating_sub(&share_of(share, &scaled.1));
        below
    }

    /// The same where children have different bands, so that they do not stand in the order of their
    /// shares.
    fn discount_among_bands(
        &self,
        node: &Node,
        child: Key<Node>,
        share: Share,
        mut below: ScalarQuantities,
    ) -> ScalarQuantities {
        let others = node.lists[WAITING].iter().filter(|key| **key != child);
        let others = others.map(|key| &self.nodes[*key]);
        for other in others.filter(|other| other.rank.share >= share) {
            let counts = other.counts();
            let scaled = share_of(share, &per_share(&counts, other.rank.share));
            below += &counts.saturating_sub(&scaled);
        }
        below
    }

    /// What must hold of the sums of a node.
    ///
    /// # Panics
    ///
    /// When they are not what the children say.
    pub(super) fn check_sums(&self, node: &Node, children: &[&Node]) {
        assert_eq!(node.counted.is_some(), self.rescaling, "{node:?}");
        assert!(node.sums.is_some() || !self.rescaling || children.len() < 2, "{node:?}");
        let (mut below, mut sums) = (ScalarQuantities::new(), Sums::default());
        for (child, counted) in
            children.iter().filter_map(|child| Some((child, child.counted.as_ref()?)))
        {
            below += &counted.discount;
            let summed = node.sums.is_some() && child.counts[WAITING] > 0;
            assert_eq!(counted.summed, summed, "{child:?}");
            if summed {
                sums.counts += &child.counts();
                sums.per_share += &counted.per_share;
            }
            if summed && node.lists[WAITING].len() > 1 {
                let over_share = per_share(&child.counts(), child.rank.share);
                assert_eq!(counted.per_share, over_share, "{child:?}");
            }
        }
        if let Some(counted) = &node.counted {
            assert_eq!(counted.below, below, "{node:?}");
            assert_eq!(counted.discount, self.usual_discount(node, counted), "{node:?}");
        }
        if let Some(found) = &node.sums {
            assert_eq!(**found, sums, "{node:?}");
        }
    }
}
