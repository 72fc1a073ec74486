//! Small pieces that all endpoints share.

use std::collections::BTreeMap;

use meshos_protocol::{
    attributes::{AttributeValue, Attributes},
    task::TaskState,
    time::Wall,
    wishes::FaultDomain,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::amounts::{ranges_text, set_text};
use crate::{
    convert::{number, status},
    json::Names,
    schema,
};

/// A list whose rows are made one at a time, while it is written.
pub(super) struct Rows<I>(pub(super) I);

impl<I> Serialize for Rows<I>
where
    I: Iterator<Item: Serialize> + Clone,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// A moment in seconds.
pub(super) fn seconds(at: Wall) -> f64 {
    number::seconds(at.0)
}

/// The same of a moment that may never have been.
pub(super) fn seconds_or_zero(at: Option<Wall>) -> f64 {
    seconds(at.unwrap_or(Wall(0)))
}

/// Labels as a list of keys and values.
#[derive(Serialize)]
pub(super) struct LabelRow<'a> {
    key: &'a str,
    value: &'a str,
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> Option<Vec<LabelRow<'_>>> {
    let rows = labels.iter().map(|(key, value)| LabelRow { key, value });
    (!labels.is_empty()).then(|| rows.collect())
}

/// Where something stands, as Mesos nests it.
#[derive(Serialize)]
pub(super) struct DomainRow<'a> {
    fault_domain: FaultDomainRow<'a>,
}

#[derive(Serialize)]
struct FaultDomainRow<'a> {
    region: NameRow<'a>,
    zone: NameRow<'a>,
}

#[derive(Serialize)]
struct NameRow<'a> {
    name: &'a str,
}

pub(super) fn domain(domain: Option<&FaultDomain>) -> Option<DomainRow<'_>> {
    domain.map(|domain| DomainRow {
        fault_domain: FaultDomainRow {
            region: NameRow { name: &domain.region },
            zone: NameRow { name: &domain.zone },
        },
    })
}

/// Attributes by name: numbers as numbers, all else as text; of one name the last.
pub(super) struct AttributeRows<'a>(pub(super) &'a Attributes);

#[derive(Serialize)]
#[serde(untagged)]
enum AttributeShown<'a> {
    Number(f64),
    Text(&'a str),
    Written(String),
}

impl Serialize for AttributeRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let by_name: BTreeMap<&str, &AttributeValue> =
            self.0.iter().map(|attribute| (attribute.name(), attribute.value())).collect();
        let mut map = serializer.serialize_map(Some(by_name.len()))?;
        for (name, value) in by_name {
            let shown = match value {
                AttributeValue::Scalar(amount) => AttributeShown::Number(number::double(*amount)),
                AttributeValue::Ranges(ranges) => AttributeShown::Written(ranges_text(ranges)),
                AttributeValue::Set(set) => AttributeShown::Written(set_text(set)),
                AttributeValue::Text(text) => AttributeShown::Text(text.as_str()),
            };
            map.serialize_entry(name, &shown)?;
        }
        map.end()
    }
}

/// Mesos's name of a value of one of its enums.
pub(crate) fn name_of<E: Names>(number: i32) -> &'static str {
    E::NAMES.iter().find(|(_, of)| *of == number).map_or("", |(name, _)| *name)
}

/// Mesos's name of a task's state.
pub(super) fn state_name(state: TaskState) -> &'static str {
    name_of::<schema::TaskState>(status::written_state(state) as i32)
}
