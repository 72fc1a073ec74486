//! The tree of roles and frameworks, kept in the order of service.
//!
//! Every node keeps its children that have someone waiting below them in a list sorted by rank. What
//! one party is charged moves it and the roles above it, and nothing else: a binary search and a
//! short move each. So finding who is next costs nothing, and an offer costs the logarithm of the
//! number of siblings.

use std::{cmp::Ordering, collections::BTreeMap};

use meshos_protocol::{
    ids::FrameworkId,
    resources::{Resources, ScalarQuantities},
    role::Role,
    time::Mono,
};

use crate::{
    arena::{Arena, Key},
    membership::Membership,
    policy::{Account, Party, Policy, Rank},
    share::Share,
};

/// The weight of who has none of his own.
pub(crate) const WEIGHT_DEFAULT_MILLIS: u64 = 1000;

/// Which of the waiting parties are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    Waiting,
    /// Those that want what they did not want in the last run.
    Fresh,
}

const SCOPES: [Scope; 2] = [Scope::Waiting, Scope::Fresh];

/// What a node stands for.
#[derive(Debug)]
enum Kind {
    Root,
    Direct,
    Role(Role),
    Framework(FrameworkId, Key<Membership>),
}

#[derive(Debug)]
pub(crate) struct Node {
    kind: Kind,
    parent: Option<Key<Node>>,
    children: usize,
    weight_millis: u64,
    held: ScalarQuantities,
    offered: ScalarQuantities,
    grants: u64,
    rank: Rank,
    /// For each scope the children with someone below them, in the order of service.
    lists: [Vec<Key<Node>>; 2],
    /// For each scope how many frameworks below this node (or this node itself) are in it.
    counts: [usize; 2],
}

impl Node {
    fn new(kind: Kind, parent: Option<Key<Node>>, weight_millis: u64) -> Self {
        Self {
            kind,
            parent,
            children: 0,
            weight_millis,
            held: ScalarQuantities::new(),
            offered: ScalarQuantities::new(),
            grants: 0,
            rank: Rank { band: 0, share: Share::ZERO },
            lists: [Vec::new(), Vec::new()],
            counts: [0, 0],
        }
    }

    fn party(&self) -> Party<'_> {
        match &self.kind {
            Kind::Root | Kind::Direct => Party::Direct,
            Kind::Role(role) => Party::Role(role),
            Kind::Framework(framework, _) => Party::Framework(*framework),
        }
    }

    fn service_order(&self, other: &Self) -> Ordering {
        self.rank
            .cmp(&other.rank)
            .then_with(|| self.grants.cmp(&other.grants))
            .then_with(|| self.party().cmp(&other.party()))
    }

    pub(crate) fn weight_millis(&self) -> u64 {
        self.weight_millis
    }

    /// Offered and allocated.
    pub(crate) fn held(&self) -> &ScalarQuantities {
        &self.held
    }

    pub(crate) fn offered(&self) -> &ScalarQuantities {
        &self.offered
    }

    pub(crate) fn grants(&self) -> u64 {
        self.grants
    }

    pub(crate) fn waiting(&self) -> usize {
        self.counts[0]
    }
}

/// A change of what a party holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charge {
    /// A grant: held and offered.
    Offer,
    /// A task that the allocator did not offer for.
    Adopt,
    /// What was offered is allocated now.
    Accept,
    /// An offer comes back.
    ReturnOffer,
    /// A task ended.
    ReturnTask,
}

/// The nodes of one role.
#[derive(Debug, Clone, Copy)]
struct RoleNodes {
    role: Key<Node>,
    /// The parent of the frameworks that are in this very role.
    direct: Option<Key<Node>>,
}

#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Arena<Node>,
    root: Key<Node>,
    roles: BTreeMap<Role, RoleNodes>,
    weights: BTreeMap<Role, u64>,
    total: ScalarQuantities,
    policy: Box<dyn Policy>,
    /// The total has changed since the ranks were computed.
    stale: bool,
}

impl Tree {
    pub(crate) fn new(policy: Box<dyn Policy>) -> Self {
        let mut nodes = Arena::default();
        let root = nodes.insert(Node::new(Kind::Root, None, WEIGHT_DEFAULT_MILLIS));
        Self {
            nodes,
            root,
            roles: BTreeMap::new(),
            weights: BTreeMap::new(),
            total: ScalarQuantities::new(),
            policy,
            stale: false,
        }
    }

    pub(crate) fn policy(&self) -> &dyn Policy {
        &*self.policy
    }

    pub(crate) fn total(&self) -> &ScalarQuantities {
        &self.total
    }

    pub(crate) fn node(&self, key: Key<Node>) -> &Node {
        &self.nodes[key]
    }

    /// The roles that anyone belongs to or holds something in, and those above them.
    pub(crate) fn roles(&self) -> impl Iterator<Item = (&Role, &Node)> {
        self.roles.iter().map(|(role, nodes)| (role, &self.nodes[nodes.role]))
    }

    pub(crate) fn role(&self, role: &Role) -> Option<&Node> {
        self.roles.get(role).map(|nodes| &self.nodes[nodes.role])
    }

    pub(crate) fn weights(&self) -> &BTreeMap<Role, u64> {
        &self.weights
    }

    /// How many frameworks wait for offers, each counted once for every role.
    pub(crate) fn waiting(&self) -> usize {
        self.nodes[self.root].waiting()
    }

    /// The share as of now, also when the order has not been brought up to date yet.
    pub(crate) fn share(&self, node: &Node) -> Share {
        self.rank_of(node).share
    }

    /// Adds a framework to a role, in no scope.
    pub(crate) fn insert(
        &mut self,
        role: &Role,
        framework: FrameworkId,
        membership: Key<Membership>,
    ) -> Key<Node> {
        let direct = self.direct_node(role);
        self.add_child(Kind::Framework(framework, membership), direct, WEIGHT_DEFAULT_MILLIS)
    }

    /// Takes a framework out of its role, and the roles that nobody is in any more with it. It must
    /// be in no scope and hold nothing.
    pub(crate) fn remove(&mut self, framework: Key<Node>) {
        let mut next = Some(framework);
        while let Some(key) = next {
            let node = &self.nodes[key];
            if node.children > 0 || key == self.root {
                return;
            }
            debug_assert_eq!(node.counts, [0, 0], "a node that waits was removed");
            next = node.parent;
            match self.nodes.remove(key).map(|node| node.kind) {
                Some(Kind::Role(role)) => drop(self.roles.remove(&role)),
                Some(Kind::Direct) => self.forget_direct(next),
                Some(Kind::Root | Kind::Framework(..)) | None => {}
            }
            if let Some(parent) = next {
                self.nodes[parent].children -= 1;
            }
        }
    }

    pub(crate) fn set_weight(&mut self, role: &Role, weight_millis: u64) {
        let weight_millis = weight_millis.max(1);
        self.weights.insert(role.clone(), weight_millis);
        if let Some(nodes) = self.roles.get(role) {
            self.update(nodes.role, |node| node.weight_millis = weight_millis);
        }
    }

    /// More or less is in the cluster.
    pub(crate) fn change_total(&mut self, added: &Resources, removed: &Resources) {
        add(&mut self.total, added);
        subtract(&mut self.total, removed);
        self.stale = true;
    }

    /// What a framework holds changes, and with it what all roles above it hold.
    pub(crate) fn charge(&mut self, framework: Key<Node>, resources: &Resources, charge: Charge) {
        self.update_path(framework, |node| match charge {
            Charge::Offer => {
                add(&mut node.held, resources);
                add(&mut node.offered, resources);
                node.grants += 1;
            }
            Charge::Adopt => add(&mut node.held, resources),
            Charge::Accept => subtract(&mut node.offered, resources),
            Charge::ReturnOffer => {
                subtract(&mut node.held, resources);
                subtract(&mut node.offered, resources);
            }
            Charge::ReturnTask => subtract(&mut node.held, resources),
        });
    }

    /// Brings the order up to date: the policy is told of the run, and everybody is ranked anew
    /// when it or a change of the total asks for that.
    pub(crate) fn begin_run(&mut self, now: Mono, draw: u64) {
        if !(self.policy.begin_run(now, draw) | self.stale) {
            return;
        }
        self.stale = false;
        let keys: Vec<_> = self.nodes.iter().map(|(key, _)| key).collect();
        for &key in &keys {
            self.nodes[key].rank = self.rank_of(&self.nodes[key]);
        }
        for key in keys {
            let mut lists = std::mem::take(&mut self.nodes[key].lists);
            for list in &mut lists {
                list.sort_by(|a, b| self.nodes[*a].service_order(&self.nodes[*b]));
            }
            self.nodes[key].lists = lists;
        }
    }

    /// Puts a framework into a scope or takes it out.
    pub(crate) fn set_in(&mut self, scope: Scope, framework: Key<Node>, member: bool) {
        let list = list_of(scope);
        if (self.nodes[framework].counts[list] > 0) == member {
            return;
        }
        let mut next = Some(framework);
        while let Some(key) = next {
            let count = &mut self.nodes[key].counts[list];
            let before = *count;
            *count = if member { before + 1 } else { before - 1 };
            let after = *count;
            next = self.nodes[key].parent;
            if let Some(parent) = next {
                match (before, after) {
                    (0, _) => self.link(list, parent, key),
                    (_, 0) => self.unlink(list, parent, key),
                    _ => {}
                }
            }
        }
    }

    /// Whether a framework is in a scope.
    pub(crate) fn is_in(&self, scope: Scope, node: Key<Node>) -> bool {
        self.nodes[node].counts[list_of(scope)] > 0
    }

    /// The first in the order of service for whom `wanted` holds.
    pub(crate) fn first(
        &self,
        scope: Scope,
        mut wanted: impl FnMut(Key<Membership>) -> bool,
    ) -> Option<Key<Membership>> {
        self.first_below(self.root, list_of(scope), &mut wanted)
    }

    fn first_below(
        &self,
        key: Key<Node>,
        list: usize,
        wanted: &mut impl FnMut(Key<Membership>) -> bool,
    ) -> Option<Key<Membership>> {
        let node = &self.nodes[key];
        if let Kind::Framework(_, membership) = node.kind {
            return wanted(membership).then_some(membership);
        }
        // As deep as roles are nested, which their length bounds.
        node.lists[list].iter().find_map(|child| self.first_below(*child, list, wanted))
    }

    /// # Panics
    ///
    /// When the lists are not what the nodes say.
    pub(crate) fn check_invariants(&self) {
        let mut children = BTreeMap::<Key<Node>, Vec<&Node>>::new();
        for (_, node) in self.nodes.iter() {
            if let Some(parent) = node.parent {
                children.entry(parent).or_default().push(node);
            }
        }
        for (key, node) in self.nodes.iter() {
            let children = children.get(&key).map_or(&[][..], Vec::as_slice);
            assert_eq!(node.children, children.len(), "{node:?}");
            if !children.is_empty() {
                self.check_node(node, children);
            }
        }
    }

    fn check_node(&self, node: &Node, children: &[&Node]) {
        for list in [0, 1] {
            let listed = &node.lists[list];
            let waiting = children.iter().filter(|child| child.counts[list] > 0).count();
            let below: usize = children.iter().map(|child| child.counts[list]).sum();
            assert_eq!((listed.len(), node.counts[list]), (waiting, below), "{node:?}");
            let in_order = |a: &Key<Node>, b: &Key<Node>| {
                self.nodes[*a].service_order(&self.nodes[*b]).is_lt()
            };
            assert!(listed.is_sorted_by(in_order), "{node:?}");
        }
        let mut held = ScalarQuantities::new();
        for child in children {
            held += &child.held;
        }
        assert!(node.parent.is_none() || held == node.held, "{node:?}");
    }

    /// The node of a role, made with those above it when there is none.
    fn role_node(&mut self, role: &Role) -> Key<Node> {
        if let Some(nodes) = self.roles.get(role) {
            return nodes.role;
        }
        let parent = role.parent().map_or(self.root, |parent| self.role_node(&parent));
        let weight_millis = self.weights.get(role).copied().unwrap_or(WEIGHT_DEFAULT_MILLIS);
        let key = self.add_child(Kind::Role(role.clone()), parent, weight_millis);
        self.roles.insert(role.clone(), RoleNodes { role: key, direct: None });
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
        let mut node = Node::new(kind, Some(parent), weight_millis);
        node.rank = self.rank_of(&node);
        self.nodes[parent].children += 1;
        self.nodes.insert(node)
    }

    fn rank_of(&self, node: &Node) -> Rank {
        self.policy.rank(&Account {
            party: node.party(),
            weight_millis: node.weight_millis,
            held: &node.held,
            total: &self.total,
        })
    }

    /// Changes a node and all above it but the root.
    fn update_path(&mut self, key: Key<Node>, mut change: impl FnMut(&mut Node)) {
        let mut next = Some(key);
        while let Some(key) = next.filter(|key| *key != self.root) {
            self.update(key, &mut change);
            next = self.nodes[key].parent;
        }
    }

    /// Changes what a node's place in the order depends on, and moves it there.
    fn update(&mut self, key: Key<Node>, change: impl FnOnce(&mut Node)) {
        let Some(parent) = self.nodes[key].parent else { return };
        let member = SCOPES.map(|scope| self.is_in(scope, key));
        for list in [0, 1] {
            if member[list] {
                self.unlink(list, parent, key);
            }
        }
        change(&mut self.nodes[key]);
        self.nodes[key].rank = self.rank_of(&self.nodes[key]);
        for list in [0, 1] {
            if member[list] {
                self.link(list, parent, key);
            }
        }
    }

    fn place(&self, list: usize, parent: Key<Node>, key: Key<Node>) -> Result<usize, usize> {
        let node = &self.nodes[key];
        self.nodes[parent].lists[list]
            .binary_search_by(|sibling| self.nodes[*sibling].service_order(node))
    }

    fn link(&mut self, list: usize, parent: Key<Node>, key: Key<Node>) {
        match self.place(list, parent, key) {
            Ok(_) => debug_assert!(false, "{key:?} is in the list already"),
            Err(place) => self.nodes[parent].lists[list].insert(place, key),
        }
    }

    fn unlink(&mut self, list: usize, parent: Key<Node>, key: Key<Node>) {
        match self.place(list, parent, key) {
            Ok(place) => drop(self.nodes[parent].lists[list].remove(place)),
            Err(_) => debug_assert!(false, "{key:?} is not in the list"),
        }
    }
}

fn list_of(scope: Scope) -> usize {
    match scope {
        Scope::Waiting => 0,
        Scope::Fresh => 1,
    }
}

fn add(sum: &mut ScalarQuantities, resources: &Resources) {
    for resource in resources {
        if let Some(amount) = resource.amount() {
            sum.add(resource.name(), amount);
        }
    }
}

fn subtract(sum: &mut ScalarQuantities, resources: &Resources) {
    for resource in resources {
        if let Some(amount) = resource.amount() {
            sum.subtract(resource.name(), amount);
        }
    }
}
