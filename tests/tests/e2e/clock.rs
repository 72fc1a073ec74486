//! The machines' wall clock jumps: nothing is lost, and nodes still accept each other.

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::{
    Clock, Cluster, ClusterOptions, Framework, FrameworkOptions, Journal, Note, wait_until,
};

use crate::common::{
    assert_alive, assert_started_at_most_once, assert_updates_in_order, gated, ids, shell,
    wait_for_running,
};

const DAY_S: i64 = 24 * 3_600;

/// Runs one task to its end.
fn run_one(framework: &Framework, id: &str) {
    framework.submit([shell(id, "exit 0")]);
    framework.wait_for_state(id, TaskState::Finished);
}

#[test]
fn a_clock_that_jumps_back_harms_no_task_and_no_connection() {
    let clock = Clock::new();
    // Keys, certificates and the first records are made in a month that is still to come.
    clock.shift_by_s(30 * DAY_S);
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    for node in &mut cluster.nodes {
        node.arguments().wrapper = clock.wrapper();
        node.start();
    }
    let leader = cluster.wait_until_ready();
    let others: Vec<usize> = (0..3).filter(|index| *index != leader.index).collect();
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("before", &others));
    let tasks = ids("stay", 6);
    framework.submit(gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);

    clock.shift_by_s(0);
    run_one(&framework, "under-the-same-leader");
    // All connections are made anew, with certificates of the month to come, and another node leads.
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    framework.wait_for("the framework goes on under the next leader", |notes| {
        let found =
            |note: &Note| matches!(note, Note::Reregistered(told) if told.term.0 > leader.term);
        notes.iter().any(|(_, note)| found(note)).then_some(())
    });
    cluster.nodes[leader.index].start();
    cluster.wait_until_ready();
    run_one(&framework, "under-the-next-leader");
    assert_alive(&journal, &tasks);

    // Back further, beyond the moment at which any of this was made, for those who come only now.
    clock.shift_by_s(-400 * DAY_S);
    let later = Framework::start(&cluster, FrameworkOptions::new("after", &others));
    run_one(&later, "of-a-new-framework");
    let victim = cluster.follower();
    cluster.nodes[victim].kill();
    cluster.nodes[victim].start();
    cluster.wait_until_ready();
    run_one(&framework, "after-a-restart");
    assert_alive(&journal, &tasks);

    journal.open_gate("gate");
    framework.wait_for_all("the tasks end", &tasks, |state| state == TaskState::Finished);
    assert_started_at_most_once(&journal);
    assert_updates_in_order(&framework);
    wait_until("no node says that something failed inside", || {
        cluster.nodes.iter().all(|node| !node.log().contains("panicked"))
    });
}
