//! What readers see: an immutable picture of the master.
//!
//! Taking one costs some reference counts, however many tasks there are, see [`Table`]. The
//! structs serialise as the JSON of the HTTP API.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use meshos_alloc::{Quota, RoleState, Share};
use meshos_protocol::{
    attributes::Attributes,
    check::CheckStatus,
    framework::Capabilities,
    ids::{
        AgentId, ExecutorId, Fence, FrameworkId, NodeId, OfferId, Principal, Subscription, TaskId,
    },
    maintenance::Unavailability,
    resources::{Amount, ResourceName, Resources, ScalarQuantities},
    role::Role,
    shown::{
        amounts_as_map, attributes_as_map, check_as_map, exit_as_map, quantities_as_map,
        resources_as_map,
    },
    task::{Exit, Reason, TaskState},
    time::Wall,
    wishes::FaultDomain,
};
use serde::Serialize;

use super::{Counters, Table, Tally};

/// The master at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// The node whose master this is.
    pub leader: NodeId,
    /// Its cluster and term.
    pub fence: Fence,
    /// When its term began here.
    #[serde(skip)]
    pub led_since: Wall,
    /// Set once it leads no more; everything else is empty then.
    pub deposed: bool,
    /// The agents; a gone one only until its node is admitted again.
    pub agents: Table<AgentView>,
    /// Frameworks that have not ended.
    pub frameworks: Table<FrameworkView>,
    /// The newest frameworks that have ended, oldest first.
    pub frameworks_closed: Arc<VecDeque<Arc<FrameworkView>>>,
    /// Tasks that have not ended.
    pub tasks: Table<TaskView>,
    /// The newest tasks that have ended, oldest first.
    pub tasks_ended: Arc<VecDeque<Arc<TaskView>>>,
    /// How many tasks have not ended, by state.
    pub tasks_by_state: Tally<TaskState>,
    /// Open offers.
    pub offers: Table<OfferView>,
    /// Nodes in maintenance windows.
    pub maintenance: Table<MaintenanceView>,
    /// The allocation policy in force.
    pub policy: String,
    /// What operators have chosen; another one when it means nothing to this leader's release.
    pub policy_on_record: Option<String>,
    /// Roles with their shares; at most a quarter of a second old.
    pub roles: Arc<Vec<RoleView>>,
    /// What was done in this term.
    pub counters: Counters,
}

/// Whether a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It is admitted and expected to be there.
    Active,
    /// It takes no new tasks; those that it has go on, or are being ended.
    Draining,
    /// It takes no new tasks, and those that it had were ended and that is acknowledged.
    Drained,
    /// An operator deactivated it: it takes no new tasks, those that it has go on.
    Deactivated,
    /// It has not been heard of for too long.
    Unreachable,
    /// It was declared gone.
    Gone,
}

/// An agent as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentView {
    /// The node.
    pub id: NodeId,
    /// The agent half's id.
    pub agent_id: AgentId,
    /// Host name, for people.
    pub hostname: String,
    /// `host:port` of the node's cluster HTTP port; empty until it registered in this term.
    pub address: String,
    /// `host:port` of the node's agent port.
    pub agent_address: String,
    /// The node's process.
    pub pid: u32,
    /// The release that runs there.
    pub version: String,
    /// All it has.
    #[serde(serialize_with = "resources_as_map")]
    pub resources: Resources,
    /// What tasks hold.
    #[serde(serialize_with = "resources_as_map")]
    pub used: Resources,
    /// What open offers hold.
    #[serde(serialize_with = "resources_as_map")]
    pub offered: Resources,
    /// Its attributes.
    #[serde(serialize_with = "attributes_as_map")]
    pub attributes: Attributes,
    /// Where it stands, if it says so.
    pub domain: Option<FaultDomain>,
    /// Whether it takes part.
    pub state: NodeState,
    /// Since when it is unreachable or gone.
    pub since: Option<Wall>,
    /// When it first registered in this term.
    #[serde(skip)]
    pub registered_at: Option<Wall>,
    /// When it last registered again in this term.
    #[serde(skip)]
    pub reregistered_at: Option<Wall>,
    /// Whether its stream to this leader is open and all its tasks are reported.
    pub connected: bool,
    /// Whether this node leads.
    pub leader: bool,
    /// How many tasks it has that have not ended.
    pub tasks: usize,
    /// How far it is with a drain that ends its tasks, if an operator wants that.
    pub drain: Option<DrainView>,
}

/// How far an agent is with a drain that ends its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DrainView {
    /// The longest time between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// Whether the agent is declared gone once it is drained.
    pub mark_gone: bool,
    /// When the operator asked for it.
    pub since: Wall,
    /// How many tasks have not ended.
    pub tasks_left: usize,
    /// How many tasks have ended, and their frameworks have yet to acknowledge that.
    pub ends_left: usize,
    /// How many executors are still there.
    pub executors_left: usize,
}

/// Where a framework stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameworkState {
    /// Its stream is open.
    Subscribed,
    /// Its stream was lost (or has not come back after an election) and may come back in time.
    Reconnecting,
    /// Its fail-over time is running.
    Disconnected,
    /// It has ended.
    Closed,
}

/// What a framework says of itself beyond its row: mostly the same for long, and shared by its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrameworkDetails {
    /// What it understands.
    pub capabilities: Capabilities,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A framework as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrameworkView {
    /// Its id.
    pub id: FrameworkId,
    /// For people.
    pub name: String,
    /// Whom its tasks run as unless they say otherwise.
    pub user: String,
    /// Who owns it.
    pub principal: Principal,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Those of them that want no offers.
    pub suppressed_roles: BTreeSet<Role>,
    /// Where it runs, for people.
    pub hostname: String,
    /// Its own page.
    pub webui_url: String,
    /// Where it stands.
    pub state: FrameworkState,
    /// The number of its subscription.
    pub subscription: Subscription,
    /// The node that it is connected to.
    pub gateway: Option<NodeId>,
    /// How long its tasks live on after it disconnected.
    pub failover_timeout_ms: u64,
    /// What else it says of itself.
    #[serde(skip)]
    pub details: Arc<FrameworkDetails>,
    /// When it first subscribed in this term.
    #[serde(skip)]
    pub registered_at: Option<Wall>,
    /// When it last subscribed again in this term.
    #[serde(skip)]
    pub reregistered_at: Option<Wall>,
    /// Since when it is disconnected.
    pub disconnected_at: Option<Wall>,
    /// When it ended.
    pub closed_at: Option<Wall>,
    /// Why it ended.
    pub closed_why: String,
    /// How many tasks it has that have not ended.
    pub tasks: usize,
    /// What they hold.
    #[serde(serialize_with = "resources_as_map")]
    pub used: Resources,
    /// How many offers it has open.
    pub offers: usize,
}

/// What few tasks have, so that the others cost nothing for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskExtras {
    /// Opaque to meshos.
    pub labels: BTreeMap<String, String>,
    /// The executor that runs it.
    pub executor: Option<ExecutorId>,
    /// Whom it runs as, when it says so itself.
    pub user: Option<String>,
}

/// A task as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskView {
    /// Its id, unique among its framework's live tasks.
    pub id: TaskId,
    /// Its framework.
    pub framework_id: FrameworkId,
    /// Where it runs or ran.
    pub agent_id: AgentId,
    /// The agent's node.
    pub node_id: NodeId,
    /// For people.
    pub name: String,
    /// The role that pays for it.
    pub role: Role,
    /// What it holds.
    #[serde(serialize_with = "resources_as_map")]
    pub resources: Resources,
    /// What only some tasks have; absent also of tasks whose launch this leader has not seen.
    #[serde(skip)]
    pub extras: Option<Arc<TaskExtras>>,
    /// Its newest state.
    pub state: TaskState,
    /// Why it is in that state, by name.
    pub reason: Option<Reason>,
    /// Why it is in that state, for people.
    pub message: Arc<str>,
    /// How its process ended.
    #[serde(serialize_with = "exit_as_map")]
    pub exit: Option<Exit>,
    /// Whether its health check finds it well, once that is known.
    pub healthy: Option<bool>,
    /// What its other check has found, if it has one.
    #[serde(serialize_with = "check_as_map")]
    pub check_status: Option<CheckStatus>,
    /// When this leader launched it, or when its agent took it on if an earlier leader did.
    pub launched_at: Option<Wall>,
    /// Whether this leader launched it: then its clock has told when.
    #[serde(skip)]
    pub launched_here: bool,
    /// When it began to run, if it has.
    pub started_at: Option<Wall>,
    /// When its state last changed.
    pub changed_at: Wall,
    /// When it ended in its agent's words, where that is later than the leader's clock allows.
    #[serde(skip)]
    pub ended_told: Option<Wall>,
}

/// An open offer as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfferView {
    /// Its id.
    pub id: OfferId,
    /// Whom it is made to.
    pub framework_id: FrameworkId,
    /// The role that would pay.
    pub role: Role,
    /// The agent that has the resources.
    pub agent_id: AgentId,
    /// The agent's node.
    pub node_id: NodeId,
    /// Where the agent stands, if it says so.
    pub domain: Option<FaultDomain>,
    /// When the agent's node will be away for maintenance, if that is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailability: Option<Unavailability>,
    /// What is offered.
    #[serde(serialize_with = "resources_as_map")]
    pub resources: Resources,
    /// When it was made.
    pub made_at: Wall,
}

/// A node in a maintenance window, as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaintenanceView {
    /// The node.
    pub node_id: NodeId,
    /// The agent half's id, as long as the node is on record.
    pub agent_id: Option<AgentId>,
    /// Host name, for people.
    pub hostname: String,
    /// Its address.
    pub ip: String,
    /// From when on it will be away.
    pub start: Wall,
    /// For how long, in milliseconds; absent: nobody knows.
    pub duration_ms: Option<u64>,
    /// When an operator began the maintenance; absent: it is only planned.
    pub begun: Option<Wall>,
    /// The frameworks that have something there, and what they said.
    pub asked: Vec<AskedView>,
}

/// What a framework was asked about a node that will be away, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AskedView {
    /// Who.
    pub framework_id: FrameworkId,
    /// The inverse offer that it has not answered.
    pub open: Option<OfferId>,
    /// Whether its newest answer was that it suits; absent: it has not answered.
    pub accepted: Option<bool>,
    /// When that came.
    pub answered_at: Option<Wall>,
}

/// A role as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleView {
    /// Its name.
    pub role: Role,
    /// Its weight in thousandths.
    pub weight_millis: u64,
    /// Its priority; only policies with bands look at it.
    pub priority: i32,
    /// What it is guaranteed.
    #[serde(serialize_with = "quantities_as_map")]
    pub guarantee: ScalarQuantities,
    /// What it may not exceed.
    #[serde(serialize_with = "amounts_as_map")]
    pub limit: BTreeMap<ResourceName, Amount>,
    /// How many frameworks in it or below it wait for offers.
    pub waiting: usize,
    /// What it holds, offered or allocated, with all roles below it.
    #[serde(serialize_with = "quantities_as_map")]
    pub held: ScalarQuantities,
    /// How much of that is offered and not answered yet.
    #[serde(serialize_with = "quantities_as_map")]
    pub offered: ScalarQuantities,
    /// What it consumes of its quota.
    #[serde(serialize_with = "quantities_as_map")]
    pub consumed: ScalarQuantities,
    /// What it held in the past, fading, under a policy that counts that.
    #[serde(serialize_with = "quantities_as_map")]
    pub past: ScalarQuantities,
    /// Its share as the policy sees it, over its weight.
    pub share: Share,
}

impl From<RoleState> for RoleView {
    fn from(state: RoleState) -> Self {
        let RoleState { role, weight_millis, priority, quota, waiting, .. } = state;
        let RoleState { held, offered, consumed, past, share, .. } = state;
        let Quota { guarantee, limit } = quota;
        Self {
            role,
            weight_millis,
            priority,
            guarantee,
            limit,
            waiting,
            held,
            offered,
            consumed,
            past,
            share,
        }
    }
}
