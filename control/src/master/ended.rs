//! The newest ended tasks, for reads.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use meshos_protocol::{
    ids::{AgentId, FrameworkId, NodeId, TaskId},
    task::TaskEnd,
    time::Wall,
};

use super::{TaskView, tasks::TaskKey};

/// The date of a launch that nobody has told of.
const UNKNOWN: Wall = Wall(0);

/// Rows of tasks that have ended, oldest first; the oldest make room. Readers share them.
#[derive(Debug)]
pub(super) struct EndedTasks {
    rows: Arc<VecDeque<Arc<TaskView>>>,
    max: usize,
}

impl EndedTasks {
    pub(super) fn new(max: usize) -> Self {
        Self { rows: Arc::default(), max }
    }

    pub(super) fn picture(&self) -> Arc<VecDeque<Arc<TaskView>>> {
        Arc::clone(&self.rows)
    }

    /// Adds the end of a task that was just seen.
    pub(super) fn push(&mut self, row: TaskView) {
        let rows = Arc::make_mut(&mut self.rows);
        rows.push_back(Arc::new(row));
        while rows.len() > self.max {
            rows.pop_front();
        }
    }

    /// Adds the end of a task that an agent reports, unless it is here: an agent that crashed before it
    /// could forget the task tells of it once more.
    pub(super) fn push_reported(&mut self, row: TaskView) {
        let life = Life {
            agent: row.agent_id,
            launched_at: row.launched_at.unwrap_or(row.changed_at),
            started_at: row.started_at,
            ended_at: row.changed_at,
        };
        let is_known = self.rows.iter().any(|known| {
            known.id == row.id
                && known.framework_id == row.framework_id
                && known.node_id == row.node_id
                && life.is_that_of(known)
        });
        if !is_known {
            self.push(row);
        }
    }

    /// Replaces the newest row of a task.
    pub(super) fn replace(&mut self, key: &TaskKey, row: TaskView) {
        if let Some(place) = self.place_of(key) {
            Arc::make_mut(&mut self.rows)[place] = Arc::new(row);
        }
    }

    /// The newest row of a task, as others may remember it.
    pub(super) fn end_of(&self, key: &TaskKey) -> Option<TaskEnd> {
        Some(end_of_row(self.rows.get(self.place_of(key)?)?))
    }

    /// Whoever asks has mostly just seen the end, so the newest rows are looked at first.
    fn place_of(&self, key: &TaskKey) -> Option<usize> {
        self.rows.iter().rposition(|row| {
            row.framework_id == key.framework && row.agent_id == key.agent && row.id == key.task
        })
    }

    /// When the oldest row ended, once there is no more room: what ended before it is not wanted.
    pub(super) fn full_after(&self) -> Option<Wall> {
        let oldest = self.rows.iter().map(|row| row.changed_at).min();
        oldest.filter(|_| self.rows.len() >= self.max)
    }

    /// Adds what others remember of tasks on these agents. A task whose end is here already stays as it
    /// is: frameworks were told of that one. Nothing has ended later than `now`: an agent whose clock
    /// is ahead would keep all places for ever.
    pub(super) fn learn(&mut self, now: Wall, ends: Vec<(AgentId, TaskEnd)>) {
        let mut known: BTreeMap<(FrameworkId, NodeId, &TaskId), Vec<&TaskView>> = BTreeMap::new();
        for row in self.rows.iter() {
            let name = (row.framework_id, row.node_id, &row.id);
            known.entry(name).or_default().push(row);
        }
        let is_new = |(agent, end): &(AgentId, TaskEnd)| {
            let rows = known.get(&(end.framework, agent.node, &end.task));
            !rows.is_some_and(|rows| rows.iter().any(|row| Life::of(*agent, end).is_that_of(row)))
        };
        let learnt: Vec<Arc<TaskView>> = ends
            .into_iter()
            .filter(is_new)
            .map(|(agent, end)| row_of(agent, end))
            .map(|row| Arc::new(not_later(row, now)))
            .collect();
        let mut rows: Vec<Arc<TaskView>> = self.rows.iter().cloned().chain(learnt).collect();
        rows.sort_by_key(|row| row.changed_at);
        rows.drain(..rows.len().saturating_sub(self.max));
        self.rows = Arc::new(rows.into());
    }
}

/// When a task was there, in somebody's words.
struct Life {
    agent: AgentId,
    launched_at: Wall,
    started_at: Option<Wall>,
    ended_at: Wall,
}

impl Life {
    fn of(teller: AgentId, end: &TaskEnd) -> Self {
        let TaskEnd { launched_at, started_at, ended_at, .. } = *end;
        Self { agent: agent_of(teller, end), launched_at, started_at, ended_at }
    }

    /// Whether a row of the same task tells of the same end, and not of that of an earlier or later
    /// task under the same id: either a date in it came from the agent's own words, or their times
    /// overlap, when the master had dated the end by its own clock or told another.
    fn is_that_of(&self, row: &TaskView) -> bool {
        let told_before = row.launched_at == Some(self.launched_at)
            || row.changed_at == self.ended_at
            || row.ended_told == Some(self.ended_at)
            || row.started_at.is_some_and(|at| Some(at) == self.started_at);
        // As it was told, should it have been moved to before the clock of a later leader.
        let row_ended = row.ended_told.unwrap_or(row.changed_at);
        let overlap = self.launched_at < row_ended
            && row.launched_at.is_none_or(|launched| launched < self.ended_at);
        // An end that the master inferred, of a launch that nobody has dated: its clock alone has dated it, and may have
        // been wrong by any time.
        let undated = row.launched_at.is_none() && row.agent_id == self.agent;
        told_before || overlap || undated
    }
}

/// An agent speaks of its own node only; its id there may have been another.
fn agent_of(teller: AgentId, end: &TaskEnd) -> AgentId {
    end.agent.filter(|id| id.node == teller.node).unwrap_or(teller)
}

fn row_of(agent: AgentId, end: TaskEnd) -> TaskView {
    let agent_id = agent_of(agent, &end);
    TaskView {
        id: end.task,
        framework_id: end.framework,
        agent_id,
        node_id: agent_id.node,
        name: end.name,
        role: end.role,
        resources: end.resources,
        extras: None,
        state: end.state,
        reason: end.reason,
        message: end.message.into(),
        exit: end.exit,
        healthy: None,
        check_status: None,
        launched_at: Some(end.launched_at).filter(|at| *at != UNKNOWN),
        launched_here: false,
        started_at: end.started_at,
        changed_at: end.ended_at,
        ended_told: None,
    }
}

fn end_of_row(row: &TaskView) -> TaskEnd {
    TaskEnd {
        framework: row.framework_id,
        task: row.id.clone(),
        agent: Some(row.agent_id),
        name: row.name.clone(),
        role: row.role.clone(),
        resources: row.resources.clone(),
        state: row.state,
        reason: row.reason,
        message: row.message.to_string(),
        exit: row.exit.clone(),
        launched_at: row.launched_at.unwrap_or(UNKNOWN),
        started_at: row.started_at,
        ended_at: row.ended_told.unwrap_or(row.changed_at),
    }
}

/// The row as if its end were not after `now`; what was told of it stays known.
fn not_later(row: TaskView, now: Wall) -> TaskView {
    if row.changed_at <= now {
        return row;
    }
    TaskView { changed_at: now, ended_told: Some(row.changed_at), ..row }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::task::TaskState;

    use super::*;

    const AGENT: AgentId = AgentId::new(NodeId::from_bits(7), 2);

    fn end(task: &str, at: u64) -> TaskEnd {
        TaskEnd {
            framework: FrameworkId(1),
            task: TaskId::new(task).unwrap(),
            agent: None,
            name: String::new(),
            role: Default::default(),
            resources: "cpus:1".parse().unwrap(),
            state: TaskState::Finished,
            reason: None,
            message: "as its agent remembers it".to_owned(),
            exit: None,
            launched_at: Wall(1),
            started_at: None,
            ended_at: Wall(at),
        }
    }

    fn of_agent(ends: Vec<TaskEnd>) -> Vec<(AgentId, TaskEnd)> {
        ends.into_iter().map(|end| (AGENT, end)).collect()
    }

    fn names(ended: &EndedTasks) -> Vec<String> {
        ended.picture().iter().map(|row| row.id.to_string()).collect()
    }

    #[test]
    fn what_agents_remember_takes_its_place_by_time_and_only_once() {
        let mut ended = EndedTasks::new(4);
        let mut seen = row_of(AGENT, end("c", 30));
        seen.message = "as it was seen".into();
        ended.push(seen);
        assert_eq!(ended.full_after(), None);
        ended.learn(Wall(1_000), of_agent(vec![end("d", 40), end("c", 30), end("a", 10)]));
        assert_eq!(names(&ended), ["a", "c", "d"]);
        assert_eq!(&*ended.picture()[1].message, "as it was seen");
        let again = TaskEnd { launched_at: Wall(31), ..end("c", 50) };
        ended.learn(Wall(1_000), of_agent(vec![again, end("b", 20)]));
        assert_eq!(names(&ended), ["b", "c", "d", "c"], "the oldest makes room");
        assert_eq!(ended.full_after(), Some(Wall(20)));
    }

    #[test]
    fn an_agent_whose_clock_is_ahead_keeps_no_place_for_ever() {
        let mut ended = EndedTasks::new(2);
        let ahead = || TaskEnd { launched_at: Wall(8_000), ..end("a", 9_000) };
        ended.learn(Wall(50), of_agent(vec![ahead()]));
        assert_eq!(ended.picture()[0].changed_at, Wall(50));
        ended.learn(Wall(60), of_agent(vec![ahead()]));
        assert_eq!(names(&ended), ["a"], "told before");
        ended.learn(Wall(90), of_agent(vec![end("b", 70), end("c", 80)]));
        assert_eq!(names(&ended), ["b", "c"]);
    }

    #[test]
    fn an_end_that_was_moved_because_a_clock_went_back_is_not_told_twice() {
        let mut ended = EndedTasks::new(4);
        // The earlier leader's dates, taken over by one whose clock is behind them all.
        let by_leader = TaskEnd { launched_at: Wall(100), ..end("a", 120) };
        ended.learn(Wall(50), of_agent(vec![by_leader]));
        let by_agent = TaskEnd { launched_at: Wall(102), ..end("a", 115) };
        ended.learn(Wall(60), of_agent(vec![by_agent]));
        assert_eq!(names(&ended), ["a"]);
    }

    #[test]
    fn an_end_that_a_wrong_clock_dated_and_a_launch_that_nobody_did_are_known_by_name() {
        let mut ended = EndedTasks::new(4);
        let mut gone = row_of(AGENT, TaskEnd { launched_at: Wall(0), ..end("a", 5) });
        gone.state = TaskState::GoneByOperator;
        ended.push(gone);
        let later = |agent| vec![(agent, TaskEnd { launched_at: Wall(40), ..end("a", 60) })];
        ended.learn(Wall(1_000), later(AGENT));
        assert_eq!(names(&ended), ["a"]);
        ended.learn(Wall(1_000), later(AgentId::new(AGENT.node, 3)));
        assert_eq!(names(&ended), ["a", "a"], "the node was admitted again since");
    }

    #[test]
    fn an_end_that_the_master_told_otherwise_is_not_told_twice() {
        let mut ended = EndedTasks::new(4);
        let mut gone = row_of(AgentId::new(AGENT.node, 1), end("a", 70));
        gone.state = TaskState::GoneByOperator;
        ended.push(gone);
        let before = TaskEnd { launched_at: Wall(0), ..end("a", 0) };
        ended.learn(Wall(1_000), of_agent(vec![end("a", 60), before]));
        let states: Vec<_> = ended.picture().iter().map(|row| row.state).collect();
        assert_eq!(states, [TaskState::Finished, TaskState::GoneByOperator]);
    }

    #[test]
    fn an_end_that_is_reported_once_more_is_shown_once() {
        let mut ended = EndedTasks::new(4);
        ended.push(row_of(AGENT, end("a", 20)));
        ended.push_reported(row_of(AGENT, end("a", 20)));
        assert_eq!(names(&ended), ["a"]);
        let again = TaskEnd { launched_at: Wall(21), ..end("a", 30) };
        ended.push_reported(row_of(AGENT, again));
        assert_eq!(names(&ended), ["a", "a"], "another task under the same id");
    }

    #[test]
    fn an_agent_speaks_of_its_own_node() {
        let earlier = AgentId::new(AGENT.node, 1);
        let foreign = AgentId::new(NodeId::from_bits(8), 1);
        let of = |agent| row_of(AGENT, TaskEnd { agent, ..end("a", 1) }).agent_id;
        assert_eq!(of(Some(earlier)), earlier);
        assert_eq!(of(Some(foreign)), AGENT);
        assert_eq!(of(None), AGENT);
    }
}
