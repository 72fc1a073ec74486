//! The registry comes back from snapshots, which bound the log.

use std::fs;

use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, PATIENCE, poll_until, wait_until,
};
use serde_json::Value;

use crate::common::{recover, voters, wipe};

const EVERY: usize = 20;

/// Sets weights, one entry each, so many that every voter makes a snapshot of all before them.
fn fill_log(cluster: &Cluster, asked: usize, round: usize) {
    for number in 1..=2 * EVERY {
        let weight = format!("{}", round * 100 + number);
        let node = &cluster.nodes[asked];
        let _told = node.command(&["weights", "set", "busy", &weight]).run().success();
    }
}

/// The newest snapshot of a node, by its name.
fn snapshot(cluster: &Cluster, index: usize) -> Option<String> {
    let items = fs::read_dir(cluster.nodes[index].data_dir()).ok()?.flatten();
    let names = items.filter_map(|item| item.file_name().into_string().ok());
    names.filter(|name| name.starts_with("raft-snapshot-") && !name.ends_with(".tmp")).max()
}

/// What the registry holds, as the leader shows it: weights, and frameworks by id and name.
fn registry(cluster: &Cluster, asked: usize) -> Option<Value> {
    let weights = cluster.nodes[asked].json("/api/weights")?;
    let frameworks = cluster.nodes[asked].json("/api/frameworks")?;
    let frameworks: Vec<Value> = frameworks
        .as_array()?
        .iter()
        .map(|row| {
            Value::from(vec![row["id"].clone(), row["name"].clone(), row["principal"].clone()])
        })
        .collect();
    Some(Value::from(vec![weights, Value::from(frameworks)]))
}

#[track_caller]
fn assert_registry(cluster: &Cluster, asked: usize, expected: &Value, when: &str) {
    let what = format!("the registry is as it was {when}");
    poll_until(PATIENCE, &what, || {
        (registry(cluster, asked).as_ref() == Some(expected)).then_some(())
    });
}

#[test]
fn the_registry_outlives_restarts_and_wiped_voters_through_snapshots() {
    let mut cluster = Cluster::start_with(ClusterOptions {
        flags: ["--snapshot-every-entries", &EVERY.to_string()].map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    });
    let asked = cluster.follower();
    // The first entries: a snapshot alone holds them later.
    let _told = cluster.nodes[asked].command(&["weights", "set", "early", "2.5"]).run().success();
    let mut options = FrameworkOptions::new("early-bird", &[asked]);
    options.failover_timeout = std::time::Duration::from_secs(3_600);
    let framework = Framework::start(&cluster, options);
    fill_log(&cluster, asked, 0);
    wait_until("every voter has made a snapshot", || {
        (0..3).all(|index| snapshot(&cluster, index).is_some())
    });
    let expected = registry(&cluster, asked).unwrap();
    assert_eq!(expected[1].as_array().unwrap().len(), 1, "{expected}");

    cluster.nodes.iter_mut().for_each(meshos_tests::Node::kill);
    cluster.nodes.iter_mut().for_each(meshos_tests::Node::start);
    cluster.wait_until_ready();
    assert_registry(&cluster, asked, &expected, "before all nodes were killed");
    drop(framework);

    // A wiped voter has nothing, and the log does not go back far enough for it.
    let leader = cluster.leader();
    let wiped = cluster.follower();
    let other = (0..3).find(|index| ![leader.index, wiped].contains(index)).unwrap();
    wipe(&mut cluster, wiped);
    fill_log(&cluster, other, 1);
    let expected = registry(&cluster, other).unwrap();
    cluster.nodes[wiped].start();
    cluster.wait_until_ready();
    let id = cluster.nodes[wiped].id();
    wait_until("the wiped node votes and has the whole log", || {
        let is_voter = voters(&cluster, other).iter().any(|(node, _)| *node == id);
        let rows = cluster.nodes[leader.index].json("/api/voters").unwrap_or_default();
        let rows = rows.as_array().cloned().unwrap_or_default();
        is_voter && rows.iter().any(|row| row["node_id"] == id.as_str() && row["lag"] == 0)
    });
    assert!(snapshot(&cluster, wiped).is_some(), "it was given one");
    // What it has is all there is now.
    let term = cluster.leader().term;
    for index in [leader.index, other] {
        wipe(&mut cluster, index);
    }
    cluster.nodes[wiped].kill();
    recover(&mut cluster, wiped, term);
    cluster.nodes[wiped].start();
    cluster.leader_after(term);
    assert_registry(&cluster, wiped, &expected, "before the other voters were lost");
}
