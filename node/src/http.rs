//! The HTTP ports: the cluster's and the agent's.
//!
//! Who may call is decided here, on every address: a credential unless the node was told to be
//! open on loopback, and a `Host` and `Origin` that no foreign web page can have a browser send.
//! What a call means is the API's matter.
//!
//! warp has neither a limit on connections nor one on the time that a request's head may take, so
//! connections are accepted here and only then handed to it.

mod address;
mod changes;
mod downloads;
mod events;
mod executors;
mod gate;
mod idle;
mod peer;
mod places;
mod principals;
mod reads;
mod routes;
mod secret;
mod service;
mod token;

pub(crate) use gate::speaks_for_all;
pub(crate) use service::Service;

#[cfg(test)]
mod tests;
