//! The allocator and its frameworks, second by second.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshos_alloc::{Allocator, Grant, Options, PolicyChoice, Quota};
use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::{AgentId, FrameworkId, NodeId},
    resources::{Amount, ResourceName, Resources},
    role::Role,
    time::Mono,
    wishes::REQUESTS_MAX,
};

use super::{
    framework::{Framework, Kind},
    report::Report,
    workload::{self, Work},
};
use crate::dice::Dice;

/// The seconds of a day.
pub const DAY_S: u64 = 24 * 60 * 60;

/// A tenth of the machines: how many, and what each has.
const MACHINES: [(u64, &str); 3] = [
    (55, "cpus:96;mem:393216;gpus:8"),
    (39, "cpus:104;mem:524288;gpus:2"),
    (13, "cpus:32;mem:262144"),
];
const SERVICE_FRAMEWORKS: usize = 3;
const BATCH_FRAMEWORKS: usize = 12;
const INTERACTIVE_FRAMEWORKS: usize = 2;
/// How many services there are from the start, and how often one more comes.
const SERVICES: usize = 65;
const SERVICE_EVERY_S: u64 = 4_650;
/// How often a piece of batch work comes: so often that all work together takes about four fifths of
/// the processors.
const BATCH_EVERY_S: u64 = 60;
/// How often all is checked that takes long to check.
const CHECK_EVERY_S: u64 = 600;
/// The filter of a decline.
const REFUSE_MS: u64 = 300_000;

/// A task that runs.
type Running = (AgentId, FrameworkId, Role, Resources);

/// A cluster and what happens in it.
#[derive(Debug)]
pub struct Cluster {
    allocator: Allocator,
    dice: Dice,
    now_s: u64,
    frameworks: Vec<Framework>,
    /// By the second in which they end.
    running: BTreeMap<u64, Vec<Running>>,
    /// Offers that batch frameworks have not answered yet.
    open: Vec<Grant>,
    next_batch_s: u64,
    total: Resources,
    used: Resources,
    /// Sums over all seconds, in thousandths: used processors, memory, GPUs; asked processors.
    sums: [u128; 4],
    report: Report,
}

impl Cluster {
    /// A cluster under a policy.
    pub fn new(policy: &PolicyChoice, seed: u64) -> Self {
        let options = Options { policy: policy.build(), ..Options::default() };
        let mut cluster = Self {
            allocator: Allocator::new(options, seed),
            dice: Dice::new(seed),
            now_s: 0,
            frameworks: Vec::new(),
            running: BTreeMap::new(),
            open: Vec::new(),
            next_batch_s: 0,
            total: Resources::new(),
            used: Resources::new(),
            sums: [0; 4],
            report: Report { policy: policy.to_string(), ..Report::default() },
        };
        let machines = MACHINES.iter().flat_map(|(count, text)| (0..*count).map(move |_| text));
        for (number, text) in (1..).zip(machines) {
            let total: Resources = text.parse().expect("a resource text");
            cluster.total += &total;
            let agent = AgentId::new(NodeId::from_bits(number), 1);
            cluster.allocator.add_agent(agent, total, Attributes::default(), &[]);
        }
        cluster.set_roles();
        cluster.add_frameworks();
        for _ in 0..SERVICES {
            cluster.arrive_service();
        }
        cluster
    }

    /// Services are guaranteed a quarter and come first, interactive work is guaranteed a little,
    /// batch work leaves some room.
    fn set_roles(&mut self) {
        let part = |thousandths: i64| -> BTreeMap<ResourceName, Amount> {
            let part = |name: &ResourceName| {
                Amount::whole(self.total.amount_of(name).units() * thousandths / 1_000)
            };
            [ResourceName::Cpus, ResourceName::Mem].map(|name| (name.clone(), part(&name))).into()
        };
        let guaranteed = |part: BTreeMap<_, _>| Quota {
            guarantee: part.into_iter().collect(),
            ..Quota::default()
        };
        let quotas = [
            ("services", guaranteed(part(250))),
            ("interactive", guaranteed(part(20))),
            ("batch", Quota { limit: part(850), ..Quota::default() }),
        ];
        for (name, quota) in quotas {
            let role = Role::new(name).expect("a valid role");
            assert_eq!(self.allocator.check_quota(&role, &quota), Ok(()));
            self.allocator.set_quota(&role, quota);
        }
        for (name, priority) in [("services", 10), ("interactive", 5)] {
            self.allocator.set_priority(&Role::new(name).expect("a valid role"), priority);
        }
    }

    fn add_frameworks(&mut self) {
        let kinds = [
            (Kind::Service, "services/s", SERVICE_FRAMEWORKS),
            (Kind::Batch, "batch/t", BATCH_FRAMEWORKS),
            (Kind::Interactive, "interactive/i", INTERACTIVE_FRAMEWORKS),
        ];
        for (kind, name, count) in kinds {
            for number in 0..count {
                let id = FrameworkId(u64::try_from(self.frameworks.len()).expect("a few") + 1);
                let role = Role::new(&format!("{name}{number}")).expect("a valid role");
                let roles = BTreeSet::from([role.clone()]);
                let gpus = Capabilities { gpu_resources: true, ..Capabilities::default() };
                self.allocator.add_framework(id, &roles, &BTreeSet::new(), gpus);
                let waiting = VecDeque::new();
                self.frameworks.push(Framework { id, role, kind, waiting, suppressed: false });
            }
        }
    }

    /// Lets time pass, and asserts the laws.
    ///
    /// # Panics
    /// When one is broken.
    pub fn run_s(&mut self, seconds: u64) {
        let until_s = self.now_s + seconds;
        while self.now_s < until_s {
            self.now_s += 1;
            self.allocator.advance(self.now());
            self.end_tasks();
            self.arrivals();
            for offer in std::mem::take(&mut self.open) {
                self.answer(&offer);
            }
            self.allocate();
            self.count();
            if self.now_s.is_multiple_of(CHECK_EVERY_S) {
                self.check();
            }
        }
    }

    /// What came of it so far.
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        let of = |sum: u128, total: Amount| {
            let total = u128::try_from(total.millis()).unwrap_or(0) * u128::from(self.now_s);
            u64::try_from(sum * 1_000 / total.max(1)).unwrap_or(u64::MAX)
        };
        let [cpus, mem, gpus, asked] = self.sums;
        let total = &self.total;
        report.used = [of(cpus, total.cpus()), of(mem, total.mem()), of(gpus, total.gpus())];
        report.asked = of(asked, total.cpus());
        report
    }

    fn now(&self) -> Mono {
        Mono(self.now_s * 1_000)
    }

    fn end_tasks(&mut self) {
        while let Some(entry) = self.running.first_entry()
            && *entry.key() <= self.now_s
        {
            for (agent, framework, role, resources) in entry.remove() {
                self.used = self.used.saturating_sub(&resources);
                self.allocator.recover_allocated(agent, framework, &role, &resources);
            }
        }
    }

    fn arrivals(&mut self) {
        let now_s = self.now_s;
        if now_s.is_multiple_of(SERVICE_EVERY_S) {
            self.arrive_service();
        }
        if now_s.is_multiple_of(2) {
            let framework =
                SERVICE_FRAMEWORKS + BATCH_FRAMEWORKS + self.dice.index(INTERACTIVE_FRAMEWORKS);
            let work = workload::interactive(&mut self.dice, now_s);
            self.arrive(framework, work);
        }
        while self.next_batch_s <= now_s {
            let framework =
                SERVICE_FRAMEWORKS + workload::framework(&mut self.dice, BATCH_FRAMEWORKS);
            let work = workload::batch(&mut self.dice, now_s);
            self.arrive(framework, work);
            self.next_batch_s += workload::gap_s(&mut self.dice, now_s, BATCH_EVERY_S).max(1);
        }
    }

    fn arrive_service(&mut self) {
        let framework = self.dice.index(SERVICE_FRAMEWORKS);
        let work = workload::service(&mut self.dice, self.now_s);
        self.arrive(framework, work);
    }

    fn arrive(&mut self, framework: usize, work: Work) {
        let framework = &mut self.frameworks[framework];
        framework.waiting.push_back(work);
        framework.suppressed = false;
        // What it has refused is of interest again.
        self.allocator.revive(framework.id, &BTreeSet::new());
        if framework.kind == Kind::Interactive {
            // It says what it wants, and is offered no whole machines.
            let requests: Vec<_> = framework.waiting.iter().map(Work::request).collect();
            let requests = &requests[..requests.len().min(REQUESTS_MAX)];
            let told = self.allocator.set_demand(framework.id, &framework.role, requests, None);
            assert_eq!(told, Ok(()));
        }
    }

    /// Runs the allocator. Batch frameworks answer in the next second, the others at once.
    fn allocate(&mut self) {
        let mut rounds = 0;
        while self.allocator.needs_run()
            || self.allocator.next_deadline().is_some_and(|at| at <= self.now())
        {
            let mut grants = Vec::new();
            self.allocator.allocate(self.now(), &mut grants);
            self.report.offers += u64::try_from(grants.len()).unwrap_or(0);
            for grant in grants {
                match self.framework(grant.framework).kind {
                    Kind::Batch => self.open.push(grant),
                    Kind::Service | Kind::Interactive => self.answer(&grant),
                }
            }
            self.take_back();
            rounds += 1;
            assert!(rounds < 1_000, "offers go round in circles at {} s", self.now_s);
        }
    }

    fn take_back(&mut self) {
        for rescind in self.allocator.take_rescinds() {
            self.report.rescinds += 1;
            let wanted = |offer: &Grant| {
                (offer.framework, &offer.role, offer.agent)
                    == (rescind.framework, &rescind.role, rescind.agent)
            };
            let (wanted, kept): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.open).into_iter().partition(wanted);
            self.open = kept;
            assert!(!wanted.is_empty(), "nothing is open of {rescind:?}");
            for Grant { framework, role, agent, resources, .. } in wanted {
                self.allocator.recover_offered(agent, framework, &role, &resources, None);
            }
        }
    }

    fn framework(&mut self, framework: FrameworkId) -> &mut Framework {
        let index = usize::try_from(framework.0).expect("a small number") - 1;
        &mut self.frameworks[index]
    }

    /// A framework uses what it can of an offer, and wants no more when it has nothing to run.
    fn answer(&mut self, offer: &Grant) {
        let now_s = self.now_s;
        let framework = self.framework(offer.framework);
        let starts = framework.pack(offer, now_s);
        let (idle, kind) = (framework.waiting.is_empty() && !framework.suppressed, framework.kind);
        framework.suppressed |= idle;
        let Grant { framework, role, agent, resources, .. } = offer;
        let used: Resources = starts.iter().map(|start| &start.resources).sum();
        let refuse = Some(self.now().after(std::time::Duration::from_millis(REFUSE_MS)));
        let got = self.allocator.accept(*agent, *framework, role, resources, &used, refuse);
        assert_eq!(got, used, "what was offered is there");
        self.used += &used;
        for start in starts {
            self.report.waits.entry(kind).or_default().add(start.waited_s);
            let end_s = now_s + start.run_ms.div_ceil(1_000);
            let running = (*agent, *framework, role.clone(), start.resources);
            self.running.entry(end_s).or_default().push(running);
        }
        if idle {
            self.allocator.suppress(*framework, &BTreeSet::new());
        }
    }

    fn count(&mut self) {
        let number = |amount: Amount| u128::try_from(amount.millis()).unwrap_or(0);
        let waiting = self.frameworks.iter().flat_map(|framework| &framework.waiting);
        let waiting: u128 =
            waiting.map(|work| u128::from(work.tasks_left) * number(work.resources.cpus())).sum();
        let used = [self.used.cpus(), self.used.mem(), self.used.gpus()].map(number);
        let asked = used[0] + waiting;
        for (sum, part) in self.sums.iter_mut().zip(used.into_iter().chain([asked])) {
            *sum += part;
        }
    }

    /// The ledger adds up, no role exceeds its limit, nobody waits for what it could have.
    fn check(&self) {
        self.allocator.check_invariants();
        for state in self.allocator.roles() {
            for (name, limit) in &state.quota.limit {
                assert!(state.consumed.get(name) <= *limit, "{} exceeds its limit", state.role);
            }
        }
        for framework in &self.frameworks {
            let explained = self.allocator.explain(framework.id).expect("it is subscribed");
            for role in explained.roles {
                assert_eq!(role.available, 0, "{} waits for what it could have", role.role);
            }
        }
        let allocated: Resources = self.allocator.agents().map(|agent| agent.allocated).sum();
        assert_eq!(allocated, self.used, "what tasks use is what is allocated");
    }
}
