//! What leaders were told is recorded and played again by another process.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use meshos_tests::{Cluster, ClusterOptions, Finished, wait_until};
use serde_json::Value;

/// The recordings that a node keeps, the oldest first.
fn recordings(cluster: &Cluster, index: usize) -> Vec<PathBuf> {
    let items = fs::read_dir(cluster.nodes[index].data_dir().join("recordings"));
    let mut paths: Vec<PathBuf> =
        items.into_iter().flatten().map(|item| item.unwrap().path()).collect();
    paths.sort();
    paths
}

fn replay(cluster: &Cluster, arguments: &[&str]) -> Finished {
    cluster.nodes[0].command(&[&["replay"], arguments].concat()).run()
}

fn run_true(cluster: &Cluster, asked: usize, instances: &str) {
    let command = ["run", "--quiet", "--instances", instances, "--", "true"];
    let _done = cluster.nodes[asked].command(&command).run().success();
}

#[test]
fn the_terms_of_leaders_that_were_killed_or_stopped_play_again() {
    let mut cluster = Cluster::start_with(ClusterOptions {
        flags: ["--record-events", "16"].map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    });
    let first = cluster.leader();
    let asked = cluster.follower();
    run_true(&cluster, asked, "4");
    // Its tasks live on, so the next leader learns of them from hints and agents.
    let sleeper = cluster.nodes[asked].command(&["run", "--quiet", "--", "sleep", "1000"]).start();
    wait_until("the sleeper runs", || {
        let tasks = cluster.nodes[asked].json("/api/tasks").unwrap_or_default();
        tasks.as_array().is_some_and(|rows| rows.iter().any(|row| row["state"] == "running"))
    });
    cluster.nodes[first.index].kill();
    let second = cluster.leader_after(first.term);
    run_true(&cluster, asked, "2");
    drop(sleeper);
    for index in (0..3).filter(|index| *index != first.index) {
        cluster.nodes[index].terminate();
    }

    for (leader, ended) in [(&first, 4), (&second, 2)] {
        let paths = recordings(&cluster, leader.index);
        let path = paths.iter().find(|path| {
            path.to_string_lossy().ends_with(&format!("{:010}.recording", leader.term))
        });
        let path = path.unwrap_or_else(|| panic!("term {} is not in {paths:?}", leader.term));
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600, "others can read it");
        let path = path.to_str().unwrap();
        let told = replay(&cluster, &[path, "--json"]).success().json();
        assert_eq!(told["first_difference"], Value::Null, "{told}");
        assert_eq!(told["term"], leader.term, "{told}");
        assert_eq!(told["node_id"], leader.node_id.as_str(), "{told}");
        // Of a task that is over before its agent has heard that it began, the end alone is told.
        assert!(told["kinds"]["AgentMessage Update"].as_u64() >= Some(ended), "{told}");
        let shown = replay(&cluster, &[path]).success().stdout;
        assert!(shown.contains("The master did the same as when it led."), "{shown}");
        let lines = replay(&cluster, &[path, "--events"]).success().stdout;
        assert!(lines.lines().any(|line| line.contains(" Call Accept: Hint")), "{lines}");
        let step = replay(&cluster, &[path, "--step", "1"]).success().stdout;
        assert!(step.lines().any(|line| line.starts_with("1 0.")), "{step}");
    }
    let damaged = cluster.nodes[0].data_dir().join("damaged");
    let path = &recordings(&cluster, first.index)[0];
    let mut bytes = fs::read(path).unwrap();
    // A length in the middle is another one then.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    fs::write(&damaged, bytes).unwrap();
    let refused = replay(&cluster, &[damaged.to_str().unwrap()]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    let nothing = replay(&cluster, &["/nowhere"]);
    assert_eq!(nothing.code(), 1);
    assert!(nothing.stderr.contains("cannot open /nowhere"), "{nothing:?}");
}
