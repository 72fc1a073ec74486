//! The word of the cluster's authority that a rebuilt group of voters holds in the place of the
//! old one.
//!
//! When more than half of the voters are lost for good, one survivor is made the whole group
//! ([`recover_offline`](crate::raft::recover_offline)). The other nodes believe a leader only when
//! most of the voters they know confirm it, which nobody can do any more. So the operator, who has
//! the cluster's keys, signs a [`Recovery`]: the cluster, the new voters, and a term above which
//! their group leads. A node takes it when a leader presents it whom those voters confirm.
//!
//! It must not bring back an older group, however often it is presented again. [`check`] holds the
//! rule: a node takes a statement only if it is for terms that the node has not obeyed yet, and is
//! newer than the one that it holds. Who has followed the rebuilt group has a fence above the
//! statement, so the statement says nothing to it any more.

mod check;
mod signed;
mod store;

pub use check::{Known, Refused, check};
pub use signed::{RECOVERY_BYTES_MAX, Recovery, RecoveryError, SignedRecovery};
pub use store::RecoveryStore;

#[cfg(test)]
mod tests;
