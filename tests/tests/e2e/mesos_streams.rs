//! Streams of Mesos's scheduler API under much to say.

use std::{collections::BTreeSet, thread};

use meshos_tests::{Cluster, ClusterOptions, MesosFramework, MesosRequest as Request};
use serde_json::{Value, json};

fn info(name: &str) -> Value {
    json!({"user": "nobody", "name": name, "failover_timeout": 0.0})
}

/// Thousands of answers to one call come at once, and its framework reads them when it likes.
#[test]
fn a_burst_is_read_at_the_pace_of_the_client() {
    const CALLS: usize = 7;
    const TASKS: usize = 15_000;
    let mut cluster = Cluster::start(2);
    let follower = cluster.follower();
    let node = &cluster.nodes[follower];
    let mut framework = MesosFramework::subscribe(node, &info("burst"));
    framework.stream.wait_for("offers", |kind, _| (kind == "OFFERS").then_some(()));
    let requests: Vec<Request<'static>> = (0..CALLS)
        .map(|call| {
            let task = |number: usize| json!({"task_id": {"value": format!("{call}-{number}")}});
            let tasks: Vec<Value> = (0..TASKS).map(task).collect();
            framework.request(node, "RECONCILE", &json!({ "tasks": tasks }))
        })
        .collect();
    let (before, beside) = requests.split_at(3);
    let call = |requests: &[Request<'_>]| {
        for request in requests {
            let response = request.answer(node);
            assert_eq!((response.status, response.body.as_str()), (202, ""));
        }
    };
    // Nothing is read until they are answered.
    call(before);
    thread::scope(|scope| {
        let calling = scope.spawn(|| call(beside));
        let mut answered = BTreeSet::new();
        while answered.len() < CALLS * TASKS {
            let id = framework.stream.wait_for("an answer", |kind, body| {
                let status = &body["status"];
                (kind == "UPDATE").then(|| {
                    assert_eq!(status["state"], "TASK_LOST", "{status}");
                    status["task_id"]["value"].as_str().unwrap().to_owned()
                })
            });
            assert!(answered.insert(id), "each is answered once");
        }
        calling.join().unwrap();
    });
    // It was subscribed all the time, else its offers were void.
    let offer = framework.stream.wait_for_offer();
    framework.launch(node, &offer, "after", "true");
    framework.wait_for_state(node, "after", "TASK_FINISHED");
}

#[test]
fn an_instance_that_cannot_be_taken_on_fails_nobody_over() {
    let mut cluster = Cluster::start(1);
    cluster.leader();
    let node = &cluster.nodes[0];
    let mut framework = MesosFramework::subscribe(node, &info("wishes"));
    let offer = framework.stream.wait_for_offer();
    let constraint = json!({"selector": {"attribute_name": "rack"},
        "predicate": {"text_matches": {"regex": "(unclosed"}}});
    let groups = json!([{ "attribute_constraints": [constraint] }]);
    let mut described = info("wishes");
    described["id"] = framework.id.clone();
    let subscribe = json!({"type": "SUBSCRIBE", "framework_id": framework.id, "subscribe": {
        "framework_info": described, "offer_constraints": {"role_constraints": {"*": {"groups": groups}}}}});
    let mut refused = Request::json(node, &subscribe).stream(node);
    let error = refused.event().unwrap();
    assert_eq!(error["type"], "ERROR", "{error}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("wished") && message.contains("role *"), "{message}");
    assert_eq!(refused.record(), None);
    // The running instance knows nothing of it.
    framework.launch(node, &offer, "t", "true");
    framework.wait_for_state(node, "t", "TASK_FINISHED");
}

#[test]
fn a_call_waits_as_long_through_another_node() {
    let options = ClusterOptions { seeds: 1, others: 2, ..ClusterOptions::default() };
    let mut cluster = Cluster::start_with(options);
    let framework = MesosFramework::subscribe(&cluster.nodes[1], &info("patient"));
    cluster.nodes[0].kill();
    let other = &cluster.nodes[2];
    let response = framework.request(other, "REVIVE", &Value::Null).answer(other);
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.body, "No leader has answered in time");
}

#[test]
fn a_small_body_that_would_become_a_large_call_is_refused() {
    let mut cluster = Cluster::start(2);
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let framework = MesosFramework::subscribe(&cluster.nodes[leader], &info("small"));
    // Half a million empty operations in an accept.
    let operations = [0x12, 0x00].repeat((1 << 19) - 8);
    let length = operations.len();
    let low = |shift: usize| u8::try_from(length >> shift & 0x7f).unwrap();
    let head = [0x22, low(0) | 0x80, low(7) | 0x80, low(14)];
    let bytes = [&head[..], &operations].concat();
    let text = format!("{{\"accept\":{{\"operations\":[{}{{}}]}}}}", "{},".repeat(300_000));
    for node in &cluster.nodes {
        let json = framework.request(node, "ACCEPT", &Value::Null);
        for request in [
            Request::protobuf(node, bytes.clone()).with("Mesos-Stream-Id", &framework.stream.id()),
            Request { body: text.clone().into_bytes(), ..json },
        ] {
            let response = request.answer(node);
            assert_eq!(response.status, 413, "{response:?}");
            assert!(response.body.contains("bytes of memory"), "{response:?}");
        }
    }
    framework.call(&cluster.nodes[follower], "REVIVE", &Value::Null);
}

/// Nothing has to be redirected, but some clients ask for the way.
#[test]
fn every_node_tells_the_way_to_the_leader() {
    let mut cluster = Cluster::start(2);
    let leader = cluster.leader().index;
    let way = format!("//{}", cluster.nodes[leader].http());
    for node in &cluster.nodes {
        let get = |path| {
            let read = Request::json(node, &Value::Null).without("Content-Type");
            Request { method: "GET", path, body: Vec::new(), ..read }.answer(node)
        };
        for path in ["/redirect", "/master/redirect"] {
            let response = get(path);
            assert_eq!((response.status, response.body.as_str()), (307, ""), "{response:?}");
            assert_eq!(response.headers["location"], way);
            assert_eq!(response.headers.get("content-type"), None);
        }
        assert_eq!(get("/master/redirect/state").status, 404);
        let version = get("/version");
        let told: Value = serde_json::from_str(&version.body).unwrap();
        assert_eq!(told["version"], "1.11.0", "{told}");
        assert_eq!(get("/master/version").body, version.body);
        let health = get("/master/health");
        assert_eq!((health.status, health.body.as_str()), (200, ""));
    }
}
