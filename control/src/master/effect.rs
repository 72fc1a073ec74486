//! Everything that a master can ask for.

use meshos_protocol::{
    ids::{RequestId, SessionId},
    messages::{
        agent::{TaskHint, ToAgent},
        scheduler::{CallError, Event as FrameworkEvent},
    },
};
use serde::Serialize;

use super::ConnectionId;
use crate::registry::Entry;

/// A wish of the master, carried out by the shell in the order given.
///
/// **Commit before consequence.** Whatever depends on a change of the registry is wished for only
/// when the change comes back as [`super::Event::Applied`]; so the shell may send at once whatever
/// it finds here. Before each flush the shell checks the leader's lease: when it has run out, the
/// effects are dropped and [`super::Event::Deposed`] is handed in.
///
/// The shell puts the fence on everything it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// Write to the registry.
    Propose(Entry),
    /// Instruct an agent.
    SendToAgent {
        /// Its stream.
        connection: ConnectionId,
        /// The instruction.
        message: ToAgent,
    },
    /// Close an agent's stream: it broke the protocol or a newer stream replaces it.
    CloseConnection {
        /// The stream.
        connection: ConnectionId,
        /// Why, for the log.
        why: String,
    },
    /// Tell a framework.
    SendToFramework {
        /// Its stream.
        session: SessionId,
        /// What.
        event: FrameworkEvent,
    },
    /// Close a framework's stream after what was sent to it.
    CloseSession {
        /// The stream.
        session: SessionId,
    },
    /// Tell the other voters, outside the log.
    Hint(TaskHint),
    /// Answer an operator.
    AnswerOperator {
        /// The call.
        request: RequestId,
        /// What became of it.
        result: Result<(), CallError>,
    },
}
