//! What becomes of calls: answers, and asking again.

use meshos_protocol::{
    ids::RequestId,
    messages::scheduler::{Call, CallError, CallErrorKind},
};

use super::{Core, Output};
use crate::driver::asked::Question;

impl Core {
    pub(super) fn answered(
        &mut self,
        request: RequestId,
        error: Option<CallError>,
        out: &mut Vec<Output>,
    ) {
        match error {
            Some(error) if error.kind == CallErrorKind::Busy => {
                tracing::info!(message = %error.message, "the leader is busy; it is asked again");
                out.extend(self.asked.refused_as_busy(request).map(Output::Wake));
            }
            Some(error) => {
                tracing::warn!(kind = ?error.kind, message = %error.message, "a call was refused");
                self.settled(request, Some(error), out);
            }
            None => self.settled(request, None, out),
        }
    }

    /// A call was carried out, or never will be.
    fn settled(&mut self, request: RequestId, error: Option<CallError>, out: &mut Vec<Output>) {
        match self.asked.done(request) {
            Some(Question::Update(info)) => self.update_settled(*info, error, out),
            // Newer ones are not on record yet.
            Some(Question::Wishes) if self.asked.awaits_wishes() => {}
            Some(Question::Wishes) => {
                self.wants.wishes_settled(&self.suppressed);
                self.release(out);
            }
            Some(Question::Revive(roles)) => self.wants.released(&roles),
            Some(Question::Tasks(_) | Question::Operations(_) | Question::Kill(_)) | None => {}
        }
    }

    /// Asks for offers in the roles that waited for their wishes.
    pub(super) fn release(&mut self, out: &mut Vec<Output>) {
        let roles = self.wants.releasing();
        if !roles.is_empty() {
            self.send(Call::Revive { roles }, out);
        }
    }

    /// The leader was too busy for these a while ago.
    pub(in crate::driver) fn ask_again(&mut self, out: &mut Vec<Output>) {
        if !self.subscribed {
            return;
        }
        for question in self.asked.take_again() {
            match question {
                Question::Tasks(mut queries) => {
                    // What was heard of meanwhile need not be asked for.
                    queries
                        .retain(|query| !query.pending || self.pending.contains_key(&query.task));
                    if !queries.is_empty() {
                        self.send(Call::Reconcile { tasks: queries }, out);
                    }
                }
                Question::Wishes => self.tell_wishes(out),
                // A newer one need not wait for it.
                Question::Update(_) if self.asked.awaits_update() => {}
                Question::Update(_) => self.tell_update(out),
                Question::Revive(roles) => {
                    let all = roles.is_empty();
                    let mut roles = if all { self.roles().clone() } else { roles };
                    // What was suppressed since stays so.
                    roles.retain(|role| !self.suppressed.contains(role));
                    if !roles.is_empty() {
                        self.send(Call::Revive { roles }, out);
                    }
                }
                Question::Operations(operations) => {
                    let operations = self.operations.still_pending(operations);
                    self.send(Call::ReconcileOperations { operations }, out);
                }
                Question::Kill(task) => {
                    if let Some(grace_ms) = self.kills.get(&task).copied() {
                        self.send_kill(task, grace_ms, out);
                    }
                }
            }
        }
    }
}
