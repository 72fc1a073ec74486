//! What the node tells the fetching child, and what it answers: one frame each way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::container::Uri;
use crate::launcher::protocol::LaunchIds;

/// How URIs are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOptions {
    /// The most that one URI may bring, and the most that one archive may unpack to, in bytes.
    pub bytes_max: u64,
    /// How long all URIs of one container may take together.
    pub time_max: Duration,
    /// How long a server may be silent.
    pub stall_max: Duration,
}

impl Default for FetchOptions {
    /// 8 GiB, one hour, one minute (the last is Mesos's).
    fn default() -> Self {
        Self {
            bytes_max: 8 << 30,
            time_max: Duration::from_secs(3600),
            stall_max: Duration::from_secs(60),
        }
    }
}

/// From the node to the child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) sandbox: String,
    /// Whom to become; none means to stay.
    #[serde(default)]
    pub(super) ids: Option<LaunchIds>,
    pub(super) uris: Vec<Uri>,
    pub(super) bytes_max: u64,
    pub(super) stall_max_ms: u64,
}

/// From the child to the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// None when everything was fetched.
    pub(super) failure: Option<Failure>,
}

/// What could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The URI as it was given; empty when it was not about one.
    pub(super) uri: String,
    pub(super) reason: String,
}
