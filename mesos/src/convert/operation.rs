//! Operations on offers other than launches.

use std::collections::BTreeSet;

use meshos_protocol::{ids::OperationId, operation::Operation, role::Role};

use super::{number, resource};
use crate::schema;

/// Reads an operation on offers for these roles.
///
/// # Errors
/// When it is not valid, or this release cannot do it: the sentence says so.
pub fn read(
    operation: &schema::OfferOperation,
    roles: &BTreeSet<Role>,
) -> Result<Operation, String> {
    use schema::OfferOperationType as Type;
    let kind = operation.r#type();
    let absent = || format!("Expecting '{}' to be present", field(kind));
    let all = |resources: &[schema::Resource]| resource::read_all(resources, roles);
    let one = |resource: &Option<schema::Resource>| {
        resource::read(resource.as_ref().ok_or_else(absent)?, roles)
    };
    match kind {
        Type::Reserve => {
            let reserve = operation.reserve.as_ref().ok_or_else(absent)?;
            if !reserve.source.is_empty() {
                return Err("'reserve.source' is not supported by this release".to_owned());
            }
            Ok(Operation::Reserve { resources: all(&reserve.resources)? })
        }
        Type::Unreserve => {
            let unreserve = operation.unreserve.as_ref().ok_or_else(absent)?;
            Ok(Operation::Unreserve { resources: all(&unreserve.resources)? })
        }
        Type::Create => {
            let create = operation.create.as_ref().ok_or_else(absent)?;
            Ok(Operation::Create { volumes: all(&create.volumes)? })
        }
        Type::Destroy => {
            let destroy = operation.destroy.as_ref().ok_or_else(absent)?;
            Ok(Operation::Destroy { volumes: all(&destroy.volumes)? })
        }
        Type::GrowVolume => {
            let grow = operation.grow_volume.as_ref().ok_or_else(absent)?;
            Ok(Operation::Grow { volume: one(&grow.volume)?, addition: one(&grow.addition)? })
        }
        Type::ShrinkVolume => {
            let shrink = operation.shrink_volume.as_ref().ok_or_else(absent)?;
            let subtract = shrink.subtract.as_ref().map(schema::ValueScalar::value);
            let subtract = subtract.and_then(number::amount);
            let subtract = subtract.ok_or("'shrink_volume.subtract' is no amount")?;
            Ok(Operation::Shrink { volume: one(&shrink.volume)?, subtract })
        }
        Type::CreateDisk | Type::DestroyDisk => {
            Err("Disks of storage plugins are not supported by this release".to_owned())
        }
        Type::Launch | Type::LaunchGroup => Err("a launch is no such operation".to_owned()),
        Type::Unknown => Err("Unknown offer operation".to_owned()),
    }
}

/// The field of a call's operation that goes with its type.
#[must_use]
pub const fn field(kind: schema::OfferOperationType) -> &'static str {
    use schema::OfferOperationType as Type;
    match kind {
        Type::Launch => "launch",
        Type::LaunchGroup => "launch_group",
        Type::Reserve => "reserve",
        Type::Unreserve => "unreserve",
        Type::Create => "create",
        Type::Destroy => "destroy",
        Type::GrowVolume => "grow_volume",
        Type::ShrinkVolume => "shrink_volume",
        Type::CreateDisk => "create_disk",
        Type::DestroyDisk => "destroy_disk",
        Type::Unknown => "type",
    }
}

/// The id that a framework chose, if it chose one.
///
/// # Errors
/// When it cannot be one.
pub fn id(id: Option<&schema::OperationId>) -> Result<Option<OperationId>, String> {
    id.map(|id| OperationId::new(id.value()).map_err(|error| error.to_string())).transpose()
}

#[cfg(test)]
mod tests;
