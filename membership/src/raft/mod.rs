//! The raft group: who leads, and the registry that every leader inherits.
//!
//! [`RaftGroup`] hides openraft wholly, because its interface still changes from one pre-release
//! to the next and because it leaves decisions to its user that must be made once and the same
//! way: what is written to disk and when (`store`), when a leader may act (`tracker`), whose
//! requests are served (`serve`), and how members come and go (`change`).
//!
//! What the group promises:
//!
//! * **Durable.** A vote, and an entry, is on disk (fsync) before it is acknowledged.
//! * **One leader per term**, and a leader's right to act ends by itself: [`Leadership::led`] is
//!   taken back within one lease after the majority is lost, before another leader can be elected.
//! * **Quiet.** A voter that was cut off does not disturb the term when it comes back (pre-vote).
//! * **Closed.** Only members are served, and only for the log they mean.

mod apply;
mod change;
mod client;
mod config;
mod error;
mod group;
mod machine;
mod network;
mod record;
mod recover;
mod releases;
mod serve;
mod snapshot;
mod store;
mod tracker;
mod types;
mod wire;

pub use error::{ChangeError, HandleError, OpenError, ProposeError};
pub use group::RaftGroup;
pub use machine::RegistryMachine;
pub use meshos_protocol::messages::node::Release;
pub use network::{NetworkError, RaftNetwork};
pub use recover::{Recovered, recover_offline};
pub use types::{
    Applied, COMMAND_BYTES_MAX, Health, Leadership, Led, MemberRelease, Options, REQUEST_BYTES_MAX,
    SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_EVERY_ENTRIES, Status, Timing,
    VOTERS_MAX, Voter, VoterRole, VoterStatus,
};

#[cfg(test)]
mod tests;
