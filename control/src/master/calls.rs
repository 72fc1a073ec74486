//! Where a framework's calls go.

use std::time::Duration;

use meshos_protocol::{
    ids::{FrameworkId, OfferId, SessionId},
    messages::scheduler::{Call, CallError, CallErrorKind, CallFrame, OFFERS_PER_CALL_MAX},
};

use super::{
    DropReason, Effect,
    frameworks::SessionPhase,
    proposals::{Caller, Purpose},
    state::{Core, Cx},
};
use crate::registry::Command;

pub(super) fn invalid(message: impl Into<String>) -> CallError {
    CallError { kind: CallErrorKind::Invalid, message: message.into() }
}

pub(super) fn busy(message: impl Into<String>) -> CallError {
    CallError { kind: CallErrorKind::Busy, message: message.into() }
}

impl Core {
    pub(super) fn on_call(&mut self, cx: &mut Cx<'_>, session: SessionId, frame: CallFrame) {
        let Some(stream) = self.sessions.get(&session) else {
            self.counters.dropped.add(DropReason::UnknownSession);
            return;
        };
        let CallFrame { request, subscription, call } = frame;
        let phase = stream.phase;
        let caller = Caller::Framework { session, request };
        if let Call::Subscribe(subscribe) = call {
            self.on_subscribe(cx, session, request, subscribe);
            return;
        }
        match phase {
            SessionPhase::Subscribed { framework, subscription: held } if held == subscription => {
                self.on_framework_call(cx, framework, caller, call);
            }
            SessionPhase::Subscribed { subscription: held, .. } if subscription < held => {
                let message = format!("subscription {subscription} is over, {held} holds");
                let error = CallError { kind: CallErrorKind::FailedOver, message };
                self.answer(cx, caller, Err(error));
            }
            SessionPhase::Subscribed { .. } | SessionPhase::Opened | SessionPhase::Subscribing => {
                let message = format!("the stream does not hold subscription {subscription}");
                let error = CallError { kind: CallErrorKind::NotSubscribed, message };
                self.answer(cx, caller, Err(error));
            }
        }
    }

    fn on_framework_call(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        caller: Caller,
        call: Call,
    ) {
        let result = match call {
            Call::Accept(accept) => self.accept(cx, framework, accept),
            Call::Decline { offers, refuse_ms } => self.decline(cx, framework, &offers, refuse_ms),
            Call::AcceptInverseOffers { offers, refuse_ms } => {
                self.answer_inverse_offers(cx, framework, (&offers, refuse_ms), true)
            }
            Call::DeclineInverseOffers { offers, refuse_ms } => {
                self.answer_inverse_offers(cx, framework, (&offers, refuse_ms), false)
            }
            Call::Revive { roles } => return self.revive(cx, framework, caller, roles),
            Call::Suppress { roles } => return self.suppress(cx, framework, caller, &roles),
            Call::Wish { wishes } => return self.wish(cx, framework, caller, wishes),
            Call::UpdateFramework(update) => {
                return self.update_framework(cx, framework, caller, *update);
            }
            Call::Request { role, requests, together_within_ms } => {
                self.request(cx, framework, &role, &requests, together_within_ms)
            }
            Call::Kill { task, agent, grace_ms } => {
                self.kill_by_framework(cx, framework, task, agent, grace_ms)
            }
            Call::Acknowledge { task, agent, update } => {
                self.acknowledge(cx, framework, task, agent, update);
                Ok(())
            }
            Call::AcknowledgeOperation { id, agent, uuid } => {
                self.acknowledge_operation(cx, framework, &id, (agent, uuid));
                Ok(())
            }
            Call::ReconcileOperations { operations } => {
                self.reconcile_operations(cx, framework, operations)
            }
            Call::Message { agent, executor, data } => {
                self.message_to_executor(cx, framework, (agent, executor), data)
            }
            Call::ShutdownExecutor { agent, executor } => {
                self.shut_down_executor(cx, framework, agent, executor)
            }
            Call::Reconcile { tasks } => self.reconcile(cx, framework, tasks),
            Call::Teardown => {
                return self.close_framework(cx, framework, "it was torn down", caller);
            }
            Call::Disconnect => return self.disconnect(cx, caller),
            Call::Subscribe(_) => Err(invalid("the stream has a subscription")),
            Call::Unknown => Err(CallError {
                kind: CallErrorKind::Unknown,
                message: "the leader's release does not know this call".to_owned(),
            }),
        };
        self.answer(cx, caller, result);
    }

    fn decline(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        offers: &[OfferId],
        refuse_ms: Option<u64>,
    ) -> Result<(), CallError> {
        if offers.len() > OFFERS_PER_CALL_MAX {
            return Err(invalid(format!("more than {OFFERS_PER_CALL_MAX} offers in one call")));
        }
        let refusal = self.refusal(refuse_ms);
        for offer in offers {
            self.decline_one(cx, framework, *offer, refusal);
        }
        Ok(())
    }

    /// Takes an offer back from its framework; one that is not its own or not open is ignored.
    pub(super) fn decline_one(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        offer: OfferId,
        refusal: Duration,
    ) {
        if self.offers.get(offer).is_none_or(|offer| offer.framework != framework) {
            return;
        }
        let Some(offer) = self.offers.remove(offer) else { return };
        self.counters.offers_declined += 1;
        let until = self.allocator.refuse_until(cx.now.mono, refusal);
        let (agent, role) = (offer.agent, &offer.role);
        self.allocator.recover_offered(agent, framework, role, &offer.resources, until);
    }

    /// Wishes for a framework's end.
    pub(super) fn close_framework(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        why: &str,
        caller: Caller,
    ) {
        if let Err(error) = self.may_propose() {
            self.answer(cx, caller, Err(error));
            return;
        }
        let why = why.to_owned();
        let command = Command::CloseFramework { framework, at: cx.now.wall, why };
        self.propose(cx, command, Purpose::Records, caller);
    }

    /// The client goes on purpose: no grace.
    fn disconnect(&mut self, cx: &mut Cx<'_>, caller: Caller) {
        self.answer(cx, caller, Ok(()));
        if let Caller::Framework { session, .. } = caller {
            cx.out.push(Effect::CloseSession { session });
            self.session_closed(cx, session, Duration::ZERO);
        }
    }
}
