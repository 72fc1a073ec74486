//! The node's side of the launcher: finds or starts it, speaks to it, and comes back to it when it dies.

mod actor;
mod link;

pub(crate) use actor::{CallError, Client, ClientOptions};
