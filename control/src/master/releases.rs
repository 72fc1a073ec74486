//! What the voters' releases know, and so what may be put on record.

use meshos_protocol::{
    ids::{AgentId, NodeId},
    messages::{
        node::Release,
        scheduler::{CallError, CallErrorKind},
    },
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
    /// Whether it votes; else it is taught the log so that it can.
    pub votes: bool,
    /// As it told last; absent when it has told this leader nothing yet.
    pub release: Option<Release>,
    /// Whether it has told so just now. Whoever does not answer may come back with another release.
    pub answers: bool,
}

impl VoterRelease {
    /// Whether the registry must hold nothing that it does not know. One that does not vote and
    /// does not answer is nobody whom the log would stop.
    const fn counts(&self) -> bool {
        self.votes || self.answers
    }
}

/// The voters, and what was concluded from them.
#[derive(Debug, Default)]
pub(super) struct Releases {
    voters: Vec<VoterRelease>,
    /// The highest level that this master has proposed.
    raising: u32,
}

impl Releases {
    fn counting(&self) -> impl Iterator<Item = &VoterRelease> {
        self.voters.iter().filter(|voter| voter.counts())
    }

    /// Whether a node is one of the voters, or is about to be; absent as long as nobody has told.
    pub(super) fn is_member(&self, node: NodeId) -> Option<bool> {
        let told = !self.voters.is_empty();
        told.then(|| self.voters.iter().any(|voter| voter.node == node))
    }

    /// The level that all voters know, as they answer now; absent while one does not.
    fn known_by_all(&self) -> Option<u32> {
        let level = |voter: &VoterRelease| {
            voter.release.as_ref().filter(|_| voter.answers).map(|release| release.level)
        };
        self.counting().map(level).collect::<Option<Vec<u32>>>()?.into_iter().min()
    }

    /// Who keeps the registry below this level, and what to do about it.
    fn obstacle(&self, level: u32) -> Option<String> {
        let is_behind = |voter: &&VoterRelease| {
            voter.release.as_ref().is_some_and(|release| release.level < level)
        };
        let silent = |voter: &&VoterRelease| voter.release.is_none() || !voter.answers;
        if let Some(voter) = self.counting().find(is_behind) {
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
        let voter = self.counting().find(silent)?;
        let node = voter.node;
        let why = match voter.release {
            None => "has not told which release it runs since this leader was elected",
            Some(_) => "does not answer, and may come back with another release",
        };
        Some(format!(
            "voter {node} {why}: start it again or replace it (`meshos voters`), then try again"
        ))
    }
}

impl Core {
    /// The voters, or what is known of their releases, have changed.
    pub(super) fn on_voters(&mut self, cx: &mut Cx<'_>, voters: Vec<VoterRelease>) {
        self.releases.voters = voters;
        // One that votes no more may have been waited for.
        let held: Vec<AgentId> = self.registry.holds().map(|(agent, _)| agent).collect();
        for agent in held {
            self.conclude_drain(cx, agent);
        }
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
