use serde_json::{Value, json};

use super::*;

fn read_task(rest: Value) -> Result<TaskDescription, String> {
    let mut value = json!({"name": "n", "task_id": {"value": "t"}, "agent_id": {"value": "a"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}],
        "command": {"value": "echo"}});
    value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    read(&crate::json::read(value).unwrap(), &[Role::default()].into())
}

#[test]
fn a_command_is_a_line_or_a_program() {
    let task = read_task(json!({"kill_policy": {"grace_period": {"nanoseconds": 1_500_000_000u64}},
        "max_completion_time": {"nanoseconds": 60_000_000_001u64},
        "labels": {"labels": [{"key": "k", "value": "v"}]}, "container": {"type": "MESOS", "mesos": {}}})).unwrap();
    assert_eq!(task.command.line, CommandLine::Shell { line: "echo".into() });
    assert_eq!(
        (task.task_id.as_str(), task.name.as_str(), task.kill_grace_ms),
        ("t", "n", Some(1_500))
    );
    assert_eq!(task.max_completion_ms, Some(60_001));
    assert!(task.health_check.is_none() && task.check.is_none());
    assert_eq!(task.resources.to_string(), "cpus:1");
    let command = json!({"shell": false, "value": "/bin/ls", "arguments": ["ls", "-l"], "user": "nobody",
        "environment": {"variables": [{"name": "A", "value": "1"}]},
        "uris": [{"value": "http://h/a.tgz"}, {"value": "/x", "executable": true, "output_file": "y"}]});
    let command = read_task(json!({"command": command})).unwrap().command;
    let arguments = vec!["-l".to_owned()];
    assert_eq!(command.line, CommandLine::Exec { program: "/bin/ls".into(), arguments });
    assert_eq!(command.environment["A"], "1");
    assert_eq!(command.user.as_deref(), Some("nobody"));
    assert!(command.uris[0].extract && !command.uris[0].executable);
    assert!(!command.uris[1].extract && command.uris[1].executable);
    assert_eq!(command.uris[1].output_file.as_deref(), Some("y"));
}

#[test]
fn what_is_not_supported_is_refused_and_never_dropped() {
    let executor = json!({"executor_id": {"value": "e"}, "command": {"value": "x"}});
    let variable =
        |rest: Value| json!({"command": {"value": "x", "environment": {"variables": [rest]}}});
    for (rest, word) in [
        (json!({"command": null}), "CommandInfo"),
        (json!({"executor": executor}), "but not both"),
        (
            json!({"command": null, "executor": {"executor_id": {"value": "e"}}}),
            "'ExecutorInfo.command' must be set",
        ),
        (json!({"task_id": {"value": "a/b"}}), "task id"),
        (json!({"health_check": {}}), "HealthCheck must specify 'type'"),
        (json!({"check": {"type": "TCP"}}), "Expecting 'tcp'"),
        (json!({"max_completion_time": {"nanoseconds": -1}}), "'max_completion_time' must be non-"),
        (json!({"limits": {"cpus": {"value": "Infinity"}}}), "'limits'"),
        (json!({"kill_policy": {"grace_period": {"nanoseconds": -1}}}), "non-negative"),
        (json!({"container": {"type": "DOCKER"}}), "DOCKER"),
        (
            json!({"container": {"type": "MESOS", "mesos": {"image": {"type": "DOCKER"}}}}),
            "an image",
        ),
        (
            json!({"container": {"type": "MESOS", "volumes": [{"mode": "RW", "container_path": "x"}]}}),
            "'volumes'",
        ),
        (json!({"container": {"type": "MESOS", "network_infos": [{}]}}), "'network_infos'"),
        (json!({"container": {"type": "MESOS", "linux_info": {}}}), "'linux_info'"),
        (json!({"container": {"type": "MESOS", "rlimit_info": {}}}), "'rlimit_info'"),
        (json!({"container": {"type": "MESOS", "tty_info": {}}}), "'tty_info'"),
        (json!({"container": {"type": "MESOS", "hostname": "h"}}), "'hostname'"),
        (json!({"command": {}}), "'value'"),
        (variable(json!({"name": "S", "type": "SECRET"})), "secret"),
        (variable(json!({"name": "S"})), "no value"),
        (json!({"resources": [{"name": "cpus", "type": "SCALAR"}]}), "Resource `cpus`"),
    ] {
        let why = read_task(rest.clone()).unwrap_err();
        assert!(why.contains(word), "{rest}: {why}");
    }
}
