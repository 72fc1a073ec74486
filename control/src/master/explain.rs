//! Why a framework is not offered what it wants.

use std::collections::BTreeSet;

use meshos_protocol::{ids::FrameworkId, role::Role};
use serde::Serialize;

use super::{agents::Link, frameworks::Presence, state::Core};
use crate::registry::{AgentState, Lookup};

/// Why a framework is not offered what it wants: the master's reasons, and the allocator's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who asks.
    pub framework: FrameworkId,
    /// What keeps offers from it as a whole, the weightiest first; empty when nothing does.
    pub obstacles: Vec<Obstacle>,
    /// Its open offers: what they hold is not offered again before they are answered.
    pub open_offers: usize,
    /// Agents on record that have not yet reported to this leader, so that nothing of them can be
    /// offered.
    pub agents_not_reported: usize,
    /// Agents whose stream is lost.
    pub agents_disconnected: usize,
    /// Agents on record as unreachable.
    pub agents_unreachable: usize,
    /// Agents that drain.
    pub agents_draining: usize,
    /// Agents that take part.
    pub agents_active: usize,
    /// What the allocator says, role by role and agent by agent.
    pub allocator: Option<meshos_alloc::Explanation>,
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

impl Core {
    pub(super) fn explain(&self, framework: FrameworkId) -> Option<Explanation> {
        let mut explanation = Explanation {
            framework,
            obstacles: Vec::new(),
            open_offers: self.offers.count_of_framework(framework),
            agents_not_reported: 0,
            agents_disconnected: 0,
            agents_unreachable: 0,
            agents_draining: 0,
            agents_active: 0,
            allocator: self.allocator.explain(framework),
        };
        let record = match self.registry.look_up(framework) {
            Lookup::Never => return None,
            Lookup::Closed => {
                explanation.obstacles.push(Obstacle::Closed);
                return Some(explanation);
            }
            Lookup::Live(record) => record,
        };
        match self.frameworks.get(&framework).map(|framework| framework.presence) {
            Some(Presence::Subscribed { .. }) => {}
            Some(Presence::Lost { .. }) | None => {
                explanation.obstacles.push(Obstacle::NotSubscribed);
            }
            Some(Presence::Leaving | Presence::Disconnected { .. } | Presence::Closing) => {
                explanation.obstacles.push(Obstacle::Disconnected);
            }
        }
        if !record.suppressed_roles.is_empty() {
            let roles = record.suppressed_roles.clone();
            explanation.obstacles.push(Obstacle::Suppressed { roles });
        }
        for (id, agent) in &self.agents {
            let draining = self.registry.agent(*id) == Some(AgentState::Draining);
            let count = match agent.link {
                Link::Online { .. } if draining => &mut explanation.agents_draining,
                Link::Online { .. } => &mut explanation.agents_active,
                Link::Awaited { .. } => &mut explanation.agents_not_reported,
                Link::Lost { .. } => &mut explanation.agents_disconnected,
                Link::Unreachable => &mut explanation.agents_unreachable,
            };
            *count += 1;
        }
        if explanation.agents_active == 0 {
            explanation.obstacles.push(Obstacle::NoAgents);
        }
        Some(explanation)
    }
}
