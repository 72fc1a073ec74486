//! What tools made for Mesos read, over real nodes.

use meshos_tests::{
    Cluster, Journal, MesosFramework, MesosRequest as Request, MesosResponse as Response, Node,
};
use serde_json::{Value, json};

use crate::common::wait_for_births;

pub(crate) fn get<'a>(node: &Node, path: &'a str) -> Request<'a> {
    let request = Request::json(node, &Value::Null).without("Content-Type");
    Request { method: "GET", path, body: Vec::new(), ..request }
}

pub(crate) fn read(node: &Node, path: &str) -> Value {
    let response = get(node, path).answer(node);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    assert_eq!(response.headers["content-type"], "application/json", "{path}");
    serde_json::from_slice(&response.bytes).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The same of the agent's port.
pub(crate) fn read_agent(node: &Node, path: &str) -> Value {
    let response = get(node, path).answer_of_agent(node);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    serde_json::from_slice(&response.bytes).unwrap()
}

fn call(node: &Node, kind: &str) -> Response {
    let path = "/api/v1";
    let body =
        json!({"type": kind, "get_metrics": {"timeout": {"nanoseconds": 5_000_000_000_u64}}});
    Request { path, ..Request::json(node, &body) }.answer(node)
}

fn labelled(offer: &Value, id: &str, line: &str) -> Value {
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let info = json!({
        "name": "web", "task_id": {"value": id}, "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
        "command": {"value": line}, "labels": {"labels": [{"key": "port", "value": "http"}]},
    });
    json!({"offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [info]}}]})
}

/// The agent of a task tells of it and of what it uses.
fn assert_agent_tells_of(agent: &Node, task: &Value) {
    let own = read_agent(agent, "/state");
    assert_eq!(read_agent(agent, "/slave%281%29/state.json"), own);
    assert_eq!(own["id"], task["slave_id"]);
    let executor = &own["frameworks"][0]["executors"][0];
    assert_eq!((&executor["id"], &executor["tasks"][0]["id"]), (&json!("t1"), &json!("t1")));
    let directory = executor["directory"].as_str().unwrap();
    let browsed = read_agent(agent, &format!("/files/browse?path={directory}"));
    assert_eq!(browsed[1]["path"], format!("{directory}/stdout"), "{browsed}");
    let used = read_agent(agent, "/monitor/statistics.json");
    assert_eq!(
        (&used[0]["executor_id"], &used[0]["framework_id"]),
        (&json!("t1"), &task["framework_id"])
    );
    let statistics = &used[0]["statistics"];
    assert_eq!(statistics["cpus_limit"], 0.1);
    assert!(statistics["mem_rss_bytes"].as_u64().unwrap() > 0, "{used}");
    assert!(statistics["cpus_user_time_secs"].is_f64(), "{used}");
    assert_eq!(read_agent(agent, "/containers")[0]["container_id"], executor["container"]);
}

#[test]
fn every_node_tells_the_same_as_the_leader() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().index;
    let follower = cluster.follower();
    let (holder, leader) = (&cluster.nodes[follower], &cluster.nodes[leader]);
    let mut journal = Journal::new();
    let info = json!({"user": "nobody", "name": "reader", "failover_timeout": 60.0,
        "labels": {"labels": [{"key": "team", "value": "a"}]}});
    let mut framework = MesosFramework::subscribe(holder, &info);
    let offer = framework.stream.wait_for_offer();
    let line = journal.gated_line("t1", "gate", 0);
    framework.call(holder, "ACCEPT", &labelled(&offer, "t1", &line));
    framework.wait_for_state(holder, "t1", "TASK_RUNNING");
    wait_for_births(&journal, &["t1".to_owned()]);
    framework.call(holder, "SUPPRESS", &Value::Null);
    // From then on nothing changes.
    let paths = ["/master/state", "/state.json", "/state/", "/state?_=17"];
    meshos_tests::wait_until("all tell the same", || {
        let state = read(leader, "/state");
        state["slaves"].as_array().is_some_and(|rows| rows.len() == 3)
            && paths.iter().all(|path| read(holder, path) == state)
    });
    let state = read(leader, "/state");
    assert_eq!(state["leader"], format!("master@{}", leader.http()));
    assert_eq!(state["activated_slaves"], 3);
    let its = &state["frameworks"][0];
    assert_eq!(its["id"], framework.id["value"]);
    assert_eq!(its["labels"], json!([{"key": "team", "value": "a"}]));
    let task = &its["tasks"][0];
    assert_eq!((&task["id"], &task["state"]), (&json!("t1"), &json!("TASK_RUNNING")));
    assert_eq!(task["slave_id"], offer["agent_id"]["value"]);
    assert_eq!(task["labels"], json!([{"key": "port", "value": "http"}]));
    let status = &task["statuses"][0];
    assert!(status["timestamp"].as_f64().unwrap() > 1e9, "{status}");
    let ip = &status["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"];
    assert_eq!(ip, "127.0.0.1");

    let tasks = read(holder, "/tasks");
    assert_eq!(tasks["tasks"], json!([task]));
    assert_eq!(read(holder, "/tasks?limit=0"), json!({"tasks": []}));
    let posted = Request { method: "POST", ..get(holder, "/master/tasks") }.answer(holder);
    assert_eq!(serde_json::from_slice::<Value>(&posted.bytes).unwrap(), tasks);
    let summary = read(holder, "/state-summary");
    let counts =
        summary["slaves"].as_array().unwrap().iter().map(|row| row["TASK_RUNNING"].as_u64());
    assert_eq!(counts.flatten().sum::<u64>(), 1, "{summary}");
    assert_eq!(read(holder, "/slaves")["slaves"].as_array().unwrap().len(), 3);
    assert_eq!(read(holder, "/frameworks")["frameworks"][0]["name"], "reader");
    assert_eq!(read(holder, "/roles")["roles"][0]["frameworks"], json!([framework.id["value"]]));
    assert_eq!(read(holder, "/flags")["flags"]["port"], holder.http().port().to_string());
    assert_eq!(read(holder, "/maintenance/schedule"), json!({"windows": []}));
    assert_eq!(read(holder, "/master/version")["version"], "1.11.0");
    assert_eq!(read(holder, "/weights"), json!([]));

    // The agent of the task, at the port that the picture tells.
    let of = |node: &&Node| {
        state["slaves"].as_array().unwrap().iter().any(|row| {
            row["id"] == task["slave_id"] && row["pid"] == format!("slave(1)@{}", node.quic())
        })
    };
    let agent = cluster.nodes.iter().find(of).expect("one of them has the task");
    assert_agent_tells_of(agent, task);

    journal.open_gate("gate");
    framework.wait_for_state(holder, "t1", "TASK_FINISHED");
    meshos_tests::wait_until("the task is shown as over", || {
        let its = &read(holder, "/state")["frameworks"][0];
        its["tasks"] == json!([]) && its["completed_tasks"][0]["state"] == "TASK_FINISHED"
    });
}

#[test]
fn answers_come_as_they_are_asked_for() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    meshos_tests::wait_until("the agent takes part", || {
        read(node, "/slaves")["slaves"].as_array().is_some_and(|rows| rows.len() == 1)
            && read(node, "/metrics/snapshot")["slave/registered"] == 1.0
    });
    let plain = get(node, "/state").answer(node);
    assert_eq!(plain.headers.get("content-encoding"), None);
    let packed = get(node, "/state").with("Accept-Encoding", "gzip, deflate").answer(node);
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.bytes.starts_with(&[0x1f, 0x8b]) && packed.bytes.len() < plain.bytes.len());
    let script = get(node, "/state?jsonp=angular.callbacks._0").answer(node);
    assert_eq!(script.headers["content-type"], "text/javascript");
    let inner = script.body.strip_prefix("angular.callbacks._0(");
    let inner = inner.and_then(|text| text.strip_suffix(')'));
    let inner: Value = serde_json::from_str(inner.unwrap()).unwrap();
    assert_eq!(inner["slaves"], read(node, "/state")["slaves"]);
    let foreign = get(node, "/state?jsonp=f").with("Sec-Fetch-Site", "cross-site").answer(node);
    assert_eq!(foreign.status, 403);
    let head = Request { method: "HEAD", ..get(node, "/state") }.answer(node);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.headers["content-length"].parse::<usize>().unwrap() > 100);
    let options = Request { method: "OPTIONS", ..get(node, "/state") }.answer(node);
    assert_eq!(
        (options.status, options.headers["allow"].as_str()),
        (200, "GET, HEAD, POST, OPTIONS")
    );
    let deleted = Request { method: "DELETE", ..get(node, "/state") }.answer(node);
    assert_eq!(deleted.status, 405);
    let unknown = get(node, "/tasks?limit=many").answer(node);
    assert_eq!(
        (unknown.status, unknown.headers["content-type"].as_str()),
        (400, "text/plain; charset=utf-8")
    );

    let metrics = read(node, "/metrics/snapshot?timeout=5secs");
    let number = |name: &str| metrics[name].as_f64().unwrap_or_else(|| panic!("{name}: {metrics}"));
    assert!(metrics.as_object().unwrap().values().all(Value::is_number), "{metrics}");
    assert_eq!(number("master/elected"), 1.0);
    assert_eq!(number("master/slaves_active"), 1.0);
    assert!(number("master/cpus_total") > 0.0 && number("system/mem_total_bytes") > 1e6);
    assert_eq!(number("slave/registered"), 1.0);
    assert_eq!(read_agent(node, "/metrics/snapshot")["slave/registered"], 1.0);
}

#[test]
fn the_operator_api_reads_through_any_node() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().index;
    let follower = cluster.follower();
    let (node, leader) = (&cluster.nodes[follower], &cluster.nodes[leader]);
    let told = |node: &Node, kind: &str| -> Value {
        let response = call(node, kind);
        assert_eq!(response.status, 200, "{kind}: {response:?}");
        assert_eq!(response.headers["content-type"], "application/json");
        let answer: Value = serde_json::from_slice(&response.bytes).unwrap();
        assert_eq!(answer["type"], kind);
        answer[kind.to_ascii_lowercase()].clone()
    };
    meshos_tests::wait_until("all agents take part", || {
        told(node, "GET_AGENTS")["agents"].as_array().is_some_and(|rows| rows.len() == 3)
    });
    for kind in [
        "GET_STATE",
        "GET_AGENTS",
        "GET_FRAMEWORKS",
        "GET_TASKS",
        "GET_ROLES",
        "GET_MASTER",
        "GET_FLAGS",
    ] {
        assert_eq!(told(node, kind), told(leader, kind), "{kind}");
    }
    assert_eq!(told(node, "GET_HEALTH"), json!({"healthy": true}));
    let elected = told(node, "GET_METRICS")["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .any(|metric| metric["name"] == "master/elected" && metric["value"] == 1.0);
    assert!(elected, "the leader's own");
    let port = told(node, "GET_MASTER")["master_info"]["address"]["port"].as_u64();
    assert_eq!(port, Some(u64::from(leader.http().port())));

    // Protobuf: type GET_HEALTH is field 1, and so is its answer, with healthy in field 2.
    let protobuf = Request { path: "/master/api/v1/", ..Request::protobuf(node, vec![0x08, 0x01]) };
    let answer = protobuf.answer(node);
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    assert_eq!(answer.bytes, [0x08, 0x01, 0x12, 0x02, 0x08, 0x01]);
    let refused = call(node, "GET_OPERATIONS");
    assert_eq!(refused.status, 501);
    let got = get(node, "/api/v1").answer(node);
    assert_eq!((got.status, got.headers["allow"].as_str()), (405, "POST"));
}
