//! What the shell tells the agent once, at its start.

use std::time::Duration;

use meshos_protocol::{
    attributes::Attributes,
    executor::EXECUTORS_PER_AGENT_MAX,
    ids::{Generation, NodeId},
    resources::Resources,
    wishes::FaultDomain,
};

/// What an agent is and how it behaves; fixed while the node runs.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The agent's node.
    pub node: NodeId,
    /// The node's start generation; ids of updates and containers are made of it, so it must be
    /// higher than at every earlier start.
    pub generation: Generation,
    /// Shown in offers.
    pub hostname: String,
    /// `host:port` of the node's cluster HTTP port.
    pub http_address: String,
    /// `host:port` of the node's agent port.
    pub agent_address: String,
    /// The node's process.
    pub pid: u32,
    /// The release that runs.
    pub version: String,
    /// All that the agent has.
    pub resources: Resources,
    /// Its attributes.
    pub attributes: Attributes,
    /// Where it stands, if that is known.
    pub domain: Option<FaultDomain>,
    /// Between SIGTERM and SIGKILL for tasks that do not say.
    pub kill_grace: Duration,
    /// How long until SIGKILL is tried again on a container that did not end.
    pub destroy_retry: Duration,
    /// The first wait for an acknowledgement.
    pub update_retry_min: Duration,
    /// The longest wait for an acknowledgement; each is twice the one before.
    pub update_retry_max: Duration,
    /// How long an executor may take from its start to its registration.
    pub executor_registration_timeout: Duration,
    /// How long an executor may take to come back when its connection was lost, or its node was
    /// restarted.
    pub executor_recovery_timeout: Duration,
    /// How long executors that do not say may take to end when they are told to.
    pub executor_shutdown_grace: Duration,
    /// The most executors that the agent keeps.
    pub executors_max: usize,
    /// The most tasks that the agent keeps, ended but unacknowledged ones included.
    pub tasks_max: usize,
    /// The most probes of tasks that are under way at a time; others wait for a place. One framework alone is given half of them.
    pub probes_max: usize,
    /// How many ended tasks the agent remembers: the newest.
    pub ends_max: usize,
}

impl AgentConfig {
    /// The defaults for a node with these resources; names and addresses stay empty.
    pub fn new(node: NodeId, generation: Generation, resources: Resources) -> Self {
        Self {
            node,
            generation,
            hostname: String::new(),
            http_address: String::new(),
            agent_address: String::new(),
            pid: 0,
            version: String::new(),
            resources,
            attributes: Attributes::default(),
            domain: None,
            kill_grace: Duration::from_secs(3),
            destroy_retry: Duration::from_secs(10),
            update_retry_min: Duration::from_secs(10),
            update_retry_max: Duration::from_secs(600),
            executor_registration_timeout: Duration::from_secs(60),
            executor_recovery_timeout: Duration::from_secs(15 * 60),
            executor_shutdown_grace: Duration::from_secs(5),
            executors_max: EXECUTORS_PER_AGENT_MAX,
            tasks_max: 20_000,
            probes_max: 256,
            ends_max: 1_000,
        }
    }
}
