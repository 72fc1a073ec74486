//! How the leader shares the cluster out.

use meshos_alloc::{OfferMode, PolicyChoice};

use super::{
    super::{Raw, Sharing},
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
        Sharing { policy, offers }
    }
}
