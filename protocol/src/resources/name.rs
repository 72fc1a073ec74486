//! Names of resources.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::text::{TextError, check_name};

/// The name of a resource. The well-known names are variants of their own, so that comparing and
/// cloning them, which the allocator does all the time, touches no memory but the name itself.
///
/// The order is that of printing: the well-known names as they stand here, then the others in
/// alphabetical order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum ResourceName {
    /// Processor cores, a scalar.
    Cpus,
    /// Graphics processors, a scalar in whole devices.
    Gpus,
    /// Memory in MB, a scalar.
    Mem,
    /// Disk space in MB, a scalar.
    Disk,
    /// Network ports, ranges.
    Ports,
    /// Any other name, of any kind of value.
    Custom(CustomName),
}

/// A valid name that is none of the well-known ones; only [`ResourceName::new`] makes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomName(Arc<str>);

impl ResourceName {
    /// Checks a name: not empty, at most 255 bytes, no white space, no control characters, and
    /// none of `:=;,()[]{}`.
    ///
    /// # Errors
    ///
    /// When the name breaks these rules; positions are those in `name`.
    pub fn new(name: &str) -> Result<Self, TextError> {
        Ok(match name {
            "cpus" => ResourceName::Cpus,
            "gpus" => ResourceName::Gpus,
            "mem" => ResourceName::Mem,
            "disk" => ResourceName::Disk,
            "ports" => ResourceName::Ports,
            custom => {
                check_name(custom)?;
                ResourceName::Custom(CustomName(Arc::from(custom)))
            }
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            ResourceName::Cpus => "cpus",
            ResourceName::Gpus => "gpus",
            ResourceName::Mem => "mem",
            ResourceName::Disk => "disk",
            ResourceName::Ports => "ports",
            ResourceName::Custom(CustomName(name)) => name,
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ResourceName({})", self.as_str())
    }
}

impl fmt::Debug for CustomName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CustomName({})", self.0)
    }
}

impl AsRef<str> for ResourceName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for ResourceName {
    type Err = TextError;

    fn from_str(name: &str) -> Result<Self, TextError> {
        ResourceName::new(name)
    }
}

impl TryFrom<String> for ResourceName {
    type Error = TextError;

    fn try_from(name: String) -> Result<Self, TextError> {
        ResourceName::new(&name)
    }
}

impl Serialize for ResourceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
