//! Quota: what a role is guaranteed, and what it may not exceed.

mod text;

use std::{collections::BTreeMap, fmt};

use meshos_protocol::{
    resources::{Amount, ResourceName, Resources, ScalarQuantities},
    role::Role,
};
use serde::{Deserialize, Serialize};

pub use text::{QuotaAmounts, QuotaTextError};

/// What a role, with all roles below it, is guaranteed and may not exceed.
///
/// A role consumes what it holds of the unreserved pool, offered or allocated, and all that is
/// reserved for it or for roles below it, used or not. Revocable resources do not count. When several
/// are offered the same of an agent, what all offers to the role there hold counts, but no more than is free.
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
    #[error(
        "the quota of role {role} must not be negative, but names {name}:{amount}: say 0 or more"
    )]
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
         {name}:{limit}; raise the limit, guarantee at most as much, or insist with --force (`force` in the API)"
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
    /// The role cannot reach its limit.
    #[error(
        "role {role} would be limited to {name}:{limit}, but role {limited} above it is limited to \
         {name}:{above}, which counts for both; say at most as much, or insist with --force (`force` in the API)"
    )]
    LimitAboveLimit {
        /// The role.
        role: Role,
        /// The resource.
        name: ResourceName,
        /// What the role would be limited to.
        limit: Amount,
        /// The role above it.
        limited: Role,
        /// What that may not exceed.
        above: Amount,
    },
    /// A role would be limited to less than one in it, which could not reach its limit any more.
    #[error(
        "role {role} would be limited to {name}:{limit}, but role {below} in it is limited to \
         {name}:{lower}, which would not be reached any more; lower that first, or insist with --force \
         (`force` in the API)"
    )]
    LimitBelowLimit {
        /// The role.
        role: Role,
        /// The resource.
        name: ResourceName,
        /// What the role would be limited to.
        limit: Amount,
        /// The role below it.
        below: Role,
        /// What that may not exceed.
        lower: Amount,
    },
    /// The roles in a role would together be guaranteed more than that may have.
    #[error(
        "the roles in {limited} would be guaranteed {name}:{guaranteed} together ({}), but role {limited} \
         is limited to {name}:{limit}; raise the limit, guarantee less, or insist with --force (`force` in \
         the API)",
        Parts(name, roles)
    )]
    GuaranteesAboveLimit {
        /// The role with the limit.
        limited: Role,
        /// The resource.
        name: ResourceName,
        /// What the roles in it would be guaranteed together.
        guaranteed: Amount,
        /// What each of them would be guaranteed.
        roles: Vec<(Role, Amount)>,
        /// What the role may not exceed.
        limit: Amount,
    },
    /// More would be guaranteed than there is.
    #[error(
        "with this quota of role {role}, {name}:{guaranteed} would be guaranteed to all roles \
         together, but the cluster has {name}:{total}; guarantee less, or insist with --force (`force` in the API)"
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
        "role {role} consumes {name}:{consumed} already, with what it is offered, more than the limit {name}:{limit}; with \
         --force (`force` in the API) offers above it are taken back and tasks stay"
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

/// So many roles are named with what they are guaranteed.
const PARTS_SHOWN: usize = 5;

/// `a/b cpus:3, a/c cpus:2`.
struct Parts<'a>(&'a ResourceName, &'a [(Role, Amount)]);

impl fmt::Display for Parts<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, roles) = self;
        for (index, (role, amount)) in roles.iter().take(PARTS_SHOWN).enumerate() {
            let between = if index == 0 { "" } else { ", " };
            write!(formatter, "{between}{role} {name}:{amount}")?;
        }
        match roles.len().saturating_sub(PARTS_SHOWN) {
            0 => Ok(()),
            more => write!(formatter, ", and {more} more"),
        }
    }
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
