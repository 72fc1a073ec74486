//! What agents remember of ended tasks, asked for by a new leader.
//!
//! History for people: nothing depends on it, so it must not slow down what does. One agent is
//! asked at a time, and once there are rows enough only for what is newer than the oldest of them.
//! So with many agents few rows travel, although each of them could fill the list alone.

use std::{collections::BTreeSet, time::Duration};

use meshos_protocol::{
    ids::AgentId,
    messages::agent::{TASKS_PER_REPORT_MAX, ToAgent},
    task::TaskEnd,
};

use super::{
    ConnectionId, DropReason,
    agents::Link,
    state::{Core, Cx},
    timers::Timer,
};

/// How long an agent that was asked is waited for before the next one is asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Who is asked, and who is still to be.
#[derive(Debug, Default)]
pub(super) struct History {
    asked: Option<AgentId>,
    /// How many ends the one that was asked has told.
    told: usize,
    waiting: BTreeSet<AgentId>,
    /// Those who have told all: each does so once in a term.
    done: BTreeSet<AgentId>,
}

impl Core {
    /// An agent has registered that remembers this many ended tasks.
    pub(super) fn wants_history_of(&mut self, cx: &mut Cx<'_>, agent: AgentId, ends: u32) {
        if ends > 0 && !self.history.done.contains(&agent) {
            self.history.waiting.insert(agent);
            self.ask_for_history(cx);
        }
    }

    fn ask_for_history(&mut self, cx: &mut Cx<'_>) {
        while self.history.asked.is_none() {
            let Some(agent) = self.history.waiting.pop_first() else { return };
            let after = self.tasks.ended_full_after();
            let max = u32::try_from(self.config.ended_tasks_max).unwrap_or(u32::MAX);
            if self.tell_agent(cx, agent, ToAgent::TellEnds { after, max }) {
                self.history.asked = Some(agent);
                self.history.told = 0;
                let at = cx.now.mono.after(ANSWER_WITHIN);
                self.timers.set(Timer::HistoryOf(agent), at);
            }
        }
    }

    /// An agent tells what it was asked for.
    pub(super) fn on_ends(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        mut ends: Vec<TaskEnd>,
        more: bool,
    ) {
        let Some(agent) = self.registered_over(connection) else { return };
        if self.history.asked != Some(agent) {
            self.counters.dropped.add(DropReason::OutOfTurn);
            return;
        }
        ends.truncate(TASKS_PER_REPORT_MAX);
        // One that tells nothing and has more to tell has told all.
        let more = more && !ends.is_empty();
        self.history.told += ends.len();
        ends.retain(|end| end.state.is_terminal());
        let ends = ends.into_iter().map(|end| (agent, end)).collect();
        self.tasks.learn_ended(cx.now.wall, ends);
        if !more || self.history.told >= self.config.ended_tasks_max {
            self.history.done.insert(agent);
            self.history_concluded(cx, agent);
        }
    }

    /// The agent is waited for no longer: it has told all, is gone, or does not answer. When it
    /// registers again and has not told all, it is asked again.
    pub(super) fn history_concluded(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        self.history.waiting.remove(&agent);
        if self.history.asked == Some(agent) {
            self.timers.clear(Timer::HistoryOf(agent));
            self.history.asked = None;
            self.ask_for_history(cx);
        }
    }

    /// Nobody is asked who is not there.
    pub(super) fn check_history(&self) {
        for agent in self.history.waiting.iter().chain(&self.history.asked) {
            let link = self.agents.get(agent).map(|agent| agent.link);
            assert!(
                matches!(link, Some(Link::Online { .. })),
                "{agent} is asked for history and is {link:?}"
            );
        }
        if self.history.asked.is_none() {
            assert!(self.history.waiting.is_empty(), "somebody waits to be asked for history");
        }
    }
}
