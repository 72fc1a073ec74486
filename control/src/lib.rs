//! The decisions of meshos: the master, the agent, the executor in the box and the registry as pure state machines.
//!
//! An event and the time go in, effects come out. There is no I/O, no clock, no randomness and no
//! thread in here, so a whole cluster runs inside one test thread, and a fault is replayed from its
//! seed. The contract, clause by clause, is in `docs/architecture.md`.

#![deny(clippy::float_arithmetic, clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

pub mod agent;
mod allowance;
mod framing;
pub mod group_executor;
pub mod master;
mod pages;
pub mod recording;
pub mod registry;
