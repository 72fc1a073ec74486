//! What a framework can say so that it is not sent what it cannot use: minimum sizes, constraints
//! on agents, what it wants now, and what it wants together or not at all.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    ids::AgentId,
    resources::{Amount, Resources, ScalarQuantities},
};

/// The most alternatives, and the most constraints in each, that a role may have.
pub const CONSTRAINTS_MAX: usize = 64;
/// The longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// The most patterns that a framework may have, in all its roles: each is tried on each agent.
pub const PATTERNS_MAX: usize = 16;
/// The most requests one call may state, and the most parts of one gang.
pub const REQUESTS_MAX: usize = 100;
/// The longest name of a region or a zone, in bytes.
pub const PLACE_BYTES_MAX: usize = 128;
/// The most minimum sizes of one role.
pub const MINIMUMS_MAX: usize = 16;

/// What a framework wishes of all offers in one role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferWishes {
    /// An offer holds at least one of these, reserved or not; when there is none, the least that is
    /// worth an offer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub minimum: Vec<ScalarQuantities>,
    /// Agents fulfil all constraints of one of these alternatives; when there is none, all do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Vec<AgentConstraint>>,
}

impl OfferWishes {
    /// Whether nothing is wished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.minimum.is_empty() && self.constraints.is_empty()
    }
}

/// One constraint on an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentConstraint {
    /// What is looked at.
    pub of: Selector,
    /// What must be true of it.
    pub is: Predicate,
}

impl AgentConstraint {
    /// The agent has an attribute of that name and value.
    #[must_use]
    pub fn equals(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        let of = Selector::Attribute { name: attribute.into() };
        Self { of, is: Predicate::Equals { value: value.into() } }
    }

    /// The agent stands in that zone.
    #[must_use]
    pub fn in_zone(zone: impl Into<String>) -> Self {
        Self { of: Selector::Zone, is: Predicate::Equals { value: zone.into() } }
    }

    /// The agent stands in that region.
    #[must_use]
    pub fn in_region(region: impl Into<String>) -> Self {
        Self { of: Selector::Region, is: Predicate::Equals { value: region.into() } }
    }
}

/// What of an agent a constraint looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Selector {
    /// The attributes of that name.
    Attribute {
        /// The name.
        name: String,
    },
    /// The host name.
    Hostname,
    /// The region of its fault domain.
    Region,
    /// The zone of its fault domain.
    Zone,
    /// Something that a leader of an earlier release did not know when it put it on record as such;
    /// no agent has it.
    #[serde(rename = "unknown")]
    Nothing,
    /// Something that this build does not know; no agent has it, and it is not put on record.
    #[serde(other, rename = "not_known")]
    Unknown,
}

/// What must be true of what a constraint looks at. An agent may have several attributes of one
/// name: the positive predicates ask for one that fits, the negative ones that none does.
///
/// Text predicates look at texts, and at numbers in their text form; a set equals each of its
/// items. Numeric predicates look at numbers, and at ranges that hold one that fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Predicate {
    /// There is one.
    Exists,
    /// There is none.
    NotExists,
    /// It is this text.
    Equals {
        /// The text.
        value: String,
    },
    /// There is none, or it is another.
    NotEquals {
        /// The text.
        value: String,
    },
    /// The whole of it matches this regular expression.
    Matches {
        /// The regular expression; at most [`PATTERN_BYTES_MAX`] bytes.
        pattern: String,
    },
    /// There is none, or it does not match.
    NotMatches {
        /// The regular expression; at most [`PATTERN_BYTES_MAX`] bytes.
        pattern: String,
    },
    /// It is a number below this one.
    Less {
        /// The bound, which does not count.
        than: Amount,
    },
    /// It is a number above this one.
    Greater {
        /// The bound, which does not count.
        than: Amount,
    },
    /// It is a number in this range.
    Within {
        /// The lowest that counts.
        from: Amount,
        /// The highest that counts.
        to: Amount,
    },
    /// Something that a leader of an earlier release did not know when it put it on record as such;
    /// it is true of no agent.
    #[serde(rename = "unknown")]
    Never,
    /// Something that this build does not know; it is true of no agent, and is not put on record.
    #[serde(other, rename = "not_known")]
    Unknown,
}

/// Resources that a framework asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRequest {
    /// Of this agent; absent: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Together on one agent; whom they are reserved for does not matter.
    pub resources: Resources,
    /// So many times.
    #[serde(default = "once")]
    pub count: u32,
}

impl ResourceRequest {
    /// These resources of any agent, so many times.
    #[must_use]
    pub const fn new(resources: Resources, count: u32) -> Self {
        Self { agent: None, resources, count }
    }

    /// These resources of one agent, so many times.
    #[must_use]
    pub const fn on(agent: AgentId, resources: Resources, count: u32) -> Self {
        Self { agent: Some(agent), resources, count }
    }
}

fn once() -> u32 {
    1
}

/// Where an agent stands, for what must survive the loss of a place.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FaultDomain {
    /// The region: places far apart.
    pub region: String,
    /// The zone within it: what fails together.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
}

/// Why a text is not a [`FaultDomain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected REGION or REGION/ZONE, as in eu/rack-7: names of 1 to {PLACE_BYTES_MAX} bytes without white space"
)]
pub struct FaultDomainError;

impl FromStr for FaultDomain {
    type Err = FaultDomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |name: &str| {
            (1..=PLACE_BYTES_MAX).contains(&name.len())
                && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
        };
        let (region, zone) = match text.split_once('/') {
            Some((region, zone)) if is_name(zone) => (region, zone),
            Some(_) => return Err(FaultDomainError),
            None => (text, ""),
        };
        if !is_name(region) {
            return Err(FaultDomainError);
        }
        Ok(Self { region: region.to_owned(), zone: zone.to_owned() })
    }
}

impl fmt::Display for FaultDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zone.as_str() {
            "" => f.write_str(&self.region),
            zone => write!(f, "{}/{zone}", self.region),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_region_with_or_without_a_zone() {
        for text in ["eu", "eu/rack-7", "eu west 1".replace(' ', "-").as_str()] {
            assert_eq!(text.parse::<FaultDomain>().unwrap().to_string(), text);
        }
        let long = "x".repeat(PLACE_BYTES_MAX + 1);
        for text in ["", "/", "eu/", "/a", "eu/a/b", "e u", "eu/\u{7}", &long] {
            assert_eq!(text.parse::<FaultDomain>(), Err(FaultDomainError), "{text:?}");
        }
    }
}
