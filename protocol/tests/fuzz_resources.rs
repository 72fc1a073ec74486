//! Fuzz targets of the text parsers and decoders of resources, attributes and roles.
//!
//! Under `cargo test` each runs for about two seconds on random input; `cargo bolero test NAME`
//! runs the same targets under a coverage-guided fuzzer for as long as wanted.

use std::time::Duration;

use meshos_protocol::attributes::{Attribute, Attributes};
use meshos_protocol::resources::{
    Amount, Ranges, ReservationKind, Resource, Resources, ScalarQuantities, Set, TextError,
};
use meshos_protocol::role::Role;
use meshos_protocol::wishes::FaultDomain;
use serde::Serialize;
use serde::de::DeserializeOwned;

const TEST_TIME: Duration = Duration::from_secs(2);

/// Parts of entries: random bytes pick one of each in turn, so that about half of the texts are
/// right and the others nearly so.
const PARTS: [&[&str]; 4] = [
    &["cpus", "mem", "disk", "x", "x", "y", "ports", "gpus", "ü/1", " s ", "cpus", "mem", "x=", ""],
    &[
        ":",
        ":",
        ":",
        ":",
        ":",
        ":",
        " : ",
        "(a):",
        "(a/b):",
        "(*):",
        "( d ) :",
        "(a",
        "(a//b):",
        "{revocable}:",
        " { revocable } :",
        "{x}:",
    ],
    &[
        "1",
        "0.5",
        "0",
        "24",
        "3.0005",
        "7",
        "1000000000000",
        "[1-5,3-9]",
        "[ 7 - 7 ]",
        "[]",
        "[0-18446744073709551615]",
        "{a,b}",
        "{ c c ,b}",
        "{}",
        "-1",
        "abc",
        "[5-1]",
        "{a",
        "1.2.3",
    ],
    &[";", ";", ";", ";", ";", ";", " ;\n", ";", ";", ";", ";", ";;", ",", "", "\u{0}"],
];

/// The most entries of a text: with more of them, hardly any would be right.
const ENTRIES_MAX: usize = 8;

/// The first byte says how many entries there are, the others pick their parts.
fn nearly_right_text(picks: &[u8]) -> String {
    let Some((count, picks)) = picks.split_first() else { return String::new() };
    let parts = PARTS.iter().cycle().take((1 + usize::from(*count) % ENTRIES_MAX) * PARTS.len());
    parts.zip(picks).map(|(part, pick)| part[usize::from(*pick) % part.len()]).collect()
}

fn check_error(error: &TextError, text: &str) {
    assert!(text.is_char_boundary(error.position()), "{error} in {text:?}");
    assert!(error.caret(text).contains('^'));
}

/// Whatever is read prints back as a text that is read as the same; whatever is refused is refused
/// at a place in the text.
fn check_texts(text: &str) {
    match Resources::parse(text) {
        Ok(read) => {
            let printed = read.to_string();
            assert_eq!(Resources::parse(&printed).as_ref(), Ok(&read), "{text:?}");
            check_reencoding(&read);
        }
        Err(error) => check_error(&error, text),
    }
    match Attributes::parse(text) {
        Ok(read) => {
            let printed = read.to_string();
            assert_eq!(Attributes::parse(&printed).as_ref(), Ok(&read), "{text:?}");
            check_reencoding(&read);
        }
        Err(error) => check_error(&error, text),
    }
    match text.parse::<Amount>() {
        Ok(read) => assert_eq!(read.to_string().parse(), Ok(read)),
        Err(error) => check_error(&error, text),
    }
    if let Ok(read) = text.parse::<FaultDomain>() {
        assert_eq!(read.to_string().parse(), Ok(read.clone()), "{text:?}");
        check_reencoding(&read);
    }
    if let Ok(role) = Role::new(text) {
        let printed = format!("cpus({role}):1");
        assert_eq!(Resources::parse(&printed).expect(&printed).for_role(&role).cpus().units(), 1);
    }
}

fn check_reencoding<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let bytes = rmp_serde::to_vec_named(value).expect("every value can be encoded");
    assert_eq!(rmp_serde::from_slice::<T>(&bytes).as_ref().ok(), Some(value));
}

fn check_decoding<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(decoded) = rmp_serde::from_slice::<T>(bytes) {
        check_reencoding(&decoded);
    }
}

fn check_bytes(bytes: &[u8]) {
    check_decoding::<Resources>(bytes);
    check_decoding::<Resource>(bytes);
    check_decoding::<Ranges>(bytes);
    check_decoding::<Set>(bytes);
    check_decoding::<ScalarQuantities>(bytes);
    check_decoding::<Attributes>(bytes);
    check_decoding::<Attribute>(bytes);
    check_decoding::<Role>(bytes);
    if let Ok(decoded) = rmp_serde::from_slice::<Resources>(bytes) {
        // A peer may say what cannot be typed (one name with two kinds of value, a reservation that is
        // not static), but what can be read must be read as what was printed.
        let is_typed = |resource: &Resource| {
            let reservation = resource.metadata().reservation.as_ref();
            reservation.is_none_or(|it| it.kind() == ReservationKind::Static)
        };
        if decoded.iter().all(is_typed)
            && let Ok(read) = Resources::parse(&decoded.to_string())
        {
            assert_eq!(read, decoded);
        }
    }
}

#[test]
fn random_texts() {
    bolero::check!().with_test_time(TEST_TIME).for_each(|bytes: &[u8]| {
        check_texts(&String::from_utf8_lossy(bytes));
    });
}

#[test]
fn nearly_right_texts() {
    bolero::check!().with_test_time(TEST_TIME).for_each(|picks: &[u8]| {
        check_texts(&nearly_right_text(picks));
    });
}

#[test]
fn random_bytes() {
    bolero::check!().with_test_time(TEST_TIME).for_each(check_bytes);
}

#[test]
fn damaged_encodings() {
    let whole = "cpus:24;mem:24576;ports:[1-2,5-9];bugs:{a,b,c};cpus{revocable}:2;cpus(a/b):0.5";
    let resources = Resources::parse(whole).expect(whole);
    let attributes = Attributes::parse("rack:abc;level:10;keys:[1-5];s:{a}").expect("attributes");
    let sources = [
        rmp_serde::to_vec_named(&resources).expect("resources"),
        rmp_serde::to_vec_named(&attributes).expect("attributes"),
    ];
    bolero::check!().with_test_time(TEST_TIME).for_each(|damage: &[u8]| {
        for source in &sources {
            let mut bytes = source.clone();
            for change in damage.chunks_exact(2).take(3) {
                let place = usize::from(change[0]) % bytes.len();
                bytes[place] = change[1];
            }
            check_bytes(&bytes);
            bytes.truncate(damage.len());
            check_bytes(&bytes);
        }
    });
}
