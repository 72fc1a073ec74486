//! The rules by which Mesos reads and writes its messages as JSON.
//!
//! Reading is lenient where Mesos is: what it does not know is ignored, `null` is nothing, a single
//! value is a list of one, numbers and truth values may be texts. Writing is plain: one line, bytes in
//! base64, what has a default with it.

mod kinds;
mod labels;

pub(crate) use kinds::{Bool, Boxed, Bytes, Double, Enum, Msg, Text, Whole};
pub(crate) use labels::{all, map, opt, rep, req};

use std::fmt;

use serde_json::{Map, Value};

use crate::weight::{Scale, Weigh};

pub(crate) type Object = Map<String, Value>;

/// An enum of the schema.
pub(crate) trait Names {
    /// Its names with their numbers.
    const NAMES: &'static [(&'static str, i32)];
}

/// A message of the schema.
pub(crate) trait FromJson: Weigh + Sized {
    /// Takes the fields that it knows.
    fn from_json(object: Object, trail: &mut Trail) -> Result<Self, Mismatch>;

    /// Adds the paths of required fields that are not there.
    fn find_missing(&self, trail: &mut Trail, missing: &mut Vec<String>);
}

/// Where in a message the reader is, and what it has made so far.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    path: String,
    scale: Scale,
}

/// The most that is told of a field's name, in characters.
const TRAIL_FIELD_CHARS_MAX: usize = 64;
/// So many missing fields are told, so that an answer is not much longer than the question.
pub(crate) const MISSING_MAX: usize = 16;

impl Trail {
    /// Goes into a field for as long as `inside` runs.
    fn within<T>(&mut self, field: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        // The key of a map is as long as its sender likes.
        self.path.extend(field.chars().take(TRAIL_FIELD_CHARS_MAX));
        let done = inside(self);
        self.path.truncate(length);
        done
    }

    fn mismatch(&self, expected: &'static str) -> Mismatch {
        Mismatch::Kind { path: self.path.clone(), expected }
    }

    /// Makes something that takes so many bytes.
    fn add(&mut self, bytes: usize) -> Result<(), Mismatch> {
        self.scale.add(bytes).map_err(|_| Mismatch::TooHeavy)
    }

    /// Makes an entry of a map.
    fn add_entry<T>(&mut self) -> Result<(), Mismatch> {
        self.scale.add_entry::<T>().map_err(|_| Mismatch::TooHeavy)
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path)
    }
}

/// Why a value is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// It is of another kind than its field has.
    #[error("expected {expected} for `{path}`")]
    Kind { path: String, expected: &'static str },
    /// The message would take more memory than it may.
    #[error("the message is too large")]
    TooHeavy,
}

/// The name of a field: Rust writes `type` with a prefix.
fn plain(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// Reads a whole message, and tells what it takes beside what is on the scale already.
pub(crate) fn weigh_and_read<M: FromJson>(
    value: Value,
    scale: Scale,
) -> Result<(M, Scale), Mismatch> {
    let Value::Object(object) = value else {
        return Err(Mismatch::Kind { path: "the message".to_owned(), expected: "an object" });
    };
    let mut trail = Trail { path: String::new(), scale };
    Ok((M::from_json(object, &mut trail)?, trail.scale))
}

/// Reads a whole message.
#[cfg(test)]
pub(crate) fn read<M: FromJson>(value: Value) -> Result<M, Mismatch> {
    weigh_and_read(value, Scale::default()).map(|(message, _)| message)
}

/// The required fields that are not there, by their paths.
pub(crate) fn all_missing<M: FromJson>(message: &M) -> Vec<String> {
    let mut missing = Vec::new();
    message.find_missing(&mut Trail::default(), &mut missing);
    missing
}
