//! An experiment of Ghodsi et al. (NSDI 2011, section 6.1) as far as it can be had again: the first phase
//! of two frameworks that share 48 nodes of 4 processors and 14 GB.

use super::{hierarchy::Churn, support::resources};

/// Published: about 70 % of the memory for the one and 75 % of the processors for the other, so that
/// each has more than half of what it needs most. (How equal they are depends on where tasks are put:
/// of the large ones only one fits on a node, beside three small ones.)
#[test]
fn two_frameworks_have_more_than_half_of_what_they_need_most() {
    let (large, small) = ("cpus:1;mem:10240", "cpus:1;mem:1024");
    let users = [(1, "one", large), (2, "two", small)];
    let mut churn = Churn::over(48, "cpus:4;mem:14336", &users);
    churn.fill();
    let tasks = churn.tasks();
    let per_mille = |user: u64, amount: i64, total: i64| {
        i64::try_from(tasks[&user]).unwrap() * amount * 1000 / total
    };
    let (mem, cpus) = (per_mille(1, 10, 48 * 14), per_mille(2, 1, 48 * 4));
    assert!((600..=750).contains(&mem) && (700..=800).contains(&cpus), "{mem} and {cpus}");
    let total = resources("cpus:192;mem:688128").quantities();
    assert_eq!(churn.cluster.allocator.total(), &total);
}
