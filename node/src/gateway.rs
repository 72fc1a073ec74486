//! Carries a framework that connected to this node: relays to the leader, and resumes the
//! subscription at the next one when the leader changes.
//!
//! The gateway never repeats an accept. What it cannot pass on it answers with "no leader"; the
//! driver then asks the next leader what became of its tasks.

mod http;
mod progress;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use http::{
    ANSWER_LIMIT, Outbox, Pusher, ReadCall, Records, StreamId, Streams, StreamsOptions, pair,
};
pub(crate) use progress::Stalled;
pub(crate) use session::{Options, serve};
