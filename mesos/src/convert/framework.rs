//! What a framework says of itself.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo},
    role::Role,
    wishes::OfferWishes,
};

use super::{labels, number, wishes};
use crate::schema::{self, FrameworkInfoCapabilityType as Capability};

/// The longest time for which a framework's tasks outlive it; longer ones are cut to it.
const FAILOVER_MAX_MS: u64 = 365 * 24 * 3600 * 1000;

/// A framework as it describes itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// What is kept of it.
    pub info: FrameworkInfo,
    /// Roles in which it wants nothing.
    pub suppressed: BTreeSet<Role>,
    /// What it wishes of offers.
    pub wishes: BTreeMap<Role, OfferWishes>,
    /// What it must go on to say.
    pub fixed: Fixed,
}

/// What a framework says of itself that must not change while it is subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    principal: Option<String>,
    user: String,
    checkpoint: bool,
}

impl Fixed {
    fn read(info: &schema::FrameworkInfo) -> Self {
        Self {
            principal: info.principal.clone(),
            user: info.user().to_owned(),
            checkpoint: info.checkpoint(),
        }
    }

    /// Whether the framework may say this from now on.
    ///
    /// # Errors
    /// Says what has changed.
    pub fn check(&self, now: &Self) -> Result<(), String> {
        let wrong = |field: &str, before: String, now: String| {
            Err(format!(
                "Updating 'FrameworkInfo.{field}' is unsupported; attempted to update from \
                 '{before}' to '{now}'"
            ))
        };
        if self.principal != now.principal {
            return Err("Changing framework's principal is not allowed.".to_owned());
        }
        if self.user != now.user {
            return wrong("user", self.user.clone(), now.user.clone());
        }
        if self.checkpoint != now.checkpoint {
            return wrong("checkpoint", self.checkpoint.to_string(), now.checkpoint.to_string());
        }
        Ok(())
    }
}

/// Reads a description.
///
/// # Errors
/// Says which rule it breaks.
pub fn read(
    info: &schema::FrameworkInfo,
    suppressed: &[String],
    constraints: Option<&schema::OfferConstraints>,
) -> Result<Description, String> {
    let named: BTreeSet<Capability> = info.capabilities.iter().map(|it| it.r#type()).collect();
    let has = |capability| named.contains(&capability);
    let roles = roles(info, has(Capability::MultiRole))?;
    let timeout = info.failover_timeout.unwrap_or_default();
    let failover_timeout_ms = number::millis(timeout, FAILOVER_MAX_MS).ok_or_else(|| {
        format!("The framework's 'failover_timeout' is not valid: {timeout} is no length of time")
    })?;
    let capabilities = Capabilities {
        partition_aware: has(Capability::PartitionAware),
        task_killing_state: has(Capability::TaskKillingState),
        gpu_resources: has(Capability::GpuResources),
        shared_resources: has(Capability::SharedResources),
        revocable_resources: has(Capability::RevocableResources),
        reservation_refinement: has(Capability::ReservationRefinement),
        region_aware: has(Capability::RegionAware),
        gang_offers: false,
    };
    let suppressed = suppressed.iter().map(|name| among(&roles, name, "suppressed_roles"));
    Ok(Description {
        suppressed: suppressed.collect::<Result<_, _>>()?,
        wishes: wishes::read(&roles, &info.offer_filters, constraints)?,
        fixed: Fixed::read(info),
        info: FrameworkInfo {
            name: info.name().to_owned(),
            user: info.user().to_owned(),
            roles,
            failover_timeout_ms,
            capabilities,
            hostname: info.hostname().to_owned(),
            webui_url: info.webui_url().to_owned(),
            labels: labels(info.labels.as_ref()),
        },
    })
}

fn roles(info: &schema::FrameworkInfo, several: bool) -> Result<BTreeSet<Role>, String> {
    let wrong = |why: String| format!("The framework's roles are not valid: {why}");
    let role = |name: &String| Role::new(name).map_err(|error| wrong(error.to_string()));
    if several {
        if info.role.is_some() {
            let why = "'role' must not be set with the MULTI_ROLE capability, only 'roles'";
            return Err(wrong(why.to_owned()));
        }
        let roles: BTreeSet<Role> = info.roles.iter().map(role).collect::<Result<_, _>>()?;
        if roles.len() < info.roles.len() {
            return Err(wrong("a role is named twice".to_owned()));
        }
        return Ok(roles);
    }
    if !info.roles.is_empty() {
        return Err(wrong("'roles' needs the MULTI_ROLE capability".to_owned()));
    }
    Ok([info.role.as_ref().map_or_else(|| Ok(Role::default()), role)?].into())
}

/// The role of that name, which must be one of these.
pub(super) fn among(roles: &BTreeSet<Role>, name: &str, field: &str) -> Result<Role, String> {
    roles.get(name).cloned().ok_or_else(|| {
        format!("'{field}' names role {name:?}, which is not one of the framework's roles")
    })
}

/// Roles that a call names.
///
/// # Errors
/// When one of them is no role.
pub fn read_roles(names: &[String]) -> Result<BTreeSet<Role>, String> {
    names.iter().map(|name| Role::new(name).map_err(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests;
