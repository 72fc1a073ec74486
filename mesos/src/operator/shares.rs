//! Weights and quota.

use std::collections::{BTreeMap, BTreeSet};

use meshos_alloc::Quota;
use meshos_control::master::{OperatorCall, View};
use meshos_protocol::{
    resources::{Amount, Resource, ResourceName},
    role::Role,
};

use super::change::{body, invalid};
use crate::{
    codec::Refused,
    convert::{number, resource},
    reads::has_quota,
    schema,
};

type Amounts = BTreeMap<ResourceName, Amount>;

fn role(name: &str) -> Result<Role, String> {
    Role::new(name).map_err(|error| error.to_string())
}

/// Each role once.
fn by_role<T>(
    pairs: impl Iterator<Item = Result<(Role, T), String>>,
) -> Result<BTreeMap<Role, T>, String> {
    let mut by_role = BTreeMap::new();
    for pair in pairs {
        let (role, value) = pair?;
        if by_role.contains_key(&role) {
            return Err(format!("role '{role}' is named twice"));
        }
        by_role.insert(role, value);
    }
    Ok(by_role)
}

pub(super) fn weights(
    update: &schema::MasterCallUpdateWeights,
) -> Result<Option<OperatorCall>, Refused> {
    let weight = |info: &schema::WeightInfo| {
        let role = role(info.role())?;
        let millis = number::amount(info.weight()).and_then(|it| u64::try_from(it.millis()).ok());
        let millis = millis.filter(|millis| *millis > 0);
        let millis = millis.ok_or_else(|| {
            format!("the weight of role '{role}' must be a number of at least 0.001")
        })?;
        Ok((role, millis))
    };
    let weights = by_role(update.weight_infos.iter().map(weight));
    let weights = weights.map_err(|why| invalid(format!("Invalid WeightInfo: {why}")))?;
    Ok((!weights.is_empty()).then_some(OperatorCall::SetWeights { weights }))
}

pub(super) fn quotas(
    update: &schema::MasterCallUpdateQuota,
) -> Result<Option<OperatorCall>, Refused> {
    let quota = |config: &schema::QuotaConfig| {
        let guarantee = amounts(&config.guarantees)?.into_iter().collect();
        Ok((role(config.role())?, Quota { guarantee, limit: amounts(&config.limits)? }))
    };
    let quotas = by_role(update.quota_configs.iter().map(quota));
    let quotas = quotas.map_err(|why| invalid(format!("Invalid QuotaConfig: {why}")))?;
    let force = update.force();
    Ok((!quotas.is_empty()).then_some(OperatorCall::SetQuotas { quotas, force }))
}

fn amounts(of: &BTreeMap<String, schema::ValueScalar>) -> Result<Amounts, String> {
    let amount = |(name, scalar): (&String, &schema::ValueScalar)| {
        let named = ResourceName::new(name).map_err(|error| error.to_string())?;
        let value = scalar.value();
        let amount = number::amount(value).filter(|amount| !amount.is_negative());
        let amount = amount.ok_or_else(|| format!("{value} of {name} is no amount"))?;
        Ok((named, amount))
    };
    of.iter().map(amount).collect()
}

/// Whether a role has a quota, as the leader's picture has it.
fn is_limited(view: &View, role: &Role) -> bool {
    view.roles.iter().any(|it| it.role == *role && has_quota(it))
}

/// The older form: what is guaranteed is the limit, too, and what is set is not changed.
pub(super) fn set_quota(
    set: &schema::MasterCallSetQuota,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let request = body(set.quota_request.as_ref())?;
    let refused = |why: String| invalid(format!("Invalid QuotaRequest: {why}"));
    let role = role(request.role()).map_err(refused)?;
    let mut limit = Amounts::new();
    for resource in &request.guarantee {
        let (name, amount) = guaranteed(resource).map_err(refused)?;
        if limit.insert(name.clone(), amount).is_some() {
            return Err(refused(format!("{name} is named twice")));
        }
    }
    if limit.values().all(|amount| amount.is_zero()) {
        return Err(refused("it guarantees nothing".to_owned()));
    }
    if is_limited(view, &role) {
        let why =
            format!("role '{role}' has a quota already: remove it first, or use UPDATE_QUOTA");
        return Err(refused(why));
    }
    let guarantee = limit.iter().map(|(name, amount)| (name.clone(), *amount)).collect();
    let quotas = [(role, Quota { guarantee, limit })].into();
    Ok(Some(OperatorCall::SetQuotas { quotas, force: request.force() }))
}

fn guaranteed(resource: &schema::Resource) -> Result<(ResourceName, Amount), String> {
    let read: Resource = resource::read(resource, &BTreeSet::new())?;
    let metadata = read.metadata();
    let plain = metadata.is_unreserved() && metadata.is_plain();
    let amount = read.amount().filter(|_| plain);
    let amount = amount.ok_or_else(|| {
        format!("only amounts that are nobody's can be guaranteed, and {read} is none")
    })?;
    Ok((read.name().clone(), amount))
}

pub(super) fn remove_quota(
    remove: &schema::MasterCallRemoveQuota,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let role = role(remove.role()).map_err(invalid)?;
    if !is_limited(view, &role) {
        return Err(invalid(format!("Role '{role}' has no quota that could be removed")));
    }
    let quotas = [(role, Quota::default())].into();
    Ok(Some(OperatorCall::SetQuotas { quotas, force: true }))
}
