//! The clusters that are measured, and what is measured of them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use meshos_alloc::{Allocator, Grant, Options, Quota};
use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::{AgentId, FrameworkId, NodeId},
    resources::Resources,
    role::Role,
    time::Mono,
};

/// A refusal that never ends.
pub(crate) const NEVER: Mono = Mono(u64::MAX);

pub(crate) fn agent(number: u64) -> AgentId {
    AgentId::new(NodeId::from_bits(number), 1)
}

pub(crate) fn parse(text: &str) -> Resources {
    text.parse().expect("a literal that is well-formed")
}

pub(crate) fn cluster(agents: u64, frameworks: u64) -> Allocator {
    let mut allocator = Allocator::new(Options::default(), 1);
    let star = BTreeSet::from([Role::default()]);
    for framework in 0..frameworks {
        let id = FrameworkId(framework);
        allocator.add_framework(id, &star, &BTreeSet::new(), Capabilities::default());
    }
    let total = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    let ports: Vec<_> = (0..15).map(|index| 31_000 + index * 2).collect();
    let ports: Vec<_> = ports.iter().map(|port| format!("{port}-{port}")).collect();
    let used =
        parse(&format!("cpus:16;mem:2014;disk:1024;ports:[{},31030-32000]", ports.join(",")));
    for number in 0..agents {
        let used = [(FrameworkId(number % frameworks), Role::default(), used.clone())];
        allocator.add_agent(agent(number), total.clone(), Attributes::default(), &used);
    }
    allocator
}

pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = what();
    (result, start.elapsed())
}

pub(crate) fn run(allocator: &mut Allocator) -> (Vec<Grant>, Duration) {
    timed(|| counted_run(allocator))
}

/// A function of its own, so that a profiler can be told to count what happens in it alone.
#[inline(never)]
fn counted_run(allocator: &mut Allocator) -> Vec<Grant> {
    let mut grants = Vec::new();
    allocator.allocate(Mono(0), &mut grants);
    grants
}

pub(crate) fn decline(allocator: &mut Allocator, grants: &[Grant]) {
    for Grant { framework, role, agent, resources, .. } in grants {
        allocator.recover_offered(*agent, *framework, role, resources, Some(NEVER));
    }
}

/// As many agents as roles with a quota as frameworks, each in a role of its own.
pub(crate) fn quota_cluster(count: u64) -> Allocator {
    let mut allocator = Allocator::new(Options::default(), 1);
    let total = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    for number in 0..count {
        allocator.add_agent(agent(number), total.clone(), Attributes::default(), &[]);
        let role: Role = format!("role-{number}").parse().expect("a role");
        let all = total.quantities();
        let limit = all.iter().map(|(name, amount)| (name.clone(), amount)).collect();
        allocator.set_quota(&role, Quota { guarantee: all, limit });
        let (roles, none) = (BTreeSet::from([role]), BTreeSet::new());
        allocator.add_framework(FrameworkId(number), &roles, &none, Capabilities::default());
    }
    allocator
}
