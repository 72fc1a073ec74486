//! The figures that rules are told with.

use std::collections::BTreeMap;

use meshos_protocol::{
    resources::{Amount, ResourceName},
    role::Role,
    shown,
};
use serde::Serialize;

/// What stands behind the rules that apply; each is said only where its rule does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Behind [`super::SkipRule::QuotaLimit`]: the limits that keep something back, the nearest role first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitReached>,
    /// Behind [`super::SkipRule::BelowWish`]: the framework wants offers of at least one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wish: Option<String>,
    /// Behind [`super::SkipRule::BelowMinimum`]: what is worth an offer, one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
    /// Behind [`super::SkipRule::Constraint`]: what the framework asks of agents; cut when it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<String>,
}

/// A limit that keeps something back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitReached {
    /// Whose limit it is: of the role that is asked about, or of one above it.
    pub role: Role,
    /// The limit, as far as it keeps something back.
    #[serde(serialize_with = "shown::amounts_as_map")]
    pub limit: BTreeMap<ResourceName, Amount>,
    /// What is left of it.
    #[serde(serialize_with = "shown::amounts_as_map")]
    pub left: BTreeMap<ResourceName, Amount>,
}

/// An agent by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentName {
    /// Its id.
    pub agent: meshos_protocol::ids::AgentId,
    /// Its host name.
    pub hostname: String,
}
