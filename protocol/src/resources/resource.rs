//! One resource.

use std::cmp::Ordering;
use std::fmt;

use super::{Amount, Metadata, MetadataError, ResourceName, Value, ValueKind};
use crate::role::Role;
use crate::text::TextError;

/// The largest amount of one resource that is accepted from outside: 10^12 units, for disk and
/// memory an exabyte. So thousands of hostile nodes together cannot bring a sum to its limit.
pub const AMOUNT_MAX: Amount = Amount::whole(1_000_000_000_000);

/// The most entries that resources or attributes may have, in a text and on the wire.
pub const ENTRIES_MAX: usize = 1_000;

/// A name, metadata and a value that fit together: well-known names have their kind of value,
/// amounts are not negative and at most [`AMOUNT_MAX`], and gpus are whole.
///
/// The order is by metadata, then name, then kind of value: the order of printing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    // The order of the fields is the order of comparison.
    metadata: Metadata,
    name: ResourceName,
    value: Value,
}

/// Why a name and a value do not make a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// The text is no name.
    #[error("invalid resource name: {0}")]
    Name(#[from] TextError),
    /// The metadata do not fit together.
    #[error("resource `{name}`: {error}")]
    Metadata {
        /// The name.
        name: ResourceName,
        /// What is wrong.
        error: MetadataError,
    },
    /// A well-known name with another kind of value than it has.
    #[error("the value of `{name}` must be {expected}, not {found}")]
    Kind {
        /// The name.
        name: ResourceName,
        /// The kind that the name has.
        expected: ValueKind,
        /// The kind that was given.
        found: ValueKind,
    },
    /// An amount below zero.
    #[error("the amount of `{name}` must not be negative, it is {amount}")]
    Negative {
        /// The name.
        name: ResourceName,
        /// The amount.
        amount: Amount,
    },
    /// An amount above [`AMOUNT_MAX`].
    #[error("the amount of `{name}` must be at most {AMOUNT_MAX}, it is {amount}")]
    TooLarge {
        /// The name.
        name: ResourceName,
        /// The amount.
        amount: Amount,
    },
    /// A fraction of what comes in whole devices only.
    #[error("the amount of `{name}` must be a whole number, it is {amount}")]
    Fraction {
        /// The name.
        name: ResourceName,
        /// The amount.
        amount: Amount,
    },
}

impl Resource {
    /// Puts a resource together.
    ///
    /// # Errors
    ///
    /// When name and value do not fit together, see [`Resource`].
    pub fn new(
        name: ResourceName,
        metadata: Metadata,
        value: impl Into<Value>,
    ) -> Result<Self, ResourceError> {
        let value = value.into();
        check(&name, &value)?;
        if let Err(error) = metadata.check(name == ResourceName::Disk) {
            return Err(ResourceError::Metadata { name, error });
        }
        Ok(Resource { metadata, name, value })
    }

    /// An unreserved resource.
    ///
    /// # Errors
    ///
    /// When `name` is no name, or name and value do not fit together, see [`Resource`].
    pub fn unreserved(name: &str, value: impl Into<Value>) -> Result<Self, ResourceError> {
        Resource::new(ResourceName::new(name)?, Metadata::UNRESERVED, value)
    }

    /// A resource reserved for `role`; unreserved when that is `*`.
    ///
    /// # Errors
    ///
    /// When `name` is no name, or name and value do not fit together, see [`Resource`].
    pub fn reserved(
        name: &str,
        role: Role,
        value: impl Into<Value>,
    ) -> Result<Self, ResourceError> {
        Resource::new(ResourceName::new(name)?, Metadata::reserved_for(role), value)
    }

    /// What it is.
    #[must_use]
    pub fn name(&self) -> &ResourceName {
        &self.name
    }

    /// What tells it apart from others of its name.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How much of it, or which.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The amount, when the value is one.
    #[must_use]
    pub fn amount(&self) -> Option<Amount> {
        if let Value::Scalar(amount) = self.value { Some(amount) } else { None }
    }

    /// The same resource with so much of it, or nothing when the value is no amount.
    #[must_use]
    pub fn with_amount(&self, amount: Amount) -> Option<Self> {
        self.amount()?;
        Resource::new(self.name.clone(), self.metadata.clone(), amount).ok()
    }

    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    /// The same of another value of the same kind, which algebra has kept valid.
    pub(super) fn with_value(&self, value: Value) -> Self {
        debug_assert_eq!(self.value.kind(), value.kind(), "the kind belongs to the key");
        Resource { metadata: self.metadata.clone(), name: self.name.clone(), value }
    }

    /// The same with other metadata.
    pub(super) fn with_metadata(&self, metadata: Metadata) -> Self {
        Resource { metadata, name: self.name.clone(), value: self.value.clone() }
    }

    /// The value, for the algebra.
    pub(super) fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }

    /// Compares what identifies an entry of a collection.
    pub(super) fn key_cmp(&self, other: &Resource) -> Ordering {
        self.metadata
            .cmp(&other.metadata)
            .then_with(|| self.name.cmp(&other.name))
            .then_with(|| self.value.kind().cmp(&other.value.kind()))
    }
}

/// Whether name and value fit together.
fn check(name: &ResourceName, value: &Value) -> Result<(), ResourceError> {
    let expected = match name {
        ResourceName::Cpus | ResourceName::Gpus | ResourceName::Mem | ResourceName::Disk => {
            ValueKind::Scalar
        }
        ResourceName::Ports => ValueKind::Ranges,
        ResourceName::Custom(_) => value.kind(),
    };
    let found = value.kind();
    if found != expected {
        return Err(ResourceError::Kind { name: name.clone(), expected, found });
    }
    let Value::Scalar(amount) = *value else { return Ok(()) };
    let name = || name.clone();
    if amount.is_negative() {
        return Err(ResourceError::Negative { name: name(), amount });
    }
    if amount > AMOUNT_MAX {
        return Err(ResourceError::TooLarge { name: name(), amount });
    }
    if name() == ResourceName::Gpus && !amount.is_whole() {
        return Err(ResourceError::Fraction { name: name(), amount });
    }
    Ok(())
}

/// The text form, `cpus:24`, `cpus(role):24` or `cpus{revocable}:24`.
impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name)?;
        if let Some(role) = self.metadata.reserved_role() {
            write!(formatter, "({role})")?;
        }
        if self.metadata.revocable {
            formatter.write_str("{revocable}")?;
        }
        write!(formatter, ":{}", self.value)
    }
}
