//! What the framework says of itself changes, and comes on record.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    framework::FrameworkInfo,
    messages::scheduler::{Call, CallError, CallErrorKind, UpdateFramework},
    role::Role,
    wishes::OfferWishes,
};

use super::{Core, Output, Tell};

/// What the framework says of itself, until it is on record.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) info: FrameworkInfo,
    /// What it wishes of offers from then on; absent: as before.
    pub(super) wishes: Option<BTreeMap<Role, OfferWishes>>,
}

impl Core {
    /// The scheduler says something else of the framework.
    pub(super) fn update_info(
        &mut self,
        info: FrameworkInfo,
        suppressed: BTreeSet<Role>,
        wishes: Option<BTreeMap<Role, OfferWishes>>,
        out: &mut Vec<Output>,
    ) {
        self.suppressed = suppressed;
        self.wants.suppressed(&self.suppressed);
        // What an earlier update wished that is not on record stands until something else is wished.
        let earlier = self.updating.take().and_then(|update| update.wishes).map(|mut wishes| {
            wishes.retain(|role, _| info.roles.contains(role));
            wishes
        });
        self.updating = Some(Update { info, wishes: wishes.or(earlier) });
        self.tell_update(out);
    }

    /// The roles of the framework once its newest update is on record.
    pub(super) fn roles(&self) -> &BTreeSet<Role> {
        &self.updating.as_ref().map_or(&self.info, |update| &update.info).roles
    }

    /// Tells the update, unless it is on record.
    pub(super) fn tell_update(&mut self, out: &mut Vec<Output>) {
        let Some(Update { info, wishes }) = self.updating.as_ref().filter(|_| self.subscribed)
        else {
            return;
        };
        let (info, wishes) = (info.clone(), wishes.clone());
        let mut suppressed_roles = self.suppressed.clone();
        if wishes.is_none() {
            let held = self.wants.held_for_wishes();
            suppressed_roles.extend(held.intersection(&info.roles).cloned());
        }
        let update = UpdateFramework { info, suppressed_roles, wishes };
        self.send(Call::UpdateFramework(Box::new(update)), out);
    }

    /// An update is on record, or was refused.
    pub(super) fn update_settled(
        &mut self,
        info: FrameworkInfo,
        error: Option<CallError>,
        out: &mut Vec<Output>,
    ) {
        let passing = |kind| matches!(kind, CallErrorKind::NoLeader | CallErrorKind::NotSubscribed);
        if error.as_ref().is_some_and(|error| passing(error.kind)) {
            // Told again once the subscription is resumed.
            return;
        }
        if error.is_none() {
            self.info = info;
        }
        if self.asked.awaits_update() {
            // A newer one is under way.
            return;
        }
        let wishes = self.updating.take().and_then(|update| update.wishes);
        self.wants.in_roles(&self.info.roles, wishes.filter(|_| error.is_none()));
        self.suppressed.retain(|role| self.info.roles.contains(role));
        out.push(Output::Tell(Tell::Updated(error.map_or(Ok(()), Err))));
        // These waited for the roles.
        for call in self.wants.untold_demands() {
            self.send(call, out);
        }
        if !self.asked.awaits_wishes() {
            self.tell_wishes(out);
        }
        self.release(out);
    }
}
