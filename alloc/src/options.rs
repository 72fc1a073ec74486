//! What an allocator is told at its start.

use std::{collections::BTreeSet, time::Duration};

use meshos_protocol::{messages::scheduler::REFUSE_MAX_MS, resources::ResourceName};
use serde::{Deserialize, Serialize};

use crate::{
    min_allocatable::MinAllocatable,
    policy::{Drf, Policy},
    split::PartMin,
};

/// The longest refusal, as in Mesos: 365 days.
pub const FILTER_MAX: Duration = Duration::from_millis(REFUSE_MAX_MS);

/// What an allocator is told at its start.
#[derive(Debug)]
pub struct Options {
    /// The order of service.
    pub policy: Box<dyn Policy>,
    /// The longest time for which an agent can be refused; longer ones are cut.
    pub filter_max: Duration,
    /// Whether one or several are offered the same resources at once.
    pub offers: OfferMode,
    /// When more wait than agents have something free, agents are offered in parts that hold at
    /// least this much. Nothing: always as a whole.
    pub split: Option<PartMin>,
    /// The least that is worth an offer.
    pub min_allocatable: MinAllocatable,
    /// The resources that no share counts, so that it costs nobody anything to hold them: as
    /// `--fair_sharing_excluded_resource_names` of Mesos. Quota counts them.
    pub shares_exclude: BTreeSet<ResourceName>,
    /// When so many frameworks have refused what was refused last on an agent, a run looks whether few are left, and
    /// puts these alone in order. That makes runs quicker and changes no offer, which
    /// [`crate::conformance`] asserts.
    pub few_left_from: usize,
}

/// Whether one or several are offered the same resources at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferMode {
    /// What is offered to one is offered to nobody else until it has answered.
    #[default]
    Exclusive,
    /// Several are offered the same; the first to accept gets it, and the offers of the others are
    /// taken back.
    Optimistic,
}

impl Default for Options {
    /// Weighted dominant resource fairness over all resources, refusals of up to [`FILTER_MAX`],
    /// exclusive offers, parts of at least a processor and 1 GB, and offers of at least what
    /// [`MinAllocatable::default`] says.
    fn default() -> Self {
        Self {
            policy: Box::new(Drf),
            filter_max: FILTER_MAX,
            offers: OfferMode::Exclusive,
            split: Some(PartMin::default()),
            min_allocatable: MinAllocatable::default(),
            shares_exclude: BTreeSet::new(),
            few_left_from: 64,
        }
    }
}
