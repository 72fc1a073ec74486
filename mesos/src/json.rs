//! The rules by which Mesos reads and writes its messages as JSON.
//!
//! Reading is lenient where Mesos is: what it does not know is ignored, `null` is nothing, a single
//! value is a list of one, numbers and truth values may be texts. Writing is plain: one line, bytes in
//! base64, what has a default with it.

mod kinds;
mod labels;

pub(crate) use kinds::{Bool, Boxed, Bytes, Double, Enum, Msg, Text, Whole};
pub(crate) use labels::{map, opt, rep, req};

use std::fmt;

use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// An enum of the schema.
pub(crate) trait Names {
    /// Its names with their numbers.
    const NAMES: &'static [(&'static str, i32)];
}

/// A message of the schema.
pub(crate) trait FromJson: Sized {
    /// Takes the fields that it knows.
    fn from_json(object: Object, trail: &mut Trail) -> Result<Self, Mismatch>;

    /// Adds the paths of required fields that are not there.
    fn find_missing(&self, trail: &mut Trail, missing: &mut Vec<String>);
}

/// Where in a message the reader is.
#[derive(Debug, Default)]
pub(crate) struct Trail(String);

/// The most that is told of a field's name, in characters.
const TRAIL_FIELD_CHARS_MAX: usize = 64;
/// So many missing fields are told, so that an answer is not much longer than the question.
pub(crate) const MISSING_MAX: usize = 16;

impl Trail {
    /// Goes into a field for as long as `inside` runs.
    fn within<T>(&mut self, field: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        // The key of a map is as long as its sender likes.
        self.0.extend(field.chars().take(TRAIL_FIELD_CHARS_MAX));
        let done = inside(self);
        self.0.truncate(length);
        done
    }

    fn mismatch(&self, expected: &'static str) -> Mismatch {
        Mismatch { path: self.0.clone(), expected }
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A value of another kind than its field has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} for `{path}`")]
pub(crate) struct Mismatch {
    path: String,
    expected: &'static str,
}

/// The name of a field: Rust writes `type` with a prefix.
fn plain(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// Reads a whole message.
pub(crate) fn read<M: FromJson>(value: Value) -> Result<M, Mismatch> {
    let Value::Object(object) = value else {
        return Err(Mismatch { path: "the message".to_owned(), expected: "an object" });
    };
    M::from_json(object, &mut Trail::default())
}

/// The required fields that are not there, by their paths.
pub(crate) fn all_missing<M: FromJson>(message: &M) -> Vec<String> {
    let mut missing = Vec::new();
    message.find_missing(&mut Trail::default(), &mut missing);
    missing
}
