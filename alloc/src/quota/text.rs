//! The amounts of a quota as operators write them.

use std::{collections::BTreeMap, str::FromStr};

use meshos_protocol::resources::{Amount, Resource, ResourceName, Resources};

/// Amounts such as `cpus:8;mem:16384`, each of which may be zero: a limit of zero lets a role have
/// nothing of a resource, where one that is not named lets it have all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaAmounts(pub BTreeMap<ResourceName, Amount>);

/// Why a text does not say amounts for a quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaTextError {
    /// It does not say resources at all.
    #[error("{0}")]
    NotResources(String),
    /// Something else than an amount of the common pool.
    #[error(
        "`{0}` is no plain amount: only amounts can be guaranteed or limited, such as cpus:4;mem:1024"
    )]
    NotAnAmount(String),
    /// A resource is named twice.
    #[error("{0} is named twice: say one amount of each resource")]
    Twice(ResourceName),
}

/// The text form of resources; nothing when it is blank.
impl FromStr for QuotaAmounts {
    type Err = QuotaTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // As a whole first, so that what is wrong is told with its place.
        let not_resources = |error| QuotaTextError::NotResources(format!("{error}"));
        Resources::parse(text).map_err(not_resources)?;
        let mut amounts = BTreeMap::new();
        for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, amount) = amount(entry)?;
            if amounts.contains_key(&name) {
                return Err(QuotaTextError::Twice(name));
            }
            amounts.insert(name, amount);
        }
        Ok(Self(amounts))
    }
}

/// One amount. Resources do not keep one that is zero, so that its name is read by itself.
fn amount(entry: &str) -> Result<(ResourceName, Amount), QuotaTextError> {
    let refused = || QuotaTextError::NotAnAmount(entry.to_owned());
    let resources = Resources::parse(entry).map_err(|_| refused())?;
    let Some(resource) = resources.iter().next() else {
        let is_number = |value: &&str| !value.trim_start().starts_with(['[', '{']);
        let name = entry.split_once(':').filter(|(_, value)| is_number(value));
        let name = name.and_then(|(name, _)| ResourceName::new(name.trim()).ok());
        return Ok((name.ok_or_else(refused)?, Amount::ZERO));
    };
    let is_plain = |it: &&Resource| it.metadata().is_unreserved() && it.metadata().is_plain();
    let amount = Some(resource).filter(is_plain).and_then(Resource::amount);
    Ok((resource.name().clone(), amount.ok_or_else(refused)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        text.parse::<QuotaAmounts>().unwrap_err().to_string()
    }

    #[test]
    fn amounts_of_zero_are_kept() {
        let read = |text: &str| text.parse::<QuotaAmounts>().unwrap().0;
        let (zero, some) = (Amount::ZERO, Amount::from_millis(1_500));
        let both = BTreeMap::from([(ResourceName::Cpus, some), (ResourceName::Gpus, zero)]);
        assert_eq!(read("cpus:1.5; gpus : 0;"), both);
        assert_eq!(read("fpgas:0.0")[&ResourceName::new("fpgas").unwrap()], zero);
        assert!(read(" ").is_empty());
    }

    #[test]
    fn what_is_no_amount_or_named_twice_is_refused_with_the_reason() {
        for text in ["cpus:4;cpus:5", "cpus:0;cpus:5", "mem:1;cpus:0;cpus:0"] {
            assert!(told(text).starts_with("cpus is named twice"), "{text}: {}", told(text));
        }
        for text in [
            "ports:[1-9]",
            "cpus(a):1",
            "cpus(a):0",
            "cpus{revocable}:1",
            "cpus{revocable}:0",
            "x:{}",
        ] {
            assert!(told(text).contains("only amounts can be guaranteed or limited"), "{text}");
        }
        for text in ["cpus", "cpus:-1", "mem:1;cpus:x"] {
            assert!(matches!(text.parse::<QuotaAmounts>(), Err(QuotaTextError::NotResources(_))));
        }
    }
}
