//! Frameworks and offers as every part of the system describes them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    attributes::Attributes,
    ids::{AgentId, FrameworkId, OfferId},
    maintenance::Unavailability,
    resources::Resources,
    role::Role,
    wishes::FaultDomain,
};

/// What a framework says of itself when it subscribes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkInfo {
    /// For people.
    pub name: String,
    /// Whom its tasks run as unless they say otherwise; empty: the agent's default.
    #[serde(default)]
    pub user: String,
    /// The roles under which it wants offers; at least one.
    pub roles: BTreeSet<Role>,
    /// How long its tasks live on after it disconnected.
    #[serde(default)]
    pub failover_timeout_ms: u64,
    /// What it understands.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Where it runs, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Its own page, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub webui_url: String,
    /// Opaque to meshos.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a framework understands beyond the basics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Tells unreachable, dropped, gone and unknown apart; without it the edge (the SDK's driver)
    /// calls them all lost.
    pub partition_aware: bool,
    /// Wants to be told while a kill is under way; without it the edge acknowledges that step and
    /// does not tell it.
    pub task_killing_state: bool,
    /// Uses GPUs; agents that have them are offered to no one else.
    pub gpu_resources: bool,
    /// Uses volumes that others use at the same time.
    pub shared_resources: bool,
    /// Uses what may be taken back at any time.
    pub revocable_resources: bool,
    /// Understands reservations that refine others.
    pub reservation_refinement: bool,
    /// Runs tasks far from the leader; without it, agents in another region are not offered.
    pub region_aware: bool,
    /// Asks for resources that are of use together only.
    pub gang_offers: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            partition_aware: true,
            task_killing_state: true,
            gpu_resources: false,
            shared_resources: false,
            revocable_resources: false,
            reservation_refinement: true,
            region_aware: false,
            gang_offers: false,
        }
    }
}

/// What one agent has free, held for one framework in one role until it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Names the offer in accept and decline.
    pub id: OfferId,
    /// Whom it is made to.
    pub framework: FrameworkId,
    /// The role that would pay.
    pub role: Role,
    /// The agent that has the resources.
    pub agent: AgentId,
    /// The agent's host name or address, for locality and for people.
    pub hostname: String,
    /// What is free.
    pub resources: Resources,
    /// The agent's attributes.
    #[serde(default)]
    pub attributes: Attributes,
    /// Where the agent stands, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<FaultDomain>,
    /// When the agent's node will be away for maintenance, if that is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailability: Option<Unavailability>,
}
