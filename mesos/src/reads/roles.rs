//! Roles.

use std::collections::{BTreeMap, BTreeSet};

use meshos_control::master::RoleView;
use meshos_protocol::{
    ids::FrameworkId,
    resources::{Amount, Metadata, Resource, ResourceName, Resources, ScalarQuantities},
    role::Role,
};
use serde::{Serialize, Serializer};

use super::{frameworks::Owned, picture::Picture};
use crate::convert::number;

/// What a role has and may have.
pub(super) struct RoleFacts<'a> {
    pub(super) role: &'a Role,
    pub(super) view: Option<&'a RoleView>,
    /// What its tasks and executors, and those of the roles below it, hold.
    pub(super) allocated: Resources,
    /// What is offered to it and those below it.
    pub(super) offered: Resources,
    /// What is reserved for it, and not for one below it.
    pub(super) reserved: Resources,
    /// The frameworks that are in it.
    pub(super) frameworks: BTreeSet<FrameworkId>,
}

#[derive(Serialize)]
struct RoleRow<'a> {
    name: &'a str,
    weight: f64,
    quota: QuotaRow<'a>,
    /// What it holds, offered or allocated.
    resources: Owned,
    allocated: Owned,
    offered: Owned,
    reserved: Owned,
    frameworks: Vec<String>,
}

#[derive(Serialize)]
struct QuotaRow<'a> {
    role: &'a str,
    guarantee: Quantities,
    limit: Quantities,
    consumed: Quantities,
}

/// Amounts by name; what is not there is not named.
pub(super) struct Quantities(pub(super) Vec<(ResourceName, Amount)>);

impl Serialize for Quantities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.iter();
        serializer.collect_map(entries.map(|(name, it)| (name.as_str(), number::double(*it))))
    }
}

/// The weight as a number.
pub(super) fn weight(view: Option<&RoleView>) -> f64 {
    number::seconds(view.map_or(1_000, |view| view.weight_millis))
}

/// All roles that somebody is in, or that something was set or reserved for.
pub(super) fn facts<'a>(picture: &'a Picture<'_>) -> Vec<RoleFacts<'a>> {
    let mut known: BTreeMap<&Role, RoleFacts<'_>> = BTreeMap::new();
    let blank = |role| RoleFacts {
        role,
        view: None,
        allocated: Resources::new(),
        offered: Resources::new(),
        reserved: Resources::new(),
        frameworks: BTreeSet::new(),
    };
    for view in picture.view.roles.iter() {
        known.entry(&view.role).or_insert_with(|| blank(&view.role)).view = Some(view);
    }
    for framework in picture.frameworks.values() {
        for role in &framework.roles {
            known.entry(role).or_insert_with(|| blank(role)).frameworks.insert(framework.id);
        }
    }
    for agent in picture.registered() {
        for resource in agent.resources.iter() {
            let Some(role) = resource.metadata().reserved_role() else { continue };
            if resource.amount().is_some() {
                let alone: Resources = resource.clone().into();
                let facts = known.entry(role).or_insert_with(|| blank(role));
                facts.reserved += &alone.flatten();
            }
        }
    }
    let mut facts: Vec<RoleFacts<'_>> = known.into_values().collect();
    for it in &mut facts {
        let Some(view) = it.view else { continue };
        it.offered = resources(&view.offered);
        it.allocated = resources(&view.held.saturating_sub(&view.offered));
    }
    facts
}

/// Amounts as resources that are nobody's.
pub(super) fn resources(of: &ScalarQuantities) -> Resources {
    let resource = |(name, amount): (&ResourceName, Amount)| {
        Resource::new(name.clone(), Metadata::UNRESERVED, amount).ok()
    };
    of.iter().filter_map(resource).collect()
}

#[derive(Serialize)]
struct Roles<'a> {
    roles: Vec<RoleRow<'a>>,
}

/// `/roles`.
pub fn roles<'a>(picture: &'a Picture<'_>) -> impl Serialize + 'a {
    let row = |facts: RoleFacts<'a>| {
        let pairs = |of: Option<&ScalarQuantities>| {
            let pairs = of.into_iter().flat_map(|of| of.iter());
            Quantities(pairs.map(|(name, amount)| (name.clone(), amount)).collect())
        };
        let limit = facts.view.into_iter().flat_map(|view| &view.limit);
        RoleRow {
            name: facts.role.as_str(),
            weight: weight(facts.view),
            quota: QuotaRow {
                role: facts.role.as_str(),
                guarantee: pairs(facts.view.map(|view| &view.guarantee)),
                limit: Quantities(limit.map(|(name, it)| (name.clone(), *it)).collect()),
                consumed: pairs(facts.view.map(|view| &view.consumed)),
            },
            resources: Owned(facts.allocated.clone() + &facts.offered),
            allocated: Owned(facts.allocated),
            offered: Owned(facts.offered),
            reserved: Owned(facts.reserved),
            frameworks: facts.frameworks.iter().map(|id| picture.framework_text(*id)).collect(),
        }
    };
    Roles { roles: facts(picture).into_iter().map(row).collect() }
}

#[derive(Serialize)]
struct WeightRow<'a> {
    role: &'a str,
    weight: f64,
}

/// Roles whose weight somebody has set.
pub(super) fn weighted<'a>(picture: &'a Picture<'_>) -> impl Iterator<Item = &'a RoleView> {
    picture.view.roles.iter().filter(|view| view.weight_millis != 1_000)
}

/// `/weights`: those that are not 1.
pub fn weights<'a>(picture: &'a Picture<'_>) -> impl Serialize + 'a {
    let row =
        |view: &'a RoleView| WeightRow { role: view.role.as_str(), weight: weight(Some(view)) };
    weighted(picture).map(row).collect::<Vec<_>>()
}

/// Whether it has a quota.
pub(crate) fn has_quota(view: &RoleView) -> bool {
    !view.guarantee.is_empty() || !view.limit.is_empty()
}

/// Roles that have a quota.
pub(super) fn limited<'a>(picture: &'a Picture<'_>) -> impl Iterator<Item = &'a RoleView> {
    picture.view.roles.iter().filter(|view| has_quota(view))
}

#[derive(Serialize)]
struct QuotaStatus<'a> {
    infos: Vec<QuotaInfoRow<'a>>,
    configs: Vec<QuotaConfigRow<'a>>,
}

#[derive(Serialize)]
struct QuotaInfoRow<'a> {
    role: &'a str,
    guarantee: Vec<crate::schema::Resource>,
}

#[derive(Serialize)]
struct QuotaConfigRow<'a> {
    role: &'a str,
    guarantees: BTreeMap<String, crate::schema::ValueScalar>,
    limits: BTreeMap<String, crate::schema::ValueScalar>,
}

/// Amounts as Mesos's messages have them.
pub(super) fn scalars<'a>(
    amounts: impl Iterator<Item = (&'a ResourceName, Amount)>,
) -> BTreeMap<String, crate::schema::ValueScalar> {
    let scalar = |(name, amount): (&ResourceName, Amount)| {
        let value = crate::schema::ValueScalar { value: Some(number::double(amount)) };
        (name.as_str().to_owned(), value)
    };
    amounts.map(scalar).collect()
}

/// `/quota`.
pub fn quota<'a>(picture: &'a Picture<'_>) -> impl Serialize + 'a {
    let info = |view: &'a RoleView| QuotaInfoRow {
        role: view.role.as_str(),
        guarantee: super::amounts::full(&resources(&view.guarantee)),
    };
    let config = |view: &'a RoleView| QuotaConfigRow {
        role: view.role.as_str(),
        guarantees: scalars(view.guarantee.iter()),
        limits: scalars(view.limit.iter().map(|(name, amount)| (name, *amount))),
    };
    QuotaStatus {
        infos: limited(picture).map(info).collect(),
        configs: limited(picture).map(config).collect(),
    }
}
