//! Operations on what nobody uses of an agent.

use std::collections::BTreeSet;

use meshos_protocol::{
    operation::Operation,
    resources::{Metadata, Reservation, Resource, Resources},
};

use super::{
    call::{Operating, absent},
    change::{Caller, body, invalid},
};
use crate::{
    codec::Refused,
    convert::{number, resource},
    schema::{self, MasterCall},
};

/// Reads an operation, and on which agent.
pub(super) fn read<'a>(
    operating: Operating,
    call: &'a MasterCall,
    caller: Caller<'_>,
) -> Result<(Option<&'a schema::AgentId>, Operation), Refused> {
    let (agent, operation) = match operating {
        Operating::Reserve => {
            let reserve = body(call.reserve_resources.as_ref())?;
            if !reserve.source.is_empty() {
                let why = "'reserve_resources.source' is not supported by this release: unreserve, then reserve";
                return Err(Refused::new(501, why));
            }
            let resources = all(&reserve.resources)?;
            for resource in &resources {
                let made = resource.metadata().reservation.as_ref();
                made_by(made.map(Reservation::principal), "reservation", caller)?;
            }
            (reserve.agent_id.as_ref(), Operation::Reserve { resources })
        }
        Operating::Unreserve => {
            let unreserve = body(call.unreserve_resources.as_ref())?;
            let resources = all(&unreserve.resources)?;
            (unreserve.agent_id.as_ref(), Operation::Unreserve { resources })
        }
        Operating::Create => {
            let create = body(call.create_volumes.as_ref())?;
            let volumes = all(&create.volumes)?;
            for resource in &volumes {
                made_by(volume_principal(resource.metadata()), "volume", caller)?;
            }
            (create.agent_id.as_ref(), Operation::Create { volumes })
        }
        Operating::Destroy => {
            let destroy = body(call.destroy_volumes.as_ref())?;
            (destroy.agent_id.as_ref(), Operation::Destroy { volumes: all(&destroy.volumes)? })
        }
        Operating::Grow => {
            let grow = body(call.grow_volume.as_deref())?;
            let (volume, addition) = (one(grow.volume.as_ref())?, one(grow.addition.as_ref())?);
            (of(grow.agent_id.as_ref(), "grow_volume")?, Operation::Grow { volume, addition })
        }
        Operating::Shrink => {
            let shrink = body(call.shrink_volume.as_deref())?;
            let volume = one(shrink.volume.as_ref())?;
            let subtract = shrink.subtract.as_ref().map(schema::ValueScalar::value);
            let subtract = subtract.and_then(number::amount);
            let subtract =
                subtract.ok_or_else(|| invalid("'shrink_volume.subtract' is no amount"))?;
            (of(shrink.agent_id.as_ref(), "shrink_volume")?, Operation::Shrink { volume, subtract })
        }
    };
    operation.conversion().map_err(|error| invalid(format!("Invalid operation: {error}")))?;
    Ok((agent, operation))
}

/// The agent of a call that may leave it out where the volume is one of a storage plugin, which there are none of.
fn of<'a>(
    agent: Option<&'a schema::AgentId>,
    call: &str,
) -> Result<Option<&'a schema::AgentId>, Refused> {
    agent.map(Some).ok_or_else(|| absent(&format!("{call}.agent_id")))
}

fn all(resources: &[schema::Resource]) -> Result<Resources, Refused> {
    resources.iter().map(|resource| one(Some(resource))).collect()
}

fn one(resource: Option<&schema::Resource>) -> Result<Resource, Refused> {
    let resource = body(resource)?;
    if resource.allocation_info.is_some() {
        let name = resource.name();
        return Err(invalid(format!(
            "Resource `{name}` is not valid: it has `allocation_info`, and operators change what is allocated to nobody"
        )));
    }
    resource::read(resource, &BTreeSet::new()).map_err(invalid)
}

fn volume_principal(metadata: &Metadata) -> Option<&str> {
    let volume = metadata.disk.as_ref()?.volume.as_ref()?;
    Some(&volume.principal)
}

/// Who made something is who calls, or whom somebody names who may speak for all.
fn made_by(named: Option<&str>, what: &str, caller: Caller<'_>) -> Result<(), Refused> {
    match named {
        Some(named) if !caller.in_any_name && named != caller.principal => {
            let principal = caller.principal;
            Err(invalid(format!(
                "A {what} that principal '{principal}' makes must name that principal, and not '{named}'"
            )))
        }
        Some(_) | None => Ok(()),
    }
}
