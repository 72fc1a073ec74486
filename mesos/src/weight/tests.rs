use serde_json::json;

use super::*;
use crate::{
    codec::{self, Media, Refused},
    schema,
};

/// As many bytes as a body may have.
const BODY: usize = 1 << 20;

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut written = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        written.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    written.push(u8::try_from(length).unwrap());
    written.extend(bytes);
    written
}

/// The message at the end of a path of fields, with as many of `piece` as a body can hold in it.
fn full_of(piece: &[u8], path: &[u8]) -> Vec<u8> {
    let content = piece.repeat((BODY - 64) / piece.len());
    path.iter().rev().fold(content, |content, number| field(*number, &content))
}

fn refusal(media: Media, body: &[u8]) -> Option<u16> {
    assert!(body.len() <= BODY, "{} bytes", body.len());
    let read: Result<(schema::Call, usize), Refused> = codec::read_call(media, body);
    read.err().map(|refused| refused.status)
}

#[test]
fn a_small_body_does_not_become_a_large_message() {
    for path in [&[4][..], &[4, 2, 2], &[4, 2, 7, 2]] {
        let body = full_of(&field(if path.len() == 1 { 2 } else { 1 }, &[]), path);
        assert_eq!(refusal(Media::Protobuf, &body), Some(413), "{path:?}");
    }
}

#[test]
fn a_small_text_does_not_become_a_large_message() {
    let listed = |piece: &str, before: &str, after: &str| {
        let pieces = vec![piece; (BODY - 256) / (piece.len() + 1)].join(",");
        format!("{before}{pieces}{after}")
    };
    let accept = |piece: &str| listed(piece, r#"{"accept":{"operations":["#, "]}}");
    for text in [
        accept("{}"),
        accept(r#"{"launch":{"task_infos":[{}]}}"#),
        accept(r#"{"launch_group":{}}"#),
        listed(r#"{"":0}"#, r#"{"x":["#, "]}"),
        listed("[0]", r#"{"x":["#, "]}"),
        listed("{}", r#"{"x":["#, "]}"),
    ] {
        assert_eq!(refusal(Media::Json, text.as_bytes()), Some(413), "{}", &text[..40]);
    }
    // Brackets in texts are no lists.
    let text = json!({"type": "REVIVE", "x": "\\\"[{,".repeat(BODY / 8)}).to_string();
    let (_, memory) = codec::read_call(Media::Json, text.as_bytes()).unwrap();
    assert!(memory < 2 * text.len(), "{memory}");
}

#[test]
fn the_largest_sensible_calls_are_read() {
    let agent = json!({"value": "00000000-0000-0000-0000-0000000000ab-S0000000000000-1"});
    let scalar = |name: &str| json!({"name": name, "type": "SCALAR", "scalar": {"value": 1.0}});
    let task = json!({"name": "task-000001", "task_id": {"value": "task-000001"}, "agent_id": agent,
        "resources": [scalar("cpus"), scalar("mem")], "command": {"value": "/bin/true"}});
    let tasks = vec![task; 3_400];
    let launch = json!({"type": "LAUNCH", "launch": {"task_infos": tasks}});
    let accept = json!({"type": "ACCEPT", "framework_id": {"value": "f"},
        "accept": {"offer_ids": [{"value": "o"}], "operations": [launch]}});
    let queries = vec![json!({"task_id": {"value": "task-000001"}, "agent_id": agent}); 9_000];
    let reconcile = json!({"type": "RECONCILE", "framework_id": {"value": "f"},
        "reconcile": {"tasks": queries}});
    for call in [accept, reconcile] {
        let text = call.to_string();
        assert!((BODY * 7 / 10..=BODY).contains(&text.len()), "{} bytes", text.len());
        let (read, memory) = codec::read_call(Media::Json, text.as_bytes()).unwrap();
        assert!(memory <= MEMORY_MAX * 3 / 4, "{memory}");
        let bytes = codec::write(Media::Protobuf, &read);
        let (again, memory) = codec::read_call(Media::Protobuf, &bytes).unwrap();
        assert_eq!(again, read);
        assert!(memory <= MEMORY_MAX * 3 / 4, "{memory}");
    }
}

#[test]
fn what_is_no_protobuf_is_refused_before_it_is_decoded() {
    let mut nested = Vec::new();
    for _ in 0..200 {
        nested = field(2, &nested);
    }
    let mut scale = Scale::default();
    assert!(matches!(weigh::<schema::ContainerId>(&nested, &mut scale), Err(Unfit::Malformed(_))));
    for bytes in [
        // A group, which would hide what is in it.
        &[0x9b, 0x06, 0x9c, 0x06][..],
        &[0xff; 11],
        &[0x22],
        &[0x22, 0x05, 0x00],
        &[0x09, 0x00],
    ] {
        let refused = codec::read_call(Media::Protobuf, bytes).unwrap_err();
        assert_eq!(refused.status, 400, "{bytes:?}");
        let start = "Failed to parse body into Call protobuf: ";
        assert!(refused.message.starts_with(start), "{refused}");
    }
}

/// What is large is boxed where it is rare, so that lists of it are small.
#[test]
fn messages_are_not_larger_than_needed() {
    let sizes = [
        size_of::<schema::OfferOperation>(),
        size_of::<schema::TaskInfo>(),
        size_of::<schema::Resource>(),
        size_of::<schema::Volume>(),
    ];
    assert!(sizes.iter().all(|size| *size <= 800), "{sizes:?}");
}
