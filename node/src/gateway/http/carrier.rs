//! One stream: moves what the leader says to the client, and what the client calls to the leader.

use std::{collections::BTreeMap, time::Duration};

use meshos_mesos::{
    codec::{self, Media, Refused},
    convert::event,
    schema::{self, CallType},
    session::{HEARTBEAT_MS, Output, Session, Ticket, not_subscribed},
};
use meshos_protocol::{ids::FrameworkId, messages::scheduler::EventFrame};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    outbox::{Outbox, TooSlow},
    places::NodePlaces,
};
use crate::{
    clock::Clock,
    cluster::{LeaderEvent, LeaderStream},
};

const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
/// After an event, when none follows: some clients see an event only when the next one begins.
const HEARTBEAT_AFTER_EVENT: Duration = Duration::from_millis(250);

/// A call of the framework, and where its answer goes.
pub(super) struct Called {
    pub call: schema::Call,
    pub kind: CallType,
    pub answer: oneshot::Sender<Result<(), Refused>>,
}

/// A stream and what is carried on it.
pub(super) struct Carrier {
    pub session: Session,
    pub leader: LeaderStream<EventFrame>,
    pub calls: mpsc::Receiver<Called>,
    pub outbox: Outbox,
    pub media: Media,
    pub places: NodePlaces,
    pub clock: Clock,
    /// Told once the framework has an id.
    pub framework: watch::Sender<Option<FrameworkId>>,
}

/// What changes while a stream is carried.
struct Desk {
    tickets: BTreeMap<Ticket, oneshot::Sender<Result<(), Refused>>>,
    next_ticket: u64,
    heartbeat_at: Instant,
    outputs: Vec<Output>,
    over: bool,
}

impl Carrier {
    /// Carries until the client goes, or the leader ends the subscription.
    pub(super) async fn run(mut self) {
        let mut desk = Desk {
            tickets: BTreeMap::new(),
            next_ticket: 0,
            heartbeat_at: Instant::now() + HEARTBEAT,
            outputs: Vec::new(),
            over: false,
        };
        while !desk.over {
            tokio::select! {
                biased;
                () = self.outbox.closed() => break,
                event = self.leader.next() => self.take_from_leader(event, &mut desk),
                called = self.calls.recv() => match called {
                    Some(called) => self.take_call(called, &mut desk),
                    None => break,
                },
                () = tokio::time::sleep_until(desk.heartbeat_at) => {
                    self.session.tick(&mut desk.outputs);
                    if let Err(TooSlow) = self.beat(&mut desk) {
                        break;
                    }
                }
            }
            if let Err(TooSlow) = self.flush(&mut desk) {
                let framework = self.session.framework();
                tracing::warn!(
                    ?framework,
                    "a framework reads its events too slowly: it is cut off"
                );
                break;
            }
        }
        for (_, answer) in desk.tickets {
            // Whoever asked may be gone.
            let _asked = answer.send(Err(not_subscribed()));
        }
        if let Some(frame) = self.session.left()
            && let Err(error) = self.leader.send(&frame)
        {
            tracing::debug!(%error, "the leader could not be told that a framework is gone");
        }
    }

    fn take_from_leader(&mut self, event: LeaderEvent<EventFrame>, desk: &mut Desk) {
        match event {
            LeaderEvent::Follow(_) => {}
            LeaderEvent::Opened => self.session.opened(&mut desk.outputs),
            LeaderEvent::Closed => self.session.closed(&mut desk.outputs),
            LeaderEvent::Frame(frame) => {
                self.session.event(frame, &self.places, &mut desk.outputs);
                self.framework.send_if_modified(|known| {
                    let framework = self.session.framework();
                    std::mem::replace(known, framework) != framework
                });
            }
        }
    }

    fn take_call(&mut self, called: Called, desk: &mut Desk) {
        let Called { call, kind, answer } = called;
        let ticket = Ticket(desk.next_ticket);
        desk.next_ticket += 1;
        desk.tickets.insert(ticket, answer);
        desk.tickets.retain(|_, answer| !answer.is_closed());
        self.session.call(&call, kind, ticket, self.clock.now().wall, &mut desk.outputs);
    }

    fn beat(&mut self, desk: &mut Desk) -> Result<(), TooSlow> {
        desk.heartbeat_at = Instant::now() + HEARTBEAT;
        self.outbox.check(Instant::now())?;
        if self.session.is_told() {
            self.outbox.push(codec::record(self.media, &event::heartbeat()))?;
        }
        Ok(())
    }

    fn flush(&mut self, desk: &mut Desk) -> Result<(), TooSlow> {
        for output in std::mem::take(&mut desk.outputs) {
            match output {
                Output::Send(frame) => {
                    if let Err(error) = self.leader.send(&*frame) {
                        tracing::info!(%error, "a call did not reach the leader");
                    }
                }
                Output::Tell(event) => {
                    for record in codec::records(self.media, *event) {
                        self.outbox.push(record)?;
                    }
                    desk.heartbeat_at = Instant::now() + HEARTBEAT_AFTER_EVENT;
                }
                Output::Answer(ticket, answer) => {
                    if let Some(waiting) = desk.tickets.remove(&ticket) {
                        // Whoever asked may be gone.
                        let _asked = waiting.send(answer);
                    }
                }
                Output::End => desk.over = true,
            }
        }
        Ok(())
    }
}
