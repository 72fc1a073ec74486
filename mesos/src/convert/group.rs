//! Groups of tasks that a framework launches.

use std::collections::BTreeSet;

use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::ExecutorId,
    role::Role,
    task::{Command, GroupEnds, GroupMember, TaskDescription},
};

use super::{labels, resource, task};
use crate::schema::{self, ExecutorInfoType as Type};

/// Reads a group that is launched on offers for these roles: its tasks, each with the executor.
///
/// # Errors
/// When it is not valid, or asks for what this release cannot do: the sentence names it, and its task.
pub fn read(
    group: &schema::OfferOperationLaunchGroup,
    roles: &BTreeSet<Role>,
) -> Result<Vec<TaskDescription>, String> {
    let infos = group.task_group.as_ref().map(|it| it.tasks.as_slice()).unwrap_or_default();
    let mut tasks = Vec::with_capacity(infos.len());
    for info in infos {
        let read = if info.executor.is_some() {
            Err("'TaskInfo.executor' must not be set".to_owned())
        } else {
            task::read(info, roles)
        };
        let id = info.task_id.as_ref().map(|id| id.value()).unwrap_or_default();
        tasks.push(read.map_err(|why| format!("Task '{id}' is invalid: {why}"))?);
    }
    let Some(first) = tasks.first().map(|task| task.task_id.clone()) else {
        return Err("Task group cannot be empty".to_owned());
    };
    let Some(executor) = &group.executor else {
        return Err("Task group has no executor".to_owned());
    };
    let mut executor = read_executor(executor, roles)
        .map_err(|why| format!("The executor of the task group is invalid: {why}"))?;
    // Mesos runs each task as the user that it names; here all run as that of their executor.
    let user = tasks[0].command.user.clone();
    if tasks.iter().all(|task| task.command.user == user) {
        executor.command.user = user;
    }
    let size = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
    for task in &mut tasks {
        let first = first.clone();
        task.group = Some(Box::new(GroupMember { first, size, ends: GroupEnds::Together }));
        task.executor = Some(Box::new(executor.clone()));
    }
    Ok(tasks)
}

fn read_executor(
    info: &schema::ExecutorInfo,
    roles: &BTreeSet<Role>,
) -> Result<ExecutorInfo, String> {
    match info.r#type() {
        Type::Default if info.command.is_some() => {
            return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned());
        }
        Type::Default => {}
        Type::Custom => {
            return Err("Type 'CUSTOM' is not supported for task groups by this release".to_owned());
        }
        Type::Unknown => return Err("'ExecutorInfo.type' must be set".to_owned()),
    }
    if let Some(container) = &info.container {
        task::refuse_container("Executor", container)?;
    }
    let id = info.executor_id.as_ref().map(|id| id.value()).unwrap_or_default();
    let grace = info.shutdown_grace_period.as_ref();
    Ok(ExecutorInfo {
        id: ExecutorId::new(id).map_err(|error| error.to_string())?,
        name: info.name().to_owned(),
        kind: ExecutorKind::Group,
        source: info.source().to_owned(),
        resources: resource::read_all(&info.resources, roles)?,
        command: Command::none(),
        data: info.data.clone().unwrap_or_default(),
        shutdown_grace_ms: task::milliseconds(grace, "shutdown_grace_period")?,
        labels: labels(info.labels.as_ref()),
    })
}

#[cfg(test)]
mod tests;
