//! What parties hold, and with it where they stand.

use meshos_protocol::{
    resources::{Resource, ResourceName, Resources, ScalarQuantities},
    role::Role,
    time::Mono,
};

use super::{FRESH, Kind, LISTS, NEEDY, Node, Tree, WAITING, WEIGHT_DEFAULT_MILLIS};
use crate::{arena::Key, decay::Past, policy::Policy};

/// A change of what a party holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charge {
    /// A grant: held and offered.
    Offer,
    /// A task that the allocator did not offer for.
    Adopt,
    /// What is offered in the place of something else that was.
    Convert,
    /// What was offered is allocated now.
    Accept,
    /// An offer comes back.
    ReturnOffer,
    /// A task ended.
    ReturnTask,
}

impl Tree {
    /// Another order of service from now on. Nothing that anybody holds changes.
    pub(crate) fn set_policy(&mut self, policy: Box<dyn Policy>) {
        self.half_life = policy.half_life();
        self.policy = policy;
        self.refresh_shared_out();
        self.stale = true;
        self.remembered.clear();
        let keys: Vec<_> = self.nodes.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.nodes[key].past = self.half_life.map(|_| Box::new(Past::new(self.clock)));
        }
        self.refresh_rescaling();
    }

    /// Time has gone on until `now`. It never goes back.
    pub(crate) fn advance(&mut self, now: Mono) {
        self.clock = self.clock.max(now);
    }

    pub(crate) fn set_weight(&mut self, role: &Role, weight_millis: u64) {
        let weight_millis = weight_millis.max(1);
        if weight_millis == WEIGHT_DEFAULT_MILLIS {
            self.settings.weights.remove(role);
        } else {
            self.settings.weights.insert(role.clone(), weight_millis);
        }
        if let Some(nodes) = self.roles.get(role) {
            self.change_role(nodes.role, |node| node.weight_millis = weight_millis);
        }
    }

    pub(crate) fn set_priority(&mut self, role: &Role, priority: i32) {
        if priority == 0 {
            self.settings.priorities.remove(role);
        } else {
            self.settings.priorities.insert(role.clone(), priority);
        }
        if let Some(nodes) = self.roles.get(role) {
            self.change_role(nodes.role, |node| node.priority = priority);
        }
    }

    /// More or less is in the cluster.
    pub(crate) fn change_total(&mut self, added: &Resources, removed: &Resources) {
        let before = self.total.clone();
        add(&mut self.total, added);
        subtract(&mut self.total, removed);
        self.change_reserved(added, removed);
        // What is reserved or made a volume is there as it was.
        if self.total != before {
            self.refresh_shared_out();
            self.stale = true;
        }
    }

    /// Works out what shares are shares of.
    fn refresh_shared_out(&mut self) {
        if self.excluded.is_empty() {
            return;
        }
        let one = self.policy.shares_one();
        let counts = |name: &ResourceName| !self.excluded.contains(name) || one == Some(name);
        let counted = self.total.iter().filter(|(name, _)| counts(name));
        self.shared_out = Some(counted.map(|(name, amount)| (name.clone(), amount)).collect());
    }

    /// What a framework holds changes, and with it what all roles above it hold.
    pub(crate) fn charge(&mut self, framework: Key<Node>, resources: &Resources, charge: Charge) {
        if resources.is_empty() {
            return;
        }
        let run = self.run;
        let reserved = resources.iter().any(|resource| !resource.metadata().is_unreserved());
        self.update_path(framework, |node| {
            match charge {
                Charge::Offer => {
                    add(&mut node.held, resources);
                    add(&mut node.offered, resources);
                    node.grants += 1;
                    node.turns = (run, if node.turns.0 == run { node.turns.1 + 1 } else { 1 });
                }
                Charge::Convert => {
                    add(&mut node.held, resources);
                    add(&mut node.offered, resources);
                }
                Charge::Adopt => add(&mut node.held, resources),
                Charge::Accept => subtract(&mut node.offered, resources),
                Charge::ReturnOffer => {
                    subtract(&mut node.held, resources);
                    subtract(&mut node.offered, resources);
                }
                Charge::ReturnTask => subtract(&mut node.held, resources),
            }
            if reserved {
                charge_reserved(&mut node.held_reserved, resources, charge);
            }
        });
    }

    /// Brings the order up to date: the policy is told of the run, and everybody is ranked anew
    /// when it or a change of the total asks for that.
    pub(crate) fn begin_run(&mut self, now: Mono, draw: u64) {
        self.advance(now);
        self.run += 1;
        if !(self.policy.begin_run(now, draw) | self.stale) {
            return;
        }
        self.stale = false;
        self.rank_all();
        self.fade_remembered();
    }

    /// Changes a role, and brings those above it up to date.
    fn change_role(&mut self, key: Key<Node>, change: impl FnOnce(&mut Node)) {
        self.update(key, change);
        if self.rescaling
            && let Some(parent) = self.nodes[key].parent
        {
            self.update_path(parent, |_| {});
        }
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
    pub(super) fn update(&mut self, key: Key<Node>, change: impl FnOnce(&mut Node)) {
        let Some(parent) = self.nodes[key].parent else { return };
        if self.half_life.is_some() {
            self.fade(key);
        }
        if self.rescaling {
            self.leave_sums(key);
        }
        let alone = LISTS.into_iter().all(|list| {
            !self.nodes[key].is_listed(list) || self.nodes[parent].lists[list].len() == 1
        });
        if alone {
            // Nobody stands beside it, so where it stands is looked up when somebody does.
            let node = &mut self.nodes[key];
            change(node);
            node.rank_stale = true;
            if self.rescaling {
                self.recount(key);
            }
        } else {
            let listed = [WAITING, FRESH, NEEDY].map(|list| self.nodes[key].is_listed(list));
            for list in LISTS.into_iter().filter(|list| listed[*list]) {
                self.unlink(list, parent, key);
            }
            change(&mut self.nodes[key]);
            if self.rescaling {
                self.recount(key);
            }
            self.rank(key);
            for list in LISTS.into_iter().filter(|list| listed[*list]) {
                self.link(list, parent, key);
            }
        }
        if self.rescaling {
            self.join_sums(key);
        }
        if self.nodes[key].quota.is_some() {
            self.refresh_unmet(key);
        }
    }

    /// The name of a role's node.
    pub(super) fn role_of(&self, key: Key<Node>) -> Option<&Role> {
        match &self.nodes[key].kind {
            Kind::Role(role) => Some(role),
            Kind::Root | Kind::Direct | Kind::Framework(..) => None,
        }
    }
}

/// Whether shares and quota count a resource: what may be taken back at any time has a ledger of
/// its own (that of the agents), and what several use at once is nobody's.
pub(crate) fn counts(resource: &Resource) -> bool {
    !resource.metadata().revocable && !resource.metadata().shared
}

pub(super) fn add(sum: &mut ScalarQuantities, resources: &Resources) {
    for resource in resources.iter().filter(|resource| counts(resource)) {
        if let Some(amount) = resource.amount() {
            sum.add(resource.name(), amount);
        }
    }
}

pub(super) fn subtract(sum: &mut ScalarQuantities, resources: &Resources) {
    for resource in resources.iter().filter(|resource| counts(resource)) {
        if let Some(amount) = resource.amount() {
            sum.subtract(resource.name(), amount);
        }
    }
}

fn charge_reserved(sum: &mut ScalarQuantities, resources: &Resources, charge: Charge) {
    let resources = resources.reserved();
    match charge {
        Charge::Offer | Charge::Convert | Charge::Adopt => add(sum, &resources),
        Charge::Accept => {}
        Charge::ReturnOffer | Charge::ReturnTask => subtract(sum, &resources),
    }
}
