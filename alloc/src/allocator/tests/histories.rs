//! Random histories: the ledger adds up after each step, the same history gives the same offers, no
//! one waits for what is free, and runs over what has changed find what runs over everything find.

use std::collections::BTreeSet;

use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::{AgentId, FrameworkId},
    resources::Resources,
    role::Role,
    time::Mono,
    wishes::{AgentConstraint, OfferWishes, Predicate, Selector},
};
use proptest::prelude::*;
use rand_core::RngCore;

use super::{
    facts::{Member, Reference, path},
    support::{agent, resources, role},
};
use crate::{
    Allocator, Grant, Options, Quota,
    conformance::{
        conversions::{Used, Wanted},
        kinds::add_kinds,
    },
};

const ROLES: [&str; 5] = ["*", "a", "a/b", "a/b/c", "z"];

const TOTALS: [&str; 9] = [
    "cpus:4;mem:4096;disk:100;ports:[1-9]",
    "cpus:8;mem:1024;ports:[5-20]",
    "cpus:1;mem:8192",
    "cpus:2;mem:512;gpus:2",
    "cpus:1;mem:64;cpus(a):2;mem(a):128;cpus(a/b):1;mem(z):64",
    "cpus:0.02;mem:31",
    "mem:4096",
    "cpus(z):3;mem(z):300;disk(z):90;names(z):{x}",
    "cpus:6;mem:6000;disk:500;disk(a):100;names:{x,y,z}",
];

const RACKS: [&str; 3] = ["", "r1", "r2"];

/// A step: what to do, and numbers to choose with among what there is.
type Step = (u8, usize, usize);

fn steps(agents: usize) -> impl Strategy<Value = Vec<Step>> {
    let start = (0..agents).map(|index| (0, index, index)).collect::<Vec<Step>>();
    prop::collection::vec((0u8..27, any::<usize>(), any::<usize>()), 1..120)
        .prop_map(move |steps| start.iter().copied().chain(steps).collect())
}

fn pick<T: Clone>(items: &[T], number: usize) -> Option<T> {
    items.get(number.checked_rem(items.len())?).cloned()
}

fn total(number: usize) -> Resources {
    let mut total = resources(TOTALS[number % 9]);
    add_kinds(&mut total, number / 27);
    total
}

fn in_rack(rack: &str) -> Attributes {
    let text = if rack.is_empty() { String::new() } else { format!("rack:{rack}") };
    text.parse().unwrap()
}

/// Some of the roles, as the bits of a number say.
fn some_roles(bits: usize) -> BTreeSet<Role> {
    let chosen = (0..ROLES.len()).filter(|index| bits >> index & 1 == 1);
    chosen.map(|index| role(ROLES[index])).collect()
}

/// The allocator and the reference, told the same.
struct History {
    allocator: Allocator,
    reference: Reference,
    now: Mono,
    offers: Vec<Grant>,
    tasks: Vec<Grant>,
    grants: Vec<Grant>,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            allocator: Allocator::new(
                Options { split: None, few_left_from: 1, ..Options::default() },
                seed,
            ),
            reference: Reference::default(),
            now: Mono(0),
            offers: Vec::new(),
            tasks: Vec::new(),
            grants: Vec::new(),
        }
    }

    fn step(&mut self, (kind, a, b): Step) {
        match kind {
            0 => self.add_agent(agent(u64::try_from(a % 50).unwrap()), b),
            1..=5 => self.agent_step(kind, a, b),
            6..=11 => self.framework_step(kind, a, b),
            12..=15 => self.ledger_step(kind, a, b),
            16 => self.set_quota(&role(ROLES[a % 5]), b),
            17 => self.wish(a, b),
            23..=25 => self.convert_offered(a, b),
            26 => self.convert_free(a, b),
            _ => self.run(),
        }
        self.take_back();
        self.reference.tidy();
        self.check();
    }

    fn add_agent(&mut self, id: AgentId, b: usize) {
        self.drop_agent(id);
        let (total, rack) = (total(b), RACKS[b / 9 % 3]);
        self.allocator.add_agent(id, total.clone(), in_rack(rack), &[]);
        self.reference.agents.insert(id, (total, rack, true));
    }

    fn drop_agent(&mut self, id: AgentId) {
        self.reference.agents.remove(&id);
        self.offers.retain(|offer| offer.agent != id);
        self.tasks.retain(|task| task.agent != id);
        self.reference.tidy();
    }

    fn agent_step(&mut self, kind: u8, a: usize, b: usize) {
        let ids: Vec<_> = self.reference.agents.keys().copied().collect();
        let Some(id) = pick(&ids, a) else { return };
        match kind {
            1 if b.is_multiple_of(3) => {
                self.drop_agent(id);
                self.allocator.remove_agent(id);
            }
            2 => {
                let active = !b.is_multiple_of(4);
                self.allocator.set_agent_active(id, active);
                self.reference.agents.get_mut(&id).unwrap().2 = active;
            }
            3 => {
                let (total, rack) = (total(b), RACKS[b / 9 % 3]);
                self.allocator.update_agent(id, total.clone(), in_rack(rack));
                let known = self.reference.agents.get_mut(&id).unwrap();
                (known.0, known.1) = (total, rack);
            }
            4 => {
                let used = resources(["cpus:1;mem:32;ports:[3-6]", "cpus:0.5", "mem(z):10"][b % 3]);
                let (framework, role) =
                    (FrameworkId(u64::try_from(b % 7).unwrap()), role(ROLES[b % 5]));
                self.allocator.add_allocated(id, framework, &role, &used);
                let held = self.reference.held.entry((id, (framework, role.clone()))).or_default();
                held[1] += &used;
                self.tasks.push(Grant { framework, role, agent: id, resources: used, gang: None });
            }
            _ => self.now = Mono(self.now.0 + u64::try_from(b % 4000).unwrap()),
        }
    }

    fn framework_step(&mut self, kind: u8, a: usize, b: usize) {
        let id = FrameworkId(u64::try_from(a % 7).unwrap());
        let known = self.reference.frameworks.contains_key(&id);
        match kind {
            6 | 7 => self.subscribe(id, known, b),
            8 if b.is_multiple_of(3) => {
                self.allocator.remove_framework(id);
                self.reference.frameworks.remove(&id);
                self.offers.retain(|offer| offer.framework != id);
                let of = |member: &(FrameworkId, Role)| member.0 == id;
                let held = self.reference.held.iter_mut();
                held.filter(|((_, member), _)| of(member))
                    .for_each(|(_, both)| both[0] = Resources::new());
                self.reference.refusals.retain(|(_, member), _| !of(member));
            }
            9 if known => {
                self.allocator.set_framework_active(id, !b.is_multiple_of(4));
                self.reference.frameworks.get_mut(&id).unwrap().0 = !b.is_multiple_of(4);
            }
            10 => self.silence(id, &some_roles(b)),
            11 => {
                let role = role(ROLES[a % 5]);
                let weight = [1, 500, 1000, 3000][b % 4];
                self.allocator.set_weight(&role, weight);
                self.reference.weights.insert(role, weight);
            }
            _ => {}
        }
    }

    fn subscribe(&mut self, id: FrameworkId, known: bool, bits: usize) {
        let (roles, suppressed) = (some_roles(bits), some_roles(bits >> 5));
        let capabilities = Capabilities {
            gpu_resources: bits >> 10 & 1 == 1,
            shared_resources: bits >> 11 & 1 == 1,
            revocable_resources: bits >> 12 & 1 == 1,
            reservation_refinement: bits >> 13 & 3 != 3,
            ..Capabilities::default()
        };
        let active = match self.reference.frameworks.get(&id) {
            Some((active, _, _)) => *active,
            None => true,
        };
        if roles.is_empty() {
            return;
        }
        if known {
            self.allocator.update_framework(id, &roles, &suppressed, capabilities);
        } else {
            self.allocator.add_framework(id, &roles, &suppressed, capabilities);
        }
        let states = roles.iter().map(|role| (role.clone(), suppressed.contains(role))).collect();
        self.reference.frameworks.insert(id, (active, capabilities, states));
    }

    fn silence(&mut self, id: FrameworkId, roles: &BTreeSet<Role>) {
        let suppress = self.now.0.is_multiple_of(2);
        if suppress {
            self.allocator.suppress(id, roles);
        } else {
            self.allocator.revive(id, roles);
        }
        let named = |role: &Role| roles.is_empty() || roles.contains(role);
        let Some((_, _, states)) = self.reference.frameworks.get_mut(&id) else { return };
        states.iter_mut().filter(|(role, _)| named(role)).for_each(|(_, state)| *state = suppress);
        for ((_, (framework, role)), refusal) in &mut self.reference.refusals {
            if !suppress && *framework == id && named(role) && states.contains_key(role) {
                refusal.1 = None;
            }
        }
    }

    fn set_quota(&mut self, role: &Role, b: usize) {
        let guarantee = ["", "cpus:3", "mem:900", "cpus:1;mem:4096"][b % 4];
        let limit = ["", "", "cpus:5;disk:250", "cpus:2;mem:2000", "mem:64;gpus:0"][b / 4 % 5];
        let limit = resources(limit).quantities();
        let quota = Quota {
            guarantee: resources(guarantee).quantities(),
            limit: limit.iter().map(|(name, amount)| (name.clone(), amount)).collect(),
        };
        self.allocator.set_quota(role, quota.clone());
        self.reference.quotas.insert(role.clone(), quota);
    }

    fn wish(&mut self, a: usize, b: usize) {
        let (id, role) = (FrameworkId(u64::try_from(a % 7).unwrap()), role(ROLES[a / 7 % 5]));
        let least = resources(["", "mem:1000", "cpus:2;mem:100"][b % 3]).quantities();
        let rack = [None, Some("r1"), Some("r2")][b / 3 % 3];
        let constraint = |rack: &str| AgentConstraint {
            of: Selector::Attribute { name: "rack".to_owned() },
            is: Predicate::Equals { value: rack.to_owned() },
        };
        let wishes = OfferWishes {
            minimum: vec![least.clone()],
            constraints: rack.into_iter().map(|rack| vec![constraint(rack)]).collect(),
        };
        if self.allocator.set_wishes(id, &role, &wishes).is_ok() {
            self.reference.wishes.insert((id, role), (least, rack));
        }
    }

    /// Offers that are wanted back are given back.
    fn take_back(&mut self) {
        for rescind in self.allocator.take_rescinds() {
            let wanted = |offer: &Grant| {
                (offer.framework, &offer.role, offer.agent)
                    == (rescind.framework, &rescind.role, rescind.agent)
            };
            let (wanted, kept) = std::mem::take(&mut self.offers).into_iter().partition(wanted);
            self.offers = kept;
            let wanted: Vec<Grant> = wanted;
            if let Some(member) = rescind.wanted_by {
                // Others have gone first.
                let refusals = &mut self.reference.refusals;
                let key = (rescind.agent, member);
                if refusals.get(&key).is_some_and(|(_, refused)| refused.is_none()) {
                    refusals.remove(&key);
                }
            }
            for one in wanted {
                let Grant { framework, role, agent, resources, .. } = &one;
                self.allocator.take_back_offered(*agent, *framework, role, resources, None);
                self.recovered(&one, None);
            }
        }
    }

    /// An offer comes back.
    fn recover(&mut self, one: &Grant, until: Option<Mono>) {
        let Grant { framework, role, agent, resources, .. } = one;
        self.allocator.recover_offered(*agent, *framework, role, resources, until);
        self.recovered(one, until);
    }

    fn recovered(&mut self, one: &Grant, until: Option<Mono>) {
        let Grant { framework, role, agent, resources, .. } = one;
        self.give_back(one, 0, resources);
        self.refuse((*agent, (*framework, role.clone())), resources, until, true);
    }

    fn ledger_step(&mut self, kind: u8, a: usize, b: usize) {
        let until = [None, Some(Mono(self.now.0 + 1000)), Some(Mono(self.now.0 + 5000))][b % 3];
        let list = if kind == 15 { &mut self.tasks } else { &mut self.offers };
        let Some(index) = a.checked_rem(list.len()) else { return };
        let one = list.swap_remove(index);
        let Grant { framework, role, agent, resources, .. } = &one;
        let member = (*framework, role.clone());
        match kind {
            12 | 13 => self.recover(&one, until),
            14 => {
                let used = match b / 3 % 4 {
                    0 => resources.intersection(&super::support::resources("cpus:1;mem:64")),
                    1 => resources.intersection(&super::support::resources(
                        "cpus:0.5;mem:32;ports:[5-6];names:{x}",
                    )),
                    2 => resources.intersection(&super::support::resources("cpus(a):1;mem:1")),
                    // All of some kinds.
                    _ => Used::Kinds(b / 12).of(resources),
                };
                self.allocator.accept(*agent, *framework, role, resources, &used, until);
                let rest = resources.saturating_sub(&used);
                self.give_back(&one, 0, resources);
                self.reference.held.entry((*agent, member.clone())).or_default()[1] += &used;
                self.refuse((*agent, member), &rest, until, false);
                self.tasks.push(Grant { resources: used, ..one });
            }
            _ => {
                self.allocator.recover_allocated(*agent, *framework, role, resources);
                self.give_back(&one, 1, resources);
            }
        }
    }

    /// Something of an offer becomes something else, if it may.
    fn convert_offered(&mut self, a: usize, b: usize) {
        let Some(index) = a.checked_rem(self.offers.len()) else { return };
        let Grant { framework, role, agent, resources, .. } = self.offers[index].clone();
        let wanted = Wanted::numbered(b, self::role(ROLES[b % 5]));
        let Some(operation) = wanted.operation(&resources, &role) else { return };
        let Ok(conversion) = operation.conversion() else { return };
        if self.allocator.convert_offered(agent, framework, &role, &conversion).is_err() {
            return;
        }
        let apply = |resources: &mut Resources| *resources = conversion.apply(resources).unwrap();
        apply(&mut self.offers[index].resources);
        apply(&mut self.reference.held.get_mut(&(agent, (framework, role))).unwrap()[0]);
        apply(&mut self.reference.agents.get_mut(&agent).unwrap().0);
    }

    /// Something that is free becomes something else, if it may.
    fn convert_free(&mut self, a: usize, b: usize) {
        let ids: Vec<_> = self.reference.agents.keys().copied().collect();
        let Some(id) = pick(&ids, a) else { return };
        let wanted = Wanted::numbered(b, role(ROLES[b % 5]));
        let Some(operation) = wanted.operation(&self.reference.free(id), &role("z")) else {
            return;
        };
        let Ok(conversion) = operation.conversion() else { return };
        if self.allocator.convert_free(id, &conversion).is_ok() {
            let total = &mut self.reference.agents.get_mut(&id).unwrap().0;
            *total = conversion.apply(total).unwrap();
        }
    }

    fn give_back(&mut self, from: &Grant, side: usize, resources: &Resources) {
        let key = (from.agent, (from.framework, from.role.clone()));
        if let Some(both) = self.reference.held.get_mut(&key) {
            both[side] = both[side].saturating_sub(resources);
        }
    }

    fn refuse(
        &mut self,
        key: (AgentId, (FrameworkId, Role)),
        refused: &Resources,
        until: Option<Mono>,
        pass: bool,
    ) {
        let (framework, role) = &key.1;
        let subscribed = self
            .reference
            .frameworks
            .get(framework)
            .is_some_and(|found| found.2.contains_key(role));
        if !subscribed || refused.is_empty() {
            return;
        }
        match (until, self.reference.refusals.get(&key)) {
            (Some(until), Some((longer, Some(more))))
                if *longer >= until && more.contains(refused) => {}
            (Some(until), _) => {
                self.reference.refusals.insert(key, (until, Some(refused.clone())));
            }
            (None, None) if pass => {
                self.reference.refusals.insert(key, (Mono(u64::MAX), None));
            }
            (None, _) => {}
        }
    }

    fn run(&mut self) {
        let draw = self.allocator.rng.clone().next_u64();
        let mut grants = Vec::new();
        self.allocator.allocate(self.now, &mut grants);
        let expected = self.reference.run(self.now, draw);
        assert_eq!(grants, expected, "what the reference offers");
        self.offers.extend(grants.iter().cloned());
        self.grants.extend(grants);
        self.nobody_waits_for_what_is_free();
        self.shares_are_what_they_should_be();
        assert!(!self.allocator.needs_run());
        assert!(self.allocator.next_deadline().is_none_or(|at| at > self.now));
    }

    /// The law of liveness: after a run, for every agent and everybody who wants offers there is a
    /// rule that keeps them apart.
    fn nobody_waits_for_what_is_free(&self) {
        for framework in self.reference.frameworks.keys() {
            let explanation = self.allocator.explain(*framework).unwrap();
            for role in explanation.roles {
                assert_eq!(role.available, 0, "{role:?}");
                assert_eq!(role.skipped.values().sum::<usize>(), role.agents);
            }
        }
    }

    fn shares_are_what_they_should_be(&self) {
        let levels = self.reference.levels();
        for member in self.reference.waiting() {
            let explanation = self.allocator.explain(member.0).unwrap();
            let found = explanation.roles.iter().find(|found| found.role == member.1).unwrap();
            let way = path(&member);
            let (share, grants) = levels.standing(&way);
            let of_role = levels.standing(&way[..way.len() - 2]).0;
            assert_eq!((found.share, found.role_share), (share, of_role), "{member:?}");
            assert_eq!(found.grants, grants, "{member:?}");
        }
    }

    fn check(&self) {
        self.allocator.check_invariants();
        assert_eq!(self.allocator.agents().count(), self.reference.agents.len());
        for state in self.allocator.agents() {
            assert_eq!(state.free, self.reference.free(state.agent), "{}", state.agent);
            assert_eq!(state.total, self.reference.agents[&state.agent].0);
        }
    }
}

/// What the reference needs to be told besides what happens.
impl Reference {
    /// Forgets what belongs to agents and members that are gone.
    fn tidy(&mut self) {
        self.held.retain(|(agent, _), both| {
            self.agents.contains_key(agent) && both.iter().any(|part| !part.is_empty())
        });
        let subscribed = |(framework, role): &Member| {
            self.frameworks.get(framework).is_some_and(|found| found.2.contains_key(role))
        };
        let mut members: BTreeSet<Member> =
            self.held.keys().map(|(_, member)| member.clone()).collect();
        for (framework, (_, _, roles)) in &self.frameworks {
            members.extend(roles.keys().map(|role| (*framework, role.clone())));
        }
        self.refusals
            .retain(|(agent, member), _| self.agents.contains_key(agent) && subscribed(member));
        self.wishes.retain(|member, _| subscribed(member));
        let paths: Vec<_> = members.iter().map(path).collect();
        self.grants.retain(|prefix, _| paths.iter().any(|path| path.starts_with(prefix)));
    }
}

fn play(seed: u64, steps: &[Step]) -> Vec<Grant> {
    let mut history = History::new(seed);
    for step in steps {
        history.step(*step);
    }
    history.step((22, 0, 0));
    history.grants
}

proptest! {
    #[test]
    fn runs_over_what_changed_offer_what_runs_over_everything_offer(
        seed: u64,
        steps in (1usize..50).prop_flat_map(steps),
    ) {
        play(seed, &steps);
    }
}

proptest! {
    #[test]
    fn the_same_history_gives_the_same_offers(
        seed: u64,
        steps in (1usize..20).prop_flat_map(steps),
    ) {
        prop_assert_eq!(play(seed, &steps), play(seed, &steps));
    }
}

#[test]
fn histories_get_somewhere() {
    // Guards the test above: its histories must reach offers, filters, tasks and shrunk agents.
    let steps: Vec<Step> =
        (0..400usize).map(|n| (u8::try_from(n * 7 % 27).unwrap(), n * 31, n * 17)).collect();
    assert!(play(1, &steps).len() > 20);
}
