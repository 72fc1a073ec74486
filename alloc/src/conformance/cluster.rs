//! A cluster that lives through a history, and what it checks on the way.

mod convert;
mod lending;
mod liveness;
mod sums;

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, FrameworkId, NodeId},
    resources::{Resource, ResourceName, Resources, ScalarQuantities},
    role::Role,
    time::Mono,
    wishes::ResourceRequest,
};

use super::account::Account;
use super::gangs::{Gang, Gangs};
use super::history::{AgentStep, FrameworkStep, LedgerStep, RoleStep, Step};
use crate::{Allocator, Grant, MinAllocatable, OfferMode, Options, Policy, Quota};

/// A task: whose, in which role, where, and of what.
type Held = (FrameworkId, Role, AgentId, Resources);

/// An offer: the same, and the gang that it is a part of.
type Offered = (FrameworkId, Role, AgentId, Resources, Option<u64>);

/// An allocator with a second account of what it has given out.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) allocator: Allocator,
    now: Mono,
    least: MinAllocatable,
    optimistic: bool,
    offers: Vec<Offered>,
    tasks: Vec<Held>,
    agents: Vec<AgentId>,
    account: Account,
    /// The quotas that are set.
    quotas: BTreeMap<Role, Quota>,
    /// All that was ever granted.
    pub(super) granted: Vec<Grant>,
    gangs: Gangs,
    /// How many operations were carried out, and how many refused.
    pub(super) operations: (usize, usize),
    /// How many offers were wanted back because somebody was guaranteed them.
    pub(super) taken_back_for_guarantees: usize,
    /// Everything is looked at in every run.
    pub(super) from_scratch: bool,
}

pub(super) fn agent_id(number: u64) -> AgentId {
    AgentId::new(NodeId::from_bits(number), 1)
}

impl Cluster {
    pub(super) fn new(policy: Box<dyn Policy>, offers: OfferMode, seed: u64) -> Self {
        Self::with(Options { policy, offers, ..Options::default() }, seed)
    }

    /// With such options, but for what operators have set now and then.
    pub(super) fn with(mut options: Options, seed: u64) -> Self {
        let offers = options.offers;
        // Sometimes operators have set what is worth an offer, and what shares leave out.
        if seed.is_multiple_of(4) {
            options.min_allocatable = "cpus:1;mem:200|disk:90".parse().expect("amounts");
            options.shares_exclude = [ResourceName::Gpus, ResourceName::Disk].into();
        }
        let least = options.min_allocatable.clone();
        let mut allocator = Allocator::new(options, seed);
        allocator.set_region(Some("here".to_owned()));
        Self {
            allocator,
            now: Mono(1),
            least,
            optimistic: offers == OfferMode::Optimistic,
            offers: Vec::new(),
            tasks: Vec::new(),
            agents: Vec::new(),
            account: Account::default(),
            quotas: BTreeMap::new(),
            granted: Vec::new(),
            gangs: Gangs::default(),
            operations: (0, 0),
            taken_back_for_guarantees: 0,
            from_scratch: false,
        }
    }

    /// Lets something happen, and checks that the ledger adds up.
    pub(super) fn step(&mut self, step: &Step) {
        self.allocator.advance(self.now);
        match step {
            Step::Agent(step) => self.agent_step(step),
            Step::Framework(framework, step) => self.framework_step(FrameworkId(*framework), step),
            Step::Role(role, step) => self.role_step(role, step),
            Step::Ledger(step) => self.ledger_step(step),
            Step::Wait { ms } => self.now = Mono(self.now.0 + ms),
            Step::Run => self.run(),
        }
        self.take_back();
        if let Step::Framework(framework, FrameworkStep::Ask { role, .. }) = step {
            let asks = (FrameworkId(*framework), role.clone());
            for (id, role, agent, offered, _) in &self.offers {
                if (*id, role) == (asks.0, &asks.1) {
                    self.account.kept(*agent, &asks, offered);
                }
            }
        }
        self.limits_are_kept();
        self.check();
    }

    fn agent_step(&mut self, step: &AgentStep) {
        match step {
            AgentStep::Add { number, total, profile } => {
                let id = agent_id(*number);
                self.forget_agent(id);
                self.agents.push(id);
                self.agents.sort();
                self.account.agent(id, profile);
                self.allocator.add_agent(id, total.clone(), profile.clone(), &[]);
            }
            AgentStep::Remove { choice } => {
                if let Some(id) = pick(&self.agents, *choice) {
                    self.forget_agent(id);
                    self.allocator.remove_agent(id);
                }
            }
            AgentStep::Change { choice, total, profile } => {
                if let Some(id) = pick(&self.agents, *choice) {
                    self.account.agent(id, profile);
                    self.allocator.update_agent(id, total.clone(), profile.clone());
                }
            }
            AgentStep::Activate { choice, active } => {
                if let Some(id) = pick(&self.agents, *choice) {
                    self.account.agent_active(id, *active);
                    self.allocator.set_agent_active(id, *active);
                }
            }
        }
    }

    fn forget_agent(&mut self, id: AgentId) {
        self.take_back_offers(|(_, _, agent, _, gang)| *agent == id && gang.is_some());
        self.account.agent_gone(id);
        self.agents.retain(|agent| *agent != id);
        self.offers.retain(|(_, _, agent, ..)| *agent != id);
        self.tasks.retain(|(_, _, agent, _)| *agent != id);
    }

    fn framework_step(&mut self, id: FrameworkId, step: &FrameworkStep) {
        self.account.framework(id, step);
        let allocator = &mut self.allocator;
        match step {
            FrameworkStep::Subscribe { roles, suppressed, capabilities } => {
                allocator.add_framework(id, roles, suppressed, *capabilities);
                self.gangs.retain(|(of, role)| *of != id || roles.contains(role));
            }
            FrameworkStep::Remove => {
                allocator.remove_framework(id);
                self.offers.retain(|(holder, ..)| *holder != id);
                self.gangs.retain(|(of, _)| *of != id);
            }
            FrameworkStep::Activate(active) => {
                allocator.set_framework_active(id, *active);
            }
            FrameworkStep::Suppress(roles) => {
                allocator.suppress(id, roles);
            }
            FrameworkStep::Revive(roles) => allocator.revive(id, roles),
            // Those who are not in the role are told so, and nothing happens.
            FrameworkStep::Wish(role, wished) => {
                drop(allocator.set_wishes(id, role, &wished.wishes()));
            }
            FrameworkStep::Ask { role, requests, together_ms } => {
                let until = together_ms.map(|ms| Mono(self.now.0 + ms));
                if allocator.set_demand(id, role, requests, until).is_ok() {
                    let until = until.filter(|_| !requests.is_empty());
                    let gang = until.map(|until| Gang { wanted: sum_of(requests), until });
                    self.gangs.asked((id, role.clone()), gang);
                }
            }
        }
    }

    fn role_step(&mut self, role: &Role, step: &RoleStep) {
        match step {
            RoleStep::Weight(weight_millis) => {
                self.allocator.set_weight(role, *weight_millis);
            }
            RoleStep::Priority(priority) => self.allocator.set_priority(role, *priority),
            RoleStep::Quota(quota) => {
                if quota.is_empty() {
                    self.quotas.remove(role);
                } else {
                    self.quotas.insert(role.clone(), quota.clone());
                }
                self.allocator.set_quota(role, quota.clone());
            }
        }
    }

    fn ledger_step(&mut self, step: &LedgerStep) {
        let until = |refuse_ms: &Option<u64>| refuse_ms.map(|ms| Mono(self.now.0 + ms));
        match step {
            LedgerStep::Accept { choice, used, refuse_ms } => {
                let until = until(refuse_ms);
                let Some((framework, role, agent, offered, gang)) = take(&mut self.offers, *choice)
                else {
                    return;
                };
                self.gangs.answered(gang);
                let used = used.of(&offered);
                let got = self.allocator.accept(agent, framework, &role, &offered, &used, until);
                assert!(self.optimistic || got == used, "{got} of {used}");
                let member = (framework, role.clone());
                self.account.used(agent, &member, &got);
                let rest = offered.saturating_sub(&got);
                if let Some(until) = until.filter(|_| !rest.is_empty()) {
                    self.account.refuse(agent, member, rest, until);
                }
                self.answered(agent, framework, &role);
                if !got.is_empty() {
                    self.tasks.push((framework, role, agent, got));
                }
            }
            LedgerStep::Decline { choice, refuse_ms } => {
                let until = until(refuse_ms);
                let declined = take(&mut self.offers, *choice);
                if let Some((framework, role, agent, offered, gang)) = declined {
                    self.gangs.answered(gang);
                    self.allocator.recover_offered(agent, framework, &role, &offered, until);
                    let member = (framework, role.clone());
                    match until {
                        Some(until) => self.account.refuse(agent, member, offered, until),
                        None => self.account.give_back(agent, member),
                    }
                    self.answered(agent, framework, &role);
                }
            }
            LedgerStep::EndTask { choice } => {
                if let Some((framework, role, agent, used)) = take(&mut self.tasks, *choice) {
                    self.allocator.recover_allocated(agent, framework, &role, &used);
                }
            }
            LedgerStep::Adopt { choice, framework, role, used } => {
                if let Some(agent) = pick(&self.agents, *choice) {
                    let framework = FrameworkId(*framework);
                    // No two tasks of a node listen on the same port.
                    let mut tasks = self.tasks.iter().filter(|(_, _, at, _)| *at == agent);
                    let is_port = |part: &Resource| *part.name() == ResourceName::Ports;
                    let listens = tasks.any(|(.., held)| held.iter().any(is_port));
                    let used = &used.filter(|part| !listens || !is_port(part));
                    self.allocator.add_allocated(agent, framework, role, used);
                    self.tasks.push((framework, role.clone(), agent, used.clone()));
                }
            }
            LedgerStep::Convert { choice, offered: true, wanted } => {
                self.convert_offered(*choice, wanted);
            }
            LedgerStep::Convert { choice, offered: false, wanted } => {
                self.convert_free(*choice, wanted);
            }
            LedgerStep::TakeBack { choice } => {
                if let Some(offer) = take(&mut self.offers, *choice) {
                    self.offers.push(offer.clone());
                    self.take_back_offers(|other| *other == offer);
                }
            }
        }
    }

    /// One offer is less. The last of an agent settles what was wanted of it.
    fn answered(&mut self, agent: AgentId, framework: FrameworkId, role: &Role) {
        let own = |(id, of, at, ..): &Offered| (*id, of, *at) == (framework, role, agent);
        if !self.offers.iter().any(own) {
            self.account.settled(agent, &(framework, role.clone()));
        }
    }

    /// Runs until nothing is wanted back any more: what came back goes where it was wanted.
    fn run(&mut self) {
        const RUNS_MAX: usize = 64;
        let settles = (0..RUNS_MAX).any(|_| {
            self.run_once();
            self.take_back() == 0
        });
        assert!(settles, "offers are wanted back again and again");
        self.guarantees_are_served();
    }

    pub(super) fn run_once(&mut self) {
        if self.from_scratch {
            self.allocator.look_at_everything();
        }
        let over = self.roles_over_their_limits();
        let mut grants = Vec::new();
        self.allocator.allocate(self.now, &mut grants);
        for grant in &grants {
            let Grant { framework, role, agent, resources, gang } = grant.clone();
            assert!(!resources.is_empty(), "an offer holds something");
            self.is_well_meant(grant);
            self.account.granted(agent, &(framework, role.clone()), &resources);
            self.offers.push((framework, role, agent, resources, gang));
        }
        self.account.check_demands();
        self.gangs.granted(&grants);
        // Before it is looked who waits: whose time is over wants nothing any more.
        self.gangs.failed(self.allocator.take_failed_gangs(), self.now);
        self.granted.extend(grants);
        assert!(!self.allocator.needs_run(), "a run leaves nothing to do");
        assert!(self.allocator.next_deadline().is_none_or(|at| at > self.now));
        assert!(self.roles_over_their_limits().is_subset(&over), "a limit was exceeded by offers");
        self.nobody_waits_for_what_is_free();
        self.nobody_is_forgotten();
    }

    /// Gives offers back that are wanted back, and says how often that was.
    fn take_back(&mut self) -> usize {
        let rescinds = self.allocator.take_rescinds();
        self.only_what_is_guaranteed_comes_back(&rescinds);
        let count = rescinds.len();
        let gangs = self.offers.iter().filter(|offer| offer.4.is_some());
        let torn: BTreeSet<_> =
            gangs.map(|(framework, role, ..)| (*framework, role.clone())).collect();
        for rescind in rescinds {
            let back = |(framework, role, agent, ..): &Offered| {
                (*framework, role, *agent) == (rescind.framework, &rescind.role, rescind.agent)
            };
            let taken_back = self.take_back_offers(back);
            // The rest of a gang may have gone with another part of it.
            assert!(
                taken_back > 0 || torn.contains(&(rescind.framework, rescind.role.clone())),
                "nothing is offered of what is wanted back: {rescind:?}"
            );
        }
        count
    }

    /// Takes offers back, and with them those that are of use with them only. Returns how many.
    fn take_back_offers(&mut self, back: impl Fn(&Offered) -> bool) -> usize {
        let gangs = self.offers.iter().filter(|offer| back(offer)).filter_map(|offer| offer.4);
        let gangs: BTreeSet<u64> = gangs.collect();
        let goes = |offer: &Offered| back(offer) || offer.4.is_some_and(|it| gangs.contains(&it));
        let (gone, kept) =
            std::mem::take(&mut self.offers).into_iter().partition::<Vec<_>, _>(goes);
        self.offers = kept;
        for (framework, role, agent, offered, _) in &gone {
            self.allocator.take_back_offered(*agent, *framework, role, offered, None);
            self.account.give_back(*agent, (*framework, role.clone()));
            self.answered(*agent, *framework, role);
        }
        for (framework, role, .., gang) in &gone {
            // One of which a part was answered is its framework's matter.
            if let Some(gang) = gang.filter(|gang| self.gangs.taken_back(*gang)) {
                self.allocator.gang_taken_back(*framework, role, gang);
            }
        }
        gone.len()
    }

    /// Those with more than their limit: after a limit was set below what tasks use, only.
    fn roles_over_their_limits(&self) -> BTreeSet<Role> {
        let over = self.allocator.roles().into_iter().filter(|state| {
            state.quota.limit.iter().any(|(name, limit)| state.consumed.get(name) > *limit)
        });
        over.map(|state| state.role).collect()
    }

    /// After offers were taken back, what is over a limit is used by tasks or reserved.
    fn limits_are_kept(&self) {
        for state in self.allocator.roles() {
            for (name, limit) in &state.quota.limit {
                let pool = self.offers.iter().filter(|(_, role, _, offered, _)| {
                    let inside = *role == state.role || state.role.is_ancestor_of(role);
                    inside && !crate::quota::pool(offered).amount_of(name).is_zero()
                });
                assert!(
                    state.consumed.get(name) <= *limit || pool.count() == 0,
                    "role {} is offered more {name} than its limit allows",
                    state.role
                );
            }
        }
    }

    /// After a run there is, for every agent and everybody who wants offers, a rule that keeps
    /// them apart.
    fn nobody_waits_for_what_is_free(&self) {
        for number in 0..6 {
            let Some(explanation) = self.allocator.explain(FrameworkId(number)) else { continue };
            for role in explanation.roles {
                assert_eq!(role.available, 0, "somebody waits for what it could have: {role:?}");
                assert_eq!(role.skipped.values().sum::<usize>(), role.agents, "{role:?}");
            }
        }
    }

    fn holders_of(&self, agent: AgentId) -> BTreeSet<(FrameworkId, &Role)> {
        let of_agent = self.offers.iter().filter(|(_, _, at, ..)| *at == agent);
        of_agent.map(|(framework, role, ..)| (*framework, role)).collect()
    }

    /// Another policy takes over; what is held stays held.
    pub(super) fn switch(&mut self, policy: Box<dyn Policy>) {
        let ledger = |allocator: &Allocator| allocator.agents().collect::<Vec<_>>();
        let before = ledger(&self.allocator);
        self.allocator.set_policy(policy);
        assert_eq!(ledger(&self.allocator), before, "a change of the policy changes no offer");
        self.check();
    }
}

fn sum_of(requests: &[ResourceRequest]) -> ScalarQuantities {
    let mut sum = ScalarQuantities::new();
    for request in requests {
        (0..request.count).for_each(|_| sum += &request.resources.quantities());
    }
    sum
}

fn pick<T: Copy>(items: &[T], choice: usize) -> Option<T> {
    items.get(choice.checked_rem(items.len())?).copied()
}

fn take<T>(list: &mut Vec<T>, choice: usize) -> Option<T> {
    let index = choice.checked_rem(list.len())?;
    Some(list.remove(index))
}
