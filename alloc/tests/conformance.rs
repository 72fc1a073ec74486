//! Every policy that comes with the allocator passes the suite that every policy must pass.
//!
//! `MESHOS_CASES=5000 cargo test -p meshos-alloc --test conformance` looks at more cases.

use std::time::Duration;

use meshos_alloc::{
    conformance,
    policy::{Drf, FairDecay, MaxMin, Priority, Random},
};
use meshos_protocol::resources::ResourceName;

#[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long to look")]
fn cases() -> u64 {
    std::env::var("MESHOS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}

fn max_min() -> MaxMin {
    MaxMin { resource: ResourceName::Cpus }
}

#[test]
fn drf_conforms() {
    conformance::check(|| Box::new(Drf), cases());
}

#[test]
fn max_min_conforms() {
    conformance::check(|| Box::new(max_min()), cases());
}

#[test]
fn priority_conforms() {
    conformance::check(|| Box::new(Priority), cases());
}

#[test]
fn fair_decay_conforms() {
    conformance::check(|| Box::new(FairDecay::new(Duration::from_secs(2))), cases());
}

#[test]
fn random_conforms() {
    conformance::check(|| Box::new(Random::default()), cases());
}

#[test]
fn drf_is_fair() {
    conformance::check_fairness(|| Box::new(Drf), true, cases());
}

#[test]
fn drf_shares_a_single_resource_out_fairly() {
    conformance::check_fairness(|| Box::new(Drf), false, cases());
}

#[test]
fn priority_is_fair_within_a_band() {
    conformance::check_fairness(|| Box::new(Priority), true, cases());
}

#[test]
fn max_min_is_fair_in_its_resource() {
    conformance::check_fairness(|| Box::new(max_min()), false, cases());
}

/// Guards the suite: it must be able to tell an unfair policy from a fair one.
#[test]
fn an_unfair_policy_does_not_pass_as_fair() {
    let unfair = || conformance::check_fairness(|| Box::new(Random::default()), true, 16);
    assert!(std::panic::catch_unwind(unfair).is_err());
    let max_min = || conformance::check_fairness(|| Box::new(max_min()), true, 64);
    assert!(std::panic::catch_unwind(max_min).is_err(), "max-min is not fair in two resources");
}
