//! How this node takes part in the cluster: forming it, voting, and knowing who leads.

mod hints;
mod leader;
mod leader_stream;
mod network;
mod registry_host;

pub(crate) use hints::{HintSender, HintStore};
pub(crate) use leader::{Leader, LeaderTracker, Reach, TrackerOptions};
pub(crate) use leader_stream::{LeaderEvent, LeaderStream};
pub(crate) use network::QuicRaftNetwork;
pub(crate) use registry_host::{AppliedEntry, RegistryHost};
