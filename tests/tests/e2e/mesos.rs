//! Frameworks that speak Mesos's scheduler API.

use meshos_tests::{Cluster, Journal, MesosFramework, MesosRequest as Request};
use serde_json::{Value, json};

use crate::common::{assert_started_at_most_once, assert_alive, ids, wait_for_births};

fn info(name: &str) -> Value {
    json!({"user": "nobody", "name": name, "failover_timeout": 60.0})
}

#[test]
fn a_framework_runs_a_task_through_any_node() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().index;
    let follower = cluster.follower();
    let third = 3 - leader - follower;
    let (holder, other) = (&cluster.nodes[follower], &cluster.nodes[third]);
    let mut framework = MesosFramework::subscribe(holder, &info("Bj\u{f6}rn \u{1f600}"));
    assert_eq!(framework.id["value"].as_str().unwrap().split('-').count(), 6);
    let offer = framework.stream.wait_for_offer();
    assert_eq!(offer["framework_id"], framework.id);
    assert_eq!(offer["url"]["path"], "/slave(1)");
    assert_eq!(offer["allocation_info"]["role"], "*");
    assert_eq!(offer["resources"][0]["role"], "*", "{offer}");
    // Calls may go to any node.
    framework.launch(other, &offer, "t1", "echo h\u{f6}i; exit 0");
    let running = framework.stream.wait_for_state("t1", "TASK_RUNNING");
    assert_eq!(running["agent_id"], offer["agent_id"]);
    assert_eq!(running["executor_id"]["value"], "t1");
    let network = &running["container_status"]["network_infos"][0];
    assert_eq!(network["ip_addresses"][0]["ip_address"], "127.0.0.1", "{running}");
    framework.acknowledge(holder, &running);
    let finished = framework.stream.wait_for_state("t1", "TASK_FINISHED");
    assert_eq!(finished["uuid"].as_str().unwrap().len(), 24, "{finished}");
    framework.acknowledge(&cluster.nodes[leader], &finished);

    // A task that cannot be, and one that this release cannot run.
    let offer = framework.stream.wait_for_offer();
    let task = |id: &str, rest: Value| {
        let mut task = json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}]});
        task.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        task
    };
    let docker = json!({"type": "DOCKER", "docker": {"image": "busybox"}});
    let tasks = [
        task("none", json!({})),
        task("docker", json!({"command": {"value": "true"}, "container": docker})),
        task("huge", json!({"command": {"value": "true"},
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 9999.0}}]})),
    ];
    let accept = json!({"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]});
    framework.call(holder, "ACCEPT", &accept);
    for (id, word) in [("none", "CommandInfo"), ("docker", "DOCKER"), ("huge", "9999")] {
        let status = framework.stream.wait_for_state(id, "TASK_ERROR");
        assert_eq!(status["reason"], "REASON_TASK_INVALID", "{status}");
        assert_eq!(status.get("uuid"), None, "{status}");
        assert!(status["message"].as_str().unwrap().contains(word), "{status}");
    }
    // The same offer is not open any more.
    framework.launch(holder, &offer, "late", "true");
    let lost = framework.stream.wait_for_state("late", "TASK_LOST");
    assert_eq!(lost["reason"], "REASON_INVALID_OFFERS", "{lost}");

    framework.call(holder, "TEARDOWN", &Value::Null);
    while let Some(event) = framework.stream.event() {
        assert_ne!(event["type"], "ERROR", "{event}");
    }
    let gone = framework.request(holder, "REVIVE", &Value::Null).answer(holder);
    assert_eq!((gone.status, gone.body.as_str()), (400, "Framework cannot be found"));
}

#[test]
fn a_stream_outlives_the_leader() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let gateway = cluster.follower();
    let mut journal = Journal::new();
    let mut framework = MesosFramework::subscribe(&cluster.nodes[gateway], &info("survivor"));
    let (tasks, node) = (ids("task", 2), &cluster.nodes[gateway]);
    // On the node that lives on.
    let mine = |offer: &Value| offer["agent_id"]["value"].as_str().unwrap().contains(&node.id());
    let mut kept = None;
    let offer = framework.stream.wait_for("an offer of that node", |kind, body| {
        let offers = body["offers"].as_array().filter(|_| kind == "OFFERS")?;
        kept = kept.take().or_else(|| offers.iter().find(|offer| !mine(offer)).cloned());
        offers.iter().find(|offer| mine(offer)).cloned()
    });
    let scalar =
        |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let infos: Vec<Value> = tasks
        .iter()
        .map(|id| {
            let line = journal.gated_line(id, "gate", 0);
            json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
                "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)], "command": {"value": line}})
        })
        .collect();
    let accept = json!({"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": infos}}]});
    framework.call(node, "ACCEPT", &accept);
    let mut running = 0;
    framework.stream.wait_for("both run", |kind, body| {
        running += u32::from(kind == "UPDATE" && body["status"]["state"] == "TASK_RUNNING");
        (running == 2).then_some(())
    });
    wait_for_births(&journal, &tasks);

    cluster.nodes[leader.index].kill();
    let node = &cluster.nodes[gateway];
    // Taken in while there may be no leader.
    framework.call(node, "KILL", &json!({"task_id": {"value": tasks[0]}}));
    framework.call(node, "SUPPRESS", &Value::Null);
    framework.call(node, "REVIVE", &Value::Null);
    let killed = framework.stream.wait_for_state(&tasks[0], "TASK_KILLED");
    framework.acknowledge(node, &killed);
    assert_alive(&journal, &tasks[1..]);
    journal.open_gate("gate");
    framework.stream.wait_for_state(&tasks[1], "TASK_FINISHED");
    cluster.leader_after(leader.term);
    let node = &cluster.nodes[gateway];
    // Offers of the new leader are good.
    let mut offer = framework.stream.wait_for_offer();
    let cluster_id = framework.id["value"].as_str().unwrap().rsplit_once('-').unwrap().0.to_owned();
    let of_new_leader = |offer: &Value| {
        let old = format!("{cluster_id}-O{}.", leader.term);
        !offer["id"]["value"].as_str().unwrap().starts_with(&old)
    };
    while !of_new_leader(&offer) {
        offer = framework.stream.wait_for_offer();
    }
    framework.launch(node, &offer, "after", "true");
    framework.stream.wait_for_state("after", "TASK_FINISHED");
    assert_started_at_most_once(&journal);
}

#[test]
fn a_framework_takes_its_own_stream_over_and_nobody_elses() {
    let mut cluster = Cluster::start(3);
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let (one, two) = (&cluster.nodes[follower], &cluster.nodes[leader]);
    let mut info = info("twice");
    info["principal"] = json!("alice");
    let mut first = MesosFramework::subscribe(one, &info);
    let offer = first.stream.wait_for_offer();
    info["id"] = first.id.clone();
    // Of another principal.
    let mut stranger = info.clone();
    stranger["principal"] = json!("mallory");
    let call = json!({"type": "SUBSCRIBE", "framework_id": first.id,
        "subscribe": {"framework_info": stranger}});
    let mut refused = Request::json(two, &call).stream(two);
    let message = refused.wait_for("an error", |kind, body| {
        (kind == "ERROR").then(|| body["message"].as_str().unwrap().to_owned())
    });
    assert!(message.contains("another principal"), "{message}");
    assert_eq!(refused.record(), None);

    let mut second = MesosFramework::subscribe(two, &info);
    assert_eq!(second.id, first.id);
    let message = first.stream.wait_for("an error", |kind, body| {
        (kind == "ERROR").then(|| body["message"].as_str().unwrap().to_owned())
    });
    assert_eq!(message, "Framework failed over");
    assert_eq!(first.stream.record(), None, "the first stream is closed");
    // The first stream's id is good for nothing any more.
    let stale = first.request(one, "SUPPRESS", &Value::Null).answer(one);
    assert_eq!(stale.status, 400, "{stale:?}");
    assert!(stale.body.starts_with("The stream ID"), "{stale:?}");
    second.launch(two, &offer, "void", "true");
    second.stream.wait_for_state("void", "TASK_LOST");
    let offer = second.stream.wait_for_offer();
    second.launch(two, &offer, "good", "true");
    second.stream.wait_for_state("good", "TASK_FINISHED");

    // A stream that its client closes is a framework that is disconnected, at once.
    let id = second.id["value"].as_str().unwrap().rsplit_once('-').unwrap().1.to_owned();
    let id = format!("F{}", id.parse::<u64>().unwrap());
    let request = second.request(two, "SUPPRESS", &Value::Null);
    drop(second);
    meshos_tests::wait_until("the framework is disconnected", || {
        let frameworks = one.json("/api/frameworks").unwrap_or_default();
        let found = frameworks.as_array().and_then(|all| all.iter().find(|it| it["id"] == id));
        found.is_some_and(|framework| framework["state"] == "disconnected")
    });
    let gone = request.answer(one);
    assert_eq!((gone.status, gone.body.as_str()), (403, "Framework is not subscribed"));
}
