//! Voters of different releases, and what a leader hears of them.

use std::collections::BTreeMap;

use meshos_alloc::Quota;
use meshos_control::{
    master::{Event, VoterRelease},
    registry::{Command, LEVEL, LEVEL_FIRST, Outcome, Registry},
};
use meshos_protocol::{ids::FrameworkId, messages::node::Release, role::Role, wishes::OfferWishes};

use crate::world::World;

/// What a leader has on record, as far as the rules about offers need it.
#[derive(Debug, Default)]
pub struct OnRecord {
    /// By role.
    pub quotas: BTreeMap<Role, Quota>,
    /// By framework and role.
    pub wishes: BTreeMap<FrameworkId, BTreeMap<Role, OfferWishes>>,
}

impl OnRecord {
    /// What a new leader starts from.
    pub fn of(registry: &Registry) -> Self {
        let quotas = registry.quotas().map(|(role, quota)| (role.clone(), quota.clone()));
        let wishes = registry.frameworks().map(|(id, record)| (id, record.wishes.clone()));
        Self { quotas: quotas.collect(), wishes: wishes.collect() }
    }

    /// Keeps what a leader is told of.
    pub fn note(&mut self, event: &Event) {
        let Event::Applied { entry, outcome: Outcome::Done } = event else { return };
        match &entry.command {
            Command::SetQuota { role, quota } => {
                self.quotas.insert(role.clone(), quota.clone());
            }
            Command::SetWishes { framework, wishes } => {
                self.wishes.insert(*framework, wishes.clone());
            }
            Command::UpdateFramework { framework, info, wishes, .. } => match wishes {
                Some(wishes) => drop(self.wishes.insert(*framework, wishes.clone())),
                None => self
                    .wishes
                    .entry(*framework)
                    .or_default()
                    .retain(|role, _| info.roles.contains(role)),
            },
            _ => {}
        }
    }
}

impl World {
    /// Tells a leader which releases the voters run that it can reach, when that is news.
    pub(crate) fn tell_releases(&mut self, leader: usize) {
        let within_reach = self.voters_within_reach(leader);
        let told = |voter: &usize| {
            let level = self.nodes[*voter].level;
            let heard = *voter == leader || within_reach.contains(voter);
            let release = heard.then(|| Release { name: format!("0.{level}"), level });
            VoterRelease { node: self.nodes[*voter].id, votes: true, release, answers: heard }
        };
        let mut voters: Vec<VoterRelease> = self.raft.voters.iter().map(told).collect();
        let Some(leading) = self.nodes[leader].leading_mut() else { return };
        // What was heard once is known until the leader is another, though it may be so no more.
        for (voter, before) in voters.iter_mut().zip(&leading.voters_told) {
            let known = before.release.clone();
            voter.release = voter.release.take().or(known);
        }
        if leading.voters_told != voters {
            leading.voters_told.clone_from(&voters);
            self.master_event(leader, Event::Voters { voters });
        }
    }

    /// Draws which voters run an older release at first.
    pub(crate) fn draw_releases(&mut self) {
        if !self.setup.upgraded_while_running {
            return;
        }
        for voter in self.raft.voters.clone() {
            if self.dice.chance(500) {
                self.nodes[voter].level = LEVEL_FIRST;
            }
        }
    }

    /// A process starts, of a newer release perhaps.
    pub(crate) fn maybe_upgrade(&mut self, index: usize) {
        if self.nodes[index].level < LEVEL && self.dice.chance(500) {
            self.note(format_args!("n{index} is upgraded"));
            self.nodes[index].level = LEVEL;
        }
    }

    /// All that are behind are upgraded.
    pub(crate) fn end_upgrade(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.level = LEVEL);
    }

    /// The region in which a node stands, if it says so.
    pub fn region_of(&self, node: usize) -> Option<String> {
        self.nodes[node].place.domain.as_ref().map(|domain| domain.region.clone())
    }
}
