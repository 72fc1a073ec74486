//! What calls are said to take in memory, beside what the allocator is really asked for.

use meshos_mesos::codec::{self, CALL_MEMORY_MAX, Media};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// As many bytes as a body may have.
const BODY: usize = 1 << 20;
/// What the sentence of a refusal takes, which is not weighed.
const SENTENCE: usize = 4 << 10;

/// What `work` makes, and how much memory there was at a time while it ran.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let made = work();
    (made, ALLOCATOR.peak_usage().saturating_sub(before))
}

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut written = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        written.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    written.push(u8::try_from(length).expect("seven bits are left"));
    written.extend(bytes);
    written
}

/// What is weighed must be more than is used; gives how many times more.
fn check(what: &str, media: Media, body: &[u8], weighed: usize) -> usize {
    let (read, peak) = peak_of(|| codec::read_call(media, body));
    let memory = read.map_or(weighed, |(_, memory)| memory);
    let used = peak + body.len();
    assert!(used <= memory + SENTENCE, "{what}, {} bytes: {used} > {memory}", body.len());
    memory / used
}

fn check_protobuf() {
    let empty = |number| field(number, &[]);
    let text = |number| field(number, b"a text of some length");
    for (what, piece, path) in [
        ("operations", empty(2), &[4][..]),
        ("tasks", empty(1), &[4, 2, 2]),
        ("tasks of groups", empty(1), &[4, 2, 7, 2]),
        ("resources", empty(4), &[4, 2, 2, 1]),
        ("operations with a task group", field(2, &empty(7)), &[4]),
        ("operations with a volume", field(2, &empty(13)), &[4]),
        ("ids of offers", empty(1), &[5]),
        ("ids of offers with a text", field(1, &text(1)), &[5]),
        ("tasks to reconcile", empty(1), &[9]),
        ("tasks to reconcile with an id", field(1, &field(1, &text(1))), &[9]),
        ("entries of maps", empty(13), &[3, 1]),
        ("maps of one entry", field(1, &empty(1)), &[3, 1, 13, 2, 1]),
        ("packed numbers", vec![1], &[4, 2, 2, 1, 8, 1, 4]),
        ("numbers", vec![4 << 3, 1], &[4, 2, 2, 1, 8, 1]),
    ] {
        let wrap = |content| path.iter().rev().fold(content, |it: Vec<u8>, tag| field(*tag, &it));
        let of = |pieces: usize| wrap(piece.repeat(pieces));
        let mut pieces = (BODY - 64) / piece.len();
        while codec::weigh_call(Media::Protobuf, &of(pieces)).is_err() {
            pieces /= 2;
            assert!(pieces > 0, "{what}");
        }
        for pieces in [1, 3, 17, 1_000, pieces / 2 + 1, pieces] {
            let body = of(pieces);
            let weighed = codec::weigh_call(Media::Protobuf, &body).expect(what);
            check(what, Media::Protobuf, &body, weighed);
        }
    }
}

/// What there are many of, one of them, and the call with a list of them.
type Case<'a> = (&'a str, Value, &'a dyn Fn(&Value) -> Value);

fn check_json() {
    let scalar = |name: &str| json!({"name": name, "type": "SCALAR", "scalar": {"value": 1.0}});
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "a"},
        "resources": [scalar("cpus"), scalar("mem")], "command": {"value": "true"}});
    let variables = |variables: &Value| {
        let mut task = task.clone();
        task["command"]["environment"] = json!({ "variables": variables });
        accept(&json!([launch(&json!([task]))]))
    };
    let launched = |tasks: &Value| accept(&json!([launch(tasks)]));
    let reconciled = |tasks: &Value| {
        json!({"type": "RECONCILE", "framework_id": {"value": "f"},
        "reconcile": {"tasks": tasks}})
    };
    let unknown =
        |list: &Value| json!({"type": "REVIVE", "framework_id": {"value": "f"}, "x": list});
    let variable = json!({"name": "n", "value": "v"});
    let cases: [Case<'_>; 9] = [
        ("operations", launch(&json!([])), &accept),
        ("tasks", task.clone(), &launched),
        ("operations with a task", launch(&json!([task])), &accept),
        ("variables", variable, &variables),
        ("tasks to reconcile", json!({"task_id": {"value": "t"}}), &reconciled),
        ("unknown objects", json!({}), &unknown),
        ("unknown objects of one entry", json!({"": 0}), &unknown),
        ("unknown lists", json!([0]), &unknown),
        ("unknown texts", json!("\"[{,"), &unknown),
    ];
    for (what, piece, within) in cases {
        let of = |pieces: usize| within(&Value::from(vec![piece.clone(); pieces])).to_string();
        let mut pieces = (BODY - 512) / piece.to_string().len();
        while codec::read_call(Media::Json, of(pieces).as_bytes()).is_err() {
            pieces /= 2;
            assert!(pieces > 0, "{what}");
        }
        for pieces in [1, 3, 17, pieces / 2 + 1, pieces] {
            check(what, Media::Json, of(pieces).as_bytes(), 0);
        }
    }
}

fn launch(tasks: &Value) -> Value {
    json!({"type": "LAUNCH", "launch": {"task_infos": tasks}})
}

fn accept(operations: &Value) -> Value {
    json!({"type": "ACCEPT", "framework_id": {"value": "f"},
        "accept": {"offer_ids": [{"value": "o"}], "operations": operations}})
}

/// One test, since the allocator counts what all threads use.
#[test]
fn calls_take_no_more_memory_than_they_are_weighed() {
    check_protobuf();
    check_json();
    // Calls of sensible content are not weighed many times too heavy, and not too light at first either.
    let task = json!({"task_id": {"value": "task-000001"}, "agent_id": {"value": "agent-1"}});
    let call = json!({"type": "RECONCILE", "framework_id": {"value": "f"},
        "reconcile": {"tasks": vec![task; 1_000]}});
    let text = call.to_string();
    let weighed = codec::weigh_call(Media::Json, text.as_bytes()).unwrap();
    assert!(codec::read_call_within(Media::Json, text.as_bytes(), weighed).unwrap().is_some());
    assert!(weighed < CALL_MEMORY_MAX / 8, "{weighed}");
    let times = check("sensible", Media::Json, text.as_bytes(), 0);
    assert!(times < 16, "{times}");
    // What is refused is not made first.
    let (refused, peak) =
        peak_of(|| codec::read_call(Media::Protobuf, &field(4, &field(2, &[]).repeat(BODY / 3))));
    assert_eq!(refused.unwrap_err().status, 413);
    assert!(peak < 4 * BODY, "{peak}");
}
