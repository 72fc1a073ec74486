//! The streams of agents and frameworks to one master.

use std::collections::BTreeMap;

use meshos_control::master::ConnectionId;
use meshos_protocol::{
    ids::{Fence, SessionId},
    messages::{
        agent::{ToAgent, ToAgentFrame, ToLeader},
        scheduler::{CallFrame, Event as FrameworkEvent, EventFrame},
    },
};
use meshos_sdk::wire::{FrameReader, FrameSender, Opened, WireError, WriterOptions, spawn_writer};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Input;

/// Frames that may wait for a framework: their bytes bound them. What answers one call may be many frames,
/// and its gateway reads no faster than the framework does.
const SESSION_FRAMES_MAX: usize = 1 << 18;

/// What a stream brings.
pub(super) enum StreamInput {
    FromAgent { connection: ConnectionId, message: Box<ToLeader> },
    AgentClosed { connection: ConnectionId },
    FromFramework { session: SessionId, frame: Box<CallFrame> },
    SessionClosed { session: SessionId },
}

struct Stream {
    sender: FrameSender,
    reading: CancellationToken,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reading.cancel();
    }
}

/// All streams of one term.
pub(super) struct Streams {
    fence: Fence,
    mailbox: mpsc::Sender<Input>,
    opened: u64,
    agents: BTreeMap<ConnectionId, Stream>,
    sessions: BTreeMap<SessionId, Stream>,
}

impl Streams {
    pub(super) fn new(fence: Fence, mailbox: mpsc::Sender<Input>) -> Self {
        Self { fence, mailbox, opened: 0, agents: BTreeMap::new(), sessions: BTreeMap::new() }
    }

    /// Begins to read an agent's stream.
    pub(super) fn add_agent(&mut self, opened: Opened) -> ConnectionId {
        self.opened += 1;
        let connection = ConnectionId(self.opened);
        let frame = move |message| {
            Input::Stream(StreamInput::FromAgent { connection, message: Box::new(message) })
        };
        let closed = Input::Stream(StreamInput::AgentClosed { connection });
        let stream = self.start::<ToLeader>(opened, WriterOptions::default(), frame, closed);
        self.agents.insert(connection, stream);
        connection
    }

    /// Begins to read a gateway's stream.
    pub(super) fn add_session(&mut self, opened: Opened) -> SessionId {
        self.opened += 1;
        let session = SessionId(self.opened);
        let frame = move |frame| {
            Input::Stream(StreamInput::FromFramework { session, frame: Box::new(frame) })
        };
        let closed = Input::Stream(StreamInput::SessionClosed { session });
        let options = WriterOptions { frames_max: SESSION_FRAMES_MAX, ..WriterOptions::default() };
        let stream = self.start::<CallFrame>(opened, options, frame, closed);
        self.sessions.insert(session, stream);
        session
    }

    fn start<T: DeserializeOwned + Send + 'static>(
        &self,
        opened: Opened,
        options: WriterOptions,
        wrap: impl Fn(T) -> Input + Send + 'static,
        closed: Input,
    ) -> Stream {
        let Opened { send, reader } = opened;
        let reading = CancellationToken::new();
        let (mailbox, token) = (self.mailbox.clone(), reading.clone());
        tokio::spawn(async move {
            let read = read_all(reader, &mailbox, wrap);
            match token.run_until_cancelled(read).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(%error, "a stream to the master ended"),
                None => return,
            }
            // The loop is gone when the term is over.
            let _listening = mailbox.send(closed).await;
        });
        Stream { sender: spawn_writer(send, options), reading }
    }

    /// Sends to an agent; false when its stream had to be given up.
    #[must_use]
    pub(super) fn send_to_agent(&mut self, connection: ConnectionId, message: ToAgent) -> bool {
        // A message for an executor is best effort: it must not cost the agent its stream.
        if matches!(message, ToAgent::ExecutorMessage { .. }) && is_full(&self.agents, &connection)
        {
            return true;
        }
        let frame = ToAgentFrame { fence: self.fence, message };
        send(&mut self.agents, connection, &frame)
    }

    /// Sends to a framework; false when its stream had to be given up.
    #[must_use]
    pub(super) fn send_to_framework(&mut self, session: SessionId, event: FrameworkEvent) -> bool {
        let is_message = matches!(event, FrameworkEvent::Message { .. });
        if is_message && is_full(&self.sessions, &session) {
            return true;
        }
        let frame = EventFrame { fence: self.fence, event };
        send(&mut self.sessions, session, &frame)
    }

    /// Forgets an agent's stream; what was sent is still delivered.
    pub(super) fn close_agent(&mut self, connection: ConnectionId) {
        self.agents.remove(&connection);
    }

    /// Forgets a framework's stream; what was sent is still delivered.
    pub(super) fn close_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }
}

/// Whether so much waits for the stream that what may be lost is left out.
fn is_full<K: Ord>(streams: &BTreeMap<K, Stream>, key: &K) -> bool {
    streams.get(key).is_some_and(|stream| !stream.sender.has_room())
}

fn send<K: Ord + Copy + std::fmt::Debug, T: Serialize>(
    streams: &mut BTreeMap<K, Stream>,
    key: K,
    frame: &T,
) -> bool {
    let Some(stream) = streams.get(&key) else { return true };
    match stream.sender.send(frame) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(stream = ?key, %error, "a stream is given up");
            streams.remove(&key);
            false
        }
    }
}

async fn read_all<T: DeserializeOwned>(
    mut reader: FrameReader,
    mailbox: &mpsc::Sender<Input>,
    wrap: impl Fn(T) -> Input,
) -> Result<(), WireError> {
    while let Some(message) = reader.read::<T>().await? {
        if mailbox.send(wrap(message)).await.is_err() {
            break;
        }
    }
    Ok(())
}
