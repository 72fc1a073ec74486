//! What the scheduler is asked about nodes that will be away, and what it answers.

use meshos_protocol::{ids::OfferId, maintenance::InverseOffer, messages::scheduler::Call};

use super::{Core, Output, Tell};

impl Core {
    pub(super) fn inverse_offers(&mut self, offers: Vec<InverseOffer>, out: &mut Vec<Output>) {
        self.inverse.extend(offers.iter().map(|offer| offer.id));
        out.push(Output::Tell(Tell::Inverse(offers)));
    }

    /// These need no answer any more: the scheduler is told of those that it may believe open.
    pub(super) fn inverse_rescinded(&mut self, offers: Vec<OfferId>, out: &mut Vec<Output>) {
        let open = offers.into_iter().filter(|offer| self.inverse.remove(offer));
        out.extend(open.map(|offer| Output::Tell(Tell::InverseRescinded(offer))));
    }

    /// Those that are open are answered; the leader asks about the others anew, if it does.
    pub(super) fn answer_inverse(
        &mut self,
        mut offers: Vec<OfferId>,
        accepts: bool,
        refuse_ms: Option<u64>,
        out: &mut Vec<Output>,
    ) {
        offers.retain(|offer| self.inverse.remove(offer));
        if offers.is_empty() {
            return;
        }
        let call = match accepts {
            true => Call::AcceptInverseOffers { offers, refuse_ms },
            false => Call::DeclineInverseOffers { offers, refuse_ms },
        };
        self.send_if_subscribed(call, out);
    }

    /// The leader that asked is lost, or the way to it: the next one asks anew.
    pub(super) fn void_inverse_offers(&mut self, out: &mut Vec<Output>) {
        let void = self.inverse.iter().copied().collect();
        self.inverse_rescinded(void, out);
    }
}
