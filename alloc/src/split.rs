//! Parts of an agent, for when more wait than there are agents.

use meshos_protocol::resources::{Amount, Resource, ResourceName, Resources, Value};

/// The most parts that one agent is offered in.
pub(crate) const PARTS_MAX: usize = 8;

/// The least that a part must hold to be worth splitting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartMin {
    /// Of processors.
    pub cpus: Amount,
    /// Of memory, in MB.
    pub mem: Amount,
}

impl Default for PartMin {
    /// One processor and 1 GB.
    fn default() -> Self {
        Self { cpus: Amount::whole(1), mem: Amount::whole(1024) }
    }
}

impl PartMin {
    /// Into how many parts, at most `parts`, resources can be split.
    pub(crate) fn parts(self, resources: &Resources, parts: usize) -> usize {
        let times = |have: Amount, least: Amount| {
            usize::try_from(have.millis() / least.millis().max(1)).unwrap_or(0)
        };
        let most = times(resources.cpus(), self.cpus).min(times(resources.mem(), self.mem));
        parts.min(most).max(1)
    }
}

/// One of so many equal parts. What cannot be divided is all in it.
pub(crate) fn part_of(resources: &Resources, parts: usize) -> Resources {
    let count = i64::try_from(parts).unwrap_or(i64::MAX).max(1);
    let part = |resource: &Resource| {
        if !resource.metadata().is_divisible() || resource.metadata().shared {
            return Some(resource.clone());
        }
        match resource.value() {
            Value::Scalar(amount) => {
                let part = Amount::from_millis(amount.millis() / count);
                resource.with_amount(resource.name().whole_part(part))
            }
            Value::Ranges(ranges) => {
                let numbers = ranges.count().div_ceil(u64::try_from(parts).unwrap_or(1).max(1));
                let first = ranges.take_first(numbers)?;
                Resource::new(resource.name().clone(), resource.metadata().clone(), first).ok()
            }
            // Its items are unlike each other.
            Value::Set(_) => Some(resource.clone()),
        }
    };
    resources.iter().filter_map(part).collect()
}

/// How much of a resource can be given out.
pub(crate) trait WholePart {
    /// The part that can be: of gpus only whole ones.
    fn whole_part(&self, amount: Amount) -> Amount;
}

impl WholePart for ResourceName {
    fn whole_part(&self, amount: Amount) -> Amount {
        match self {
            Self::Gpus => Amount::whole(amount.units()),
            Self::Cpus | Self::Mem | Self::Disk | Self::Ports | Self::Custom(_) => amount,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> Resources {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_equal_and_devices_stay_whole() {
        let whole = resources("cpus:7;gpus:3;mem:3000;ports:[1-5];names:{a,b}");
        assert_eq!(
            part_of(&whole, 2).to_string(),
            "cpus:3.5;gpus:1;mem:1500;ports:[1-3];names:{a,b}"
        );
        assert_eq!(part_of(&whole, 1), whole);
        assert_eq!(part_of(&resources("gpus:1;cpus:1"), 2).to_string(), "cpus:0.5");
    }

    #[test]
    fn no_part_is_smaller_than_the_least() {
        let least = PartMin::default();
        assert_eq!(least.parts(&resources("cpus:8;mem:4096"), 8), 4);
        assert_eq!(least.parts(&resources("cpus:2;mem:40960"), 8), 2);
        assert_eq!(least.parts(&resources("cpus:64;mem:409600"), 3), 3);
        assert_eq!(least.parts(&resources("cpus:0.5;mem:4096"), 8), 1);
    }
}
