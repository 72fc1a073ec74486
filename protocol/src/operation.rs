//! What can be done to resources but using them: reserve and unreserve, create and destroy volumes,
//! grow and shrink them. As in Mesos (the offer operations of its scheduler API), each is a
//! *conversion*: so much of an agent becomes something else, and nothing is lost on the way.

mod status;

use serde::{Deserialize, Serialize};

use crate::{
    codec,
    resources::{
        Amount, Disk, DiskKind, Metadata, Reservation, ReservationKind, Resource, ResourceError,
        Resources,
    },
};

pub use status::{
    OperationQuery, OperationReport, OperationRequest, OperationState, OperationStatus,
};

/// The most bytes of the labels of one reservation that an operation makes.
pub const LABELS_BYTES_MAX: usize = 4 << 10;
/// The most entries that an agent's resources may have after an operation that adds some: half of
/// what a message may carry, so that what is added by configuration always fits beside them.
pub const CONVERTED_ENTRIES_MAX: usize = crate::resources::ENTRIES_MAX / 2;
/// The most bytes, in the form of the wire, that they may take then: an agent registers with all that
/// it has and is offered whole, each in one frame, and its record on disk is read back whole.
pub const CONVERTED_BYTES_MAX: usize = 1 << 20;

/// An operation on the resources of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Operation {
    /// Sets resources aside for a role.
    Reserve {
        /// As they will be: the innermost reservation is the new one, what it stands on is there.
        resources: Resources,
    },
    /// Undoes the innermost reservation.
    Unreserve {
        /// As they are.
        resources: Resources,
    },
    /// Makes volumes of reserved disk.
    Create {
        /// As they will be.
        volumes: Resources,
    },
    /// Ends volumes with what is on them.
    Destroy {
        /// As they are.
        volumes: Resources,
    },
    /// Makes a volume larger.
    Grow {
        /// As it is.
        volume: Resource,
        /// Disk of the same reservation and source.
        addition: Resource,
    },
    /// Makes a volume smaller.
    Shrink {
        /// As it is.
        volume: Resource,
        /// By so much; something must be left.
        subtract: Amount,
    },
    /// An operation that this release does not know; refused.
    #[serde(other)]
    Unknown,
}

/// What an operation makes of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// What is there before and not after.
    pub consumed: Resources,
    /// What is there after, in its place.
    pub converted: Resources,
}

/// Why an operation makes no sense, whatever the agent has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// It names nothing.
    #[error("the operation names no resources: say what and how much, above 0")]
    Empty,
    /// It is of a newer release.
    #[error("the operation is not known to this release")]
    Unknown,
    /// What it makes, or takes, cannot be.
    #[error("{0}")]
    Resource(#[from] ResourceError),
    /// There is no reservation that an operation has made or may undo.
    #[error(
        "`{resource}` has no dynamic reservation: static ones are of the agent's own configuration"
    )]
    NotReservedDynamically {
        /// Which.
        resource: String,
    },
    /// Volumes keep their reservation, and revocable resources have none.
    #[error("`{resource}` cannot be reserved or unreserved: {why}")]
    NotReservable {
        /// Which.
        resource: String,
        /// Why.
        why: &'static str,
    },
    /// No volume where one must be.
    #[error("`{resource}` is no persistent volume")]
    NotAVolume {
        /// Which.
        resource: String,
    },
    /// The volume comes whole or is used by several.
    #[error("volume `{resource}` cannot grow or shrink: {why}")]
    FixedSize {
        /// Which.
        resource: String,
        /// Why.
        why: &'static str,
    },
    /// What is to be added is of another reservation or disk.
    #[error(
        "`{addition}` cannot be added to volume `{volume}`: its reservation or disk is another"
    )]
    AnotherDisk {
        /// The volume.
        volume: String,
        /// What was to be added.
        addition: String,
    },
    /// The volume that would be made cannot be named or shown so.
    #[error("volume {id:?} cannot be made: {why}")]
    BadVolume {
        /// Its id.
        id: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The reservation says too much.
    #[error("a reservation has at most {LABELS_BYTES_MAX} bytes of labels, not {bytes}")]
    Labels {
        /// How many there are.
        bytes: usize,
    },
    /// Nothing would be left.
    #[error("volume `{volume}` cannot shrink by {subtract}: something must be left")]
    NothingLeft {
        /// The volume.
        volume: String,
        /// By how much.
        subtract: Amount,
    },
}

impl Operation {
    /// Reserves unreserved resources.
    ///
    /// # Errors
    /// When some of them cannot be reserved.
    pub fn reserve(resources: &Resources, by: &Reservation) -> Result<Self, OperationError> {
        let metadata = Metadata { reservation: Some(by.clone()), ..Metadata::UNRESERVED };
        let resources = resources.iter().map(|it| {
            check_kept(it)?;
            with(it, metadata.clone())
        });
        Ok(Self::Reserve { resources: resources.collect::<Result<_, _>>()? })
    }

    /// What it makes of what.
    ///
    /// # Errors
    /// When it makes no sense, see [`OperationError`].
    pub fn conversion(&self) -> Result<Conversion, OperationError> {
        match self {
            Operation::Reserve { resources } => {
                resources.iter().try_for_each(check_labels)?;
                each(resources, Direction::Undo, without_reservation)
            }
            Operation::Unreserve { resources } => {
                each(resources, Direction::Do, without_reservation)
            }
            Operation::Create { volumes } => {
                volumes.iter().try_for_each(check_volume)?;
                each(volumes, Direction::Undo, without_volume)
            }
            Operation::Destroy { volumes } => each(volumes, Direction::Do, without_volume),
            Operation::Grow { volume, addition } => grow(volume, addition),
            Operation::Shrink { volume, subtract } => shrink(volume, *subtract),
            Operation::Unknown => Err(OperationError::Unknown),
        }
    }
}

fn check_labels(resource: &Resource) -> Result<(), OperationError> {
    let labels = resource.metadata().reservation.as_ref().map(Reservation::labels);
    let bytes = labels.into_iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > LABELS_BYTES_MAX { Err(OperationError::Labels { bytes }) } else { Ok(()) }
}

fn check_volume(resource: &Resource) -> Result<(), OperationError> {
    let volume = resource.metadata().disk.as_ref().and_then(|disk| disk.volume.as_ref());
    // What is no volume is refused with a better reason.
    let Some(volume) = volume else { return Ok(()) };
    let why = volume.fault();
    why.map_or(Ok(()), |why| Err(OperationError::BadVolume { id: volume.id.clone(), why }))
}

impl Conversion {
    /// What undoes it.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self { consumed: self.converted.clone(), converted: self.consumed.clone() }
    }

    /// What the conversion leaves of `resources`; none when they do not hold what it consumes, or hold
    /// more of something that comes whole: of a mounted disk, or of a volume.
    #[must_use]
    pub fn apply(&self, resources: &Resources) -> Option<Resources> {
        let divides = |it: &Resource| {
            !it.metadata().is_divisible() && !resources.iter().any(|mine| mine == it)
        };
        if self.consumed.iter().any(divides) {
            return None;
        }
        Some(resources.checked_sub(&self.consumed)? + &self.converted)
    }
}

/// Whether an agent may have `after`, which an operation makes of `before`. What is too much already
/// may always become less.
///
/// # Errors
/// Why not, for people.
pub fn check_growth(before: &Resources, after: &Resources) -> Result<(), String> {
    let entries = after.len();
    if entries > CONVERTED_ENTRIES_MAX && entries > before.len() {
        return Err(format!(
            "the agent's resources would have {entries} entries, at most {CONVERTED_ENTRIES_MAX} are kept"
        ));
    }
    let bytes = codec::encode(after).len();
    if bytes > CONVERTED_BYTES_MAX && bytes > codec::encode(before).len() {
        return Err(format!(
            "the agent's resources would take {bytes} bytes with their labels, at most {CONVERTED_BYTES_MAX} are kept"
        ));
    }
    Ok(())
}

/// Whether what is named becomes the plainer thing, or comes of it.
#[derive(Clone, Copy)]
enum Direction {
    Do,
    Undo,
}

fn each(
    named: &Resources,
    direction: Direction,
    plainer: fn(&Resource) -> Result<Resource, OperationError>,
) -> Result<Conversion, OperationError> {
    if named.is_empty() {
        return Err(OperationError::Empty);
    }
    let mut plain = Resources::new();
    for resource in named {
        plain.insert(plainer(resource)?);
    }
    let named = named.clone();
    Ok(match direction {
        Direction::Do => Conversion { consumed: named, converted: plain },
        Direction::Undo => Conversion { consumed: plain, converted: named },
    })
}

fn with(resource: &Resource, metadata: Metadata) -> Result<Resource, OperationError> {
    Ok(Resource::new(resource.name().clone(), metadata, resource.value().clone())?)
}

/// What may be taken back at any time cannot be promised to anybody.
fn check_kept(resource: &Resource) -> Result<(), OperationError> {
    if !resource.metadata().revocable {
        return Ok(());
    }
    let why = "it is revocable, so it may be taken back at any time";
    Err(OperationError::NotReservable { resource: resource.to_string(), why })
}

fn without_reservation(resource: &Resource) -> Result<Resource, OperationError> {
    let metadata = resource.metadata();
    check_kept(resource)?;
    if metadata.is_volume() {
        let why = "it is a persistent volume; destroy that first";
        return Err(OperationError::NotReservable { resource: resource.to_string(), why });
    }
    let dynamic = metadata.reservation.as_ref();
    let Some(reservation) = dynamic.filter(|it| it.kind() == ReservationKind::Dynamic) else {
        return Err(OperationError::NotReservedDynamically { resource: resource.to_string() });
    };
    let reservation = reservation.outer().cloned();
    with(resource, Metadata { reservation, ..metadata.clone() })
}

fn without_volume(resource: &Resource) -> Result<Resource, OperationError> {
    let metadata = resource.metadata();
    let Some(disk) = metadata.disk.as_ref().filter(|disk| disk.volume.is_some()) else {
        return Err(OperationError::NotAVolume { resource: resource.to_string() });
    };
    let source = disk.source.clone();
    let disk = source.map(|source| Disk { source: Some(source), volume: None }.into());
    with(resource, Metadata { disk, shared: false, ..metadata.clone() })
}

/// A volume that may change its size, with the disk that it is made of.
fn resizable(volume: &Resource) -> Result<Resource, OperationError> {
    let plain = without_volume(volume)?;
    let fixed = |why| Err(OperationError::FixedSize { resource: volume.to_string(), why });
    let metadata = volume.metadata();
    if metadata.shared {
        return fixed("it is shared");
    }
    let source = metadata.disk.as_ref().and_then(|disk| disk.source.as_ref());
    if source.is_some_and(|source| source.kind != DiskKind::Path) {
        return fixed("it takes a whole disk");
    }
    Ok(plain)
}

fn grow(volume: &Resource, addition: &Resource) -> Result<Conversion, OperationError> {
    let plain = resizable(volume)?;
    let another = || OperationError::AnotherDisk {
        volume: volume.to_string(),
        addition: addition.to_string(),
    };
    if plain.name() != addition.name() || plain.metadata() != addition.metadata() {
        return Err(another());
    }
    let (size, more) = (volume.amount(), addition.amount());
    let (Some(size), Some(more)) = (size, more.filter(|more| !more.is_zero())) else {
        return Err(OperationError::Empty);
    };
    let larger =
        Resource::new(volume.name().clone(), volume.metadata().clone(), size.saturating_add(more))?;
    let consumed = [volume.clone(), addition.clone()].into_iter().collect();
    Ok(Conversion { consumed, converted: larger.into() })
}

fn shrink(volume: &Resource, subtract: Amount) -> Result<Conversion, OperationError> {
    let plain = resizable(volume)?;
    if subtract <= Amount::ZERO {
        return Err(OperationError::Empty);
    }
    let size = volume.amount().unwrap_or(Amount::ZERO);
    if size <= subtract {
        let volume = volume.to_string();
        return Err(OperationError::NothingLeft { volume, subtract });
    }
    let of_size = |resource: &Resource, size: Amount| {
        Resource::new(resource.name().clone(), resource.metadata().clone(), size)
    };
    let smaller = of_size(volume, size.saturating_sub(subtract))?;
    let freed = of_size(&plain, subtract)?;
    Ok(Conversion {
        consumed: volume.clone().into(),
        converted: [smaller, freed].into_iter().collect(),
    })
}

#[cfg(test)]
mod tests;
