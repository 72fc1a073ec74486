//! Between a framework's scheduler and the leader, through any node.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    demand::Demands,
    framework::{FrameworkInfo, Offer},
    ids::{
        AgentId, ExecutorId, Fence, FrameworkId, NodeId, OfferId, OperationId, OperationUuid,
        RequestId, Subscription, TaskId, UpdateId,
    },
    maintenance::InverseOffer,
    operation::{OperationQuery, OperationRequest, OperationStatus},
    role::Role,
    task::{Exit, StatusUpdate, TaskDescription},
    wishes::{OfferWishes, ResourceRequest},
};

/// The most offers or inverse offers that one accept or decline may name.
pub const OFFERS_PER_CALL_MAX: usize = 10_000;
/// The most tasks one accept may launch, or one reconciliation may name.
pub const TASKS_PER_CALL_MAX: usize = 10_000;
/// The most operations one accept may carry, or one reconciliation may name.
pub const OPERATIONS_PER_CALL_MAX: usize = 1_000;
/// How long a declined agent is left out when the framework does not say.
pub const REFUSE_DEFAULT_MS: u64 = 5_000;
/// The longest time a framework may refuse an agent: 365 days, as in Mesos.
pub const REFUSE_MAX_MS: u64 = 365 * 24 * 3600 * 1000;

/// One call of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFrame {
    /// Present when the caller wants [`Event::Answered`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The subscription the caller holds; ignored for [`Call::Subscribe`].
    #[serde(default)]
    pub subscription: Subscription,
    /// What is asked.
    pub call: Call,
}

/// What a framework may ask. Names are those of Mesos's scheduler API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Call {
    /// Begins, takes over or resumes a subscription; the first call on a stream.
    Subscribe(Subscribe),
    /// Uses offers of one agent; never repeated.
    Accept(Accept),
    /// Gives offers back.
    Decline {
        /// Unknown ones are ignored.
        offers: Vec<OfferId>,
        /// How long the agent is left out; the default when absent, no filter when 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refuse_ms: Option<u64>,
    },
    /// Clears filters and suppression.
    Revive {
        /// Empty: all of the framework's.
        #[serde(default)]
        roles: BTreeSet<Role>,
    },
    /// No offers until a revive.
    Suppress {
        /// Empty: all of the framework's.
        #[serde(default)]
        roles: BTreeSet<Role>,
    },
    /// Says, once for all offers to come, what the framework cannot use: smallest sizes and
    /// constraints on agents. It replaces what was said before and is kept over a change of leader.
    Wish {
        /// By role; roles that are not named have no wishes.
        wishes: BTreeMap<Role, OfferWishes>,
    },
    /// Says what the framework wants now in one role: it is offered that, and no more. It replaces
    /// what was said before. The next leader learns it from [`Subscribe::demand`].
    Request {
        /// In which role.
        role: Role,
        /// What; nothing: whatever there is.
        requests: Vec<ResourceRequest>,
        /// Present: all of it at once or nothing, for so long; then [`Event::Unfulfilled`] comes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        together_within_ms: Option<u64>,
    },
    /// Ends one task.
    Kill {
        /// The task.
        task: TaskId,
        /// Where it runs, when the caller knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentId>,
        /// Overrides the task's own grace period; longer ones than
        /// [`crate::task::KILL_GRACE_MAX_MS`] are cut to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_ms: Option<u64>,
    },
    /// Confirms a status update.
    Acknowledge {
        /// The task.
        task: TaskId,
        /// The agent that the update names.
        agent: AgentId,
        /// The update.
        update: UpdateId,
    },
    /// Asks for the states of tasks.
    Reconcile {
        /// Empty: all live tasks of the framework.
        #[serde(default)]
        tasks: Vec<TaskQuery>,
    },
    /// Confirms the status of an operation.
    AcknowledgeOperation {
        /// The framework's name for it.
        id: OperationId,
        /// The agent that the status names.
        agent: AgentId,
        /// As the status has it.
        uuid: OperationUuid,
    },
    /// Asks where operations stand: those that were accepted and not heard of. Each is answered
    /// when its agent has reported to this leader, by where it stands there, or as dropped.
    ReconcileOperations {
        /// Which; at most [`OPERATIONS_PER_CALL_MAX`].
        operations: Vec<OperationQuery>,
    },
    /// For one of the framework's executors; best effort.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// Opaque; at most [`crate::executor::MESSAGE_BYTES_MAX`].
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// Ends an executor and its tasks.
    ShutdownExecutor {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
    },
    /// It suits that the nodes of these inverse offers will be away; advice to the operator. Leaders of
    /// earlier releases make none.
    AcceptInverseOffers {
        /// Unknown ones are ignored; at most [`OFFERS_PER_CALL_MAX`].
        offers: Vec<OfferId>,
        /// How long it is not asked again; absent: as long as this leader leads and the same is planned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refuse_ms: Option<u64>,
    },
    /// The same when it does not suit.
    DeclineInverseOffers {
        /// Unknown ones are ignored; at most [`OFFERS_PER_CALL_MAX`].
        offers: Vec<OfferId>,
        /// As in [`Call::AcceptInverseOffers`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refuse_ms: Option<u64>,
    },
    /// Changes what the framework says of itself, under the same subscription.
    UpdateFramework(Box<UpdateFramework>),
    /// Ends the framework and all its tasks.
    Teardown,
    /// The client closes its stream on purpose; the fail-over timeout starts at once.
    Disconnect,
    /// A call that this build does not know; answered with an error.
    #[serde(other)]
    Unknown,
}

/// Begins, takes over or resumes a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Absent for a framework that has no id yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<FrameworkId>,
    /// What the framework says of itself.
    pub info: FrameworkInfo,
    /// Roles that start without offers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub suppressed_roles: BTreeSet<Role>,
    /// Set by gateways and drivers that carry a subscription on over a change of leader or
    /// gateway: it goes on under this number and is refused when a newer one exists. Absent in a
    /// client's own subscribe, which raises the number and ends the stream that held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Subscription>,
    /// What the framework wants in each role, less what it has launched since it said so, for a leader
    /// that was not told. Absent: what the leader knows stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demand: Option<Box<Demands>>,
    /// Told back in the subscribed event, so that a subscribe repeated after a lost answer is
    /// recognised as the same: a random text of the client, at most 64 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Whether the client subscribes once more when it is told [`Event::SubscribeAgain`]. A gateway does
    /// not repeat a take-over of such a client by itself: the client may be dead by then, and another
    /// instance in its place.
    #[serde(default)]
    pub can_be_asked: bool,
}

/// Changes what a framework says of itself. Offers stay open, but for those in roles that it leaves,
/// which are taken back; what it runs in these goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateFramework {
    /// All that it says of itself from now on. The user must be the same as before.
    pub info: FrameworkInfo,
    /// All roles in which it wants no offers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub suppressed_roles: BTreeSet<Role>,
    /// What it wishes of offers from now on, as [`Call::Wish`] says it. Absent: what it wished before
    /// stands in the roles in which it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wishes: Option<BTreeMap<Role, OfferWishes>>,
}

/// Uses offers of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// All of one agent and of the calling framework; what is not used is declined.
    pub offers: Vec<OfferId>,
    /// What to do to the offered resources before anything is started, in order: each applies to
    /// what the ones before it have left. Leaders of earlier releases ignore them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationRequest>,
    /// What to start there, on what the operations have left; without any of both the offers are
    /// declined. Tasks of a group stand one after the other ([`crate::task::GroupMember`]).
    pub launch: Vec<TaskDescription>,
    /// The filter for what is left; the default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse_ms: Option<u64>,
}

/// One task whose state is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskQuery {
    /// The task.
    pub task: TaskId,
    /// Where it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Set when the asker sent an accept for it and has heard nothing: the answer waits until the
    /// agent has reported to this leader and is then the agent's state, or dropped.
    #[serde(default)]
    pub pending: bool,
}

/// One event for a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFrame {
    /// Whose word it is; lower terms than one already seen are dropped.
    pub fence: Fence,
    /// What happened.
    pub event: Event,
}

/// What a framework is told. Names are those of Mesos's scheduler API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Event {
    /// The subscription holds at this leader. Offers of earlier terms are void.
    Subscribed {
        /// The framework's id, to be kept for fail-over.
        framework: FrameworkId,
        /// To be quoted by every call.
        subscription: Subscription,
        /// The leading node.
        leader: NodeId,
        /// The pace of heartbeats.
        heartbeat_ms: u64,
        /// The nonce of the subscribe that this answers.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        nonce: String,
    },
    /// Resources to use.
    Offers {
        /// Each of one agent and one role.
        offers: Vec<Offer>,
    },
    /// Offers that are void now.
    Rescind {
        /// Which.
        offers: Vec<OfferId>,
        /// Why; absent from leaders of earlier releases.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<RescindCause>,
    },
    /// Asks whether it suits that nodes will be away on which the framework has something. They are void when the stream
    /// to the leader is lost; whoever subscribes is told anew.
    InverseOffers {
        /// Each of one node.
        offers: Vec<InverseOffer>,
    },
    /// Inverse offers that are void now: nothing is planned any more, or something else, or the framework has nothing
    /// left there.
    RescindInverseOffers {
        /// Which.
        offers: Vec<OfferId>,
    },
    /// A step in a task's life; acknowledged when it carries an update id.
    Update {
        /// The step.
        status: StatusUpdate,
    },
    /// Where an operation stands; acknowledged when it carries a uuid.
    OperationStatus {
        /// Where.
        status: OperationStatus,
    },
    /// An agent is unreachable or gone.
    AgentLost {
        /// Which.
        agent: AgentId,
    },
    /// From one of the framework's executors; best effort.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// Opaque.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// An executor is over; its tasks are told by status updates. Best effort: what happens while
    /// nobody is subscribed is not told later.
    ExecutorLost {
        /// Where it ran.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// How its process ended, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<Exit>,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
    },
    /// What was wanted together could not be offered in time; nothing is offered in the role until
    /// the framework says what it wants next.
    Unfulfilled {
        /// The role.
        role: Role,
    },
    /// The answer to a call that asked for one.
    Answered {
        /// The call.
        request: RequestId,
        /// Absent when it was carried out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<CallError>,
    },
    /// The gateway has lost the leader; it goes on when there is one.
    LeaderLost,
    /// There is a leader, and nobody has answered the subscribe: a client that lives says it once more.
    /// Told to those alone that said [`Subscribe::can_be_asked`].
    SubscribeAgain,
    /// The subscription is over and must not be tried again as it is.
    Error {
        /// For programs.
        error: CallError,
    },
    /// The stream is alive.
    Heartbeat,
    /// An event that this build does not know; ignored.
    #[serde(other)]
    Unknown,
}

/// Why offers are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RescindCause {
    /// Another framework was faster to accept what they held, where offers are optimistic.
    Taken,
    /// They were open for too long while others waited.
    TimedOut,
    /// A role that is guaranteed what they held waits for it.
    Guarantee,
    /// Their role has met its limit.
    Limit,
    /// They are beyond what the framework has said since that it wants.
    NotRequested,
    /// An operator wants what they held.
    Operator,
    /// Their agent is not offered any more, or not as it was: it is lost, gone, drained or deactivated, or
    /// what it has was changed.
    Agent,
    /// The framework has left their role.
    RoleLeft,
    /// The framework's stream was lost, and is back.
    Disconnected,
    /// The leader that made them is lost, or the way to it.
    LeaderLost,
    /// A cause that this build does not know, or that nobody told.
    #[serde(other)]
    Unknown,
}

/// Why a call was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// For programs.
    pub kind: CallErrorKind,
    /// A whole sentence: what was wrong, where, what to do.
    pub message: String,
}

/// Why a call was not carried out, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallErrorKind {
    /// No leader is known; try again.
    NoLeader,
    /// The call breaks a rule; repeating it cannot help.
    Invalid,
    /// The principal may not do this.
    Forbidden,
    /// The framework has ended; its id is closed.
    FrameworkRemoved,
    /// Another instance subscribed with the same id.
    FailedOver,
    /// The stream holds no subscription.
    NotSubscribed,
    /// A limit is reached; try again later.
    Busy,
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}
