//! The calls of the HTTP API, answered without HTTP.
//!
//! A call comes from this node's own HTTP ports or, forwarded, from another node over QUIC. What
//! only the leader knows is answered there from the newest picture of its master, never by the
//! master's loop; any other node passes the call on once. What only one node has, the sandbox of a
//! task, is fetched from there.

mod agent;
mod bodies;
mod call;
mod credentials;
mod executor;
mod explain;
mod health;
mod leader;
mod logs;
mod maintenance;
mod mesos;
mod names;
mod nodes;
mod operations;
pub(crate) mod packing;
mod pages;
mod query;
mod reservations;
mod route;
mod sandbox;
mod scheduler;
mod service;
mod shares;
mod tasks;
mod voters;

pub(crate) use call::{Answer, Call};
pub(crate) use executor::ExecutorRequest;
pub(crate) use mesos::{
    ANSWER_BYTES_MAX, FileFacts, OlderChange, OperatorApi, OperatorCall, PIECE_BYTES,
};
pub(crate) use names::framework_of_mesos;
pub(crate) use operations::weight_millis;
pub(crate) use scheduler::{Body, Scheduled, SchedulerRequest};
pub(crate) use service::{Api, Options};
