use futures_util::FutureExt as _;
use meshos_protocol::messages::executor::Call;
use serde_json::{Value, json};

use super::*;

const CLUSTER: ClusterId = ClusterId::from_u128(0xab);

fn key(executor: &str) -> Key {
    (FrameworkId(7), ExecutorId::new(executor).unwrap())
}

fn container(name: &str) -> ContainerId {
    ContainerId::new(name).unwrap()
}

/// Doors of an agent that has no executors, and whose loop takes one thing at a time.
fn doors() -> (Doors, mpsc::Receiver<Input>) {
    let (mailbox, said) = mpsc::channel(1);
    let options = Options {
        about: About::default(),
        endpoint: "127.0.0.1:5051".parse().unwrap(),
        cluster: watch::channel(Some(CLUSTER)).1,
        shutdown: CancellationToken::new(),
    };
    let doors = Doors::new(options, mailbox, &[]);
    doors.recovered();
    (doors, said)
}

fn call(executor: &str, rest: Value) -> schema::ExecutorCall {
    let mut call = json!({
        "framework_id": ids::framework(CLUSTER, FrameworkId(7)),
        "executor_id": {"value": executor},
    });
    call.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    codec::read_executor_call(Media::Json, call.to_string().as_bytes()).unwrap()
}

fn update(task: &str, state: &str, uuid: &str) -> schema::ExecutorCall {
    let status = json!({"task_id": {"value": task}, "state": state, "source": "SOURCE_EXECUTOR",
        "uuid": uuid});
    call("e", json!({"type": "UPDATE", "update": {"status": status}}))
}

/// What the agent's loop is told, in short.
async fn next(said: &mut mpsc::Receiver<Input>) -> String {
    let told = tokio::time::timeout(Duration::from_secs(60), said.recv()).await;
    match told.expect("in time").expect("the doors are there") {
        Input::Executor { said: Said::Subscribed { .. }, .. } => "subscribed".to_owned(),
        Input::Executor { said: Said::Gone { .. }, .. } => "gone".to_owned(),
        Input::Executor { said: Said::Called { call: Call::Update { status }, .. }, .. } => {
            format!("{} {}", status.task, status.state)
        }
        Input::Executor { .. } | Input::Core(_) | Input::StopTasks(_) => panic!("something else"),
    }
}

#[tokio::test]
async fn what_was_answered_is_passed_on_before_the_end_of_the_stream_is_told() {
    let (doors, mut said) = doors();
    let (here, me) = (container("e1-1"), Credential::token("t"));
    doors.add(here.clone(), key("e"));
    doors.serve(&here);
    doors.open(&here, "t", 1_000);
    let subscribe = call("e", json!({"type": "SUBSCRIBE", "subscribe": {}}));
    let records = doors.subscribe(&me, &subscribe, Media::Json).await.unwrap();
    // The agent's loop is busy: it has not even taken the subscription up.
    let uuids =
        ["AAAAAAAAAAAAAAAAAAAAAA==", "AQAAAAAAAAAAAAAAAAAAAA==", "AgAAAAAAAAAAAAAAAAAAAA=="];
    for (uuid, state) in uuids.into_iter().zip(["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]) {
        doors.call(&me, &update("a", state, uuid)).await.unwrap();
    }
    drop(records);
    let mut all = Vec::new();
    while all.last().is_none_or(|last| last != "gone") {
        all.push(next(&mut said).await);
    }
    assert_eq!(all, ["subscribed", "a starting", "a running", "a finished", "gone"]);
    let after = doors.call(&me, &update("a", "TASK_RUNNING", uuids[0])).await.unwrap_err();
    assert_eq!(after.status, 403, "{after}");
}

#[tokio::test]
async fn strangers_do_not_wait_while_an_executor_is_prepared() {
    let (doors, _said) = doors();
    let here = container("e1-1");
    doors.add(here.clone(), key("e"));
    let admitted = |credential: Credential| {
        let doors = doors.clone();
        async move { doors.admit(&credential).await }.now_or_never()
    };
    // Nobody can have its token yet.
    let strangers = [Credential::token("x"), Credential::User(1_001)];
    let own = [Credential::token("t"), Credential::User(1_000)];
    for one in strangers.iter().chain(&own) {
        assert_eq!(admitted(*one), Some(None), "{one:?}");
    }
    doors.expect(&here, "t", Some(1_000));
    for one in strangers {
        assert_eq!(admitted(one), Some(None), "{one:?}");
        let refused = doors.call(&one, &update("a", "TASK_RUNNING", "")).now_or_never().unwrap();
        assert_eq!(refused.unwrap_err().status, 403, "{one:?}");
    }
    // Its own call waits until it can be made.
    let subscribe = call("e", json!({"type": "SUBSCRIBE", "subscribe": {}}));
    for one in own {
        assert_eq!(admitted(one), Some(Some(Credential::token("t"))), "{one:?}");
        assert!(doors.subscribe(&one, &subscribe, Media::Json).now_or_never().is_none());
    }
    doors.serve(&here);
    doors.open(&here, "t", 1_000);
    assert!(doors.subscribe(&own[0], &subscribe, Media::Json).now_or_never().unwrap().is_ok());
    // Whose process it is says nothing more where another one has the same user.
    doors.add(container("e2-1"), key("f"));
    doors.expect(&container("e2-1"), "u", Some(1_000));
    assert_eq!(admitted(own[0]), Some(Some(own[0])));
    assert_eq!(admitted(own[1]), Some(Some(own[1])));
}

#[tokio::test]
async fn an_executor_in_the_place_of_another_is_not_spoken_for_with_what_opened_the_first() {
    let (doors, _said) = doors();
    for (number, token) in [("e1-1", "first"), ("e1-2", "second")] {
        doors.add(container(number), key("e"));
        doors.serve(&container(number));
        doors.open(&container(number), token, 1_000);
    }
    let open = |token| {
        let mut state = doors.state();
        state.open_door(&Credential::token(token), &key("e")).map(|door| door.container.clone())
    };
    assert_eq!(open("second").unwrap(), container("e1-2"));
    // As a call does that found the first one open and comes to it now.
    assert_eq!(open("first").unwrap_err().status, 403);
    doors.forget(&container("e1-2"));
    assert_eq!(open("second").unwrap_err().status, 400);

    assert!(doors.state().doors.is_empty());
}
