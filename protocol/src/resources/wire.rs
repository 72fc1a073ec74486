//! The wire form of resources.
//!
//! Resources are a list of maps: `name`, optionally `metadata`, and exactly one of `scalar` (in
//! thousandths), `ranges` (a list of pairs) and `set` (a list of texts). One flat map instead of a
//! tagged enum costs the fewest bytes and lets a later release add fields. Unknown fields are
//! ignored; what breaks an invariant of the types is refused.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Amount, ENTRIES_MAX, Metadata, Ranges, Resource, ResourceName, Resources, Set, Value};

/// A list that is decoded only up to `MAX` elements, so that a message cannot make its reader
/// build more than the type allows.
#[derive(Debug)]
pub(crate) struct Bounded<T, const MAX: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVisitor::<T, MAX>(PhantomData)).map(Bounded)
    }
}

/// Collects the elements of a [`Bounded`].
struct BoundedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BoundedVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// What is written for a [`Resource`].
#[derive(Serialize)]
struct Out<'a> {
    name: &'a ResourceName,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scalar: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<&'a Ranges>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<&'a Set>,
}

/// What is read for a [`Resource`].
#[derive(Deserialize)]
struct In {
    name: ResourceName,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    scalar: Option<Amount>,
    #[serde(default)]
    ranges: Option<Ranges>,
    #[serde(default)]
    set: Option<Set>,
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let metadata = Some(self.metadata()).filter(|metadata| **metadata != Metadata::default());
        let mut out = Out { name: self.name(), metadata, scalar: None, ranges: None, set: None };
        match self.value() {
            Value::Scalar(amount) => out.scalar = Some(*amount),
            Value::Ranges(ranges) => out.ranges = Some(ranges),
            Value::Set(set) => out.set = Some(set),
        }
        out.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let In { name, metadata, scalar, ranges, set } = In::deserialize(deserializer)?;
        let value = match (scalar, ranges, set) {
            (Some(amount), None, None) => Value::Scalar(amount),
            (None, Some(ranges), None) => Value::Ranges(ranges),
            (None, None, Some(set)) => Value::Set(set),
            _ => {
                return Err(D::Error::custom(format_args!(
                    "resource `{name}` must have exactly one of scalar, ranges and set"
                )));
            }
        };
        Resource::new(name, metadata, value).map_err(D::Error::custom)
    }
}

impl Serialize for Resources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Resources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Bounded::<Resource, ENTRIES_MAX>::deserialize(deserializer)?.0;
        if let Some(empty) = entries.iter().find(|entry| entry.is_empty()) {
            return Err(D::Error::custom(format_args!("resource `{empty}` holds nothing")));
        }
        let count = entries.len();
        let resources: Resources = entries.into_iter().collect();
        if resources.len() != count {
            return Err(D::Error::custom("a resource is given twice"));
        }
        Ok(resources)
    }
}
