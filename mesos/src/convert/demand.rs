//! What a framework asks for by REQUEST.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    codec,
    ids::{AgentId, ClusterId},
    resources::{Resource, Resources},
    role::Role,
    wishes::{REQUESTS_MAX, ResourceRequest},
};

use super::{ids, resource};
use crate::schema;

/// The most bytes that the requests of a framework may have, in all its roles together: they are kept for
/// the next leader.
const BYTES_MAX: usize = 256 * 1024;

/// Reads what is asked for, by role: a request is of the role that the `allocation_info` of its resources
/// names, and of each of these roles when it names none. Roles of which nothing is asked are not in it.
///
/// # Errors
/// Says which request cannot be, and why.
pub fn read(
    cluster: ClusterId,
    asked: &[schema::Request],
    roles: &BTreeSet<Role>,
) -> Result<BTreeMap<Role, Vec<ResourceRequest>>, String> {
    let mut named: BTreeMap<Role, Vec<ResourceRequest>> = BTreeMap::new();
    let mut of_all = Vec::new();
    for (index, asked) in asked.iter().enumerate() {
        let (role, request) = request(cluster, asked, roles)
            .map_err(|why| format!("'requests' is not valid at place {}: {why}", index + 1))?;
        add(role.map_or(&mut of_all, |role| named.entry(role).or_default()), request)?;
    }
    let bytes = codec::encode(&named).len() + codec::encode(&of_all).len() * roles.len();
    if bytes > BYTES_MAX {
        return Err(format!(
            "'requests' are too large: in all roles together they have {bytes} bytes, at most \
             {BYTES_MAX} are kept"
        ));
    }
    for role in roles.iter().filter(|_| !of_all.is_empty()) {
        let of_role = named.entry(role.clone()).or_default();
        of_all.iter().try_for_each(|request| add(of_role, request.clone()))?;
    }
    Ok(named)
}

/// The same asked for once more is wanted once more.
fn add(to: &mut Vec<ResourceRequest>, request: ResourceRequest) -> Result<(), String> {
    let same = |one: &&mut ResourceRequest| {
        one.agent == request.agent && one.resources == request.resources
    };
    let known = to.len();
    match to.iter_mut().find(same) {
        Some(one) => one.count = one.count.saturating_add(request.count),
        // Here, since each one is held against all that were named before.
        None if known >= REQUESTS_MAX => {
            return Err(format!(
                "'requests' asks for more than {REQUESTS_MAX} different things in a role, and no more \
                 are taken: the same thing twice counts once"
            ));
        }
        None => to.push(request),
    }
    Ok(())
}

fn request(
    cluster: ClusterId,
    asked: &schema::Request,
    roles: &BTreeSet<Role>,
) -> Result<(Option<Role>, ResourceRequest), String> {
    let agent = asked.agent_id.as_ref().map(|id| agent(cluster, id)).transpose()?;
    let role = role_of(&asked.resources, roles)?;
    let amounts = asked.resources.iter().map(|resource| amount(resource, roles));
    // For whom they are reserved does not matter.
    let resources = amounts.collect::<Result<Resources, _>>()?.flatten();
    if resources.is_empty() {
        return Err("it asks for no resources".to_owned());
    }
    Ok((role, ResourceRequest { agent, resources, count: 1 }))
}

fn agent(cluster: ClusterId, id: &schema::AgentId) -> Result<AgentId, String> {
    let text = id.value();
    let known = ids::read_agent(cluster, text);
    known.ok_or_else(|| format!("agent {text:?} is none of this cluster"))
}

/// The one role that the resources name, if they name one.
fn role_of(resources: &[schema::Resource], roles: &BTreeSet<Role>) -> Result<Option<Role>, String> {
    let mut names =
        resources.iter().filter_map(|resource| resource.allocation_info.as_ref()?.role.as_deref());
    let Some(name) = names.next() else { return Ok(None) };
    if let Some(other) = names.find(|other| *other != name) {
        return Err(format!("its resources name the roles {name:?} and {other:?}, not one"));
    }
    let role = roles.get(name).cloned();
    let role = role.ok_or_else(|| format!("role {name:?} is not one of the framework's roles"))?;
    Ok(Some(role))
}

/// So much of something.
fn amount(resource: &schema::Resource, roles: &BTreeSet<Role>) -> Result<Resource, String> {
    let read = resource::read(resource, roles)?;
    let metadata = read.metadata();
    if metadata.disk.is_some() || metadata.shared || metadata.revocable {
        let name = resource.name();
        return Err(format!(
            "`{name}` is a volume, a disk of its own or revocable: only amounts can be asked for"
        ));
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
