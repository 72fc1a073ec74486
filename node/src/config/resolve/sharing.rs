//! How the leader shares the cluster out.

use std::collections::BTreeSet;

use meshos_alloc::{MinAllocatable, OfferMode, PolicyChoice};
use meshos_protocol::resources::ResourceName;

use super::{
    super::{Raw, Sharing, raw::Given},
    Check,
};

impl Check<'_> {
    pub(super) fn sharing(&mut self, raw: &Raw) -> Sharing {
        let policy = self.read(raw.allocation_policy.as_ref(), PolicyChoice::default, |text| {
            text.parse::<PolicyChoice>().map_err(|error| error.to_string())
        });
        let offers = self.read(raw.offers.as_ref(), OfferMode::default, |text| match text {
            "exclusive" => Ok(OfferMode::Exclusive),
            "optimistic" => Ok(OfferMode::Optimistic),
            _ => Err("expected exclusive or optimistic".to_owned()),
        });
        let min_allocatable =
            self.read(raw.min_allocatable.as_ref(), MinAllocatable::default, |text| {
                text.parse::<MinAllocatable>().map_err(|error| error.to_string())
            });
        let shares_exclude = self.shares_exclude(raw.shares_exclude.as_ref());
        Sharing { policy, offers, min_allocatable, shares_exclude }
    }

    fn shares_exclude(&mut self, given: Option<&Given<Vec<String>>>) -> BTreeSet<ResourceName> {
        let mut excluded = BTreeSet::new();
        let Some(given) = given else { return excluded };
        for name in &given.value {
            match ResourceName::new(name.trim()) {
                Ok(ResourceName::Ports) => {
                    self.problems.push(given.problem("shares count amounts, and ports are ranges"));
                }
                Ok(name) => {
                    excluded.insert(name);
                }
                Err(error) => self.problems.push(given.problem(error)),
            }
        }
        if excluded.contains(&ResourceName::Cpus) && excluded.contains(&ResourceName::Mem) {
            self.warnings.push(
                "shares leave out cpus and mem, so who holds how much of them does not count"
                    .to_owned(),
            );
        }
        excluded
    }
}
