//! pymesos's driver for operators, unmodified: what happens, as it happens, and what can be read.

use meshos_tests::{Cluster, MesosFramework, PythonClient};
use serde_json::{Value, json};

/// Waits until a task is told to be in the last of these states, and demands that the others came before in this
/// order, if they were told: of what changes within a moment only the newest is.
#[track_caller]
fn hear_states(client: &mut PythonClient, task: &str, states: &[&str]) {
    let mut left = states;
    client.hear(&format!("{task} through {states:?}"), |said| {
        if said["task"] != task {
            return None;
        }
        let next = left.iter().position(|state| said["state"] == *state);
        let next = next.unwrap_or_else(|| panic!("{said}, of {left:?}"));
        left = &left[next + 1..];
        left.is_empty().then_some(())
    });
}

#[test]
fn pymesos_tells_operators_what_happens() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let follower = cluster.follower();
    let third = 3 - leader.index - follower;
    let home = cluster.nodes[follower].home().to_owned();
    let at = |index: usize, cluster: &Cluster| {
        let master = cluster.nodes[index].http().to_string();
        PythonClient::start("watch_with_pymesos.py", &home, &[&master])
    };
    let mut clients = [at(leader.index, &cluster), at(follower, &cluster)];
    for client in &mut clients {
        let subscribed = client.hear_of("subscribed");
        assert_eq!((&subscribed["agents"], &subscribed["tasks"]), (&json!(3), &json!(0)));
    }
    let node = &cluster.nodes[follower];
    let info = json!({"user": "nobody", "name": "Bj\u{f6}rn", "failover_timeout": 60.0});
    let mut framework = MesosFramework::subscribe(node, &info);
    let offer = framework.stream.wait_for_offer();
    let go = home.join("go");
    framework.launch(
        node,
        &offer,
        "t1",
        &format!("until [ -e {} ]; do sleep 0.05; done", go.display()),
    );
    framework.wait_for_state(node, "t1", "TASK_RUNNING");
    for client in &mut clients {
        assert_eq!(client.hear_of("framework added")["name"], "Bj\u{f6}rn");
        let added = client.hear_of("task added");
        assert_eq!((&added["task"], &added["state"]), (&json!("t1"), &json!("TASK_STAGING")));
        hear_states(client, "t1", &["TASK_RUNNING"]);
    }
    std::fs::write(&go, "").unwrap();
    framework.wait_for_state(node, "t1", "TASK_FINISHED");
    let offer = framework.stream.wait_for_offer();
    framework.launch(node, &offer, "t2", "exit 0");
    framework.wait_for_state(node, "t2", "TASK_FINISHED");
    framework.call(node, "TEARDOWN", &Value::Null);
    for client in &mut clients {
        hear_states(client, "t1", &["TASK_FINISHED"]);
        hear_states(client, "t2", &["TASK_STAGING", "TASK_RUNNING", "TASK_FINISHED"]);
        assert_eq!(client.hear_of("framework removed")["name"], "Bj\u{f6}rn");
    }

    let id = cluster.nodes[third].id();
    cluster.nodes[third].kill();
    for client in &mut clients {
        let agent = client.hear_of("agent removed")["agent"].as_str().unwrap().to_owned();
        assert!(agent.contains(&id), "{agent} is not that of {id}");
    }
    cluster.nodes[third].start();
    for client in &mut clients {
        client.hear_of("agent added");
        client.tell("read Agents");
        let read = client.hear_of("read")["answer"].clone();
        assert_eq!(read["get_agents"]["agents"].as_array().unwrap().len(), 3, "{read}");
    }

    // With the leader the stream ends, as Mesos's does, and the next one begins with the state.
    let [gone, mut client] = clients;
    drop(gone);
    cluster.nodes[leader.index].kill();
    client.hear_of("closed");
    client.hear_of("subscribed");
    cluster.leader_after(leader.term);
    client.tell("stop");
    client.hear_of("stopped");
}
