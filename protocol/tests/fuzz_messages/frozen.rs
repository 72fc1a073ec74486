//! What earlier releases wrote is read as they meant it.
//!
//! `protocol/testdata` holds frames as releases have encoded them, one to a line, never to be changed: nodes one release
//! apart talk to each other. With MESHOS_FREEZE=1 the test
//! adds a line for each kind and form of a frame that has none.

use std::collections::BTreeSet;

use super::{
    mangle::tree,
    samples::{Target, frame_targets},
    value::Value,
};

const FROZEN: &str = include_str!("../../testdata/frames-0.1.txt");

struct Frozen {
    kind: String,
    bytes: Vec<u8>,
}

fn frozen() -> Vec<Frozen> {
    let lines = FROZEN.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let read = |line: &str| {
        let (kind, hex) = line.split_once(' ').expect("a kind and its bytes");
        let digit = |place: usize| u8::from_str_radix(&hex[place..place + 2], 16);
        let bytes = (0..hex.len()).step_by(2).map(digit).collect::<Result<_, _>>();
        Frozen { kind: kind.to_owned(), bytes: bytes.expect("hexadecimal digits") }
    };
    lines.map(read).collect()
}

fn kind(target: &Target) -> &'static str {
    target.name.rsplit("::").next().expect("a type has a name")
}

/// Where `now` lacks something of `then`; what a later release adds is no loss.
fn lost(then: &Value, now: &Value, place: &str) -> Vec<String> {
    match (then, now) {
        (Value::Map(then), Value::Map(now)) => then
            .iter()
            .flat_map(|(key, value)| {
                let place = format!("{place}/{key:?}");
                match now.iter().find(|(known, _)| known == key) {
                    Some((_, now)) => lost(value, now, &place),
                    None => vec![place],
                }
            })
            .collect(),
        (Value::List(then), Value::List(now)) if then.len() == now.len() => {
            let pairs = then.iter().zip(now).enumerate();
            pairs.flat_map(|(at, (then, now))| lost(then, now, &format!("{place}/{at}"))).collect()
        }
        _ if then == now => Vec::new(),
        _ => vec![format!("{place}: {then:?} is read as {now:?}")],
    }
}

#[test]
fn frames_of_earlier_releases_are_read_as_they_were_meant() {
    let targets = frame_targets();
    for (line, frozen) in frozen().iter().enumerate() {
        let target = targets.iter().find(|target| kind(target) == frozen.kind);
        let target = target.unwrap_or_else(|| panic!("frames {} are read no more", frozen.kind));
        let what = format!("frozen frame {line}, {}", frozen.kind);
        let read = (target.read)(&frozen.bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        let lost = lost(&tree(&frozen.bytes), &tree(&read), "");
        assert!(lost.is_empty(), "{what}: {lost:#?}");
    }
}

/// The shape of a frame: its kind, and every name in it.
fn form(kind: &str, bytes: &[u8]) -> (String, BTreeSet<String>) {
    let mut names = BTreeSet::new();
    collect_names(&tree(bytes), &mut names);
    (kind.to_owned(), names)
}

/// Fields by name, and tags with what they say.
fn collect_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::List(list) => list.iter().for_each(|inner| collect_names(inner, names)),
        Value::Map(map) => {
            for (key, inner) in map {
                let Value::Text(key) = key else { continue };
                let tag = if key == "t" { format!("{inner:?}") } else { String::new() };
                names.insert(format!("{key}{tag}"));
                collect_names(inner, names);
            }
        }
        Value::Nil
        | Value::Bool(_)
        | Value::Unsigned(_)
        | Value::Signed(_)
        | Value::Text(_)
        | Value::Bytes(_) => {}
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a developer freezes what is new")]
fn every_form_of_a_frame_is_frozen() {
    let mut known: BTreeSet<_> =
        frozen().iter().map(|frozen| form(&frozen.kind, &frozen.bytes)).collect();
    let mut new = String::new();
    for target in frame_targets() {
        for sample in &target.samples {
            if known.insert(form(kind(&target), sample)) {
                let hex: String = sample.iter().map(|byte| format!("{byte:02x}")).collect();
                new += &format!("{} {hex}\n", kind(&target));
            }
        }
    }
    if std::env::var_os("MESHOS_FREEZE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/frames-0.1.txt");
        return std::fs::write(file, format!("{FROZEN}{new}")).expect("the file can be written");
    }
    let kinds: Vec<_> = new.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(
        new.is_empty(),
        "frames of these kinds have forms that no frozen frame has; when they are to stay, run the test with \
         MESHOS_FREEZE=1 and commit testdata: {kinds:?}"
    );
}
