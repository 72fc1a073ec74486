//! What an agent answers, in both encodings.

use serde_json::{Value, json};

use super::*;
use crate::{
    codec::{self, Media, Refused},
    operator::{AgentCalled, agent_media, read_agent},
    reads::{files::FilesCall, node::tests::tell},
};

const FRAMEWORK: &str = "00000000-0000-0000-0000-0000000000ab-0007";

fn beside() -> AgentBeside {
    let used = Usage {
        at: Wall(9_500),
        cpu_user_us: Some(1_500_000),
        memory_bytes: Some(4_096),
        processes: Some(2),
        ..Usage::default()
    };
    AgentBeside {
        node: Beside { healthy: true, metrics: [("slave/registered".to_owned(), 1.0)].into() },
        usage: Arc::new([(ContainerId::new("c1").unwrap(), used)].into()),
    }
}

fn answered(read: AgentRead) -> AgentResponse {
    tell(|node| answer(read, node, &beside()))
}

/// What stands in the answer's field of the call's name.
fn told(read: AgentRead) -> Value {
    let answer = serde_json::to_value(answered(read)).unwrap();
    assert_eq!(answer["type"], read.name());
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    answer[read.name().to_ascii_lowercase()].clone()
}

#[test]
fn every_read_is_answered_in_both_encodings() {
    for (read, _) in AgentRead::TYPES {
        let answer = answered(read);
        let protobuf = codec::write(Media::Protobuf, &answer);
        let again = codec::read::<AgentResponse>(Media::Protobuf, &protobuf, "answer").unwrap().0;
        assert_eq!(again, answer, "{read:?}");
        let json = codec::write(Media::Json, &answer);
        let again = codec::read::<AgentResponse>(Media::Json, &json, "answer").unwrap().0;
        // What has a default is there once it was read.
        assert_eq!(codec::write(Media::Json, &again), json, "{read:?}");
        assert_eq!(AgentRead::named(read.name()), Some(read));
    }
    // Type GET_HEALTH is field 1, and its answer field 2 with `healthy` in field 1.
    let health = codec::write(Media::Protobuf, &answered(AgentRead::Health));
    assert_eq!(health, [0x08, 0x01, 0x12, 0x02, 0x08, 0x01]);
}

#[test]
fn an_agent_tells_what_it_is_and_how_it_was_started() {
    assert_eq!(told(AgentRead::Health), json!({"healthy": true}));
    assert_eq!(told(AgentRead::Flags), json!({"flags": [{"name": "port", "value": "5051"}]}));
    assert_eq!(told(AgentRead::Version)["version_info"]["version"], "1.11.0");
    assert_eq!(
        told(AgentRead::Metrics),
        json!({"metrics": [{"name": "slave/registered", "value": 1.0}]})
    );
    assert_eq!(told(AgentRead::LoggingLevel), json!({"level": 0}));
    assert_eq!(told(AgentRead::Operations), json!({}));
    assert_eq!(told(AgentRead::ResourceProviders), json!({}));
    let info = &told(AgentRead::Agent)["agent_info"];
    assert_eq!((&info["hostname"], &info["port"]), (&json!("node-1"), &json!(5_051)));
    assert!(info["id"]["value"].as_str().unwrap().contains("-S"), "{info}");
    let text = json!({"name": "rack", "type": "TEXT", "text": {"value": "abc"}});
    assert_eq!(info["attributes"], json!([text]));
    let roles: Vec<&Value> =
        info["resources"].as_array().unwrap().iter().map(|it| &it["role"]).collect();
    assert!(roles.contains(&&json!("db")), "{info}");
}

#[test]
fn an_agent_tells_what_runs_there() {
    let tasks = told(AgentRead::Tasks);
    let empty = ["pending_tasks", "queued_tasks", "terminated_tasks", "completed_tasks"];
    assert!(empty.iter().all(|list| tasks[list] == json!([])), "{tasks}");
    let launched = tasks["launched_tasks"].as_array().unwrap();
    let named = |at: usize, field: &str| &launched[at][field]["value"];
    assert_eq!((named(0, "task_id"), named(0, "executor_id")), (&json!("plain"), &Value::Null));
    assert_eq!((named(1, "task_id"), named(1, "executor_id")), (&json!("handed"), &json!("ex")));
    let step = &launched[0]["statuses"][0];
    assert_eq!((&step["state"], &step["timestamp"]), (&json!("TASK_RUNNING"), &json!(2.0)));
    assert_eq!(step["container_status"]["container_id"]["value"], "c1");

    let executors = told(AgentRead::Executors);
    let info = |at: usize| &executors["executors"][at]["executor_info"];
    assert_eq!(info(0)["executor_id"]["value"], "plain");
    assert_eq!(info(0)["name"], "Command Executor (Task: plain) (Command: sleep 9)");
    assert_eq!(info(1)["executor_id"]["value"], "ex");
    assert_eq!(info(1)["command"]["value"], "sleep 9");
    assert_eq!(executors["completed_executors"], json!([]));

    let frameworks = told(AgentRead::Frameworks);
    assert_eq!(frameworks["frameworks"].as_array().unwrap().len(), 1);
    let framework = &frameworks["frameworks"][0]["framework_info"];
    assert_eq!(framework["id"]["value"], FRAMEWORK);
    assert_eq!((&framework["user"], &framework["name"]), (&json!("nobody"), &json!("")));
    let state = told(AgentRead::State);
    assert_eq!(
        state,
        json!({"get_tasks": tasks, "get_executors": executors, "get_frameworks": frameworks})
    );
}

#[test]
fn containers_are_told_with_what_they_use() {
    let containers = told(AgentRead::Containers);
    let rows = containers["containers"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["container_id"]["value"], "c1");
    assert_eq!(rows[0]["framework_id"]["value"], FRAMEWORK);
    assert_eq!(rows[0]["executor_id"]["value"], "plain");
    assert_eq!(
        rows[0]["resource_statistics"],
        json!({"timestamp": 9.5, "processes": 2, "cpus_user_time_secs": 1.5, "cpus_limit": 0.5,
            "mem_total_bytes": 4_096, "mem_limit_bytes": 64 << 20, "mem_rss_bytes": 4_096})
    );
    assert_eq!(rows[1]["container_id"]["value"], "c2");
    assert_eq!(rows[1]["resource_statistics"], Value::Null, "nobody has looked");
}

fn called(call: &Value) -> Result<AgentCalled, Refused> {
    read_agent(Media::Json, call.to_string().as_bytes())
}

#[test]
fn calls_are_told_apart_and_what_is_missing_is_named() {
    let read = |kind| called(&json!({ "type": kind }));
    assert_eq!(read("GET_CONTAINERS"), Ok(AgentCalled::Read(AgentRead::Containers)));
    assert_eq!(
        read_agent(Media::Protobuf, &[0x08, 20]),
        Ok(AgentCalled::Read(AgentRead::Agent)),
        "the number of the call, not of the answer"
    );
    let path = || "/s".to_owned();
    let list = json!({"type": "LIST_FILES", "list_files": {"path": "/s"}});
    assert_eq!(called(&list), Ok(AgentCalled::Files(FilesCall::List { path: path() })));
    let file = json!({"type": "READ_FILE", "read_file": {"path": "/s", "offset": 4, "length": 5}});
    let asked = FilesCall::Read { path: path(), offset: 4, length: 5 };
    assert_eq!(called(&file), Ok(AgentCalled::Files(asked)));
    for (call, missing) in [
        (json!({}), "'type'"),
        (json!({"type": "GET_METRICS"}), "'get_metrics'"),
        (json!({"type": "LIST_FILES"}), "'list_files'"),
        (json!({"type": "READ_FILE"}), "'read_file'"),
        (json!({"type": "READ_FILE", "read_file": {"path": "/s"}}), "read_file.offset"),
    ] {
        let refused = called(&call).unwrap_err();
        assert!(refused.status == 400 && refused.message.contains(missing), "{refused:?}");
    }
}

#[test]
fn what_is_not_there_is_refused_with_a_sentence() {
    for kind in [
        "SET_LOGGING_LEVEL",
        "LAUNCH_NESTED_CONTAINER_SESSION",
        "ATTACH_CONTAINER_OUTPUT",
        "WAIT_CONTAINER",
        "MARK_RESOURCE_PROVIDER_GONE",
        "PRUNE_IMAGES",
    ] {
        let refused = called(&json!({ "type": kind })).unwrap_err();
        let start = format!("Call {kind} is not supported by this release: ");
        let why = refused.message.strip_prefix(&start);
        assert!(refused.status == 501 && why.is_some_and(|why| !why.is_empty()), "{refused:?}");
    }
    let attach = agent_media(Some("application/recordio")).unwrap_err();
    assert!(attach.status == 501 && attach.message.contains("ATTACH_CONTAINER_INPUT"));
    assert_eq!(agent_media(Some("application/json")), Ok(Media::Json));
    assert_eq!(agent_media(Some("text/html")).unwrap_err().status, 415);
    assert_eq!(agent_media(None).unwrap_err().status, 400);
}
