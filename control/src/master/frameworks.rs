//! Frameworks and their streams: the states they can be in.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{FrameworkId, NodeId, OfferId, Principal, ProposalId, SessionId, Subscription},
    messages::scheduler::RescindCause,
    role::Role,
    time::Mono,
};

use super::{agents::Times, table::Slot};

/// A framework that has not ended. What it says of itself is in the registry.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) presence: Presence,
    /// All suppressed roles as the newest proposal on its way has them: the next one starts from
    /// there. Absent when none is on its way.
    pub(super) suppressing: Option<(ProposalId, BTreeSet<Role>)>,
    /// Its roles as the newest update on its way has them: calls that come after it mean those.
    pub(super) updating: Option<(ProposalId, BTreeSet<Role>)>,
    /// Offers taken back while nobody listened: told to whoever resumes the subscription.
    pub(super) rescinds_untold: BTreeMap<RescindCause, Vec<OfferId>>,
    /// When it subscribed in this term.
    pub(super) registered: Times,
    pub(super) slot: Slot,
}

/// Where a framework stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Its stream is open.
    Subscribed { session: SessionId },
    /// Its stream was lost, or has not come back in this term. It counts as disconnected when
    /// `until` has come.
    Lost { until: Mono },
    /// Its disconnect is on its way through the registry.
    Leaving,
    /// It is on record as disconnected and ends when `until` has come.
    Disconnected { until: Mono },
    /// Its end is on its way through the registry.
    Closing,
}

impl Presence {
    pub(super) const fn session(self) -> Option<SessionId> {
        match self {
            Self::Subscribed { session } => Some(session),
            Self::Lost { .. } | Self::Leaving | Self::Disconnected { .. } | Self::Closing => None,
        }
    }
}

/// One stream of a framework.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) principal: Principal,
    pub(super) gateway: NodeId,
    pub(super) phase: SessionPhase,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionPhase {
    /// Nothing was said yet.
    Opened,
    /// Its subscribe is on its way through the registry.
    Subscribing,
    /// It holds this subscription.
    Subscribed { framework: FrameworkId, subscription: Subscription },
}
