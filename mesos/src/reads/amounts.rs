//! Resources as the older endpoints have them: by name, whoever they are reserved for.

use std::{borrow::Cow, collections::BTreeMap};

use meshos_protocol::{
    resources::{Amount, Ranges, Resource, Resources, Set, Value},
    role::Role,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    convert::{number, resource},
    schema,
};

/// Always there, so that who reads them need not look whether they are.
const ALWAYS: [&str; 4] = ["cpus", "disk", "gpus", "mem"];

/// `{"cpus": 4.0, "disk": 0.0, "gpus": 0.0, "mem": 1024.0, "ports": "[31000-32000]"}`; what may be taken back stands
/// under its name with `_revocable`.
pub(super) struct Amounts<R>(pub(super) R);

enum Sum<'a> {
    Scalar(Amount),
    Ranges(Cow<'a, Ranges>),
    Set(Cow<'a, Set>),
}

impl<'a> Sum<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Scalar(amount) => Self::Scalar(*amount),
            Value::Ranges(ranges) => Self::Ranges(Cow::Borrowed(ranges)),
            Value::Set(set) => Self::Set(Cow::Borrowed(set)),
        }
    }

    /// A name has one kind of value; of another kind nothing is added.
    fn add(&mut self, value: &Value) {
        match (self, value) {
            (Self::Scalar(sum), Value::Scalar(amount)) => *sum = sum.saturating_add(*amount),
            (Self::Ranges(sum), Value::Ranges(ranges)) => *sum = Cow::Owned(sum.union(ranges)),
            (Self::Set(sum), Value::Set(set)) => *sum = Cow::Owned(sum.union(set)),
            (Self::Scalar(_), Value::Ranges(_) | Value::Set(_))
            | (Self::Ranges(_), Value::Scalar(_) | Value::Set(_))
            | (Self::Set(_), Value::Scalar(_) | Value::Ranges(_)) => {}
        }
    }
}

fn key(resource: &Resource) -> Cow<'_, str> {
    let name = resource.name().as_str();
    if resource.metadata().revocable {
        Cow::Owned(format!("{name}_revocable"))
    } else {
        Cow::Borrowed(name)
    }
}

impl<'a, R> Serialize for Amounts<R>
where
    R: Iterator<Item = &'a Resource> + Clone,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nothing = ALWAYS.map(|name| (Cow::Borrowed(name), Sum::Scalar(Amount::ZERO)));
        let mut sums: BTreeMap<Cow<'_, str>, Sum<'_>> = nothing.into();
        for resource in self.0.clone() {
            sums.entry(key(resource))
                .and_modify(|sum| sum.add(resource.value()))
                .or_insert_with(|| Sum::of(resource.value()));
        }
        let mut map = serializer.serialize_map(Some(sums.len()))?;
        for (name, sum) in &sums {
            match sum {
                Sum::Scalar(amount) => map.serialize_entry(name, &number::double(*amount))?,
                Sum::Ranges(ranges) => map.serialize_entry(name, &ranges_text(ranges))?,
                Sum::Set(set) => map.serialize_entry(name, &set_text(set))?,
            }
        }
        map.end()
    }
}

/// Amounts of all of some resources.
pub(super) type All<'a> = Amounts<std::slice::Iter<'a, Resource>>;

/// All of some resources.
pub(super) fn all(resources: &Resources) -> All<'_> {
    Amounts(resources.iter())
}

/// Those that are nobody's in particular.
pub(super) fn unreserved(
    resources: &Resources,
) -> Amounts<impl Iterator<Item = &Resource> + Clone> {
    Amounts(resources.iter().filter(|resource| resource.metadata().is_unreserved()))
}

/// Those that are reserved, by role.
pub(super) struct Reserved<'a>(pub(super) &'a Resources);

/// The roles for which something is reserved.
fn roles(resources: &Resources) -> std::collections::BTreeSet<&Role> {
    resources.iter().filter_map(|resource| resource.metadata().reserved_role()).collect()
}

fn of_role<'a>(
    resources: &'a Resources,
    role: &'a Role,
) -> impl Iterator<Item = &'a Resource> + Clone {
    resources.iter().filter(move |resource| resource.metadata().reserved_role() == Some(role))
}

impl Serialize for Reserved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = roles(self.0).into_iter();
        serializer.collect_map(entries.map(|role| (role.as_str(), Amounts(of_role(self.0, role)))))
    }
}

/// What is reserved, by role, each resource with all that is known of it.
pub(super) struct ReservedFull<'a>(pub(super) &'a Resources);

impl Serialize for ReservedFull<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let full = |role| of_role(self.0, role).map(resource::write_plain).collect();
        let entries = roles(self.0).into_iter();
        serializer.collect_map(entries.map(|role| {
            let resources: Vec<schema::Resource> = full(role);
            (role.as_str(), resources)
        }))
    }
}

/// What is nobody's, with all that is known of it.
pub(super) fn unreserved_full(resources: &Resources) -> Vec<schema::Resource> {
    let free = resources.iter().filter(|resource| resource.metadata().is_unreserved());
    free.map(resource::write_plain).collect()
}

/// All of them with all that is known.
pub(super) fn full(resources: &Resources) -> Vec<schema::Resource> {
    resources.iter().map(resource::write_plain).collect()
}

/// `[1-2, 5-6]`.
pub(super) fn ranges_text(ranges: &Ranges) -> String {
    let ranges: Vec<String> =
        ranges.iter().map(|range| format!("{}-{}", range.begin(), range.end())).collect();
    format!("[{}]", ranges.join(", "))
}

/// `{a, b}`.
pub(super) fn set_text(set: &Set) -> String {
    let items: Vec<&str> = set.iter().collect();
    format!("{{{}}}", items.join(", "))
}
