//! One framework's stream.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, Fence, OfferId, Principal, Subscription},
    messages::{
        StreamClass,
        scheduler::{
            Accept, Call, CallError, CallErrorKind, CallFrame, Event, EventFrame, RescindCause,
            Subscribe, UpdateFramework,
        },
    },
    resources::Resources,
    role::Role,
};
use meshos_sdk::wire::{FrameReader, FrameSender, Opened, WireError, WriterOptions, spawn_writer};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::progress::{Progress, Stalled};
use crate::{
    cluster::{Leader, LeaderEvent, LeaderStream},
    net::Net,
};

/// What a session needs.
pub(crate) struct Options {
    pub net: Net,
    pub leader: watch::Receiver<Option<Leader>>,
    pub principal: Principal,
}

/// Serves one framework until it goes, or `shutdown`.
pub(crate) async fn serve(options: Options, opened: Opened, shutdown: CancellationToken) {
    let Opened { send, reader } = opened;
    let class = StreamClass::Relay { principal: options.principal.clone() };
    let session = Session {
        principal: options.principal,
        client: spawn_writer(send, WriterOptions::default()),
        leader: LeaderStream::new(options.net, class, options.leader),
        subscribe: None,
        subscription: None,
        fence: None,
        following: None,
        offers: BTreeMap::new(),
        inverse: BTreeSet::new(),
        left: false,
        progress: Progress::new(Instant::now()),
    };
    shutdown.run_until_cancelled(session.run(reader)).await;
}

struct Session {
    principal: Principal,
    client: FrameSender,
    leader: LeaderStream<EventFrame>,
    /// The newest description and suppressed roles, for the next leader.
    subscribe: Option<Subscribe>,
    /// Held once a leader has answered the subscribe.
    subscription: Option<Subscription>,
    /// The newest leader heard of; events under a lower fence are dropped.
    fence: Option<Fence>,
    /// The leader to which the stream is being opened, or open.
    following: Option<Fence>,
    /// Offers that the client may believe open, each of one agent in one role.
    offers: BTreeMap<OfferId, (Role, AgentId)>,
    /// Inverse offers, the same.
    inverse: BTreeSet<OfferId>,
    /// The client said good-bye, or was turned away.
    left: bool,
    /// Whether the client reads when much waits for it.
    progress: Progress,
}

impl Session {
    async fn run(mut self, mut reader: FrameReader) {
        loop {
            // A burst waits at the leader for a framework that is slow for a while. But a new leader must hear
            // of the framework at once, or it takes it for gone.
            let may_read = self.client.has_room();
            let written = self.client.bytes_written();
            if let Err(Stalled) = self.progress.check(written, !may_read, Instant::now()) {
                tracing::info!(principal = %self.principal, "a framework reads nothing: it is cut off");
                break;
            }
            tokio::select! {
                biased;
                event = self.leader.next_with(may_read) => {
                    if let Err(error) = self.take_from_leader(event) {
                        tracing::info!(principal = %self.principal, %error, "a framework is cut off");
                        break;
                    }
                }
                () = self.client.room(), if !may_read => {}
                () = tokio::time::sleep_until(self.progress.give_up_at()), if !may_read => {}
                frame = reader.read::<CallFrame>() => match frame {
                    Ok(Some(frame)) => self.take_from_client(frame),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::info!(principal = %self.principal, %error, "a framework is gone");
                        break;
                    }
                },
            }
            if self.left && self.client.is_closed() {
                break;
            }
        }
        self.client_is_gone();
    }

    fn take_from_client(&mut self, frame: CallFrame) {
        self.note(&frame.call);
        if self.leader.is_open() {
            if let Err(error) = self.leader.send(&frame) {
                tracing::info!(principal = %self.principal, %error, "a call did not reach the leader");
                self.answer_no_leader(&frame);
            }
        } else if !matches!(frame.call, Call::Subscribe(_)) {
            self.answer_no_leader(&frame);
        }
    }

    /// Keeps what the next leader must be told.
    fn note(&mut self, call: &Call) {
        match call {
            Call::Subscribe(subscribe) => {
                self.subscribe = Some(subscribe.clone());
                self.subscription = None;
            }
            Call::Suppress { roles } => {
                if let Some(subscribe) = &mut self.subscribe {
                    let all = &subscribe.info.roles;
                    let named = if roles.is_empty() { all } else { roles };
                    subscribe.suppressed_roles.extend(named.iter().cloned());
                }
            }
            Call::Revive { roles } => {
                if let Some(subscribe) = &mut self.subscribe {
                    let all = roles.is_empty();
                    subscribe.suppressed_roles.retain(|role| !all && !roles.contains(role));
                }
            }
            Call::Request { role, requests, together_within_ms } => {
                if let Some(subscribe) = &mut self.subscribe
                    && subscribe.info.roles.contains(role)
                {
                    let demand = subscribe.demand.get_or_insert_default();
                    demand.say(role, requests, *together_within_ms);
                }
            }
            Call::UpdateFramework(update) => self.note_update(update),
            Call::Accept(accept) => self.note_accept(accept),
            Call::Decline { offers, .. } => offers.iter().for_each(|offer| {
                self.offers.remove(offer);
            }),
            Call::AcceptInverseOffers { offers, .. }
            | Call::DeclineInverseOffers { offers, .. } => {
                offers.iter().for_each(|offer| {
                    self.inverse.remove(offer);
                });
            }
            Call::Teardown | Call::Disconnect => self.left = true,
            Call::Kill { .. }
            | Call::Message { .. }
            | Call::ShutdownExecutor { .. }
            | Call::Wish { .. }
            | Call::Acknowledge { .. }
            | Call::AcknowledgeOperation { .. }
            | Call::ReconcileOperations { .. }
            | Call::Reconcile { .. }
            | Call::Unknown => {}
        }
    }

    /// What a leader that resumes the subscription has on record it has from there; a subscription that
    /// no leader has confirmed yet cannot be updated.
    fn note_update(&mut self, update: &UpdateFramework) {
        if let Some(subscribe) = self.subscribe.as_mut().filter(|_| self.subscription.is_some()) {
            subscribe.info = update.info.clone();
            subscribe.suppressed_roles.clone_from(&update.suppressed_roles);
            if let Some(demand) = &mut subscribe.demand {
                demand.keep_roles(&update.info.roles);
            }
        }
    }

    /// What is launched is wanted no more.
    fn note_accept(&mut self, accept: &Accept) {
        let mut of = None;
        for offer in &accept.offers {
            let offer = self.offers.remove(offer);
            of = of.or(offer);
        }
        let demand = self.subscribe.as_mut().and_then(|subscribe| subscribe.demand.as_mut());
        if let (Some((role, agent)), Some(demand)) = (of, demand) {
            let used: Resources = accept.launch.iter().map(|task| &task.resources).sum();
            demand.launched(&role, agent, &used);
        }
    }

    fn answer_no_leader(&mut self, frame: &CallFrame) {
        let Some((request, fence)) = frame.request.zip(self.fence) else { return };
        let error = Some(CallError {
            kind: CallErrorKind::NoLeader,
            message: "no leader is known to this node right now: try again when it has one".into(),
        });
        self.tell(EventFrame { fence, event: Event::Answered { request, error } });
    }

    fn take_from_leader(&mut self, event: LeaderEvent<EventFrame>) -> Result<(), WireError> {
        match event {
            LeaderEvent::Follow(leader) => self.following = Some(leader.fence),
            LeaderEvent::Opened => self.resume(),
            LeaderEvent::Closed => self.leader_lost(),
            LeaderEvent::Frame(frame) => {
                if self.fence.is_some_and(|newest| frame.fence.is_stale(newest)) {
                    return Ok(());
                }
                self.fence = Some(frame.fence);
                self.follow_event(&frame.event);
                self.client.send(&frame)?;
            }
        }
        Ok(())
    }

    fn follow_event(&mut self, event: &Event) {
        match event {
            Event::Subscribed { framework, subscription, .. } => {
                self.subscription = Some(*subscription);
                if let Some(subscribe) = &mut self.subscribe {
                    subscribe.framework = Some(*framework);
                }
            }
            Event::Offers { offers } => {
                let open = offers.iter().map(|it| (it.id, (it.role.clone(), it.agent)));
                self.offers.extend(open);
            }
            Event::Rescind { offers, cause: _ } => offers.iter().for_each(|offer| {
                self.offers.remove(offer);
            }),
            Event::InverseOffers { offers } => {
                self.inverse.extend(offers.iter().map(|offer| offer.id));
            }
            Event::RescindInverseOffers { offers } => offers.iter().for_each(|offer| {
                self.inverse.remove(offer);
            }),
            Event::Unfulfilled { role } => {
                let demand = self.subscribe.as_mut().and_then(|it| it.demand.as_mut());
                demand.into_iter().for_each(|demand| demand.unfulfilled(role));
            }
            Event::Error { .. } => self.left = true,
            Event::Update { .. }
            | Event::OperationStatus { .. }
            | Event::AgentLost { .. }
            | Event::Message { .. }
            | Event::ExecutorLost { .. }
            | Event::Answered { .. }
            | Event::LeaderLost
            | Event::SubscribeAgain
            | Event::Heartbeat
            | Event::Unknown => {}
        }
    }

    /// Subscribes at a leader: anew when no leader has answered yet, else under the number held.
    fn resume(&mut self) {
        let Some(subscribe) = self.subscribe.as_ref().filter(|_| !self.left) else { return };
        let takes_over = subscribe.framework.is_some()
            && subscribe.resume.is_none()
            && self.subscription.is_none();
        if let Some(fence) = self.following.filter(|_| takes_over && subscribe.can_be_asked) {
            // It may have died since, and another instance may be in its place by now.
            return self.tell(EventFrame { fence, event: Event::SubscribeAgain });
        }
        let mut subscribe = subscribe.clone();
        if self.subscription.is_some() {
            subscribe.resume = self.subscription;
        }
        let call = Call::Subscribe(subscribe);
        let frame =
            CallFrame { request: None, subscription: self.subscription.unwrap_or_default(), call };
        if let Err(error) = self.leader.send(&frame) {
            tracing::debug!(%error, "the leader was lost before the subscription was resumed");
        }
    }

    /// Offers die with their leader; the client is told both.
    fn leader_lost(&mut self) {
        let Some(fence) = self.fence else { return };
        let offers: Vec<OfferId> = std::mem::take(&mut self.offers).into_keys().collect();
        if !offers.is_empty() {
            let cause = Some(RescindCause::LeaderLost);
            self.tell(EventFrame { fence, event: Event::Rescind { offers, cause } });
        }
        let offers: Vec<OfferId> = std::mem::take(&mut self.inverse).into_iter().collect();
        if !offers.is_empty() {
            self.tell(EventFrame { fence, event: Event::RescindInverseOffers { offers } });
        }
        self.tell(EventFrame { fence, event: Event::LeaderLost });
    }

    fn tell(&mut self, frame: EventFrame) {
        if let Err(error) = self.client.send(&frame) {
            tracing::debug!(%error, "a framework could not be told");
        }
    }

    /// The leader learns at once that the client itself has gone, not this gateway.
    fn client_is_gone(mut self) {
        if let Some(subscription) = self.subscription.filter(|_| !self.left) {
            let frame = CallFrame { request: None, subscription, call: Call::Disconnect };
            if let Err(error) = self.leader.send(&frame) {
                tracing::debug!(%error, "the leader could not be told that a framework is gone");
            }
        }
    }
}
