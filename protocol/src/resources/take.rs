//! Taking the same resources several times.

use super::{Amount, Resource, Resources, Value};
use crate::role::Role;

/// So many times ranges or sets are taken at most; amounts alone are counted, not tried.
const PICKED_MAX: u32 = 100;

impl Resources {
    /// Takes `wanted`, which is nobody's in particular (see [`Resources::as_request`]), as often as it is there for a role, but at most
    /// `max` times. Returns how often.
    pub fn take(&mut self, wanted: &Self, max: u32, role: &Role) -> u32 {
        if wanted.is_empty() {
            return 0;
        }
        let amounts_only =
            wanted.iter().all(|resource| matches!(resource.value(), Value::Scalar(_)));
        if amounts_only {
            return self.take_amounts(wanted, max, role);
        }
        let mut count = 0;
        while count < max.min(PICKED_MAX)
            && let Some(found) = self.find(wanted, role)
        {
            *self = self.saturating_sub(&found);
            count += 1;
        }
        count
    }

    fn take_amounts(&mut self, wanted: &Self, max: u32, role: &Role) -> u32 {
        let times = wanted.iter().map(|resource| {
            let wanted = resource.amount().map_or(1, |amount| amount.millis()).max(1);
            let have: Amount = self.serving(resource, role).filter_map(Resource::amount).sum();
            u32::try_from(have.millis() / wanted).unwrap_or(u32::MAX)
        });
        let count = times.min().unwrap_or(0).min(max);
        let all: Self = wanted
            .iter()
            .filter_map(|resource| {
                resource.with_amount(resource.amount()?.saturating_mul(i64::from(count)))
            })
            .collect();
        match self.find(&all, role) {
            Some(found) if count > 0 => {
                *self = self.saturating_sub(&found);
                count
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(of: &str, wanted: &str, max: u32) -> (u32, String) {
        let mut of: Resources = of.parse().unwrap();
        let count = of.take(&wanted.parse().unwrap(), max, &Role::new("a/b").unwrap());
        (count, of.to_string())
    }

    #[test]
    fn as_much_is_taken_as_there_is_for_the_role() {
        assert_eq!(taken("cpus:5;mem:250", "cpus:1;mem:100", 9), (2, "cpus:3;mem:50".into()));
        assert_eq!(taken("cpus:5", "cpus:1", 3), (3, "cpus:2".into()));
        assert_eq!(taken("cpus:1;cpus(a):2;cpus(z):4", "cpus:1.5", 9), (2, "cpus(z):4".into()));
        assert_eq!(
            taken("cpus:1;ports:[1-3]", "ports:[2-2]", 9),
            (1, "cpus:1;ports:[1-1,3-3]".into())
        );
        assert_eq!(taken("cpus:1", "mem:1", 9), (0, "cpus:1".into()));
        // What is revocable goes to those who want that, and nothing else does.
        assert_eq!(taken("cpus:4;cpus{revocable}:2", "cpus{revocable}:1", 9), (2, "cpus:4".into()));
        assert_eq!(
            taken("cpus:4;cpus{revocable}:2", "cpus:3", 9),
            (1, "cpus:1;cpus{revocable}:2".into())
        );
        assert_eq!(taken("cpus:1", "", u32::MAX), (0, "cpus:1".into()));
        // Counted, not tried one by one.
        assert_eq!(taken("cpus:9000000000", "cpus:0.001", u32::MAX).0, u32::MAX);
    }
}
