//! The shapes of the answers, key by key, as `docs/meshos-mesos.md` promises them to tools.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use meshos_alloc::Share;
use meshos_control::master::{
    AgentView, Counters, DrainView, FrameworkDetails, FrameworkState, FrameworkView, NodeState,
    OfferView, RoleView, TaskExtras, TaskView, View,
};
use meshos_protocol::{
    framework::Capabilities,
    ids::{
        AgentId, ClusterId, Fence, FrameworkId, NodeId, OfferId, Principal, Subscription, TaskId,
        Term,
    },
    resources::{Amount, ResourceName},
    role::Role,
    task::{Reason, TaskState},
    time::Wall,
};
use prost::Message as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::{
    codec::{self, Media},
    convert::offer::Place,
    schema,
};

const PREFIX: &str = "00000000-0000-0000-0000-0000000000ab";

fn agent_id(bits: u64) -> AgentId {
    AgentId::new(NodeId::from_bits(bits), 1)
}

fn agent_text(bits: u64) -> String {
    format!("{PREFIX}-S{}", agent_id(bits))
}

pub(crate) fn agent(bits: u64, state: NodeState) -> AgentView {
    AgentView {
        id: NodeId::from_bits(bits),
        agent_id: agent_id(bits),
        hostname: format!("node-{bits}"),
        address: format!("10.0.0.{bits}:5050"),
        agent_address: format!("10.0.0.{bits}:5051"),
        pid: 7,
        version: "0.1.0".into(),
        resources: "cpus:4;mem:1024;disk:5000;ports:[31000-31009,32000-32000];cpus(db):2"
            .parse()
            .unwrap(),
        used: "cpus:0.5;mem:64".parse().unwrap(),
        offered: "cpus:1".parse().unwrap(),
        attributes: "rack:abc;level:10;keys:[1-2,5-6];kinds:{b,a}".parse().unwrap(),
        domain: Some("eu/a".parse().unwrap()),
        state,
        since: None,
        registered_at: Some(Wall(1_500)),
        reregistered_at: None,
        connected: true,
        leader: bits == 1,
        tasks: 1,
        drain: None,
    }
}

pub(crate) fn framework(number: u64, state: FrameworkState) -> FrameworkView {
    FrameworkView {
        id: FrameworkId(number),
        name: format!("f{number}"),
        user: "nobody".into(),
        principal: Principal::new("ops").unwrap(),
        roles: ["web", "db"].map(|role| Role::new(role).unwrap()).into(),
        suppressed_roles: BTreeSet::new(),
        hostname: "h".into(),
        webui_url: "http://h/".into(),
        state,
        subscription: Subscription(1),
        gateway: None,
        failover_timeout_ms: 60_500,
        details: Arc::new(FrameworkDetails {
            capabilities: Capabilities { gpu_resources: true, ..Capabilities::default() },
            labels: [("team".to_owned(), "a".to_owned())].into(),
        }),
        registered_at: Some(Wall(2_000)),
        reregistered_at: Some(Wall(3_000)),
        disconnected_at: None,
        closed_at: (state == FrameworkState::Closed).then_some(Wall(9_000)),
        closed_why: String::new(),
        tasks: 1,
        used: "cpus:0.5;mem:64".parse().unwrap(),
        offers: 1,
    }
}

pub(crate) fn task(framework: u64, id: &str, state: TaskState, started: Option<u64>) -> TaskView {
    TaskView {
        id: TaskId::new(id).unwrap(),
        framework_id: FrameworkId(framework),
        agent_id: agent_id(1),
        node_id: NodeId::from_bits(1),
        name: format!("name of {id}"),
        role: Role::new("web").unwrap(),
        resources: "cpus:0.5;mem:64;ports:[31000-31000]".parse().unwrap(),
        extras: None,
        state,
        reason: state.is_terminal().then_some(Reason::CommandFailed),
        message: "".into(),
        exit: None,
        healthy: None,
        check_status: None,
        launched_at: Some(Wall(4_000)),
        launched_here: true,
        started_at: started.map(Wall),
        changed_at: Wall(5_250),
        ended_told: None,
    }
}

pub(crate) fn view() -> View {
    let fence = Fence { cluster: ClusterId::from_u128(0xab), term: Term(3) };
    let labelled = TaskExtras {
        labels: [("k".to_owned(), "v".to_owned())].into(),
        executor: None,
        user: Some("daemon".into()),
    };
    let running = TaskView {
        extras: Some(Arc::new(labelled)),
        ..task(7, "a", TaskState::Running, Some(5_000))
    };
    let role = RoleView {
        role: Role::new("web").unwrap(),
        weight_millis: 2_500,
        priority: 0,
        guarantee: [(ResourceName::Cpus, Amount::whole(1))].into_iter().collect(),
        limit: [(ResourceName::Cpus, Amount::whole(3))].into(),
        waiting: 0,
        held: [(ResourceName::Cpus, Amount::from_millis(1_500))].into_iter().collect(),
        offered: [(ResourceName::Cpus, Amount::whole(1))].into_iter().collect(),
        consumed: [(ResourceName::Cpus, Amount::from_millis(500))].into_iter().collect(),
        past: Default::default(),
        share: Share::ZERO,
    };
    let offer = OfferView {
        id: OfferId { term: Term(3), number: 9 },
        framework_id: FrameworkId(7),
        role: Role::new("web").unwrap(),
        agent_id: agent_id(1),
        node_id: NodeId::from_bits(1),
        domain: None,
        unavailability: None,
        resources: "cpus:1".parse().unwrap(),
        made_at: Wall(6_000),
    };
    let waiting = AgentView { registered_at: None, ..agent(4, NodeState::Active) };
    View {
        led_since: Wall(1_000),
        deposed: false,
        agents: [
            agent(1, NodeState::Active),
            agent(2, NodeState::Draining),
            agent(3, NodeState::Unreachable),
            waiting,
            agent(5, NodeState::Gone),
        ]
        .into_iter()
        .collect(),
        frameworks: [framework(7, FrameworkState::Subscribed)].into_iter().collect(),
        frameworks_closed: Arc::new([Arc::new(framework(2, FrameworkState::Closed))].into()),
        tasks: [
            running,
            task(7, "b", TaskState::Staging, None),
            task(7, "c", TaskState::Unreachable, Some(5_000)),
        ]
        .into_iter()
        .collect(),
        tasks_ended: Arc::new(
            [Arc::new(task(7, "z", TaskState::Failed, Some(4_500)))].into_iter().collect(),
        ),
        offers: [offer].into_iter().collect(),
        roles: Arc::new(vec![role]),
        counters: Counters { updates_received: 12, ..Counters::default() },
        ..View::deposed(fence, NodeId::from_bits(1))
    }
}

#[test]
fn agents_that_operators_empty_say_how_far_they_are() {
    let drain = |left| DrainView {
        grace_ms: 2_000,
        mark_gone: true,
        since: Wall(3_000),
        tasks_left: left,
        ends_left: 0,
        executors_left: 0,
    };
    let agents: Vec<AgentView> = vec![
        AgentView { drain: Some(drain(1)), tasks: 0, ..agent(1, NodeState::Draining) },
        AgentView { drain: Some(drain(0)), ..agent(2, NodeState::Drained) },
        agent(3, NodeState::Deactivated),
    ];
    let view = View { agents: agents.into_iter().collect(), ..view() };
    let picture = Picture::new(&view);
    let rows = shown(&super::agents(&picture, None));
    let config = json!({"max_grace_period": {"nanoseconds": 2_000_000_000_u64}, "mark_gone": true});
    let told = |index: usize| {
        let row = &rows["slaves"][index];
        assert_eq!((&row["active"], &row["deactivated"]), (&json!(false), &json!(true)));
        (row["drain_info"].clone(), row["estimated_drain_start_time_seconds"].clone())
    };
    assert_eq!(told(0), (json!({"state": "DRAINING", "config": config}), json!(3.0)));
    assert_eq!(told(1), (json!({"state": "DRAINED", "config": config}), json!(3.0)));
    assert_eq!(told(2), (Value::Null, Value::Null));
}

/// An earlier leader told of it, and its agent has yet to report.
#[test]
fn of_a_task_that_the_leader_does_not_know_nothing_is_told() {
    let hinted = Arc::new(task(7, "hinted", TaskState::Unknown, None));
    let view = View { tasks: [hinted.as_ref().clone()].into_iter().collect(), ..view() };
    let picture = Picture::new(&view);
    assert!(picture.of(FrameworkId(7)).live.is_empty());
    let all =
        TaskQuery { limit: None, offset: 0, order: Order::Ascending, framework: None, task: None };
    let listed = shown(&tasks(&picture, &all)).to_string();
    assert!(!listed.contains("hinted"), "{listed}");
}

fn shown(value: &impl Serialize) -> Value {
    let mut bytes = Vec::new();
    codec::write_json(&mut bytes, value).unwrap();
    assert!(bytes.is_ascii());
    serde_json::from_slice(&bytes).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn with_master<T>(tell: impl FnOnce(&Master<'_>) -> T) -> T {
    let flags = BTreeMap::from([("port", "5050".to_owned())]);
    let domain = "eu/a".parse().unwrap();
    tell(&Master {
        place: Place::read("10.0.0.1:5050").unwrap(),
        hostname: "node-1",
        domain: Some(&domain),
        started_at: Wall(500),
        flags: &flags,
    })
}

#[test]
fn state_has_the_keys_that_tools_read() {
    let view = view();
    let picture = Picture::new(&view);
    let state = with_master(|master| shown(&state(&picture, master)));
    assert_eq!(
        keys(&state),
        [
            "activated_slaves",
            "build_date",
            "build_time",
            "build_user",
            "capabilities",
            "completed_frameworks",
            "deactivated_slaves",
            "domain",
            "elected_time",
            "flags",
            "frameworks",
            "hostname",
            "id",
            "leader",
            "leader_info",
            "orphan_tasks",
            "pid",
            "recovered_slaves",
            "slaves",
            "start_time",
            "unreachable_slaves",
            "unregistered_frameworks",
            "version",
        ]
    );
    assert_eq!(state["version"], "1.11.0");
    assert_eq!((&state["start_time"], &state["elected_time"]), (&json!(0.5), &json!(1.0)));
    assert_eq!(state["pid"], "master@10.0.0.1:5050");
    assert_eq!(state["leader"], state["pid"]);
    assert_eq!(keys(&state["leader_info"]), ["domain", "hostname", "id", "pid", "port"]);
    assert_eq!(state["leader_info"]["hostname"], "10.0.0.1");
    assert_eq!(state["id"].as_str().unwrap().split('-').count(), 5);
    assert_eq!(state["flags"], json!({"port": "5050"}));
    assert_eq!(state["domain"]["fault_domain"]["region"]["name"], "eu");
    let counts = ["activated_slaves", "deactivated_slaves", "unreachable_slaves"];
    assert_eq!(counts.map(|name| state[name].as_u64().unwrap()), [1, 1, 1]);
    let ids = |list: &str| -> Vec<String> {
        let rows = state[list].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        ids("slaves"),
        [agent_text(1), agent_text(2)],
        "those out of reach are counted only"
    );
    assert_eq!(ids("recovered_slaves"), [agent_text(4)]);
    assert_eq!(ids("frameworks"), [format!("{PREFIX}-0007")]);
    assert_eq!(ids("completed_frameworks"), [format!("{PREFIX}-0002")]);
}

#[test]
fn an_agent_has_its_resources_by_name_and_by_role() {
    let view = view();
    let picture = Picture::new(&view);
    let all = shown(&agents(&picture, None));
    assert_eq!(keys(&all), ["recovered_slaves", "slaves"]);
    let row = &all["slaves"][0];
    assert_eq!(
        keys(row),
        [
            "active",
            "attributes",
            "capabilities",
            "deactivated",
            "domain",
            "hostname",
            "id",
            "offered_resources",
            "offered_resources_full",
            "pid",
            "port",
            "registered_time",
            "reserved_resources",
            "reserved_resources_full",
            "resources",
            "unreserved_resources",
            "unreserved_resources_full",
            "used_resources",
            "used_resources_full",
            "version",
        ]
    );
    assert_eq!(row["pid"], "slave(1)@10.0.0.1:5051");
    assert_eq!(row["port"], 5051);
    assert_eq!(row["registered_time"], 1.5);
    let resources = json!({"cpus": 6.0, "disk": 5000.0, "gpus": 0.0, "mem": 1024.0,
        "ports": "[31000-31009, 32000-32000]"});
    assert_eq!(row["resources"], resources);
    assert!(row["resources"].to_string().contains("\"cpus\":6.0"), "a number with a point");
    assert_eq!(row["unreserved_resources"]["cpus"], 4.0);
    let reserved = json!({"db": {"cpus": 2.0, "disk": 0.0, "gpus": 0.0, "mem": 0.0}});
    assert_eq!(row["reserved_resources"], reserved);
    assert_eq!(row["reserved_resources_full"]["db"][0]["role"], "db");
    let used = json!({"cpus": 0.5, "disk": 0.0, "gpus": 0.0, "mem": 64.0});
    assert_eq!(row["used_resources"], used);
    let full = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}, "role": "*"});
    assert_eq!(row["used_resources_full"][0], full);
    let attributes = json!({"keys": "[1-2, 5-6]", "kinds": "{a, b}", "level": 10.0, "rack": "abc"});
    assert_eq!(row["attributes"], attributes);
    assert_eq!((&row["active"], &row["deactivated"]), (&json!(true), &json!(false)));
    let draining = &all["slaves"][1];
    assert_eq!((&draining["active"], &draining["deactivated"]), (&json!(false), &json!(true)));
    assert_eq!(draining["drain_info"], Value::Null, "nothing is ended there");
    let one = shown(&agents(&picture, Some(&agent_text(2))));
    assert_eq!(one["slaves"].as_array().unwrap().len(), 1);
    let none = shown(&agents(&picture, Some("elsewhere-S1")));
    assert_eq!(none, json!({"slaves": [], "recovered_slaves": []}));
}

#[test]
fn a_framework_has_what_it_holds_and_its_tasks_by_where_they_stand() {
    let view = view();
    let picture = Picture::new(&view);
    let all = shown(&frameworks(&picture, None));
    assert_eq!(keys(&all), ["completed_frameworks", "frameworks", "unregistered_frameworks"]);
    let row = &all["frameworks"][0];
    assert_eq!(
        keys(row),
        [
            "active",
            "capabilities",
            "checkpoint",
            "completed_tasks",
            "connected",
            "executors",
            "failover_timeout",
            "hostname",
            "id",
            "labels",
            "name",
            "offered_resources",
            "offers",
            "principal",
            "recovered",
            "registered_time",
            "reregistered_time",
            "resources",
            "roles",
            "tasks",
            "unreachable_tasks",
            "unregistered_time",
            "used_resources",
            "user",
            "webui_url",
        ]
    );
    assert_eq!(row["failover_timeout"], 60.5);
    assert_eq!(row["labels"], json!([{"key": "team", "value": "a"}]));
    assert_eq!(row["roles"], json!(["db", "web"]));
    let can = row["capabilities"].as_array().unwrap();
    assert!(can.contains(&json!("GPU_RESOURCES")) && can.contains(&json!("MULTI_ROLE")), "{can:?}");
    assert_eq!(row["offered_resources"]["cpus"], 1.0);
    assert_eq!(
        (&row["used_resources"]["cpus"], &row["resources"]["cpus"]),
        (&json!(0.5), &json!(1.5))
    );
    let ids = |list: &str| -> Vec<&str> {
        row[list].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
    };
    assert_eq!(ids("tasks"), ["a", "b"]);
    assert_eq!(ids("unreachable_tasks"), ["c"]);
    assert_eq!(ids("completed_tasks"), ["z"]);
    let offer = json!({"id": format!("{PREFIX}-O3.9"), "framework_id": row["id"],
        "allocation_info": {"role": "web"}, "slave_id": agent_text(1),
        "resources": {"cpus": 1.0, "disk": 0.0, "gpus": 0.0, "mem": 0.0}});
    assert_eq!(row["offers"], json!([offer]));
    let ended = &all["completed_frameworks"][0];
    assert_eq!((&ended["active"], &ended["unregistered_time"]), (&json!(false), &json!(9.0)));
    let one = shown(&frameworks(&picture, Some(&format!("{PREFIX}-0002"))));
    assert_eq!((&one["frameworks"], &one["completed_frameworks"][0]), (&json!([]), ended));
}

#[test]
fn a_task_tells_its_steps_and_where_it_is_reached() {
    let view = view();
    let picture = Picture::new(&view);
    let all = shown(&frameworks(&picture, None));
    let task = &all["frameworks"][0]["tasks"][0];
    let address = json!({"protocol": "IPv4", "ip_address": "10.0.0.1"});
    let status = json!({"network_infos": [{"ip_addresses": [address]}]});
    assert_eq!(
        *task,
        json!({
            "id": "a", "name": "name of a", "framework_id": format!("{PREFIX}-0007"),
            "executor_id": "", "slave_id": agent_text(1), "state": "TASK_RUNNING",
            "resources": {"cpus": 0.5, "disk": 0.0, "gpus": 0.0, "mem": 64.0,
                "ports": "[31000-31000]"},
            "role": "web", "user": "daemon", "labels": [{"key": "k", "value": "v"}],
            "statuses": [{"state": "TASK_RUNNING", "timestamp": 5.0, "container_status": status}],
        })
    );
    assert_eq!(all["frameworks"][0]["tasks"][1]["statuses"], json!([]));
    let ended = &all["frameworks"][0]["completed_tasks"][0]["statuses"];
    let steps = |rows: &Value| -> Vec<(String, f64)> {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| {
            (row["state"].as_str().unwrap().to_owned(), row["timestamp"].as_f64().unwrap())
        })
        .collect()
    };
    let expected = [("TASK_RUNNING".to_owned(), 4.5), ("TASK_FAILED".to_owned(), 5.25)];
    assert_eq!(steps(ended), expected);
}

#[test]
fn who_does_not_tell_lost_tasks_apart_has_them_all_lost() {
    let mut view = view();
    let mut old = framework(7, FrameworkState::Subscribed);
    let capabilities = Capabilities { partition_aware: false, ..Capabilities::default() };
    old.details = Arc::new(FrameworkDetails { capabilities, labels: BTreeMap::new() });
    view.frameworks = [old].into_iter().collect();
    let picture = Picture::new(&view);
    let all = shown(&frameworks(&picture, None));
    let task = &all["frameworks"][0]["unreachable_tasks"][0];
    assert_eq!(task["state"], "TASK_LOST");
    assert_eq!(task["statuses"][1]["state"], "TASK_LOST");
}

#[test]
fn tasks_are_listed_in_order_and_within_limits() {
    let view = view();
    let picture = Picture::new(&view);
    let ids = |query: &TaskQuery| -> Vec<String> {
        let all = shown(&tasks(&picture, query));
        assert_eq!(keys(&all), ["tasks"]);
        let rows = all["tasks"].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let ascending = TaskQuery { order: Order::Ascending, ..TaskQuery::default() };
    assert_eq!(ids(&ascending), ["b", "z", "a", "c"], "by when they were first told of");
    assert_eq!(ids(&TaskQuery::default()), ["c", "a", "z", "b"]);
    let page = TaskQuery { limit: Some(2), offset: 1, ..TaskQuery::default() };
    assert_eq!(ids(&page), ["a", "z"]);
    let of = |framework: &str, task: &str| TaskQuery {
        framework: Some(framework.to_owned()),
        task: Some(task.to_owned()),
        ..TaskQuery::default()
    };
    assert_eq!(ids(&of(&format!("{PREFIX}-0007"), "z")), ["z"]);
    assert!(ids(&of(&format!("{PREFIX}-0008"), "z")).is_empty());
    assert!(ids(&of("nonsense", "z")).is_empty());
    assert!(ids(&TaskQuery { offset: 9, ..TaskQuery::default() }).is_empty());
}

#[test]
fn a_summary_has_counts_in_place_of_tasks() {
    let view = view();
    let picture = Picture::new(&view);
    let summary = with_master(|master| shown(&summary(&picture, master)));
    assert_eq!(keys(&summary), ["frameworks", "hostname", "slaves"]);
    let agent = &summary["slaves"][0];
    let counts = |row: &Value| {
        ["RUNNING", "STAGING", "UNREACHABLE", "FAILED", "LOST", "KILLING"]
            .map(|state| row[format!("TASK_{state}")].as_u64().unwrap())
    };
    assert_eq!(counts(agent), [1, 1, 1, 1, 0, 0]);
    assert_eq!(agent["framework_ids"], json!([format!("{PREFIX}-0007")]));
    assert_eq!(agent["resources"]["cpus"], 6.0);
    assert_eq!(counts(&summary["slaves"][1]), [0; 6]);
    let framework = &summary["frameworks"][0];
    assert_eq!(counts(framework), [1, 1, 1, 1, 0, 0]);
    assert_eq!(framework["slave_ids"], json!([agent_text(1)]));
    assert_eq!(framework.get("tasks"), None);
}

#[test]
fn a_role_has_its_weight_its_quota_and_who_is_in_it() {
    let view = view();
    let picture = Picture::new(&view);
    let all = shown(&roles(&picture));
    let nothing = json!({"cpus": 0.0, "disk": 0.0, "gpus": 0.0, "mem": 0.0});
    let cpus = |cpus: f64| json!({"cpus": cpus, "disk": 0.0, "gpus": 0.0, "mem": 0.0});
    let frameworks = json!([format!("{PREFIX}-0007")]);
    assert_eq!(
        all,
        json!({"roles": [
            {"name": "db", "weight": 1.0, "resources": nothing, "allocated": nothing,
             "offered": nothing, "reserved": cpus(4.0), "frameworks": frameworks,
             "quota": {"role": "db", "guarantee": {}, "limit": {}, "consumed": {}}},
            {"name": "web", "weight": 2.5, "resources": cpus(1.5), "allocated": cpus(0.5),
             "offered": cpus(1.0), "reserved": nothing, "frameworks": frameworks,
             "quota": {"role": "web", "guarantee": {"cpus": 1.0}, "limit": {"cpus": 3.0},
                       "consumed": {"cpus": 0.5}}},
        ]})
    );
    assert_eq!(shown(&weights(&picture)), json!([{"role": "web", "weight": 2.5}]));
    let quota = shown(&quota(&picture));
    let config = json!({"role": "web", "guarantees": {"cpus": {"value": 1.0}},
        "limits": {"cpus": {"value": 3.0}}});
    assert_eq!(quota["configs"], json!([config]));
    assert_eq!(quota["infos"][0]["guarantee"][0]["scalar"]["value"], 1.0);
}

fn asked(read: operator::Read) -> schema::MasterResponse {
    let view = view();
    let picture = Picture::new(&view);
    let beside =
        operator::Beside { healthy: true, metrics: [("master/elected".to_owned(), 1.0)].into() };
    with_master(|master| operator::answer(read, &picture, master, &beside))
}

/// The same in both encodings.
fn answered(name: &str) -> Value {
    let read = operator::Read::named(name).unwrap();
    assert_eq!(read.name(), name);
    let response = asked(read);
    let bytes = codec::write(Media::Protobuf, &response);
    assert_eq!(schema::MasterResponse::decode(bytes.as_slice()).unwrap(), response);
    let text = codec::write(Media::Json, &response);
    let shown: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(shown["type"], name);
    let body = name.to_ascii_lowercase();
    assert_eq!(keys(&shown).len(), 2, "{shown}");
    shown[body].clone()
}

#[test]
fn the_operator_api_tells_the_same_in_its_own_words() {
    let state = answered("GET_STATE");
    assert_eq!(keys(&state), ["get_agents", "get_executors", "get_frameworks", "get_tasks"]);
    assert_eq!(state["get_tasks"], answered("GET_TASKS"));
    assert_eq!(state["get_agents"], answered("GET_AGENTS"));
    assert_eq!(state["get_frameworks"], answered("GET_FRAMEWORKS"));
    let tasks = &state["get_tasks"];
    let lists = ["completed_tasks", "orphan_tasks", "pending_tasks", "tasks", "unreachable_tasks"];
    assert_eq!(keys(tasks), lists, "all of them, empty or not");
    assert_eq!(tasks["pending_tasks"], json!([]));
    let task = &tasks["tasks"][0];
    assert_eq!(task["agent_id"]["value"], agent_text(1));
    assert_eq!(task["framework_id"]["value"], format!("{PREFIX}-0007"));
    assert_eq!(task["labels"], json!({"labels": [{"key": "k", "value": "v"}]}));
    assert_eq!(task["statuses"][0]["state"], "TASK_RUNNING");
    assert_eq!(task["resources"][0]["allocation_info"]["role"], "web");
    let ended = &tasks["completed_tasks"][0]["statuses"][1];
    assert_eq!(ended["reason"], "REASON_COMMAND_EXECUTOR_FAILED");
    let agent = &state["get_agents"]["agents"][0];
    assert_eq!(agent["agent_info"]["id"]["value"], agent_text(1));
    assert_eq!(agent["agent_info"]["port"], 5051);
    assert_eq!(agent["registered_time"]["nanoseconds"], 1_500_000_000);
    assert_eq!(agent["capabilities"][0], json!({"type": "MULTI_ROLE"}));
    let framework = &state["get_frameworks"]["frameworks"][0];
    assert_eq!(framework["framework_info"]["roles"], json!(["db", "web"]));
    assert_eq!(framework["framework_info"]["failover_timeout"], 60.5);
    assert_eq!(framework["offers"][0]["hostname"], "node-1");
    assert_eq!(framework["active"], true);
}

#[test]
fn the_smaller_reads_of_the_operator_api() {
    assert_eq!(answered("GET_HEALTH"), json!({"healthy": true}));
    assert_eq!(answered("GET_VERSION"), json!({"version_info": {"version": "1.11.0"}}));
    assert_eq!(answered("GET_FLAGS"), json!({"flags": [{"name": "port", "value": "5050"}]}));
    let metrics = json!({"metrics": [{"name": "master/elected", "value": 1.0}]});
    assert_eq!(answered("GET_METRICS"), metrics);
    assert_eq!(answered("GET_LOGGING_LEVEL"), json!({"level": 0}));
    assert_eq!(answered("GET_EXECUTORS"), json!({"executors": []}));
    let master = answered("GET_MASTER");
    assert_eq!((&master["start_time"], &master["elected_time"]), (&json!(0.5), &json!(1.0)));
    assert_eq!(master["master_info"]["address"]["ip"], "10.0.0.1");
    let weights = json!({"weight_infos": [{"weight": 2.5, "role": "web"}]});
    assert_eq!(answered("GET_WEIGHTS"), weights);
    let roles = answered("GET_ROLES");
    assert_eq!(roles["roles"][1]["weight"], 2.5);
    assert_eq!(roles["roles"][1]["resources"][0]["scalar"]["value"], 1.5);
    let quota = answered("GET_QUOTA");
    assert_eq!(quota["status"]["configs"][0]["limits"]["cpus"]["value"], 3.0);
    assert_eq!(answered("GET_MAINTENANCE_STATUS"), json!({"status": {}}));
    assert_eq!(answered("GET_MAINTENANCE_SCHEDULE"), json!({"schedule": {}}));
}
