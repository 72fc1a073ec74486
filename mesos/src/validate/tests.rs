use super::*;
use crate::codec::{Media, read_call};

fn judge(text: &str) -> Result<CallType, (u16, String)> {
    let (read, _) = read_call(Media::Json, text.as_bytes()).unwrap();
    call(&read).map_err(|refused| (refused.status, refused.message))
}

fn refusal(text: &str) -> String {
    let (status, message) = judge(text).unwrap_err();
    assert_eq!(status, 400, "{message}");
    message.strip_prefix("Failed to validate scheduler::Call: ").unwrap().to_owned()
}

#[test]
fn each_type_needs_its_body_and_its_framework() {
    assert_eq!(refusal("{}"), "Expecting 'type' to be present");
    assert_eq!(judge(r#"{"type":"UNKNOWN"}"#).unwrap_err().0, 501);
    for kind in [
        "SUBSCRIBE",
        "ACCEPT",
        "DECLINE",
        "ACCEPT_INVERSE_OFFERS",
        "DECLINE_INVERSE_OFFERS",
        "KILL",
        "SHUTDOWN",
        "ACKNOWLEDGE",
        "ACKNOWLEDGE_OPERATION_STATUS",
        "RECONCILE",
        "RECONCILE_OPERATIONS",
        "MESSAGE",
        "REQUEST",
        "UPDATE_FRAMEWORK",
    ] {
        let text = format!(r#"{{"framework_id":{{"value":"f"}},"type":"{kind}"}}"#);
        let field = kind.to_ascii_lowercase();
        assert_eq!(refusal(&text), format!("Expecting '{field}' to be present"));
    }
    for kind in ["TEARDOWN", "REVIVE", "SUPPRESS"] {
        assert!(judge(&format!(r#"{{"framework_id":{{"value":"f"}},"type":"{kind}"}}"#)).is_ok());
        for id in ["", r#""framework_id":{"value":""},"#] {
            let text = format!(r#"{{{id}"type":"{kind}"}}"#);
            assert_eq!(refusal(&text), "Expecting 'framework_id' to be present");
        }
    }
}

#[test]
fn ids_of_a_subscribe_are_the_same_or_both_absent() {
    let subscribe = |outer: &str, inner: &str| {
        format!(
            r#"{{{outer}"type":"SUBSCRIBE","subscribe":{{"framework_info":{{{inner}"user":"u","name":"n"}}}}}}"#
        )
    };
    let (outer, inner) = (r#""framework_id":{"value":"f"},"#, r#""id":{"value":"f"},"#);
    assert_eq!(judge(&subscribe(outer, inner)), Ok(CallType::Subscribe));
    assert_eq!(judge(&subscribe("", "")), Ok(CallType::Subscribe));
    assert_eq!(judge(&subscribe(r#""framework_id":{"value":""},"#, "")), Ok(CallType::Subscribe));
    for (outer, inner) in [(outer, ""), ("", inner), (outer, r#""id":{"value":"g"},"#)] {
        let why = "'framework_id' differs from 'subscribe.framework_info.id'";
        assert_eq!(refusal(&subscribe(outer, inner)), why);
    }
}

#[test]
fn an_update_names_its_framework_twice() {
    let update = |inner: &str| {
        format!(
            r#"{{"framework_id":{{"value":"f"}},"type":"UPDATE_FRAMEWORK",
            "update_framework":{{"framework_info":{{{inner}"user":"u","name":"n"}}}}}}"#
        )
    };
    assert_eq!(judge(&update(r#""id":{"value":"f"},"#)), Ok(CallType::UpdateFramework));
    for inner in ["", r#""id":{"value":"g"},"#] {
        let why = "'framework_id' differs from 'update_framework.framework_info.id'";
        assert_eq!(refusal(&update(inner)), why);
    }
}

#[test]
fn an_acknowledgement_names_sixteen_bytes() {
    let text = r#"{"framework_id":{"value":"f"},"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"a"},
        "task_id":{"value":"t"},"uuid":"AAECAwQFBgcICQoLDA0ODw=="}}"#;
    assert_eq!(judge(text), Ok(CallType::Acknowledge));
    assert_eq!(
        refusal(&text.replace("AAECAwQFBgcICQoLDA0ODw==", "AAEC")),
        "The uuid must have 16 bytes"
    );
}

fn judge_executor(text: &str) -> Result<ExecutorCallType, (u16, String)> {
    let read = crate::codec::read_executor_call(Media::Json, text.as_bytes());
    read.and_then(|call| executor_call(&call)).map_err(|refused| (refused.status, refused.message))
}

#[test]
fn calls_of_executors_need_what_their_type_says() {
    let call = |rest: &str| {
        judge_executor(&format!(
            r#"{{"executor_id":{{"value":"e"}},"framework_id":{{"value":"f"}}{rest}}}"#
        ))
    };
    let status = |rest: &str| {
        call(&format!(
            r#","type":"UPDATE","update":{{"status":{{"task_id":{{"value":"t"}}{rest}}}}}"#
        ))
    };
    const GOOD: &str =
        r#","state":"TASK_RUNNING","uuid":"AAAAAAAAAAAAAAAAAAAAAA==","source":"SOURCE_EXECUTOR""#;
    assert_eq!(call(r#","type":"SUBSCRIBE","subscribe":{}"#), Ok(ExecutorCallType::Subscribe));
    assert_eq!(call(r#","type":"HEARTBEAT""#), Ok(ExecutorCallType::Heartbeat));
    assert_eq!(call(r#","type":"MESSAGE","message":{"data":""}"#), Ok(ExecutorCallType::Message));
    assert_eq!(status(GOOD), Ok(ExecutorCallType::Update));
    assert_eq!(
        status(&format!(r#"{GOOD},"executor_id":{{"value":"e"}}"#)),
        Ok(ExecutorCallType::Update)
    );
    assert_eq!(call(r#","type":"UNKNOWN""#).unwrap_err().0, 501);
    for (answer, text) in [
        (call(""), "Expecting 'type' to be present"),
        (call(r#","type":"SUBSCRIBE""#), "Expecting 'subscribe' to be present"),
        (call(r#","type":"UPDATE""#), "Expecting 'update' to be present"),
        (call(r#","type":"MESSAGE""#), "Expecting 'message' to be present"),
        (status(&GOOD.replace("uuid", "other")), "Expecting 'uuid' to be present"),
        (status(&GOOD.replace("AAAAAAAAAAAAAAAAAAAAAA==", "AAEC")), "The uuid must have 16 bytes"),
        (
            status(&format!(r#"{GOOD},"executor_id":{{"value":"x"}}"#)),
            "ExecutorID in Call: e does not match ExecutorID in TaskStatus: x",
        ),
        (
            status(&GOOD.replace("EXECUTOR", "AGENT")),
            "Received Call from executor e of framework f with invalid source, expecting 'SOURCE_EXECUTOR'",
        ),
        (
            status(&GOOD.replace("RUNNING", "STAGING")),
            "Received TASK_STAGING from executor e of framework f which is not allowed",
        ),
    ] {
        assert_eq!(answer, Err((400, format!("Failed to validate Executor::Call: {text}"))));
    }
    for text in [
        r#"{"type":"HEARTBEAT"}"#,
        r#"{"executor_id":{"value":"e"},"type":"HEARTBEAT"}"#,
        r#"{"executor_id":{"value":"e"},"framework_id":{},"type":"HEARTBEAT"}"#,
    ] {
        let (status, message) = judge_executor(text).unwrap_err();
        assert!(status == 400 && message.contains("Missing required fields: "), "{message}");
    }
}
