//! The launcher dies, alone or with its node: containers live.

use meshos_sdk::protocol::task::{Exit, Reason, TaskState};
use meshos_tests::{
    Cluster, Framework, FrameworkOptions, Journal, PATIENCE, poll_until, wait_until,
};

use crate::common::{assert_alive, assert_updates_in_order, gated, ids, shell, wait_for_running};

/// What is true of tasks whose launcher died: they run, their end is seen, and that nobody could read their exit
/// status is said where that is so; new ones run as ever; they can be killed.
fn tasks_are_adopted(with_node: bool) {
    let mut cluster = Cluster::start(1);
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("adopted", &[0]));
    let tasks = ids("old", 6);
    framework.submit(gated(&journal, &tasks, "gate", 3));
    wait_for_running(&framework, &journal, &tasks);
    let launcher = cluster.nodes[0].launcher().expect("a node with tasks has a launcher");
    if with_node {
        cluster.nodes[0].kill();
    }
    launcher.kill();
    wait_until("the launcher is gone", || !launcher.is_alive());
    assert_alive(&journal, &tasks);
    if with_node {
        cluster.nodes[0].start();
        cluster.wait_until_ready();
    }
    poll_until(PATIENCE, "there is another launcher", || {
        cluster.nodes[0].launcher().filter(|now| *now != launcher)
    });
    framework.submit([shell("new", "exit 0")]);
    framework.wait_for_state("new", TaskState::Finished);
    assert_alive(&journal, &tasks);

    framework.kill(&tasks[0]);
    framework.wait_for_state(&tasks[0], TaskState::Killed);
    journal.open_gate("gate");
    for id in &tasks[1..] {
        let update = framework.wait_for_state(id, TaskState::Failed);
        // Newer kernels tell the status of a process that was somebody else's child; older ones do not.
        match update.exit {
            Some(Exit::Code { code }) => assert_eq!(code, 3, "{update:?}"),
            _ => assert_eq!(update.reason, Some(Reason::ExitStatusUnreadable), "{update:?}"),
        }
        assert!(!update.message.is_empty(), "{update:?}");
    }
    assert_updates_in_order(&framework);
}

#[test]
fn tasks_outlive_their_launcher() {
    tasks_are_adopted(false);
}

#[test]
fn tasks_outlive_their_launcher_and_their_node() {
    tasks_are_adopted(true);
}
