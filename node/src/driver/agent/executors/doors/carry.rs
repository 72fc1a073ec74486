//! The stream of an executor, from its beginning to its end.

use std::time::Duration;

use meshos_mesos::{
    codec::{self, Media},
    executor::{self, HEARTBEAT_MS, Session},
};
use meshos_protocol::{ids::ContainerId, messages::executor::Call};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{super::Said, Doors};
use crate::gateway::{Outbox, Stalled};

/// How often what the agent has not acknowledged is told again, and it is looked whether the executor reads.
const REPEAT: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);

/// A stream that is kept alive.
pub(super) struct Carried {
    pub container: ContainerId,
    pub connection: u64,
    pub outbox: Outbox,
    pub media: Media,
    /// What is to be handed on.
    pub updates: mpsc::UnboundedReceiver<Call>,
}

impl Doors {
    /// Keeps a stream alive until the executor or the agent closes it.
    pub(super) async fn carry(self, carried: Carried, stop: CancellationToken) {
        let Carried { container, connection, mut outbox, media, mut updates } = carried;
        let begun = Instant::now();
        let mut beat = tokio::time::interval_at(begun + HEARTBEAT, HEARTBEAT);
        let mut repeat = tokio::time::interval_at(begun + REPEAT, REPEAT);
        loop {
            let told = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.0.options.shutdown.cancelled() => break,
                () = outbox.closed() => break,
                _ = beat.tick() => {
                    outbox.push(codec::record(media, &executor::heartbeat()));
                    continue;
                }
                _ = repeat.tick() => {
                    if let Err(Stalled) = outbox.check(Instant::now()) {
                        tracing::warn!(%container, "an executor reads nothing: it is cut off");
                        break;
                    }
                    if updates.is_empty() {
                        self.repeat(&container, connection);
                    }
                    continue;
                }
                update = updates.recv() => update,
            };
            // Another stream has taken the place of this one.
            let Some(call) = told else { break };
            if self.say(container.clone(), Said::Called { connection, call }).await.is_err() {
                break;
            }
        }
        self.leave(&container, connection);
        // What was answered is passed on: the executor may have said its last.
        while let Some(call) = updates.recv().await {
            let said = Said::Called { connection, call };
            if self.say(container.clone(), said).await.is_err() {
                return;
            }
        }
        // The loop is gone only when the node stops.
        let _told = self.say(container, Said::Gone { connection }).await;
    }

    /// A stream is over: nothing can be told over it any more, but for what was taken before.
    fn leave(&self, container: &ContainerId, connection: u64) {
        let mut state = self.state();
        let Some(door) = state.door(container) else { return };
        if door.current.as_ref().is_none_or(|current| current.connection != connection) {
            return;
        }
        let updates = door.session.as_mut().map(Session::leave).unwrap_or_default();
        door.pass_on(updates);
        door.current = None;
    }

    /// What the agent was told and has not acknowledged is told again.
    fn repeat(&self, container: &ContainerId, connection: u64) {
        let mut state = self.state();
        let Some(door) = state.door(container) else { return };
        let is_current = door.current.as_ref().is_some_and(|it| it.connection == connection);
        if let Some(session) = door.session.as_ref().filter(|_| is_current) {
            door.pass_on(session.repeat());
        }
    }
}
