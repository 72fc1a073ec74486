//! Fuzz targets of the decoders: whatever arrives, nothing panics, and what is read is written so that
//! it is read as the same.
//!
//! Under `cargo test` each runs for about two seconds on random input; `cargo bolero test NAME`
//! runs the same targets under a coverage-guided fuzzer for as long as wanted.

use std::time::Duration;

use meshos_mesos::{
    codec::{self, Media},
    convert::{framework, operation, task},
    recordio::{self, Decoder},
    schema, validate,
};
use meshos_protocol::role::Role;

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

fn check(bytes: &[u8]) {
    for media in [Media::Json, Media::Protobuf] {
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
