//! Quota: what a role is guaranteed, and what it may not exceed.

use std::collections::BTreeMap;

use meshos_protocol::{
    resources::{Amount, ResourceName, Resources, ScalarQuantities},
    role::Role,
};
use serde::{Deserialize, Serialize};

/// What a role, with all roles below it, is guaranteed and may not exceed.
///
/// A role consumes what it holds of the unreserved pool, offered or allocated, and all that is
/// reserved for it or for roles below it, used or not. Revocable resources do not count.
///
/// What is guaranteed and not used is lent: it is offered to others when nobody in the role wants
/// it. When somebody does, it goes there first, and offers to others that have not been answered are
/// taken back for it; what others have launched stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Until it consumes this much, the role is served before all that have what they are
    /// guaranteed.
    pub guarantee: ScalarQuantities,
    /// It never consumes more than this of these resources; of others as much as there is.
    pub limit: BTreeMap<ResourceName, Amount>,
}

/// Why a quota should not be set; an operator may insist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// An amount is below zero.
    #[error("the quota of role {role} must not be negative, but names {name}:{amount}")]
    Negative {
        /// The role.
        role: Role,
        /// The resource.
        name: ResourceName,
        /// The amount.
        amount: Amount,
    },
    /// The role cannot reach what it would be guaranteed.
    #[error(
        "role {role} would be guaranteed {name}:{guarantee}, but role {limited} is limited to \
         {name}:{limit}"
    )]
    GuaranteeAboveLimit {
        /// The role.
        role: Role,
        /// The resource.
        name: ResourceName,
        /// What would be guaranteed.
        guarantee: Amount,
        /// The role itself or one above it.
        limited: Role,
        /// What that may not exceed.
        limit: Amount,
    },
    /// More would be guaranteed than there is.
    #[error(
        "with this quota of role {role}, {name}:{guaranteed} would be guaranteed to all roles \
         together, but the cluster has {name}:{total}"
    )]
    BeyondCluster {
        /// The role.
        role: Role,
        /// The resource.
        name: ResourceName,
        /// What would be guaranteed to all.
        guaranteed: Amount,
        /// What there is.
        total: Amount,
    },
    /// The role consumes more than the limit already.
    #[error(
        "role {role} consumes {name}:{consumed} already, with what it is offered, more than the limit {name}:{limit}; when it is \
         forced, offers above it are taken back and tasks stay"
    )]
    BelowConsumption {
        /// The role.
        role: Role,
        /// The resource.
        name: ResourceName,
        /// What it consumes.
        consumed: Amount,
        /// The limit.
        limit: Amount,
    },
}

impl Quota {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.guarantee.is_empty() && self.limit.is_empty()
    }

    /// Whether a role that consumes so much has not got all that it is guaranteed.
    pub(crate) fn is_unmet(&self, consumed: impl Fn(&ResourceName) -> Amount) -> bool {
        self.guarantee.iter().any(|(name, amount)| consumed(name) < amount)
    }
}

/// What of resources counts against limits: neither what is reserved, which counts wherever it is,
/// nor what may be taken back at any time.
pub(crate) fn pool(resources: &Resources) -> Resources {
    resources
        .filter(|resource| resource.metadata().is_unreserved() && !resource.metadata().revocable)
}

/// How much more of some resources a role may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headroom(Vec<(ResourceName, Amount)>);

impl Headroom {
    /// Nobody sets a limit.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.0.is_empty()
    }

    /// There is no more than this of that resource.
    pub(crate) fn narrow(&mut self, name: &ResourceName, rest: Amount) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = rest.min(*known),
            None => self.0.push((name.clone(), rest)),
        }
    }

    /// Whether there may be more of something than before.
    pub(crate) fn exceeds(&self, before: &Self) -> bool {
        before.0.iter().any(|(name, rest)| self.of(name).is_none_or(|now| now > *rest))
    }

    /// Whether so much more is allowed.
    pub(crate) fn allows(&self, resources: &Resources) -> bool {
        let pool = pool(resources);
        self.0.iter().all(|(name, rest)| pool.amount_of(name) <= *rest)
    }

    /// There is no more than in either.
    pub(crate) fn narrow_to(&mut self, other: &Self) {
        for (name, rest) in &other.0 {
            self.narrow(name, *rest);
        }
    }

    /// How much more there may be, if that is limited.
    pub(crate) fn of(&self, name: &ResourceName) -> Option<Amount> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, rest)| *rest)
    }
}
