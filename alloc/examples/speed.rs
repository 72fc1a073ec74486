//! Prints how long runs take: `cargo run --release -p meshos-alloc --example speed`.
//!
//! The agents and frameworks are those of Mesos's own benchmark: each agent has
//! `cpus:24;mem:4096;disk:4096;ports:[31000-32000]`, of which `cpus:16;mem:2014;disk:1024` and 16
//! scattered ports are used by framework i mod F from the start, and in each round every framework
//! declines all it is offered with a filter that never expires.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the clock; the library does not")]
#![expect(clippy::print_stdout, reason = "it prints its findings")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use meshos_alloc::{Allocator, Grant, Options};
use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::{AgentId, FrameworkId, NodeId},
    resources::Resources,
    role::Role,
    time::Mono,
};

const NEVER: Mono = Mono(u64::MAX);

fn main() {
    declining_everything(1_000, 100, 20);
    declining_everything(10_000, 1_000, 20);
    declining_everything(20_000, 2_000, 5);
    nothing_to_offer(10_000, 3_000);
    one_agent_frees(50_000, 1_000);
}

fn agent(number: u64) -> AgentId {
    AgentId::new(NodeId::from_bits(number), 1)
}

fn parse(text: &str) -> Resources {
    text.parse().expect("a literal that is well-formed")
}

fn cluster(agents: u64, frameworks: u64) -> Allocator {
    let mut allocator = Allocator::new(Options::default(), 1);
    let star = BTreeSet::from([Role::default()]);
    for framework in 0..frameworks {
        let id = FrameworkId(framework);
        allocator.add_framework(id, &star, &BTreeSet::new(), Capabilities::default());
    }
    let total = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]");
    let ports: Vec<_> =
        (0..16).map(|index| 31_000 + index * 60).map(|port| format!("{port}-{port}")).collect();
    let used = parse(&format!("cpus:16;mem:2014;disk:1024;ports:[{}]", ports.join(",")));
    for number in 0..agents {
        let used = [(FrameworkId(number % frameworks), Role::default(), used.clone())];
        allocator.add_agent(agent(number), total.clone(), Attributes::default(), &used);
    }
    allocator
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = what();
    (result, start.elapsed())
}

fn run(allocator: &mut Allocator) -> (Vec<Grant>, Duration) {
    timed(|| {
        let mut grants = Vec::new();
        allocator.allocate(Mono(0), &mut grants);
        grants
    })
}

fn decline(allocator: &mut Allocator, grants: &[Grant]) {
    for Grant { framework, role, agent, resources, .. } in grants {
        allocator.recover_offered(*agent, *framework, role, resources, Some(NEVER));
    }
}

fn declining_everything(agents: u64, frameworks: u64, rounds: usize) {
    let (mut allocator, built) = timed(|| cluster(agents, frameworks));
    println!("{agents} agents, {frameworks} frameworks, built in {built:?}");
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let (grants, took) = run(&mut allocator);
        slowest = slowest.max(took);
        let ((), declined) = timed(|| decline(&mut allocator, &grants));
        if round < 2 || round + 1 == rounds {
            println!(
                "  round {round}: {} offers in {took:?}, declined in {declined:?}",
                grants.len()
            );
        }
    }
    println!("  slowest of {rounds} rounds: {slowest:?}");
}

fn nothing_to_offer(agents: u64, frameworks: u64) {
    let mut allocator = cluster(agents, frameworks);
    allocator.allocate(Mono(0), &mut Vec::new());
    let (grants, took) = run(&mut allocator);
    println!(
        "{agents} agents, {frameworks} frameworks, nothing changed: {} offers in {took:?}",
        grants.len()
    );
}

/// One agent that everybody has refused frees a task's resources, time and again.
fn one_agent_frees(agents: u64, frameworks: u64) {
    let mut allocator = cluster(agents, frameworks);
    allocator.allocate(Mono(0), &mut Vec::new());
    let (number, used) = (7, parse("cpus:1;mem:16"));
    let mut times = Vec::new();
    for round in 0..100u64 {
        let framework = FrameworkId(number % frameworks);
        let ((), freed) = timed(|| {
            allocator.recover_allocated(agent(number), framework, &Role::default(), &used);
        });
        let (grants, took) = run(&mut allocator);
        times.push(freed + took);
        assert_eq!(grants.len(), 1, "round {round}");
        // The receiver runs the same task again and is offered the agent's rest no more.
        let Grant { framework: taker, role, agent, resources, .. } = &grants[0];
        allocator.accept(*agent, *taker, role, resources, &used, Some(NEVER));
        allocator.recover_allocated(*agent, *taker, role, &used);
        allocator.add_allocated(*agent, framework, role, &used);
        run(&mut allocator);
    }
    times.sort();
    println!(
        "{agents} agents, {frameworks} frameworks, one agent frees: median {:?}",
        times[times.len() / 2]
    );
}
