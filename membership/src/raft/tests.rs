//! The group with real logs on disk, over a network in memory whose links can be cut.

mod elections;
mod files;
mod members;
mod refusals;
mod releases;
mod support;
