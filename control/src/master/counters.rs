//! What the master has done in its term, counted.

use std::collections::BTreeMap;

use meshos_alloc::SkipRule;
use meshos_protocol::{
    messages::scheduler::CallErrorKind,
    task::{Reason, TaskState},
};
use serde::{Serialize, Serializer};

use super::OperationEnd;

/// What the master has done in its term, for the metrics exporter. All only rise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Offers sent to frameworks.
    pub offers_sent: u64,
    /// Offers used by a valid accept.
    pub offers_accepted: u64,
    /// Offers given back, by decline or by an accept that was not valid.
    pub offers_declined: u64,
    /// Offers taken back because their agent or framework went away.
    pub offers_rescinded: u64,
    /// Offers taken back because they were open for too long while others waited.
    pub offers_timed_out: u64,
    /// Inverse offers sent to frameworks.
    pub inverse_offers_sent: u64,
    /// Inverse offers to which frameworks said that it suits.
    pub inverse_offers_accepted: u64,
    /// Inverse offers to which frameworks said that it does not.
    pub inverse_offers_declined: u64,
    /// Runs of the allocator.
    pub allocation_runs: u64,
    /// Tasks handed to agents.
    pub launches: u64,
    /// Operations on resources handed to agents.
    pub operations: u64,
    /// What became of operations, those included that were not handed on.
    pub operations_ended: Tally<OperationEnd>,
    /// How long it took from handing them on until that was known, in milliseconds together.
    pub operations_ms: Tally<OperationEnd>,
    /// How often a rule of the allocator ended a look at an agent for a framework.
    pub skips: Tally<SkipRule>,
    /// Executors that agents said to be over.
    pub executors_ended: u64,
    /// Messages between schedulers and executors that were passed on.
    pub executor_messages: u64,
    /// Kills handed to agents.
    pub kills: u64,
    /// Status updates that came from agents.
    pub updates_received: u64,
    /// Status updates sent to frameworks, the master's own included.
    pub updates_sent: u64,
    /// Acknowledgements handed to agents.
    pub acknowledgements: u64,
    /// Questions about tasks that frameworks asked.
    pub reconciliations: u64,
    /// Agents that registered for the first time under their id.
    pub agents_admitted: u64,
    /// Registrations of agents that were completed.
    pub agents_registered: u64,
    /// Agent streams lost.
    pub agents_disconnected: u64,
    /// Agents that became unreachable.
    pub agents_unreachable: u64,
    /// Frameworks admitted.
    pub frameworks_admitted: u64,
    /// Subscriptions that were taken up, resumed ones included.
    pub subscriptions: u64,
    /// Frameworks ended.
    pub frameworks_closed: u64,
    /// Changes handed to the registry.
    pub proposals: u64,
    /// Tasks that ended, by state.
    pub tasks_ended: Tally<TaskState>,
    /// Tasks that ended otherwise than finished, by reason.
    pub tasks_ended_reason: Tally<Reason>,
    /// Calls and messages that were not carried out, by reason.
    pub dropped: Tally<DropReason>,
}

/// Why a call or a message was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Of a framework stream that is closed, or was never opened.
    UnknownSession,
    /// Of a framework stream without a subscription.
    NotSubscribed,
    /// Quotes a subscription that is over.
    FailedOver,
    /// Breaks a rule.
    Invalid,
    /// The principal may not do this.
    Forbidden,
    /// Its framework has ended.
    FrameworkRemoved,
    /// A limit is reached.
    Busy,
    /// Of a kind that this release does not know.
    Unknown,
    /// Of an agent stream that is closed, or was never opened.
    UnknownConnection,
    /// An agent spoke before it registered, or registered twice.
    OutOfTurn,
    /// An agent registered under the fence of another term or cluster.
    WrongFence,
    /// An update for a task of another agent.
    ForeignTask,
    /// An update with a state that only the master may tell.
    BadState,
}

impl DropReason {
    /// Every reason, for metrics that exist before anything was dropped.
    pub const ALL: [Self; 13] = [
        Self::UnknownSession,
        Self::NotSubscribed,
        Self::FailedOver,
        Self::Invalid,
        Self::Forbidden,
        Self::FrameworkRemoved,
        Self::Busy,
        Self::Unknown,
        Self::UnknownConnection,
        Self::OutOfTurn,
        Self::WrongFence,
        Self::ForeignTask,
        Self::BadState,
    ];

    /// The reason that goes with an answer's error.
    pub(super) const fn of(kind: CallErrorKind) -> Self {
        match kind {
            CallErrorKind::Invalid => Self::Invalid,
            CallErrorKind::Forbidden => Self::Forbidden,
            CallErrorKind::FrameworkRemoved => Self::FrameworkRemoved,
            CallErrorKind::FailedOver => Self::FailedOver,
            CallErrorKind::NotSubscribed => Self::NotSubscribed,
            CallErrorKind::Busy | CallErrorKind::NoLeader => Self::Busy,
            CallErrorKind::Unknown => Self::Unknown,
        }
    }

    /// The name as in metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownSession => "unknown_session",
            Self::NotSubscribed => "not_subscribed",
            Self::FailedOver => "failed_over",
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::FrameworkRemoved => "framework_removed",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
            Self::UnknownConnection => "unknown_connection",
            Self::OutOfTurn => "out_of_turn",
            Self::WrongFence => "wrong_fence",
            Self::ForeignTask => "foreign_task",
            Self::BadState => "bad_state",
        }
    }
}

/// A count for each value of a small type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally<K>(BTreeMap<K, u64>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Tally<K> {
    /// How often `key` was counted.
    pub fn get(&self, key: K) -> u64 {
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// Every value that was counted, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (K, u64)> {
        self.0.iter().map(|(key, count)| (*key, *count))
    }

    pub(super) fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    pub(super) fn add_many(&mut self, key: K, count: u64) {
        let sum = self.0.entry(key).or_default();
        *sum = sum.saturating_add(count);
    }

    pub(super) fn take(&mut self, key: K) {
        if let Some(count) = self.0.get_mut(&key) {
            *count = count.saturating_sub(1);
        }
    }
}

impl<K: Ord> FromIterator<(K, u64)> for Tally<K> {
    fn from_iter<I: IntoIterator<Item = (K, u64)>>(counts: I) -> Self {
        Self(counts.into_iter().collect())
    }
}

impl<K: Serialize> Serialize for Tally<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}
