//! Which volumes there are, and where they lie.

use std::collections::BTreeSet;

use meshos_protocol::{
    ids::OperationUuid,
    operation::Conversion,
    resources::{DiskKind, Resource, Resources},
    role::Role,
};

/// What the names of the directories begin with whose volumes an operation made.
pub(super) fn directories_of(uuid: OperationUuid) -> String {
    format!("v{}-{}-", uuid.term, uuid.number)
}

/// Below which directory of a disk besides the node's own volumes lie.
const VOLUMES_OF_DISK: &str = "meshos-volumes";

/// Where the volume lies that has a directory of this name.
pub(super) fn directory_of(volume: &Resource, name: &str) -> String {
    let disk = volume.metadata().disk.as_ref();
    match disk.and_then(|disk| disk.source.as_ref()) {
        Some(source) => format!("{}/{VOLUMES_OF_DISK}/{name}", source.root),
        None => name.to_owned(),
    }
}

/// Whether the directory is that of a volume which an operation made.
pub(super) fn is_of(directory: &str, uuid: OperationUuid) -> bool {
    let name = directory.rsplit('/').next().unwrap_or(directory);
    name.starts_with(&directories_of(uuid))
}

/// Why a volume cannot be made where it is to be: it needs a file system to lie on.
pub(super) fn misplaced(conversion: &Conversion) -> Option<String> {
    let without_files = |volume: &&Resource| {
        let disk = volume.metadata().disk.as_ref().filter(|disk| disk.volume.is_some());
        disk.and_then(|disk| disk.source.as_ref()).is_some_and(|source| match source.kind {
            DiskKind::Path | DiskKind::Mount => !source.root.starts_with('/'),
            DiskKind::Block | DiskKind::Raw | DiskKind::Unknown => true,
        })
    };
    let volume = conversion.converted.iter().find(without_files)?;
    Some(format!("`{volume}` is of a disk without a file system, on which no volume can lie"))
}

pub(super) fn volume_name(resource: &Resource) -> Option<(&Role, &str)> {
    let metadata = resource.metadata();
    let volume = metadata.disk.as_ref()?.volume.as_ref()?;
    Some((metadata.reserved_role()?, volume.id.as_str()))
}

/// A volume that a conversion would make although there is one: its id is unique in its role.
pub(crate) fn clashing_volume<'a>(
    total: &Resources,
    conversion: &'a Conversion,
) -> Option<(&'a Role, &'a str)> {
    let rest = total.saturating_sub(&conversion.consumed);
    let mut seen: BTreeSet<(&Role, &str)> = rest.iter().filter_map(volume_name).collect();
    let made = conversion.converted.iter().filter_map(volume_name);
    made.into_iter().find(|name| !seen.insert(*name))
}
