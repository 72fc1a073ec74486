use meshos_protocol::{
    executor::ExecutorInfo,
    ids::{AgentId, NodeId},
    task::{Command, CommandLine, TaskDescription, TaskState},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    codec::{self, Media},
    json::read as from_json,
};

const CLUSTER: ClusterId = ClusterId::from_u128(0xab);

fn session() -> Session {
    let executor = ExecutorId::new("e").unwrap();
    Session::new(CLUSTER, (FrameworkId(7), executor), ContainerId::new("e1-1").unwrap())
}

fn base64(bytes: [u8; 16]) -> Value {
    // As the codec writes bytes.
    let shown = schema::ExecutorCallMessage { data: Some(bytes.to_vec()) };
    let written = codec::write(Media::Json, &shown);
    serde_json::from_slice::<Value>(&written).unwrap()["data"].clone()
}

fn told(task: &str, state: &str, number: u8) -> schema::TaskStatus {
    let status = json!({"task_id": {"value": task}, "state": state, "source": "SOURCE_EXECUTOR",
        "uuid": base64([number; 16])});
    from_json(status).unwrap()
}

fn subscribe(tasks: &[&str], updates: Vec<schema::TaskStatus>) -> schema::ExecutorCallSubscribe {
    let info = |task: &&str| schema::TaskInfo {
        task_id: Some(schema::TaskId { value: Some((*task).to_owned()) }),
        ..schema::TaskInfo::default()
    };
    let update = |status| schema::ExecutorCallUpdate { status: Some(Box::new(status)) };
    schema::ExecutorCallSubscribe {
        unacknowledged_tasks: tasks.iter().map(info).collect(),
        unacknowledged_updates: updates.into_iter().map(update).collect(),
    }
}

fn subscribed() -> Event {
    Event::Subscribed(Box::new(Subscribed {
        version: 1,
        executor: ExecutorInfo {
            kind: meshos_protocol::executor::ExecutorKind::Custom,
            id: ExecutorId::new("e").unwrap(),
            name: "pool".to_owned(),
            source: String::new(),
            resources: Default::default(),
            command: Command::none(),
            data: vec![7],
            shutdown_grace_ms: None,
            labels: BTreeMap::new(),
        },
        framework: FrameworkId(7),
        framework_info: None,
        agent: Some(AgentId::new(NodeId::from_bits(99), 3)),
        hostname: "h".to_owned(),
        container: ContainerId::new("e1-1").unwrap(),
    }))
}

/// What the executor is told, in JSON, and the numbers of the updates that the agent is told.
fn happens(session: &mut Session, event: &Event) -> (Value, Vec<u8>) {
    let about = About { port: 5051, ..About::default() };
    let (event, calls) = session.event(&about, event);
    let event = event.map(|event| codec::write(Media::Json, &event));
    let event = event.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    (event, numbers(&calls))
}

fn numbers(calls: &[Call]) -> Vec<u8> {
    let number = |call: &Call| match call {
        Call::Update { status } => status.update.as_bytes()[0],
        Call::Subscribe(_) | Call::Message { .. } | Call::Unknown => panic!("{call:?}"),
    };
    calls.iter().map(number).collect()
}

fn acknowledged(task: &str, number: u8) -> Event {
    let update = UpdateId::from_bytes([number; 16]);
    Event::Acknowledged { task: TaskId::new(task).unwrap(), update }
}

fn description() -> TaskDescription {
    TaskDescription {
        group: None,
        health_check: None,
        check: None,
        task_id: TaskId::new("t").unwrap(),
        name: "n".to_owned(),
        resources: "cpus:1".parse().unwrap(),
        command: Command::none(),
        executor: None,
        data: vec![0, 1, 2],
        kill_grace_ms: None,
        max_completion_ms: None,
        labels: BTreeMap::new(),
    }
}

#[test]
fn the_tasks_of_a_group_come_with_their_commands() {
    let mut session = session();
    session.subscribe(&subscribe(&[], vec![])).unwrap();
    happens(&mut session, &subscribed());
    let line = CommandLine::Shell { line: "echo $A".to_owned() };
    let environment = [("A".to_owned(), "b".to_owned())].into();
    let command = Command { line, environment, ..Command::none() };
    let tasks = vec![TaskDescription { command, ..description() }, description()];
    let (event, _) = happens(&mut session, &Event::LaunchGroup { tasks });
    let tasks = &event["launch_group"]["task_group"]["tasks"];
    assert_eq!(
        tasks[0]["command"],
        json!({"shell": true, "value": "echo $A",
            "environment": {"variables": [{"name": "A", "type": "VALUE", "value": "b"}]}})
    );
    assert_eq!(tasks[0]["executor"]["executor_id"]["value"], "e");
    assert_eq!(tasks[1].get("command"), None);
}

#[test]
fn an_executor_is_told_who_it_is_and_then_each_event_in_mesos_words() {
    let mut session = session();
    let said = session.subscribe(&subscribe(&[], vec![])).unwrap();
    assert!(said.again && said.acknowledged_left_out && said.program == 0, "{said:?}");
    let (event, _) = happens(&mut session, &subscribed());
    assert_eq!(event["type"], "SUBSCRIBED");
    let body = &event["subscribed"];
    let id = "00000000-0000-0000-0000-0000000000ab";
    assert_eq!(body["executor_info"]["executor_id"]["value"], "e");
    assert_eq!(body["executor_info"]["framework_id"], body["framework_info"]["id"]);
    assert_eq!(body["framework_info"]["id"]["value"], format!("{id}-0007"));
    assert_eq!(body["agent_info"]["hostname"], "h");
    assert_eq!(body["agent_info"]["port"], 5051);
    assert_eq!(body["container_id"]["value"], "e1-1");
    let agent = &body["agent_info"]["id"];
    assert!(agent["value"].as_str().unwrap().starts_with(&format!("{id}-S")), "{agent}");

    let task = description();
    let (event, _) = happens(&mut session, &Event::Launch { task: Box::new(task) });
    assert_eq!(
        (&event["type"], &event["launch"]["task"]["data"]),
        (&json!("LAUNCH"), &json!("AAEC"))
    );
    assert_eq!(&event["launch"]["task"]["agent_id"], agent);
    assert_eq!(event["launch"]["task"].get("command"), None);
    let t = TaskId::new("t").unwrap();
    for (happened, expected) in [
        (
            Event::Kill { task: t.clone(), grace_ms: Some(5) },
            json!({"type": "KILL", "kill": {"task_id": {"value": "t"},
                "kill_policy": {"grace_period": {"nanoseconds": 5_000_000}}}}),
        ),
        (
            Event::Kill { task: t, grace_ms: None },
            json!({"type": "KILL", "kill": {"task_id": {"value": "t"}}}),
        ),
        (
            acknowledged("t", 0),
            json!({"type": "ACKNOWLEDGED", "acknowledged": {"task_id": {"value": "t"},
                "uuid": base64([0; 16])}}),
        ),
        (
            Event::Message { data: vec![0, 1, 2] },
            json!({"type": "MESSAGE", "message": {"data": "AAEC"}}),
        ),
        (Event::Shutdown { grace_ms: 1 }, json!({"type": "SHUTDOWN"})),
        (
            Event::Error { message: "no".to_owned() },
            json!({"type": "ERROR", "error": {"message": "no"}}),
        ),
        (Event::Unknown, Value::Null),
    ] {
        assert_eq!(happens(&mut session, &happened).0, expected);
    }
}

#[test]
fn updates_are_held_until_they_are_acknowledged_and_few_are_on_their_way() {
    let mut session = session();
    session.subscribe(&subscribe(&[], vec![])).unwrap();
    assert_eq!(session.update(&told("t", "TASK_RUNNING", 1)).unwrap(), [], "not subscribed yet");
    assert_eq!(happens(&mut session, &subscribed()).1, [1]);
    for number in 2..=20 {
        let sent = numbers(&session.update(&told("t", "TASK_RUNNING", number)).unwrap());
        let expected =
            if usize::from(number) <= UPDATES_IN_FLIGHT_MAX { vec![number] } else { vec![] };
        assert_eq!(sent, expected);
    }
    assert_eq!(session.update(&told("t", "TASK_RUNNING", 20)).unwrap(), [], "it is the same");
    assert_eq!(numbers(&session.update(&told("other", "TASK_RUNNING", 99)).unwrap()), [99]);
    assert_eq!(happens(&mut session, &acknowledged("t", 1)).1, [17]);
    assert_eq!(happens(&mut session, &acknowledged("t", 1)).1, [0_u8; 0], "once");
    let repeated: Vec<u8> = [99].into_iter().chain(2..=17).collect();
    assert_eq!(numbers(&session.repeat()), repeated);
    for number in 2..=20 {
        happens(&mut session, &acknowledged("t", number));
    }
    happens(&mut session, &acknowledged("other", 99));
    assert!(session.repeat().is_empty());
    assert_eq!((session.count, session.bytes, session.waiting.len()), (0, 0, 0));
}

#[test]
fn what_nobody_acknowledged_is_told_with_the_next_subscription() {
    let mut session = session();
    session.subscribe(&subscribe(&[], vec![])).unwrap();
    happens(&mut session, &subscribed());
    for number in 1..=18 {
        session.update(&told("t", "TASK_RUNNING", number)).unwrap();
    }
    session.disconnected();
    assert!(session.repeat().is_empty());
    // Some executors tell them again themselves, with what the session never heard of.
    let again = vec![told("t", "TASK_RUNNING", 18), told("u", "TASK_FINISHED", 50)];
    let said = session.subscribe(&subscribe(&["u", "v"], again)).unwrap();
    assert_eq!(said.tasks.iter().map(TaskId::as_str).collect::<Vec<_>>(), ["u", "v"]);
    let updates: Vec<u8> = said.updates.iter().map(|status| status.update.as_bytes()[0]).collect();
    assert_eq!(updates, (1..=16).chain([50]).collect::<Vec<u8>>());
    assert_eq!(
        happens(&mut session, &acknowledged("t", 1)).1,
        [0_u8; 0],
        "not before it is subscribed"
    );
    assert_eq!(happens(&mut session, &subscribed()).1, [17]);
}

#[test]
fn what_is_not_valid_or_too_much_is_refused() {
    let mut session = session();
    let status = |update: &mut Session, status| update.update(&status).unwrap_err().status;
    assert_eq!(status(&mut session, told("a/b", "TASK_RUNNING", 1)), 400);
    assert_eq!(status(&mut session, told("t", "TASK_UNKNOWN", 1)), 400);
    let refused = session.subscribe(&subscribe(&["a/b"], vec![])).unwrap_err();
    assert_eq!(refused.status, 400);
    let refused = session.subscribe(&subscribe(&[], vec![told("t", "TASK_STAGING", 1)]));
    assert_eq!(refused.unwrap_err().status, 400);
    let many = vec!["t"; TASKS_PER_SUBSCRIBE_MAX + 1];
    assert_eq!(session.subscribe(&subscribe(&many, vec![])).unwrap_err().status, 400);
    let message = |bytes| schema::ExecutorCallMessage { data: Some(vec![0; bytes]) };
    assert!(session.message(&message(MESSAGE_BYTES_MAX)).is_ok());
    assert_eq!(session.message(&message(MESSAGE_BYTES_MAX + 1)).unwrap_err().status, 400);
    // Nobody acknowledges anything.
    let large = |number: usize| schema::TaskStatus {
        data: Some(vec![0; 60 << 10]),
        uuid: Some(u128::try_from(number).unwrap().to_be_bytes().to_vec()),
        ..told(&format!("t{number}"), "TASK_RUNNING", 0)
    };
    let fits = (0..1_000).take_while(|number| session.update(&large(*number)).is_ok()).count();
    assert!((200..300).contains(&fits), "{fits} of 60 KiB");
    assert_eq!(session.update(&large(fits)).unwrap_err().status, 503);
    assert_eq!(session.waiting.len(), fits, "nothing is kept of what was refused");
    assert_eq!(session.waiting.values().map(|it| it.updates.len()).sum::<usize>(), session.count);
    assert!(
        session
            .waiting
            .values()
            .flat_map(|it| &it.updates)
            .all(|it| it.state == TaskState::Running)
    );
}

#[test]
fn what_was_told_before_the_stream_ended_is_passed_on() {
    let mut session = session();
    session.subscribe(&subscribe(&[], vec![told("a", "TASK_RUNNING", 1)])).unwrap();
    // The agent has not taken the subscription up.
    assert_eq!(session.update(&told("a", "TASK_FINISHED", 2)).unwrap(), []);
    assert_eq!(session.update(&told("b", "TASK_RUNNING", 3)).unwrap(), []);
    assert_eq!(numbers(&session.leave()), [2, 3], "1 came with the subscription");
    assert_eq!(session.leave(), []);
    // It may come again all the same.
    let again = session.subscribe(&subscribe(&[], Vec::new())).unwrap();
    assert_eq!(again.updates.len(), 3);
}
