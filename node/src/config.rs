//! What a node is told: file, environment and flags, checked and resolved.

mod options;

pub(crate) use options::{KeySource, NodeOptions, Seed, Times};
