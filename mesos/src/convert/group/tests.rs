use serde_json::{Value, json};

use super::*;

fn task(id: &str, rest: Value) -> Value {
    let mut value = json!({"name": "n", "task_id": {"value": id}, "agent_id": {"value": "a"},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}],
        "command": {"value": "echo"}});
    value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    value
}

fn read_group(executor: Value, tasks: Vec<Value>) -> Result<Vec<TaskDescription>, String> {
    let mut info = json!({"type": "DEFAULT", "executor_id": {"value": "pod"},
        "resources": [{"name": "mem", "type": "SCALAR", "scalar": {"value": 32.0}}]});
    info.as_object_mut().unwrap().extend(executor.as_object().unwrap().clone());
    let group = json!({"executor": info, "task_group": {"tasks": tasks}});
    read(&crate::json::read(group).unwrap(), &[Role::default()].into())
}

#[test]
fn the_tasks_of_a_group_name_one_executor() {
    let as_nobody = json!({"command": {"value": "echo", "user": "nobody"}});
    let tasks = vec![task("a", as_nobody.clone()), task("b", as_nobody)];
    let grace =
        json!({"shutdown_grace_period": {"nanoseconds": 2_000_000_000u64}, "name": "the pod"});
    let read = read_group(grace, tasks).unwrap();
    let member = read[0].group.clone().unwrap();
    assert_eq!((member.first.as_str(), member.size, member.ends), ("a", 2, GroupEnds::Together));
    assert_eq!(read[1].group.clone().unwrap(), member);
    let executor = read[0].executor.clone().unwrap();
    assert_eq!(read[1].executor.clone().unwrap(), executor);
    assert_eq!((executor.id.as_str(), executor.kind), ("pod", ExecutorKind::Group));
    assert_eq!(executor.command.user.as_deref(), Some("nobody"));
    assert_eq!(executor.shutdown_grace_ms, Some(2_000));
    assert_eq!(executor.resources.to_string(), "mem:32");
}

#[test]
fn what_a_group_cannot_be_is_said_of_all_of_it() {
    let one = || vec![task("a", json!({}))];
    let inner = json!({"command": null, "executor": {"executor_id": {"value": "e"}, "command": {"value": "x"}}});
    for (executor, tasks, word) in [
        (json!({}), vec![], "cannot be empty"),
        (json!({"command": {"value": "x"}}), one(), "must not be set for 'DEFAULT'"),
        (json!({"type": "CUSTOM"}), one(), "'CUSTOM'"),
        (json!({"type": null}), one(), "'ExecutorInfo.type' must be set"),
        (json!({"executor_id": {"value": "a/b"}}), one(), "executor id"),
        (json!({"container": {"type": "DOCKER"}}), one(), "DOCKER"),
        (json!({"shutdown_grace_period": {"nanoseconds": -1}}), one(), "shutdown_grace_period"),
        (
            json!({}),
            vec![task("a", json!({})), task("b", inner)],
            "Task 'b' is invalid: 'TaskInfo.executor'",
        ),
        (json!({}), vec![task("a", json!({"command": null}))], "Task 'a' is invalid"),
    ] {
        let why = read_group(executor.clone(), tasks).unwrap_err();
        assert!(why.contains(word), "{executor}: {why}");
    }
}
