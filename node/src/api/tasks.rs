//! Tasks as the leader has them.

use std::sync::Arc;

use meshos_control::master::{AgentView, TaskView};
use serde::Serialize;

use super::{
    call::Failure,
    route::{TaskFilter, TaskName},
};

/// The tasks that pass the filter: live ones in the order of framework and id, then those that
/// ended, oldest first.
pub(super) fn rows<'a>(
    live: impl Iterator<Item = &'a Arc<TaskView>>,
    ended: impl Iterator<Item = &'a Arc<TaskView>>,
    filter: &TaskFilter,
) -> Vec<Arc<TaskView>> {
    let passes = |task: &&Arc<TaskView>| {
        filter.framework.is_none_or(|framework| framework == task.framework_id)
            && filter.node.is_none_or(|node| node == task.node_id)
            && filter.state.is_none_or(|state| state == task.state)
    };
    let mut live: Vec<&Arc<TaskView>> = live.filter(passes).collect();
    live.sort_unstable_by(|one, other| {
        (one.framework_id, &one.id).cmp(&(other.framework_id, &other.id))
    });
    let limit = filter.limit.unwrap_or(usize::MAX);
    live.into_iter().chain(ended.filter(passes)).skip(filter.offset).take(limit).cloned().collect()
}

/// The task of that name: a live one, else the newest that has ended.
pub(super) fn find<'a>(
    live: impl Iterator<Item = &'a Arc<TaskView>>,
    ended: impl DoubleEndedIterator<Item = &'a Arc<TaskView>>,
    name: &TaskName,
) -> Result<&'a TaskView, Failure> {
    let named = |task: &&Arc<TaskView>| {
        task.id == name.task
            && name.framework.is_none_or(|framework| framework == task.framework_id)
    };
    let mut found: Option<&TaskView> = None;
    for task in live.filter(named).chain(ended.rev().filter(named)) {
        match found {
            None => found = Some(task),
            Some(first) if first.framework_id == task.framework_id => {}
            Some(first) => {
                return Err(Failure::invalid(format!(
                    "task {} is not the only one of that id: frameworks {} and {} have one each; name the framework",
                    name.task, first.framework_id, task.framework_id
                )));
            }
        }
    }
    found.ok_or_else(|| {
        let of = name.framework.map(|framework| format!(" of framework {framework}"));
        Failure::not_found(format!(
            "the leader knows no task {}{}; `meshos tasks` lists those that it knows",
            name.task,
            of.unwrap_or_default()
        ))
    })
}

/// A task and where its node is.
#[derive(Debug, Serialize)]
pub(super) struct Located<'a> {
    #[serde(flatten)]
    task: &'a TaskView,
    /// `host:port` of the node's agent port; absent when the node is not known any more.
    agent_address: Option<&'a str>,
    /// Whether the node's agent is connected.
    node_connected: bool,
}

/// Adds the address of the task's node.
pub(super) fn located<'a>(task: &'a TaskView, agent: Option<&'a AgentView>) -> Located<'a> {
    let address = agent.map(|agent| agent.agent_address.as_str());
    let agent_address = address.filter(|address| !address.is_empty());
    Located { task, agent_address, node_connected: agent.is_some_and(|agent| agent.connected) }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::{
        ids::{AgentId, FrameworkId, NodeId, TaskId},
        task::{Exit, Reason, TaskState},
        time::Wall,
    };

    use super::*;
    use crate::api::Answer;

    fn task(framework: u64, id: &str, state: TaskState) -> Arc<TaskView> {
        let node_id = NodeId::from_bits(framework);
        Arc::new(TaskView {
            id: TaskId::new(id).unwrap(),
            framework_id: FrameworkId(framework),
            agent_id: AgentId::new(node_id, 1),
            node_id,
            name: String::new(),
            role: Default::default(),
            resources: "cpus:1".parse().unwrap(),
            extras: None,
            state,
            reason: state.is_terminal().then_some(Reason::CommandFailed),
            message: "".into(),
            exit: None,
            healthy: None,
            check_status: None,
            launched_at: None,
            launched_here: false,
            started_at: None,
            changed_at: Wall(0),
            ended_told: None,
        })
    }

    fn ids(rows: &[Arc<TaskView>]) -> Vec<&str> {
        rows.iter().map(|row| row.id.as_str()).collect()
    }

    #[test]
    fn live_tasks_come_sorted_and_before_those_that_ended() {
        let live = [
            task(2, "a", TaskState::Running),
            task(1, "b", TaskState::Staging),
            task(1, "a", TaskState::Running),
        ];
        let ended = [task(1, "z", TaskState::Failed), task(1, "y", TaskState::Finished)];
        let all = |filter: &TaskFilter| rows(live.iter(), ended.iter(), filter);
        assert_eq!(ids(&all(&TaskFilter::default())), ["a", "b", "a", "z", "y"]);
        let page = TaskFilter { offset: 1, limit: Some(3), ..TaskFilter::default() };
        assert_eq!(ids(&all(&page)), ["b", "a", "z"]);
        let running = TaskFilter { state: Some(TaskState::Running), ..TaskFilter::default() };
        assert_eq!(all(&running).len(), 2);
        let second = TaskFilter { framework: Some(FrameworkId(2)), ..TaskFilter::default() };
        assert_eq!(ids(&all(&second)), ["a"]);
        let node = TaskFilter {
            node: Some(NodeId::from_bits(1)),
            limit: Some(2),
            ..TaskFilter::default()
        };
        assert_eq!(ids(&all(&node)), ["a", "b"]);
        let beyond = TaskFilter { offset: 9, ..TaskFilter::default() };
        assert!(all(&beyond).is_empty());
    }

    #[test]
    fn a_task_alone_is_enough_when_it_is_the_only_one() {
        let live = [task(1, "one", TaskState::Running), task(1, "both", TaskState::Running)];
        let ended = [
            task(1, "one", TaskState::Killed),
            task(2, "both", TaskState::Failed),
            task(3, "old", TaskState::Failed),
            task(3, "old", TaskState::Finished),
        ];
        let look = |framework: Option<u64>, id: &str| {
            let name =
                TaskName { framework: framework.map(FrameworkId), task: TaskId::new(id).unwrap() };
            find(live.iter(), ended.iter(), &name)
        };
        assert_eq!(look(None, "one").unwrap().state, TaskState::Running);
        assert_eq!(look(None, "old").unwrap().state, TaskState::Finished);
        assert_eq!(look(Some(2), "both").unwrap().state, TaskState::Failed);
        assert_eq!(Answer::from(look(None, "both").unwrap_err()).status, 400);
        assert_eq!(Answer::from(look(Some(2), "one").unwrap_err()).status, 404);
    }

    #[test]
    fn a_task_is_one_flat_object_with_what_scripts_rely_on() {
        let ended = Arc::new(TaskView {
            exit: Some(Exit::Signal { signal: 9 }),
            ..TaskView::clone(&task(5, "t", TaskState::Failed))
        });
        let row = serde_json::to_value(located(&ended, None)).unwrap();
        assert_eq!(row["id"], "t");
        assert_eq!(row["framework_id"], "F5");
        assert_eq!(row["node_id"], NodeId::from_bits(5).to_string());
        assert_eq!(row["state"], "failed");
        assert_eq!(row["reason"], "command_failed");
        assert_eq!(row["exit"], serde_json::json!({ "signal": 9 }));
        assert_eq!(row["agent_address"], serde_json::Value::Null);
    }
}
