//! Values of resources and their arithmetic.

use std::fmt;

use super::{Amount, Ranges, Set};

/// How much of a resource, or which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An amount.
    Scalar(Amount),
    /// Some of a range of numbers.
    Ranges(Ranges),
    /// Some of a set of words.
    Set(Set),
}

/// The kinds of values, which do not mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// An amount.
    Scalar,
    /// Ranges of numbers.
    Ranges,
    /// A set of words.
    Set,
}

impl fmt::Display for ValueKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ValueKind::Scalar => "a number",
            ValueKind::Ranges => "ranges",
            ValueKind::Set => "a set",
        })
    }
}

impl Value {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Value::Scalar(_) => ValueKind::Scalar,
            Value::Ranges(_) => ValueKind::Ranges,
            Value::Set(_) => ValueKind::Set,
        }
    }

    /// Whether this is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Scalar(amount) => amount.is_zero(),
            Value::Ranges(ranges) => ranges.is_empty(),
            Value::Set(set) => set.is_empty(),
        }
    }

    /// Whether `other` is of the same kind and can be taken away from this.
    #[must_use]
    pub fn contains(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Scalar(have), Value::Scalar(want)) => have >= want,
            (Value::Ranges(have), Value::Ranges(want)) => have.contains(want),
            (Value::Set(have), Value::Set(want)) => have.contains(want),
            _ => false,
        }
    }

    /// What is in both: the smaller amount, the common numbers or words. Nothing when the kinds
    /// differ.
    #[must_use]
    pub fn intersection(&self, other: &Value) -> Option<Value> {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => Some(Value::Scalar(*a.min(b))),
            (Value::Ranges(a), Value::Ranges(b)) => Some(Value::Ranges(a.intersection(b))),
            (Value::Set(a), Value::Set(b)) => Some(Value::Set(a.intersection(b))),
            _ => None,
        }
    }

    /// Adds a value of the same kind: amounts are summed (cut to what fits), ranges and sets are
    /// united. A value of another kind is ignored; the keys of the collection keep kinds apart.
    pub(super) fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => *a = a.saturating_add(*b),
            (Value::Ranges(a), Value::Ranges(b)) => *a = a.union(b),
            (Value::Set(a), Value::Set(b)) => *a = a.union(b),
            (_, other) => debug_assert!(false, "added {} to another kind", other.kind()),
        }
    }

    /// Takes away a value of the same kind, as far as it is there. A value of another kind is
    /// ignored; the keys of the collection keep kinds apart.
    pub(super) fn subtract(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => *a = a.remaining_after(*b),
            (Value::Ranges(a), Value::Ranges(b)) => *a = a.difference(b),
            (Value::Set(a), Value::Set(b)) => *a = a.difference(b),
            (_, other) => debug_assert!(false, "took {} from another kind", other.kind()),
        }
    }
}

/// The text form: `24`, `[1-2,5-9]` or `{a,b}`.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(amount) => amount.fmt(formatter),
            Value::Ranges(ranges) => ranges.fmt(formatter),
            Value::Set(set) => set.fmt(formatter),
        }
    }
}

impl From<Amount> for Value {
    fn from(amount: Amount) -> Self {
        Value::Scalar(amount)
    }
}

impl From<Ranges> for Value {
    fn from(ranges: Ranges) -> Self {
        Value::Ranges(ranges)
    }
}

impl From<Set> for Value {
    fn from(set: Set) -> Self {
        Value::Set(set)
    }
}
