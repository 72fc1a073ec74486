//! Answers to offers that a test gives itself.

use std::time::Duration;

use meshos_sdk::protocol::{framework::Offer, operation::OperationRequest, task::TaskDescription};

use super::Framework;

impl Framework {
    /// Uses an offer that it holds; what is left of it comes back without delay.
    pub fn accept(
        &self,
        offer: &Offer,
        operations: Vec<OperationRequest>,
        tasks: Vec<TaskDescription>,
    ) {
        self.lock().open.remove(&offer.id);
        let offers = std::slice::from_ref(offer);
        self.driver.accept_offers(offers, operations, tasks, Some(Duration::ZERO));
    }

    /// Gives an offer that it holds back.
    pub fn decline(&self, offer: &Offer, refuse: Duration) {
        self.lock().open.remove(&offer.id);
        self.driver.decline(&offer.id, Some(refuse));
    }
}
