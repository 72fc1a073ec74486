//! The wire form of attributes: a list of maps with `name` and exactly one of `scalar` (in
//! thousandths), `ranges`, `set` and `text`. Unknown fields are ignored; what breaks an invariant
//! of the types is refused.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ATTRIBUTES_MAX, Attribute, AttributeText, AttributeValue, Attributes};
use crate::resources::{Amount, Bounded, Ranges, Set};

/// What is written for an [`Attribute`].
#[derive(Serialize)]
struct Out<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scalar: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<&'a Ranges>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<&'a Set>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// What is read for an [`Attribute`].
#[derive(Deserialize)]
struct In {
    name: String,
    #[serde(default)]
    scalar: Option<Amount>,
    #[serde(default)]
    ranges: Option<Ranges>,
    #[serde(default)]
    set: Option<Set>,
    #[serde(default)]
    text: Option<String>,
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Out { name: self.name(), scalar: None, ranges: None, set: None, text: None };
        match self.value() {
            AttributeValue::Scalar(amount) => out.scalar = Some(*amount),
            AttributeValue::Ranges(ranges) => out.ranges = Some(ranges),
            AttributeValue::Set(set) => out.set = Some(set),
            AttributeValue::Text(text) => out.text = Some(text.as_str()),
        }
        out.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let In { name, scalar, ranges, set, text } = In::deserialize(deserializer)?;
        let value = match (scalar, ranges, set, text) {
            (Some(amount), None, None, None) => AttributeValue::Scalar(amount),
            (None, Some(ranges), None, None) => AttributeValue::Ranges(ranges),
            (None, None, Some(set), None) => AttributeValue::Set(set),
            (None, None, None, Some(text)) => {
                AttributeValue::Text(AttributeText::new(&text).map_err(D::Error::custom)?)
            }
            _ => {
                return Err(D::Error::custom(
                    "an attribute must have exactly one of scalar, ranges, set and text",
                ));
            }
        };
        Attribute::new(&name, value)
            .map_err(|error| D::Error::custom(format_args!("invalid attribute name: {error}")))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let attributes = Bounded::<Attribute, ATTRIBUTES_MAX>::deserialize(deserializer)?.0;
        Attributes::new(attributes).map_err(D::Error::custom)
    }
}
