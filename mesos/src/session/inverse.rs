//! What the framework is asked about nodes that will be away.

use meshos_protocol::{ids::OfferId, maintenance::InverseOffer, messages::scheduler::Call};

use super::{Output, Places, Session, calls::refuse_ms, tell};
use crate::{
    convert::{event, ids, maintenance},
    schema,
};

/// How long a framework is not asked again that does not say so; `Filters.refuse_seconds` in Mesos's messages.
const REFUSE_DEFAULT_MS: u64 = 5_000;

impl Session {
    pub(super) fn inverse_offers(
        &mut self,
        offers: &[InverseOffer],
        places: &dyn Places,
        out: &mut Vec<Output>,
    ) {
        self.inverse.extend(offers.iter().map(|offer| offer.id));
        let shown = |offer: &InverseOffer| {
            let place = places.agent(offer.agent.node);
            maintenance::inverse_offer(self.cluster, offer, place.as_ref())
        };
        tell(out, event::inverse_offers(offers.iter().map(shown).collect()));
    }

    pub(super) fn inverse_rescinded(&mut self, offers: Vec<OfferId>, out: &mut Vec<Output>) {
        for offer in offers {
            if self.inverse.remove(&offer) {
                tell(out, event::rescind_inverse_offer(self.cluster, offer));
            }
        }
    }

    /// The leader that asked is lost: the next one asks anew.
    pub(super) fn void_inverse_offers(&mut self, out: &mut Vec<Output>) {
        let void = std::mem::take(&mut self.inverse);
        for offer in void {
            tell(out, event::rescind_inverse_offer(self.cluster, offer));
        }
    }

    pub(super) fn answer_inverse_offers(&mut self, call: &schema::Call, out: &mut Vec<Output>) {
        if let Some(it) = &call.accept_inverse_offers {
            self.answer_inverse(&it.inverse_offer_ids, it.filters.as_ref(), true, out);
        }
        if let Some(it) = &call.decline_inverse_offers {
            self.answer_inverse(&it.inverse_offer_ids, it.filters.as_ref(), false, out);
        }
    }

    fn answer_inverse(
        &mut self,
        ids: &[schema::OfferId],
        filters: Option<&schema::Filters>,
        accepts: bool,
        out: &mut Vec<Output>,
    ) {
        let named = ids.iter().filter_map(|id| ids::read_offer(self.cluster, id.value()));
        let offers: Vec<OfferId> = named.filter(|offer| self.inverse.remove(offer)).collect();
        if !self.subscribed || offers.is_empty() {
            return;
        }
        let refuse_ms = Some(refuse_ms(filters).unwrap_or(REFUSE_DEFAULT_MS));
        let call = match accepts {
            true => Call::AcceptInverseOffers { offers, refuse_ms },
            false => Call::DeclineInverseOffers { offers, refuse_ms },
        };
        self.send(call, out);
    }
}
