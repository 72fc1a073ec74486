//! What commands and frameworks say when the cluster is not there, or not for them.

use meshos_tests::{
    Cluster, Command, Finished, Framework, FrameworkOptions, Journal, PATIENCE, poll_until, sweep,
    wait_until,
};

use crate::common::{gated, ids, wait_for_running};

/// The example, which is to end by itself or be watched.
fn wordcount(cluster: &Cluster, node: &str, credentials: &str) -> Command {
    let texts = cluster.path().join("texts");
    std::fs::create_dir_all(&texts).unwrap();
    std::fs::write(texts.join("one"), "a few words").unwrap();
    let (texts, work) = (texts.display().to_string(), cluster.path().join("work"));
    let work = work.display().to_string();
    let arguments =
        ["--node", node, "--credentials", credentials, "--input", &texts, "--work", &work];
    Command::example("wordcount", cluster.path(), arguments)
}

fn keygen(cluster: &Cluster, arguments: &[&str]) -> Finished {
    let line = ["keygen"].iter().chain(arguments);
    Command::new(cluster.path(), line).run()
}

#[test]
fn a_framework_says_that_nobody_is_there_and_that_it_is_not_wanted() {
    let cluster = Cluster::start(1);
    let keys = cluster.path().join("other-keys").display().to_string();
    let file = cluster.path().join("framework.pem").display().to_string();
    let _made = keygen(&cluster, &["--dir", &keys]).success();
    let make = ["framework", "stranger", "--dir", &keys, "--out", &file];
    let _made = keygen(&cluster, &make).success();
    let again = keygen(&cluster, &make);
    assert_eq!(again.code(), 1);
    assert!(again.stderr.contains("certificates are never overwritten"), "{again:?}");

    // A port where no QUIC is: the cluster's own.
    let mut waiting = wordcount(&cluster, &cluster.nodes[0].http().to_string(), &file).start();
    waiting.wait_for_error_output("is that the agent port of a node");
    assert!(waiting.is_running());
    drop(waiting);

    let refused = wordcount(&cluster, &cluster.nodes[0].quic().to_string(), &file).run();
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("is no node of their cluster"), "{refused:?}");

    let nodes = cluster.nodes[0].command(&["nodes", "--credentials", &file]).run();
    assert_eq!(nodes.code(), 1);
    assert!(nodes.stderr.contains("holds the certificate of the framework stranger"), "{nodes:?}");
    let agent = cluster.nodes[0].quic().to_string();
    let nodes = cluster.nodes[0].command(&["nodes", "--node", &agent]).run();
    assert_eq!(nodes.code(), 1);
    let cluster_port =
        format!("all else is at its cluster port, {}", cluster.nodes[0].http().port());
    assert!(nodes.stderr.contains(&cluster_port), "{nodes:?}");
}

#[test]
fn without_a_majority_commands_say_how_many_voters_answer() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let id = cluster.nodes[asked].id();
    let own = poll_until(PATIENCE, "the leader has heard of the voter by gossip", || {
        let voters = cluster.nodes[asked].command(&["voters", "--json"]).run().success().json();
        let own = voters.as_array().unwrap().iter().find(|row| row["node_id"] == id).cloned();
        own.filter(|own| !own["cluster_address"].is_null())
    });
    assert_eq!(own["cluster_address"], cluster.nodes[asked].http().to_string());
    assert_eq!(own["address"], cluster.nodes[asked].quic().to_string());

    let third = 3 - leader.index - asked;
    cluster.nodes[third].kill();
    cluster.nodes[leader.index].kill();
    wait_until("the survivor knows that it is alone", || {
        // It may have been without a leader for so long by then that it is ill.
        let health = cluster.nodes[asked].get("/health").map(|answer| answer.json());
        health.is_ok_and(|health| health["voters_answering"] == 1 && health["voters"] == 3)
    });
    let refused = cluster.nodes[asked].command(&["drain", &id]).run();
    assert_eq!(refused.code(), 1);
    let waits = "waiting for a leader: 1 of 3 voters answers node";
    assert!(refused.stderr.contains(waits), "{refused:?}");
    let sentence = "1 of 3 voters answers this node, and a leader needs 2";
    assert!(refused.stderr.contains(sentence), "{refused:?}");
    for line in refused.stderr.lines() {
        assert!(line.starts_with("meshos: "), "{line}");
    }
}

#[test]
fn what_a_dead_node_has_is_told_at_once_with_what_to_do() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let dead = 3 - leader.index - asked;
    let id = cluster.nodes[dead].id();
    let journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("orphans", &[asked]));
    let tasks = ids("orphan", 1);
    framework.submit_on(&id, gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);
    let data_dir = cluster.nodes[dead].data_dir().to_owned();
    cluster.nodes[dead].kill();
    sweep(&data_dir);
    let run = |arguments: &[&str]| cluster.nodes[asked].command(arguments).run();
    wait_until("it is known to be dead", || {
        let rows = run(&["nodes", "--json"]).success().json();
        let row = rows.as_array().unwrap().iter().find(|row| row["id"] == id).cloned().unwrap();
        row["connected"] == false && row["gossip_alive"] == false
    });

    let table = run(&["nodes"]).success().stdout;
    let row = table.lines().find(|line| line.starts_with(&id)).unwrap();
    assert!(row.contains("  not connected  ") && !row.contains("active"), "{table}");

    let logs = run(&["logs", "orphan-0"]);
    assert_eq!(logs.code(), 1, "{logs:?}");
    assert!(logs.stderr.contains("when `meshos nodes` shows the node connected"), "{logs:?}");
    assert!(logs.stderr.contains(&format!("node {id} cannot be asked")), "{logs:?}");

    let kill = run(&["kill", "orphan-0"]).success();
    let sentence = format!("will be told to end when its node {id} is connected again");
    assert!(kill.stdout.contains(&sentence), "{kill:?}");
}

#[test]
fn dev_says_which_ports_are_free() {
    let cluster = Cluster::start(1);
    let port = cluster.nodes[0].http().port().to_string();
    let line = ["dev", "--base-port", &port, "--nodes", "1"];
    let taken = Command::new(cluster.path(), line).run();
    assert_eq!(taken.code(), 1, "{taken:?}");
    assert!(taken.stderr.starts_with("meshos: try --base-port "), "{taken:?}");
    let even = Command::new(cluster.path(), ["dev", "--seeds", "2"]).run();
    assert_eq!(even.code(), 2, "{even:?}");
}

#[test]
fn the_next_leader_knows_when_a_task_began() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let id = cluster.nodes[asked].id();
    let journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("lasting", &[asked]));
    let tasks = ids("lasting", 1);
    framework.submit_on(&id, gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);
    let started_at = |cluster: &Cluster| {
        let told = cluster.nodes[asked].command(&["tasks", "--json"]).run();
        let rows: serde_json::Value = serde_json::from_str(&told.stdout).ok()?;
        let row = rows.as_array()?.iter().find(|row| row["id"] == "lasting-0")?.clone();
        row["started_at"].as_u64()
    };
    wait_until("the leader tells when it began", || started_at(&cluster).is_some());
    let before = started_at(&cluster);
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    wait_until("the next leader tells it too", || started_at(&cluster) == before);
}
