//! When a cluster forms, and when it must not.

use meshos_tests::{Cluster, ClusterOptions, PATIENCE, poll_until, wait_until};

use crate::common::{recover, voters, wipe};

/// Waits until a node says that it has no leader because it waits for the seed of another.
#[track_caller]
fn assert_waits_for(cluster: &Cluster, node: usize, other: usize) {
    let seed = cluster.nodes[other].http().to_string();
    let what = format!("node {node} says that it waits for {seed}");
    poll_until(PATIENCE, &what, || {
        let answer = cluster.nodes[node].get("/api/leader").ok()?;
        assert_ne!(answer.status, 200, "node {node} follows a leader: {}", answer.text());
        answer.json()["error"].as_str().filter(|why| why.contains(&seed)).map(drop)
    });
    cluster.nodes[node].wait_for_log(&format!("waiting for seed {seed}"));
}

fn cluster_id(cluster: &Cluster, asked: usize) -> String {
    poll_until(PATIENCE, "a node tells the cluster's id", || {
        cluster.nodes[asked].json("/api/leader")?["cluster"].as_str().map(str::to_owned)
    })
}

#[test]
fn no_cluster_forms_before_all_seeds_have_answered() {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    assert_waits_for(&cluster, 0, 2);
    assert_waits_for(&cluster, 1, 2);
    // One of them loses its disk meanwhile.
    let before = cluster.nodes[0].id();
    wipe(&mut cluster, 0);
    cluster.nodes[0].start();
    assert_waits_for(&cluster, 0, 2);
    assert_waits_for(&cluster, 1, 2);
    assert_ne!(cluster.nodes[0].id(), before, "a wiped node has a new id");

    cluster.nodes[2].start();
    cluster.wait_until_ready();
    assert_eq!(voters(&cluster, 0).len(), 3);
}

#[test]
fn a_wiped_seed_does_not_form_a_cluster_of_its_own_and_votes_again_under_a_new_id() {
    let mut cluster = Cluster::start(3);
    let cluster_before = cluster_id(&cluster, 0);
    let voters_before = voters(&cluster, 0);
    let (wiped, down, left) = (0, 1, 2);
    let gone = cluster.nodes[wiped].id();
    cluster.nodes[down].kill();
    wipe(&mut cluster, wiped);
    cluster.nodes[wiped].start();
    // One of three that remembers: neither a majority of the old group nor enough for a new one.
    poll_until(PATIENCE, "nobody leads", || {
        let statuses = [wiped, left].map(|index| cluster.nodes[index].get("/api/leader"));
        statuses
            .iter()
            .all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 503))
            .then_some(())
    });

    cluster.nodes[down].start();
    cluster.wait_until_ready();
    let new = cluster.nodes[wiped].id();
    assert_ne!(new, gone);
    wait_until("the wiped seed is a voter, and its old id is not", || {
        let now: Vec<String> = voters(&cluster, left).into_iter().map(|(node, _)| node).collect();
        now.len() == 3 && now.contains(&new) && !now.contains(&gone)
    });
    let raft_ids = |voters: &[(String, u64)]| voters.iter().map(|(_, id)| *id).collect::<Vec<_>>();
    let old = raft_ids(&voters_before);
    let fresh = raft_ids(&voters(&cluster, left)).into_iter().filter(|id| !old.contains(id));
    assert_eq!(fresh.count(), 1, "the wiped seed has a new log under a new id");
    for index in 0..3 {
        assert_eq!(cluster_id(&cluster, index), cluster_before, "of node {index}");
    }
    // It counts: with another one down there is a majority still.
    let term = cluster.leader().term;
    cluster.nodes[left].kill();
    cluster.leader_after(term.saturating_sub(1));
}

#[test]
fn wiped_seeds_that_hear_of_the_old_cluster_by_gossip_say_so_and_form_nothing() {
    let mut cluster =
        Cluster::start_with(ClusterOptions { others: 1, ..ClusterOptions::default() });
    let before = cluster_id(&cluster, 3);
    // It serves from when it is told the leader; to which cluster it belongs it asks the seeds.
    cluster.nodes[3].wait_for_log("JoinAsNode");
    (0..3).for_each(|seed| wipe(&mut cluster, seed));
    // The node that is left knows the cluster and nothing else that could bring it back.
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    for seed in [0, 1] {
        cluster.nodes[seed].wait_for_log("gossip tells of a cluster");
    }
    // Now every seed is there and empty.
    cluster.nodes[2].start();
    for seed in 0..3 {
        let what = format!("node {seed} tells why no cluster forms");
        poll_until(PATIENCE, &what, || {
            let answer = cluster.nodes[seed].get("/api/leader").ok()?;
            assert_ne!(answer.status, 200, "a second cluster: {}", answer.text());
            answer.text().contains(&before).then_some(())
        });
    }
    assert!((0..3).all(|seed| voters(&cluster, seed).is_empty()));
}

#[test]
fn wiped_and_new_seeds_never_make_a_second_cluster() {
    let mut cluster = Cluster::start(3);
    let cluster_before = cluster_id(&cluster, 0);
    let term = cluster.leader().term;
    let remembers = 2;
    cluster.nodes[remembers].kill();
    wipe(&mut cluster, 0);
    wipe(&mut cluster, 1);
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    assert_waits_for(&cluster, 0, remembers);
    assert_waits_for(&cluster, 1, remembers);

    // The one that remembers comes back: it knows that it is one of three.
    cluster.nodes[remembers].start();
    for index in [0, 1] {
        wait_until("the new seeds have heard of the old cluster", || {
            let answer = cluster.nodes[index].get("/api/leader");
            answer.is_ok_and(|answer| {
                answer.status == 503 && !answer.text().contains("has not answered")
            })
        });
    }
    assert_eq!(
        cluster.nodes[remembers].get("/api/leader").map(|answer| answer.status).ok(),
        Some(503)
    );

    // An operator makes the survivor the whole group; then the others join it.
    cluster.nodes[remembers].kill();
    recover(&mut cluster, remembers, term + 1);
    cluster.nodes[remembers].start();
    wait_until("the survivor leads", || {
        cluster.leader_told_by(remembers).is_some_and(|leader| leader.index == remembers)
    });
    assert_eq!(cluster_id(&cluster, remembers), cluster_before);
    let leader = cluster.wait_until_ready();
    assert_eq!(leader.index, remembers);
    assert!(leader.term > term, "{leader:?}");
    for index in 0..3 {
        assert_eq!(cluster_id(&cluster, index), cluster_before, "of node {index}");
    }
}
