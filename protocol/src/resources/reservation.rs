//! Reservations: for whom resources are set aside, and by whom.

use std::{collections::BTreeMap, sync::Arc};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::role::Role;

/// The most labels on one reservation.
pub const RESERVATION_LABELS_MAX: usize = 64;

/// One level of a reservation, standing on the levels that it refines. Cloning it is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation(Arc<Level>);

/// Who made a reservation.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ReservationKind {
    /// The configuration of the node: it lasts as long as that says so.
    #[default]
    Static,
    /// A framework or an operator: it can be undone.
    Dynamic,
    /// A kind that this release does not know; it does not undo it.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Level {
    role: Role,
    #[serde(default, skip_serializing_if = "is_static")]
    kind: ReservationKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    principal: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outer: Option<Reservation>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_static(kind: &ReservationKind) -> bool {
    *kind == ReservationKind::Static
}

/// Why something cannot be reserved so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReservationError {
    /// Reserving for everybody means nothing.
    #[error("a reservation must name a role other than `*`")]
    DefaultRole,
    /// A refinement for a role that is not below.
    #[error(
        "what is reserved for `{outer}` can be reserved further for roles below it, `{role}` is not"
    )]
    NotBelow {
        /// The role of the new level.
        role: Role,
        /// The role for which it is reserved.
        outer: Role,
    },
    /// The configuration of a node knows one level.
    #[error("a static reservation cannot refine another")]
    StaticRefinement,
    /// There are more than [`RESERVATION_LABELS_MAX`] labels.
    #[error("a reservation has at most {RESERVATION_LABELS_MAX} labels, not {count}")]
    Labels {
        /// How many there are.
        count: usize,
    },
}

impl Reservation {
    /// A static reservation for `role`; nothing for `*`, which means unreserved.
    #[must_use]
    pub fn new(role: Role) -> Option<Self> {
        let level = Level {
            role,
            kind: ReservationKind::Static,
            principal: String::new(),
            labels: BTreeMap::new(),
            outer: None,
        };
        (!level.role.is_default()).then(|| Reservation(Arc::new(level)))
    }

    /// A reservation made while the node runs: of unreserved resources, or refining `outer` for a
    /// role below that one.
    ///
    /// # Errors
    ///
    /// When the role is `*` or not below the role of `outer`, or there are too many labels.
    pub fn dynamic(
        role: Role,
        principal: &str,
        labels: BTreeMap<String, String>,
        outer: Option<Reservation>,
    ) -> Result<Self, ReservationError> {
        let kind = ReservationKind::Dynamic;
        let level = Level { role, kind, principal: principal.to_owned(), labels, outer };
        level.check()?;
        Ok(Reservation(Arc::new(level)))
    }

    /// For whom the resource is reserved.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.0.role
    }

    /// Who made it.
    #[must_use]
    pub fn kind(&self) -> ReservationKind {
        self.0.kind
    }

    /// The principal that made it; empty when it was the configuration.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.0.principal
    }

    /// What whoever made it has noted.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.0.labels
    }

    /// The reservation that this one refines, and that holds again when this one is undone.
    #[must_use]
    pub fn outer(&self) -> Option<&Reservation> {
        self.0.outer.as_ref()
    }

    /// Whether it refines another.
    #[must_use]
    pub fn is_refined(&self) -> bool {
        self.0.outer.is_some()
    }
}

impl Level {
    fn check(&self) -> Result<(), ReservationError> {
        if self.role.is_default() {
            return Err(ReservationError::DefaultRole);
        }
        if self.labels.len() > RESERVATION_LABELS_MAX {
            return Err(ReservationError::Labels { count: self.labels.len() });
        }
        let Some(outer) = &self.outer else { return Ok(()) };
        if self.kind == ReservationKind::Static {
            return Err(ReservationError::StaticRefinement);
        }
        if !outer.role().is_ancestor_of(&self.role) {
            let (role, outer) = (self.role.clone(), outer.role().clone());
            return Err(ReservationError::NotBelow { role, outer });
        }
        Ok(())
    }
}

impl Serialize for Reservation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Levels below one another are roles below one another, so the length of a role bounds how deep
/// this goes.
impl<'de> Deserialize<'de> for Reservation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let level = Level::deserialize(deserializer)?;
        level.check().map_err(D::Error::custom)?;
        Ok(Reservation(Arc::new(level)))
    }
}
