//! Everything that can happen to a master.

use meshos_protocol::{
    ids::{NodeId, Principal, RequestId, SessionId},
    messages::{agent::ToLeader, scheduler::CallFrame},
};

use serde::{Deserialize, Serialize};

use super::VoterRelease;
use crate::registry::{Entry, Outcome};

/// One stream to an agent as the shell numbers it; never reused within a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(pub u64);

/// Something happened. It can be written down for a [`crate::recording`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The registry has applied an entry. The shell hands in every entry after the snapshot that
    /// the master was made from, in order, whoever proposed it.
    Applied {
        /// The entry.
        entry: Entry,
        /// What became of it, the same on every voter.
        outcome: Outcome,
    },
    /// The members of the group that keeps the registry, all of them, whenever one comes or goes or
    /// what is known of its release changes. Before the first, nothing new is put on record.
    Voters {
        /// In any order; this node among them.
        voters: Vec<VoterRelease>,
    },
    /// The leader's lease has run out or another leads. The master empties itself; nothing that it
    /// had wished for and that was not sent may be sent.
    Deposed,
    /// A node opened its agent stream. The shell has checked that the peer is this node.
    AgentConnected {
        /// The stream.
        connection: ConnectionId,
        /// Its node.
        node: NodeId,
    },
    /// An agent said something.
    AgentMessage {
        /// The stream.
        connection: ConnectionId,
        /// What.
        message: ToLeader,
    },
    /// An agent stream is closed or idle for too long.
    AgentDisconnected {
        /// The stream.
        connection: ConnectionId,
    },
    /// Gossip calls a node dead: a hint that shortens the wait for its stream. It holds until
    /// [`Event::PeerUp`], so the shell tells a new master of every node that is dead already.
    PeerDown {
        /// The node.
        node: NodeId,
    },
    /// Gossip calls a node alive again.
    PeerUp {
        /// The node.
        node: NodeId,
    },
    /// Gossip has called a node dead for so long that it forgot it, and says no more of it.
    PeerForgotten {
        /// The node.
        node: NodeId,
    },
    /// A gateway opened a relay stream.
    SessionOpened {
        /// The stream.
        session: SessionId,
        /// The caller as the gateway authenticated it.
        principal: Principal,
        /// The gateway.
        gateway: NodeId,
    },
    /// A framework called.
    Call {
        /// The stream.
        session: SessionId,
        /// The call.
        frame: CallFrame,
    },
    /// A relay stream is closed without a disconnect or teardown call before it.
    SessionClosed {
        /// The stream.
        session: SessionId,
    },
    /// An operator called.
    Operator {
        /// Pairs the call with its reply.
        request: RequestId,
        /// The call.
        call: OperatorCall,
    },
    /// The deadline of `next_deadline` has come (or nothing happened for a while).
    Tick,
}

/// What operators may ask of the master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorCall {
    /// Ends one task of any framework.
    KillTask {
        /// The task's framework.
        framework: meshos_protocol::ids::FrameworkId,
        /// The task.
        task: meshos_protocol::ids::TaskId,
    },
    /// Ends a framework and its tasks.
    Teardown {
        /// Which.
        framework: meshos_protocol::ids::FrameworkId,
    },
    /// Declares an agent gone for ever.
    MarkAgentGone {
        /// Which.
        agent: meshos_protocol::ids::AgentId,
    },
    /// Stops offering an agent, whose tasks go on; or ends a drain of either kind.
    SetDraining {
        /// Which.
        agent: meshos_protocol::ids::AgentId,
        /// It is offered no more.
        draining: bool,
    },
    /// Stops offering an agent and ends its tasks.
    Drain {
        /// Which.
        agent: meshos_protocol::ids::AgentId,
        /// The longest time between SIGTERM and SIGKILL, whatever a task itself asks for.
        grace_max_ms: u64,
        /// Whether the agent is declared gone once it has no task any more.
        mark_gone: bool,
    },
    /// Stops offering an agent; its tasks go on.
    Deactivate {
        /// Which.
        agent: meshos_protocol::ids::AgentId,
    },
    /// Offers an agent again that was drained or deactivated.
    Reactivate {
        /// Which.
        agent: meshos_protocol::ids::AgentId,
    },
    /// Does something to what nobody uses on an agent; answered when the agent has done it.
    Operate {
        /// Which.
        agent: meshos_protocol::ids::AgentId,
        /// What.
        operation: meshos_protocol::operation::Operation,
    },
    /// Sets a role's weight.
    SetWeight {
        /// Which.
        role: meshos_protocol::role::Role,
        /// In thousandths.
        weight_millis: u64,
    },
    /// Sets a role's priority.
    SetPriority {
        /// Which.
        role: meshos_protocol::role::Role,
        /// More is more urgent.
        priority: i32,
    },
    /// Sets what a role is guaranteed and may not exceed; an empty quota clears it.
    SetQuota {
        /// Which.
        role: meshos_protocol::role::Role,
        /// What.
        quota: meshos_alloc::Quota,
        /// Also when it cannot be kept as the cluster is.
        force: bool,
    },
    /// Sets the weights of several roles; none when one of them cannot be. When the leader is lost meanwhile some may be set.
    SetWeights {
        /// In thousandths.
        weights: std::collections::BTreeMap<meshos_protocol::role::Role, u64>,
    },
    /// The same of quotas, of which each is held against the others.
    SetQuotas {
        /// Empty ones clear.
        quotas: std::collections::BTreeMap<meshos_protocol::role::Role, meshos_alloc::Quota>,
        /// Also when they cannot be kept as the cluster is.
        force: bool,
    },
    /// Says when nodes will be away.
    PlanMaintenance {
        /// What is planned for each; absent: it is in no window any more. Whether it has begun stays as it is.
        nodes: std::collections::BTreeMap<NodeId, Option<crate::registry::Planned>>,
        /// All others are in no window any more.
        replace: bool,
    },
    /// Begins maintenance of nodes in windows: they are offered no more.
    StartMaintenance {
        /// The longest time between SIGTERM and SIGKILL of the tasks there; absent: they go on.
        nodes: std::collections::BTreeMap<NodeId, Option<u64>>,
    },
    /// Ends it: the nodes are offered again, and are in no window any more.
    StopMaintenance {
        /// Which.
        nodes: std::collections::BTreeSet<NodeId>,
    },
    /// Chooses the allocation policy. No offer is lost by it.
    SetPolicy {
        /// Which.
        policy: meshos_alloc::PolicyChoice,
    },
}
