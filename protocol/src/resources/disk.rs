//! Disks and the volumes on them.

use serde::{Deserialize, Serialize};

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
