//! Why somebody is not offered what it wants.

use std::collections::{BTreeMap, BTreeSet};

use meshos_alloc::{AgentExplanation, Allocator, OfferMode, TaskExplanation, WholeRole};
use meshos_protocol::{
    ids::{AgentId, FrameworkId, NodeId},
    resources::{Resource, Resources},
    role::Role,
    shown::resources_as_map,
};
use serde::Serialize;

use super::{agents::Link, frameworks::Presence, state::Core};
use crate::registry::{AgentState, Hold, Lookup, Registry};

/// What may be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Why a framework is not offered what it wants.
    Framework(FrameworkId),
    /// How a role stands, and why its frameworks are not offered what they want.
    Role(Role),
    /// Who has something of a node's agent, and why others are not offered it.
    Node(NodeId),
    /// Where a task would fit that a framework would like to launch.
    Task {
        /// The framework.
        framework: FrameworkId,
        /// In which of its roles; absent when it has only one.
        role: Option<Role>,
        /// What the task would use.
        resources: Resources,
    },
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Explanation {
    /// Of a framework.
    Framework(Box<FrameworkExplanation>),
    /// Of a role.
    Role(Box<RoleExplanation>),
    /// Of a node's agent.
    Node(Box<NodeExplanation>),
    /// Of a task that is to be launched.
    Task(Box<WaitingExplanation>),
}

/// Why there is nothing to explain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotExplained {
    /// There is no such framework.
    #[error("framework {0} never existed")]
    NoFramework(FrameworkId),
    /// The framework is not in the role.
    #[error("framework {framework} is not in role {role}: its roles are {}", list(roles))]
    NotInRole {
        /// The framework.
        framework: FrameworkId,
        /// The role that was named.
        role: Role,
        /// Its roles.
        roles: BTreeSet<Role>,
    },
    /// The framework has several roles and none is named.
    #[error("framework {framework} has the roles {}: name one of them", list(roles))]
    WhichRole {
        /// The framework.
        framework: FrameworkId,
        /// Its roles.
        roles: BTreeSet<Role>,
    },
    /// A task would use what is reserved for a role that has nothing to do with the framework's.
    #[error(
        "what is reserved for role {reserved} may be used by frameworks in that role and in roles below it \
         alone: framework {framework} asks in role {role}"
    )]
    ReservedForOther {
        /// The framework.
        framework: FrameworkId,
        /// The role in which it asks.
        role: Role,
        /// The role that the reservation names.
        reserved: Role,
    },
    /// The framework has ended.
    #[error("framework {0} has ended and is offered nothing any more")]
    Closed(FrameworkId),
    /// Nobody is in the role.
    #[error(
        "no framework is in role {0}, and nothing is set or reserved for it; `meshos roles` shows what there is"
    )]
    NoRole(Role),
    /// There is no such node.
    #[error("node {0} was never admitted; `meshos nodes` shows what there is")]
    NoNode(NodeId),
}

fn list(roles: &BTreeSet<Role>) -> String {
    roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ")
}

/// Why a framework is not offered what it wants: the master's reasons, and the allocator's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrameworkExplanation {
    /// Who asks.
    pub framework: FrameworkId,
    /// What stands in the way beside the allocator.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// What the allocator says, role by role and agent by agent.
    pub allocator: Option<meshos_alloc::Explanation>,
}

/// How a role stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleExplanation {
    /// Where the agents are.
    #[serde(flatten)]
    pub agents: AgentCounts,
    /// What the allocator says.
    #[serde(flatten)]
    pub allocator: WholeRole,
}

/// Where a task would fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingExplanation {
    /// Whose task.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// What it would use.
    #[serde(serialize_with = "resources_as_map")]
    pub resources: Resources,
    /// What stands in the way beside the allocator.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// What the allocator says.
    pub allocator: Option<TaskExplanation>,
}

/// Who has something of a node's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeExplanation {
    /// The node.
    pub node_id: NodeId,
    /// Its newest agent.
    pub agent: AgentId,
    /// What keeps it from everybody, the weightiest first; empty when nothing does.
    pub obstacles: Vec<AgentObstacle>,
    /// What the allocator says; nothing when it does not have the agent.
    pub allocator: Option<AgentExplanation>,
}

/// What stands in the way of offers to a framework beside the allocator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Circumstances {
    /// What keeps offers from it as a whole, the weightiest first; empty when nothing does.
    pub obstacles: Vec<Obstacle>,
    /// Its open offers: what they hold is not offered to it again before they are answered.
    pub open_offers: usize,
    /// Whether others may be offered the same meanwhile, and the first to accept gets it.
    pub offers_optimistic: bool,
    /// Where the agents are.
    #[serde(flatten)]
    pub agents: AgentCounts,
}

/// How many agents there are, by what they are to this leader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AgentCounts {
    /// Agents on record that have not yet reported to this leader, so that nothing of them can be
    /// offered.
    #[serde(rename = "agents_not_reported")]
    pub not_reported: usize,
    /// Agents whose stream is lost.
    #[serde(rename = "agents_disconnected")]
    pub disconnected: usize,
    /// Agents on record as unreachable.
    #[serde(rename = "agents_unreachable")]
    pub unreachable: usize,
    /// Agents that drain.
    #[serde(rename = "agents_draining")]
    pub draining: usize,
    /// Agents that operators deactivated.
    #[serde(rename = "agents_deactivated")]
    pub deactivated: usize,
    /// Agents that take part.
    #[serde(rename = "agents_active")]
    pub active: usize,
}

/// What keeps offers from a framework as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Obstacle {
    /// It has ended.
    Closed,
    /// Its stream was lost, or has not come back after an election.
    NotSubscribed,
    /// It is on record as disconnected.
    Disconnected,
    /// It suppressed these of its roles.
    Suppressed {
        /// Which.
        roles: BTreeSet<Role>,
    },
    /// No agent takes part.
    NoAgents,
}

/// What keeps an agent from everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentObstacle {
    /// An operator declared it gone.
    Gone,
    /// It is on record as unreachable.
    Unreachable,
    /// Its stream is lost.
    Disconnected,
    /// It has not yet reported to this leader.
    NotReported,
    /// It drains; its tasks go on.
    Draining,
    /// It drains, and its tasks are ended.
    DrainingTasks,
    /// An operator deactivated it.
    Deactivated,
}

/// A picture of all that explanations are made of: made by the master's loop, read by anybody, and
/// not touched by what happens after.
#[derive(Debug, Clone)]
pub struct Explainer {
    allocator: Allocator,
    registry: Registry,
    links: BTreeMap<AgentId, Link>,
    presences: BTreeMap<FrameworkId, Presence>,
    open_offers: BTreeMap<FrameworkId, usize>,
    optimistic: bool,
}

impl Core {
    pub(super) fn explainer(&self) -> Explainer {
        Explainer {
            allocator: self.allocator.clone(),
            registry: self.registry.clone(),
            links: self.agents.iter().map(|(id, agent)| (*id, agent.link)).collect(),
            presences: self.frameworks.iter().map(|(id, it)| (*id, it.presence)).collect(),
            open_offers: self.offers.counts_by_framework(),
            optimistic: self.config.offers == OfferMode::Optimistic,
        }
    }
}

impl Explainer {
    /// Why somebody is not offered what it wants.
    ///
    /// # Errors
    /// When there is no such framework, role or node.
    pub fn explain(&self, question: &Question) -> Result<Explanation, NotExplained> {
        match question {
            Question::Framework(framework) => {
                let told = self.explain_framework(*framework)?;
                Ok(Explanation::Framework(Box::new(told)))
            }
            Question::Role(role) => {
                let allocator = self.allocator.explain_role(role);
                let allocator = allocator.ok_or_else(|| NotExplained::NoRole(role.clone()))?;
                let told = RoleExplanation { agents: self.agent_counts(), allocator };
                Ok(Explanation::Role(Box::new(told)))
            }
            Question::Node(node) => Ok(Explanation::Node(Box::new(self.explain_node(*node)?))),
            Question::Task { framework, role, resources } => {
                let told = self.explain_waiting(*framework, role.as_ref(), resources)?;
                Ok(Explanation::Task(Box::new(told)))
            }
        }
    }

    /// Why a framework is not offered what it wants.
    ///
    /// # Errors
    /// When there is no such framework.
    pub fn explain_framework(
        &self,
        framework: FrameworkId,
    ) -> Result<FrameworkExplanation, NotExplained> {
        let circumstances = self.circumstances(framework)?;
        let allocator = self.allocator.explain(framework);
        Ok(FrameworkExplanation { framework, circumstances, allocator })
    }

    fn explain_waiting(
        &self,
        framework: FrameworkId,
        role: Option<&Role>,
        resources: &Resources,
    ) -> Result<WaitingExplanation, NotExplained> {
        let circumstances = self.circumstances(framework)?;
        let record = self.registry.framework(framework);
        let roles = &record.ok_or(NotExplained::Closed(framework))?.info.roles;
        let role = match (role, roles.first()) {
            (Some(role), _) if !roles.contains(role) => {
                let (role, roles) = (role.clone(), roles.clone());
                return Err(NotExplained::NotInRole { framework, role, roles });
            }
            (Some(role), _) => role,
            (None, Some(only)) if roles.len() == 1 => only,
            (None, _) => {
                return Err(NotExplained::WhichRole { framework, roles: roles.clone() });
            }
        };
        let foreign = |it: &Resource| !it.metadata().is_allocatable_to(role);
        if let Some(reserved) = resources.iter().find(|it| foreign(it)) {
            let reserved = reserved.metadata().reserved_role().cloned().unwrap_or_default();
            let role = role.clone();
            return Err(NotExplained::ReservedForOther { framework, role, reserved });
        }
        Ok(WaitingExplanation {
            framework,
            role: role.clone(),
            resources: resources.clone(),
            circumstances,
            allocator: self.allocator.explain_task(framework, role, resources),
        })
    }

    fn explain_node(&self, node: NodeId) -> Result<NodeExplanation, NotExplained> {
        let newest = self.registry.newest_agent_of(node);
        let (agent, state) = newest.ok_or(NotExplained::NoNode(node))?;
        let link = self.links.get(&agent).copied();
        let mut obstacles = Vec::new();
        match state {
            AgentState::Gone { .. } => obstacles.push(AgentObstacle::Gone),
            AgentState::Active
            | AgentState::Draining
            | AgentState::Unreachable { .. }
            | AgentState::Unknown => {}
        }
        obstacles.extend(match link {
            Some(Link::Unreachable) => Some(AgentObstacle::Unreachable),
            Some(Link::Lost { .. }) => Some(AgentObstacle::Disconnected),
            Some(Link::Awaited { .. }) => Some(AgentObstacle::NotReported),
            Some(Link::Online { .. }) | None => None,
        });
        obstacles.extend(match self.registry.hold(agent) {
            Some(Hold::Drain { .. }) => Some(AgentObstacle::DrainingTasks),
            Some(Hold::Deactivated | Hold::Unknown) => Some(AgentObstacle::Deactivated),
            None => None,
        });
        if matches!(state, AgentState::Draining | AgentState::Unreachable { draining: true, .. }) {
            obstacles.push(AgentObstacle::Draining);
        }
        let allocator = self.allocator.explain_agent(agent);
        Ok(NodeExplanation { node_id: node, agent, obstacles, allocator })
    }

    fn circumstances(&self, framework: FrameworkId) -> Result<Circumstances, NotExplained> {
        let mut circumstances = Circumstances {
            obstacles: Vec::new(),
            open_offers: self.open_offers.get(&framework).copied().unwrap_or_default(),
            offers_optimistic: self.optimistic,
            agents: self.agent_counts(),
        };
        let obstacles = &mut circumstances.obstacles;
        let record = match self.registry.look_up(framework) {
            Lookup::Never => return Err(NotExplained::NoFramework(framework)),
            Lookup::Closed => {
                obstacles.push(Obstacle::Closed);
                return Ok(circumstances);
            }
            Lookup::Live(record) => record,
        };
        match self.presences.get(&framework).copied() {
            Some(Presence::Subscribed { .. }) => {}
            Some(Presence::Lost { .. }) | None => obstacles.push(Obstacle::NotSubscribed),
            Some(Presence::Leaving | Presence::Disconnected { .. } | Presence::Closing) => {
                obstacles.push(Obstacle::Disconnected);
            }
        }
        if !record.suppressed_roles.is_empty() {
            let roles = record.suppressed_roles.clone();
            obstacles.push(Obstacle::Suppressed { roles });
        }
        if circumstances.agents.active == 0 {
            obstacles.push(Obstacle::NoAgents);
        }
        Ok(circumstances)
    }

    fn agent_counts(&self) -> AgentCounts {
        let mut counts = AgentCounts::default();
        for (id, link) in &self.links {
            let hold = self.registry.hold(*id);
            let deactivated = matches!(hold, Some(Hold::Deactivated | Hold::Unknown));
            let count = match link {
                Link::Online { .. } if self.registry.takes_tasks(*id) => &mut counts.active,
                Link::Online { .. } if deactivated => &mut counts.deactivated,
                Link::Online { .. } => &mut counts.draining,
                Link::Awaited { .. } => &mut counts.not_reported,
                Link::Lost { .. } => &mut counts.disconnected,
                Link::Unreachable => &mut counts.unreachable,
            };
            *count += 1;
        }
        counts
    }
}
