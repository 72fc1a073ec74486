//! Executors: their descriptions, and what passes between them and their agents.

use std::collections::BTreeSet;

use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    framework::FrameworkInfo,
    ids::{AgentId, ClusterId, ExecutorId, FrameworkId},
    messages::executor::ExecutorStatus,
    role::Role,
    task::{Reason, STATUS_DATA_BYTES_MAX, TaskDescription, TaskState},
    time::Wall,
};

use super::{check, ids, labels, labels_of, number, resource, status, task};
use crate::{
    reads::{capabilities, name_of},
    schema::{self, ExecutorInfoType},
};

/// The latest moment that a status may name: some eighty thousand years from now.
const MOMENT_MAX_MS: u64 = 1 << 51;

/// Reads the description of a custom executor whose tasks are launched on offers for these roles.
///
/// # Errors
/// When it is not valid, or asks for what this release cannot do: the sentence names it.
pub fn read(info: &schema::ExecutorInfo, roles: &BTreeSet<Role>) -> Result<ExecutorInfo, String> {
    let kind = info.r#type.map_or(Ok(ExecutorInfoType::Custom), ExecutorInfoType::try_from);
    match kind {
        Ok(ExecutorInfoType::Custom) => {}
        Ok(ExecutorInfoType::Default) => {
            return Err("Tasks of a 'DEFAULT' executor are launched by LAUNCH_GROUP".to_owned());
        }
        Ok(ExecutorInfoType::Unknown) | Err(_) => return Err("Unknown executor type".to_owned()),
    }
    let command = info.command.as_ref();
    let command = command
        .ok_or_else(|| "'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned())?;
    if let Some(container) = &info.container {
        task::refuse_container("Executor", container)?;
    }
    let grace = info.shutdown_grace_period.as_ref();
    let id = info.executor_id.as_ref().map(|id| id.value()).unwrap_or_default();
    Ok(ExecutorInfo {
        id: ExecutorId::new(id).map_err(|error| error.to_string())?,
        name: info.name().to_owned(),
        kind: ExecutorKind::Custom,
        source: info.source().to_owned(),
        resources: resource::read_all(&info.resources, roles)?,
        command: task::read_command(command)?,
        data: info.data().to_vec(),
        shutdown_grace_ms: task::milliseconds(grace, "ExecutorInfo's 'shutdown_grace_period'")?,
        labels: labels(info.labels.as_ref()),
    })
}

/// Whose executor it is, and where it runs.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its framework.
    pub framework: FrameworkId,
    /// What the framework says of itself, as far as that is known.
    pub framework_info: Option<FrameworkInfo>,
    /// Its agent, when that is admitted.
    pub agent: Option<AgentId>,
}

impl Surroundings {
    fn framework_id(&self) -> schema::FrameworkId {
        ids::framework(self.cluster, self.framework)
    }

    /// Which role resources are allocated to, when there is no choice.
    fn only_role(&self) -> Option<&Role> {
        let mut roles = self.framework_info.iter().flat_map(|info| &info.roles);
        roles.next().filter(|_| roles.next().is_none())
    }

    fn resources(
        &self,
        resources: &meshos_protocol::resources::Resources,
    ) -> Vec<schema::Resource> {
        let info = self.framework_info.as_ref();
        let refined = info.is_some_and(|info| info.capabilities.reservation_refinement);
        match self.only_role() {
            Some(role) => resource::write_all(resources, role, refined),
            None => resources.iter().map(resource::write_plain).collect(),
        }
    }

    /// The description of an executor, as its framework gave it.
    #[must_use]
    pub fn write_executor(&self, info: &ExecutorInfo) -> schema::ExecutorInfo {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        schema::ExecutorInfo {
            framework_id: Some(self.framework_id()),
            command: Some(task::write_command(&info.command)),
            resources: self.resources(&info.resources),
            name: text(&info.name),
            source: text(&info.source),
            data: (!info.data.is_empty()).then(|| info.data.clone()),
            shutdown_grace_period: info.shutdown_grace_ms.map(task::duration),
            labels: labels_of(&info.labels),
            ..named(&info.id)
        }
    }

    /// What the framework says of itself; of one that is not known, that it is called so.
    #[must_use]
    pub fn write_framework(&self) -> schema::FrameworkInfo {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let known = schema::FrameworkInfo {
            id: Some(self.framework_id()),
            // Tasks outlive their agent's process.
            checkpoint: Some(true),
            user: Some(String::new()),
            name: Some(String::new()),
            ..schema::FrameworkInfo::default()
        };
        let Some(info) = &self.framework_info else { return known };
        let capability = |it: schema::FrameworkInfoCapabilityType| {
            schema::FrameworkInfoCapability { r#type: Some(it.into()) }
        };
        schema::FrameworkInfo {
            user: Some(info.user.clone()),
            name: Some(info.name.clone()),
            failover_timeout: Some(number::seconds(info.failover_timeout_ms)),
            roles: info.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            hostname: text(&info.hostname),
            webui_url: text(&info.webui_url),
            capabilities: capabilities(info.capabilities).into_iter().map(capability).collect(),
            labels: labels_of(&info.labels),
            ..known
        }
    }

    /// A task that is handed over to this executor.
    #[must_use]
    pub fn write_task(
        &self,
        executor: Option<&ExecutorId>,
        task: &TaskDescription,
    ) -> schema::TaskInfo {
        let grace_ms = task.kill_grace_ms;
        let policy = |ms| schema::KillPolicy { grace_period: Some(task::duration(ms)) };
        // The executor knows what else there is to be known of it since it subscribed.
        let own = executor.map(|id| {
            Box::new(schema::ExecutorInfo { framework_id: Some(self.framework_id()), ..named(id) })
        });
        schema::TaskInfo {
            name: Some(task.name.clone()),
            task_id: Some(schema::TaskId { value: Some(task.task_id.as_str().to_owned()) }),
            agent_id: Some(self.agent_id()),
            resources: self.resources(&task.resources),
            executor: own,
            data: (!task.data.is_empty()).then(|| task.data.clone()),
            kill_policy: grace_ms.map(policy),
            max_completion_time: task.max_completion_ms.map(task::duration),
            health_check: task.health_check.as_deref().map(|it| Box::new(check::write_health(it))),
            check: task.check.as_deref().map(|it| Box::new(check::write(it))),
            labels: labels_of(&task.labels),
            ..schema::TaskInfo::default()
        }
    }

    /// The agent; without a name before it is admitted.
    #[must_use]
    pub fn agent_id(&self) -> schema::AgentId {
        let named = self.agent.map(|agent| ids::agent(self.cluster, agent));
        named.unwrap_or_else(|| schema::AgentId { value: Some(String::new()) })
    }
}

fn named(id: &ExecutorId) -> schema::ExecutorInfo {
    schema::ExecutorInfo {
        r#type: Some(ExecutorInfoType::Custom.into()),
        executor_id: Some(schema::ExecutorId { value: Some(id.as_str().to_owned()) }),
        ..schema::ExecutorInfo::default()
    }
}

/// Reads what an executor tells of one of its tasks.
///
/// # Errors
/// When executors do not tell that, or it is too much.
pub fn read_status(told: &schema::TaskStatus) -> Result<ExecutorStatus, String> {
    let state = schema::TaskState::try_from(told.state.unwrap_or(-1));
    let state = state.map_err(|_| "The state of the status is not known".to_owned())?;
    let update = ids::read_update(told.uuid());
    let data = told.data();
    if data.len() > STATUS_DATA_BYTES_MAX {
        return Err(format!(
            "The status has {} bytes of data, at most {STATUS_DATA_BYTES_MAX} are taken: put them into a file",
            data.len()
        ));
    }
    Ok(ExecutorStatus {
        task: task::task_id(told.task_id.as_ref())?,
        state: read_state(state)?,
        update: update.ok_or_else(|| "The 'uuid' of a status must have 16 bytes".to_owned())?,
        reason: told.reason.and_then(read_reason),
        message: told.message().to_owned(),
        data: data.to_vec(),
        healthy: told.healthy,
        check_status: told.check_status.as_ref().and_then(check::read_status),
        at: told.timestamp.and_then(|at| number::millis(at, MOMENT_MAX_MS)).map(Wall),
    })
}

/// A task that its executor calls lost is gone: frameworks that do not tell these apart hear that it is lost.
fn read_state(state: schema::TaskState) -> Result<TaskState, String> {
    Ok(match state {
        schema::TaskState::Starting => TaskState::Starting,
        schema::TaskState::Running => TaskState::Running,
        schema::TaskState::Killing => TaskState::Killing,
        schema::TaskState::Finished => TaskState::Finished,
        schema::TaskState::Failed => TaskState::Failed,
        schema::TaskState::Killed => TaskState::Killed,
        schema::TaskState::Error => TaskState::Error,
        schema::TaskState::Dropped => TaskState::Dropped,
        schema::TaskState::Gone | schema::TaskState::Lost => TaskState::Gone,
        schema::TaskState::Staging
        | schema::TaskState::Unreachable
        | schema::TaskState::GoneByOperator
        | schema::TaskState::Unknown => {
            let state = name_of::<schema::TaskState>(state as i32);
            return Err(format!("Executors do not tell that a task is {state}"));
        }
    })
}

/// A reason that is told under the same name again.
fn read_reason(reason: i32) -> Option<Reason> {
    let asked = schema::TaskStatusReason::try_from(reason).ok()?;
    Reason::ALL.iter().copied().find(|known| status::reason(*known) == Some(asked))
}

#[cfg(test)]
mod tests;
