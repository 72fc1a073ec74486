//! Allocation runs under criterion: `cargo bench -p meshos-alloc`, and with `-- --save-baseline NAME` before a
//! change and `-- --baseline NAME` after it whether the change made them slower.
//!
//! The clusters are those of `cargo xtask bench allocator`, which tells the figures that have aims. Runs alone are
//! timed, not the declines between them.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the clock; the library does not")]

#[path = "../examples/allocator/cases.rs"]
mod cases;

use std::time::Duration;

use cases::{agent, cluster, decline, parse, quota_cluster, run, timed};
use criterion::{Criterion, criterion_group, criterion_main};
use meshos_alloc::Allocator;
use meshos_protocol::{ids::FrameworkId, role::Role};

criterion_group!(runs, whole_runs, one_change);
criterion_main!(runs);

/// The name of a case, how its cluster is made, and for how many rounds it is good.
type Case = (&'static str, fn() -> Allocator, u64);

/// Runs over all agents: everybody declines everything each time, in a new cluster once half of them have.
fn whole_runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("run");
    group.sample_size(10);
    let cases: [Case; 3] = [
        ("decline_10k_1k", || cluster(10_000, 1_000), 500),
        ("decline_20k_2k", || cluster(20_000, 2_000), 1_000),
        ("quota_3k", || quota_cluster(3_000), 10),
    ];
    for (name, new, rounds_max) in cases {
        group.bench_function(name, |bencher| {
            let (mut allocator, mut rounds) = (new(), 0);
            bencher.iter_custom(|iterations| {
                let mut sum = Duration::ZERO;
                for _ in 0..iterations {
                    if rounds == rounds_max {
                        (allocator, rounds) = (new(), 0);
                    }
                    rounds += 1;
                    let (grants, took) = run(&mut allocator);
                    assert!(!grants.is_empty(), "somebody has not declined everything yet");
                    sum += took;
                    decline(&mut allocator, &grants);
                }
                sum
            });
        });
    }
}

/// One agent of 50,000 frees what a task had, and the run after it.
fn one_change(criterion: &mut Criterion) {
    let mut allocator = cluster(50_000, 1_000);
    for _ in 0..3 {
        let (grants, _) = run(&mut allocator);
        decline(&mut allocator, &grants);
    }
    let used = parse("cpus:0.001;mem:1");
    let mut number = 0;
    criterion.bench_function("recover_50k_1k", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut sum = Duration::ZERO;
            for _ in 0..iterations {
                number += 1;
                let framework = FrameworkId(number % 1_000);
                let ((), freed) = timed(|| {
                    let role = Role::default();
                    allocator.recover_allocated(agent(number % 50_000), framework, &role, &used);
                });
                let (grants, took) = run(&mut allocator);
                sum += freed + took;
                decline(&mut allocator, &grants);
            }
            sum
        });
    });
}
