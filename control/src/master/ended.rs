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
        let times = (row.launched_at.unwrap_or(row.changed_at), row.changed_at);
        let is_known = self.rows.iter().any(|known| {
            known.id == row.id
                && known.framework_id == row.framework_id
                && known.node_id == row.node_id
                && is_same_life(known, times)
        });
        if !is_known {
            self.push(row);
        }
    }

    /// Replaces the newest row of a task.
    pub(super) fn replace(&mut self, key: &TaskKey, row: TaskView) {
        let is_it = |row: &Arc<TaskView>| {
            row.framework_id == key.framework && row.agent_id == key.agent && row.id == key.task
        };
        if let Some(place) = self.rows.iter().rposition(is_it) {
            Arc::make_mut(&mut self.rows)[place] = Arc::new(row);
        }
    }

    /// When the oldest row ended, once there is no more room: what ended before it is not wanted.
    pub(super) fn full_after(&self) -> Option<Wall> {
        let oldest = self.rows.iter().map(|row| row.changed_at).min();
        oldest.filter(|_| self.rows.len() >= self.max)
    }

    /// Adds what an agent remembers. A task whose end is here already stays as it is: frameworks were
    /// told of that one. Nothing has ended later than `now`: an agent whose clock is ahead would keep
    /// all places for ever.
    pub(super) fn learn(&mut self, now: Wall, agent: AgentId, ends: Vec<TaskEnd>) {
        let mut known: BTreeMap<(FrameworkId, NodeId, &TaskId), Vec<&TaskView>> = BTreeMap::new();
        for row in self.rows.iter() {
            let name = (row.framework_id, row.node_id, &row.id);
            known.entry(name).or_default().push(row);
        }
        let is_new = |end: &TaskEnd| {
            let rows = known.get(&(end.framework, agent.node, &end.task));
            !rows.is_some_and(|rows| {
                rows.iter().any(|row| is_same_life(row, (end.launched_at, end.ended_at)))
            })
        };
        let learnt: Vec<Arc<TaskView>> = ends
            .into_iter()
            .filter(is_new)
            .map(|end| row_of(agent, end))
            .map(|row| Arc::new(TaskView { changed_at: row.changed_at.min(now), ..row }))
            .collect();
        let mut rows: Vec<Arc<TaskView>> = self.rows.iter().cloned().chain(learnt).collect();
        rows.sort_by_key(|row| row.changed_at);
        rows.drain(..rows.len().saturating_sub(self.max));
        self.rows = Arc::new(rows.into());
    }
}

/// Whether a row of the same task tells of the same end, and not of that of an earlier or later task
/// under the same id: either the row came from the agent's own words, or their times overlap, when the
/// master had dated the end by its own clock or told another.
fn is_same_life(row: &TaskView, (launched_at, ended_at): (Wall, Wall)) -> bool {
    let told_before = row.launched_at == Some(launched_at) || row.changed_at == ended_at;
    let overlap =
        launched_at < row.changed_at && row.launched_at.is_none_or(|launched| launched < ended_at);
    told_before || overlap
}

fn row_of(agent: AgentId, end: TaskEnd) -> TaskView {
    // An agent speaks of its own node only; its id there may have been another.
    let agent_id = end.agent.filter(|id| id.node == agent.node).unwrap_or(agent);
    TaskView {
        id: end.task,
        framework_id: end.framework,
        agent_id,
        node_id: agent_id.node,
        name: end.name,
        role: end.role,
        resources: end.resources,
        state: end.state,
        reason: end.reason,
        message: end.message.into(),
        exit: end.exit,
        launched_at: Some(end.launched_at),
        launched_here: false,
        started_at: end.started_at,
        changed_at: end.ended_at,
    }
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
        ended.learn(Wall(1_000), AGENT, vec![end("d", 40), end("c", 30), end("a", 10)]);
        assert_eq!(names(&ended), ["a", "c", "d"]);
        assert_eq!(&*ended.picture()[1].message, "as it was seen");
        let again = TaskEnd { launched_at: Wall(31), ..end("c", 50) };
        ended.learn(Wall(1_000), AGENT, vec![again, end("b", 20)]);
        assert_eq!(names(&ended), ["b", "c", "d", "c"], "the oldest makes room");
        assert_eq!(ended.full_after(), Some(Wall(20)));
    }

    #[test]
    fn an_agent_whose_clock_is_ahead_keeps_no_place_for_ever() {
        let mut ended = EndedTasks::new(2);
        let ahead = || TaskEnd { launched_at: Wall(8_000), ..end("a", 9_000) };
        ended.learn(Wall(50), AGENT, vec![ahead()]);
        assert_eq!(ended.picture()[0].changed_at, Wall(50));
        ended.learn(Wall(60), AGENT, vec![ahead()]);
        assert_eq!(names(&ended), ["a"], "told before");
        ended.learn(Wall(90), AGENT, vec![end("b", 70), end("c", 80)]);
        assert_eq!(names(&ended), ["b", "c"]);
    }

    #[test]
    fn an_end_that_the_master_told_otherwise_is_not_told_twice() {
        let mut ended = EndedTasks::new(4);
        let mut gone = row_of(AgentId::new(AGENT.node, 1), end("a", 70));
        gone.state = TaskState::GoneByOperator;
        ended.push(gone);
        let before = TaskEnd { launched_at: Wall(0), ..end("a", 0) };
        ended.learn(Wall(1_000), AGENT, vec![end("a", 60), before]);
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
