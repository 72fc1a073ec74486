//! Tasks that a framework launches.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::TaskId,
    role::Role,
    task::{Command, CommandLine, TaskDescription, Uri},
};

use super::{check, labels, resource};
use crate::schema;

/// Reads a task that is launched on offers for these roles.
///
/// # Errors
/// When it is not valid, or asks for what this release cannot do: the sentence names it.
pub fn read(task: &schema::TaskInfo, roles: &BTreeSet<Role>) -> Result<TaskDescription, String> {
    refuse_what_is_not_supported(task)?;
    let command = match (&task.command, &task.executor) {
        (Some(command), None) => read_command(command)?,
        (None, Some(_)) => {
            return Err("Custom executors are not supported by this release".to_owned());
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".to_owned());
        }
    };
    Ok(TaskDescription {
        task_id: task_id(task.task_id.as_ref())?,
        name: task.name().to_owned(),
        resources: resource::read_all(&task.resources, roles)?,
        command,
        executor: None,
        data: Vec::new(),
        kill_grace_ms: task.kill_policy.as_ref().map(kill_grace).transpose()?.flatten(),
        max_completion_ms: milliseconds(task.max_completion_time.as_ref(), "max_completion_time")?,
        health_check: task
            .health_check
            .as_deref()
            .map(check::read_health)
            .transpose()?
            .map(Box::new),
        check: task.check.as_deref().map(check::read).transpose()?.map(Box::new),
        labels: labels(task.labels.as_ref()),
    })
}

/// The id that a framework chose.
///
/// # Errors
/// When it cannot be one.
pub fn task_id(id: Option<&schema::TaskId>) -> Result<TaskId, String> {
    let text = id.map(|id| id.value()).unwrap_or_default();
    TaskId::new(text).map_err(|error| error.to_string())
}

/// The time between SIGTERM and SIGKILL, in milliseconds.
///
/// # Errors
/// When it is negative.
pub fn kill_grace(policy: &schema::KillPolicy) -> Result<Option<u64>, String> {
    milliseconds(policy.grace_period.as_ref(), "kill_policy.grace_period")
}

/// A duration, rounded up.
fn milliseconds(
    duration: Option<&schema::DurationInfo>,
    field: &str,
) -> Result<Option<u64>, String> {
    const NANOS_PER_MILLI: u64 = 1_000_000;
    let nanos = duration.map(|duration| u64::try_from(duration.nanoseconds())).transpose();
    let nanos = nanos.map_err(|_| format!("Task's '{field}' must be non-negative"))?;
    Ok(nanos.map(|nanos| nanos.div_ceil(NANOS_PER_MILLI)))
}

fn refuse_what_is_not_supported(task: &schema::TaskInfo) -> Result<(), String> {
    if !task.limits.is_empty() {
        return Err("Task's 'limits' is not supported by this release".to_owned());
    }
    task.container.as_deref().map_or(Ok(()), refuse_container)
}

/// A container that asks for nothing beyond what every task has is as good as none.
fn refuse_container(container: &schema::ContainerInfo) -> Result<(), String> {
    let image = container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some());
    let asked = [
        ("type DOCKER", container.r#type() == schema::ContainerInfoType::Docker),
        ("'docker'", container.docker.is_some()),
        ("an image", image),
        ("'volumes'", !container.volumes.is_empty()),
        ("'hostname'", container.hostname.is_some()),
        ("'network_infos'", !container.network_infos.is_empty()),
        ("'linux_info'", container.linux_info.is_some()),
        ("'rlimit_info'", container.rlimit_info.is_some()),
        ("'tty_info'", container.tty_info.is_some()),
    ];
    match asked.iter().find(|(_, is_asked)| *is_asked) {
        Some((what, _)) => {
            Err(format!("Task's container asks for {what}, which is not supported by this release"))
        }
        None => Ok(()),
    }
}

pub(super) fn read_command(command: &schema::CommandInfo) -> Result<Command, String> {
    let value = command.value.clone().unwrap_or_default();
    let line = match command.shell.unwrap_or(true) {
        true if command.value.is_none() => {
            return Err("Shell command should be provided in 'value'".to_owned());
        }
        true => CommandLine::Shell { line: value },
        // The first argument is what the program is called, not one for it.
        false => CommandLine::Exec {
            program: value,
            arguments: command.arguments.iter().skip(1).cloned().collect(),
        },
    };
    Ok(Command {
        line,
        environment: environment(command.environment.as_ref())?,
        user: command.user.clone(),
        uris: command.uris.iter().map(uri).collect(),
    })
}

fn environment(
    environment: Option<&schema::Environment>,
) -> Result<BTreeMap<String, String>, String> {
    let variables = environment.map(|it| it.variables.as_slice()).unwrap_or_default();
    let read = |variable: &schema::EnvironmentVariable| {
        let name = variable.name();
        let secret = variable.secret.is_some()
            || variable.r#type() == schema::EnvironmentVariableType::Secret;
        if secret {
            return Err(format!(
                "Environment variable '{name}' is a secret, which is not supported by this release"
            ));
        }
        let value = variable.value.clone();
        let value = value.ok_or_else(|| format!("Environment variable '{name}' has no value"))?;
        Ok((name.to_owned(), value))
    };
    variables.iter().map(read).collect()
}

fn uri(uri: &schema::CommandInfoUri) -> Uri {
    Uri {
        value: uri.value().to_owned(),
        executable: uri.executable.unwrap_or(false),
        // What is executable is no archive, as in Mesos.
        extract: uri.extract.unwrap_or(true) && !uri.executable.unwrap_or(false),
        output_file: uri.output_file.clone(),
    }
}

#[cfg(test)]
mod tests;
