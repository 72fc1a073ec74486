//! What the voters' releases know, and so what may be put on record.

use meshos_protocol::{
    ids::NodeId,
    messages::scheduler::{CallError, CallErrorKind},
};
use serde::{Deserialize, Serialize};

use super::{
    proposals::{Caller, Purpose},
    state::{Core, Cx},
};
use crate::registry::{Command, LEVEL};

/// A member of the group that keeps the registry, and the release that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterRelease {
    /// Which.
    pub node: NodeId,
    /// Absent when it has told this leader nothing yet.
    pub release: Option<Release>,
}

/// What a voter tells of its release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its name, for people; empty when it is so old that it does not say.
    pub name: String,
    /// The level up to which it knows the registry.
    pub level: u32,
}

/// The voters, and what was concluded from them.
#[derive(Debug, Default)]
pub(super) struct Releases {
    voters: Vec<VoterRelease>,
    /// The highest level that this master has proposed.
    raising: u32,
}

impl Releases {
    /// The level that all voters know; absent while one has told nothing.
    fn known_by_all(&self) -> Option<u32> {
        let levels = self.voters.iter().map(|voter| voter.release.as_ref().map(|it| it.level));
        levels.collect::<Option<Vec<u32>>>()?.into_iter().min()
    }

    /// Who keeps the registry below this level, and what to do about it.
    fn obstacle(&self, level: u32) -> Option<String> {
        let is_behind = |voter: &&VoterRelease| {
            voter.release.as_ref().is_some_and(|release| release.level < level)
        };
        let silent = |voter: &&VoterRelease| voter.release.is_none();
        if let Some(voter) = self.voters.iter().find(is_behind) {
            let named = |name: &str| match name {
                "" => "an older release".to_owned(),
                name => format!("release {name}"),
            };
            let release = voter.release.as_ref().map_or_else(String::new, |it| named(&it.name));
            let node = voter.node;
            return Some(format!(
                "voter {node} runs {release}, which does not know them: upgrade it, then try again"
            ));
        }
        let voter = self.voters.iter().find(silent)?;
        let node = voter.node;
        Some(format!(
            "voter {node} has not told which release it runs since this leader was elected: start it again or replace it (`meshos voters`), then try again"
        ))
    }
}

impl Core {
    /// The voters, or what is known of their releases, have changed.
    pub(super) fn on_voters(&mut self, cx: &mut Cx<'_>, voters: Vec<VoterRelease>) {
        self.releases.voters = voters;
        let Some(known) = self.releases.known_by_all() else { return };
        let level = known.min(LEVEL);
        if level > self.registry.level().max(self.releases.raising) {
            self.releases.raising = level;
            self.propose(cx, Command::RaiseLevel { level }, Purpose::Records, Caller::Nobody);
        }
    }

    /// Whether all voters know what the command puts on record.
    pub(super) fn may_record(&self, command: &Command) -> Result<(), CallError> {
        let level = command.level();
        if level <= self.registry.level() {
            return Ok(());
        }
        let novelty = command.novelty();
        let why = self.releases.obstacle(level).unwrap_or_else(|| {
            "the voters are just being asked which release they run: try again".to_owned()
        });
        let message = format!("{novelty} cannot be put on record yet: {why}");
        Err(CallError { kind: CallErrorKind::Busy, message })
    }
}
