//! Frameworks that speak Mesos's scheduler API.

use meshos_tests::{Cluster, Journal, MesosFramework, MesosRequest as Request};
use serde_json::{Value, json};

use crate::common::{assert_alive, assert_started_at_most_once, ids, wait_for_births};

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
    // Gossip may not have told yet where the agent listens.
    assert!(offer.get("url").is_none_or(|url| url["path"] == "/slave(1)"), "{offer}");
    assert_eq!(offer["allocation_info"]["role"], "*");
    assert_eq!(offer["resources"][0]["role"], "*", "{offer}");
    // Calls may go to any node.
    framework.launch(other, &offer, "t1", "echo h\u{f6}i; exit 0");
    let running = framework.wait_for_state(holder, "t1", "TASK_RUNNING");
    assert_eq!(running["agent_id"], offer["agent_id"]);
    assert_eq!(running["executor_id"]["value"], "t1");
    let network = &running["container_status"]["network_infos"][0];
    let address = network["ip_addresses"][0]["ip_address"].as_str();
    assert!(address.is_none_or(|address| address == "127.0.0.1"), "{running}");
    let finished = framework.wait_for_state(holder, "t1", "TASK_FINISHED");
    assert_eq!(finished["uuid"].as_str().unwrap().len(), 24, "{finished}");

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
        task(
            "huge",
            json!({"command": {"value": "true"},
            "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 9999.0}}]}),
        ),
    ];
    let accept = json!({"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]});
    framework.call(holder, "ACCEPT", &accept);
    for (id, word) in [("none", "CommandInfo"), ("docker", "DOCKER"), ("huge", "9999")] {
        let status = framework.wait_for_state(holder, id, "TASK_ERROR");
        assert_eq!(status["reason"], "REASON_TASK_INVALID", "{status}");
        assert_eq!(status.get("uuid"), None, "{status}");
        assert!(status["message"].as_str().unwrap().contains(word), "{status}");
    }
    // The same offer is not open any more.
    framework.launch(holder, &offer, "late", "true");
    let lost = framework.wait_for_state(holder, "late", "TASK_LOST");
    assert_eq!(lost["reason"], "REASON_INVALID_OFFERS", "{lost}");

    framework.call(holder, "TEARDOWN", &Value::Null);
    while let Some(event) = framework.stream.event() {
        assert_ne!(event["type"], "ERROR", "{event}");
    }
    meshos_tests::wait_until("the framework is gone", || {
        let gone = framework.request(holder, "REVIVE", &Value::Null).answer(holder);
        assert_eq!(gone.status, 400, "{gone:?}");
        gone.body == "Framework cannot be found"
    });
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
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
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
    // They come in any order.
    let mut running = std::collections::BTreeSet::new();
    while running.len() < tasks.len() {
        let status = framework
            .stream
            .wait_for("they run", |kind, body| (kind == "UPDATE").then(|| body["status"].clone()));
        framework.acknowledge(node, &status);
        if status["state"] == "TASK_RUNNING" {
            running.insert(status["task_id"]["value"].to_string());
        }
    }
    wait_for_births(&journal, &tasks);

    cluster.nodes[leader.index].kill();
    let node = &cluster.nodes[gateway];
    // Taken in while there may be no leader.
    framework.call(node, "KILL", &json!({"task_id": {"value": tasks[0]}}));
    framework.call(node, "SUPPRESS", &Value::Null);
    framework.call(node, "REVIVE", &Value::Null);
    framework.wait_for_state(node, &tasks[0], "TASK_KILLED");
    assert_alive(&journal, &tasks[1..]);
    journal.open_gate("gate");
    framework.wait_for_state(node, &tasks[1], "TASK_FINISHED");
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
    framework.wait_for_state(node, "after", "TASK_FINISHED");
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
    second.wait_for_state(two, "void", "TASK_LOST");
    let offer = second.stream.wait_for_offer();
    second.launch(two, &offer, "good", "true");
    second.wait_for_state(two, "good", "TASK_FINISHED");

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

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(length < 0x80 && number < 16, "one byte is enough for both");
    [&[number << 3 | 2, length], bytes].concat()
}

/// A field that holds a small number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// The bytes of a field, whichever it is that comes first.
fn find(message: &[u8], wanted: u8) -> Option<Vec<u8>> {
    let mut rest = message;
    let varint = |rest: &mut &[u8]| {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let (byte, after) = rest.split_first().unwrap();
            *rest = after;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    };
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let (number, bytes) = match key & 7 {
            0 => (key >> 3, varint(&mut rest).to_be_bytes().to_vec()),
            1 => {
                let (bytes, after) = rest.split_at(8);
                rest = after;
                (key >> 3, bytes.to_vec())
            }
            _ => {
                let length = usize::try_from(varint(&mut rest)).unwrap();
                let (bytes, after) = rest.split_at(length);
                rest = after;
                (key >> 3, bytes.to_vec())
            }
        };
        if number == u64::from(wanted) {
            return Some(bytes);
        }
    }
    None
}

/// What is at the end of a path of fields.
fn at(message: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    path.iter().try_fold(message.to_vec(), |message, field| find(&message, *field))
}

/// The field numbers are those of Mesos's own files, written by hand: nothing of ours is on this side.
#[test]
fn a_framework_runs_a_task_in_protobuf() {
    let mut cluster = Cluster::start(1);
    cluster.leader();
    let node = &cluster.nodes[0];
    let info = [field(1, b"nobody"), field(2, b"binary")].concat();
    let subscribe = [number(2, 1), field(3, &field(1, &info))].concat();
    let mut stream = Request::protobuf(node, subscribe).stream(node);
    assert_eq!(stream.response.headers["content-type"], "application/x-protobuf");
    let first = stream.record().unwrap();
    assert_eq!(first[..2], [8, 1], "SUBSCRIBED");
    let framework = at(&first, &[2, 1]).unwrap();
    assert_eq!(stream.record().unwrap(), [8, 8], "HEARTBEAT");
    let stream_id = stream.id();
    let call = |kind: u8, body: Vec<u8>| {
        let call = [field(1, &framework), number(2, kind), body].concat();
        let request = Request::protobuf(node, call).with("Mesos-Stream-Id", &stream_id);
        let response = request.answer(node);
        assert_eq!((response.status, response.body.as_str()), (202, ""), "call {kind}");
    };
    let offer = loop {
        if let Some(offer) = at(&stream.record().unwrap(), &[3, 1]) {
            break offer;
        }
    };
    let (offer_id, agent) = (find(&offer, 1).unwrap(), find(&offer, 3).unwrap());
    // One core as a double, in thousandths of nothing: 0.125.
    let value = [vec![1 << 3 | 1], 0.125f64.to_le_bytes().to_vec()].concat();
    let cpus = [field(1, b"cpus"), number(2, 0), field(3, &value)].concat();
    let task = [
        field(1, b"t"),
        field(2, &field(1, b"t")),
        field(3, &agent),
        field(4, &cpus),
        field(7, &field(3, b"true")),
    ]
    .concat();
    let long = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len() & 0x7f).unwrap() | 0x80;
        let high = u8::try_from(bytes.len() >> 7).unwrap();
        [&[number << 3 | 2, length, high], bytes].concat()
    };
    let launch = long(2, &long(1, &task));
    let operation = long(2, &[number(1, 1), launch].concat());
    call(3, long(4, &[field(1, &offer_id), operation].concat()));
    let mut states = Vec::new();
    while states.last() != Some(&2) {
        let record = stream.record().unwrap();
        let Some(status) = at(&record, &[5, 1]) else { continue };
        states.push(*find(&status, 2).unwrap().last().unwrap());
        let uuid = find(&status, 11).unwrap();
        let body = [field(1, &agent), field(2, &field(1, b"t")), field(3, &uuid)].concat();
        call(8, long(8, &body));
    }
    call(2, Vec::new());
    while stream.record().is_some() {}
}

#[test]
fn a_framework_changes_its_roles_on_its_stream() {
    let mut cluster = Cluster::start(3);
    let (leader, gateway) = (cluster.leader(), cluster.follower());
    let node = &cluster.nodes[gateway];
    let mut framework = MesosFramework::subscribe(node, &info("mover"));
    let before = framework.stream.wait_for_offer();
    assert_eq!(before["allocation_info"]["role"], "*");
    let mut described = info("moved");
    described["id"] = framework.id.clone();
    described["capabilities"] = json!([{"type": "MULTI_ROLE"}]);
    described["roles"] = json!(["eng", "ops"]);
    let body =
        |described: &Value| json!({"framework_info": described, "suppressed_roles": ["ops"]});
    let call = |described: &Value| {
        framework.request(node, "UPDATE_FRAMEWORK", &body(described)).answer(node)
    };
    let mut wrong = described.clone();
    wrong["user"] = json!("somebody");
    let refused = call(&wrong);
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(
        refused.body.starts_with("Updating 'FrameworkInfo.user' is unsupported"),
        "{refused:?}"
    );
    let taken = call(&described);
    assert_eq!((taken.status, taken.body.as_str()), (200, ""));
    framework.stream.wait_for("what it was offered is rescinded", |kind, body| {
        (kind == "RESCIND" && body["offer_id"] == before["id"]).then_some(())
    });
    let offer = framework.stream.wait_for_offer();
    assert_eq!(offer["allocation_info"]["role"], "eng");
    framework.launch(node, &offer, "t", "true");
    framework.wait_for_state(node, "t", "TASK_FINISHED");

    cluster.nodes[leader.index].kill();
    let next = cluster.leader_after(leader.term);
    let node = &cluster.nodes[gateway];
    let mark = format!("-O{}.", next.term);
    let offer = framework.stream.wait_for("an offer of the next leader", |kind, body| {
        let offers = body["offers"].as_array().filter(|_| kind == "OFFERS")?;
        offers.iter().find(|it| it["id"]["value"].as_str().unwrap().contains(&mark)).cloned()
    });
    assert_eq!(offer["allocation_info"]["role"], "eng");
    framework.launch(node, &offer, "u", "true");
    framework.wait_for_state(node, "u", "TASK_FINISHED");
}

#[test]
fn errors_are_those_that_clients_know() {
    let mut cluster = Cluster::start(2);
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let holder = &cluster.nodes[leader];
    let framework = MesosFramework::subscribe(holder, &info("errors"));
    for node in [holder, &cluster.nodes[follower]] {
        let good = || framework.request(node, "DECLINE", &json!({"offer_ids": []}));
        let call = |call: Value| Request { body: call.to_string().into_bytes(), ..good() };
        let unknown = json!({"framework_id": {"value": "x"}, "type": "REVIVE"});
        let subscribe = json!({"type": "SUBSCRIBE",
            "subscribe": {"framework_info": {"user": "u", "name": "n"}}});
        for (request, status, text) in [
            (good(), 202, ""),
            (Request { path: "/master/api/v1/scheduler/", ..good() }, 202, ""),
            (
                Request { method: "GET", body: Vec::new(), ..good() },
                405,
                "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.",
            ),
            (good().without("Content-Type"), 400, "Expecting 'Content-Type' to be present"),
            (
                good().without("Content-Type").with("Content-Type", "text/plain"),
                415,
                "Expecting 'Content-Type' of",
            ),
            (Request { body: b"{".to_vec(), ..good() }, 400, "Failed to parse body into JSON: "),
            (call(json!({"kill": 1})), 400, "Failed to convert JSON into Call protobuf: "),
            (
                Request { body: vec![0xff], ..Request::protobuf(node, Vec::new()) },
                400,
                "Failed to parse body into Call protobuf",
            ),
            (
                call(json!({})),
                400,
                "Failed to validate scheduler::Call: Expecting 'type' to be present",
            ),
            (call(json!({"type": "UNKNOWN"})), 501, "The type"),
            (call(subscribe.clone()), 400, "Subscribe calls should not include"),
            (
                call(subscribe).without("Mesos-Stream-Id").with("Accept", "text/html"),
                406,
                "Expecting 'Accept'",
            ),
            (good().without("Mesos-Stream-Id"), 400, "All non-subscribe calls should include"),
            (
                good().without("Mesos-Stream-Id").with("Mesos-Stream-Id", "x"),
                400,
                "The stream ID 'x'",
            ),
            (call(unknown), 400, "Framework cannot be found"),
            (framework.request(node, "REVIVE", &json!({"roles": ["other"]})), 400, "role other"),
        ] {
            let response = request.answer(node);
            assert_eq!(response.status, status, "{request:?}: {response:?}");
            assert!(response.body.starts_with(text), "{request:?}: {response:?}");
            let allow = response.headers.get("allow").map(String::as_str);
            assert_eq!(allow, (status == 405).then_some("POST"));
        }
    }
    // What comes too late for an answer is told on the stream.
    let subscribe = json!({"type": "SUBSCRIBE",
        "subscribe": {"framework_info": {"user": "u", "name": "n", "roles": ["a"]}}});
    let mut refused = Request::json(holder, &subscribe).stream(holder);
    let error = refused.event().unwrap();
    assert_eq!(error["type"], "ERROR", "{error}");
    assert_eq!(refused.record(), None);
}
