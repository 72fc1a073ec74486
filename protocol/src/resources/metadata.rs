//! What distinguishes resources of the same name.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::role::Role;

/// What tells two resources of the same name apart. Resources whose metadata differ are different
/// things: they do not add up, and one does not contain the other.
///
/// Every field is optional on the wire and absent when it says nothing. Further kinds of metadata
/// (the other levels of a reservation, persistent volumes, shared and revocable resources) become
/// further fields here, which nodes of the release before must not be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// For whom the resource is set aside; nothing when it is unreserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Reservation>,
}

/// A static reservation: made by the configuration of the node, it lasts as long as the node's
/// configuration says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Reservation {
    role: Role,
}

impl Metadata {
    /// The metadata of an unreserved resource.
    pub const UNRESERVED: Metadata = Metadata { reservation: None };

    /// The metadata of a resource reserved for `role`; for `*`, of an unreserved one.
    #[must_use]
    pub fn reserved_for(role: Role) -> Self {
        Metadata { reservation: Reservation::new(role) }
    }

    /// The role for which the resource is reserved, if it is.
    #[must_use]
    pub fn reserved_role(&self) -> Option<&Role> {
        self.reservation.as_ref().map(Reservation::role)
    }

    /// Whether the resource is reserved for nobody.
    #[must_use]
    pub fn is_unreserved(&self) -> bool {
        self.reservation.is_none()
    }

    /// Whether the resource may be given to `role`: it is unreserved, or reserved for `role` or
    /// for a role above it.
    #[must_use]
    pub fn is_allocatable_to(&self, role: &Role) -> bool {
        self.reserved_role()
            .is_none_or(|reserved| reserved == role || reserved.is_ancestor_of(role))
    }
}

impl Reservation {
    /// A reservation for `role`; nothing for `*`, which means unreserved.
    #[must_use]
    pub fn new(role: Role) -> Option<Self> {
        (!role.is_default()).then_some(Reservation { role })
    }

    /// For whom the resource is reserved.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }
}

impl<'de> Deserialize<'de> for Reservation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            role: Role,
        }
        Reservation::new(Wire::deserialize(deserializer)?.role)
            .ok_or_else(|| D::Error::custom("a reservation must name a role other than `*`"))
    }
}
