//! Mesos's v1 messages, each field once: its number for protobuf, its name for JSON.
//!
//! A field is written as `NUMBER name: LABEL KIND = DEFAULT;`. The label is `req`, `opt`, `rep`, `all` (a list
//! that JSON shows when it is empty too) or `map` (from text to a message). What is required is an option here too: protobuf tells nobody what
//! was missing, so [`crate::codec`] looks for it after either decoding.

#[macro_use]
mod declare;

mod agent;
mod call;
mod common;
mod container;
mod event;
mod executor;
mod files;
mod framework;
mod maintenance;
mod master;
mod master_event;
mod offer;
mod operator;
mod resources;
mod status;
mod task;

pub use agent::*;
pub use call::*;
pub use common::*;
pub use container::*;
pub use event::*;
pub use executor::*;
pub use files::*;
pub use framework::*;
pub use maintenance::*;
pub use master::*;
pub use master_event::*;
pub use offer::*;
pub use operator::*;
pub use resources::*;
pub use status::*;
pub use task::*;
