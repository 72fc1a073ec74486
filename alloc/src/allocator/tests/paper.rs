//! An experiment of Ghodsi et al. (NSDI 2011, section 6.1) as far as it can be had again: two jobs share
//! 48 nodes, and need other things in each phase.

use std::collections::BTreeMap;

use meshos_protocol::resources::Resources;

use super::{hierarchy::Churn, support::resources};

/// What share of the processors and of the memory a user holds, in thousandths.
fn held(churn: &Churn, user: u64, task: &Resources) -> (i64, i64) {
    let tasks = i64::try_from(churn.tasks().get(&user).copied().unwrap_or(0)).unwrap();
    let of = |amount: i64, total: i64| tasks * amount * 1000 / total;
    (of(task.cpus().units(), 48 * 4), of(task.mem().units(), 48 * 14 * 1024))
}

#[test]
fn two_jobs_have_equal_dominant_shares_in_each_phase() {
    let phases = [
        // Either has more than half of its dominant resource.
        ("cpus:1;mem:10240", "cpus:1;mem:1024", 500),
        ("cpus:2;mem:4096", "cpus:1;mem:3072", 400),
        ("cpus:1;mem:7168", "cpus:1;mem:4096", 400),
    ];
    let users = [(1, "one", phases[0].0), (2, "two", phases[0].1)];
    let mut churn = Churn::over(48, "cpus:4;mem:14336", &users);
    let mut found = Vec::new();
    for (one, two, least) in phases {
        churn.users = BTreeMap::from([(1, resources(one)), (2, resources(two))]);
        // The tasks of the phase before end one after the other.
        for _ in 0..churn.running() {
            churn.end_oldest();
            churn.fill();
        }
        churn.fill();
        let shares = [(1, one), (2, two)].map(|(user, task)| {
            let (cpus, mem) = held(&churn, user, &resources(task));
            cpus.max(mem)
        });
        found.push((shares, least));
    }
    for (shares, least) in &found {
        assert!(shares.iter().all(|share| share >= least), "{found:?}");
        assert!(shares[0].abs_diff(shares[1]) <= 60, "{found:?}");
    }
    let total = resources("cpus:192;mem:688128").quantities();
    assert_eq!(churn.cluster.allocator.total(), &total);
}
