//! Resources: values, reservations, disks.

use std::collections::BTreeSet;

use meshos_protocol::{
    resources::{
        Disk, DiskKind, DiskSource, Metadata, Range, Ranges, Reservation, ReservationKind,
        Resource, ResourceName, Resources, Set, Value, Volume,
    },
    role::Role,
};

use super::{labels, labels_of, number};
use crate::schema;

/// Reads resources that were offered to one of these roles.
///
/// # Errors
/// When one of them cannot be; the sentence names it.
pub fn read_all(
    resources: &[schema::Resource],
    roles: &BTreeSet<Role>,
) -> Result<Resources, String> {
    resources.iter().map(|resource| read(resource, roles)).collect()
}

/// Reads one resource that was offered to one of these roles; what does not say to which is taken to be.
///
/// # Errors
/// When it cannot be; the sentence names it.
pub fn read(resource: &schema::Resource, roles: &BTreeSet<Role>) -> Result<Resource, String> {
    let name = resource.name();
    let wrong = |why: &str| format!("Resource `{name}` is not valid: {why}");
    if resource.provider_id.is_some() {
        return Err(wrong("resource providers are not supported"));
    }
    let allocated = resource.allocation_info.as_ref().and_then(|info| info.role.as_deref());
    if let Some(allocated) = allocated.filter(|allocated| !roles.contains(*allocated)) {
        return Err(wrong(&format!(
            "it is allocated to role {allocated}, which its offers are not"
        )));
    }
    let metadata = Metadata {
        reservation: reservation(resource).map_err(|why| wrong(&why))?,
        disk: disk(resource.disk.as_deref()).map_err(wrong)?.map(Into::into),
        shared: resource.shared.is_some(),
        revocable: resource.revocable.is_some(),
    };
    let value = value(resource).map_err(wrong)?;
    let named = ResourceName::new(name).map_err(|error| wrong(&error.to_string()))?;
    Resource::new(named, metadata, value).map_err(|error| wrong(&error.to_string()))
}

fn value(resource: &schema::Resource) -> Result<Value, &'static str> {
    const ABSENT: &str = "its value is not of its type";
    match resource.r#type() {
        schema::ValueType::Scalar => {
            let scalar = resource.scalar.as_ref().ok_or(ABSENT)?.value();
            let amount = number::amount(scalar).ok_or("its value is no number, or too large")?;
            Ok(amount.into())
        }
        schema::ValueType::Ranges => {
            let ranges = resource.ranges.as_ref().ok_or(ABSENT)?;
            let range = |range: &schema::ValueRange| Range::new(range.begin(), range.end());
            let ranges: Option<Vec<Range>> = ranges.range.iter().map(range).collect();
            Ok(Ranges::new(ranges.ok_or("a range ends before its begin")?).into())
        }
        schema::ValueType::Set => {
            let items = &resource.set.as_ref().ok_or(ABSENT)?.item;
            Ok(Set::new(items).map_err(|_| "an item of its set is not allowed")?.into())
        }
        schema::ValueType::Text => Err("it cannot be a text"),
    }
}

/// Of both forms: a stack of reservations, or the older single one beside `role`.
fn reservation(resource: &schema::Resource) -> Result<Option<Reservation>, String> {
    let role = |name: &str| Role::new(name).map_err(|error| error.to_string());
    if resource.reservations.is_empty() {
        let reserved_for = role(resource.role.as_deref().unwrap_or("*"))?;
        return match &resource.reservation {
            None => Ok(Reservation::new(reserved_for)),
            Some(made) => dynamic(reserved_for, made, None).map(Some),
        };
    }
    if resource.reservation.is_some() || resource.role.as_ref().is_some_and(|role| role != "*") {
        return Err("it has `reservations` beside the older `role` or `reservation`".to_owned());
    }
    let mut outer = None;
    for level in &resource.reservations {
        let reserved_for = role(level.role())?;
        outer = match level.r#type() {
            schema::ResourceReservationInfoType::Static if outer.is_none() => {
                Some(Reservation::new(reserved_for).ok_or("role `*` cannot be reserved for")?)
            }
            schema::ResourceReservationInfoType::Static => {
                return Err("a static reservation cannot refine another".to_owned());
            }
            schema::ResourceReservationInfoType::Dynamic => {
                Some(dynamic(reserved_for, level, outer)?)
            }
            schema::ResourceReservationInfoType::Unknown => {
                return Err("a reservation must be STATIC or DYNAMIC".to_owned());
            }
        };
    }
    Ok(outer)
}

fn dynamic(
    role: Role,
    made: &schema::ResourceReservationInfo,
    outer: Option<Reservation>,
) -> Result<Reservation, String> {
    let labels = labels(made.labels.as_ref());
    let principal = made.principal.as_deref().unwrap_or_default();
    Reservation::dynamic(role, principal, labels, outer).map_err(|error| error.to_string())
}

fn disk(disk: Option<&schema::ResourceDiskInfo>) -> Result<Option<Disk>, &'static str> {
    let Some(disk) = disk else { return Ok(None) };
    let source = disk.source.as_ref().map(source).transpose()?;
    let volume = match (&disk.persistence, &disk.volume) {
        (None, None) => None,
        (Some(persistence), Some(volume)) => Some(persistent(persistence, volume)?),
        (Some(_), None) => return Err("a persistent volume needs `volume`"),
        (None, Some(_)) => return Err("a volume without `persistence` is not supported"),
    };
    Ok((source.is_some() || volume.is_some()).then_some(Disk { source, volume }))
}

fn source(source: &schema::ResourceDiskInfoSource) -> Result<DiskSource, &'static str> {
    if source.vendor.is_some() || source.profile.is_some() || source.metadata.is_some() {
        return Err("disks of storage plugins are not supported");
    }
    let kind = match source.r#type() {
        schema::ResourceDiskInfoSourceType::Path => DiskKind::Path,
        schema::ResourceDiskInfoSourceType::Mount => DiskKind::Mount,
        schema::ResourceDiskInfoSourceType::Block => DiskKind::Block,
        schema::ResourceDiskInfoSourceType::Raw => DiskKind::Raw,
        schema::ResourceDiskInfoSourceType::Unknown => {
            return Err("the type of its disk is not known");
        }
    };
    let path = source.path.as_ref().and_then(|path| path.root.clone());
    let mount = source.mount.as_ref().and_then(|mount| mount.root.clone());
    let root = path.or(mount).unwrap_or_default();
    Ok(DiskSource { kind, root, id: source.id.clone().unwrap_or_default() })
}

fn persistent(
    persistence: &schema::ResourceDiskInfoPersistence,
    volume: &schema::Volume,
) -> Result<Volume, &'static str> {
    if volume.host_path.is_some() || volume.image.is_some() || volume.source.is_some() {
        return Err("a persistent volume cannot name a host path, an image or a source");
    }
    if volume.mode() != schema::VolumeMode::Rw {
        return Err("a persistent volume must have mode RW");
    }
    Ok(Volume {
        id: persistence.id().to_owned(),
        container_path: volume.container_path().to_owned(),
        principal: persistence.principal.clone().unwrap_or_default(),
    })
}

/// The resources as a framework sees them that has them for `role`; `refined` when it understands
/// stacks of reservations.
#[must_use]
pub fn write_all(resources: &Resources, role: &Role, refined: bool) -> Vec<schema::Resource> {
    resources.iter().map(|resource| write(resource, role, refined)).collect()
}

/// The resource as those see it who look at its agent.
pub(crate) fn write_plain(resource: &Resource) -> schema::Resource {
    written(resource, None, false)
}

fn write(resource: &Resource, role: &Role, refined: bool) -> schema::Resource {
    written(resource, allocated_to(role), refined)
}

fn written(
    resource: &Resource,
    allocation_info: Option<schema::ResourceAllocationInfo>,
    refined: bool,
) -> schema::Resource {
    let metadata = resource.metadata();
    let mut written = schema::Resource {
        name: Some(resource.name().as_str().to_owned()),
        allocation_info,
        disk: metadata.disk.as_ref().map(|disk| Box::new(write_disk(disk))),
        revocable: metadata.revocable.then_some(schema::ResourceRevocableInfo {}),
        shared: metadata.shared.then_some(schema::ResourceSharedInfo {}),
        ..schema::Resource::default()
    };
    write_value(resource.value(), &mut written);
    match &metadata.reservation {
        None => written.role = (!refined).then(|| "*".to_owned()),
        Some(reservation) if refined || reservation.is_refined() => {
            written.reservations = levels(reservation);
        }
        Some(reservation) => {
            written.role = Some(reservation.role().as_str().to_owned());
            let dynamic = reservation.kind() != ReservationKind::Static;
            written.reservation = dynamic.then(|| Box::new(made_by(reservation)));
        }
    }
    written
}

/// Whom a resource or an offer is for.
#[must_use]
pub fn allocated_to(role: &Role) -> Option<schema::ResourceAllocationInfo> {
    Some(schema::ResourceAllocationInfo { role: Some(role.as_str().to_owned()) })
}

fn write_value(value: &Value, written: &mut schema::Resource) {
    let kind = match value {
        Value::Scalar(amount) => {
            written.scalar = Some(schema::ValueScalar { value: Some(number::double(*amount)) });
            schema::ValueType::Scalar
        }
        Value::Ranges(ranges) => {
            written.ranges = Some(write_ranges(ranges));
            schema::ValueType::Ranges
        }
        Value::Set(set) => {
            written.set = Some(schema::ValueSet { item: set.iter().map(str::to_owned).collect() });
            schema::ValueType::Set
        }
    };
    written.set_type(kind);
}

pub(super) fn write_ranges(ranges: &Ranges) -> schema::ValueRanges {
    let range =
        |range: &Range| schema::ValueRange { begin: Some(range.begin()), end: Some(range.end()) };
    schema::ValueRanges { range: ranges.iter().map(range).collect() }
}

/// What the older form says of a reservation beside its role.
fn made_by(reservation: &Reservation) -> schema::ResourceReservationInfo {
    let principal = reservation.principal();
    schema::ResourceReservationInfo {
        principal: (!principal.is_empty()).then(|| principal.to_owned()),
        labels: labels_of(reservation.labels()),
        ..schema::ResourceReservationInfo::default()
    }
}

/// From the outermost level inwards.
fn levels(reservation: &Reservation) -> Vec<schema::ResourceReservationInfo> {
    let mut levels = reservation.outer().map(levels).unwrap_or_default();
    let mut level = made_by(reservation);
    level.role = Some(reservation.role().as_str().to_owned());
    level.set_type(match reservation.kind() {
        ReservationKind::Static => schema::ResourceReservationInfoType::Static,
        ReservationKind::Dynamic | ReservationKind::Unknown => {
            schema::ResourceReservationInfoType::Dynamic
        }
    });
    levels.push(level);
    levels
}

fn write_disk(disk: &Disk) -> schema::ResourceDiskInfo {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let source = disk.source.as_ref().map(|source| {
        let mut written =
            schema::ResourceDiskInfoSource { id: text(&source.id), ..Default::default() };
        let root = text(&source.root);
        let kind = match source.kind {
            DiskKind::Path => {
                written.path = Some(schema::ResourceDiskInfoSourcePath { root });
                schema::ResourceDiskInfoSourceType::Path
            }
            DiskKind::Mount | DiskKind::Unknown => {
                written.mount = Some(schema::ResourceDiskInfoSourceMount { root });
                schema::ResourceDiskInfoSourceType::Mount
            }
            DiskKind::Block => schema::ResourceDiskInfoSourceType::Block,
            DiskKind::Raw => schema::ResourceDiskInfoSourceType::Raw,
        };
        written.set_type(kind);
        written
    });
    let volume = disk.volume.as_ref();
    schema::ResourceDiskInfo {
        persistence: volume.map(|volume| schema::ResourceDiskInfoPersistence {
            id: Some(volume.id.clone()),
            principal: text(&volume.principal),
        }),
        volume: volume.map(|volume| schema::Volume {
            mode: Some(schema::VolumeMode::Rw.into()),
            container_path: Some(volume.container_path.clone()),
            ..schema::Volume::default()
        }),
        source,
    }
}

#[cfg(test)]
mod tests;
