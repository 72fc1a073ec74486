//! The vocabulary of meshos: ids, resources, attributes, tasks, and every message of the wire.
//!
//! This crate is pure: no clock, no I/O, no floats. Everything that arrives from outside is decoded
//! here, under limits, into types that cannot hold what breaks a rule.

#![deny(clippy::float_arithmetic, clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

pub mod attributes;
pub mod check;
pub mod codec;
pub mod demand;
pub mod executor;
pub mod fnv;
pub mod framework;
pub mod ids;
pub mod maintenance;
pub mod messages;
pub mod operation;
pub mod resources;
pub mod role;
pub mod shown;
pub mod task;
mod text;
pub mod time;
pub mod wishes;
