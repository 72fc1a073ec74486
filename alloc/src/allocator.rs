//! The allocator: who gets to see which agent, and who holds what.

mod agents;
mod conversions;
mod explanations;
mod frameworks;
mod gangs;
mod invariants;
mod offers;
mod reclaim;
mod roles;
mod run;
mod views;
mod wishes;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::Resources,
    role::Role,
    time::Mono,
};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

pub use conversions::ConversionError;
pub use reclaim::{Rescind, RescindCause};
pub use views::{AgentState, RoleState};
pub use wishes::validate_wishes;

use reclaim::{Offered, Wanted};

use crate::{
    agent::Agent,
    arena::{Arena, Key, KeySet},
    explain::{SkipCounts, SkipRule},
    membership::{Framework, Membership, Stamp},
    min_allocatable::MinAllocatable,
    options::{OfferMode, Options},
    quota::Headroom,
    split::PartMin,
    tree::{Scope, Tree},
};

/// Resources of one agent, to be offered to one framework in one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub framework: FrameworkId,
    /// The role that holds them.
    pub role: Role,
    /// Whose they are.
    pub agent: AgentId,
    /// What of it.
    pub resources: Resources,
    /// When it is a part of what is wanted at once or not at all: the number that all parts have.
    /// They are taken back together, see [`Allocator::gang_taken_back`].
    pub gang: Option<u64>,
}

/// The allocator.
///
/// It keeps the ledger (per agent: offered, allocated, free) and decides who is offered what is
/// free. Nothing happens by itself: changes are recorded as they come, and [`Allocator::allocate`]
/// looks at what has changed since it was called last.
///
/// Whatever refers to an agent, framework or holding that does not exist changes nothing, and no
/// more can come back than was given out. So late and repeated calls cannot break the ledger.
#[derive(Debug, Clone)]
pub struct Allocator {
    options: Settings,
    min_allocatable: MinAllocatable,
    rng: ChaCha8Rng,
    tree: Tree,
    agents: Arena<Agent>,
    agent_keys: BTreeMap<AgentId, Key<Agent>>,
    memberships: Arena<Membership>,
    frameworks: BTreeMap<FrameworkId, Framework>,
    /// The agents that have something to offer to somebody.
    open: KeySet<Agent>,
    /// Those of them that have enough for at least two. A remnant serves nobody who waits for a node.
    ample: KeySet<Agent>,
    /// The agents that may have something for those who did not get it in the last run.
    dirty: KeySet<Agent>,
    /// The memberships that wait for offers.
    waiting: KeySet<Membership>,
    /// One of them did not when this was asked for last.
    began_to_wait: bool,
    /// Those with wishes of any kind.
    wishing: KeySet<Membership>,
    /// The memberships that may want what they did not want in the last run.
    fresh: BTreeSet<Key<Membership>>,
    /// The agents by the time at which their filters must be looked at.
    expiries: BTreeSet<(Mono, Key<Agent>)>,
    stamps: u64,
    /// The region that the leader stands in.
    region: Option<String>,
    /// Those who want several things together, by the time at which they give up.
    gangs: BTreeSet<(Mono, Key<Membership>)>,
    failed_gangs: Vec<(FrameworkId, Role)>,
    /// How many have been offered.
    gangs_offered: u64,
    /// Those who were not offered something because a role of theirs was at its limit, and how much
    /// more they might have had then.
    limited: BTreeMap<Key<Membership>, Headroom>,
    /// Some of them might have more now.
    limits_moved: bool,
    /// A role has met more than its limit in another way than by an offer.
    limit_exceeded: bool,
    /// Offers might be wanted back for the needy that were not when this was last looked at.
    reclaim_due: bool,
    /// The offers that are wanted back, and those that nobody was told of yet.
    wanted_back: BTreeSet<Offered>,
    rescinds_untold: BTreeMap<Offered, Wanted>,
    /// How often each rule has ended a look, and for whom.
    skips: SkipCounts,
}

/// What an allocator was told at its start, without the policy.
#[derive(Debug, Clone, Copy)]
struct Settings {
    filter_max: Duration,
    offers: OfferMode,
    split: Option<PartMin>,
    few_left_from: usize,
}

impl Allocator {
    /// An allocator without agents and frameworks. All it decides follows from the calls and `seed`.
    pub fn new(options: Options, seed: u64) -> Self {
        Self {
            options: Settings {
                filter_max: options.filter_max,
                offers: options.offers,
                split: options.split.filter(|_| options.offers == OfferMode::Exclusive),
                few_left_from: options.few_left_from,
            },
            min_allocatable: options.min_allocatable,
            rng: ChaCha8Rng::seed_from_u64(seed),
            tree: Tree::new(options.policy, options.shares_exclude),
            agents: Arena::default(),
            agent_keys: BTreeMap::new(),
            memberships: Arena::default(),
            frameworks: BTreeMap::new(),
            open: KeySet::default(),
            ample: KeySet::default(),
            dirty: KeySet::default(),
            waiting: KeySet::default(),
            began_to_wait: false,
            wishing: KeySet::default(),
            fresh: BTreeSet::new(),
            expiries: BTreeSet::new(),
            stamps: 0,
            region: None,
            gangs: BTreeSet::new(),
            failed_gangs: Vec::new(),
            gangs_offered: 0,
            limited: BTreeMap::new(),
            limits_moved: false,
            limit_exceeded: false,
            reclaim_due: false,
            wanted_back: BTreeSet::new(),
            rescinds_untold: BTreeMap::new(),
            skips: SkipCounts::default(),
        }
    }

    /// When a refusal that is made now for so long ends; nothing when it does not last at all.
    pub fn refuse_until(&self, now: Mono, refuse: Duration) -> Option<Mono> {
        (!refuse.is_zero()).then(|| now.after(refuse.min(self.options.filter_max)))
    }

    /// Whether a run may find something to offer, or to want back for the needy. Filters that run
    /// out are announced by [`Allocator::next_deadline`] instead.
    pub fn needs_run(&self) -> bool {
        !self.dirty.is_empty()
            || !self.fresh.is_empty()
            || self.limits_moved
            || (self.reclaim_due && self.tree.somebody_needy())
    }

    /// How often each rule has ended a look at an agent for a framework, in all runs so far. An agent
    /// that nobody is offered is not looked at, nor are frameworks after the one that is offered it.
    pub fn skips(&self) -> BTreeMap<SkipRule, u64> {
        self.skips.all()
    }

    /// Makes the next run look at everything, as if all agents had changed. It offers the same as
    /// without; that is a law which [`crate::conformance`] asserts.
    pub fn look_at_everything(&mut self) {
        for key in self.agent_keys.values().copied().collect::<Vec<_>>() {
            self.agent_changed(key, true);
        }
    }

    /// When the earliest filter runs out or somebody gives up: a run is due then.
    pub fn next_deadline(&self) -> Option<Mono> {
        let filters = self.expiries.first().map(|(at, _)| *at);
        let gangs = self.gangs.first().map(|(at, _)| *at);
        filters.into_iter().chain(gangs).min()
    }

    /// Brings what is kept about an agent up to date after a change of it. `more`: it may have
    /// something for those who did not get it before, be it by taking it back from others. Less
    /// can be more: who refused two processors has not refused one with memory.
    fn agent_changed(&mut self, key: Key<Agent>, more: bool) {
        let open = self.agents[key].is_open();
        self.open.set(key, open);
        if let Some(least) = self.options.split {
            self.ample.set(key, open && least.parts(self.agents[key].free(), 2) > 1);
        }
        self.reclaim_due |= more;
        if open && more {
            self.dirty.insert(key);
        }
    }

    /// Wakes or silences a membership after a change of it. `more`: it may want what it did not
    /// want before.
    fn membership_changed(&mut self, key: Key<Membership>, more: bool) {
        let membership = &self.memberships[key];
        let node = membership.node;
        let framework = self.frameworks.get(&membership.framework);
        let waits = framework.is_some_and(|framework| membership.silenced(framework).is_none());
        let more = more || !self.tree.is_in(Scope::Waiting, node);
        self.began_to_wait |= waits && !self.waiting.contains(key);
        self.tree.set_in(Scope::Waiting, node, waits);
        self.waiting.set(key, waits);
        self.wishing.set(key, self.memberships[key].wishes.is_some());
        if waits && more {
            self.tree.set_in(Scope::Fresh, node, true);
            self.fresh.insert(key);
        } else if !waits {
            self.tree.set_in(Scope::Fresh, node, false);
            self.fresh.remove(&key);
        }
    }

    fn next_stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp(self.stamps)
    }
}

#[cfg(test)]
mod tests;
