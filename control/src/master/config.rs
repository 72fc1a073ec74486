//! The settings of a master.

use std::{collections::BTreeSet, time::Duration};

use meshos_alloc::{MinAllocatable, OfferMode, PolicyChoice};
use meshos_protocol::{messages::scheduler::REFUSE_DEFAULT_MS, resources::ResourceName};
use serde::{Deserialize, Serialize};

/// The settings of a master. The defaults are those of the product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterConfig {
    /// Between one allocation run and the next at least, so that changes which come quickly one
    /// after the other are answered together.
    pub batch: Duration,
    /// How long an offer stays open while others wait.
    pub offer_timeout: Duration,
    /// For how long a framework that let an offer time out is not offered that agent again.
    pub offer_timeout_refusal: Duration,
    /// Without a stream for this long, an agent is unreachable.
    pub agent_timeout: Duration,
    /// The same when gossip also calls its node dead.
    pub agent_timeout_dead: Duration,
    /// A framework whose stream was lost counts as disconnected only after this.
    pub reconnect_grace: Duration,
    /// The filter of a decline that names none.
    pub refuse_default: Duration,
    /// The pace of heartbeats that gateways keep towards drivers; told in the subscribed event.
    pub heartbeat: Duration,
    /// How many nodes the cluster takes in: those on record that are not gone. A node beyond it is
    /// refused, because gossip does not carry more.
    pub nodes_max: usize,
    /// How many ended tasks are kept for reads.
    pub ended_tasks_max: usize,
    /// How many closed frameworks are shown to readers, the newest ones.
    pub closed_frameworks_shown_max: usize,
    /// The allocation policy, unless operators have chosen another.
    pub policy: PolicyChoice,
    /// Whether one or several frameworks are offered the same resources at once.
    pub offers: OfferMode,
    /// The least that is worth an offer.
    #[serde(default)]
    pub min_allocatable: MinAllocatable,
    /// The resources that shares leave out.
    #[serde(default)]
    pub shares_exclude: BTreeSet<ResourceName>,
    /// The region that the leader stands in; agents in others are offered to those only who say
    /// that they go there.
    pub region: Option<String>,
    /// Bounds on what others can make the master hold.
    pub limits: MasterLimits,
}

impl Default for MasterConfig {
    fn default() -> Self {
        Self {
            batch: Duration::from_millis(2),
            offer_timeout: Duration::from_secs(60),
            offer_timeout_refusal: Duration::from_secs(5),
            agent_timeout: Duration::from_secs(75),
            agent_timeout_dead: Duration::from_secs(20),
            reconnect_grace: Duration::from_secs(30),
            refuse_default: Duration::from_millis(REFUSE_DEFAULT_MS),
            heartbeat: Duration::from_secs(15),
            nodes_max: 250,
            ended_tasks_max: 1_000,
            closed_frameworks_shown_max: 1_000,
            policy: PolicyChoice::default(),
            offers: OfferMode::default(),
            min_allocatable: MinAllocatable::default(),
            shares_exclude: BTreeSet::new(),
            region: None,
            limits: MasterLimits::default(),
        }
    }
}

/// Bounds on what others can make the master hold; beyond them calls are refused as busy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterLimits {
    /// Open agent streams.
    pub connections_max: usize,
    /// Open framework streams.
    pub sessions_max: usize,
    /// Nodes that gossip calls dead and that are not on record.
    pub strangers_down_max: usize,
    /// Tasks that one agent may report.
    pub tasks_per_agent_max: usize,
    /// Tasks of one framework that are live or end unacknowledged.
    pub tasks_per_framework_max: usize,
    /// Tasks of all frameworks.
    pub tasks_max: usize,
    /// Questions that wait for agents to report.
    pub questions_max: usize,
    /// Changes on their way through the registry.
    pub proposals_max: usize,
    /// Updates kept for an agent whose admission is on its way.
    pub early_updates_max: usize,
}

impl Default for MasterLimits {
    fn default() -> Self {
        Self {
            connections_max: 55_000,
            sessions_max: 20_000,
            strangers_down_max: 1_000,
            tasks_per_agent_max: 25_000,
            tasks_per_framework_max: 200_000,
            tasks_max: 1_000_000,
            questions_max: 200_000,
            proposals_max: 100_000,
            early_updates_max: 10_000,
        }
    }
}
