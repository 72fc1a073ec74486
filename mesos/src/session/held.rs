//! Roles in which nothing is offered before it is on record what the framework wishes of offers: a
//! subscribe suppresses them, and they are revived when the wishes have come on record.

use std::collections::BTreeSet;

use meshos_protocol::{
    ids::RequestId,
    messages::scheduler::{Call, CallError},
    role::Role,
};

use super::{Output, Session, is_passing, tell, waiting::Waiting};
use crate::convert::event;

impl Session {
    pub(super) fn tell_wishes(&mut self, out: &mut Vec<Output>) {
        let Some(wishes) = self.wishes_untold.clone() else { return };
        // An update brings its own.
        let is_of_wishes =
            |call: &Call| matches!(call, Call::Wish { .. } | Call::UpdateFramework(_));
        if !self.waiting.calls().any(|it| is_of_wishes(&it.call)) {
            self.ask(None, Call::Wish { wishes }, out);
        }
    }

    /// What the session itself asked for was answered.
    pub(super) fn own_answered(
        &mut self,
        call: &Call,
        error: Option<CallError>,
        out: &mut Vec<Output>,
    ) {
        if let Call::Revive { roles } = call {
            // Said again with the next heartbeat when the leader was too busy.
            if error.is_none_or(|error| !is_passing(error.kind)) {
                self.held.retain(|role| !roles.contains(role));
            }
            return;
        }
        match error {
            None => {
                self.wishes_untold = None;
                self.wishes_settled(out);
            }
            // Said again with the next heartbeat.
            Some(error) if is_passing(error.kind) => {}
            Some(error) => {
                let why = error.message;
                tell(out, event::error(format!("What is wished of offers is not valid: {why}")));
                self.send(Call::Disconnect, out);
                self.end(out);
            }
        }
    }

    /// What the framework called for was carried out.
    pub(super) fn carried_out(&mut self, call: &Call, out: &mut Vec<Output>) {
        let Self { subscribe, held, .. } = self;
        let suppressed = &mut subscribe.suppressed_roles;
        if let Call::Suppress { roles } = call {
            let named = if roles.is_empty() { &subscribe.info.roles } else { roles };
            suppressed.extend(named.iter().cloned());
        }
        if let Call::Revive { roles } = call {
            let is_other = |role: &Role| !roles.is_empty() && !roles.contains(role);
            suppressed.retain(is_other);
            held.retain(is_other);
        }
        if let Call::UpdateFramework(update) = call {
            subscribe.info = update.info.clone();
            suppressed.clone_from(&update.suppressed_roles);
            subscribe.demand.get_or_insert_default().keep_roles(&update.info.roles);
            // Its wishes came with it, and no role is suppressed but those that it names.
            held.clear();
            self.wishes_untold = None;
            self.wishes_settled(out);
        }
    }

    /// The wishes are on record.
    fn wishes_settled(&mut self, out: &mut Vec<Output>) {
        self.release(out);
        let waited: Vec<RequestId> = self
            .waiting
            .following(None)
            .filter(|(_, it)| !it.sent && changes_suppression(&it.call))
            .map(|(request, _)| request)
            .collect();
        waited.into_iter().for_each(|request| self.send_waiting(request, out));
    }

    /// Asks for offers in the roles whose wishes are on record, but for those that the framework has
    /// suppressed itself.
    pub(super) fn release(&mut self, out: &mut Vec<Output>) {
        if self.held.is_empty() || !self.subscribed || self.wishes_untold.is_some() {
            return;
        }
        let is_settling = |it: &Waiting| {
            let is_own = it.ticket.is_none() && matches!(it.call, Call::Revive { .. });
            // An update says for all roles whether they are suppressed.
            is_own || matches!(it.call, Call::UpdateFramework(_))
        };
        if self.waiting.calls().any(is_settling) {
            return;
        }
        self.held.retain(|role| !self.subscribe.suppressed_roles.contains(role));
        let mut roles = self.held.clone();
        for waiting in self.waiting.calls() {
            if let Call::Suppress { roles: suppressed } = &waiting.call {
                roles.retain(|role| !suppressed.is_empty() && !suppressed.contains(role));
            }
        }
        if !roles.is_empty() {
            self.ask(None, Call::Revive { roles }, out);
        }
    }

    /// Whether a call waits until the wishes are on record: it would bring offers before.
    pub(super) fn waits_for_wishes(&self, call: &Call) -> bool {
        self.wishes_untold.is_some() && !self.held.is_empty() && changes_suppression(call)
    }

    /// The roles in which a leader that does not know the subscription is to offer nothing.
    pub(super) fn silent_roles(&self) -> BTreeSet<Role> {
        self.subscribe.suppressed_roles.union(&self.held).cloned().collect()
    }
}

/// Both kinds wait for the wishes, so that they stay in their order.
const fn changes_suppression(call: &Call) -> bool {
    matches!(call, Call::Revive { .. } | Call::Suppress { .. })
}
