//! Who this node is, across restarts: its ids, how often it has started, the cluster it belongs to
//! and the highest fence it has seen.
//!
//! All of it lives in the data directory, which one process holds at a time ([`DataDir`]). Each file
//! is replaced whole (written aside, synced, renamed, directory synced), so a crash leaves the old
//! content or the new one, and each carries a checksum, so damage is told and never guessed around.
//! A node whose directory was wiped gets new ids: it is a new node.
//!
//! Everything here blocks on the disk; call it from a blocking thread.

mod atomic;
mod data_dir;
mod error;
mod fence;
mod record;

pub use atomic::{make_whole, write_atomic};
pub(crate) use atomic::{sync_directory, write_new};
pub use data_dir::{DataDir, Holder, NodeIdentity};
pub use error::IdentityError;
pub use fence::FenceStore;

#[cfg(test)]
mod tests;
