//! The registry: the few records that must survive the leader.
//!
//! Every voter applies the same [`Entry`]s in the same order and so holds the same [`Registry`].
//! A new master starts from it: which agents are admitted, which frameworks exist, who owns them
//! and under which subscription. Tasks and offers are not in here; agents own tasks, and offers die
//! with the term.
//!
//! Applying is total, deterministic and idempotent: an entry that does not fit changes nothing and
//! its [`Outcome`] says why; an entry applied before is recognised by (term, proposal). What is
//! kept is bounded by rules that depend on the entries alone, so that all voters forget the same.

mod apply;
mod bounds;
mod command;
mod level;
mod maintenance;
mod past;
mod record;
mod snapshot;
mod state;

pub use bounds::Limits;
pub use command::{AgentState, Command, Entry, Hold, Outcome};
pub use level::{LEVEL, LEVEL_FIRST, NotUnderstood};
pub use maintenance::{PLANNED_NODES_MAX, Planned};
pub use past::{PAST_BYTES_MAX, PAST_PARTIES_MAX, PastRecord};
pub use record::{Closing, FrameworkRecord, Lookup};
pub use snapshot::SnapshotError;
pub use state::Registry;

#[cfg(test)]
mod level_tests;
#[cfg(test)]
mod tests;
