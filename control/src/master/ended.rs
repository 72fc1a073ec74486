//! The newest ended tasks, for reads.

use std::{collections::VecDeque, sync::Arc};

use meshos_protocol::{ids::AgentId, task::TaskEnd, time::Wall};

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

    /// Adds what an agent remembers. A task whose end is here already stays as it is.
    pub(super) fn learn(&mut self, agent: AgentId, ends: Vec<TaskEnd>) {
        let learnt = ends.into_iter().map(|end| Arc::new(row_of(agent, end)));
        let mut rows: Vec<Arc<TaskView>> = self.rows.iter().cloned().chain(learnt).collect();
        // The sort is stable, so that of two rows of one end the first is the one from before.
        rows.sort_by(|one, other| place(one).cmp(&place(other)));
        rows.dedup_by(|later, earlier| place(later) == place(earlier));
        rows.drain(..rows.len().saturating_sub(self.max));
        self.rows = Arc::new(rows.into());
    }
}

/// By time; and what tells one end from another, since a task's id may have been used again.
fn place(row: &TaskView) -> impl Ord + '_ {
    (row.changed_at, row.framework_id, row.agent_id, &row.id)
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
        started_at: end.started_at,
        changed_at: end.ended_at,
    }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::{
        ids::{FrameworkId, NodeId, TaskId},
        task::TaskState,
    };

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
        ended.learn(AGENT, vec![end("d", 40), end("c", 30), end("a", 10)]);
        assert_eq!(names(&ended), ["a", "c", "d"]);
        assert_eq!(&*ended.picture()[1].message, "as it was seen");
        ended.learn(AGENT, vec![end("c", 50), end("b", 20)]);
        assert_eq!(names(&ended), ["b", "c", "d", "c"], "the oldest makes room");
        assert_eq!(ended.full_after(), Some(Wall(20)));
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
