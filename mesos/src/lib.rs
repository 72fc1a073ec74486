//! Mesos's public v1 API without HTTP: its messages as one schema that serves JSON and protobuf, and
//! what they mean in the vocabulary of meshos, both ways.
//!
//! No type of the schema goes further inward than this crate; what this release cannot do is refused
//! here, in the words in which Mesos would refuse it.

#![deny(clippy::float_arithmetic, clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

pub mod codec;
pub mod convert;
pub mod executor;
mod json;
pub mod operator;
pub mod reads;
pub mod recordio;
pub mod schema;
pub mod session;
pub mod validate;
mod weight;
pub mod zookeeper;
