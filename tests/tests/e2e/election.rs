//! Nodes elect a leader, and another when it dies; `meshos dev` does it all in one command.

use meshos_tests::{Cluster, ClusterOptions, Command, Slot, cgroups_below, free_ports, of_path};

#[test]
fn three_nodes_elect_a_leader_and_another_when_it_is_killed() {
    let mut cluster = Cluster::start(3);
    let first = cluster.leader();
    for index in 0..3 {
        assert_eq!(
            cluster.leader_told_by(index).as_ref(),
            Some(&first),
            "as node {index} tells it"
        );
        assert_eq!(cluster.nodes[index].id() == first.node_id, index == first.index);
    }
    cluster.nodes[first.index].kill();
    let second = cluster.leader_after(first.term);
    assert_ne!(second.index, first.index);

    // The killed node comes back as a follower, under its old id.
    cluster.nodes[first.index].start();
    let agreed = cluster.wait_until_ready();
    assert!(agreed.term >= second.term);
    assert_eq!(cluster.nodes[first.index].id(), first.node_id);

    // A node that is told to stop does so, and the others go on.
    cluster.nodes[second.index].terminate();
    cluster.leader();
}

#[test]
fn a_node_alone_leads_itself() {
    let mut cluster = Cluster::start(1);
    assert_eq!(cluster.leader().index, 0);
}

#[test]
fn a_node_beside_the_seeds_joins_and_is_told_the_leader() {
    let options = ClusterOptions { seeds: 1, others: 2, ..ClusterOptions::default() };
    let mut cluster = Cluster::start_with(options);
    assert_eq!(cluster.leader().index, 0);
    let voters = cluster.nodes[2].json("/api/voters").expect("the voters are known");
    assert_eq!(voters.as_array().map(Vec::len), Some(1), "{voters}");
}

#[test]
fn dev_runs_a_cluster_and_leaves_nothing_behind() {
    let _slot = Slot::take();
    let home = tempfile::tempdir().unwrap();
    let base = free_ports(30);
    let dir = home.path().join("cluster");
    let dir_text = dir.display().to_string();
    let arguments = [
        "dev",
        "--nodes",
        "3",
        "--base-port",
        &base.to_string(),
        "--timing-factor",
        "4",
        "--dir",
        &dir_text,
    ];
    let mut dev = Command::new(home.path(), arguments).start();
    dev.wait_for_output("ready\n");
    assert_eq!(dev.stdout(), "ready\n", "nothing else is on standard output");

    let ask = |port: u16, arguments: &[&str]| {
        let node = format!("127.0.0.1:{port}");
        Command::new(home.path(), arguments).env("MESHOS_NODE", node).run().success()
    };
    for index in 0..3 {
        let nodes = ask(base + 10 * index, &["nodes", "--json"]).json();
        let nodes = nodes.as_array().expect("a list").clone();
        assert_eq!(nodes.len(), 3);
        assert!(nodes.iter().all(|node| node["state"] == "active"), "{nodes:?}");
    }
    assert_eq!(ask(base + 10, &["run", "--", "echo", "hello"]).stdout, "hello\n");
    // A task that would go on for ever ends with the cluster.
    let endless = ["run", "--", "sleep", "100000"];
    let node = format!("127.0.0.1:{base}");
    let mut endless = Command::new(home.path(), endless).env("MESHOS_NODE", node).start();
    endless.wait_for_error_output("runs");

    dev.interrupt();
    let ended = dev.wait();
    assert_eq!(ended.code(), 0, "{ended:?}");
    drop(endless);
    let left = of_path(home.path());
    assert!(left.is_empty(), "processes are left behind: {left:?}");
    let left = cgroups_below(&dir);
    assert!(left.is_empty(), "control groups are left behind: {left:?}");
}
