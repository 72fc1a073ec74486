//! Fuzz targets of every decoder of the wire, and what a release must understand of the next one.
//!
//! Whatever bytes arrive, decoding does not panic; bytes that follow a message are refused; and what
//! is decoded encodes to bytes that are decoded as the same. Under `cargo test` each kind of frame is
//! tried for three seconds, a third of them on random bytes; `cargo bolero test NAME` runs the same targets under a
//! coverage-guided fuzzer for as long as wanted.

mod checks;
mod executors;
mod frozen;
mod mangle;
mod next_release;
mod operations;
mod resources;
mod samples;
mod value;

use std::time::Duration;

use meshos_protocol::codec::{self, DEPTH_MAX};

use mangle::{check, damage, rearrange, trees};
use samples::{Target, targets};

const TEST_TIME: Duration = Duration::from_secs(1);
/// What no release knows today.
const NEWS: &str = "of_the_next_release";

#[test]
fn every_sample_is_read_as_it_was_written() {
    for target in targets() {
        for sample in &target.samples {
            assert_eq!(&(target.read)(sample).expect(target.name), sample, "{}", target.name);
        }
    }
}

/// Three fuzz targets for some types of the wire.
macro_rules! fuzz {
    ($($name:ident: $targets:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn random_bytes() {
                let targets = $targets;
                bolero::check!().with_test_time(TEST_TIME).for_each(|bytes: &[u8]| {
                    targets.iter().for_each(|target| check(target, bytes));
                });
            }

            #[test]
            fn damaged() {
                let targets = $targets;
                bolero::check!()
                    .with_test_time(TEST_TIME)
                    .for_each(|bytes: &[u8]| damage(&targets, bytes));
            }

            #[test]
            fn rearranged() {
                let (targets, all) = ($targets, trees(&targets()));
                let own = trees(&targets);
                bolero::check!().with_test_time(TEST_TIME).for_each(|choices: &[u8]| {
                    let targets = targets.iter().zip(&own);
                    targets.for_each(|(target, own)| rearrange(target, own, &all, choices));
                });
            }
        }
    )*};
}

fuzz! {
    of_ids: samples::id_targets();
    of_resources: resources::targets();
    of_parts: samples::part_targets();
    hellos: frame("StreamHello");
    answers: frame("StreamAnswer");
    requests: frame("RequestFrame");
    replies: frame("ReplyFrame");
    to_leader: frame("ToLeader");
    to_agent: frame("ToAgentFrame");
    calls: frame("CallFrame");
    events: frame("EventFrame");
    of_executors: executors::targets();
    executor_calls: frame("Call");
    executor_events: frame("Event");
}

/// The target of one kind of frame.
fn frame(name: &str) -> Vec<Target> {
    let mut frames = samples::frame_targets();
    frames.retain(|target| target.name.ends_with(&format!("::{name}")));
    assert_eq!(frames.len(), 1, "{name}");
    frames
}

#[test]
fn every_kind_of_frame_has_a_target_of_its_own() {
    let names = [
        "StreamHello",
        "StreamAnswer",
        "RequestFrame",
        "ReplyFrame",
        "ToLeader",
        "ToAgentFrame",
        "CallFrame",
        "EventFrame",
        "Call",
        "Event",
    ];
    assert_eq!(samples::frame_targets().len(), names.len());
    names.iter().for_each(|name| drop(frame(name)));
}

/// Lists within lists, as many as `depth`.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = vec![0x91; depth];
    bytes.push(0xc0);
    bytes
}

#[test]
fn nothing_is_decoded_that_nests_too_deep_known_or_not() {
    for target in targets() {
        for depth in [DEPTH_MAX + 1, 1_000, 1_000_000] {
            assert!((target.read)(&nested(depth)).is_err(), "{}", target.name);
        }
        for sample in &target.samples {
            // A map of up to 14 fields: one more is put before them, of a name that nobody knows.
            let Some(count @ 0x80..=0x8e) = sample.first().copied() else { continue };
            let with = |depth| {
                let name = codec::encode(NEWS);
                [&[count + 1], name.as_slice(), &nested(depth), &sample[1..]].concat()
            };
            assert!((target.read)(&with(DEPTH_MAX / 2)).is_ok(), "{}", target.name);
            for depth in [DEPTH_MAX + 1, 1_000_000] {
                assert!((target.read)(&with(depth)).is_err(), "{}", target.name);
            }
        }
    }
}
