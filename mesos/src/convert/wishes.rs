//! What a framework wishes of offers: constraints on agents, and smallest sizes.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    resources::{ResourceName, ScalarQuantities},
    role::Role,
    wishes::{AgentConstraint, OfferWishes, Predicate, Selector},
};

use super::{framework::among, number};
use crate::schema::{self, AttributeConstraintSelectorPseudoattributeType as Pseudo};

/// Reads both kinds, by role.
pub(super) fn read(
    roles: &BTreeSet<Role>,
    filters: &BTreeMap<String, schema::OfferFilters>,
    constraints: Option<&schema::OfferConstraints>,
) -> Result<BTreeMap<Role, OfferWishes>, String> {
    let mut wishes: BTreeMap<Role, OfferWishes> = BTreeMap::new();
    for (name, filter) in filters {
        let role = among(roles, name, "offer_filters")?;
        let minimum = filter.min_allocatable_resources.as_ref();
        let minimum = minimum.map(|it| it.quantities.as_slice()).unwrap_or_default();
        let minimum = minimum.iter().map(quantities).collect::<Result<_, _>>()?;
        wishes.entry(role).or_default().minimum = minimum;
    }
    for (name, of_role) in constraints.iter().flat_map(|it| &it.role_constraints) {
        let role = among(roles, name, "offer_constraints")?;
        let wrong =
            |why: &str| format!("'offer_constraints' of role {name:?} are not valid: {why}");
        if of_role.groups.is_empty() {
            return Err(wrong("there is no group"));
        }
        let groups = of_role.groups.iter().map(group);
        let groups = groups.collect::<Result<_, _>>().map_err(wrong)?;
        wishes.entry(role).or_default().constraints = groups;
    }
    wishes.retain(|_, wishes| !wishes.is_empty());
    Ok(wishes)
}

fn quantities(of: &schema::OfferFiltersResourceQuantities) -> Result<ScalarQuantities, String> {
    let quantity = |(name, scalar): (&String, &schema::ValueScalar)| {
        let named = ResourceName::new(name).map_err(|error| error.to_string())?;
        let amount = number::amount(scalar.value()).filter(|amount| !amount.is_negative());
        let amount =
            amount.ok_or_else(|| format!("'offer_filters' asks for no amount of {name}"))?;
        Ok((named, amount))
    };
    of.quantities.iter().map(quantity).collect()
}

fn group(
    group: &schema::OfferConstraintsRoleConstraintsGroup,
) -> Result<Vec<AgentConstraint>, &'static str> {
    if group.attribute_constraints.is_empty() {
        return Err("a group has no constraint");
    }
    group.attribute_constraints.iter().map(constraint).collect()
}

fn constraint(constraint: &schema::AttributeConstraint) -> Result<AgentConstraint, &'static str> {
    let selector = constraint.selector.as_ref().ok_or("there is no selector")?;
    let predicate = constraint.predicate.as_ref().ok_or("there is no predicate")?;
    let of = match (&selector.attribute_name, selector.pseudoattribute_type) {
        (Some(name), None) => Selector::Attribute { name: name.clone() },
        (None, Some(_)) => match selector.pseudoattribute_type() {
            Pseudo::Hostname => Selector::Hostname,
            Pseudo::Region => Selector::Region,
            Pseudo::Zone => Selector::Zone,
            Pseudo::Unknown => return Err("the selector is not known"),
        },
        (Some(_), Some(_)) | (None, None) => return Err("there must be exactly one selector"),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let all = [
        predicate.exists.map(|_| Predicate::Exists),
        predicate.not_exists.map(|_| Predicate::NotExists),
        predicate.text_equals.as_ref().map(|it| Predicate::Equals { value: text(&it.value) }),
        predicate
            .text_not_equals
            .as_ref()
            .map(|it| Predicate::NotEquals { value: text(&it.value) }),
        predicate.text_matches.as_ref().map(|it| Predicate::Matches { pattern: text(&it.regex) }),
        predicate
            .text_not_matches
            .as_ref()
            .map(|it| Predicate::NotMatches { pattern: text(&it.regex) }),
    ];
    let mut there = all.into_iter().flatten();
    match (there.next(), there.next()) {
        (Some(is), None) => Ok(AgentConstraint { of, is }),
        (Some(_), Some(_)) | (None, _) => Err("there must be exactly one predicate"),
    }
}
