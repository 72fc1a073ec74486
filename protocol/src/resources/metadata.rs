//! What distinguishes resources of the same name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Disk, Reservation};
use crate::role::Role;

/// What tells two resources of the same name apart. Resources whose metadata differ are different
/// things: they do not add up, and one does not contain the other.
///
/// Every field is optional on the wire and absent when it says nothing, and later releases may add
/// further ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// For whom the resource is set aside; nothing when it is unreserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Reservation>,
    /// Of disk space: on which disk it lies, and whose volume it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Arc<Disk>>,
    /// Several may use it at once: a persistent volume that was made so.
    #[serde(skip_serializing_if = "is_false")]
    pub shared: bool,
    /// It may be taken back at any time: what others have been given and do not use.
    #[serde(skip_serializing_if = "is_false")]
    pub revocable: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Why metadata do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Disk information on another resource.
    #[error("only `disk` can lie on a disk")]
    NotADisk,
    /// A persistent volume in the common pool.
    #[error("persistent volume `{id}` must be reserved for a role")]
    UnreservedVolume {
        /// The volume.
        id: String,
    },
    /// Sharing something other than a volume.
    #[error("only a persistent volume can be shared")]
    SharedWithoutVolume,
    /// A reservation or a volume of what may vanish.
    #[error("what is revocable can be neither reserved nor a volume")]
    RevocableKept,
}

impl Metadata {
    /// The metadata of an unreserved resource.
    pub const UNRESERVED: Metadata =
        Metadata { reservation: None, disk: None, shared: false, revocable: false };

    /// The metadata of a revocable resource.
    pub const REVOCABLE: Metadata =
        Metadata { reservation: None, disk: None, shared: false, revocable: true };

    /// The metadata of a resource that the node's configuration reserves for `role`; for `*`, of an
    /// unreserved one.
    #[must_use]
    pub fn reserved_for(role: Role) -> Self {
        Metadata { reservation: Reservation::new(role), ..Metadata::UNRESERVED }
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

    /// Whether it is a persistent volume.
    #[must_use]
    pub fn is_volume(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.volume.is_some())
    }

    /// Whether a part of the resource can be given away: not of a volume, which holds data, nor of
    /// a disk that is mounted as a whole.
    #[must_use]
    pub fn is_divisible(&self) -> bool {
        self.disk.as_ref().is_none_or(|disk| disk.is_divisible())
    }

    /// Whether nothing but a reservation tells it apart, so that anybody can use it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.disk.is_none() && !self.shared && !self.revocable
    }

    /// Whether a resource with this metadata may be given to a request with those: what is revocable to one for
    /// what is revocable, and what is plain to any other.
    pub(super) fn serves(&self, request: &Metadata) -> bool {
        if request.revocable { *self == Metadata::REVOCABLE } else { self.is_plain() }
    }

    /// Whether the parts fit together, on a resource that is `disk` or not.
    pub(super) fn check(&self, on_disk: bool) -> Result<(), MetadataError> {
        if let Some(disk) = &self.disk {
            if !on_disk {
                return Err(MetadataError::NotADisk);
            }
            if let Some(volume) = disk.volume.as_ref().filter(|_| self.is_unreserved()) {
                return Err(MetadataError::UnreservedVolume { id: volume.id.clone() });
            }
        }
        if self.shared && !self.is_volume() {
            return Err(MetadataError::SharedWithoutVolume);
        }
        if self.revocable && (!self.is_unreserved() || self.is_volume()) {
            return Err(MetadataError::RevocableKept);
        }
        Ok(())
    }
}
