//! The sockets of executors: who is on the other end, and what passes.
//!
//! A socket is made in a directory of the node's own, given to the user of the executor, and moved into the sandbox: what
//! that user may have put there is never opened, followed or changed. Whoever connects must be that user and name the token
//! that was made for the container; the newest connection that did is the executor's.

mod connection;
mod place;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use meshos_control::agent::Event;
use meshos_protocol::{
    ids::{ContainerId, FrameworkId},
    messages::executor::{self, Call, Event as ExecutorEvent, Subscribe},
    time::millis,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Input, Sandboxes};
use connection::Outbox;
use place::Place;

pub(super) use place::make_token;

/// The name of the socket in the sandbox.
const SOCKET: &str = ".executor.sock";
/// What the names of containers of executors begin with, as the agent makes them.
const KIND: char = 'e';

/// What an executor's connection brings.
pub(super) enum Said {
    /// Somebody showed the token.
    Subscribed {
        /// Numbers connections.
        connection: u64,
        outbox: Outbox,
        subscribe: Box<Subscribe>,
    },
    /// A call over a connection.
    Called { connection: u64, call: Call },
    /// A connection is closed.
    Gone { connection: u64 },
}

/// The executor's newest connection.
struct Current {
    connection: u64,
    outbox: Outbox,
}

/// The sockets that are served.
pub(super) struct Executors {
    /// Tokens, and sockets that are being made; the node's alone.
    root: PathBuf,
    sandboxes: Sandboxes,
    mailbox: mpsc::Sender<Input>,
    served: BTreeMap<ContainerId, DropGuard>,
    current: BTreeMap<ContainerId, Current>,
    recovery_timeout: Duration,
    shutdown_grace: Duration,
}

impl Executors {
    pub(super) fn new(
        root: PathBuf,
        sandboxes: Sandboxes,
        mailbox: mpsc::Sender<Input>,
        (recovery_timeout, shutdown_grace): (Duration, Duration),
    ) -> Self {
        let (served, current) = (BTreeMap::new(), BTreeMap::new());
        Self { root, sandboxes, mailbox, served, current, recovery_timeout, shutdown_grace }
    }

    /// What an executor is told by its environment, but for the token.
    pub(super) fn variables(
        &self,
        framework: FrameworkId,
        info: &meshos_protocol::executor::ExecutorInfo,
        sandbox: &Path,
    ) -> Vec<(String, String)> {
        let grace_ms = info.shutdown_grace_ms.unwrap_or_else(|| millis(self.shutdown_grace));
        let socket = sandbox.join(SOCKET);
        [
            (executor::FRAMEWORK_VARIABLE, framework.to_string()),
            (executor::EXECUTOR_VARIABLE, info.id.to_string()),
            (executor::SOCKET_VARIABLE, socket.display().to_string()),
            (executor::RECOVERY_VARIABLE, millis(self.recovery_timeout).to_string()),
            (executor::SHUTDOWN_VARIABLE, grace_ms.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Where a container's token is made.
    pub(super) fn token_file(&self, container: &ContainerId) -> PathBuf {
        self.root.join(format!("{container}.token"))
    }

    /// Listens on an executor's socket.
    pub(super) fn serve(&mut self, container: ContainerId) {
        let Some(sandbox) = self.sandboxes.held(&container) else {
            tracing::error!(%container, "an executor has no sandbox: it cannot be served");
            return;
        };
        let stop = CancellationToken::new();
        self.served.insert(container.clone(), stop.clone().drop_guard());
        let place = Place {
            root: self.root.clone(),
            token_file: self.token_file(&container),
            sandbox,
            container: container.clone(),
        };
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            if let Err(error) = connection::serve(place, mailbox, stop).await {
                tracing::error!(%container, %error, "an executor cannot be served");
            }
        });
    }

    /// Its container is over.
    pub(super) fn forget(&mut self, container: &ContainerId) {
        if !container.as_str().starts_with(KIND) {
            return;
        }
        self.served.remove(container);
        self.current.remove(container);
        let token = self.token_file(container);
        if let Err(error) = std::fs::remove_file(token)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%container, %error, "cannot remove the token of an executor");
        }
    }

    /// What the core is to be told of what a connection brought.
    pub(super) fn take(&mut self, container: ContainerId, said: Said) -> Option<Event> {
        let is_current = |this: &Self, connection| {
            this.current.get(&container).is_some_and(|current| current.connection == connection)
        };
        match said {
            Said::Subscribed { connection, outbox, subscribe } => {
                // An older connection ends with its outbox.
                self.current.insert(container.clone(), Current { connection, outbox });
                Some(Event::ExecutorCalled { container, call: Call::Subscribe(*subscribe) })
            }
            Said::Called { connection, call } => {
                is_current(self, connection).then_some(Event::ExecutorCalled { container, call })
            }
            Said::Gone { connection } => {
                if !is_current(self, connection) {
                    return None;
                }
                self.current.remove(&container);
                Some(Event::ExecutorDisconnected { container })
            }
        }
    }

    /// Says something to an executor. What does not fit any more cuts it off, and is told back: it comes
    /// again and says what it has.
    pub(super) fn tell(&mut self, container: ContainerId, event: &ExecutorEvent) -> Option<Event> {
        let current = self.current.get(&container)?;
        let fits = match event {
            ExecutorEvent::Message { .. } => {
                current.outbox.send_if_room(event);
                true
            }
            ExecutorEvent::Subscribed(_)
            | ExecutorEvent::Launch { .. }
            | ExecutorEvent::LaunchGroup { .. }
            | ExecutorEvent::Kill { .. }
            | ExecutorEvent::Acknowledged { .. }
            | ExecutorEvent::Shutdown { .. }
            | ExecutorEvent::Error { .. }
            | ExecutorEvent::Unknown => current.outbox.send(event),
        };
        let over = matches!(event, ExecutorEvent::Error { .. });
        if fits && !over {
            return None;
        }
        self.current.remove(&container);
        if !fits {
            tracing::warn!(%container, "an executor reads too slowly: it is cut off");
        }
        Some(Event::ExecutorDisconnected { container })
    }
}
