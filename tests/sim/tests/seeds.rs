//! A few whole runs, and that a run can be repeated exactly.

use meshos_sim::run;

#[test]
fn random_clusters_keep_every_invariant_and_come_to_rest() {
    let mut echoes = 0;
    for seed in 100..104 {
        let summary = run::seed(seed, false);
        assert!(summary.tasks_started > 10, "seed {seed} did next to nothing: {summary:?}");
        assert!(summary.terms > 1, "seed {seed} had no change of leader: {summary:?}");
        echoes += summary.echoes;
    }
    assert!(echoes > 0, "nothing was said twice");
}

#[test]
fn a_seed_decides_everything() {
    let first = run::seed(7, false);
    assert_eq!(run::seed(7, false), first);
    assert_ne!(run::seed(8, false).hash, first.hash);
}
