//! What holds of an agent's page between any two calls.

use super::Agent;

impl Agent {
    /// # Panics
    ///
    /// When the page does not add up.
    pub(crate) fn check_invariants(&self) {
        let (rest, overcommitted) = self.rest();
        assert_eq!(self.overcommitted, overcommitted, "{}: overcommitted", self.id);
        assert_eq!(self.free, rest, "{}: offered + allocated + free = total", self.id);
        if !overcommitted {
            let offered = self.holdings.values().map(|holding| &holding.offered);
            let allocated = self.holdings.values().map(|holding| &holding.allocated);
            let held: meshos_protocol::resources::Resources =
                if self.optimistic { allocated.sum() } else { offered.chain(allocated).sum() };
            // Shared volumes count once, and are always free.
            let sum = held.exclusive() + &self.free;
            assert_eq!(sum, self.total, "{}: nothing is lost", self.id);
        }
        assert_eq!(self.allocatable, self.least.is_met_by(&self.free), "{}", self.id);
        assert!(self.holdings.values().all(|holding| !holding.is_empty()), "{}", self.id);
        let offers = self.holdings.values().filter(|holding| !holding.offered.is_empty()).count();
        assert_eq!(self.offers, offers, "{}: who is offered something", self.id);
    }
}
