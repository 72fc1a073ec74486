//! What the next release may add: fields are skipped, variants are read as unknown.

use meshos_protocol::codec;

use super::{NEWS, mangle::tree, samples::targets, value::Value};

/// Maps whose keys are data, not fields.
const DATA_MAPS: [&str; 4] = ["labels", "environment", "wishes", "demand"];
/// Fields that hold a name out of a list that may grow, beside the tag `t` of each message.
const NAMES: [&str; 6] = ["state", "reason", "kind", "cause", "source", "ends"];

fn is_data(key: &Value) -> bool {
    DATA_MAPS.iter().any(|name| *key == Value::text(name))
}

/// Adds a field to every message in the tree.
fn add_fields(value: &mut Value) {
    match value {
        Value::List(list) => list.iter_mut().for_each(add_fields),
        Value::Map(map) => {
            for (key, inner) in map.iter_mut() {
                match inner {
                    Value::Map(data) if is_data(key) => {
                        data.iter_mut().for_each(|(_, value)| add_fields(value));
                    }
                    _ => add_fields(inner),
                }
            }
            let news =
                vec![(Value::text("deep"), Value::List(vec![Value::Nil, Value::Signed(-1)]))];
            map.push((Value::text(NEWS), Value::Map(news)));
        }
        _ => {}
    }
}

#[test]
fn fields_of_the_next_release_are_skipped() {
    for target in targets() {
        for sample in &target.samples {
            let mut grown = tree(sample);
            add_fields(&mut grown);
            let read = (target.read)(&codec::encode(&grown));
            assert_eq!(&read.expect(target.name), sample, "{}", target.name);
        }
    }
}

/// The tree with one tag or name in it that nobody knows; none when there are no more than `which`.
fn rename(value: &mut Value, which: &mut usize) -> bool {
    match value {
        Value::List(list) => list.iter_mut().any(|inner| rename(inner, which)),
        Value::Map(map) => map.iter_mut().any(|(key, inner)| {
            if is_data(key)
                && let Value::Map(data) = inner
            {
                return data.iter_mut().any(|(_, value)| rename(value, which));
            }
            let may_grow =
                *key == Value::text("t") || NAMES.iter().any(|name| *key == Value::text(name));
            if may_grow && let Value::Text(name) = inner {
                if *which == 0 {
                    NEWS.clone_into(name);
                    return true;
                }
                *which -= 1;
            }
            rename(inner, which)
        }),
        _ => false,
    }
}

#[test]
fn variants_of_the_next_release_are_read_as_unknown() {
    let mut renamed_in_all = 0;
    for target in targets() {
        for sample in &target.samples {
            for which in 0.. {
                let mut news = tree(sample);
                if !rename(&mut news, &mut { which }) {
                    break;
                }
                renamed_in_all += 1;
                let read = (target.read)(&codec::encode(&news)).unwrap_or_else(|error| {
                    panic!("{} of the next release is refused: {error}: {news:?}", target.name)
                });
                let text = String::from_utf8_lossy(&read).to_lowercase();
                assert!(text.contains("unknown") && !text.contains(NEWS), "{}", target.name);
            }
        }
    }
    assert!(renamed_in_all > 100, "only {renamed_in_all} names were tried");
}

#[test]
fn names_that_stand_alone_are_read_as_unknown_too() {
    use meshos_protocol::{
        messages::{Refusal, scheduler::CallErrorKind},
        task::{Reason, Source, TaskState},
    };
    let news = codec::encode(NEWS);
    assert_eq!(codec::decode::<TaskState>(&news).ok(), Some(TaskState::Unknown));
    assert_eq!(codec::decode::<Reason>(&news).ok(), Some(Reason::Unknown));
    assert_eq!(codec::decode::<Source>(&news).ok(), Some(Source::Unknown));
    assert_eq!(codec::decode::<Refusal>(&news).ok(), Some(Refusal::Unknown));
    assert_eq!(codec::decode::<CallErrorKind>(&news).ok(), Some(CallErrorKind::Unknown));
}
