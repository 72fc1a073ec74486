//! Fuzz targets of the decoders: whatever arrives, nothing panics, and what is read is written so that
//! it is read as the same.
//!
//! Under `cargo test` each runs for about two seconds on random input; `cargo bolero test NAME`
//! runs the same targets under a coverage-guided fuzzer for as long as wanted.

use std::time::Duration;

use meshos_control::master::View;
use meshos_mesos::{
    codec::{self, Media},
    convert::{framework, offer::Place, operation, task},
    executor::Session,
    operator::{self, Caller, Change, Older},
    reads::files::{Attachment, Content, Portion, READ_BYTES_MAX, SandboxPath},
    recordio::{self, Decoder},
    schema, validate,
    zookeeper::{Connection, FRAME_BYTES_MAX, Frames, Sent, Tree},
};
use meshos_protocol::{
    ids::{ClusterId, ContainerId, ExecutorId, Fence, FrameworkId, NodeId, Term},
    role::Role,
};

const TEST_TIME: Duration = Duration::from_secs(2);

/// Pieces of calls: random bytes pick one after the other, so that much of what comes out is JSON.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "\"true\"",
    "1",
    "1.0",
    "\"1\"",
    "1e300",
    "\"NaN\"",
    "\"type\":\"SUBSCRIBE\"",
    "\"type\":\"ACCEPT\"",
    "\"type\":\"KILL\"",
    "\"framework_id\":{\"value\":\"f\"}",
    "\"subscribe\":{\"framework_info\":{\"user\":\"u\",\"name\":\"n\",\"roles\":",
    "\"accept\":{\"operations\":[",
    "{\"type\":\"LAUNCH\",\"launch\":{\"task_infos\":[",
    "{\"name\":\"t\",\"task_id\":{\"value\":\"t\"},\"agent_id\":{\"value\":\"a\"}",
    "\"resources\":[{\"name\":\"cpus\",\"type\":\"SCALAR\",\"scalar\":{\"value\":",
    "\"kill\":{\"task_id\":{\"value\":\"t\"}}",
    "\"uuid\":\"AAEC\"",
    "\"capabilities\":[{\"type\":\"MULTI_ROLE\"}]",
    "}}",
    "]}",
    "\"\\u00f6\"",
    "\"type\":\"UPDATE\"",
    "\"executor_id\":{\"value\":\"e\"}",
    "\"subscribe\":{\"unacknowledged_tasks\":[",
    "\"unacknowledged_updates\":[{\"status\":{\"task_id\":{\"value\":\"t\"}",
    "\"update\":{\"status\":{\"task_id\":{\"value\":\"t\"},\"state\":\"TASK_RUNNING\"",
    "\"uuid\":\"AAAAAAAAAAAAAAAAAAAAAA==\"",
    "\"message\":{\"data\":\"AAEC\"}",
    "\"executor\":{\"executor_id\":{\"value\":\"e\"},\"command\":{\"value\":\"run\"}}",
    "\"type\":\"UPDATE_WEIGHTS\"",
    "\"update_weights\":{\"weight_infos\":[{\"role\":\"a\",\"weight\":",
    "\"type\":\"UPDATE_QUOTA\"",
    "\"update_quota\":{\"quota_configs\":[{\"role\":\"a\",\"limits\":{\"cpus\":{\"value\":",
    "\"type\":\"DRAIN_AGENT\"",
    "\"drain_agent\":{\"agent_id\":{\"value\":\"a\"},\"max_grace_period\":{\"seconds\":",
    "\"type\":\"RESERVE_RESOURCES\"",
    "\"reserve_resources\":{\"agent_id\":{\"value\":\"a\"}",
    "\"type\":\"READ_FILE\"",
    "\"read_file\":{\"path\":\"/slaves\",\"offset\":",
];

fn text_of(picks: &[u8]) -> String {
    picks.iter().map(|pick| PIECES[usize::from(*pick) % PIECES.len()]).collect()
}

/// A call that was read is written so that it is read as the same, and can be judged.
fn check_call(call: &schema::Call) {
    for media in [Media::Json, Media::Protobuf] {
        let bytes = codec::write(media, call);
        let (again, _) = codec::read_call(media, &bytes).expect("what was written can be read");
        // Not compared as values: NaN is never the same.
        assert_eq!(codec::write(media, &again), bytes);
    }
    let _judged = validate::call(call);
    let roles = [Role::default()].into();
    if let Some(subscribe) = &call.subscribe {
        let info = subscribe.framework_info.as_ref().expect("it is required");
        let constraints = subscribe.offer_constraints.as_ref();
        let _read = framework::read(info, &subscribe.suppressed_roles, constraints);
    }
    for requested in call.accept.iter().flat_map(|accept| &accept.operations) {
        let _read = operation::read(requested, &roles);
        for info in requested.launch.iter().flat_map(|launch| &launch.task_infos) {
            let _read = task::read(info, &roles);
        }
    }
}

/// The same of a call of the executor API, which a session can take.
fn check_executor_call(media: Media, bytes: &[u8]) {
    let Ok(call) = codec::read_executor_call(media, bytes) else { return };
    for media in [Media::Json, Media::Protobuf] {
        let bytes = codec::write(media, &call);
        let again = codec::read_executor_call(media, &bytes).expect("what was written can be read");
        assert_eq!(codec::write(media, &again), bytes);
    }
    let _judged = validate::executor_call(&call);
    let names = (FrameworkId(1), ExecutorId::new("e").expect("a good id"));
    let container = ContainerId::new("e1-1").expect("a good id");
    let mut session = Session::new(ClusterId::from_u128(0xab), names, container);
    if let Some(subscribe) = &call.subscribe {
        let _said = session.subscribe(subscribe);
    }
    if let Some(status) = call.update.iter().find_map(|update| update.status.as_deref()) {
        let _said = session.update(status);
    }
    if let Some(message) = &call.message {
        let _said = session.message(message);
    }
}

/// A call of the operator API that was read can be judged, and so can what is left of it in the other encoding.
fn check_operator_call(media: Media, bytes: &[u8]) {
    let Ok((_, call)) = operator::read(media, bytes) else { return };
    let fence = Fence { cluster: ClusterId::from_u128(0xab), term: Term(3) };
    let view = View::deposed(fence, NodeId::from_bits(1));
    let caller = Caller { principal: "ops", in_any_name: false };
    let judged = Change::read(media, bytes, caller, &view);
    let other = if media == Media::Json { Media::Protobuf } else { Media::Json };
    let again = Change::read(other, &codec::write(other, &call), caller, &view);
    match (judged, again) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (Err(one), Err(other)) => assert_eq!(one.status, other.status),
        (one, other) => panic!("{one:?} and {other:?}"),
    }
}

fn check(bytes: &[u8]) {
    for media in [Media::Json, Media::Protobuf] {
        let _read = operator::read_agent(media, bytes);
        check_operator_call(media, bytes);
        check_executor_call(media, bytes);
        if let Ok((call, _)) = codec::read_call(media, bytes) {
            check_call(&call);
        }
    }
}

#[test]
fn fuzz_calls_of_any_bytes() {
    bolero::check!().with_test_time(TEST_TIME).for_each(|bytes: &[u8]| check(bytes));
}

#[test]
fn fuzz_calls_of_nearly_right_json() {
    bolero::check!().with_test_time(TEST_TIME).for_each(|picks: &[u8]| {
        check(text_of(picks).as_bytes());
        check(format!("{{{}}}", text_of(picks)).as_bytes());
    });
}

#[test]
fn fuzz_older_endpoints() {
    bolero::check!().with_test_time(TEST_TIME).for_each(|bytes: &[u8]| {
        let of_agent = |field: &str| [b"slaveId=a&", field.as_bytes(), b"=", bytes].concat();
        let role = String::from_utf8_lossy(bytes).into_owned();
        for (older, body) in [
            (Older::Teardown, bytes.to_vec()),
            (Older::Teardown, [b"frameworkId=", bytes].concat()),
            (Older::Reserve, of_agent("resources")),
            (Older::CreateVolumes, of_agent("volumes")),
            (Older::Weights, bytes.to_vec()),
            (Older::SetQuota, bytes.to_vec()),
            (Older::RemoveQuota(role), Vec::new()),
        ] {
            // What it stands for is a call, whatever is to be said of that.
            if let Ok(call) = older.call(&body) {
                let told = operator::read(Media::Json, &call);
                assert!(match told {
                    Ok((called, _)) => matches!(called, operator::Called::Change(_)),
                    Err(refused) => matches!(refused.status, 400 | 413),
                });
            }
        }
    });
}

/// Pieces of paths.
const PARTS: &[&str] = &[
    "/",
    "..",
    ".",
    "slaves",
    "frameworks",
    "executors",
    "runs",
    "latest",
    "00000000-0000-0000-0000-0000000000ab-0007",
    "00000000-0000-0000-0000-0000000000ab-Saaaaaaaaaaab.1",
    "t1-1",
    "F7",
    "\u{fc}",
    "\0",
];

#[test]
fn fuzz_paths_of_sandboxes() {
    let cluster = ClusterId::from_u128(0xab);
    let known =
        format!("/slaves/{0}-Saaaaaaaaaaab.1/frameworks/{0}-0007/executors/e/runs/t1-1", cluster);
    bolero::check!().with_test_time(TEST_TIME).for_each(|picks: &[u8]| {
        let of_parts = |part: &u8| PARTS[usize::from(*part) % PARTS.len()];
        let parts: String = picks.iter().map(of_parts).collect();
        let bytes = String::from_utf8_lossy(picks);
        for path in [&*bytes, &parts, &format!("{known}/{parts}"), &format!("{known}{bytes}")] {
            let read = [SandboxPath::read(cluster, path), SandboxPath::below_root(path)];
            for path in read.into_iter().flatten() {
                let plain = |part: &str| !matches!(part, "." | "..") && !part.contains('\0');
                assert!(path.within.split('/').all(plain), "{path:?}");
                assert!(!path.within.starts_with('/'), "{path:?}");
                assert_eq!(SandboxPath::read(cluster, &path.text(cluster)), Ok(path));
            }
        }
        let (offset, length) = (Some(&*bytes), Some(parts.as_str()));
        if let Ok(portion) = Portion::read(offset, length) {
            assert!(portion.length <= READ_BYTES_MAX);
        }
        let content = Content { offset: 1, bytes: picks.to_vec(), size: u64::MAX };
        assert!(serde_json::to_vec(&content.older()).is_ok());
        let disposition = Attachment::of(&bytes).disposition;
        assert!(disposition.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{disposition}");
    });
}

#[test]
fn fuzz_clients_of_zookeeper() {
    let fence = |term| Fence { cluster: ClusterId::from_u128(1), term: Term(term) };
    let place = Place::read("10.0.0.7:5050").expect("an address");
    let tree = |term| Tree::default().lead_by(Some((fence(term), &place)));
    bolero::check!().with_test_time(TEST_TIME).for_each(|bytes: &[u8]| {
        let mut frames = Frames::default();
        for part in bytes.chunks(7) {
            frames.add(part);
            while let Ok(Some(sent)) = frames.take() {
                assert!(!matches!(sent, Sent::Frame(frame) if frame.len() > FRAME_BYTES_MAX));
            }
        }
        let mut connection = Connection::new(tree(7), 1);
        let connect = [&[0; 12][..], &[0, 0, 0x27, 0x10], &[0; 12]].concat();
        assert!(connection.frame(&connect).is_some());
        for (at, frame) in bytes.split(|byte| *byte == 0xfe).enumerate() {
            // Kinds of requests that are known come often.
            let kind = [3, 4, 8, 12, 9, 101, 1, 11][at % 8];
            let known = [&[0, 0, 0, 1, 0, 0, 0, kind], frame].concat();
            for frame in [frame, known.as_slice()] {
                if let Some((answer, _)) = connection.frame(frame) {
                    // Each frame is answered, and a client can tell where the answer ends.
                    assert!(is_frames(&answer) && !answer.is_empty());
                }
            }
            assert!(is_frames(&connection.change(tree(7 + at as u64 % 3))));
        }
    });
}

/// Whether bytes are frames and nothing else.
fn is_frames(mut bytes: &[u8]) -> bool {
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        match rest.split_at_checked(length) {
            Some((_, rest)) => bytes = rest,
            None => return false,
        }
    }
    bytes.is_empty()
}

#[test]
fn fuzz_records() {
    bolero::check!().with_test_time(TEST_TIME).for_each(|bytes: &[u8]| {
        let (mut decoder, mut read) = (Decoder::new(64), Vec::new());
        for part in bytes.chunks(3) {
            decoder.add(part);
            while let Ok(Some(record)) = decoder.take() {
                assert!(record.len() <= 64);
                read.push(record);
            }
        }
        let written: Vec<u8> = read.iter().flat_map(|record| recordio::encode(record)).collect();
        let mut decoder = Decoder::new(64);
        decoder.add(&written);
        for record in read {
            assert_eq!(decoder.take(), Ok(Some(record)));
        }
    });
}
