//! What a task wrote, from any node.

use std::{io, path::PathBuf, time::Duration};

use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::{ContainerId, FrameworkId, NodeId, TaskId},
    task::{TaskDescription, TaskState},
};
use serde::Deserialize;

use super::{
    Api,
    call::{Answer, Call, Failure},
    query::encode,
    route::{Leading, LogRequest, TaskName},
    sandbox,
};
use crate::{config::print_duration, driver::agent::Sandboxes, group_executor, net::Target};

/// A task in its container.
struct Run {
    framework: FrameworkId,
    /// Whose sandbox it writes to: that of itself, or of its executor.
    writes_as: TaskId,
    /// Where in it.
    within: PathBuf,
    container: ContainerId,
    state: TaskState,
}

/// What the leader says of a task's place.
#[derive(Deserialize)]
pub(super) struct Place {
    framework_id: FrameworkId,
    node_id: NodeId,
    agent_address: Option<String>,
    /// An older leader does not say.
    #[serde(default)]
    node_connected: Option<bool>,
}

impl Api {
    pub(super) async fn answer_log(
        &self,
        request: &LogRequest,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let here = call.forwarded
            || request.node == Some(self.options.node)
            || (request.node.is_none() && self.run_of(&request.name).is_some());
        if here {
            return self.read_log(request).await;
        }
        if let Some(node) = request.node {
            let address = self.address_of_named(node, &request.name).await?;
            return self.log_of_node(node, address, call).await;
        }
        let place = self.place_of(&request.name).await?;
        let name = TaskName { framework: Some(place.framework_id), ..request.name.clone() };
        let request = LogRequest { name, ..request.clone() };
        if place.node_id == self.options.node {
            return self.read_log(&request).await;
        }
        let (id, address) = self.node_of(&place)?;
        let call = Call { path: path_of(&request), ..call.clone() };
        let heard = self.options.gossip.view().peers.get(&id).is_none_or(|peer| peer.alive);
        // Gossip alone is no authority, and this node's own connection is a better witness.
        if place.node_connected == Some(false) && !heard && !self.options.net.reaches(id) {
            return Err(advised(&format!("node {id} cannot be asked: nothing is heard of it")));
        }
        self.log_of_node(id, address, &call).await
    }

    /// The node that ran the task, and where it is.
    pub(super) fn node_of(&self, place: &Place) -> Result<(NodeId, String), Failure> {
        let id = place.node_id;
        let address = place.agent_address.clone().or_else(|| self.agent_address(id));
        let address = address.ok_or_else(|| {
            Failure::unavailable(format!("node {id}, which ran the task, is not known any more"))
        })?;
        Ok((id, address))
    }

    /// Asks the node that has the file.
    pub(super) async fn log_of_node(
        &self,
        node: NodeId,
        address: String,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let target = Target { node: Some(node), address };
        self.forward_to_node(&target, call).await.map_err(|why| advised(&why))
    }

    /// Where a node is that the caller names: gossip knows, or the leader, which the node may have
    /// registered with before gossip has told of it.
    pub(super) async fn address_of_named(
        &self,
        node: NodeId,
        task: &TaskName,
    ) -> Result<String, Failure> {
        if let Some(address) = self.agent_address(node) {
            return Ok(address);
        }
        let place = self.place_of(task).await?;
        place.agent_address.filter(|_| place.node_id == node).ok_or_else(|| {
            Failure::unavailable(format!(
                "where node {node} is cannot be said: neither gossip nor the leader knows it"
            ))
        })
    }

    pub(super) async fn place_of(&self, name: &TaskName) -> Result<Place, Failure> {
        let call = Call::read(task_path(name));
        let answer = self.answer_by_leader(&Leading::Task(name.clone()), &call).await?;
        if answer.status != 200 {
            #[derive(Deserialize)]
            struct Refused {
                error: String,
            }
            let refused = serde_json::from_slice(&answer.body);
            let error =
                refused.map_or_else(|error| error.to_string(), |refused: Refused| refused.error);
            return Err(match answer.status {
                400 => Failure::invalid(error),
                404 => Failure::not_found(error),
                _ => Failure::unavailable(error),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            Failure::unavailable(format!("the leader's answer cannot be read: {error}"))
        })
    }

    /// The run of a task that this node's agent still knows.
    fn run_of(&self, name: &TaskName) -> Option<Run> {
        let view = self.options.agent.view();
        let mut known = view.tasks.iter().map(|task| &task.record).filter(|record| {
            record.launch.description.task_id == name.task
                && name.framework.is_none_or(|framework| framework == record.framework)
        });
        let first = known.next()?;
        let another = known.next().is_some();
        (!another).then(|| Run {
            framework: first.framework,
            writes_as: writes_as(&first.launch.description),
            within: within(&first.launch.description),
            container: first.container.clone(),
            state: first.state,
        })
    }

    /// `host:port` of a node's QUIC port, as gossip has it.
    pub(super) fn agent_address(&self, node: NodeId) -> Option<String> {
        let view = self.options.gossip.view();
        view.peers.get(&node).map(|peer| peer.facts.address_quic.to_string())
    }

    async fn read_log(&self, request: &LogRequest) -> Result<Answer, Failure> {
        let known = self.run_of(&request.name);
        let sandboxes = self.options.agent.sandboxes().clone();
        let (node, request) = (self.options.node, request.clone());
        let read = move || read_here(&sandboxes, node, known.as_ref(), &request);
        match tokio::task::spawn_blocking(read).await {
            Ok(answered) => answered,
            Err(error) => Err(Failure::unavailable(format!("the file was not read: {error}"))),
        }
    }
}

/// The name of the sandbox that a task writes to. Ids of executors follow the rule of those of tasks.
fn writes_as(task: &TaskDescription) -> TaskId {
    let executor = task.executor_id().and_then(|executor| TaskId::new(executor.as_str()).ok());
    executor.unwrap_or_else(|| task.task_id.clone())
}

/// Where a task writes in the sandbox that it writes to: those of a group have directories of their own.
fn within(task: &TaskDescription) -> PathBuf {
    let in_the_box = |executor: &ExecutorInfo| executor.kind == ExecutorKind::Group;
    if task.executor.as_deref().is_some_and(in_the_box) {
        return group_executor::directory_of(&task.task_id);
    }
    PathBuf::new()
}

fn advised(why: &dyn std::fmt::Display) -> Failure {
    Failure::unavailable(format!(
        "{why}; what the task wrote lies there: try again when `meshos nodes` shows the node connected"
    ))
}

fn read_here(
    sandboxes: &Sandboxes,
    node: NodeId,
    known: Option<&Run>,
    request: &LogRequest,
) -> Result<Answer, Failure> {
    let task = &request.name.task;
    let failed = |error: io::Error| {
        Failure::unavailable(format!("the sandbox of task {task} cannot be read: {error}"))
    };
    let framework = match (known, request.name.framework) {
        (Some(run), _) => run.framework,
        (None, Some(framework)) => framework,
        (None, None) => {
            only_one(&sandbox::framework_of(sandboxes.root(), task).map_err(failed)?, request)?
        }
    };
    let container = known.map(|run| &run.container);
    let writes_as = known.map_or(task, |run| &run.writes_as);
    let mut found =
        sandbox::of_task(sandboxes.root(), framework, writes_as, container).map_err(failed)?;
    let mut within = known.map(|run| run.within.clone()).unwrap_or_default();
    if known.is_none() && found.is_none() {
        found = sandbox::of_member(sandboxes.root(), framework, task).map_err(failed)?;
        within = group_executor::directory_of(task);
    }
    // A live task may not have its sandbox yet.
    let is_live = known.is_some_and(|run| !run.state.is_terminal());
    let Some(sandbox) = found.filter(|path| is_live || path.is_dir()) else {
        return Err(gone(sandboxes, node, framework, task));
    };
    let file = within.join(request.file);
    match sandbox::read(&sandbox, &file, request.offset, request.length) {
        Ok(bytes) => Ok(Answer::bytes(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::not_found(format!(
            "task {task} of framework {framework} has no {} yet",
            request.file
        ))),
        Err(error) => Err(failed(error)),
    }
}

/// An ended task has no sandbox any more, and why.
fn gone(sandboxes: &Sandboxes, node: NodeId, framework: FrameworkId, task: &TaskId) -> Failure {
    let (rule, status) = (sandboxes.rule(), sandboxes.status());
    let headroom = f64::from(rule.headroom) / 1_000.0;
    let disk = f64::from(status.disk.used()) / 10.0;
    // Down to seconds, which is enough for people.
    let allowed = Duration::from_secs(status.allowed_age.as_secs());
    Failure::gone(format!(
        "task {task} of framework {framework} has no sandbox on node {node} any more: the sandboxes of ended tasks \
         are removed, {} after their end at the latest (--gc-delay) and sooner as the disk fills (--gc-disk-headroom \
         {headroom}); now that {disk} % of it is used, {} after",
        print_duration(rule.delay),
        print_duration(allowed),
    ))
}

fn only_one(frameworks: &[FrameworkId], request: &LogRequest) -> Result<FrameworkId, Failure> {
    let task = &request.name.task;
    match frameworks {
        [framework] => Ok(*framework),
        [] => Err(Failure::not_found(format!("this node has no sandbox of a task {task}"))),
        [..] => Err(Failure::invalid(format!(
            "several frameworks ran a task {task} here: name the framework"
        ))),
    }
}

fn task_path(name: &TaskName) -> String {
    let framework =
        name.framework.map_or_else(|| "-".to_owned(), |framework| framework.to_string());
    format!("/api/tasks/{framework}/{}", encode(name.task.as_str()))
}

fn path_of(request: &LogRequest) -> String {
    let LogRequest { name, file, offset, length, node: _ } = request;
    format!("{}/logs/{file}?offset={offset}&length={length}", task_path(name))
}

#[cfg(test)]
mod tests {
    use meshos_protocol::ids::TaskId;

    use super::*;
    use crate::api::route::Route;

    #[test]
    fn a_request_that_is_passed_on_is_read_back() {
        for (framework, task) in
            [(Some(FrameworkId(3)), "web 1/%?&".replace('/', "")), (None, "t".into())]
        {
            let request = LogRequest {
                name: TaskName { framework, task: TaskId::new(&task).unwrap() },
                file: "stderr",
                offset: 7,
                length: 9,
                node: None,
            };
            assert_eq!(Route::of("GET", &path_of(&request)), Ok(Route::Log(request)));
        }
    }
}
