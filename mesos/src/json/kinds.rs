//! What the value of a field can be.

use std::marker::PhantomData;

use base64::{Engine as _, alphabet, engine};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{FromJson, Mismatch, Names, Trail};
use crate::weight::{self, Scale, Unfit};

/// Written with padding; read with or without.
const BASE64: engine::GeneralPurpose = engine::GeneralPurpose::new(
    &alphabet::STANDARD,
    engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(engine::DecodePaddingMode::Indifferent),
);

/// A kind of value.
pub(crate) trait Kind {
    type Value;

    /// Whether one payload may hold several values.
    const PACKED: bool = true;

    /// Adds what a value takes beside its place in its message or list.
    fn weigh(_payload: &[u8], _scale: &mut Scale) -> Result<(), Unfit> {
        Ok(())
    }

    /// Reads a value that is not `null`; nothing when it is to be ignored.
    fn read(value: Value, trail: &mut Trail) -> Result<Option<Self::Value>, Mismatch>;

    fn write<S: Serializer>(value: &Self::Value, serializer: S) -> Result<S::Ok, S::Error>;

    /// Whether it is a value at all: protobuf may bring numbers that an enum does not have.
    fn is_known(_value: &Self::Value) -> bool {
        true
    }

    fn find_missing(_value: &Self::Value, _trail: &mut Trail, _missing: &mut Vec<String>) {}
}

/// A value that serialises by the rules of its kind.
pub(crate) struct Shown<'a, K: Kind>(pub(crate) &'a K::Value);

impl<K: Kind> Serialize for Shown<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        K::write(self.0, serializer)
    }
}

pub(crate) struct Text;

impl Kind for Text {
    type Value = String;

    const PACKED: bool = false;

    fn weigh(payload: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
        scale.add_piece(payload.len())
    }

    fn read(value: Value, trail: &mut Trail) -> Result<Option<String>, Mismatch> {
        let Value::String(text) = value else { return Err(trail.mismatch("a text")) };
        Ok(Some(text))
    }

    fn write<S: Serializer>(value: &String, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value)
    }
}

pub(crate) struct Bytes;

impl Kind for Bytes {
    type Value = Vec<u8>;

    const PACKED: bool = false;

    fn weigh(payload: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
        scale.add_piece(payload.len())
    }

    fn read(value: Value, trail: &mut Trail) -> Result<Option<Vec<u8>>, Mismatch> {
        let bytes = value.as_str().and_then(|text| BASE64.decode(text).ok());
        bytes.map(Some).ok_or_else(|| trail.mismatch("bytes in base64"))
    }

    fn write<S: Serializer>(value: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(value))
    }
}

pub(crate) struct Bool;

impl Kind for Bool {
    type Value = bool;

    fn read(value: Value, trail: &mut Trail) -> Result<Option<bool>, Mismatch> {
        let written = || match value.as_str() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) | None => None,
        };
        let truth = value.as_bool().or_else(written);
        truth.map(Some).ok_or_else(|| trail.mismatch("true or false"))
    }

    fn write<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*value)
    }
}

pub(crate) struct Double;

impl Kind for Double {
    type Value = f64;

    fn read(value: Value, trail: &mut Trail) -> Result<Option<f64>, Mismatch> {
        // As a text also "Infinity" and "NaN".
        let written = || value.as_str().and_then(|text| text.parse().ok());
        let number = value.as_f64().or_else(written);
        number.map(Some).ok_or_else(|| trail.mismatch("a number"))
    }

    fn write<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            return serializer.serialize_f64(*value);
        }
        serializer.serialize_str(match (value.is_nan(), value.is_sign_negative()) {
            (true, _) => "NaN",
            (false, true) => "-Infinity",
            (false, false) => "Infinity",
        })
    }
}

/// Whole numbers of one width.
pub(crate) struct Whole<N>(PhantomData<N>);

impl<N> Kind for Whole<N>
where
    N: TryFrom<i128> + Serialize,
{
    type Value = N;

    fn read(value: Value, trail: &mut Trail) -> Result<Option<N>, Mismatch> {
        let written = || value.as_str().and_then(|text| text.parse().ok());
        let number = value.as_number().and_then(whole).or_else(written);
        let number = number.and_then(|number: i128| N::try_from(number).ok());
        number.map(Some).ok_or_else(|| trail.mismatch("a whole number that fits"))
    }

    fn write<S: Serializer>(value: &N, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }
}

/// `5`, and `5.0` too, as some languages write every number.
fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i128().or_else(|| {
        let text = number.to_string();
        text.strip_suffix(".0")?.parse().ok()
    })
}

/// An enum, kept as its number.
pub(crate) struct Enum<E>(PhantomData<E>);

impl<E: Names> Kind for Enum<E> {
    type Value = i32;

    /// A name that is not known is as good as none.
    fn read(value: Value, trail: &mut Trail) -> Result<Option<i32>, Mismatch> {
        let Value::String(text) = value else {
            return Err(trail.mismatch("the name of an enum's value"));
        };
        Ok(E::NAMES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number))
    }

    fn write<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        match E::NAMES.iter().find(|(_, number)| number == value) {
            Some((name, _)) => serializer.serialize_str(name),
            None => serializer.serialize_i32(*value),
        }
    }

    fn is_known(value: &i32) -> bool {
        E::NAMES.iter().any(|(_, number)| number == value)
    }
}

/// A message.
pub(crate) struct Msg<M>(PhantomData<M>);

impl<M: FromJson + Serialize> Kind for Msg<M> {
    type Value = M;

    const PACKED: bool = false;

    fn weigh(payload: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
        weight::weigh::<M>(payload, scale)
    }

    fn read(value: Value, trail: &mut Trail) -> Result<Option<M>, Mismatch> {
        let Value::Object(object) = value else { return Err(trail.mismatch("an object")) };
        M::from_json(object, trail).map(Some)
    }

    fn write<S: Serializer>(value: &M, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    fn find_missing(value: &M, trail: &mut Trail, missing: &mut Vec<String>) {
        value.find_missing(trail, missing);
    }
}

/// A message that holds others of its kind, or that is large and rare.
pub(crate) struct Boxed<M>(PhantomData<M>);

impl<M: FromJson + Serialize> Kind for Boxed<M> {
    type Value = Box<M>;

    const PACKED: bool = false;

    fn weigh(payload: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
        scale.add_piece(size_of::<M>())?;
        weight::weigh::<M>(payload, scale)
    }

    fn read(value: Value, trail: &mut Trail) -> Result<Option<Box<M>>, Mismatch> {
        trail.add(size_of::<M>())?;
        Ok(Msg::<M>::read(value, trail)?.map(Box::new))
    }

    fn write<S: Serializer>(value: &Box<M>, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    fn find_missing(value: &Box<M>, trail: &mut Trail, missing: &mut Vec<String>) {
        value.find_missing(trail, missing);
    }
}
