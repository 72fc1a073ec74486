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
