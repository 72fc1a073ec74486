//! Maintenance: when nodes will be away, and what frameworks are asked about it.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentId, FrameworkId, OfferId},
    time::Wall,
};

/// When a node will be away. Nothing happens by itself when the time has come: operators begin and end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unavailability {
    /// From when on.
    pub start: Wall,
    /// For how long, in milliseconds; absent: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// Asks a framework whether it suits that a node which it has something on will be away. The answer is advice to the
/// operator: nothing is taken away by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InverseOffer {
    /// Names it in the answer; no offer has the same.
    pub id: OfferId,
    /// Who is asked.
    pub framework: FrameworkId,
    /// The agent half of the node that will be away.
    pub agent: AgentId,
    /// The node's host name, for people.
    pub hostname: String,
    /// When.
    pub unavailability: Unavailability,
}
