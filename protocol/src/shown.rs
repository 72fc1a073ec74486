//! JSON for people and scripts: amounts as numbers in their units, everything else as text.
//!
//! The forms for `#[serde(serialize_with = "..")]`. They are written only: what nodes tell each other
//! has the exact forms of the types themselves.

mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    attributes::{AttributeValue, Attributes},
    check::CheckStatus,
    resources::{Amount, Resource, ResourceName, Resources, ScalarQuantities, Value},
    task::Exit,
};

pub use wanted::{Wanted, WantedError};

/// `{"cpus": 2.5, "mem": 1024}`.
///
/// # Errors
/// Those of the serializer.
pub fn quantities_as_map<S: Serializer>(
    quantities: &ScalarQuantities,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(quantities.iter().map(|(name, amount)| (name.as_str(), Number(amount))))
}

/// The same of amounts that may be zero.
///
/// # Errors
/// Those of the serializer.
pub fn amounts_as_map<S: Serializer>(
    amounts: &BTreeMap<ResourceName, Amount>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(amounts.iter().map(|(name, amount)| (name.as_str(), Number(*amount))))
}

/// `{"cpus": 2.5, "mem": 1024, "ports": "[31000-32000]", "cpus(role)": 1}`: amounts as numbers,
/// ranges and sets in their text form, reserved resources under `name(role)`.
///
/// # Errors
/// Those of the serializer.
pub fn resources_as_map<S: Serializer>(
    resources: &Resources,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    // Static and dynamic reservations of a role, and those of several principals, are shown as one.
    let mut by_key: BTreeMap<String, Resources> = BTreeMap::new();
    for resource in resources {
        let alone: Resources = resource.clone().into();
        *by_key.entry(key_of(resource)).or_default() += &alone.flatten();
    }
    let mut map = serializer.serialize_map(Some(by_key.len()))?;
    for (key, resource) in by_key.iter().flat_map(|(key, it)| it.iter().map(move |it| (key, it))) {
        match resource.value() {
            Value::Scalar(amount) => map.serialize_entry(key, &Number(*amount))?,
            Value::Ranges(ranges) => map.serialize_entry(key, &ranges.to_string())?,
            Value::Set(set) => map.serialize_entry(key, &set.to_string())?,
        }
    }
    map.end()
}

/// `cpus:2;disk(db)[v]:500`: as the text form, which does not tell one volume from another.
#[must_use]
pub fn text_of(resources: &Resources) -> String {
    let one = |it: &Resource| format!("{}:{}", key_of(it), it.value());
    resources.iter().map(one).collect::<Vec<_>>().join(";")
}

/// The key of a resource in such a map: its name, with the role it is reserved for and what else tells it from others
/// of its name.
#[must_use]
pub fn key_of(resource: &Resource) -> String {
    let metadata = resource.metadata();
    let mut key = match metadata.reserved_role() {
        None => resource.name().to_string(),
        Some(role) => format!("{}({role})", resource.name()),
    };
    if let Some(disk) = &metadata.disk {
        let volume = disk.volume.as_ref().map(|volume| volume.id.as_str());
        let source = disk.source.as_ref().map(|source| source.root.as_str());
        let parts: Vec<&str> = [source, volume].into_iter().flatten().collect();
        key += &format!("[{}]", parts.join(":"));
    }
    if metadata.revocable {
        key += "{revocable}";
    }
    key
}

/// `{"rack": "abc", "level": 10, "keys": "[1000-1500]"}`; of a name that stands several times, the
/// first.
///
/// # Errors
/// Those of the serializer.
pub fn attributes_as_map<S: Serializer>(
    attributes: &Attributes,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    let mut seen = BTreeSet::new();
    for attribute in attributes.iter() {
        if !seen.insert(attribute.name()) {
            continue;
        }
        match attribute.value() {
            AttributeValue::Scalar(amount) => {
                map.serialize_entry(attribute.name(), &Number(*amount))?;
            }
            other @ (AttributeValue::Ranges(_)
            | AttributeValue::Set(_)
            | AttributeValue::Text(_)) => {
                map.serialize_entry(attribute.name(), &other.to_string())?;
            }
        }
    }
    map.end()
}

/// An amount as a JSON number: whole ones without a fraction.
struct Number(Amount);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_whole() {
            return serializer.serialize_i64(self.0.units());
        }
        match self.0.to_string().parse::<f64>() {
            Ok(number) => serializer.serialize_f64(number),
            Err(_) => serializer.collect_str(&self.0),
        }
    }
}

/// How a process ended: `{"code": 0}`, `{"signal": 9}`, or `{"unreadable": "why"}`.
///
/// # Errors
/// Those of the serializer.
pub fn exit_as_map<S: Serializer>(exit: &Option<Exit>, serializer: S) -> Result<S::Ok, S::Error> {
    match exit {
        None => serializer.serialize_none(),
        Some(Exit::Code { code }) => serializer.collect_map([("code", code)]),
        Some(Exit::Signal { signal }) => serializer.collect_map([("signal", signal)]),
        Some(Exit::Unreadable { why }) => serializer.collect_map([("unreadable", why)]),
        Some(Exit::Unknown) => {
            serializer.collect_map([("unreadable", "this release does not know how")])
        }
    }
}

/// What a check has found: one of `exit_code`, `status_code` and `succeeded`, or nothing yet.
///
/// # Errors
/// Those of the serializer.
pub fn check_as_map<S: Serializer>(
    status: &Option<CheckStatus>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match status {
        None => serializer.serialize_none(),
        Some(CheckStatus::Command { exit_code }) => {
            serializer.collect_map(exit_code.map(|code| ("exit_code", code)))
        }
        Some(CheckStatus::Http { status_code }) => {
            serializer.collect_map(status_code.map(|code| ("status_code", code)))
        }
        Some(CheckStatus::Tcp { succeeded }) => {
            serializer.collect_map(succeeded.map(|succeeded| ("succeeded", succeeded)))
        }
        Some(CheckStatus::Unknown) => serializer.collect_map([("unknown", true)]),
    }
}

/// Thousandths as a decimal text, `"2.5"`, as weights are shown.
///
/// # Errors
/// Those of the serializer.
pub fn millis_as_text<S: Serializer>(millis: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Amount::from_millis(i64::try_from(*millis).unwrap_or(i64::MAX)))
}

/// Resources by their keys as maps: see [`resources_as_map`] and [`key_of`].
///
/// # Errors
/// Those of the serializer.
pub fn resources_by_key<S: Serializer>(
    parts: &BTreeMap<String, Resources>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    // No two of them have a key in common, so one map holds them all.
    resources_as_map(&parts.values().sum::<Resources>(), serializer)
}
