//! Each node's facts, spread to every other node.
//!
//! **A hint, never an authority.** Whoever holds the gossip key may say anything about anyone; what
//! must be true is asked over QUIC.
//!
//! Below stands chitchat (scuttlebutt with an accrual failure detector), which neither encrypts nor
//! authenticates, fills datagrams of 64 KB and panics on some input. So:
//!
//! * `seal` cuts its messages into sealed packets of at most 1,200 bytes and refuses what is
//!   forged, replayed or garbled, within bounds of memory and time;
//! * `codec` turns its messages into bytes and back, which it does not offer itself;
//! * `wire` joins the two to a UDP socket that outlives it;
//! * `supervisor` watches it, starts it again under a higher generation when it breaks, and turns
//!   its state into the [`crate::view::ClusterView`] that everybody else reads.
//!
//! One such cluster carries some hundred nodes, so it refuses to grow past [`Options::nodes_max`].

mod assemble;
mod codec;
mod counters;
mod facts;
mod options;
mod own;
mod seal;
mod service;
mod supervisor;
mod window;
mod wire;

pub use counters::Counters;
pub use facts::{FactsError, VALUE_BYTES_MAX};
pub use options::{GossipError, NODES_MAX_DEFAULT, Options};
pub use service::{Changes, Handle, Service};

#[cfg(test)]
mod tests;
