use serde_json::{Value, json};

use super::*;

fn call(text: &str) -> Result<schema::Call, Refused> {
    read_call(Media::Json, text.as_bytes()).map(|(call, _)| call)
}

fn refusal(text: &str) -> String {
    let refused = call(text).unwrap_err();
    assert_eq!(refused.status, 400);
    refused.message
}

fn shown<M: Message + Serialize>(message: &M) -> Value {
    serde_json::from_slice(&write(Media::Json, message)).unwrap()
}

#[test]
fn a_call_reads_the_same_in_both_encodings() {
    let text = r#"{"framework_id":{"value":"f"},"type":"KILL","kill":{"task_id":{"value":"t"},
        "kill_policy":{"grace_period":{"nanoseconds":5000000000}}}}"#;
    let read = call(text).unwrap();
    assert_eq!(read.r#type(), schema::CallType::Kill);
    let bytes = write(Media::Protobuf, &read);
    // Field 1: framework_id, field 2: type, field 6: kill, by hand.
    let expected: Vec<u8> = [
        &[0x0a, 0x03, 0x0a, 0x01, b'f', 0x10, 0x06][..],
        &[0x32, 0x0f, 0x0a, 0x03, 0x0a, 0x01, b't', 0x1a, 0x08, 0x0a, 0x06, 0x08],
        &[0x80, 0xe4, 0x97, 0xd0, 0x12],
    ]
    .concat();
    assert_eq!(bytes, expected);
    assert_eq!(read_call(Media::Protobuf, &bytes).unwrap().0, read);
}

#[test]
fn a_group_reads_the_same_in_both_encodings() {
    let task = json!({"name": "n", "task_id": {"value": "t"}, "agent_id": {"value": "a"}, "command": {"value": "x"}});
    let group = json!({"executor": {"type": "DEFAULT", "executor_id": {"value": "e"}},
        "task_group": {"tasks": [task]}});
    let text = json!({"framework_id": {"value": "f"}, "type": "ACCEPT", "accept": {
        "offer_ids": [{"value": "o"}], "operations": [{"type": "LAUNCH_GROUP", "launch_group": group}]}});
    let read = call(&text.to_string()).unwrap();
    let bytes = write(Media::Protobuf, &read);
    // Of an executor, field 1 is the id and field 15 the type, by hand.
    let has = |part: &[u8]| bytes.windows(part.len()).any(|it| it == part);
    assert!(has(&[0x0a, 0x03, 0x0a, 0x01, b'e']) && has(&[0x78, 0x01]), "{bytes:02x?}");
    let again = read_call(Media::Protobuf, &bytes).unwrap().0;
    assert_eq!(again, read);
    let operation = &again.accept.unwrap().operations[0];
    let group = operation.launch_group.as_ref().unwrap();
    assert_eq!(group.task_group.as_ref().unwrap().tasks.len(), 1);
}

#[test]
fn reading_is_as_lenient_as_mesos() {
    let text = r#"{"type":"SUBSCRIBE","credentials":{"x":1},"framework_id":null,"subscribe":{
        "suppressed_roles":"a","framework_info":{"user":"u","name":"n","checkpoint":"true",
        "failover_timeout":"100","roles":["a",null],"slave_id":3}}}"#;
    assert_eq!(
        refusal(text),
        "Failed to convert JSON into Call protobuf: expected a text for `subscribe.framework_info.roles`"
    );
    let read = call(&text.replace("[\"a\",null]", "\"a\"")).unwrap();
    let subscribe = read.subscribe.unwrap();
    assert_eq!(subscribe.suppressed_roles, ["a"]);
    let info = subscribe.framework_info.unwrap();
    assert_eq!((info.checkpoint, info.failover_timeout), (Some(true), Some(100.0)));
    assert_eq!(info.roles, ["a"]);
    // An unknown name of an enum is as good as none, a number is not a name.
    assert_eq!(call(r#"{"type":"DANCE"}"#).unwrap().r#type, None);
    assert!(refusal(r#"{"type":3}"#).contains("the name of an enum's value for `type`"));
    let uuid = |text: &str| {
        format!(
            r#"{{"acknowledge":{{"agent_id":{{"value":"a"}},"task_id":{{"value":"t"}},"uuid":"{text}"}}}}"#
        )
    };
    for text in ["AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0ODw"] {
        let acknowledge = call(&uuid(text)).unwrap().acknowledge.unwrap();
        assert_eq!(acknowledge.uuid(), (0..16).collect::<Vec<u8>>());
    }
    assert!(refusal(&uuid("-")).contains("bytes in base64 for `acknowledge.uuid`"));
    for (number, good) in [
        ("1", true),
        ("1.0", true),
        ("\"1\"", true),
        ("1.5", false),
        ("true", false),
        ("9223372036854775808", false),
    ] {
        let text = format!(
            r#"{{"kill":{{"task_id":{{"value":"t"}},"kill_policy":{{"grace_period":{{"nanoseconds":{number}}}}}}}}}"#
        );
        assert_eq!(call(&text).is_ok(), good, "{number}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    assert!(refusal("{").starts_with("Failed to parse body into JSON: "));
    assert!(refusal("{} x").starts_with("Failed to parse body into JSON: "));
    assert!(refusal("[]").contains("expected an object for `the message`"));
    assert_eq!(
        refusal(r#"{"subscribe":{"framework_info":{}},"kill":{}}"#),
        "Failed to convert JSON into Call protobuf: Missing required fields: subscribe.framework_info.user, \
         subscribe.framework_info.name, kill.task_id"
    );
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    assert!(refusal(&deep).contains("recursion limit"), "{}", refusal(&deep));
    let garbage = read_call(Media::Protobuf, &[0xff; 8]).unwrap_err();
    assert!(garbage.message.starts_with("Failed to parse body into Call protobuf"), "{garbage}");
    // kill without its task.
    let missing = read_call(Media::Protobuf, &[0x32, 0x00]).unwrap_err();
    assert_eq!(
        missing.message,
        "Failed to parse body into Call protobuf: Missing required fields: kill.task_id"
    );
    // A number that the enum does not have is no type.
    let (unknown, _) = read_call(Media::Protobuf, &[0x10, 0x63]).unwrap();
    assert_eq!(
        crate::validate::call(&unknown).unwrap_err().message,
        "Failed to validate scheduler::Call: Expecting 'type' to be present"
    );
}

#[test]
fn writing_is_one_line_of_ascii_with_defaults() {
    let info = schema::FrameworkInfo {
        user: Some("u".into()),
        name: Some("B\u{f6}\"\n\u{1f600}".into()),
        ..schema::FrameworkInfo::default()
    };
    let text = String::from_utf8(write(Media::Json, &info)).unwrap();
    assert_eq!(
        text,
        r#"{"user":"u","name":"B\u00f6\"\n\ud83d\ude00","failover_timeout":0.0,"checkpoint":false}"#
    );
    let command = schema::CommandInfo { value: Some("x".into()), ..Default::default() };
    assert_eq!(shown(&command), json!({"shell": true, "value": "x"}));
    let record = record(Media::Json, &event::heartbeat());
    assert_eq!(record, b"20\n{\"type\":\"HEARTBEAT\"}");
    assert_eq!(super::record(Media::Protobuf, &event::heartbeat()), [b'2', b'\n', 0x08, 0x08]);
}

#[test]
fn offers_too_large_for_one_record_are_split() {
    let offer = schema::Offer { hostname: Some("h".repeat(1 << 20)), ..Default::default() };
    let split = records(Media::Protobuf, event::offers(vec![offer; 5]));
    assert!(split.len() > 1 && split.iter().all(|record| record.len() <= RECORD_BYTES_MAX));
    let single = schema::Offer { hostname: Some("h".repeat(4 << 20)), ..Default::default() };
    assert_eq!(records(Media::Protobuf, event::offers(vec![single])).len(), 1);
}

#[test]
fn the_encoding_is_chosen_by_the_headers() {
    assert_eq!(Media::of_content(Some("application/json; charset=utf-8")), Ok(Media::Json));
    assert_eq!(Media::of_content(Some("application/x-protobuf")), Ok(Media::Protobuf));
    assert_eq!(Media::of_content(None).unwrap_err().status, 400);
    assert_eq!(Media::of_content(Some("text/plain")).unwrap_err().status, 415);
    for (accept, media) in [
        (None, Media::Json),
        (Some(""), Media::Json),
        (Some("*/*"), Media::Json),
        (Some("application/*"), Media::Json),
        (Some("application/x-protobuf, application/json"), Media::Json),
        (Some("application/x-protobuf"), Media::Protobuf),
        (Some("application/json;q=0, application/x-protobuf"), Media::Protobuf),
    ] {
        assert_eq!(Media::acceptable(accept), Ok(media), "{accept:?}");
    }
    for accept in ["text/html", "application/json;q=0"] {
        assert_eq!(Media::acceptable(Some(accept)).unwrap_err().status, 406, "{accept}");
    }
}

#[test]
fn what_is_missing_is_told_in_few_words_however_long_the_question() {
    let key = "k".repeat(1_000);
    let quantities: serde_json::Map<String, Value> =
        (0..100).map(|number| (number.to_string(), json!({}))).collect();
    let groups = json!([{ "quantities": quantities }]);
    let minimum = json!({ "quantities": groups });
    let filters = json!({ key: { "min_allocatable_resources": minimum } });
    let framework = json!({ "user": "u", "name": "n", "offer_filters": filters });
    let call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": framework } });
    let refused = read_call(Media::Json, call.to_string().as_bytes()).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("Missing required fields: ") && text.contains(".value"), "{text}");
    assert!(text.len() < 5_000, "{} bytes", text.len());
}
