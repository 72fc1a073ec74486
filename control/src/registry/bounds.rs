//! How much the registry keeps.
//!
//! The rules look only at what entries say, never at a clock, so that every voter forgets the same
//! records at the same entry.

use std::time::Duration;

use meshos_protocol::{ids::AgentId, time::Wall};

use super::{AgentState, Registry};

/// How much the registry keeps. The same on every voter: part of the release, not a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most agents that are not gone.
    pub agents_max: usize,
    /// The most agents that are gone and still known.
    pub agents_gone_max: usize,
    /// How long a gone agent stays known, and after which time an unreachable one may make room.
    pub agents_gone_kept: Duration,
    /// The most frameworks that have not ended.
    pub frameworks_max: usize,
    /// The most closed frameworks that are kept, the newest ones.
    pub frameworks_closed_max: usize,
    /// The most roles with a weight of their own; as many may have a priority, and a quota.
    pub weights_max: usize,
}

impl Limits {
    /// What every voter applies.
    pub const DEFAULT: Self = Self {
        agents_max: 50_000,
        agents_gone_max: 50_000,
        agents_gone_kept: Duration::from_secs(14 * 24 * 3600),
        frameworks_max: 10_000,
        frameworks_closed_max: 10_000,
        weights_max: 10_000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Registry {
    /// Remembers the newest date that an entry has told.
    pub(super) fn note_date(&mut self, at: Wall) {
        self.newest_date = self.newest_date.max(at);
    }

    /// The date that a record gets whose entry says `at`: never before a date that an earlier entry
    /// told. Records are kept by age and in order of their dates, so a leader whose clock is behind
    /// would otherwise have its own records forgotten at once.
    pub(super) fn dated(&mut self, at: Wall) -> Wall {
        self.note_date(at);
        self.newest_date
    }

    /// The same for a record that ends something: after every earlier date, so that of two ends the
    /// later one counts as the newer, whatever the clocks said.
    pub(super) fn dated_last(&mut self, at: Wall) -> Wall {
        let after_all = Wall(self.newest_date.0.saturating_add(1));
        self.dated(at.max(after_all))
    }

    /// Whether `at` is so long before the newest date that its record may go.
    fn is_old(&self, at: Wall) -> bool {
        self.newest_date.since(at) > self.limits.agents_gone_kept
    }

    /// Forgets gone agents whose time is up, and the oldest ones beyond the limit.
    pub(super) fn forget_gone_agents(&mut self) {
        let mut gone: Vec<(Wall, AgentId)> = self
            .agents
            .iter()
            .filter_map(|(id, state)| match state {
                AgentState::Gone { at } => Some((*at, *id)),
                AgentState::Active
                | AgentState::Draining
                | AgentState::Unreachable { .. }
                | AgentState::Unknown => None,
            })
            .collect();
        gone.sort_unstable();
        let excess = gone.len().saturating_sub(self.limits.agents_gone_max);
        for (position, (at, agent)) in gone.into_iter().enumerate() {
            if position < excess || self.is_old(at) {
                self.forget_agent(agent);
            }
        }
    }

    /// Makes room for one more agent. False when the limit is reached by agents that are, or may
    /// soon be, in use.
    pub(super) fn make_room_for_agent(&mut self) -> bool {
        if self.agents.len() < self.limits.agents_max {
            return true;
        }
        let mut count = 0;
        let mut longest_unreachable: Option<(Wall, AgentId)> = None;
        for (id, state) in &self.agents {
            match state {
                AgentState::Gone { .. } => continue,
                AgentState::Unreachable { since, .. } => {
                    let candidate = (*since, *id);
                    longest_unreachable =
                        Some(longest_unreachable.map_or(candidate, |old| old.min(candidate)));
                }
                AgentState::Active | AgentState::Draining | AgentState::Unknown => {}
            }
            count += 1;
        }
        if count < self.limits.agents_max {
            return true;
        }
        match longest_unreachable {
            Some((since, agent)) if self.is_old(since) => {
                self.forget_agent(agent);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Forgets one agent, in a way that its id is never given out again.
    fn forget_agent(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        self.holds.remove(&agent);
        if self.newest_agent_of(agent.node).is_none() {
            self.forget_plan(agent.node);
        }
        self.registration_floor = self.registration_floor.max(agent.registration);
    }

    /// Forgets the oldest closed frameworks beyond the limit.
    pub(super) fn forget_closed_frameworks(&mut self) {
        let mut closed: Vec<_> = self
            .frameworks
            .iter()
            .filter_map(|(id, record)| record.closed.as_ref().map(|closing| (closing.at, *id)))
            .collect();
        let excess = closed.len().saturating_sub(self.limits.frameworks_closed_max);
        if excess == 0 {
            return;
        }
        closed.sort_unstable();
        for (_, framework) in closed.into_iter().take(excess) {
            self.frameworks.remove(&framework);
        }
    }
}
