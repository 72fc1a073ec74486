//! QUIC between nodes, and from frameworks to nodes: who may open what, and one connection a peer.

mod admission;
mod endpoint;
mod incoming;
mod joining;
mod link;
mod pool;
mod requests;

pub(crate) use admission::Limits;
pub(crate) use endpoint::{Net, Options};
pub(crate) use incoming::{Handler, Peer};
pub(crate) use joining::{dial_as, dial_unknown};
pub(crate) use link::Link;
pub(crate) use pool::Target;

#[cfg(test)]
mod bulky_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
