//! Voters come and go, leaders among them, and every node goes on following.

use meshos_tests::{Cluster, ClusterOptions, PATIENCE, poll_until, wait_until};

use crate::common::voters;

/// A change of voters by an operator, asked of one node until it is made: elections may be under way.
#[track_caller]
fn change(cluster: &Cluster, asked: usize, what: &str, index: usize) {
    let id = cluster.nodes[index].id();
    poll_until(PATIENCE, &format!("node {index}: voters {what}"), || {
        let told = cluster.nodes[asked].command(&["voters", what, &id]).run();
        // An answer may be lost with the leader that gave it.
        let made = ["is a voter already", "is no member of the group"];
        let done = told.code() == 0 || made.iter().any(|made| told.stderr.contains(made));
        done.then_some(())
    });
}

/// Waits until each of these nodes follows one and the same leader, and it has all their registrations.
#[track_caller]
fn wait_until_all_follow(cluster: &Cluster, indexes: &[usize]) {
    wait_until("all nodes follow one leader", || {
        let leaders: Vec<_> = indexes
            .iter()
            .filter_map(|index| {
                let health = cluster.nodes[*index].json("/health")?;
                (health["registered"] == true).then_some(())?;
                cluster.nodes[*index].json("/api/leader")?["node_id"].as_str().map(str::to_owned)
            })
            .collect();
        leaders.len() == indexes.len() && leaders.windows(2).all(|pair| pair[0] == pair[1])
    });
}

#[test]
fn leaders_that_are_taken_out_one_right_after_the_other_follow_the_last() {
    let mut cluster = Cluster::start(3);
    let first = cluster.leader();
    let asked = cluster.follower();
    change(&cluster, asked, "remove", first.index);
    let second = cluster.leader_after(first.term);
    let last = 3 - first.index - second.index;
    change(&cluster, last, "remove", second.index);
    let third = cluster.leader_after(second.term);
    assert_eq!(third.index, last);
    wait_until_all_follow(&cluster, &[0, 1, 2]);
    assert_eq!(voters(&cluster, first.index).len(), 1);
    for index in 0..3 {
        wait_until("each node counts the voters that are left", || {
            let health = cluster.nodes[index].json("/health").unwrap_or_default();
            let metrics = cluster.nodes[index].get("/metrics").map(|answer| answer.text());
            let gauge = format!("meshos_raft_voters {}", u8::from(index == last));
            health["voters"] == 1
                && health["voters_answering"] == 1
                && metrics.unwrap_or_default().lines().any(|line| line == gauge)
        });
    }
    for index in [first.index, second.index] {
        change(&cluster, index, "add", index);
    }
    assert_eq!(voters(&cluster, last).len(), 3);
    wait_until_all_follow(&cluster, &[0, 1, 2]);
}

#[test]
fn when_all_voters_were_replaced_one_by_one_the_last_of_them_follows_too() {
    let mut cluster =
        Cluster::start_with(ClusterOptions { others: 3, ..ClusterOptions::default() });
    for index in 0..3 {
        change(&cluster, 5, "add", index + 3);
        change(&cluster, 5, "remove", index);
    }
    // Whichever of the old ones led took itself out.
    wait_until_all_follow(&cluster, &[0, 1, 2, 3, 4, 5]);
    // After a restart an old voter knows those of its own time alone, and what it was told since.
    let (before, leader) = (cluster.leader(), cluster.leader().index);
    assert!(leader >= 3, "node {leader} is no voter");
    for index in 0..3 {
        cluster.nodes[index].kill();
    }
    cluster.nodes[leader].kill();
    let after = cluster.leader_after(before.term);
    for index in 0..3 {
        cluster.nodes[index].start();
    }
    let up: Vec<usize> = (0..6).filter(|index| *index != leader).collect();
    wait_until_all_follow(&cluster, &up);
    assert_ne!(after.index, leader);
}
