//! A node process dies and comes back: its tasks do not notice.

use meshos_sdk::protocol::task::{Exit, TaskState};
use meshos_tests::{Cluster, ClusterOptions, Framework, FrameworkOptions, Journal, wait_until};

use crate::common::{assert_alive, assert_updates_in_order, gated, ids, shell, wait_for_running};

#[test]
fn tasks_outlive_their_killed_node_and_exits_in_the_gap_are_reported() {
    let mut cluster = Cluster::start(3);
    let victim = cluster.follower();
    let gateway = cluster.leader().index;
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("restarts", &[gateway]));
    let node = cluster.nodes[victim].id();
    let (stay, end) = (ids("stay", 5), ids("end", 5));
    framework.submit_on(&node, gated(&journal, &stay, "stay", 0));
    framework.submit_on(&node, gated(&journal, &end, "end", 3));
    let all: Vec<String> = stay.iter().chain(&end).cloned().collect();
    wait_for_running(&framework, &journal, &all);

    let launcher = cluster.nodes[victim].launcher().expect("a node with tasks has a launcher");
    cluster.nodes[victim].kill();
    journal.open_gate("end");
    let births = journal.births();
    wait_until("half of the tasks end while their node is away", || {
        end.iter().all(|id| !births[id][0].is_alive())
    });
    assert_alive(&journal, &stay);
    cluster.nodes[victim].start();

    for id in &end {
        let update = framework.wait_for_state(id, TaskState::Failed);
        assert_eq!(update.exit, Some(Exit::Code { code: 3 }), "{update:?}");
        assert!(update.update.is_some(), "its agent told it: {update:?}");
    }
    cluster.wait_until_ready();
    assert_alive(&journal, &stay);
    assert_eq!(cluster.nodes[victim].launcher(), Some(launcher), "the launcher is the same");
    assert_eq!(cluster.nodes[victim].id(), node);

    // The node takes new tasks, and ends old ones.
    framework.submit_on(&node, [shell("new", "exit 0")]);
    framework.wait_for_state("new", TaskState::Finished);
    framework.kill(&stay[0]);
    framework.wait_for_state(&stay[0], TaskState::Killed);
    journal.open_gate("stay");
    framework
        .wait_for_all("the rest ends by itself", &stay[1..], |state| state == TaskState::Finished);
    assert_updates_in_order(&framework);
}

#[test]
fn tasks_outlive_a_node_that_is_told_to_stop() {
    let mut cluster = Cluster::start(1);
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("upgrades", &[0]));
    let tasks = ids("task", 3);
    framework.submit(gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);
    cluster.nodes[0].terminate();
    assert_alive(&journal, &tasks);
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    journal.open_gate("gate");
    framework.wait_for_all("the tasks end", &tasks, |state| state == TaskState::Finished);
    assert_updates_in_order(&framework);
}

#[test]
fn a_node_that_is_told_to_stop_its_tasks_ends_them_and_says_so() {
    let flags = vec!["--stop-tasks".to_owned()];
    let mut cluster = Cluster::start_with(ClusterOptions { flags, ..ClusterOptions::default() });
    let (victim, gateway) = (cluster.follower(), cluster.leader().index);
    let journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("stopped", &[gateway]));
    let node = cluster.nodes[victim].id();
    let tasks = ids("task", 3);
    framework.submit_on(&node, gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);
    let births = journal.births();
    cluster.nodes[victim].terminate();
    // Nobody but the node ended them.
    for id in &tasks {
        assert!(!births[id][0].is_alive(), "{id} lives on");
    }
    // Their framework hears it from there: at once, or when the node is back if it had no time left.
    cluster.nodes[victim].start();
    framework.wait_for_all("the tasks are killed", &tasks, |state| state == TaskState::Killed);
}

#[test]
fn a_node_with_too_little_for_its_tasks_does_not_start_and_one_with_more_does() {
    let mut cluster = Cluster::start(3);
    let victim = cluster.follower();
    let gateway = cluster.leader().index;
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("shrunk", &[gateway]));
    let node = cluster.nodes[victim].id();
    let tasks = ids("task", 3);
    framework.submit_on(&node, gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);
    cluster.nodes[victim].terminate();

    // Each task holds a tenth of a cpu and 32 MB. What is given last holds.
    let given = |cluster: &mut Cluster, resources: &str, attributes: &str| {
        let arguments = cluster.nodes[victim].arguments();
        let position = arguments.flags.iter().position(|flag| flag == "--resources").unwrap();
        resources.clone_into(&mut arguments.flags[position + 1]);
        arguments.flags.extend(["--attributes".to_owned(), attributes.to_owned()]);
    };
    given(&mut cluster, "cpus:0.2;mem:4096", "rack:b");
    let refused = cluster.nodes[victim].run_to_end();
    assert_eq!(refused.code(), 1, "{refused:?}");
    let what = "they hold cpus:0.3 and it has cpus:0.2 (task ";
    assert!(refused.stderr.contains(what), "{refused:?}");
    assert!(tasks.iter().all(|task| refused.stderr.contains(task.as_str())), "{refused:?}");
    assert_alive(&journal, &tasks);

    let arguments = cluster.nodes[victim].arguments();
    let kept = arguments.flags.len() - 2;
    arguments.flags.truncate(kept);
    given(&mut cluster, "cpus:65;mem:4096", "rack:b");
    cluster.nodes[victim].start();
    cluster.wait_until_ready();
    assert_alive(&journal, &tasks);
    wait_until("the cluster sees what the node has now", || {
        let rows = cluster.nodes[gateway].json("/api/nodes").unwrap_or_default();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().any(|row| {
            row["id"] == node.as_str()
                && row["resources"]["cpus"] == 65
                && row["attributes"]["rack"] == "b"
        })
    });
    journal.open_gate("gate");
    framework.wait_for_all("the tasks finish", &tasks, |state| state == TaskState::Finished);
    assert_updates_in_order(&framework);
}
