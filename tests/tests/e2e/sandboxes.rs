//! The sandbox of an ended task is removed when it is old, that of a running one never.

use std::{collections::BTreeMap, fs, path::PathBuf};

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::{Cluster, ClusterOptions, Framework, FrameworkOptions, Node, wait_until};

use crate::common::shell;

/// The sandboxes of a node by their tasks.
pub(crate) fn sandboxes(node: &Node) -> BTreeMap<String, PathBuf> {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let frameworks = entries(node.data_dir().join("sandboxes"))
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('F'));
    let tasks = frameworks.flat_map(|framework| entries(framework.path()));
    let runs = tasks.flat_map(|task| {
        let name = task.file_name().to_string_lossy().into_owned();
        entries(task.path()).map(move |run| (name.clone(), run.path()))
    });
    runs.collect()
}

pub(crate) fn metric(node: &Node, name: &str) -> f64 {
    let text = node.get("/metrics").map(|answer| answer.text()).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_default()
}

#[test]
fn sandboxes_of_ended_tasks_go_and_those_of_running_ones_stay() {
    let mut cluster = Cluster::start_with(ClusterOptions {
        seeds: 1,
        flags: vec!["--gc-delay".to_owned(), "1s".to_owned()],
        ..ClusterOptions::default()
    });
    let framework = Framework::start(&cluster, FrameworkOptions::new("sandboxes", &[0]));
    // Older than the delay all the time, by its directory's own time.
    let line = "touch -d 2001-01-01 . ; echo here; exec sleep 100000";
    framework.submit([shell("stays", line)]);
    framework.wait_for_state("stays", TaskState::Running);
    framework.submit([shell("goes", "mkdir -p a/b; chmod 0 a/b; echo bye")]);
    framework.wait_for_state("goes", TaskState::Finished);
    wait_until("the ended task's sandbox is removed", || {
        !sandboxes(&cluster.nodes[0]).contains_key("goes")
    });
    let stays = sandboxes(&cluster.nodes[0])["stays"].clone();
    assert_eq!(fs::read_to_string(stays.join("stdout")).unwrap(), "here\n");
    wait_until("the removal is counted", || {
        metric(&cluster.nodes[0], "meshos_agent_sandboxes_removed_total") >= 1.0
    });
    assert!(metric(&cluster.nodes[0], "meshos_agent_sandbox_disk_bytes{amount=\"used\"}") > 0.0);

    let removed = cluster.nodes[0].command(&["logs", "goes"]).run();
    assert_eq!((removed.code(), removed.stdout.as_str()), (1, ""), "{removed:?}");
    assert!(removed.stderr.contains("are removed, 1s after their end"), "{removed:?}");
    assert!(removed.stderr.contains("--gc-delay"), "{removed:?}");
    let kept = cluster.nodes[0].command(&["logs", "stays"]).run().success();
    assert_eq!(kept.stdout, "here\n");

    // The age is not lost when the node dies, nor is what runs taken for old.
    framework.submit([shell("later", "exec sleep 100000")]);
    framework.wait_for_state("later", TaskState::Running);
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    framework.kill("later");
    framework.wait_for_state("later", TaskState::Killed);
    wait_until("the sandbox of a task from before the restart is removed", || {
        !sandboxes(&cluster.nodes[0]).contains_key("later")
    });
    assert!(stays.join("stdout").exists());
    framework.kill("stays");
    wait_until("the last sandbox is removed, and what was above it", || {
        sandboxes(&cluster.nodes[0]).is_empty()
            && !stays.ancestors().nth(2).is_some_and(std::path::Path::exists)
    });
}
