//! Puts a node together and runs it.

mod announce;
mod formation;
mod handler;
mod health;
mod identity;
mod node;
mod replace;

pub(crate) use formation::Formation;
pub(crate) use health::{Missing, deaf_for, missed_for};
pub(crate) use identity::known_authority;
pub(crate) use node::run;
