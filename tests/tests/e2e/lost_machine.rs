//! A machine is lost: node, launcher and tasks at once.

use std::time::Duration;

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Journal, Note, of_path, sweep, wait_until,
};
use serde_json::Value;

use crate::common::{assert_alive, assert_updates_in_order, gated, ids, wait_for_running};

/// A time-out of agents so long that a test passes only if gossip's word shortens it.
const ONLY_GOSSIP_IS_IN_TIME: &str = "30m";

fn cluster() -> Cluster {
    Cluster::start_with(ClusterOptions {
        agent_timeout: ONLY_GOSSIP_IS_IN_TIME,
        ..ClusterOptions::default()
    })
}

#[test]
fn the_tasks_of_the_leaders_machine_are_unreachable_when_it_dies() {
    let mut cluster = cluster();
    let leader = cluster.leader();
    let gateway = cluster.follower();
    let worker = 3 - leader.index - gateway;
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("bereft", &[gateway, worker]));
    let (lost, kept) = (ids("lost", 10), ids("kept", 5));
    framework.submit_on(&leader.node_id, gated(&journal, &lost, "gate", 0));
    framework.submit_on(&cluster.nodes[worker].id(), gated(&journal, &kept, "gate", 0));
    wait_for_running(&framework, &journal, &lost);
    wait_for_running(&framework, &journal, &kept);

    let data_dir = cluster.nodes[leader.index].data_dir().to_owned();
    cluster.nodes[leader.index].kill();
    sweep(&data_dir);
    assert!(of_path(&data_dir).is_empty());

    framework.wait_for_all("the lost tasks are unreachable", &lost, |state| {
        state == TaskState::Unreachable
    });
    framework.wait_for("the agent is called lost", |notes| {
        let lost = |note: &Note| {
            matches!(note, Note::AgentLost(agent) if agent.node.to_string() == leader.node_id)
        };
        notes.iter().any(|(_, note)| lost(note)).then_some(())
    });
    let second = cluster.leader_after(leader.term);
    wait_until("the lost node is listed as unreachable", || {
        let nodes = cluster.nodes[second.index].json("/api/nodes").unwrap_or_default();
        let rows = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
        let row = rows.iter().find(|row| row["id"] == leader.node_id.as_str());
        row.is_some_and(|row| row["state"] == "unreachable")
    });
    assert_alive(&journal, &kept);

    // The machine is back without its tasks: each is told to be over.
    cluster.nodes[leader.index].start();
    framework.wait_for_all("the lost tasks have ended", &lost, TaskState::is_terminal);
    for id in &lost {
        let last = framework.updates_of(id).pop().expect("there are updates");
        assert_eq!(last.state, TaskState::Failed, "{last:?}");
    }
    journal.open_gate("gate");
    framework.wait_for_all("the kept tasks finish", &kept, |state| state == TaskState::Finished);
    assert_updates_in_order(&framework);
}

#[test]
fn a_machine_that_gossip_held_dead_before_the_election_is_lost_to_the_new_leader_early() {
    let mut cluster = Cluster::start_with(ClusterOptions {
        others: 1,
        agent_timeout: ONLY_GOSSIP_IS_IN_TIME,
        // The first leader must not be done with the machine before the second is elected.
        agent_timeout_dead: "25s",
        ..ClusterOptions::default()
    });
    let leader = cluster.leader();
    let victim = 3;
    let victim_id = cluster.nodes[victim].id();
    let data_dir = cluster.nodes[victim].data_dir().to_owned();
    cluster.nodes[victim].kill();
    sweep(&data_dir);
    let voters: Vec<usize> = (0..3).filter(|index| *index != leader.index).collect();
    wait_until("gossip on the other voters calls the machine dead", || {
        voters.iter().all(|index| {
            let metrics = cluster.nodes[*index].get("/metrics").map(|answer| answer.text());
            let metrics = metrics.unwrap_or_default();
            metrics.lines().any(|line| line == "meshos_gossip_members_alive 3")
                && metrics.lines().any(|line| line == "meshos_gossip_members_known 4")
        })
    });

    cluster.nodes[leader.index].kill();
    let second = cluster.leader_after(leader.term);
    wait_until("the new leader lists the machine as unreachable", || {
        let nodes = cluster.nodes[second.index].json("/api/nodes").unwrap_or_default();
        let rows = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
        let row = rows.iter().find(|row| row["id"] == victim_id.as_str());
        row.is_some_and(|row| row["state"] == "unreachable")
    });
    let told = cluster.leader();
    assert_eq!(told.term, second.term, "it was this leader's word");
}

#[test]
fn a_new_leader_knows_the_tasks_of_its_predecessors_machine_though_nobody_asks_for_them() {
    let mut cluster = cluster();
    let leader = cluster.leader();
    let asked = cluster.follower();
    let mut options = FrameworkOptions::new("absent", &[asked]);
    options.failover_timeout = Duration::from_secs(3_600);
    let framework = Framework::start(&cluster, options);
    let mut journal = Journal::new();
    let (lost, ended) = (ids("lost", 4), ids("ended", 3));
    framework.submit_on(&leader.node_id, gated(&journal, &lost, "gate", 0));
    framework.submit_on(&leader.node_id, gated(&journal, &ended, "end", 3));
    wait_for_running(&framework, &journal, &lost);
    journal.open_gate("end");
    framework.wait_for_all("some end", &ended, |state| state == TaskState::Failed);
    // From here on no framework is there, so none asks.
    drop(framework);
    let voters = || (0..3).filter(|index| *index != leader.index);
    wait_for_hinted_tasks(&cluster, voters());
    // Voters that were started again have nothing of what they were told: they are told once more.
    for voter in voters() {
        cluster.nodes[voter].kill();
        cluster.nodes[voter].start();
        wait_for_hinted_tasks(&cluster, [voter]);
    }
    // A busy machine may have elected another leader meanwhile, which told them then.
    let last = cluster.leader();

    let data_dir = cluster.nodes[leader.index].data_dir().to_owned();
    cluster.nodes[leader.index].kill();
    sweep(&data_dir);
    if last.index == leader.index {
        cluster.leader_after(last.term);
    }
    wait_until("all of them are listed", || {
        let listed = cluster.nodes[asked].command(&["tasks", "--json"]).run();
        let rows: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
        let state = |id: &String| {
            let rows = rows.as_array()?;
            let row = rows.iter().find(|row| row["id"] == id.as_str())?;
            let here = row["node_id"] == leader.node_id.as_str();
            here.then(|| row["state"].as_str().map(str::to_owned))?
        };
        lost.iter().all(|id| state(id).as_deref() == Some("unreachable"))
            && ended.iter().all(|id| state(id).as_deref() == Some("failed"))
    });
}

/// Until these voters have heard of the four live tasks; ends are told in order with them.
fn wait_for_hinted_tasks(cluster: &Cluster, voters: impl IntoIterator<Item = usize>) {
    for voter in voters {
        wait_until("a voter has heard of the tasks", || {
            let metrics = cluster.nodes[voter].get("/metrics").map(|answer| answer.text());
            metrics.unwrap_or_default().lines().any(|line| line == "meshos_hinted_tasks 4")
        });
    }
}
