//! Who is in the cluster, who leads it, and how a node proves who it is.
//!
//! Seven parts, each of which hides the library it stands on:
//!
//! * [`identity`]: a node's ids and its fence, kept in its data directory.
//! * [`keys`]: the cluster's keys, the certificates made from them and the join token.
//! * [`gossip`]: each node's facts, spread to every other node. A hint, never an authority.
//! * [`view`]: what gossip has shown, as plain data and as changes; it does not show how facts
//!   spread, so that the way they spread can change.
//! * [`recovery`]: the word of the cluster's authority by which nodes believe a rebuilt group.
//! * [`replacement`]: which voter that is gone gives way to which healthy node.
//! * [`raft`] and [`bootstrap`]: the group of voters that elects the leader and keeps the registry,
//!   and how that group forms without a special command.

pub mod bootstrap;
pub mod gossip;
pub mod identity;
pub mod keys;
pub mod raft;
pub mod recovery;
pub mod replacement;
pub mod view;
