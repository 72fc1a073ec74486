//! Executors: processes of a framework's own that run its tasks on an agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{codec, fnv::Fnv1a, ids::ExecutorId, resources::Resources, task::Command};

/// The most bytes of data that an executor's description carries.
pub const EXECUTOR_DATA_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a message between a scheduler and an executor.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// The most executors that an agent keeps at a time.
pub const EXECUTORS_PER_AGENT_MAX: usize = 1_000;

/// Whose program an executor is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorKind {
    /// The framework's own: its command says which.
    #[default]
    Custom,
    /// The one in the box: it runs each task of a group as a process, and ends with the last. It has no
    /// command, but it may name the user as whom it and its tasks run.
    Group,
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

impl ExecutorKind {
    fn is_custom(&self) -> bool {
        *self == Self::Custom
    }
}

/// What a framework wants as the executor of some of its tasks. All of them on one agent name it in
/// the same words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorInfo {
    /// Chosen by the framework; names the executor on its agent.
    pub id: ExecutorId,
    /// Whose program it is. Leaders of releases that know one kind alone find the command of the other empty, and refuse
    /// its tasks.
    #[serde(default, skip_serializing_if = "ExecutorKind::is_custom")]
    pub kind: ExecutorKind,
    /// For people; need not be unique.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where its tasks come from, for people and tools.
    // Not "source", which elsewhere is one name out of a list.
    #[serde(default, rename = "origin", skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// What it takes for itself, beside what its tasks take.
    #[serde(default)]
    pub resources: Resources,
    /// What runs; [`Command::none`], but for the user, for the executor in the box.
    pub command: Command,
    /// For the executor; opaque to meshos, at most [`EXECUTOR_DATA_BYTES_MAX`].
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<u8>,
    /// How long it may take to end when it is told to; the agent's default when absent, at most
    /// [`crate::task::KILL_GRACE_MAX_MS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_grace_ms: Option<u64>,
    /// Opaque to meshos, shown to people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl ExecutorInfo {
    /// The same for the same description, in every process and every release that reads all of it.
    pub fn fingerprint(&self) -> u64 {
        Fnv1a::of(&codec::encode(self))
    }
}
