//! What holds of the tree between any two calls.

use std::collections::BTreeMap;

use meshos_protocol::resources::ScalarQuantities;

use super::{Kind, LISTS, NEEDY, Node, Tree, WAITING};
use crate::arena::Key;

impl Tree {
    /// # Panics
    ///
    /// When the lists are not what the nodes say.
    pub(crate) fn check_invariants(&self) {
        let mut children = BTreeMap::<Key<Node>, Vec<&Node>>::new();
        for (key, node) in self.nodes.iter() {
            if let Some(parent) = node.parent {
                children.entry(parent).or_default().push(node);
            }
            let taker = match node.kind {
                Kind::Framework(_, taker) => Some(taker),
                Kind::Root | Kind::Direct | Kind::Role(_) => None,
            };
            assert_eq!(self.takers.get(key), taker, "{node:?}");
            assert_eq!(node.unmet, self.is_unmet(key), "{node:?}");
            let needy = matches!(node.kind, Kind::Role(_))
                && node.counts[WAITING] > 0
                && (node.unmet || !node.lists[NEEDY].is_empty());
            assert_eq!(node.needy, needy, "{node:?}");
        }
        for (key, node) in self.nodes.iter() {
            let children = children.get(&key).map_or(&[][..], Vec::as_slice);
            if key != self.root {
                self.check_sums(node, children);
            }
            assert_eq!(node.children, children.len(), "{node:?}");
            if !children.is_empty() {
                self.check_node(node, children);
            }
        }
    }

    fn check_node(&self, node: &Node, children: &[&Node]) {
        for list in LISTS {
            let listed = &node.lists[list];
            let waiting = children.iter().filter(|child| child.is_listed(list)).count();
            assert_eq!(listed.len(), waiting, "{node:?}");
            if let Some(count) = node.counts.get(list) {
                let below: usize = children.iter().map(|child| child.counts[list]).sum();
                assert_eq!(*count, below, "{node:?}");
            }
            if listed.len() > 1 {
                let in_order = |a: &Key<Node>, b: &Key<Node>| {
                    self.nodes[*a].service_order(&self.nodes[*b]).is_lt()
                };
                let listed: Vec<_> = listed.iter().copied().collect();
                assert!(listed.is_sorted_by(in_order), "{node:?}");
                assert!(listed.iter().all(|key| !self.nodes[*key].rank_stale), "{node:?}");
            }
        }
        let sum = |of: fn(&Node) -> &ScalarQuantities| {
            let mut sum = ScalarQuantities::new();
            children.iter().for_each(|child| sum += of(child));
            sum
        };
        if node.parent.is_some() {
            assert_eq!(sum(|node| &node.held), node.held, "{node:?}");
            assert_eq!(sum(|node| &node.offered), node.offered, "{node:?}");
            assert_eq!(sum(|node| &node.held_reserved), node.held_reserved, "{node:?}");
        }
    }
}
