use meshos_protocol::{
    ids::{NodeId, TaskId},
    task::CommandLine,
};
use serde_json::{Value, json};

use super::*;
use crate::json::read as from_json;

fn roles() -> BTreeSet<Role> {
    [Role::default()].into()
}

fn described(rest: Value) -> Result<ExecutorInfo, String> {
    let mut value = json!({"executor_id": {"value": "e"}, "command": {"value": "run"}});
    value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    read(&from_json(value).unwrap(), &roles())
}

fn surroundings() -> Surroundings {
    Surroundings {
        cluster: ClusterId::from_u128(0xab),
        framework: FrameworkId(7),
        framework_info: None,
        agent: Some(AgentId::new(NodeId::from_bits(99), 3)),
    }
}

#[test]
fn a_custom_executor_is_read_whole_and_written_back() {
    let told = json!({"type": "CUSTOM", "name": "pool", "source": "nightly", "data": "AAEC",
        "command": {"shell": false, "value": "/bin/run", "arguments": ["run", "-v"], "user": "me",
            "environment": {"variables": [{"name": "A", "value": "1"}]},
            "uris": [{"value": "http://h/a.tgz", "output_file": "b"}]},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}}],
        "shutdown_grace_period": {"nanoseconds": 3_000_000_000u64},
        "labels": {"labels": [{"key": "k", "value": "v"}]},
        "container": {"type": "MESOS"}, "discovery": {"visibility": "CLUSTER"}});
    let info = described(told).unwrap();
    assert_eq!(
        (info.id.as_str(), info.name.as_str(), info.source.as_str()),
        ("e", "pool", "nightly")
    );
    assert_eq!(info.command.line, CommandLine::exec("/bin/run", ["-v"]));
    assert_eq!((&info.data[..], info.shutdown_grace_ms), (&[0, 1, 2][..], Some(3_000)));
    assert_eq!(info.resources.to_string(), "cpus:0.5");
    let written = surroundings().write_executor(&info);
    assert_eq!(
        written.framework_id,
        Some(ids::framework(ClusterId::from_u128(0xab), FrameworkId(7)))
    );
    assert_eq!(read(&written, &roles()), Ok(info), "nothing is lost on the way");
    // Without a type it is a custom one.
    assert_eq!(described(json!({})).unwrap().command.line, CommandLine::shell("run"));
}

#[test]
fn what_an_executor_may_not_be_is_told() {
    for (rest, word) in [
        (json!({"type": "DEFAULT"}), "LAUNCH_GROUP"),
        (json!({"type": "UNKNOWN"}), "Unknown executor type"),
        (json!({"command": null}), "'ExecutorInfo.command' must be set for 'CUSTOM' executor"),
        (json!({"command": {}}), "'value'"),
        (json!({"executor_id": {"value": "a/b"}}), "executor id"),
        (json!({"executor_id": {"value": ""}}), "executor id"),
        (json!({"container": {"type": "DOCKER"}}), "Executor's container asks for type DOCKER"),
        (
            json!({"shutdown_grace_period": {"nanoseconds": -1}}),
            "'shutdown_grace_period' must be non-",
        ),
        (json!({"resources": [{"name": "cpus", "type": "SCALAR"}]}), "Resource `cpus`"),
    ] {
        let why = described(rest.clone()).unwrap_err();
        assert!(why.contains(word), "{rest}: {why}");
    }
}

#[test]
fn a_task_is_handed_over_as_it_was_launched() {
    let told = json!({"name": "n", "task_id": {"value": "t"}, "agent_id": {"value": "a"}, "data": "AAEC",
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}],
        "kill_policy": {"grace_period": {"nanoseconds": 2_000_000_000u64}},
        "labels": {"labels": [{"key": "k", "value": "v"}]},
        "executor": {"executor_id": {"value": "e"}, "command": {"value": "run"}}});
    let launched = task::read(&from_json(told).unwrap(), &roles()).unwrap();
    assert!(launched.command.is_none());
    let info = FrameworkInfo {
        name: "f".to_owned(),
        user: "u".to_owned(),
        roles: roles(),
        failover_timeout_ms: 5_000,
        capabilities: Default::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: [].into(),
    };
    let known = Surroundings { framework_info: Some(info), ..surroundings() };
    let executor = launched.executor.as_ref().map(|info| &info.id);
    let written = known.write_task(executor, &launched);
    assert_eq!(written.data.as_deref(), Some(&[0, 1, 2][..]));
    assert_eq!(written.agent_id, Some(known.agent_id()));
    assert_eq!(written.executor.as_ref().unwrap().executor_id.as_ref().unwrap().value(), "e");
    let allocated = written.resources[0].allocation_info.as_ref().and_then(|it| it.role.as_deref());
    assert_eq!(allocated, Some("*"), "its only role");
    let back = task::read(
        &schema::TaskInfo { executor: None, command: Some(Default::default()), ..written },
        &roles(),
    );
    assert!(back.unwrap_err().contains("'value'"), "all but the command is as it was");
    let shown = known.write_framework();
    assert_eq!((shown.name(), shown.user(), shown.roles.len()), ("f", "u", 1));
    let unknown = surroundings().write_framework();
    assert_eq!((unknown.name(), &unknown.id), ("", &shown.id), "required fields are there");
}

fn status(rest: Value) -> Result<ExecutorStatus, String> {
    let mut value = json!({"task_id": {"value": "t"}, "state": "TASK_RUNNING",
        "uuid": "AAAAAAAAAAAAAAAAAAAAAA==", "source": "SOURCE_EXECUTOR"});
    value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    read_status(&from_json(value).unwrap())
}

#[test]
fn what_executors_tell_is_read_with_all_that_is_kept_of_it() {
    let told = status(json!({"state": "TASK_FAILED", "message": "why", "data": "AAEC",
        "healthy": false, "check_status": {"type": "TCP", "tcp": {"succeeded": true}},
        "timestamp": 1.5, "reason": "REASON_CONTAINER_LIMITATION_MEMORY"}));
    let expected = ExecutorStatus {
        task: TaskId::new("t").unwrap(),
        state: TaskState::Failed,
        update: meshos_protocol::ids::UpdateId::from_bytes([0; 16]),
        reason: Some(Reason::MemoryLimit),
        message: "why".to_owned(),
        data: vec![0, 1, 2],
        healthy: Some(false),
        check_status: Some(meshos_protocol::check::CheckStatus::Tcp { succeeded: Some(true) }),
        at: Some(Wall(1_500)),
    };
    assert_eq!(told, Ok(expected));
    // Whatever reason is read is told under the name that it came with.
    for known in Reason::ALL {
        let Some(name) = status::reason(*known) else { continue };
        let read = read_reason(name as i32).unwrap();
        assert_eq!(status::reason(read), Some(name));
    }
    assert_eq!(status(json!({"reason": "REASON_GC_ERROR"})).unwrap().reason, None);
    for moment in [json!(-1.0), json!("NaN")] {
        assert_eq!(status(json!({"timestamp": moment})).unwrap().at, None, "{moment}");
    }
    let late = status(json!({"timestamp": 1e300})).unwrap().at;
    assert_eq!(late, Some(Wall(MOMENT_MAX_MS)));
}

#[test]
fn each_state_is_taken_or_refused() {
    for (name, state) in [
        ("STARTING", Some(TaskState::Starting)),
        ("RUNNING", Some(TaskState::Running)),
        ("KILLING", Some(TaskState::Killing)),
        ("FINISHED", Some(TaskState::Finished)),
        ("FAILED", Some(TaskState::Failed)),
        ("KILLED", Some(TaskState::Killed)),
        ("ERROR", Some(TaskState::Error)),
        ("LOST", Some(TaskState::Gone)),
        ("GONE", Some(TaskState::Gone)),
        ("DROPPED", Some(TaskState::Dropped)),
        ("STAGING", None),
        ("UNREACHABLE", None),
        ("GONE_BY_OPERATOR", None),
        ("UNKNOWN", None),
    ] {
        let read = status(json!({"state": format!("TASK_{name}")})).map(|status| status.state);
        assert_eq!(read.as_ref().ok(), state.as_ref(), "{name}");
        assert!(state.is_none_or(TaskState::is_told_by_executors), "{name}");
    }
    for (rest, word) in [
        (json!({"uuid": "AAEC"}), "16 bytes"),
        (json!({"uuid": null}), "16 bytes"),
        (json!({"task_id": {"value": "a/b"}}), "task id"),
        (json!({"data": "AAAA".repeat(STATUS_DATA_BYTES_MAX / 3 + 1)}), "bytes of data"),
    ] {
        let why = status(rest).unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}
