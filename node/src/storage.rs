//! What an agent keeps on disk: its tasks and the id under which it is admitted.
//!
//! One redb file, one thread that writes: changes that wait together become one durable
//! transaction, so a burst of tasks costs one flush of the disk.

mod agent_store;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use agent_store::{AgentStore, Loaded};
pub(crate) use writer::{StoreHandle, Written, start_writer};
