//! The launcher: a small single-threaded process per node that is the parent of all its containers.
//!
//! It exists so that the node can die. It holds what only a parent can have, the exit statuses, until the node has
//! written them to its disk; everything else (limits, users, sandboxes, fetching) is decided in the node and told to it.
//! It has no threads, no async runtime, and reads nothing but its socket, its records and `/proc`.
//!
//! * [`protocol`]: what it says to the node.
//! * [`record`]: what it leaves for a launcher after it.
//! * [`table`]: the containers, their births and ends.
//! * [`tree`]: finding and killing everything in a container.
//! * [`connection`], [`server`]: the socket and the loop.
//! * [`entry`]: becoming a launcher: arguments, session, lock, and exec in place.

mod connection;
mod entry;
pub(crate) mod protocol;
mod record;
mod server;
mod table;
mod tree;
mod unreadable;

pub use entry::launcher_main;
use unreadable::unreadable;

pub(crate) use entry::{LOG_FILE, READY, SOCKET_FILE, through_descriptor};
