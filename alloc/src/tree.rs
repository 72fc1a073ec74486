//! The tree of roles and frameworks, kept in the order of service.
//!
//! Every node keeps its children that have someone waiting below them in a list sorted by rank. What
//! one party is charged moves it and the roles above it, and nothing else: a binary search and a
//! short move each (whoever is served goes from the front towards the back, where a ring is cheap). So finding who is next costs nothing, and an offer costs the logarithm of the
//! number of siblings.

mod checks;
mod invariants;
mod ledger;
pub(crate) mod levels;
mod limits;
mod order;
mod parties;
mod past;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use meshos_protocol::{
    ids::FrameworkId,
    resources::{ResourceName, ScalarQuantities},
    role::Role,
    time::Mono,
};

pub(crate) use ledger::{Charge, counts};
use levels::{Counted, Sums};
pub(crate) use limits::Moves;
pub use past::PastUse;
use past::User;

use crate::{
    arena::{Arena, Dense, Key},
    decay::Past,
    membership::Membership,
    policy::{Account, Party, Policy, Rank},
    quota::Quota,
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

/// The lists of children that a node keeps.
const LISTS: [usize; 3] = [WAITING, FRESH, NEEDY];
const WAITING: usize = 0;
const FRESH: usize = 1;
/// The roles with somebody below them who waits and is guaranteed more than it has.
const NEEDY: usize = 2;

/// What a node stands for.
#[derive(Debug, Clone)]
enum Kind {
    Root,
    Direct,
    Role(Role),
    Framework(FrameworkId, Key<Membership>),
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    kind: Kind,
    parent: Option<Key<Node>>,
    children: usize,
    weight_millis: u64,
    priority: i32,
    held: ScalarQuantities,
    offered: ScalarQuantities,
    /// How much of `held` is reserved for some role.
    held_reserved: ScalarQuantities,
    grants: u64,
    /// The run in which it was last granted something, and how often.
    turns: (u64, u64),
    rank: Rank,
    /// The rank is not up to date: nobody stands beside it in any list.
    rank_stale: bool,
    /// The children with someone below them, in the order of service.
    lists: [VecDeque<Key<Node>>; 3],
    /// For each scope how many frameworks below this node (or this node itself) are in it.
    counts: [usize; 2],
    /// It is a role that consumes less than it is guaranteed.
    unmet: bool,
    /// It is in the list of the needy of its parent.
    needy: bool,
    quota: Option<Box<Quota>>,
    past: Option<Box<Past>>,
    /// How it counts at its parent, while levels are rescaled.
    counted: Option<Box<Counted>>,
    /// The sums over its children, while levels are rescaled and there are several.
    sums: Option<Box<Sums>>,
}

impl Node {
    fn new(kind: Kind, parent: Option<Key<Node>>, weight_millis: u64) -> Self {
        Self {
            kind,
            parent,
            children: 0,
            weight_millis,
            priority: 0,
            held: ScalarQuantities::new(),
            offered: ScalarQuantities::new(),
            held_reserved: ScalarQuantities::new(),
            grants: 0,
            turns: (0, 0),
            rank: Rank { band: 0, share: Share::ZERO },
            rank_stale: true,
            lists: [const { VecDeque::new() }; 3],
            counts: [0, 0],
            unmet: false,
            needy: false,
            quota: None,
            past: None,
            counted: None,
            sums: None,
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

    /// Whether it belongs into a list of its parent.
    fn is_listed(&self, list: usize) -> bool {
        if list == NEEDY { self.needy } else { self.counts[list] > 0 }
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
        self.counts[WAITING]
    }

    /// What it held in the past, fading, when the policy in force counts that.
    pub(crate) fn past(&self) -> Option<&ScalarQuantities> {
        self.past.as_deref().map(Past::amounts)
    }
}

/// The nodes of one role.
#[derive(Debug, Clone, Copy)]
struct RoleNodes {
    role: Key<Node>,
    /// The parent of the frameworks that are in this very role.
    direct: Option<Key<Node>>,
}

/// What operators have said of roles, whether anybody is in them or not.
#[derive(Debug, Clone, Default)]
struct Settings {
    weights: BTreeMap<Role, u64>,
    priorities: BTreeMap<Role, i32>,
    quotas: BTreeMap<Role, Quota>,
}

#[derive(Debug, Clone)]
pub(crate) struct Tree {
    nodes: Arena<Node>,
    /// Whom the nodes of frameworks stand for. The nodes say so too; but the search for who is next goes
    /// past many, and each node is far from the one before.
    takers: Dense<Node, Option<Key<Membership>>>,
    root: Key<Node>,
    roles: BTreeMap<Role, RoleNodes>,
    settings: Settings,
    total: ScalarQuantities,
    /// The resources that shares leave out, and the total of the others if any are left out.
    excluded: BTreeSet<ResourceName>,
    shared_out: Option<ScalarQuantities>,
    /// What of the total is reserved for a role or for those below it.
    reserved: BTreeMap<Role, ScalarQuantities>,
    /// How much of what those in a role or below it are offered only some of them can get, as others are
    /// offered the same.
    twice: BTreeMap<Role, ScalarQuantities>,
    policy: Box<dyn Policy>,
    half_life: Option<Duration>,
    /// What those used who are not in the tree at present.
    remembered: BTreeMap<User, Past>,
    /// The time, as far as it has been told.
    clock: Mono,
    /// Counts the runs.
    run: u64,
    /// The total or the policy has changed since the ranks were computed.
    stale: bool,
    /// A role counts at the level above it by what is served next below it: see [`levels`].
    rescaling: bool,
    /// What roles consume is not known yet, so those that have a limit get no more for now.
    limits_held: bool,
    /// Some role has a limit.
    limited: bool,
}

impl Tree {
    /// A tree without roles; shares leave the `excluded` resources out.
    pub(crate) fn new(policy: Box<dyn Policy>, excluded: BTreeSet<ResourceName>) -> Self {
        let mut nodes = Arena::default();
        let root = nodes.insert(Node::new(Kind::Root, None, WEIGHT_DEFAULT_MILLIS));
        Self {
            nodes,
            takers: Dense::default(),
            root,
            roles: BTreeMap::new(),
            settings: Settings::default(),
            total: ScalarQuantities::new(),
            excluded,
            shared_out: None,
            reserved: BTreeMap::new(),
            twice: BTreeMap::new(),
            half_life: policy.half_life(),
            policy,
            remembered: BTreeMap::new(),
            clock: Mono::default(),
            run: 0,
            stale: false,
            rescaling: false,
            limits_held: false,
            limited: false,
        }
    }

    pub(crate) fn policy(&self) -> &dyn Policy {
        &*self.policy
    }

    pub(crate) fn total(&self) -> &ScalarQuantities {
        &self.total
    }

    /// The time, as far as it has been told.
    pub(crate) fn clock(&self) -> Mono {
        self.clock
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

    /// The roles of which operators have said something.
    pub(crate) fn configured(&self) -> impl Iterator<Item = &Role> {
        let Settings { weights, priorities, quotas } = &self.settings;
        weights.keys().chain(priorities.keys()).chain(quotas.keys())
    }

    /// The roles for which something is reserved, and those above them.
    pub(crate) fn reserved_for(&self) -> impl Iterator<Item = &Role> {
        self.reserved.keys()
    }

    /// The weight of a role, in thousandths.
    pub(crate) fn weight_millis(&self, role: &Role) -> u64 {
        self.settings.weights.get(role).copied().unwrap_or(WEIGHT_DEFAULT_MILLIS)
    }

    /// The priority of a role.
    pub(crate) fn priority(&self, role: &Role) -> i32 {
        self.settings.priorities.get(role).copied().unwrap_or_default()
    }

    /// The quota of a role.
    pub(crate) fn quota(&self, role: &Role) -> Option<&Quota> {
        self.settings.quotas.get(role)
    }

    /// How many frameworks wait for offers, each counted once for every role.
    pub(crate) fn waiting(&self) -> usize {
        self.nodes[self.root].waiting()
    }

    /// The share as of now, also when the order has not been brought up to date yet.
    pub(crate) fn share(&self, node: &Node) -> Share {
        self.rank_of(node).share
    }

    /// Where it stands as of now among those beside it.
    pub(crate) fn rank_of(&self, node: &Node) -> Rank {
        self.rank_holding(node, &node.counts())
    }

    /// The rank of a node of which so much counts.
    fn rank_holding(&self, node: &Node, held: &ScalarQuantities) -> Rank {
        const NO_PAST: &ScalarQuantities = &ScalarQuantities::new();
        self.policy.rank(&Account {
            party: node.party(),
            weight_millis: node.weight_millis,
            priority: node.priority,
            turns: if node.turns.0 == self.run { node.turns.1 } else { 0 },
            held,
            past: node.past().unwrap_or(NO_PAST),
            total: self.shared_out.as_ref().unwrap_or(&self.total),
        })
    }
}
