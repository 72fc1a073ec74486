//! What the tests share: short ways to say things, and users who fill a cluster task by task.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::{AgentId, FrameworkId, NodeId},
    resources::{Amount, Metadata, Resource, ResourceName, Resources},
    role::Role,
    time::Mono,
};

use crate::{Allocator, Grant, Options, Policy, policy::Drf};

pub(super) fn agent(number: u64) -> AgentId {
    AgentId::new(NodeId::from_bits(number), 1)
}

pub(super) fn role(name: &str) -> Role {
    name.parse().unwrap()
}

pub(super) fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| role(name)).collect()
}

pub(super) fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

/// So many thousandths of a core and of a MB.
pub(super) fn cpus_mem(cpus_millis: i64, mem_millis: i64) -> Resources {
    [(ResourceName::Cpus, cpus_millis), (ResourceName::Mem, mem_millis)]
        .map(|(name, millis)| {
            Resource::new(name, Metadata::UNRESERVED, Amount::from_millis(millis)).unwrap()
        })
        .into_iter()
        .collect()
}

pub(super) const GPU_USER: Capabilities = Capabilities { gpu_resources: true, ..PLAIN_USER };

/// The default, as a constant.
const PLAIN_USER: Capabilities = Capabilities {
    partition_aware: true,
    task_killing_state: true,
    gpu_resources: false,
    shared_resources: false,
    revocable_resources: false,
    reservation_refinement: true,
    region_aware: false,
    gang_offers: false,
};

/// An allocator that is checked after each step.
pub(super) struct Cluster {
    pub(super) allocator: Allocator,
    pub(super) now: Mono,
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self::seeded(7)
    }

    pub(super) fn seeded(seed: u64) -> Self {
        Self::with(Options { split: None, few_left_from: 1, ..Options::default() }, seed)
    }

    pub(super) fn with(options: Options, seed: u64) -> Self {
        Self { allocator: Allocator::new(options, seed), now: Mono(0) }
    }

    pub(super) fn add_agent(&mut self, number: u64, total: &str) {
        self.allocator.add_agent(agent(number), resources(total), Attributes::default(), &[]);
        self.allocator.check_invariants();
    }

    pub(super) fn add_framework(&mut self, number: u64, names: &[&str]) {
        self.add_capable(number, names, Capabilities::default());
    }

    pub(super) fn add_capable(&mut self, number: u64, names: &[&str], capabilities: Capabilities) {
        let id = FrameworkId(number);
        self.allocator.add_framework(id, &roles(names), &BTreeSet::new(), capabilities);
        self.allocator.check_invariants();
    }

    /// One run.
    pub(super) fn run(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        self.allocator.allocate(self.now, &mut grants);
        self.allocator.check_invariants();
        assert!(!self.allocator.needs_run(), "a run leaves nothing to do");
        grants
    }

    /// One run, as (framework, role, agent, resources).
    pub(super) fn offers(&mut self) -> Vec<(u64, String, u64, String)> {
        let mut offers: Vec<_> = self
            .run()
            .into_iter()
            .map(|grant| {
                let agent = grant.agent.node.bits();
                let role = grant.role.to_string();
                (grant.framework.0, role, agent, grant.resources.to_string())
            })
            .collect();
        offers.sort();
        offers
    }

    /// Declines with a filter, for so many milliseconds.
    pub(super) fn decline(&mut self, grant: &Grant, filter_ms: Option<u64>) {
        let until = filter_ms.map(|ms| Mono(self.now.0 + ms));
        let Grant { framework, role, agent, resources, .. } = grant;
        self.allocator.recover_offered(*agent, *framework, role, resources, until);
        self.allocator.check_invariants();
    }

    /// Uses a part of an offer; the rest may be offered to anybody at once.
    pub(super) fn accept(&mut self, grant: &Grant, used: &Resources) {
        let Grant { framework, role, agent, resources, .. } = grant;
        assert!(resources.contains(used), "{used} of {resources}");
        self.allocator.accept(*agent, *framework, role, resources, used, None);
        self.allocator.check_invariants();
    }

    pub(super) fn accept_text(&mut self, grant: &Grant, used: &str) {
        self.accept(grant, &resources(used));
    }
}

/// A user who runs tasks that are all alike.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) framework: u64,
    pub(super) role: Role,
    pub(super) task: Resources,
    /// How many tasks it wants to run.
    pub(super) wanted: u64,
    pub(super) weight_millis: u64,
}

/// What a user ended with.
#[derive(Debug, Default, Clone)]
pub(super) struct Outcome {
    pub(super) tasks: u64,
    pub(super) held: Resources,
}

/// Fills the agents one task at a time, always by the first offer of a run, until nobody wants or
/// can run more. Returns the order of the tasks by user, and what each has.
pub(super) fn fill(
    seed: u64,
    agents: &[Resources],
    users: &[User],
) -> (Vec<u64>, BTreeMap<u64, Outcome>, Cluster) {
    fill_under(Box::new(Drf), seed, agents, users)
}

/// The same under any policy.
pub(super) fn fill_under(
    policy: Box<dyn Policy>,
    seed: u64,
    agents: &[Resources],
    users: &[User],
) -> (Vec<u64>, BTreeMap<u64, Outcome>, Cluster) {
    let options = Options { policy, split: None, ..Options::default() };
    let mut cluster = Cluster::with(options, seed);
    for (number, total) in (1..).zip(agents) {
        let id = agent(number);
        cluster.allocator.add_agent(id, total.clone(), Attributes::default(), &[]);
    }
    for user in users {
        cluster.allocator.set_weight(&user.role, user.weight_millis);
        cluster.add_framework(user.framework, &[user.role.as_str()]);
    }
    let (mut order, mut outcomes) = (Vec::new(), BTreeMap::<u64, Outcome>::new());
    let mut grants = Vec::new();
    loop {
        cluster.allocator.allocate(Mono(0), &mut grants);
        if grants.is_empty() {
            cluster.allocator.check_invariants();
            return (order, outcomes, cluster);
        }
        for (index, grant) in grants.drain(..).enumerate() {
            let user = users.iter().find(|user| user.framework == grant.framework.0).unwrap();
            let outcome = outcomes.entry(user.framework).or_default();
            let Grant { framework, role, agent, resources, .. } = &grant;
            if index > 0 {
                let nothing = Resources::new();
                cluster.allocator.accept(*agent, *framework, role, resources, &nothing, None);
            } else if outcome.tasks < user.wanted && resources.contains(&user.task) {
                cluster.allocator.accept(*agent, *framework, role, resources, &user.task, None);
                outcome.tasks += 1;
                outcome.held += &user.task;
                order.push(user.framework);
            } else {
                let until = Some(Mono(u64::MAX));
                cluster.allocator.recover_offered(*agent, *framework, role, resources, until);
            }
        }
    }
}
