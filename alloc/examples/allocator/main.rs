//! Measures allocation runs: `cargo run --release -p meshos-alloc --example allocator`.
//!
//! Prints one line of JSON; `cargo xtask bench allocator` runs it. The agents and frameworks are
//! those of Mesos's own benchmark: each agent has `cpus:24;mem:4096;disk:4096;ports:[31000-32000]`,
//! of which `cpus:16;mem:2014;disk:1024` and the port range in 16 fragments (15 single ports and the
//! rest, as Mesos cuts it) are used by framework i mod F from the start, all frameworks are in role `*`, and in each round every framework declines all it is
//! offered with a filter that never ends. The time of one run over all agents is reported: the
//! median of F rounds, beside it the first and the longest.
//!
//! With the name of a case only that one is measured, with a number after it in so many rounds:
//! `cargo xtask bench allocator` has the instructions of [`counted_run`] counted that way.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the clock; the library does not")]
#![expect(clippy::print_stdout, reason = "it prints its findings")]
#![expect(
    clippy::disallowed_methods,
    reason = "it is no part of the pure crate: it reads its arguments and its memory"
)]

mod cases;

use std::time::Duration;

use cases::{agent, cluster, decline, parse, quota_cluster, run, timed};
use meshos_alloc::Allocator;
use meshos_protocol::{ids::FrameworkId, role::Role};

/// The name of a figure, its unit, and how it is measured in so many rounds.
type Case = (&'static str, &'static str, fn(Option<usize>) -> Vec<Duration>);

fn main() {
    let only = std::env::args().nth(1);
    let rounds = std::env::args().nth(2).map(|rounds| rounds.parse().expect("a number of rounds"));
    let mut figures = serde_json::Map::new();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    // First, so that what others leave behind does not count.
    if wanted("memory_50k_mb") {
        figures.insert("memory_50k_mb".to_owned(), figure(memory(50_000, 1_000), "MB"));
    }
    let cases: [Case; 5] = [
        ("decline_10k_1k_ms", "ms", |rounds| declining_everything(10_000, 1_000, rounds)),
        ("decline_20k_2k_ms", "ms", |rounds| declining_everything(20_000, 2_000, rounds)),
        ("idle_10k_3k_ms", "ms", |_| nothing_to_offer(10_000, 3_000)),
        ("recover_50k_1k_us", "us", |_| one_agent_frees(50_000, 1_000)),
        ("quota_3k_ms", "ms", |rounds| roles_with_quota(3_000, rounds.unwrap_or(10))),
    ];
    for (name, unit, measure) in cases.into_iter().filter(|(name, ..)| wanted(name)) {
        let mut times = measure(rounds);
        let first = times[0].as_nanos();
        times.sort();
        let (median, worst) =
            (times[times.len() / 2].as_nanos(), times[times.len() - 1].as_nanos());
        figures.insert(name.to_owned(), figure(median, unit));
        if name.starts_with("decline") {
            let name = name.trim_end_matches("_ms");
            figures.insert(format!("{name}_first_ms"), figure(first, unit));
            figures.insert(format!("{name}_worst_ms"), figure(worst, unit));
        }
    }
    println!("{}", serde_json::json!({ "figures": figures }));
}

/// Something measured in millionths of the unit's whole: nanoseconds for ms and us, bytes for MB.
fn figure(measured: u128, unit: &str) -> serde_json::Value {
    let per_unit = if unit == "us" { 1_000 } else { 1_000_000 };
    let value = format!("{}.{:03}", measured / per_unit, measured % per_unit * 1_000 / per_unit);
    let value: serde_json::Value = value.parse().expect("a number");
    serde_json::json!({"value": value, "unit": unit})
}

fn declining_everything(agents: u64, frameworks: u64, rounds: Option<usize>) -> Vec<Duration> {
    let rounds = rounds.unwrap_or_else(|| usize::try_from(frameworks).expect("a few thousand"));
    let mut allocator = cluster(agents, frameworks);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let (grants, took) = run(&mut allocator);
        assert_eq!(u64::try_from(grants.len()), Ok(agents), "one offer for each agent");
        times.push(took);
        decline(&mut allocator, &grants);
    }
    times
}

/// Everybody has declined everything; then nothing changes any more. They do so one after the other,
/// which comes to the same filters as if they did it together, and sooner.
fn nothing_to_offer(agents: u64, frameworks: u64) -> Vec<Duration> {
    let mut allocator = cluster(agents, frameworks);
    let set_active = |allocator: &mut Allocator, framework: u64, active| {
        allocator.set_framework_active(FrameworkId(framework), active);
    };
    (0..frameworks).for_each(|framework| set_active(&mut allocator, framework, false));
    for framework in 0..frameworks {
        set_active(&mut allocator, framework, true);
        let (grants, _) = run(&mut allocator);
        assert_eq!(u64::try_from(grants.len()), Ok(agents), "every agent is offered");
        decline(&mut allocator, &grants);
        set_active(&mut allocator, framework, false);
    }
    (0..frameworks).for_each(|framework| set_active(&mut allocator, framework, true));
    let (grants, _) = run(&mut allocator);
    assert!(grants.is_empty(), "everybody has declined everything");
    let times = (0..100).map(|_| run(&mut allocator)).map(|(grants, took)| {
        assert!(grants.is_empty(), "there is nothing to offer");
        took
    });
    times.collect()
}

/// One agent, of which a few frameworks have refused what is free, frees a task's resources.
fn one_agent_frees(agents: u64, frameworks: u64) -> Vec<Duration> {
    let mut allocator = cluster(agents, frameworks);
    for _ in 0..3 {
        let (grants, _) = run(&mut allocator);
        decline(&mut allocator, &grants);
    }
    let (grants, _) = run(&mut allocator);
    decline(&mut allocator, &grants[1..]);
    let mut times = Vec::new();
    let used = parse("cpus:1;mem:16");
    for number in 0..200 {
        let framework = FrameworkId(number % frameworks);
        let ((), freed) = timed(|| {
            allocator.recover_allocated(agent(number), framework, &Role::default(), &used);
        });
        let (grants, took) = run(&mut allocator);
        assert!(!grants.is_empty(), "what was freed is offered");
        times.push(freed + took);
        decline(&mut allocator, &grants);
        run(&mut allocator);
    }
    times
}

/// Each role is offered one agent in each round.
fn roles_with_quota(count: u64, rounds: usize) -> Vec<Duration> {
    let mut allocator = quota_cluster(count);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let (grants, took) = run(&mut allocator);
        assert_eq!(u64::try_from(grants.len()), Ok(count), "one offer for each role");
        times.push(took);
        decline(&mut allocator, &grants);
    }
    times
}

/// The memory that agents with their tasks and the first offers take.
fn memory(agents: u64, frameworks: u64) -> u128 {
    let before = resident_bytes();
    let mut allocator = cluster(agents, frameworks);
    let (grants, _) = run(&mut allocator);
    let after = resident_bytes();
    assert_eq!(u64::try_from(grants.len()), Ok(agents), "one offer for each agent");
    after - before
}

fn resident_bytes() -> u128 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux machine");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u128>().ok()).expect("VmRSS in kB") * 1024
}
