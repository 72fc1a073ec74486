//! The node that a framework is connected to dies.

use std::time::Duration;

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::{Cluster, Framework, FrameworkOptions, Journal, Note};

use crate::common::{
    assert_alive, assert_started_at_most_once, assert_updates_in_order, gated, ids,
    wait_for_every_update, wait_for_running,
};

/// A framework is connected to a node that neither leads nor runs its tasks; that node is killed.
fn gateway_dies(failover_timeout: Duration) {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().index;
    let gateway = cluster.follower();
    let worker = 3 - leader - gateway;
    let mut journal = Journal::new();
    let options = FrameworkOptions {
        failover_timeout,
        ..FrameworkOptions::new("wanderer", &[gateway, worker, leader])
    };
    let framework = Framework::start(&cluster, options);
    let id = framework.id();
    let (first, second) = (ids("first", 10), ids("second", 10));
    let node = cluster.nodes[worker].id();
    framework.submit_on(&node, gated(&journal, &first, "first", 0));
    framework.submit_on(&node, gated(&journal, &second, "second", 0));
    let all: Vec<String> = first.iter().chain(&second).cloned().collect();
    wait_for_running(&framework, &journal, &all);

    cluster.nodes[gateway].kill();
    // These end while the framework may be connected to nobody.
    journal.open_gate("first");
    framework.wait_for("the subscription goes on", |notes| {
        notes.iter().find(|(_, note)| matches!(note, Note::Reregistered(_))).map(drop)
    });
    assert_eq!(framework.id(), id, "the framework keeps its id");
    framework.wait_for_all("the first tasks end", &first, |state| state == TaskState::Finished);
    assert_alive(&journal, &second);

    let third = ids("third", 3);
    framework.submit_on(&node, gated(&journal, &third, "second", 0));
    wait_for_running(&framework, &journal, &third);
    journal.open_gate("second");
    framework.wait_for_all("the other tasks end", &second, |state| state == TaskState::Finished);
    framework.wait_for_all("the new tasks end", &third, |state| state == TaskState::Finished);
    assert_started_at_most_once(&journal);
    let all: Vec<String> = all.into_iter().chain(third).collect();
    wait_for_every_update(&framework, &all);
    assert_updates_in_order(&framework);
    let errors: Vec<_> =
        framework.notes().into_iter().filter(|(_, note)| matches!(note, Note::Error(_))).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn the_driver_moves_to_another_node_and_loses_nothing() {
    gateway_dies(Duration::from_secs(60));
}

#[test]
fn tasks_live_though_their_framework_has_no_time_to_fail_over() {
    gateway_dies(Duration::ZERO);
}
