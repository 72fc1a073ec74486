//! How frameworks come: streams, subscriptions, take-overs.

use meshos_protocol::{
    ids::{FrameworkId, NodeId, Principal, RequestId, SessionId, Subscription},
    messages::scheduler::{CallError, CallErrorKind, Event as FrameworkEvent, Subscribe},
    time::millis,
};

use super::{
    DropReason, Effect,
    frameworks::{Presence, Session, SessionPhase},
    proposals::{Caller, Purpose, Subscribing},
    state::{Core, Cx},
    validate,
};
use crate::registry::{Command, Lookup, Outcome};

/// What a subscribe leads to.
enum Next {
    /// The subscription is taken up as it is.
    Attach(FrameworkId, Subscription),
    /// The registry must change first.
    Propose(Box<Command>),
}

fn error(kind: CallErrorKind, message: impl Into<String>) -> CallError {
    CallError { kind, message: message.into() }
}

impl Core {
    pub(super) fn session_opened(
        &mut self,
        cx: &mut Cx<'_>,
        session: SessionId,
        principal: Principal,
        gateway: NodeId,
    ) {
        if self.sessions.len() >= self.config.limits.sessions_max {
            self.counters.dropped.add(DropReason::Busy);
            cx.out.push(Effect::CloseSession { session });
            return;
        }
        let stream = Session { principal, gateway, phase: SessionPhase::Opened };
        self.sessions.insert(session, stream);
    }

    pub(super) fn on_subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        session: SessionId,
        request: Option<RequestId>,
        subscribe: Subscribe,
    ) {
        let Some(stream) = self.sessions.get(&session) else { return };
        if stream.phase != SessionPhase::Opened {
            let message = "the stream has a subscription: open another stream for a new one";
            let caller = Caller::Framework { session, request };
            self.answer(cx, caller, Err(error(CallErrorKind::Invalid, message)));
            return;
        }
        let principal = stream.principal.clone();
        let (nonce, demand) = (subscribe.nonce.clone(), subscribe.demand.clone());
        let framework = subscribe.framework;
        match self.judge_subscribe(&principal, subscribe) {
            Err(error) => self.refuse_subscribe(cx, session, request, error),
            Ok(Next::Attach(framework, subscription)) => {
                let framework_known = Some(framework);
                let waiting =
                    Subscribing { session, request, nonce, framework: framework_known, demand };
                self.attach(cx, waiting, framework, subscription);
            }
            Ok(Next::Propose(command)) => {
                let waiting = Subscribing { session, request, nonce, framework, demand };
                self.propose(cx, *command, Purpose::Subscribe(waiting), Caller::Nobody);
                if let Some(stream) = self.sessions.get_mut(&session) {
                    stream.phase = SessionPhase::Subscribing;
                }
            }
        }
    }

    fn judge_subscribe(
        &self,
        principal: &Principal,
        subscribe: Subscribe,
    ) -> Result<Next, CallError> {
        validate::subscribe(&subscribe).map_err(|why| error(CallErrorKind::Invalid, why))?;
        self.may_propose()?;
        let Subscribe {
            framework,
            info,
            suppressed_roles,
            resume,
            nonce,
            demand: _,
            can_be_asked: _,
        } = subscribe;
        let Some(framework) = framework else {
            let principal = principal.clone();
            let command = Command::AdmitFramework { principal, info, suppressed_roles, nonce };
            self.may_record(&command)?;
            return Ok(Next::Propose(Box::new(command)));
        };
        let record = match self.registry.look_up(framework) {
            Lookup::Live(record) => record,
            Lookup::Closed => {
                let message = format!("framework {framework} has ended: subscribe without an id");
                return Err(error(CallErrorKind::FrameworkRemoved, message));
            }
            Lookup::Never => {
                let message = format!("framework {framework} does not exist in this cluster");
                return Err(error(CallErrorKind::Invalid, message));
            }
        };
        if record.principal != *principal {
            let message = format!("framework {framework} belongs to another principal");
            return Err(error(CallErrorKind::Forbidden, message));
        }
        let Some(resume) = resume else {
            let command = Command::Resubscribe { framework, info, suppressed_roles };
            self.may_record(&command)?;
            return Ok(Next::Propose(Box::new(command)));
        };
        if resume < record.subscription {
            return Err(failed_over(framework));
        }
        if resume > record.subscription {
            let message = format!("framework {framework} has no subscription {resume} yet");
            return Err(error(CallErrorKind::Invalid, message));
        }
        match self.frameworks.get(&framework).map(|framework| framework.presence) {
            Some(Presence::Subscribed { .. } | Presence::Lost { .. }) => {
                Ok(Next::Attach(framework, resume))
            }
            // On record as away, or about to be: back on record first.
            Some(Presence::Leaving | Presence::Disconnected { .. } | Presence::Closing) | None => {
                let command = Command::Reconnect { framework, subscription: resume };
                Ok(Next::Propose(Box::new(command)))
            }
        }
    }

    /// The subscribe cannot be carried out: the stream ends.
    fn refuse_subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        session: SessionId,
        request: Option<RequestId>,
        error: CallError,
    ) {
        self.answer(cx, Caller::Framework { session, request }, Err(error.clone()));
        self.sessions.remove(&session);
        cx.out.push(Effect::SendToFramework { session, event: FrameworkEvent::Error { error } });
        cx.out.push(Effect::CloseSession { session });
    }

    /// A framework is on record with a new subscription.
    pub(super) fn framework_recorded(&mut self, cx: &mut Cx<'_>, id: FrameworkId) {
        let Some(presence) = self.frameworks.get(&id).map(|framework| framework.presence) else {
            self.counters.frameworks_admitted += 1;
            self.insert_framework(cx.now, id);
            return;
        };
        let Some(record) = self.registry.framework(id) else { return };
        let info = &record.info;
        let newest = record.subscription;
        let (roles, suppressed) = (&info.roles, &record.suppressed_roles);
        self.allocator.update_framework(id, roles, suppressed, info.capabilities);
        self.apply_wishes(id);
        self.inverse_offers_unknown(id);
        self.inverse.framework_changed(id);
        self.pictures.framework_changed(id);
        if let Presence::Subscribed { session } = presence {
            let held = self.sessions.get(&session).map(|stream| stream.phase);
            let current = SessionPhase::Subscribed { framework: id, subscription: newest };
            if held == Some(current) {
                return;
            }
            self.sessions.remove(&session);
            let error = failed_over(id);
            cx.out
                .push(Effect::SendToFramework { session, event: FrameworkEvent::Error { error } });
            cx.out.push(Effect::CloseSession { session });
            self.lose_session(cx, id, session, self.config.reconnect_grace);
        }
        // Whoever resubscribed knows nothing of earlier offers.
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.rescinds_untold.clear();
        }
        let until = cx.now.mono.after(self.config.reconnect_grace);
        self.set_presence(id, Presence::Lost { until });
    }

    /// A subscribe has come back from the registry.
    pub(super) fn subscribe_concluded(
        &mut self,
        cx: &mut Cx<'_>,
        waiting: Subscribing,
        outcome: &Outcome,
    ) {
        let session = waiting.session;
        let is_waiting = |stream: &Session| stream.phase == SessionPhase::Subscribing;
        if !self.sessions.get(&session).is_some_and(is_waiting) {
            return;
        }
        match outcome {
            Outcome::Subscribed { framework, subscription } => {
                self.attach(cx, waiting, *framework, *subscription);
            }
            Outcome::Done => {
                let framework = waiting.framework;
                let resumed = framework.and_then(|framework| self.registry.framework(framework));
                if let (Some(framework), Some(record)) = (framework, resumed) {
                    self.attach(cx, waiting, framework, record.subscription);
                }
            }
            Outcome::Refused { why } => {
                let error = match waiting.framework.map(|id| (id, self.registry.look_up(id))) {
                    Some((_, Lookup::Closed)) => error(CallErrorKind::FrameworkRemoved, why),
                    Some((id, Lookup::Live(record))) if record.disconnected_at.is_none() => {
                        // Someone else's subscribe was first.
                        failed_over(id)
                    }
                    Some(_) | None => error(CallErrorKind::Busy, why),
                };
                self.refuse_subscribe(cx, session, waiting.request, error);
            }
            Outcome::AgentAdmitted { .. } | Outcome::Repeated | Outcome::Unknown => {
                let message = "the registry's answer makes no sense, subscribe again";
                let error = error(CallErrorKind::Busy, message);
                self.refuse_subscribe(cx, session, waiting.request, error);
            }
        }
    }

    /// A stream takes a subscription up. One that held the same subscription before, through a
    /// gateway that is gone or about to be, is closed without a word.
    fn attach(
        &mut self,
        cx: &mut Cx<'_>,
        waiting: Subscribing,
        framework: FrameworkId,
        subscription: Subscription,
    ) {
        let Subscribing { session, request, nonce, framework: _, demand } = waiting;
        let Some(presence) = self.frameworks.get(&framework).map(|it| it.presence) else { return };
        if let Some(older) = presence.session() {
            self.sessions.remove(&older);
            cx.out.push(Effect::CloseSession { session: older });
            self.lose_session(cx, framework, older, self.config.reconnect_grace);
        }
        if let Some(stream) = self.sessions.get_mut(&session) {
            stream.phase = SessionPhase::Subscribed { framework, subscription };
        }
        if let Some(framework) = self.frameworks.get_mut(&framework) {
            framework.registered.note(cx.now.wall);
        }
        self.set_presence(framework, Presence::Subscribed { session });
        self.counters.subscriptions += 1;
        let event = FrameworkEvent::Subscribed {
            framework,
            subscription,
            leader: self.me,
            heartbeat_ms: millis(self.config.heartbeat),
            nonce,
        };
        cx.out.push(Effect::SendToFramework { session, event });
        self.answer(cx, Caller::Framework { session, request }, Ok(()));
        let untold = self
            .frameworks
            .get_mut(&framework)
            .map(|framework| std::mem::take(&mut framework.rescinds_untold))
            .unwrap_or_default();
        for (cause, offers) in untold {
            let event = FrameworkEvent::Rescind { offers, cause: Some(cause) };
            self.tell_framework(cx, framework, event);
        }
        if let Some(demand) = demand {
            self.take_demand(cx, framework, &demand);
        }
        self.allocator.set_framework_active(framework, true);
        self.repeat_heads(cx, framework);
        self.repeat_operations(cx, framework);
    }
}

fn failed_over(framework: FrameworkId) -> CallError {
    let message = format!("framework {framework} was subscribed by another instance since");
    error(CallErrorKind::FailedOver, message)
}
