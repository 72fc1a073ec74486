//! Clients that look for the leader in ZooKeeper, unmodified, and find it at our nodes.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use meshos_tests::{
    Cluster, ClusterOptions, Journal, Node, PATIENCE, PythonClient, free_ports, poll_until,
};
use serde_json::json;

use crate::common::{assert_alive, assert_started_at_most_once, wait_for_births};

/// Three nodes that serve clients of ZooKeeper, and where.
fn cluster() -> (Cluster, Vec<String>) {
    // A node that is killed stays away for a while, and its tasks are not to be given up.
    let (agent_timeout, agent_timeout_dead) = ("90s", "90s");
    let mut cluster = Cluster::prepare(ClusterOptions {
        agent_timeout,
        agent_timeout_dead,
        ..ClusterOptions::default()
    });
    let base = free_ports(3);
    let ports: Vec<String> = (base..base + 3).map(|port| port.to_string()).collect();
    for (node, port) in cluster.nodes.iter_mut().zip(&ports) {
        node.arguments().flags.extend(["--zk-port".to_owned(), port.clone()]);
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.wait_until_ready();
    (cluster, ports.iter().map(|port| format!("127.0.0.1:{port}")).collect())
}

#[test]
fn kazoo_reads_who_leads_and_hears_of_each_change() {
    let (mut cluster, hosts) = cluster();
    let leader = cluster.leader();
    let place = |index: usize, cluster: &Cluster| cluster.nodes[index].http();
    let old = place(leader.index, &cluster);
    let follower = cluster.follower();
    let home = cluster.nodes[follower].home().to_owned();
    let mut beside = PythonClient::start("with_kazoo.py", &home, &[&hosts[follower]]);
    let mut anywhere = PythonClient::start("with_kazoo.py", &home, &[&hosts.join(",")]);
    for client in [&mut beside, &mut anywhere] {
        let told = client.hear_of("leader");
        assert_eq!(told["name"], format!("json.info_{:010}", leader.term));
        assert_eq!(told["address"]["ip"], "127.0.0.1");
        assert_eq!(told["address"]["port"], old.port());
        assert_eq!(told["pid"], format!("master@{old}"));
        client.tell("look");
        let looked = client.hear_of("looked");
        assert_eq!((&looked["names"], &looked["children"]), (&json!([told["name"]]), &json!(1)));
        assert_eq!((&looked["root"], &looked["there"]), (&json!(["mesos"]), &json!(true)));
        assert_eq!(looked["nowhere"], false);
        client.tell("write");
        let not = "NotReadOnlyCallError";
        let failures = client.hear_of("refused")["failures"].clone();
        assert_eq!(failures, json!(["NodeExistsError", not, not, not]));
    }

    cluster.nodes[leader.index].kill();
    let next = cluster.leader_after(leader.term);
    let new = place(next.index, &cluster);
    for client in [&mut beside, &mut anywhere] {
        let name = format!("json.info_{:010}", next.term);
        let told = client.hear("the new leader", |said| {
            (said["what"] == "leader" && said["name"] == name.as_str()).then(|| said.clone())
        });
        assert_eq!(told["address"]["port"], new.port());
        client.tell("stop");
        client.hear_of("stopped");
    }
    let mut stream = TcpStream::connect(&hosts[follower]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"ruok").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "imok");
}

#[test]
fn pymesos_follows_the_leader_through_zookeeper() {
    let (mut cluster, hosts) = cluster();
    let leader = cluster.leader();
    let home = cluster.nodes[leader.index].home().to_owned();
    let mut journal = Journal::new();
    let url = format!("zk://{}/mesos", hosts.join(","));
    let mut client = PythonClient::start("with_pymesos.py", &home, &[&url, "through zk"]);
    let id = client.hear_of("registered")["id"].clone();
    // On a node that lives on: the leader itself takes its task with it.
    client.tell(&format!("launch kept {}", journal.gated_line("kept", "gate", 0)));
    client.hear_state("kept", "TASK_RUNNING");
    wait_for_births(&journal, &["kept".to_owned()]);

    // It is connected to the leader, which it was told of.
    cluster.nodes[leader.index].kill();
    client.hear_of("disconnected");
    assert_eq!(client.hear_of("reregistered")["id"], id);
    cluster.leader_after(leader.term);
    assert_alive(&journal, &["kept".to_owned()]);
    client.tell("launch after true");
    client.hear_state("after", "TASK_FINISHED");
    cluster.nodes[leader.index].start();
    journal.open_gate("gate");
    client.hear_state("kept", "TASK_FINISHED");
    client.tell("stop");
    client.hear_of("stopped");
    assert_eq!(client.wait().code(), 0);
    assert_started_at_most_once(&journal);
}

#[test]
fn mesoshttp_finds_the_leader_through_zookeeper() {
    let (mut cluster, hosts) = cluster();
    let follower = cluster.follower();
    let home = cluster.nodes[follower].home().to_owned();
    let url = format!("zk://{}/mesos", hosts[follower]);
    for library in ["mesoshttp", "avmesos"] {
        let arguments = [library, &url, library, "one", "true"];
        let mut client = PythonClient::start("with_mesoshttp.py", &home, &arguments);
        client.hear_state("one", "TASK_FINISHED");
        client.hear_of("stopped");
    }
}

#[test]
fn nobody_is_served_who_was_not_asked_for() {
    let mut cluster = Cluster::prepare(ClusterOptions { seeds: 1, ..ClusterOptions::default() });
    let port = free_ports(1).to_string();
    let flags = &mut cluster.nodes[0].arguments().flags;
    flags.extend(["--zk-listen".to_owned(), format!("0.0.0.0:{port}")]);
    let refused = cluster.nodes[0].run_to_end();
    assert_ne!(refused.code(), 0);
    assert!(refused.stderr.contains("--zk-listen"), "{refused:?}");
    let flags = &mut cluster.nodes[0].arguments().flags;
    flags.truncate(flags.len() - 2);
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    poll_until(PATIENCE, "nobody listens there", || {
        TcpStream::connect(format!("127.0.0.1:{port}")).err()
    });
}
