//! Synthetic cluster life in a shortened form: `meshos-sim --days 7` plays a week under each policy.

use meshos_sim::week::{Cluster, DAY_S, Report};

fn play(policy: &str, seconds: u64) -> Report {
    let mut cluster = Cluster::new(&policy.parse().expect("a policy"), 1);
    cluster.run_s(seconds);
    cluster.report()
}

#[test]
fn a_day_under_the_default_policy_breaks_no_law() {
    let report = play("drf", DAY_S);
    assert!(report.used[0] > 450, "the processors are used: {report:?}");
    assert!(report.batch_waits().count() > 50_000, "batch work runs: {report:?}");
}

#[test]
fn hours_under_the_other_policies_break_no_law() {
    for policy in ["max-min:cpus", "priority", "fair-decay:1h", "random"] {
        let report = play(policy, DAY_S / 8);
        assert!(report.used[0] > 100, "{report:?}");
    }
}

#[test]
fn a_seed_decides_everything() {
    assert_eq!(play("random", 3_600), play("random", 3_600));
}
