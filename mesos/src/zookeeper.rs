//! The part of ZooKeeper that clients read to find Mesos's leading master, for master URLs such as `zk://host:port/mesos`.
//!
//! A [`Tree`] has one node below [`PATH`] while somebody leads, named as Mesos's masters name theirs, with what Mesos writes
//! there in JSON. A [`Connection`] answers what one client asks of it, and tells it once of each change that it watches for.
//! Nothing can be written, and there are no sessions beyond a connection: whoever comes back with a session of another
//! connection, or of another node, is taken for its owner, since nothing hangs on it.
//!
//! Frames, records and codes are those of ZooKeeper 3.5 to 3.9 (`zookeeper.jute`, `ZooDefs.java`, `KeeperException.java`).

mod connection;
mod frames;
mod jute;
mod tree;

pub use connection::{Connection, Next, SESSION_MS_MAX};
pub use frames::{Frames, Sent, TooLong};
pub use tree::{PATH, Tree};

/// The largest frame of a client that is read: one with the watches that a client sets anew is the longest, with a path each.
pub const FRAME_BYTES_MAX: usize = 16 << 10;

/// What an operator sends in the place of a frame's length, to see whether anybody is there.
pub const ARE_YOU_OK: [u8; 4] = *b"ruok";
/// The answer to that, after which the connection ends.
pub const I_AM_OK: [u8; 4] = *b"imok";

#[cfg(test)]
mod tests;
