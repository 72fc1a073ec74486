//! This node's agent, as it sees itself.

use meshos_control::agent::{Counters, TaskView, View};
use meshos_protocol::{
    ids::{AgentId, ClusterId, ContainerId, Fence, FrameworkId, NodeId, TaskId},
    shown::exit_as_map,
    task::{Exit, TaskState},
    time::Wall,
};
use serde::Serialize;

use super::{
    Api,
    call::{Answer, Failure},
};

#[derive(Debug, Serialize)]
struct AgentRow<'a> {
    node_id: NodeId,
    agent_id: Option<AgentId>,
    /// The cluster that the node belongs to, once it knows.
    cluster_id: Option<ClusterId>,
    /// The leader that it obeys.
    fence: Option<Fence>,
    registered: bool,
    stopping: bool,
    storage_failure: Option<&'a str>,
    resources: String,
    used: String,
    attributes: String,
    tasks: Vec<AgentTaskRow<'a>>,
    counters: Counters,
}

#[derive(Debug, Serialize)]
struct AgentTaskRow<'a> {
    id: &'a TaskId,
    framework_id: FrameworkId,
    container_id: &'a ContainerId,
    state: TaskState,
    pid: Option<u32>,
    resources: String,
    launched_at: Wall,
    #[serde(serialize_with = "exit_as_map")]
    exit: Option<Exit>,
    /// Updates that its framework has not acknowledged.
    unacknowledged: usize,
}

impl Api {
    pub(super) fn agent_state(&self) -> Result<Answer, Failure> {
        let cluster = *self.options.registry.cluster().borrow();
        Answer::json(&row(&self.options.agent.view(), cluster))
    }
}

fn row(view: &View, cluster_id: Option<ClusterId>) -> AgentRow<'_> {
    AgentRow {
        node_id: view.node,
        agent_id: view.agent,
        cluster_id,
        fence: view.fence,
        registered: view.registered,
        stopping: view.stopping,
        storage_failure: view.storage_failure.as_deref(),
        resources: view.resources.to_string(),
        used: view.used.to_string(),
        attributes: view.attributes.to_string(),
        tasks: view.tasks.iter().map(task_row).collect(),
        counters: view.counters,
    }
}

fn task_row(task: &TaskView) -> AgentTaskRow<'_> {
    let record = &task.record;
    AgentTaskRow {
        id: &record.launch.description.task_id,
        framework_id: record.framework,
        container_id: &record.container,
        state: record.state,
        pid: task.pid,
        resources: record.launch.description.resources.to_string(),
        launched_at: record.launched_at,
        exit: record.exit.clone(),
        unacknowledged: record.unacknowledged.len(),
    }
}
