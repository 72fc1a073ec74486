//! Disks and the volumes on them.

use serde::{Deserialize, Serialize};

use super::{Amount, Metadata, Reservation, Resource, ResourceError, ResourceName};
use crate::ids::chosen_by_framework;

/// The longest principal, as [`crate::ids::Principal`] has it.
const PRINCIPAL_BYTES_MAX: usize = 255;

/// Where disk space lies, and whose volume it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// The disk; nothing for the one that the node's own data lie on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<DiskSource>,
    /// The persistent volume, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
}

/// A disk besides the one that the node's own data lie on.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskSource {
    /// How it is used.
    pub kind: DiskKind,
    /// Where it is mounted on the node; empty for one that is not mounted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// What tells it from others of the same kind, if anything does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// How a disk is used.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum DiskKind {
    /// A directory, which many volumes share.
    #[default]
    Path,
    /// A mounted file system, given away as a whole.
    Mount,
    /// A block device, given away as a whole.
    Block,
    /// Space that is neither formatted nor mounted.
    Raw,
    /// A kind that this release does not know: taken whole, like a mount.
    #[serde(other)]
    Unknown,
}

/// A persistent volume: disk space that outlives the tasks that use it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Tells it from the other volumes of its role on its node.
    pub id: String,
    /// Where tasks see it, inside their sandbox.
    pub container_path: String,
    /// The principal that made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub principal: String,
}

/// The longest path at which tasks see a volume, in bytes.
const CONTAINER_PATH_BYTES_MAX: usize = 1_024;

impl Volume {
    /// The volume of so many MB of the node's own disk, as resources name it.
    ///
    /// # Errors
    /// When the amount cannot be.
    pub fn of(self, size: Amount, reservation: &Reservation) -> Result<Resource, ResourceError> {
        let disk = Some(Disk { source: None, volume: Some(self) }.into());
        let reservation = Some(reservation.clone());
        let metadata = Metadata { reservation, disk, ..Metadata::UNRESERVED };
        Resource::new(ResourceName::Disk, metadata, size)
    }

    /// Why no volume can be made so, if it cannot: it needs an id as frameworks choose them, and a
    /// path that stays inside the sandbox and is not that of a task's output.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        if let Some(why) = chosen_by_framework(&self.id) {
            return Some(why);
        }
        if self.principal.len() > PRINCIPAL_BYTES_MAX {
            return Some("its principal is longer than 255 bytes");
        }
        let path = self.container_path.as_str();
        if path.is_empty() || path.len() > CONTAINER_PATH_BYTES_MAX {
            return Some("the path at which tasks see it must have 1 to 1024 bytes");
        }
        if path.contains(char::is_control) {
            return Some("the path at which tasks see it may not contain control characters");
        }
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Some(
                "the path at which tasks see it must be relative, without empty parts, `.` or `..`",
            );
        }
        if matches!(path.split('/').next(), Some("stdout" | "stderr")) {
            return Some("the path at which tasks see it is that of their output");
        }
        None
    }
}

impl Disk {
    /// Whether a part of it can be given away.
    #[must_use]
    pub fn is_divisible(&self) -> bool {
        let whole = |source: &DiskSource| {
            matches!(source.kind, DiskKind::Mount | DiskKind::Block | DiskKind::Unknown)
        };
        self.volume.is_none() && !self.source.as_ref().is_some_and(whole)
    }
}
