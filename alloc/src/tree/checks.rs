//! Whether quotas that are to be set make sense beside the others and the cluster as it is.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    resources::{Amount, ResourceName},
    role::Role,
};

use super::Tree;
use crate::quota::{Quota, QuotaError};

/// The quotas of all roles.
type Quotas<'a> = BTreeMap<&'a Role, &'a Quota>;

impl Tree {
    /// Whether quotas that are set together make sense beside the others and the cluster as it is.
    pub(crate) fn check_quotas(&self, quotas: &BTreeMap<Role, Quota>) -> Result<(), QuotaError> {
        let all: Quotas<'_> = self.settings.quotas.iter().chain(quotas).collect();
        for (role, quota) in quotas {
            let negative = quota.limit.iter().find(|(_, amount)| amount.is_negative());
            if let Some((name, amount)) = negative {
                let (role, name, amount) = (role.clone(), name.clone(), *amount);
                return Err(QuotaError::Negative { role, name, amount });
            }
            check_reachable(role, quota, &all)?;
            self.check_lowered(role, quota, &all)?;
            let consumption = self.consumption(role);
            for (name, limit) in &quota.limit {
                let consumed = consumption.get(name);
                if consumed > *limit {
                    let (role, name, limit) = (role.clone(), name.clone(), *limit);
                    return Err(QuotaError::BelowConsumption { role, name, consumed, limit });
                }
            }
        }
        check_guarantees_within(quotas, &all)?;
        self.check_capacity(quotas, &all)
    }

    /// Whether a limit that is set or lowered leaves the roles below what they may reach of their own.
    fn check_lowered(
        &self,
        role: &Role,
        quota: &Quota,
        all: &Quotas<'_>,
    ) -> Result<(), QuotaError> {
        let before = self.settings.quotas.get(role);
        let lowered = |name: &ResourceName, limit: Amount| {
            before.and_then(|before| before.limit.get(name)).is_none_or(|before| limit < *before)
        };
        let lowered: Vec<_> =
            quota.limit.iter().filter(|(name, limit)| lowered(name, **limit)).collect();
        if lowered.is_empty() {
            return Ok(());
        }
        for (below, theirs) in below(role, all) {
            let beyond = |(name, limit): &(&ResourceName, &Amount)| {
                theirs.limit.get(*name).filter(|lower| *lower > *limit).copied()
            };
            let found = lowered.iter().find_map(|it| Some((*it, beyond(it)?)));
            if let Some(((name, limit), lower)) = found {
                let (role, name, below) = (role.clone(), name.clone(), below.clone());
                return Err(QuotaError::LimitBelowLimit {
                    role,
                    name,
                    limit: *limit,
                    below,
                    lower,
                });
            }
        }
        Ok(())
    }

    /// Whether the cluster has what all roles together are guaranteed.
    fn check_capacity(
        &self,
        quotas: &BTreeMap<Role, Quota>,
        all: &Quotas<'_>,
    ) -> Result<(), QuotaError> {
        let mut looked_at = BTreeSet::new();
        for (role, quota) in quotas {
            for (name, _) in quota.guarantee.iter() {
                if !looked_at.insert(name) {
                    continue;
                }
                let guaranteed = sum(&guaranteed(name, all));
                let total = self.total.get(name);
                if guaranteed > total {
                    let (role, name) = (role.clone(), name.clone());
                    return Err(QuotaError::BeyondCluster { role, name, guaranteed, total });
                }
            }
        }
        Ok(())
    }
}

/// Whether no limit of the role or of one above it keeps it from what it is to be guaranteed, and none
/// above it from its own limit.
fn check_reachable(role: &Role, quota: &Quota, all: &Quotas<'_>) -> Result<(), QuotaError> {
    for limited in role.with_those_above() {
        let Some(Quota { limit, .. }) = all.get(&limited) else { continue };
        let beyond = |(name, own): (&ResourceName, &Amount)| {
            limit.get(name).filter(|above| *above < own).map(|above| (name.clone(), *own, *above))
        };
        if let Some((name, own, above)) = quota.limit.iter().find_map(beyond) {
            let role = role.clone();
            return Err(QuotaError::LimitAboveLimit { role, name, limit: own, limited, above });
        }
        for (name, guarantee) in quota.guarantee.iter() {
            if let Some(&limit) = limit.get(name).filter(|limit| **limit < guarantee) {
                let (role, name) = (role.clone(), name.clone());
                return Err(QuotaError::GuaranteeAboveLimit {
                    role,
                    name,
                    guarantee,
                    limited,
                    limit,
                });
            }
        }
    }
    Ok(())
}

/// Whether what the roles in one that has a limit are guaranteed together fits into that, as far as the
/// quotas that are set have a part in it.
fn check_guarantees_within(
    quotas: &BTreeMap<Role, Quota>,
    all: &Quotas<'_>,
) -> Result<(), QuotaError> {
    let mut looked_at = BTreeSet::new();
    for (role, quota) in quotas {
        for limited in role.with_those_above() {
            let Some(theirs) = all.get(&limited) else { continue };
            for (name, limit) in &theirs.limit {
                let concerned = limited == *role || !quota.guarantee.get(name).is_zero();
                if !concerned || !looked_at.insert((limited.clone(), name)) {
                    continue;
                }
                let roles = guaranteed(name, &below(&limited, all).collect());
                let guaranteed = sum(&roles);
                if guaranteed > *limit {
                    let (name, limit) = (name.clone(), *limit);
                    return Err(QuotaError::GuaranteesAboveLimit {
                        limited,
                        name,
                        guaranteed,
                        roles,
                        limit,
                    });
                }
            }
        }
    }
    Ok(())
}

/// The quotas of the roles below one: in the order of names they are among those that begin with its
/// name.
fn below<'a>(role: &'a Role, all: &'a Quotas<'_>) -> impl Iterator<Item = (&'a Role, &'a Quota)> {
    all.range::<&Role, _>(role..)
        .map(|(known, quota)| (*known, *quota))
        .take_while(|(known, _)| known.as_str().starts_with(role.as_str()))
        .filter(|(known, _)| role.is_ancestor_of(known))
}

fn sum(amounts: &[(Role, Amount)]) -> Amount {
    amounts.iter().fold(Amount::ZERO, |sum, (_, amount)| sum.saturating_add(*amount))
}

/// What some roles are guaranteed of a resource, those alone that are below no other of them: what is
/// guaranteed to a role is guaranteed to those below it, or they to it, whichever is more.
fn guaranteed(name: &ResourceName, of: &Quotas<'_>) -> Vec<(Role, Amount)> {
    let mut below: BTreeMap<&Role, Amount> = BTreeMap::new();
    let mut heads = Vec::new();
    // A role stands before those below it, so these are known when its turn comes.
    for (&role, quota) in of.iter().rev() {
        let inside = below.remove(role).unwrap_or(Amount::ZERO);
        let amount = quota.guarantee.get(name).max(inside);
        let mut above = std::iter::successors(role.parent(), Role::parent);
        match above.find_map(|above| Some(*of.get_key_value(&above)?.0)) {
            Some(above) => {
                let sum = below.entry(above).or_insert(Amount::ZERO);
                *sum = sum.saturating_add(amount);
            }
            None if amount.is_zero() => {}
            None => heads.push((role.clone(), amount)),
        }
    }
    heads.reverse();
    heads
}
