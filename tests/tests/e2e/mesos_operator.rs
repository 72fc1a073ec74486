//! What operators change with tools made for Mesos, through a node that does not lead.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

use meshos_tests::{
    Cluster, ClusterOptions, MesosFramework, MesosRequest as Request, MesosResponse as Response,
    Node, wait_until,
};
use serde_json::{Value, json};

fn call(node: &Node, kind: &str, body: &Value) -> Response {
    let body = json!({"type": kind, kind.to_ascii_lowercase(): body});
    Request { path: "/api/v1", ..Request::json(node, &body) }.answer(node)
}

/// A call that must be carried out, and is answered without a word.
#[track_caller]
fn done(node: &Node, kind: &str, body: &Value, status: u16) {
    let response = call(node, kind, body);
    assert_eq!((response.status, response.body.as_str()), (status, ""), "{kind}: {body}");
    assert_eq!(response.headers.get("content-type"), None, "{kind}");
}

#[track_caller]
fn refused(node: &Node, kind: &str, body: &Value, status: u16, words: &str) {
    let response = call(node, kind, body);
    assert_eq!(response.status, status, "{kind}: {response:?}");
    assert!(response.body.contains(words), "{kind}: {response:?}");
}

/// What a reading call tells.
#[track_caller]
fn told(node: &Node, kind: &str) -> Value {
    let response = call(node, kind, &json!({}));
    assert_eq!(response.status, 200, "{kind}: {response:?}");
    let answer: Value = serde_json::from_slice(&response.bytes).unwrap();
    answer[kind.to_ascii_lowercase()].clone()
}

/// A request to an older endpoint.
fn older(node: &Node, method: &'static str, path: &str, body: &str) -> Response {
    let request = Request::json(node, &Value::Null).without("Content-Type");
    Request { method, path, body: body.as_bytes().to_vec(), ..request }.answer(node)
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

fn reserved(name: &str, value: f64) -> Value {
    let mut resource = scalar(name, value);
    resource["role"] = "db".into();
    resource["reservation"] = json!({"principal": "ops"});
    resource
}

/// The agents as the leader tells them, once all take part.
fn agents(node: &Node, count: usize) -> Vec<Value> {
    meshos_tests::poll_until(meshos_tests::PATIENCE, "all agents take part", || {
        let agents = told(node, "GET_AGENTS")["agents"].as_array().cloned().unwrap_or_default();
        (agents.len() == count).then_some(agents)
    })
}

fn agent_row(node: &Node, id: &Value) -> Value {
    let agents = told(node, "GET_AGENTS")["agents"].as_array().cloned().unwrap_or_default();
    let row = agents.into_iter().find(|agent| agent["agent_info"]["id"] == *id);
    row.expect("the agent takes part")
}

/// A field of a protobuf message that holds bytes.
fn field(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(length < 0x80);
    [key, &[length], bytes].concat()
}

#[test]
fn weights_and_quota_are_set_over_the_operator_api_and_outlive_the_leader() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let node = &cluster.nodes[asked];
    agents(node, 3);
    let infos = json!([{"role": "batch/low", "weight": 2.5}, {"role": "web", "weight": 3.0}]);
    done(node, "UPDATE_WEIGHTS", &json!({ "weight_infos": infos }), 200);
    assert_eq!(told(node, "GET_WEIGHTS")["weight_infos"], infos);
    let wrong = json!([{"role": "web", "weight": 4.0}, {"role": "batch", "weight": 0.0}]);
    refused(node, "UPDATE_WEIGHTS", &json!({ "weight_infos": wrong }), 400, "at least 0.001");
    assert_eq!(told(node, "GET_WEIGHTS")["weight_infos"], infos, "all or none");
    let put = older(node, "PUT", "/weights", r#"[{"role":"web","weight":7.0}]"#);
    assert_eq!((put.status, put.body.as_str()), (200, ""));

    let limits = |cpus: f64| json!({"role": "web", "limits": {"cpus": {"value": cpus}}});
    done(node, "UPDATE_QUOTA", &json!({"quota_configs": [limits(2.0)]}), 200);
    let much = json!({"role": "db", "guarantees": {"cpus": {"value": 99_999.0}}});
    let both = json!({"quota_configs": [limits(9.0), much]});
    refused(node, "UPDATE_QUOTA", &both, 400, "Invalid QuotaConfig: with this quota of role db");
    let configs = told(node, "GET_QUOTA")["status"]["configs"].clone();
    assert_eq!(configs, json!([limits(2.0)]), "all or none");
    let request =
        |role: &str, cpus: f64| json!({"role": role, "guarantee": [scalar("cpus", cpus)]});
    let post = |request: &Value| older(node, "POST", "/master/quota", &request.to_string());
    assert_eq!(post(&request("web", 1.0)).status, 400, "it has one");
    assert_eq!(post(&request("db", 99_999.0)).status, 409);
    assert_eq!(post(&request("db", 1.0)).status, 200);
    assert_eq!(older(node, "DELETE", "/quota/web", "").status, 200);
    assert_eq!(older(node, "DELETE", "/quota/web", "").status, 400);
    refused(node, "START_MAINTENANCE", &json!({"machines": []}), 400, "List of machines is empty");
    refused(node, "SET_LOGGING_LEVEL", &json!({"level": 1}), 501, "MESHOS_LOG");

    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    let node = &cluster.nodes[asked];
    let kept = [json!({"role": "batch/low", "weight": 2.5}), json!({"role": "web", "weight": 7.0})];
    let cpus = json!({"cpus": {"value": 1.0}});
    wait_until("the next leader knows what was set", || {
        let quota = &told(node, "GET_QUOTA")["status"]["configs"];
        told(node, "GET_WEIGHTS")["weight_infos"] == json!(kept)
            && *quota == json!([{"role": "db", "guarantees": cpus, "limits": cpus}])
    });
}

#[test]
fn a_framework_is_torn_down_over_the_operator_api() {
    let mut cluster = Cluster::start(2);
    let follower = cluster.follower();
    let node = &cluster.nodes[follower];
    let info = json!({"user": "nobody", "name": "ends", "failover_timeout": 60.0});
    let mut first = MesosFramework::subscribe(node, &info);
    let mut second = MesosFramework::subscribe(node, &info);
    // In protobuf: type TEARDOWN, and its body in field 16 with the framework's id.
    let id = first.id["value"].as_str().unwrap();
    let body = field(&[0x82, 0x01], &field(&[0x0a], &field(&[0x0a], id.as_bytes())));
    let bytes = [&[0x08, 31][..], &body].concat();
    let torn = Request { path: "/master/api/v1", ..Request::protobuf(node, bytes) }.answer(node);
    assert_eq!((torn.status, torn.body.as_str()), (200, ""));
    while first.stream.event().is_some() {}
    let again = json!({"framework_id": first.id});
    refused(node, "TEARDOWN", &again, 400, "No framework found with specified ID");
    let form = format!("frameworkId={}", second.id["value"].as_str().unwrap());
    let torn = older(node, "POST", "/master/teardown", &form);
    assert_eq!((torn.status, torn.body.as_str()), (200, ""));
    while second.stream.event().is_some() {}
    assert_eq!(told(node, "GET_FRAMEWORKS")["frameworks"], json!([]));
}

/// Two nodes that ask who calls, and know somebody who may not change the cluster.
fn with_a_viewer() -> Cluster {
    let mut cluster = Cluster::prepare(ClusterOptions { seeds: 2, ..ClusterOptions::default() });
    let principals = cluster.path().join("principals");
    std::fs::write(&principals, "[viewer]\nsecret = 'one'\n").unwrap();
    std::fs::set_permissions(&principals, Permissions::from_mode(0o600)).unwrap();
    for node in &mut cluster.nodes {
        let flags = &mut node.arguments().flags;
        flags.retain(|flag| flag != "--open-http");
        flags.extend(["--http-principals".to_owned(), principals.display().to_string()]);
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.wait_until_ready();
    cluster
}

#[test]
fn who_may_not_change_the_cluster_changes_nothing_over_the_operator_api() {
    let mut cluster = with_a_viewer();
    let follower = cluster.follower();
    let node = &cluster.nodes[follower];
    let weights = json!({"type": "UPDATE_WEIGHTS",
        "update_weights": {"weight_infos": [{"role": "db", "weight": 2.0}]}});
    let asked = Request { path: "/api/v1", ..Request::json(node, &weights) };
    assert_eq!(asked.clone().without("Authorization").answer(node).status, 401);
    // "viewer:one", as Basic credentials are written.
    let viewer = |request: Request<'static>| {
        request.without("Authorization").with("Authorization", "Basic dmlld2VyOm9uZQ==")
    };
    let refused = viewer(asked.clone()).answer(node);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains("operator = true"), "{refused:?}");
    let read = Request { path: "/api/v1", ..Request::json(node, &json!({"type": "GET_WEIGHTS"})) };
    let told = viewer(read).answer(node);
    assert_eq!(told.status, 200, "{told:?}");
    assert!(!told.body.contains("db"), "{told:?}");
    assert_eq!(asked.answer(node).status, 200, "the node's token may");
}

#[test]
fn agents_are_reserved_and_emptied_over_the_operator_api() {
    let mut cluster = Cluster::start(3);
    let follower = cluster.follower();
    let node = &cluster.nodes[follower];
    let agents = agents(node, 3);
    let id = &agents[0]["agent_info"]["id"];
    let has = |name: &str, of: &dyn Fn(&Value) -> bool| {
        let resources = agent_row(node, id)["total_resources"].clone();
        let resources = resources.as_array().cloned().unwrap_or_default();
        let of_name = resources.iter().filter(|it| it["name"] == name && of(it));
        of_name.map(|it| it["scalar"]["value"].as_f64().unwrap()).sum::<f64>()
    };
    let of_db = |resource: &Value| resource["role"] == "db" && resource.get("disk").is_none();
    let in_volume = |resource: &Value| resource["disk"]["persistence"]["id"] == "v";
    let with = |field: &str, list: Value| json!({"agent_id": id, field: list});
    let both = json!([reserved("cpus", 2.0), reserved("disk", 100.0)]);
    done(node, "RESERVE_RESOURCES", &with("resources", both.clone()), 202);
    assert_eq!((has("cpus", &of_db), has("disk", &of_db)), (2.0, 100.0));
    let much = with("resources", json!([reserved("cpus", 9_999.0)]));
    refused(node, "RESERVE_RESOURCES", &much, 409, "has no cpus");
    let mut volume = reserved("disk", 60.0);
    volume["disk"] = json!({"persistence": {"id": "v", "principal": "ops"},
        "volume": {"mode": "RW", "container_path": "data"}});
    done(node, "CREATE_VOLUMES", &with("volumes", json!([volume])), 202);
    assert_eq!((has("disk", &in_volume), has("disk", &of_db)), (60.0, 40.0));
    let grow = json!({"agent_id": id, "volume": volume, "addition": reserved("disk", 30.0)});
    done(node, "GROW_VOLUME", &grow, 202);
    assert_eq!(has("disk", &in_volume), 90.0);
    volume["scalar"]["value"] = json!(90.0);
    let shrink = json!({"agent_id": id, "volume": volume, "subtract": {"value": 80.0}});
    done(node, "SHRINK_VOLUME", &shrink, 202);
    assert_eq!((has("disk", &in_volume), has("disk", &of_db)), (10.0, 90.0));
    volume["scalar"]["value"] = json!(10.0);
    let agent = id["value"].as_str().unwrap();
    let form = |field: &str, list: &Value| format!("slaveId={agent}&{field}={list}");
    let destroyed = older(node, "POST", "/destroy-volumes", &form("volumes", &json!([volume])));
    assert_eq!((destroyed.status, destroyed.body.as_str()), (202, ""));
    let unreserved = older(node, "POST", "/master/unreserve", &form("resources", &both));
    assert_eq!((unreserved.status, unreserved.body.as_str()), (202, ""));
    assert_eq!((has("cpus", &of_db), has("disk", &of_db)), (0.0, 0.0));
    let again = older(node, "POST", "/unreserve", &form("resources", &both));
    assert_eq!(again.status, 409, "{again:?}");

    let named = json!({ "agent_id": id });
    refused(node, "REACTIVATE_AGENT", &named, 400, "Agent is not deactivated");
    done(node, "DEACTIVATE_AGENT", &named, 200);
    assert_eq!(agent_row(node, id)["deactivated"], true);
    done(node, "REACTIVATE_AGENT", &named, 200);
    let grace = json!({"agent_id": id, "max_grace_period": {"seconds": 5}});
    done(node, "DRAIN_AGENT", &grace, 200);
    let drained = agent_row(node, id);
    let config =
        json!({"max_grace_period": {"nanoseconds": 5_000_000_000_u64}, "mark_gone": false});
    assert_eq!((&drained["drain_info"]["config"], &drained["active"]), (&config, &json!(false)));
    done(node, "DEACTIVATE_AGENT", &named, 200);
    done(node, "REACTIVATE_AGENT", &named, 200);
    assert_eq!(agent_row(node, id)["active"], true);
    refused(node, "MARK_AGENT_GONE", &named, 409, "is connected");
    let unknown = json!({"agent_id": {"value": "nobody"}});
    refused(node, "MARK_AGENT_GONE", &unknown, 404, "No agent found");
    refused(node, "DRAIN_AGENT", &unknown, 400, "Unknown agent");
}
