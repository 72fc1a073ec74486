//! Roles and frameworks come and go.

use meshos_protocol::{ids::FrameworkId, role::Role};

use super::{Kind, Node, RoleNodes, Tree, WEIGHT_DEFAULT_MILLIS};
use crate::{arena::Key, membership::Membership};

impl Tree {
    /// Adds a framework to a role, in no scope.
    pub(crate) fn insert(
        &mut self,
        role: &Role,
        framework: FrameworkId,
        membership: Key<Membership>,
    ) -> Key<Node> {
        let direct = self.direct_node(role);
        let key =
            self.add_child(Kind::Framework(framework, membership), direct, WEIGHT_DEFAULT_MILLIS);
        *self.takers.entry(key) = Some(membership);
        self.refresh_rescaling();
        key
    }

    /// Takes a framework out of its role, and the roles that nobody is in any more with it. It must
    /// be in no scope and hold nothing.
    pub(crate) fn remove(&mut self, framework: Key<Node>) {
        self.remove_upwards(framework);
        self.takers.reset(framework);
        self.refresh_rescaling();
    }

    fn remove_upwards(&mut self, framework: Key<Node>) {
        let mut next = Some(framework);
        while let Some(key) = next {
            let node = &self.nodes[key];
            if node.children > 0 || key == self.root {
                return;
            }
            debug_assert_eq!(node.counts, [0, 0], "a node that waits was removed");
            next = node.parent;
            let Some(mut node) = self.nodes.remove(key) else { return };
            self.remember(&mut node);
            match node.kind {
                Kind::Role(role) => {
                    self.roles.remove(&role);
                }
                Kind::Direct => self.forget_direct(next),
                Kind::Root | Kind::Framework(..) => {}
            }
            if let Some(parent) = next {
                self.nodes[parent].children -= 1;
            }
        }
    }

    /// The node of a role, made with those above it when there is none.
    fn role_node(&mut self, role: &Role) -> Key<Node> {
        if let Some(nodes) = self.roles.get(role) {
            return nodes.role;
        }
        let parent = role.parent().map_or(self.root, |parent| self.role_node(&parent));
        let weight_millis = self.weight_millis(role);
        let key = self.add_child(Kind::Role(role.clone()), parent, weight_millis);
        self.roles.insert(role.clone(), RoleNodes { role: key, direct: None });
        let priority = self.priority(role);
        let quota = self.quota(role).cloned().map(Box::new);
        let node = &mut self.nodes[key];
        (node.priority, node.quota) = (priority, quota);
        self.refresh_unmet(key);
        key
    }

    /// The parent of the frameworks of a role, made when there is none.
    fn direct_node(&mut self, role: &Role) -> Key<Node> {
        let parent = self.role_node(role);
        if let Some(direct) = self.roles.get(role).and_then(|nodes| nodes.direct) {
            return direct;
        }
        let key = self.add_child(Kind::Direct, parent, WEIGHT_DEFAULT_MILLIS);
        if let Some(nodes) = self.roles.get_mut(role) {
            nodes.direct = Some(key);
        }
        key
    }

    fn forget_direct(&mut self, role: Option<Key<Node>>) {
        let kind = role.map(|key| &self.nodes[key].kind);
        if let Some(Kind::Role(role)) = kind
            && let Some(nodes) = self.roles.get_mut(role)
        {
            nodes.direct = None;
        }
    }

    fn add_child(&mut self, kind: Kind, parent: Key<Node>, weight_millis: u64) -> Key<Node> {
        let past = self.past_of_new(&kind, parent);
        let mut node = Node::new(kind, Some(parent), weight_millis);
        node.past = past;
        node.counted = self.rescaling.then(Box::default);
        self.nodes[parent].children += 1;
        if self.nodes[parent].children > 1 {
            self.begin_sums(parent);
        }
        self.nodes.insert(node)
    }
}
