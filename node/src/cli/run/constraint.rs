//! Which nodes will do.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    attributes::{AttributeValue, Attributes},
    framework::Offer,
    resources::Amount,
    wishes::{AgentConstraint, CONSTRAINTS_MAX, FaultDomain, OfferWishes, Predicate, Selector},
};

use crate::cli::text::{count, plain};

/// What nodes have instead of what is demanded: so much of it is told.
const FOUND_MAX: usize = 5;

/// What stands for the node's name, unless it has an attribute of that name.
const HOSTNAME: &str = "hostname";
/// What stands for where the node is, the same way.
const REGION: &str = "region";
const ZONE: &str = "zone";

/// An attribute and the value that it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constraint {
    attribute: String,
    value: String,
}

/// What of a node constraints look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub hostname: &'a str,
    pub attributes: &'a Attributes,
    pub domain: Option<&'a FaultDomain>,
}

impl<'a> Place<'a> {
    /// The node that is offered.
    pub(super) fn of(offer: &'a Offer) -> Self {
        let Offer { hostname, attributes, domain, .. } = offer;
        Self { hostname, attributes, domain: domain.as_ref() }
    }
}

impl Constraint {
    /// Reads `attribute:value`.
    ///
    /// # Errors
    /// Says what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((attribute, value))
                if !attribute.trim().is_empty() && !value.trim().is_empty() =>
            {
                Ok(Self { attribute: attribute.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(format!(
                "--constraint is {text:?}: expected ATTRIBUTE:VALUE, for example rack:abc or hostname:node-7"
            )),
        }
    }

    /// Whether it may be about the region: then nodes in all of them come into question.
    pub(super) fn is_of_region(&self) -> bool {
        self.attribute == REGION
    }

    /// Whether a node fulfils it. An attribute that stands several times has all its values.
    pub(super) fn holds(&self, place: &Place<'_>) -> bool {
        let mut values = place.attributes.get_all(&self.attribute).peekable();
        if values.peek().is_none() {
            return self.of(place) == Some(self.value.as_str());
        }
        values.any(|value| self.is_met_by(value))
    }

    /// What a node has instead, for whoever waits.
    pub(super) fn found(&self, place: &Place<'_>) -> String {
        let values = place.attributes.get_all(&self.attribute).map(ToString::to_string);
        let mut values: Vec<String> = values.collect();
        if values.is_empty() {
            values.extend(self.of(place).map(str::to_owned));
        }
        match values.is_empty() {
            false => format!("{}:{}", self.attribute, values.join(",")),
            true => format!("no {}", self.attribute),
        }
    }

    /// As the leader can hold nodes against it: one of these must hold as a whole. Nothing when it
    /// cannot.
    fn ways(&self) -> Option<Vec<Vec<AgentConstraint>>> {
        if self.value.starts_with(['[', '{']) {
            return None;
        }
        let attribute = Selector::Attribute { name: self.attribute.clone() };
        let of_attribute = |is| AgentConstraint { of: attribute.clone(), is };
        let equals = Predicate::Equals { value: self.value.clone() };
        let mut ways = vec![vec![of_attribute(equals.clone())]];
        if let Ok(amount) = self.value.parse::<Amount>() {
            ways.push(vec![of_attribute(Predicate::Within { from: amount, to: amount })]);
        }
        let other = match self.attribute.as_str() {
            HOSTNAME => Some(Selector::Hostname),
            REGION => Some(Selector::Region),
            ZONE => Some(Selector::Zone),
            _ => None,
        };
        if let Some(of) = other {
            let no_attribute = of_attribute(Predicate::NotExists);
            ways.push(vec![no_attribute, AgentConstraint { of, is: equals }]);
        }
        Some(ways)
    }

    /// What a node has by this name that is no attribute.
    fn of<'a>(&self, place: &Place<'a>) -> Option<&'a str> {
        let domain = place.domain;
        match self.attribute.as_str() {
            HOSTNAME => Some(place.hostname),
            REGION => domain.map(|domain| domain.region.as_str()),
            ZONE => domain.map(|domain| domain.zone.as_str()).filter(|zone| !zone.is_empty()),
            _ => None,
        }
    }

    fn is_met_by(&self, value: &AttributeValue) -> bool {
        match value {
            AttributeValue::Text(text) => text.as_str() == self.value,
            AttributeValue::Scalar(amount) => {
                self.value.parse::<Amount>().is_ok_and(|wanted| wanted == *amount)
            }
            AttributeValue::Ranges(ranges) => {
                self.value == ranges.to_string()
                    || self.value.parse().is_ok_and(|number| ranges.contains_value(number))
            }
            AttributeValue::Set(set) => {
                self.value == set.to_string() || set.contains_item(&self.value)
            }
        }
    }
}

/// The constraints as wishes of offers: nodes that miss them are not even offered. Nothing when they
/// cannot be said so.
pub(super) fn wishes(constraints: &[Constraint]) -> Option<OfferWishes> {
    let mut alternatives = vec![Vec::new()];
    for constraint in constraints {
        let ways = constraint.ways()?;
        let longer = |so_far: &Vec<AgentConstraint>| -> Vec<_> {
            ways.iter().map(|way| [so_far.as_slice(), way.as_slice()].concat()).collect()
        };
        alternatives = alternatives.iter().flat_map(longer).collect();
        let longest = alternatives.iter().map(Vec::len).max().unwrap_or_default();
        if alternatives.len().max(longest) > CONSTRAINTS_MAX {
            return None;
        }
    }
    Some(OfferWishes { constraints: alternatives, ..OfferWishes::default() })
}

/// Says how many of the nodes miss a constraint, and what they have instead; nothing when none does.
pub(super) fn misses<'a>(
    constraints: &[Constraint],
    nodes: impl Iterator<Item = Place<'a>>,
) -> Option<String> {
    let mut count_missing = 0;
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in nodes {
        let missed = constraints.iter().find(|constraint| !constraint.holds(&node));
        if let Some(missed) = missed {
            count_missing += 1;
            found.entry(missed.to_string()).or_default().insert(missed.found(&node));
        }
    }
    let do_not = if count_missing == 1 { "does not" } else { "do not" };
    let found = found.iter().map(|(constraint, found)| {
        let shown: Vec<&str> = found.iter().take(FOUND_MAX).map(String::as_str).collect();
        let more = if found.len() > FOUND_MAX { ", ..." } else { "" };
        format!("{constraint} (found {}{more})", shown.join(", "))
    });
    let found = found.collect::<Vec<_>>().join(" or ");
    let sentence = || plain(&format!("{} {do_not} meet {found}", count(count_missing, "node")));
    (count_missing > 0).then(sentence)
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.attribute, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(constraint: &str) -> bool {
        let attributes = Attributes::parse(
            "rack:abc;zone:west;zone:north;level:10;keys:[1000-1500];disks:{ssd,hdd}",
        );
        Constraint::parse(constraint).unwrap().holds(&place("node-7", &attributes.unwrap()))
    }

    fn place<'a>(hostname: &'a str, attributes: &'a Attributes) -> Place<'a> {
        Place { hostname, attributes, domain: None }
    }

    #[test]
    fn a_node_is_asked_for_by_where_it_stands() {
        let domain: FaultDomain = "eu/rack-7".parse().unwrap();
        let attributes = Attributes::default();
        let place = Place { domain: Some(&domain), ..place("node-7", &attributes) };
        let read = |text: &str| Constraint::parse(text).unwrap();
        assert!(read("region:eu").holds(&place) && read("zone:rack-7").holds(&place));
        assert!(!read("region:us").holds(&place));
        assert_eq!(read("zone:a").found(&place), "zone:rack-7");
        let nowhere = Place { domain: None, ..place };
        assert!(!read("region:eu").holds(&nowhere));
        assert_eq!(read("region:eu").found(&nowhere), "no region");
        assert!(read("region:eu").is_of_region() && !read("zone:eu").is_of_region());
    }

    #[test]
    fn constraints_are_wishes_as_far_as_they_can_be() {
        let read = |texts: &[&str]| -> Vec<Constraint> {
            texts.iter().map(|text| Constraint::parse(text).unwrap()).collect()
        };
        let lengths = |texts: &[&str]| {
            let wishes = wishes(&read(texts))?;
            Some(wishes.constraints.iter().map(Vec::len).collect::<Vec<_>>())
        };
        assert_eq!(lengths(&["rack:abc"]), Some(vec![1]));
        assert_eq!(lengths(&["rack:abc", "level:10"]), Some(vec![2, 2]));
        assert_eq!(lengths(&["hostname:lab", "rack:abc"]), Some(vec![2, 3]));
        assert_eq!(lengths(&["keys:[1-5]"]), None);
        assert_eq!(lengths(&["a:1"; 7]), None, "too many ways");
    }

    #[test]
    fn nodes_that_miss_a_constraint_are_counted() {
        let (abc, def) = ("rack:abc".parse().unwrap(), "rack:def".parse().unwrap());
        let constraints = [Constraint::parse("rack:abc").unwrap()];
        let told = |nodes: &[&Attributes]| {
            misses(&constraints, nodes.iter().map(|attributes| place("lab", attributes)))
        };
        assert_eq!(told(&[&abc]), None);
        assert_eq!(told(&[&abc, &def]).unwrap(), "1 node does not meet rack:abc (found rack:def)");
        let bare = Attributes::default();
        assert_eq!(
            told(&[&def, &bare]).unwrap(),
            "2 nodes do not meet rack:abc (found no rack, rack:def)"
        );
    }

    #[test]
    fn every_kind_of_value_can_be_asked_for() {
        for met in [
            "rack:abc",
            "zone:west",
            "zone:north",
            "level:10",
            "level:10.0",
            "keys:1200",
            "keys:[1000-1500]",
            "disks:ssd",
            "hostname:node-7",
            " rack : abc ",
        ] {
            assert!(holds(met), "{met}");
        }
        for missed in [
            "rack:ab",
            "rack:ABC",
            "zone:south",
            "level:11",
            "keys:1501",
            "disks:tape",
            "hostname:node-8",
            "os:centos5",
        ] {
            assert!(!holds(missed), "{missed}");
        }
    }

    #[test]
    fn what_a_node_has_instead_is_told() {
        let attributes = Attributes::parse("rack:def;zone:west;zone:north").unwrap();
        let found =
            |text: &str| Constraint::parse(text).unwrap().found(&place("node-7", &attributes));
        assert_eq!(found("rack:abc"), "rack:def");
        assert_eq!(found("zone:east"), "zone:west,north");
        assert_eq!(found("os:any"), "no os");
        assert_eq!(found("hostname:node-8"), "hostname:node-7");
    }

    #[test]
    fn an_attribute_goes_before_the_name_of_the_node() {
        let attributes = Attributes::parse("hostname:other").unwrap();
        assert!(!Constraint::parse("hostname:a").unwrap().holds(&place("a", &attributes)));
    }

    #[test]
    fn what_is_no_constraint_is_told() {
        for text in ["", "rack", "rack:", ":abc", " : "] {
            let error = Constraint::parse(text).unwrap_err();
            assert!(error.contains("expected ATTRIBUTE:VALUE"), "{error}");
        }
        assert_eq!(Constraint::parse("url:http://a:1").unwrap().to_string(), "url:http://a:1");
    }
}
