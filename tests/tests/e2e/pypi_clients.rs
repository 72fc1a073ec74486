//! Clients of Mesos's API from the Python package index, unmodified, against real nodes. `cargo xtask clients` installs them.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

use meshos_tests::{Cluster, ClusterOptions, Journal, Node, PythonClient, wait_until};
use serde_json::{Value, json};

use crate::common::{assert_alive, assert_started_at_most_once, wait_for_births};

/// A framework on pymesos at `node`.
fn pymesos(node: &Node, arguments: &[&str]) -> PythonClient {
    let master = node.http().to_string();
    let arguments = [&[master.as_str()], arguments].concat();
    PythonClient::start("with_pymesos.py", node.home(), &arguments)
}

/// The id of a framework that has just subscribed.
fn registered(client: &mut PythonClient) -> String {
    client.hear_of("registered")["id"].as_str().unwrap().to_owned()
}

/// The leader's row of a framework.
fn framework(node: &Node, id: &str) -> Option<Value> {
    let told = node.json("/frameworks")?;
    let all = told["frameworks"].as_array()?.iter().chain(told["completed_frameworks"].as_array()?);
    all.clone().find(|row| row["id"] == id).cloned()
}

#[test]
fn pymesos_launches_and_hears_of_the_end_through_any_node() {
    let mut cluster = Cluster::start(3);
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    for (index, name) in [(leader, "Bj\u{f6}rn \u{1f600}"), (follower, "\u{65e5}\u{672c}")] {
        let node = &cluster.nodes[index];
        let mut client = pymesos(node, &[name]);
        let id = registered(&mut client);
        assert_eq!(framework(node, &id).unwrap()["name"], name);
        client.tell("launch good echo h\u{f6}i");
        // So short a task may have ended before anybody was told that it runs.
        client.hear_state("good", "TASK_FINISHED");
        client.tell("launch bad exit 3");
        client.hear_state("bad", "TASK_FAILED");
        client.tell("launch long sleep 600");
        client.hear_state("long", "TASK_RUNNING");
        client.tell("reconcile");
        let known = client.hear_state("long", "TASK_RUNNING");
        assert_eq!(known["reason"], "REASON_RECONCILIATION");
        client.tell("kill long");
        client.hear_state("long", "TASK_KILLED");
        client.tell("stop");
        client.hear_of("stopped");
        assert_eq!(client.wait().code(), 0);
        wait_until("the framework has ended", || {
            framework(node, &id)
                .is_some_and(|row| row["active"] == false && row["tasks"] == json!([]))
        });
    }
}

#[test]
fn pymesos_takes_its_framework_over_with_the_same_id() {
    let mut cluster = Cluster::start(3);
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let mut journal = Journal::new();
    let mut first = pymesos(&cluster.nodes[follower], &["mine"]);
    let id = registered(&mut first);
    first.tell(&format!("launch kept {}", journal.gated_line("kept", "gate", 0)));
    first.hear_state("kept", "TASK_RUNNING");
    wait_for_births(&journal, &["kept".to_owned()]);
    // It dies as processes do, and comes back elsewhere.
    drop(first);
    let mut second = pymesos(&cluster.nodes[leader], &["mine", "--id", &id]);
    assert_eq!(second.hear_of("reregistered")["id"], id.as_str());
    second.tell("reconcile");
    second.hear_state("kept", "TASK_RUNNING");
    // It leaves for a while, and its task goes on.
    second.tell("leave");
    second.hear_of("stopped");
    assert_eq!(second.wait().code(), 0);
    assert_alive(&journal, &["kept".to_owned()]);
    let mut third = pymesos(&cluster.nodes[follower], &["mine", "--id", &id]);
    third.hear_of("reregistered");
    journal.open_gate("gate");
    third.hear_state("kept", "TASK_FINISHED");
    third.tell("launch more true");
    third.hear_state("more", "TASK_FINISHED");
    assert_started_at_most_once(&journal);
}

#[test]
fn pymesos_shows_the_credentials_of_a_principal() {
    let mut cluster = Cluster::prepare(ClusterOptions { seeds: 1, ..ClusterOptions::default() });
    let principals = cluster.path().join("principals");
    let credentials = json!({"credentials": [{"principal": "ops", "secret": "one two"}]});
    std::fs::write(&principals, credentials.to_string()).unwrap();
    std::fs::set_permissions(&principals, Permissions::from_mode(0o600)).unwrap();
    let flags = &mut cluster.nodes[0].arguments().flags;
    flags.retain(|flag| flag != "--open-http");
    flags.extend(["--http-principals".to_owned(), principals.display().to_string()]);
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    let node = &cluster.nodes[0];
    let mut client = pymesos(node, &["known", "--principal", "ops", "--secret", "one two"]);
    let registered = client.hear_of("registered");
    // It asks for that without credentials, and asks for GPUs only where it is told.
    assert_eq!(registered["version"], "1.11.0");
    let id = registered["id"].as_str().unwrap();
    assert_eq!(framework(node, id).unwrap()["principal"], "ops");
    client.tell("launch t true");
    client.hear_state("t", "TASK_FINISHED");
    client.tell("stop");
    client.hear_of("stopped");
}

#[test]
fn pymesos_goes_on_when_the_leader_is_killed() {
    // Its node stays away for a while, and its tasks are not to be given up.
    let (agent_timeout, agent_timeout_dead) = ("90s", "90s");
    let mut cluster = Cluster::start_with(ClusterOptions {
        agent_timeout,
        agent_timeout_dead,
        ..ClusterOptions::default()
    });
    let leader = cluster.leader();
    let gateway = cluster.follower();
    let mut journal = Journal::new();
    let mut beside = pymesos(&cluster.nodes[gateway], &["beside the leader"]);
    let mut at_it = pymesos(&cluster.nodes[leader.index], &["at the leader"]);
    let ids = [registered(&mut beside), registered(&mut at_it)];
    for (client, task) in [(&mut beside, "beside"), (&mut at_it, "at")] {
        client.tell(&format!("launch {task} {}", journal.gated_line(task, "gate", 0)));
        client.hear_state(task, "TASK_RUNNING");
    }
    wait_for_births(&journal, &["beside".to_owned(), "at".to_owned()]);

    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    beside.tell("launch after true");
    beside.hear("a task of the new leader ends, and the stream was never lost", |said| {
        assert_ne!(said["what"], "disconnected");
        (said["task"] == "after" && said["state"] == "TASK_FINISHED").then_some(())
    });
    // The other knows this address alone.
    at_it.hear_of("disconnected");
    cluster.nodes[leader.index].start();
    assert_eq!(at_it.hear_of("reregistered")["id"], ids[1].as_str());
    assert_alive(&journal, &["beside".to_owned(), "at".to_owned()]);
    journal.open_gate("gate");
    for (client, task) in [(&mut beside, "beside"), (&mut at_it, "at")] {
        client.hear_state(task, "TASK_FINISHED");
    }
    at_it.tell("launch later true");
    at_it.hear_state("later", "TASK_FINISHED");
    assert_started_at_most_once(&journal);
}

#[test]
fn mesoshttp_and_avmesos_launch_and_hear_of_the_end() {
    let mut cluster = Cluster::start(3);
    let node = cluster.follower();
    let node = &cluster.nodes[node];
    let master = format!("http://{}", node.http());
    for library in ["mesoshttp", "avmesos"] {
        let (name, task) =
            (format!("Bj\u{f6}rn \u{1f600} {library}"), format!("\u{fc}bung-{library}"));
        let arguments = [library, &master, &name, &task, "sleep 1; echo h\u{f6}i"];
        let mut client = PythonClient::start("with_mesoshttp.py", node.home(), &arguments);
        let id = registered(&mut client);
        assert_eq!(framework(node, &id).unwrap()["name"], name);
        client.hear_state(&task, "TASK_RUNNING");
        client.hear_state(&task, "TASK_FINISHED");
        client.hear_of("stopped");
        assert_eq!(client.wait().code(), 0);
        wait_until("the framework has ended", || {
            framework(node, &id).is_some_and(|row| row["active"] == false)
        });
    }
}
