//! The shapes of what an agent tells.

use std::sync::Arc;

use meshos_control::agent::{Counters, ExecutorView, TaskView};
use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::{AgentId, ExecutorId, NodeId, TaskId},
    role::Role,
    task::{Command, TaskDescription, TaskLaunch},
};
use serde_json::{Value, json};

use super::*;

fn record(task: &str, container: &str, executor: Option<&ExecutorInfo>) -> TaskRecord {
    let line = CommandLine::Shell { line: "sleep 9".into() };
    let command = Command { line, environment: BTreeMap::new(), user: None, uris: Vec::new() };
    TaskRecord {
        framework: FrameworkId(7),
        user: "nobody".into(),
        launch: TaskLaunch {
            description: TaskDescription {
                task_id: TaskId::new(task).unwrap(),
                name: "web".into(),
                resources: "cpus:0.5;mem:64".parse().unwrap(),
                command,
                executor: executor.cloned().map(Box::new),
                group: None,
                data: Vec::new(),
                kill_grace_ms: None,
                max_completion_ms: None,
                health_check: None,
                check: None,
                labels: [("k".to_owned(), "v".to_owned())].into(),
            },
            role: Role::new("web").unwrap(),
            executor_resources: None,
        },
        container: ContainerId::new(container).unwrap(),
        state: TaskState::Running,
        launched_at: Wall(1_000),
        started_at: Some(Wall(2_000)),
        unacknowledged: Vec::new(),
        exit: None,
        kill_asked: false,
        drain: None,
        overdue: false,
        checks: None,
        updates_taken: Vec::new(),
    }
}

pub(in crate::reads) fn view() -> View {
    let info = ExecutorInfo {
        id: ExecutorId::new("ex").unwrap(),
        name: "the executor".into(),
        kind: ExecutorKind::Custom,
        source: "src".into(),
        resources: "cpus:0.1".parse().unwrap(),
        command: record("x", "x", None).launch.description.command,
        data: Vec::new(),
        shutdown_grace_ms: None,
        labels: BTreeMap::new(),
    };
    let executor = ExecutorRecord {
        framework: FrameworkId(7),
        user: "nobody".into(),
        info: info.clone(),
        role: Role::new("web").unwrap(),
        resources: info.resources.clone(),
        container: ContainerId::new("c2").unwrap(),
        launched_at: Wall(1_000),
        shutdown_asked: false,
        program: None,
        framework_info: None,
    };
    let task =
        |record: TaskRecord, pid| TaskView { record: Arc::new(record), pid, holds_resources: true };
    View {
        node: NodeId::from_bits(1),
        agent: Some(AgentId::new(NodeId::from_bits(1), 1)),
        fence: None,
        registered: true,
        stopping: false,
        draining: false,
        storage_failure: None,
        resources: "cpus:4;mem:1024;cpus(db):2".parse().unwrap(),
        used: "cpus:1.1;mem:128".parse().unwrap(),
        attributes: "rack:abc".parse().unwrap(),
        tasks: vec![
            task(record("plain", "c1", None), Some(5)),
            task(record("handed", "c2", Some(&info)), None),
        ],
        executors: vec![ExecutorView { record: Arc::new(executor), subscribed: true }],
        probes: 0,
        checks_waiting: 0,
        counters: Counters { tasks_finished: 3, ..Counters::default() },
    }
}

pub(in crate::reads) fn tell<T>(with: impl FnOnce(&Node<'_>) -> T) -> T {
    let view = view();
    let flags = BTreeMap::from([("port", "5051".to_owned())]);
    let sandbox = |framework, name: &str, container: &str| Sandbox {
        framework: FrameworkId(framework),
        name: TaskId::new(name).unwrap(),
        container: ContainerId::new(container).unwrap(),
    };
    // Of what runs, of a framework of which something does, and of one of which nothing does.
    let sandboxes =
        [sandbox(7, "plain", "c1"), sandbox(7, "plain", "c0"), sandbox(9, "past", "c9")];
    with(&Node {
        view: &view,
        cluster: ClusterId::from_u128(0xab),
        place: Place::read("10.0.0.1:5051").unwrap(),
        hostname: "node-1",
        domain: None,
        started_at: Wall(500),
        leader: Some("10.0.0.2".to_owned()),
        flags: &flags,
        sandboxes: &sandboxes,
    })
}

fn shown(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn an_agent_tells_of_itself_and_of_what_runs_there() {
    let state = tell(|node| shown(&node.state()));
    assert_eq!(
        keys(&state),
        [
            "attributes",
            "build_date",
            "build_time",
            "build_user",
            "capabilities",
            "completed_frameworks",
            "flags",
            "frameworks",
            "hostname",
            "id",
            "master_hostname",
            "pid",
            "reserved_resources",
            "reserved_resources_allocated",
            "reserved_resources_full",
            "resource_providers",
            "resources",
            "start_time",
            "unreserved_resources",
            "unreserved_resources_allocated",
            "unreserved_resources_full",
            "version",
        ]
    );
    assert_eq!(state["pid"], "slave(1)@10.0.0.1:5051");
    assert_eq!(state["resources"]["cpus"], 6.0);
    assert_eq!(state["unreserved_resources_allocated"]["cpus"], 1.1);
    let framework = &state["frameworks"][0];
    let framework_id = "00000000-0000-0000-0000-0000000000ab-0007";
    assert_eq!(framework["id"], framework_id);
    assert_eq!((&framework["user"], &framework["roles"]), (&json!("nobody"), &json!(["web"])));
    let executors = framework["executors"].as_array().unwrap();
    assert_eq!(executors.len(), 2);
    let own = &executors[0];
    assert_eq!(own["id"], "plain");
    assert_eq!(own["name"], "Command Executor (Task: plain) (Command: sleep 9)");
    assert_eq!((&own["source"], &own["container"]), (&json!("plain"), &json!("c1")));
    let directory = |executor: &str, container: &str| {
        let id = &state["id"].as_str().unwrap();
        format!("/slaves/{id}/frameworks/{framework_id}/executors/{executor}/runs/{container}")
    };
    assert_eq!(own["directory"], directory("plain", "c1"));
    assert_eq!(own["tasks"][0]["executor_id"], "");
    let status = &own["tasks"][0]["statuses"][0];
    assert_eq!((&status["state"], &status["timestamp"]), (&json!("TASK_RUNNING"), &json!(2.0)));
    assert_eq!(status["container_status"]["container_id"]["value"], "c1");
    let past = &framework["completed_executors"];
    assert_eq!(past.as_array().unwrap().len(), 1, "{past}");
    assert_eq!((&past[0]["id"], &past[0]["container"]), (&json!("plain"), &json!("c0")));
    assert_eq!(past[0]["directory"], directory("plain", "c0"));
    assert_eq!((&past[0]["tasks"], &past[0]["resources"]["cpus"]), (&json!([]), &json!(0.0)));
    let over = &state["completed_frameworks"];
    assert_eq!(over.as_array().unwrap().len(), 1, "{over}");
    assert_eq!(over[0]["id"], framework_id.replace("-0007", "-0009"));
    assert_eq!(over[0]["completed_executors"][0]["id"], "past");
    assert_eq!(over[0]["executors"], json!([]));
    let handed = &executors[1];
    assert_eq!((&handed["id"], &handed["source"]), (&json!("ex"), &json!("src")));
    assert_eq!(handed["directory"], directory("ex", "c2"));
    assert_eq!(handed["resources"]["cpus"], 0.6, "its own and that of its task");
    assert_eq!(handed["tasks"][0]["executor_id"], "ex");
}

#[test]
fn what_containers_use_is_told_as_far_as_it_is_known() {
    assert_eq!(running(&view()).map(|id| id.to_string()).collect::<Vec<_>>(), ["c1", "c2"]);
    let used = Usage {
        at: Wall(9_500),
        cpu_user_us: Some(1_500_000),
        cpu_system_us: Some(20_000),
        memory_bytes: Some(4_096),
        ..Usage::default()
    };
    let usage = BTreeMap::from([(ContainerId::new("c1").unwrap(), used)]);
    let rows = tell(|node| shown(&node.statistics(&usage, false, &ContainerQuery::default())));
    let framework = "00000000-0000-0000-0000-0000000000ab-0007";
    assert_eq!(
        rows,
        json!([{
            "executor_id": "plain", "framework_id": framework, "source": "plain",
            "executor_name": "Command Executor (Task: plain) (Command: sleep 9)",
            "statistics": {"timestamp": 9.5, "cpus_user_time_secs": 1.5,
                "cpus_system_time_secs": 0.02, "cpus_limit": 0.5, "mem_rss_bytes": 4_096,
                "mem_total_bytes": 4_096, "mem_limit_bytes": 64 << 20},
        }])
    );
    let named = |container: Option<&str>, framework: Option<&str>, executor: Option<&str>| {
        let [container, framework, executor] =
            [container, framework, executor].map(|it| it.map(str::to_owned));
        let query = ContainerQuery { container, framework, executor };
        tell(|node| shown(&node.statistics(&usage, true, &query)))
    };
    let full = named(Some("c1"), Some(framework), Some("plain"));
    for other in
        [named(Some("c2"), None, None), named(None, Some("f"), None), named(None, None, Some("ex"))]
    {
        assert_eq!(other, json!([]));
    }
    assert_eq!(full[0]["container_id"], "c1");
    let address = &full[0]["status"]["network_infos"][0]["ip_addresses"][0]["ip_address"];
    assert_eq!(address, "10.0.0.1");
}
