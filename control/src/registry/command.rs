//! What can be written to the registry.

use std::collections::{BTreeMap, BTreeSet};

use meshos_alloc::Quota;
use meshos_protocol::{
    framework::FrameworkInfo,
    ids::{AgentId, ClusterId, FrameworkId, NodeId, Principal, ProposalId, Subscription, Term},
    role::Role,
    time::Wall,
    wishes::OfferWishes,
};
use serde::{Deserialize, Serialize};

use super::{PastRecord, Planned};

/// One entry of the replicated log: a command and who proposed it.
///
/// (term, proposal) makes an entry that was written twice recognisable: the registry keeps the
/// newest proposal of the newest term it has applied and skips what it has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The term of the leader that proposed it.
    pub term: Term,
    /// Counts that leader's proposals, from 1.
    pub proposal: ProposalId,
    /// What to change.
    pub command: Command,
}

/// One change of the registry. Applying is total: a command that does not fit the state changes
/// nothing and its outcome says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Command {
    /// The first command of a new cluster: its id.
    FormCluster {
        /// Made once.
        cluster: ClusterId,
    },
    /// Admits a node's agent under its next registration number.
    AdmitAgent {
        /// The node.
        node: NodeId,
    },
    /// Changes what is on record of an agent.
    SetAgentState {
        /// Which.
        agent: AgentId,
        /// The new state.
        state: AgentState,
    },
    /// Admits a new framework; its subscription is number 1.
    AdmitFramework {
        /// Who owns the id from now on.
        principal: Principal,
        /// What it says of itself.
        info: FrameworkInfo,
        /// Roles that start without offers.
        suppressed_roles: BTreeSet<Role>,
        /// The subscribe's nonce: while the framework still is under its first subscription, a
        /// second admission of the same principal with the same nonce is answered with the same
        /// framework. Empty: never recognised.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        nonce: String,
    },
    /// A client's own subscribe with a known id: raises the subscription number.
    Resubscribe {
        /// Which.
        framework: FrameworkId,
        /// What it says of itself now.
        info: FrameworkInfo,
        /// Roles that start without offers.
        suppressed_roles: BTreeSet<Role>,
    },
    /// Records which roles want no offers.
    SetSuppressed {
        /// Which.
        framework: FrameworkId,
        /// All suppressed roles.
        roles: BTreeSet<Role>,
    },
    /// The framework's stream is gone; its fail-over time runs from `at`.
    Disconnect {
        /// Which.
        framework: FrameworkId,
        /// The subscription that was lost; a newer one makes this void.
        subscription: Subscription,
        /// When.
        at: Wall,
    },
    /// The framework's stream is back under the same subscription.
    Reconnect {
        /// Which.
        framework: FrameworkId,
        /// The subscription that is resumed.
        subscription: Subscription,
    },
    /// Ends a framework; its id is closed for ever.
    CloseFramework {
        /// Which.
        framework: FrameworkId,
        /// When.
        at: Wall,
        /// Why, for people.
        why: String,
    },
    /// Sets a role's weight.
    SetWeight {
        /// Which.
        role: Role,
        /// In thousandths; 1000 is the default, 0 is refused.
        weight_millis: u64,
    },
    /// Sets what a role is guaranteed and may not exceed; an empty quota clears it.
    SetQuota {
        /// Which.
        role: Role,
        /// What.
        quota: Quota,
    },
    /// Sets a role's priority.
    SetPriority {
        /// Which.
        role: Role,
        /// More is more urgent; 0 is the default.
        priority: i32,
    },
    /// Chooses the allocation policy.
    SetPolicy {
        /// Its text form. Kept as it is: the leader judges it, where it is used.
        policy: String,
    },
    /// Sets what a framework wishes of offers.
    SetWishes {
        /// Which.
        framework: FrameworkId,
        /// By role.
        wishes: BTreeMap<Role, OfferWishes>,
    },
    /// Changes what is on record of a framework, under the same subscription.
    UpdateFramework {
        /// Which.
        framework: FrameworkId,
        /// The subscription of whoever asked; a newer one makes this void.
        subscription: Subscription,
        /// What it says of itself now; the user stays as it was.
        info: FrameworkInfo,
        /// All suppressed roles.
        suppressed_roles: BTreeSet<Role>,
        /// What it wishes of offers; absent: what it wished before, in the roles in which it stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wishes: Option<BTreeMap<Role, OfferWishes>>,
    },
    /// Changes at what an operator holds an agent, in place of what was there before and of
    /// [`AgentState::Draining`].
    SetHold {
        /// Which.
        agent: AgentId,
        /// Absent: it is offered again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<Hold>,
    },
    /// Tells what roles have used before, in place of what was told earlier.
    NotePastUse {
        /// The record.
        past: Box<PastRecord>,
    },
    /// Says which nodes will be away, and when.
    SetMaintenance {
        /// What is planned for each; absent: it is in no window any more.
        nodes: BTreeMap<NodeId, Option<Planned>>,
        /// Nothing is planned for any other.
        replace: bool,
    },
    /// All voters know the records of this level; see [`super::LEVEL`].
    RaiseLevel {
        /// The level on record from now on, unless it is higher already.
        level: u32,
    },
    /// A command that this build does not know: see [`Entry::check_understood`].
    #[serde(other)]
    Unknown,
}

/// What is on record of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum AgentState {
    /// Admitted and expected to be there.
    Active,
    /// Admitted; takes no new tasks, its tasks go on until they end.
    Draining,
    /// Not heard of for too long.
    Unreachable {
        /// Since when.
        since: Wall,
        /// Whether it drained before: it goes on with that when it comes back.
        #[serde(default)]
        draining: bool,
    },
    /// Declared gone for ever.
    Gone {
        /// When.
        at: Wall,
    },
    /// A state that this build does not know; offered nothing.
    #[serde(other)]
    Unknown,
}

/// At what an operator holds an agent, whatever its state: it is offered no more until that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Hold {
    /// Its tasks go on.
    Deactivated,
    /// Its tasks are ended.
    Drain {
        /// The longest time between SIGTERM and SIGKILL, whatever a task itself asks for.
        grace_max_ms: u64,
        /// Whether it is declared gone once it has no task any more.
        mark_gone: bool,
        /// When the operator asked for it.
        since: Wall,
    },
    /// Something that this build does not know.
    #[serde(other)]
    Unknown,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Outcome {
    /// It changed the registry, or the registry already was as it asks.
    Done,
    /// The agent's id.
    AgentAdmitted {
        /// Minted by this command.
        agent: AgentId,
    },
    /// The framework's id and subscription.
    Subscribed {
        /// Minted by this command for a new framework.
        framework: FrameworkId,
        /// The number that calls must quote.
        subscription: Subscription,
    },
    /// Nothing changed.
    Refused {
        /// Why, a sentence.
        why: String,
    },
    /// The entry had been applied before; nothing changed.
    Repeated,
    /// An outcome that this build does not know.
    #[serde(other)]
    Unknown,
}
