//! Which records a release knows.
//!
//! While a cluster is upgraded, voters of two releases apply one log. A voter that does not know a
//! record would leave it out, and its registry would differ from the others' for ever. So releases
//! count levels: whoever adds a command or a field of one, or changes what an entry does, raises
//! [`LEVEL`] and says in [`Command::level`] which commands need it.
//!
//! A leader raises the level on record ([`Command::RaiseLevel`]) once every voter has told that it
//! knows the next one, and proposes nothing above what is on record. What is new therefore stands
//! behind the raise in the log, and a voter of an older release that comes back or is added stops
//! at the raise, or at the snapshot whose header names the level, before it can go wrong.

use std::collections::BTreeMap;

use meshos_protocol::{
    framework::FrameworkInfo,
    role::Role,
    wishes::{AgentConstraint, OfferWishes, Predicate, Selector},
};

use super::{AgentState, Command, Entry, Hold, Registry};

/// The level of this release.
///
/// 1: agents, frameworks and weights. 2: levels, quota, priorities, the policy, wishes, and
/// frameworks that go to other regions or ask for gangs. 3: updates of frameworks. 4: agents that
/// operators hold. 5: past use. 6: maintenance windows.
pub const LEVEL: u32 = 6;

/// The level of registries that say none, and of releases that know no levels.
pub const LEVEL_FIRST: u32 = 1;

/// An entry that this release cannot apply as others do. The voter must stop in front of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    /// The cluster has gone on to a later release.
    #[error(
        "the cluster's registry is at level {level}, this release knows it up to level {known}: start the release on this node that the other voters run"
    )]
    Level {
        /// Of the registry.
        level: u32,
        /// Of the release.
        known: u32,
    },
    /// A record that nobody announced.
    #[error(
        "the cluster's registry has a record that this release does not know: start the release on this node that the other voters run"
    )]
    Record,
}

impl Command {
    /// The lowest level of a release that knows all of it.
    pub fn level(&self) -> u32 {
        self.came_with().0
    }

    /// What is new in it, for people.
    pub fn novelty(&self) -> &'static str {
        self.came_with().1
    }

    /// The level that it came with, and what was new then.
    fn came_with(&self) -> (u32, &'static str) {
        match self {
            Self::FormCluster { .. }
            | Self::AdmitAgent { .. }
            | Self::SetAgentState { .. }
            | Self::SetSuppressed { .. }
            | Self::Disconnect { .. }
            | Self::Reconnect { .. }
            | Self::CloseFramework { .. }
            | Self::SetWeight { .. } => (LEVEL_FIRST, "this change"),
            Self::AdmitFramework { info, .. } | Self::Resubscribe { info, .. } => {
                (level_of(info), "frameworks that go to other regions or ask for gangs")
            }
            Self::SetQuota { .. } => (2, "quota"),
            Self::SetPriority { .. } => (2, "priorities"),
            Self::SetPolicy { .. } => (2, "policies"),
            Self::SetWishes { wishes, .. } => level_of_wishes(wishes),
            Self::UpdateFramework { wishes, .. } => {
                let wishes = wishes.as_ref().map(level_of_wishes);
                wishes.filter(|(level, _)| *level > 3).unwrap_or((3, "updates of frameworks"))
            }
            Self::SetHold { hold: None | Some(Hold::Deactivated | Hold::Drain { .. }), .. } => {
                (4, "drains with a grace period and deactivated nodes")
            }
            Self::NotePastUse { .. } => (5, "past use on record"),
            Self::SetMaintenance { .. } => (6, "maintenance windows"),
            Self::RaiseLevel { level } => (*level, "this change"),
            // No release knows what this one cannot read.
            Self::SetHold { hold: Some(Hold::Unknown), .. } | Self::Unknown => {
                (u32::MAX, "this change")
            }
        }
    }
}

fn level_of(info: &FrameworkInfo) -> u32 {
    let new = info.capabilities.region_aware || info.capabilities.gang_offers;
    if new { 2 } else { LEVEL_FIRST }
}

/// The level that the newest kind of wish came with, and what was new then.
fn level_of_wishes(wishes: &BTreeMap<Role, OfferWishes>) -> (u32, &'static str) {
    let constraints = wishes.values().flat_map(|wishes| wishes.constraints.iter().flatten());
    let level = |constraint: &AgentConstraint| {
        let of = match &constraint.of {
            Selector::Attribute { .. }
            | Selector::Hostname
            | Selector::Region
            | Selector::Zone
            | Selector::Nothing => 2,
            Selector::Unknown => u32::MAX,
        };
        let is = match &constraint.is {
            Predicate::Exists
            | Predicate::NotExists
            | Predicate::Equals { .. }
            | Predicate::NotEquals { .. }
            | Predicate::Matches { .. }
            | Predicate::NotMatches { .. }
            | Predicate::Less { .. }
            | Predicate::Greater { .. }
            | Predicate::Within { .. }
            | Predicate::Never => 2,
            Predicate::Unknown => u32::MAX,
        };
        of.max(is)
    };
    match constraints.map(level).max() {
        Some(u32::MAX) => (u32::MAX, "wishes of a kind that the leader's release does not know"),
        Some(_) | None => (2, "wishes of frameworks"),
    }
}

impl Entry {
    /// Whether this release applies the entry as others do. To be asked before [`Registry::apply`].
    ///
    /// # Errors
    /// When it does not: nothing may be applied then, not this entry and none after it.
    pub fn check_understood(&self) -> Result<(), NotUnderstood> {
        self.check_understood_at(LEVEL)
    }

    /// The same for a release of that level.
    pub(super) fn check_understood_at(&self, known: u32) -> Result<(), NotUnderstood> {
        let level = self.command.level();
        let unknown =
            matches!(self.command, Command::SetAgentState { state: AgentState::Unknown, .. });
        if unknown || level == u32::MAX {
            return Err(NotUnderstood::Record);
        }
        if level > known {
            return Err(NotUnderstood::Level { level, known });
        }
        Ok(())
    }
}

/// The level on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(pub(super) u32);

impl Default for Level {
    fn default() -> Self {
        Self(LEVEL_FIRST)
    }
}

impl Registry {
    /// The level on record: what may be in the log and in snapshots, and what a voter has to know.
    pub const fn level(&self) -> u32 {
        self.level.0
    }
}
