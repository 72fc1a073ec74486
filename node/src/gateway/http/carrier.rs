//! One stream: moves what the leader says to the client, and what the client calls to the leader.

use std::{collections::BTreeMap, time::Duration};

use meshos_mesos::{
    codec::{self, Media, Refused},
    convert::event,
    schema::{self, CallType},
    session::{HEARTBEAT_MS, Output, Places, Session, Ticket, not_subscribed},
};
use meshos_protocol::{ids::FrameworkId, messages::scheduler::EventFrame};
use meshos_sdk::wire::FrameSender;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::outbox::Outbox;
use crate::{
    budget::Permit,
    clock::Clock,
    cluster::{LeaderEvent, LeaderStream},
    gateway::progress::Stalled,
};

const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
/// After an event, when none follows: some clients see an event only when the next one begins.
const HEARTBEAT_AFTER_EVENT: Duration = Duration::from_millis(250);
/// With more unread bytes no call is taken.
const UNREAD_MAX: usize = 48 << 20;

/// A call of the framework, and where its answer goes.
pub(super) struct Called {
    pub call: schema::Call,
    pub kind: CallType,
    pub permit: Permit,
    pub answer: Answer,
}

type Answer = oneshot::Sender<Result<(), Refused>>;

/// A stream and what is carried on it.
pub(super) struct Carrier<P> {
    pub session: Session,
    pub leader: LeaderStream<EventFrame>,
    pub calls: mpsc::Receiver<Called>,
    pub outbox: Outbox,
    pub media: Media,
    pub places: P,
    pub clock: Clock,
    /// Told once the framework has an id.
    pub framework: watch::Sender<Option<FrameworkId>>,
}

/// What changes while a stream is carried.
struct State {
    /// Who waits for an answer; each holds the memory that its call takes.
    tickets: BTreeMap<Ticket, (Answer, Permit)>,
    next_ticket: u64,
    beats: Beats,
    outputs: Vec<Output>,
    over: bool,
}

/// When the next heartbeat is due: so long after the last one, however many events there are, and a
/// moment after an event that none follows.
#[derive(Debug)]
struct Beats {
    next: Instant,
    after_event: Option<Instant>,
}

impl Beats {
    fn new(now: Instant) -> Self {
        Self { next: now + HEARTBEAT, after_event: None }
    }

    fn told_event(&mut self, now: Instant) {
        self.after_event = Some(now + HEARTBEAT_AFTER_EVENT);
    }

    fn due(&self) -> Instant {
        self.after_event.map_or(self.next, |at| at.min(self.next))
    }

    fn beat(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

impl<P: Places> Carrier<P> {
    /// Carries until the client goes, or the leader ends the subscription.
    pub(super) async fn run(mut self) {
        let mut state = State {
            tickets: BTreeMap::new(),
            next_ticket: 0,
            beats: Beats::new(Instant::now()),
            outputs: Vec::new(),
            over: false,
        };
        while !state.over {
            // What the client has yet to read holds up the leader, and what the leader has yet to read
            // holds up calls; so nothing grows beyond its bounds, and nobody is cut off for a burst. But a new
            // leader must hear of the framework at once, or it takes it for gone.
            let answers = !state.tickets.is_empty();
            let may_read = self.outbox.has_room(answers);
            let sender = self.leader.sender().cloned();
            let may_call = sender.as_ref().is_none_or(FrameSender::has_room);
            let has_more = sender.is_some() && self.session.has_more();
            tokio::select! {
                biased;
                () = self.outbox.closed() => break,
                // Ahead of events, of which there may always be another one.
                () = tokio::time::sleep_until(state.beats.due()) => {
                    if let Err(Stalled) = self.beat(&mut state) {
                        let framework = self.session.framework();
                        tracing::warn!(?framework, "a framework reads nothing: it is cut off");
                        break;
                    }
                }
                event = self.leader.next_with(may_read) => self.take_from_leader(event, &mut state),
                () = self.outbox.room(answers), if !may_read => {}
                called = self.calls.recv(), if may_call => match called {
                    Some(called) => self.take_call(called, &mut state),
                    None => break,
                },
                () = room_of(sender), if has_more || !may_call => {
                    self.session.say_more(&mut state.outputs);
                }
            }
            self.flush(&mut state);
        }
        for (answer, _) in state.tickets.into_values() {
            // Whoever asked may be gone.
            let _asked = answer.send(Err(not_subscribed()));
        }
        if let Some(frame) = self.session.left()
            && let Err(error) = self.leader.send(&frame)
        {
            tracing::debug!(%error, "the leader could not be told that a framework is gone");
        }
    }

    fn take_from_leader(&mut self, event: LeaderEvent<EventFrame>, state: &mut State) {
        match event {
            LeaderEvent::Follow(_) => {}
            LeaderEvent::Opened => {
                self.forget_given_up(state);
                self.session.opened(&mut state.outputs);
            }
            LeaderEvent::Closed => self.session.closed(&mut state.outputs),
            LeaderEvent::Frame(frame) => {
                self.session.event(frame, &self.places, &mut state.outputs);
                self.framework.send_if_modified(|known| {
                    let framework = self.session.framework();
                    std::mem::replace(known, framework) != framework
                });
            }
        }
    }

    fn take_call(&mut self, called: Called, state: &mut State) {
        let Called { call, kind, permit, answer } = called;
        // It was told that the call is not made.
        if answer.is_closed() {
            return;
        }
        // What calls bring about is told beside what the leader says.
        if self.outbox.waiting() > UNREAD_MAX {
            let why = "The framework has too many events that it has not read: read them first";
            // Whoever asked may be gone.
            let _asked = answer.send(Err(Refused::new(503, why)));
            return;
        }
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        state.tickets.insert(ticket, (answer, permit));
        self.session.call(&call, kind, ticket, self.clock.now().wall, &mut state.outputs);
    }

    fn beat(&mut self, state: &mut State) -> Result<(), Stalled> {
        let now = Instant::now();
        state.beats.beat(now);
        self.outbox.check(now)?;
        self.forget_given_up(state);
        self.session.tick(&mut state.outputs);
        // Who has not read what there is needs no sign of life.
        if self.session.is_told() && self.outbox.has_room(false) {
            self.outbox.push(codec::record(self.media, &event::heartbeat()));
        }
        Ok(())
    }

    /// What nobody waits for any more is not asked of a later leader.
    fn forget_given_up(&mut self, state: &mut State) {
        let given_up = state.tickets.extract_if(.., |_, (answer, _)| answer.is_closed());
        given_up.for_each(|(ticket, _)| self.session.forget(ticket));
    }

    fn flush(&mut self, state: &mut State) {
        for output in std::mem::take(&mut state.outputs) {
            match output {
                Output::Send(frame) => {
                    if let Err(error) = self.leader.send(&*frame) {
                        tracing::info!(%error, "a call did not reach the leader");
                    }
                }
                Output::Tell(event) => {
                    for record in codec::records(self.media, *event) {
                        self.outbox.push(record);
                    }
                    state.beats.told_event(Instant::now());
                }
                Output::Answer(ticket, answer) => {
                    if let Some((waiting, _)) = state.tickets.remove(&ticket) {
                        // Whoever asked may be gone.
                        let _asked = waiting.send(answer);
                    }
                }
                Output::End => state.over = true,
            }
        }
    }
}

/// Ends when the stream to the leader takes more.
async fn room_of(sender: Option<FrameSender>) {
    match sender {
        Some(sender) => sender.room().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_come_however_many_events_there_are() {
        let begun = Instant::now();
        let mut beats = Beats::new(begun);
        let (mut now, mut beaten) = (begun, Vec::new());
        while now < begun + HEARTBEAT * 3 {
            now += Duration::from_millis(100);
            beats.told_event(now);
            if beats.due() <= now {
                beats.beat(now);
                beaten.push(now - begun);
            }
        }
        assert_eq!(beaten, [HEARTBEAT, HEARTBEAT * 2, HEARTBEAT * 3]);
        // An event that none follows is followed by a heartbeat.
        beats.told_event(now);
        assert_eq!(beats.due(), now + HEARTBEAT_AFTER_EVENT);
        beats.beat(now);
        assert_eq!(beats.due(), now + HEARTBEAT);
    }
}
