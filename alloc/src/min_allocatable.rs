//! What is worth an offer: below it, what an agent has left is kept until there is more.

use std::{fmt, str::FromStr, sync::Arc};

use meshos_protocol::resources::{Amount, Resource, ResourceName, Resources, ScalarQuantities};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The most alternatives.
const ALTERNATIVES_MAX: usize = 16;

/// The least that is worth an offer: one of several sets of amounts, each of which must be there
/// whole. As `--min_allocatable_resources` of Mesos, and with the same default, `cpus:0.01|mem:32`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinAllocatable(Arc<[Vec<(ResourceName, Amount)>]>);

/// Why a text does not say what is worth an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MinAllocatableError {
    /// An alternative is no resources.
    #[error("`{text}` is not a list of amounts, such as `cpus:1;mem:512`: {error}")]
    NotResources {
        /// The alternative.
        text: String,
        /// What is wrong with it.
        error: String,
    },
    /// An alternative asks for nothing, so that nothing at all would be offered.
    #[error(
        "an alternative asks for nothing: say how much an offer must hold at least, as in \
         `cpus:0.01|mem:32`"
    )]
    Nothing,
    /// Something else than an amount of the common pool.
    #[error("`{resource}` is no plain amount, which is all that an offer can be measured by")]
    NotAnAmount {
        /// What was named.
        resource: String,
    },
    /// There are more than `ALTERNATIVES_MAX` alternatives.
    #[error("{count} alternatives, at most {ALTERNATIVES_MAX} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

impl MinAllocatable {
    /// Whether resources are worth an offer. Shared volumes do not count: they stay free when they are
    /// offered, so what holds nothing else would be offered without end.
    pub fn is_met_by(&self, resources: &Resources) -> bool {
        // Mostly what is left of an agent is nothing.
        !resources.is_empty()
            && self
                .0
                .iter()
                .any(|all| all.iter().all(|(name, amount)| holds(resources, name, *amount)))
    }

    /// What is lacking to the nearest of the alternatives.
    pub(crate) fn missing(&self, resources: &Resources) -> ScalarQuantities {
        let exclusive = resources.exclusive();
        let alternatives = self.0.iter().map(|all| all.iter().map(|(name, least)| (name, *least)));
        missing(alternatives, |name| exclusive.amount_of(name))
    }
}

/// What is lacking to that of several sets of amounts to which the least part is lacking.
pub(crate) fn missing<'a, A: Iterator<Item = (&'a ResourceName, Amount)>>(
    alternatives: impl Iterator<Item = A>,
    has: impl Fn(&ResourceName) -> Amount,
) -> ScalarQuantities {
    let missing = alternatives.map(|all| {
        let (mut part, mut lacking) = (0, ScalarQuantities::new());
        for (name, needed) in all {
            let lack = needed.remaining_after(has(name));
            part = part.max(lack.millis().saturating_mul(1_000) / needed.millis().max(1));
            lacking.add(name, lack);
        }
        (part, lacking)
    });
    missing
        .min_by_key(|(part, lacking)| (*part, lacking.iter().count()))
        .map(|(_, lacking)| lacking)
        .unwrap_or_default()
}

/// How far something lacks: of how many resources, then how much.
pub(crate) fn far(missing: &ScalarQuantities) -> (usize, ScalarQuantities) {
    (missing.iter().count(), missing.clone())
}

/// Whether there is so much of a resource. Mostly there is in its first entry alone, so that the others
/// need not be added up.
fn holds(resources: &Resources, name: &ResourceName, least: Amount) -> bool {
    let mut sum = Amount::ZERO;
    let counts = |resource: &&Resource| resource.name() == name && !resource.metadata().shared;
    resources.iter().filter(counts).any(|resource| {
        sum = sum.saturating_add(resource.amount().unwrap_or(Amount::ZERO));
        sum >= least
    })
}

impl Default for MinAllocatable {
    /// A hundredth of a processor, or 32 MB.
    fn default() -> Self {
        let cpus = vec![(ResourceName::Cpus, Amount::from_millis(10))];
        let mem = vec![(ResourceName::Mem, Amount::whole(32))];
        Self([cpus, mem].into())
    }
}

/// Alternatives with `|` between them, each in the text form of resources.
impl FromStr for MinAllocatable {
    type Err = MinAllocatableError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let count = text.split('|').count();
        if count > ALTERNATIVES_MAX {
            return Err(MinAllocatableError::TooMany { count });
        }
        text.split('|').map(alternative).collect::<Result<Vec<_>, _>>().map(|all| Self(all.into()))
    }
}

fn alternative(text: &str) -> Result<Vec<(ResourceName, Amount)>, MinAllocatableError> {
    let resources = Resources::parse(text).map_err(|error| MinAllocatableError::NotResources {
        text: text.to_owned(),
        error: error.to_string(),
    })?;
    if resources.is_empty() {
        return Err(MinAllocatableError::Nothing);
    }
    let amounts = resources.iter().map(|resource| match resource.amount() {
        Some(amount) if resource.metadata().is_unreserved() && resource.metadata().is_plain() => {
            Ok((resource.name().clone(), amount))
        }
        Some(_) | None => Err(MinAllocatableError::NotAnAmount { resource: resource.to_string() }),
    });
    amounts.collect()
}

impl fmt::Display for MinAllocatable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, all) in self.0.iter().enumerate() {
            formatter.write_str(if number == 0 { "" } else { "|" })?;
            for (number, (name, amount)) in all.iter().enumerate() {
                let between = if number == 0 { "" } else { ";" };
                write!(formatter, "{between}{name}:{amount}")?;
            }
        }
        Ok(())
    }
}

/// As its text form.
impl Serialize for MinAllocatable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MinAllocatable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> Resources {
        text.parse().unwrap()
    }

    #[test]
    fn by_default_a_hundredth_of_a_core_or_32_mb_is_worth_an_offer() {
        let least = MinAllocatable::default();
        assert_eq!(least.to_string(), "cpus:0.01|mem:32");
        let table = [
            ("", false),
            ("cpus:4;mem:1024", true),
            ("cpus:4", true),
            ("mem:1024;disk:10", true),
            ("cpus(a):0.001;mem(a):1", false),
            ("cpus:0.009;mem:31.999", false),
            ("cpus:0.01;mem:1", true),
            ("cpus:0.001;mem:32", true),
            ("cpus:0.005;cpus(a):0.005", true),
            ("disk:9999;ports:[1-9]", false),
        ];
        for (text, enough) in table {
            assert_eq!(least.is_met_by(&resources(text)), enough, "{text}");
        }
    }

    #[test]
    fn one_of_the_alternatives_must_be_there_whole() {
        let least: MinAllocatable = "cpus:1;mem:512|gpus:1".parse().unwrap();
        assert_eq!(least.to_string(), "cpus:1;mem:512|gpus:1");
        assert!(least.is_met_by(&resources("cpus:1;mem:512")));
        assert!(least.is_met_by(&resources("gpus:1")));
        assert!(!least.is_met_by(&resources("cpus:8;mem:511")));
        let missing = |text: &str| least.missing(&resources(text));
        assert_eq!(
            missing("cpus:8;mem:500"),
            resources("mem:12").quantities(),
            "the nearest of them"
        );
        assert_eq!(missing("mem:1"), resources("gpus:1").quantities());
        let json = serde_json::to_string(&least).unwrap();
        assert_eq!(serde_json::from_str::<MinAllocatable>(&json).unwrap(), least);
    }

    #[test]
    fn what_cannot_be_measured_is_refused_with_what_to_do() {
        let told = |text: &str| text.parse::<MinAllocatable>().unwrap_err().to_string();
        for text in ["", "cpus:0", "cpus:1|", "|"] {
            assert!(told(text).starts_with("an alternative asks for nothing"), "{text}");
        }
        assert_eq!(
            told("ports:[1-2]"),
            "`ports:[1-2]` is no plain amount, which is all that an offer can be measured by"
        );
        assert!(told("cpus{revocable}:1").starts_with("`cpus{revocable}:1` is no plain amount"));
        assert!(told("cpus(a):1").starts_with("`cpus(a):1` is no plain amount"));
        assert!(told("cpus").starts_with("`cpus` is not a list of amounts"));
        assert!(told(&["cpus:1"; 17].join("|")).starts_with("17 alternatives"));
    }
}
