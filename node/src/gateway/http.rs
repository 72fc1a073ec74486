//! Carries frameworks that speak Mesos's scheduler API: one stream each, held over changes of leader.
//!
//! What happens on a stream is decided by [`meshos_mesos::session`]; here are the tasks and queues
//! around it.

mod carrier;
mod outbox;
mod places;
mod read_call;
mod stream_id;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use outbox::{Outbox, Pusher, Records, pair};
pub(crate) use read_call::ReadCall;
pub(crate) use stream_id::StreamId;
pub(crate) use streams::{ANSWER_LIMIT, Streams, StreamsOptions};
