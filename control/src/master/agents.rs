//! Agents and their streams: the states they can be in.

use std::sync::Arc;

use meshos_protocol::{
    attributes::Attributes,
    ids::{AgentId, NodeId},
    messages::agent::Registration,
    resources::Resources,
    task::{StatusUpdate, TaskReport},
    time::{Mono, Wall},
    wishes::FaultDomain,
};

use super::{ConnectionId, table::Slot};

/// An agent that is in the registry and not gone.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) link: Link,
    /// What it said of itself when it last registered in this term.
    pub(super) facts: Option<Arc<Facts>>,
    /// Whether it has reported all its tasks to this master at least once: what it was sent since
    /// is known here, so a task that is not known was never sent.
    pub(super) reported: bool,
    /// When it registered in this term.
    pub(super) registered: Times,
    /// A change of its state on its way through the registry.
    pub(super) in_flight: Option<InFlight>,
    pub(super) slot: Slot,
}

/// When somebody came in this term, and came again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) first: Option<Wall>,
    pub(super) again: Option<Wall>,
}

impl Times {
    /// It has come.
    pub(super) fn note(&mut self, now: Wall) {
        if self.first.is_some() {
            self.again = Some(now);
        } else {
            self.first = Some(now);
        }
    }
}

/// How an agent is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// It has not registered in this term; nothing is known of what it has free.
    Awaited { since: Mono },
    /// It has registered and reported over this stream.
    Online { connection: ConnectionId },
    /// Its stream is gone; its tasks still count.
    Lost { since: Mono },
    /// It is on record as unreachable; its tasks count no more.
    Unreachable,
}

impl Link {
    /// Whether the allocator knows the agent.
    pub(super) const fn is_in_ledger(self) -> bool {
        match self {
            Self::Online { .. } | Self::Lost { .. } => true,
            Self::Awaited { .. } | Self::Unreachable => false,
        }
    }

    pub(super) const fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Online { connection } => Some(connection),
            Self::Awaited { .. } | Self::Lost { .. } | Self::Unreachable => None,
        }
    }
}

/// A change of an agent's state on its way through the registry. While there is one the agent is
/// not registered, because the state it would register under is about to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InFlight {
    /// It will be unreachable.
    Unreachable,
    /// It will be active again.
    Active,
    /// It will take no new tasks.
    Draining,
    /// It will be held by an operator, or no more.
    Held,
    /// It will be gone.
    Gone,
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) hostname: String,
    pub(super) http_address: String,
    pub(super) agent_address: String,
    pub(super) pid: u32,
    pub(super) version: String,
    pub(super) resources: Resources,
    pub(super) attributes: Attributes,
    pub(super) domain: Option<FaultDomain>,
    /// Whether its release knows executors.
    pub(super) knows_executors: bool,
    /// Whether its release knows groups of tasks.
    pub(super) knows_groups: bool,
}

impl Facts {
    pub(super) fn of(registration: Registration) -> Self {
        Self {
            hostname: registration.hostname,
            http_address: registration.http_address,
            agent_address: registration.agent_address,
            pid: registration.pid,
            version: registration.version,
            resources: registration.resources,
            attributes: registration.attributes,
            domain: registration.domain,
            knows_executors: registration.executors.is_some(),
            knows_groups: registration.groups,
        }
    }
}

/// One stream of an agent.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) node: NodeId,
    pub(super) phase: ConnectionPhase,
}

/// How far a stream has come.
#[derive(Debug)]
pub(super) enum ConnectionPhase {
    /// Nothing was said yet, or the agent must register anew.
    Opened,
    /// It registers; more of its report follows.
    Reporting(Box<Report>),
    /// Its whole report is in; it waits for the registry.
    Admitting(Box<Report>),
    /// Instructions and updates flow.
    Registered { agent: AgentId },
}

/// A registration with the whole report.
#[derive(Debug)]
pub(super) struct Report {
    /// Its list of tasks is empty: they stand beside it.
    pub(super) registration: Registration,
    pub(super) tasks: Vec<TaskReport>,
    /// Updates that came while it waits for the registry.
    pub(super) early: Vec<StatusUpdate>,
    /// Whether its admission is on its way through the registry.
    pub(super) admission_asked: bool,
}
