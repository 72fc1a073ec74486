//! What an allocator is told at its start.

use std::time::Duration;

use crate::policy::{Drf, Policy};

/// The longest refusal, as in Mesos: 365 days.
pub const FILTER_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What an allocator is told at its start.
#[derive(Debug)]
pub struct Options {
    /// The order of service.
    pub policy: Box<dyn Policy>,
    /// The longest time for which an agent can be refused; longer ones are cut.
    pub filter_max: Duration,
}

impl Default for Options {
    /// Weighted dominant resource fairness, and refusals of up to [`FILTER_MAX`].
    fn default() -> Self {
        Self { policy: Box::new(Drf), filter_max: FILTER_MAX }
    }
}
