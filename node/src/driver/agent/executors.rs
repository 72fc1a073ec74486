//! The sockets of executors: who is on the other end, and what passes.
//!
//! A socket is made in a directory of the node's own, given to the user of the executor, and moved into the sandbox: what
//! that user may have put there is never opened, followed or changed. Whoever connects must be that user and name the token
//! that was made for the container; the newest connection that did is the executor's.

mod connection;
mod doors;
mod place;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use meshos_control::agent::Event;
use meshos_mesos::executor::Environment;
use meshos_protocol::{
    ids::{AgentId, ContainerId, FrameworkId},
    messages::executor::{self, Call, Event as ExecutorEvent, Subscribe},
    time::millis,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Input, Sandboxes};
use connection::Outbox;
use doors::StreamOutbox;
use place::Place;

pub(crate) use doors::{Credential, Doors, Options as DoorsOptions};
pub(super) use place::{make_token, uid_of};

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
        outbox: Outlet,
        subscribe: Box<Subscribe>,
    },
    /// A call over a connection.
    Called { connection: u64, call: Call },
    /// A connection is closed.
    Gone { connection: u64 },
}

/// How an executor is told something.
pub(super) enum Outlet {
    /// Over its socket.
    Socket(Outbox),
    /// Over the stream of Mesos's executor API.
    Stream(StreamOutbox),
}

/// The executor's newest connection.
struct Current {
    connection: u64,
    outbox: Outlet,
}

/// The sockets that are served.
pub(super) struct Executors {
    /// Tokens, and sockets that are being made; the node's alone.
    root: PathBuf,
    sandboxes: Sandboxes,
    mailbox: mpsc::Sender<Input>,
    served: BTreeMap<ContainerId, DropGuard>,
    current: BTreeMap<ContainerId, Current>,
    doors: Doors,
    recovery_timeout: Duration,
    shutdown_grace: Duration,
}

impl Executors {
    pub(super) fn new(
        root: PathBuf,
        sandboxes: Sandboxes,
        mailbox: mpsc::Sender<Input>,
        doors: Doors,
        (recovery_timeout, shutdown_grace): (Duration, Duration),
    ) -> Self {
        let (served, current) = (BTreeMap::new(), BTreeMap::new());
        Self { root, sandboxes, mailbox, served, current, doors, recovery_timeout, shutdown_grace }
    }

    /// The executor API of Mesos.
    pub(super) const fn doors(&self) -> &Doors {
        &self.doors
    }

    /// What an executor is told by its environment, but for the token.
    pub(super) fn variables(
        &self,
        framework: FrameworkId,
        agent: Option<AgentId>,
        info: &meshos_protocol::executor::ExecutorInfo,
        sandbox: &Path,
    ) -> Vec<(String, String)> {
        let grace_ms = info.shutdown_grace_ms.unwrap_or_else(|| millis(self.shutdown_grace));
        let socket = sandbox.join(SOCKET);
        let for_mesos = self.doors.cluster().map(|cluster| {
            Environment {
                cluster,
                framework,
                executor: &info.id,
                agent,
                endpoint: self.doors.endpoint(),
                sandbox: &sandbox.display().to_string(),
                shutdown_grace: Duration::from_millis(grace_ms),
                recovery_timeout: self.recovery_timeout,
            }
            .variables()
        });
        let own = [
            (executor::FRAMEWORK_VARIABLE, framework.to_string()),
            (executor::EXECUTOR_VARIABLE, info.id.to_string()),
            (executor::SOCKET_VARIABLE, socket.display().to_string()),
            (executor::RECOVERY_VARIABLE, millis(self.recovery_timeout).to_string()),
            (executor::SHUTDOWN_VARIABLE, grace_ms.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        own.into_iter().chain(for_mesos.into_iter().flatten()).collect()
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
        self.doors.serve(&container);
        let stop = CancellationToken::new();
        self.served.insert(container.clone(), stop.clone().drop_guard());
        let place = Place {
            root: self.root.clone(),
            token_file: self.token_file(&container),
            sandbox,
            container: container.clone(),
        };
        let (mailbox, doors) = (self.mailbox.clone(), self.doors.clone());
        tokio::spawn(async move {
            if let Err(error) = connection::serve(place, mailbox, doors, stop).await {
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
        self.doors.forget(container);
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
        let fits = match &current.outbox {
            Outlet::Socket(outbox) => outbox.tell(event),
            Outlet::Stream(outbox) => self.doors.tell(&container, outbox, event),
        };
        let over = matches!(event, ExecutorEvent::Error { .. });
        if fits && !over {
            return None;
        }
        self.current.remove(&container);
        self.doors.disconnected(&container);
        if !fits {
            tracing::warn!(%container, "an executor reads too slowly: it is cut off");
        }
        Some(Event::ExecutorDisconnected { container })
    }
}
