//! Voters are lost for good: a healthy node takes the place of one; when most are lost, an operator rebuilds the group on a
//! survivor.

use std::collections::BTreeSet;

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::{Cluster, ClusterOptions, Framework, FrameworkOptions, Journal, wait_until};

use crate::common::{
    assert_alive, assert_started_at_most_once, assert_updates_in_order, gated, ids, recover, shell,
    voters, wait_for_running, wipe,
};

/// Seeds are the first three nodes.
const OTHERS: [usize; 2] = [3, 4];

fn seeds_and_others() -> Cluster {
    Cluster::start_with(ClusterOptions { others: OTHERS.len(), ..ClusterOptions::default() })
}

fn voter_ids(cluster: &Cluster, asked: usize) -> BTreeSet<String> {
    voters(cluster, asked).into_iter().map(|(node, _)| node).collect()
}

/// Waits until a voter has all of the leader's log.
#[track_caller]
fn wait_until_caught_up(cluster: &Cluster, leader: usize, voter: &str) {
    wait_until("the survivor has the whole log", || {
        let rows = cluster.nodes[leader].json("/api/voters").unwrap_or_default();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().any(|row| row["node_id"] == voter && row["lag"] == 0)
    });
}

/// Loses all seeds but one that did not lead, together with a node that keeps its data, and rebuilds the group on it.
fn lose_voters_and_recover(cluster: &mut Cluster, away: usize) -> usize {
    let leader = cluster.leader();
    let survivor = (0..3).find(|index| *index != leader.index).unwrap();
    let survivor_id = cluster.nodes[survivor].id();
    wait_until_caught_up(cluster, leader.index, &survivor_id);
    cluster.nodes[away].kill();
    for lost in (0..3).filter(|index| *index != survivor) {
        wipe(cluster, lost);
    }
    cluster.nodes[survivor].kill();
    recover(cluster, survivor, leader.term);
    cluster.nodes[survivor].start();
    survivor
}

#[test]
fn nodes_accept_the_rebuilt_group_and_their_tasks_do_not_notice() {
    let mut cluster = seeds_and_others();
    let [near, away] = OTHERS;
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("rebuilding", &[near]));
    let id = framework.id();
    let stay = [ids("near", 3), ids("away", 3)];
    for (index, tasks) in OTHERS.iter().zip(&stay) {
        framework.submit_on(&cluster.nodes[*index].id(), gated(&journal, tasks, "gate", 0));
        wait_for_running(&framework, &journal, tasks);
    }
    let stay = stay.concat();
    let before = cluster.leader();

    // One of the other nodes hears of it all while it runs, the other when it comes back.
    let survivor = lose_voters_and_recover(&mut cluster, away);
    let after = cluster.leader_after(before.term);
    assert_eq!(after.index, survivor);
    cluster.nodes[near].wait_for_log("their statement is kept");
    cluster.nodes[away].start();
    cluster.wait_until_ready();
    assert_alive(&journal, &stay);
    assert_eq!(framework.id(), id);
    for index in OTHERS {
        let (node, task) = (cluster.nodes[index].id(), format!("new-{index}"));
        framework.submit_on(&node, [shell(&task, "exit 0")]);
        framework.wait_for_state(&task, TaskState::Finished);
    }

    // A node that took the statement follows the new group after a restart too.
    cluster.nodes[away].kill();
    cluster.nodes[away].start();
    cluster.wait_until_ready();
    assert_grows_and_outlives_the_survivor(&mut cluster, survivor);
    assert_alive(&journal, &stay);
    framework.submit([shell("last", "exit 0")]);
    framework.wait_for_state("last", TaskState::Finished);
    journal.open_gate("gate");
    framework.wait_for_all("the old tasks end", &stay, |state| state == TaskState::Finished);
    assert_eq!(framework.id(), id);
    assert_started_at_most_once(&journal);
    assert_updates_in_order(&framework);
}

/// The other nodes become voters, so that the survivor can be lost too.
#[track_caller]
fn assert_grows_and_outlives_the_survivor(cluster: &mut Cluster, survivor: usize) {
    for index in OTHERS {
        let node = cluster.nodes[index].id();
        let added = cluster.nodes[survivor].command(&["voters", "add", &node]).run();
        assert_eq!(added.code(), 0, "{added:?}");
    }
    assert_eq!(voters(cluster, survivor).len(), 3);
    let term = cluster.leader().term;
    cluster.nodes[survivor].kill();
    let next = cluster.leader_after(term);
    assert!(OTHERS.contains(&next.index), "{next:?}");
    cluster.wait_until_ready();
}

#[test]
fn old_voters_that_come_back_with_their_data_convince_nobody() {
    let mut cluster =
        Cluster::start_with(ClusterOptions { others: 1, ..ClusterOptions::default() });
    let other = 3;
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("loyal", &[other]));
    let node = cluster.nodes[other].id();
    let stay = ids("stay", 3);
    framework.submit_on(&node, gated(&journal, &stay, "gate", 0));
    wait_for_running(&framework, &journal, &stay);
    let before = cluster.leader();
    let survivor = (0..3).find(|index| *index != before.index).unwrap();
    wait_until_caught_up(&cluster, before.index, &cluster.nodes[survivor].id());
    (0..3).for_each(|index| cluster.nodes[index].kill());
    recover(&mut cluster, survivor, before.term);
    cluster.nodes[survivor].start();
    assert_eq!(cluster.leader_after(before.term).index, survivor);

    // Against what the operator was told they come back: a majority of the old group.
    let lost: Vec<usize> = (0..3).filter(|index| *index != survivor).collect();
    lost.iter().for_each(|index| cluster.nodes[*index].start());
    for index in &lost {
        wait_until("an old voter follows somebody", || cluster.leader_told_by(*index).is_some());
    }
    framework.submit_on(&node, [shell("new", "exit 0")]);
    framework.wait_for_state("new", TaskState::Finished);
    assert_eq!(cluster.leader_told_by(other).map(|leader| leader.index), Some(survivor));
    assert_eq!(voters(&cluster, survivor).len(), 1);
    assert_alive(&journal, &stay);
    journal.open_gate("gate");
    framework.wait_for_all("the tasks end", &stay, |state| state == TaskState::Finished);
    assert_updates_in_order(&framework);
}

/// Waits until exactly these nodes vote, and demands that there are never fewer than three voters meanwhile.
#[track_caller]
fn wait_for_voters(cluster: &Cluster, asked: usize, expected: &[String; 3]) {
    wait_until("the voters are as expected", || {
        let now: Vec<String> = voters(cluster, asked).into_iter().map(|(node, _)| node).collect();
        assert!(now.len() >= 3 || now.is_empty(), "fewer than three voters: {now:?}");
        now.len() == 3 && expected.iter().all(|node| now.contains(node))
    });
}

#[test]
fn a_voter_that_stays_away_is_replaced_by_a_healthy_node_and_may_vote_again_later() {
    let after = ["--replace-voters-after".to_owned(), "3s".to_owned()];
    let options = ClusterOptions { others: 1, flags: after.to_vec(), ..ClusterOptions::default() };
    let mut cluster = Cluster::start_with(options);
    let (spare, leader) = (3, cluster.leader().index);
    let lost = (0..3).find(|index| *index != leader).unwrap();
    let other = (0..3).find(|index| *index != leader && *index != lost).unwrap();
    let id = [0, 1, 2, 3].map(|index| cluster.nodes[index].id());
    let ids = |indices: [usize; 3]| indices.map(|index| id[index].clone());
    wait_for_voters(&cluster, leader, &ids([0, 1, 2]));
    cluster.nodes[lost].kill();
    wait_for_voters(&cluster, leader, &ids([leader, other, spare]));

    // It comes back and follows, although its log says that it votes with nodes that are not all there.
    cluster.nodes[lost].start();
    cluster.wait_until_ready();
    wait_for_voters(&cluster, leader, &ids([leader, other, spare]));
    cluster.nodes[leader].kill();
    let next = cluster.wait_until_ready();
    assert!([other, spare].contains(&next.index), "{next:?}");
    // Now it is the healthy node.
    wait_for_voters(&cluster, next.index, &ids([lost, other, spare]));

    // Nobody is left to take the place of the next one: the group waits for it, as it is.
    cluster.nodes[lost].kill();
    cluster.wait_until_ready();
    cluster.nodes[lost].start();
    cluster.wait_until_ready();
    wait_for_voters(&cluster, next.index, &ids([lost, other, spare]));
}

#[test]
fn a_group_is_not_rebuilt_without_the_key_that_other_nodes_believe() {
    let mut cluster = Cluster::start(1);
    let term = cluster.leader().term;
    cluster.nodes[0].kill();
    let node = &cluster.nodes[0];
    let nowhere = cluster.path().join("nowhere").display().to_string();
    let (data_dir, address) = (node.data_dir().display().to_string(), node.quic().to_string());
    let command = ["voters", "recover", "--data-dir", &data_dir, "--address", &address];
    let command = [&command[..], &["--term-above", "9", "--yes", "--keys", &nowhere]].concat();
    let refused = node.command(&command).run();
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("signed with the cluster's CA key"), "{refused:?}");

    // Nothing was changed, and neither is it with the keys of another cluster.
    let keys = cluster.path().join("others").display().to_string();
    assert_eq!(node.command(&["keygen", "--dir", &keys]).run().code(), 0);
    let command = ["voters", "recover", "--data-dir", &data_dir, "--address", &address];
    let command = [&command[..], &["--term-above", "9", "--yes", "--keys", &keys]].concat();
    let refused = node.command(&command).run();
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("the keys are those of another cluster"), "{refused:?}");
    // A node that was last started by an earlier release finds it at its start.
    std::fs::remove_file(node.data_dir().join("authority.der")).unwrap();
    assert_eq!(node.command(&command).run().code(), 0);
    let ended = node.run_to_end();
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("run `meshos voters recover` again"), "{ended:?}");
    recover(&mut cluster, 0, 9);
    cluster.nodes[0].start();
    assert!(cluster.leader().term > term.max(9));
}

#[test]
fn a_voter_is_taken_out_and_added_again_by_hand() {
    let options = ClusterOptions {
        flags: vec!["--no-replace-voters".to_owned()],
        ..ClusterOptions::default()
    };
    let mut cluster = Cluster::start_with(options);
    let leader = cluster.leader().index;
    let out = (0..3).find(|index| *index != leader).unwrap();
    let other = (0..3).find(|index| *index != leader && *index != out).unwrap();
    let id = [0, 1, 2].map(|index| cluster.nodes[index].id());
    let change = |what: &str, node: &str| {
        cluster.nodes[other].command(&["voters", what, node]).run().success()
    };
    let told = change("remove", &id[out]);
    assert!(told.stdout.contains(&id[out]), "{told:?}");
    assert_eq!(
        voter_ids(&cluster, leader),
        BTreeSet::from([id[leader].clone(), id[other].clone()])
    );
    let again = cluster.nodes[other].command(&["voters", "remove", &id[out]]).run();
    assert_eq!(again.code(), 1, "{again:?}");

    change("add", &id[out]);
    assert_eq!(voter_ids(&cluster, leader), BTreeSet::from(id));
    cluster.wait_until_ready();
}

#[test]
fn nodes_that_heard_of_other_voters_from_one_leader_accept_the_next() {
    let options = ClusterOptions {
        others: 2,
        flags: vec!["--no-replace-voters".to_owned()],
        ..ClusterOptions::default()
    };
    let mut cluster = Cluster::start_with(options);
    let leader = cluster.leader();
    let out = (0..3).find(|index| *index != leader.index).unwrap();
    let (added, bystander) = (3, 4);
    let id = |index: usize| cluster.nodes[index].id();
    for (what, index) in [("remove", out), ("add", added)] {
        let _told = cluster.nodes[bystander].command(&["voters", what, &id(index)]).run().success();
    }
    // Of those whom they knew before, one is left when the leader dies.
    for node in [out, bystander] {
        let file = cluster.nodes[node].data_dir().join("voters");
        let new = id(added);
        wait_until("a node without a vote knows who votes", || {
            let known = std::fs::read(&file).unwrap_or_default();
            known.windows(new.len()).any(|part| part == new.as_bytes())
        });
    }
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    cluster.wait_until_ready();
}
