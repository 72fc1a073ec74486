//! What the driver remembers, within bounds: updates that were delivered, tasks that have ended, kills.

use meshos_protocol::{
    ids::{OfferId, TaskId, UpdateId},
    messages::scheduler::RescindCause,
    task::{Reason, TaskDescription},
};

use super::{Core, KILLS_MAX, Output, Tell};

/// Updates remembered, so that one that is sent again is not delivered again.
const SEEN_MAX: usize = 100_000;

/// Offers remembered that somebody else was faster to accept.
const TAKEN_MAX: usize = 10_000;

impl Core {
    /// Offers die with the way to their leader, and what it asked with them.
    pub(super) fn void_offers(&mut self, out: &mut Vec<Output>) {
        let void = self.offers.keys().copied().collect();
        self.rescinded(void, RescindCause::LeaderLost, out);
        self.void_inverse_offers(out);
    }

    /// These offers are void: the scheduler is told of those that it may believe open.
    pub(super) fn rescinded(
        &mut self,
        offers: Vec<OfferId>,
        cause: RescindCause,
        out: &mut Vec<Output>,
    ) {
        for offer in offers {
            if self.offers.remove(&offer).is_none() {
                continue;
            }
            if cause == RescindCause::Taken {
                self.taken.insert(offer);
                if self.taken.len() > TAKEN_MAX {
                    self.taken.pop_first();
                }
            }
            out.push(Output::Tell(Tell::Rescinded(offer, cause)));
        }
    }

    /// Why an accept on these offers, which are void, comes to nothing.
    pub(super) fn why_void(&self, offers: &[OfferId]) -> Reason {
        if offers.iter().any(|offer| self.taken.contains(offer)) {
            Reason::OfferTaken
        } else {
            Reason::InvalidOffers
        }
    }

    /// Whether the update is new.
    pub(super) fn remember(&mut self, update: UpdateId) -> bool {
        if !self.seen.insert(update) {
            return false;
        }
        self.seen_order.push_back(update);
        if self.seen_order.len() > SEEN_MAX
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    pub(super) fn remember_end(&mut self, task: &TaskId) {
        if self.ended.insert(task.clone()) {
            self.ended_order.push_back(task.clone());
        }
        if self.ended_order.len() > SEEN_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    pub(super) fn remember_kill(&mut self, task: &TaskId, grace_ms: Option<u64>) {
        if self.ended.contains(task) {
            return;
        }
        if self.kills.insert(task.clone(), grace_ms).is_none() {
            self.kills_order.push_back(task.clone());
        }
        while self.kills.len() > KILLS_MAX
            && let Some(oldest) = self.kills_order.pop_front()
        {
            self.kills.remove(&oldest);
        }
        if self.kills_order.len() > 2 * KILLS_MAX {
            let kills = &self.kills;
            self.kills_order.retain(|task| kills.contains_key(task));
        }
    }

    /// An id may be used again once its task has ended.
    pub(super) fn forget_ends(&mut self, tasks: &[TaskDescription]) {
        for task in tasks {
            if self.ended.remove(&task.task_id) {
                self.ended_order.retain(|ended| *ended != task.task_id);
            }
        }
    }
}
