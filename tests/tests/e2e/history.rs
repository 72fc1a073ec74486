//! What is still known of tasks that have ended.

use std::collections::BTreeSet;

use meshos_tests::{Cluster, ClusterOptions, wait_until};
use serde_json::Value;

/// The rows of ended tasks as a node lists them. Who launched a task and when is told by its agent after
/// a change of leader: by another clock.
fn ended(cluster: &Cluster, node: usize) -> BTreeSet<String> {
    let told = cluster.nodes[node].command(&["tasks", "--json"]).run().success().json();
    let rows = told.as_array().expect("a list").clone();
    let without_launch = |mut row: Value| {
        row.as_object_mut().expect("an object").remove("launched_at");
        row.to_string()
    };
    rows.into_iter().map(without_launch).collect()
}

fn of_node(row: &str, node: &str) -> bool {
    row.contains(&format!("\"node_id\":\"{node}\""))
}

#[test]
fn later_leaders_list_the_tasks_that_ended_before_and_their_logs() {
    let mut cluster = Cluster::start_with(ClusterOptions {
        resources: "cpus:4;mem:4096;ports:[31000-31009]".to_owned(),
        ..ClusterOptions::default()
    });
    let leader = cluster.leader();
    let asked = cluster.follower();
    let run = |cluster: &Cluster, arguments: &[&str]| cluster.nodes[asked].command(arguments).run();
    // So many that no node has room for all at once.
    let line = "echo written; exit 3";
    let many = run(
        &cluster,
        &["run", "--quiet", "--name", "many", "--instances", "12", "--shell", "--", line],
    );
    assert_eq!(many.code(), 3, "{many:?}");
    let told = ["\"state\":\"failed\"", "exited with status 3"];
    wait_until("all are listed with their ends", || {
        let rows = ended(&cluster, asked);
        rows.len() == 12 && rows.iter().all(|row| told.iter().all(|part| row.contains(part)))
    });
    let before = ended(&cluster, asked);

    // What ended on the dead node the dead leader had told the others.
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    assert!(before.iter().any(|row| of_node(row, &leader.node_id)), "{before:?}");
    wait_until("the next leader lists all of it", || ended(&cluster, asked) == before);
    cluster.nodes[leader.index].start();
    wait_until("the node is back", || {
        let health = cluster.nodes[leader.index].json("/health");
        health.is_some_and(|health| health["registered"] == true)
    });
    assert_eq!(ended(&cluster, asked), before, "nothing is listed twice");

    for index in 0..3 {
        cluster.nodes[index].kill();
    }
    for index in 0..3 {
        cluster.nodes[index].start();
    }
    cluster.wait_until_ready();
    wait_until("all of it is listed after a restart of the cluster", || {
        ended(&cluster, asked) == before
    });
    for row in &before {
        let row: Value = serde_json::from_str(row).expect("JSON");
        let id = row["id"].as_str().expect("a text");
        assert_eq!(run(&cluster, &["logs", id]).success().stdout, "written\n");
    }
}
