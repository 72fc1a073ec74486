//! Tasks that a framework launches.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::TaskId,
    role::Role,
    task::{Command, CommandLine, TaskDescription, Uri},
};

use super::{check, executor, labels, resource};
use crate::schema;

/// Reads a task that is launched on offers for these roles.
///
/// # Errors
/// When it is not valid, or asks for what this release cannot do: the sentence names it.
pub fn read(task: &schema::TaskInfo, roles: &BTreeSet<Role>) -> Result<TaskDescription, String> {
    refuse_what_is_not_supported(task)?;
    let (command, executor) = match (&task.command, &task.executor) {
        (Some(command), None) => (read_command(command)?, None),
        (None, Some(info)) => (Command::none(), Some(executor::read(info, roles)?)),
        (Some(_), Some(_)) | (None, None) => {
            return Err("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".to_owned());
        }
    };
    Ok(TaskDescription {
        task_id: task_id(task.task_id.as_ref())?,
        name: task.name().to_owned(),
        resources: resource::read_all(&task.resources, roles)?,
        command,
        // Without an executor there is nobody to read them.
        data: executor.as_ref().map(|_| task.data().to_vec()).unwrap_or_default(),
        executor: executor.map(Box::new),
        group: None,
        kill_grace_ms: task.kill_policy.as_ref().map(kill_grace).transpose()?.flatten(),
        max_completion_ms: milliseconds(
            task.max_completion_time.as_ref(),
            "Task's 'max_completion_time'",
        )?,
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
    milliseconds(policy.grace_period.as_ref(), "Task's 'kill_policy.grace_period'")
}

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A duration, rounded up.
///
/// # Errors
/// When it is negative.
pub(super) fn milliseconds(
    duration: Option<&schema::DurationInfo>,
    field: &str,
) -> Result<Option<u64>, String> {
    let nanos = duration.map(|duration| u64::try_from(duration.nanoseconds())).transpose();
    let nanos = nanos.map_err(|_| format!("{field} must be non-negative"))?;
    Ok(nanos.map(|nanos| nanos.div_ceil(NANOS_PER_MILLI)))
}

/// So many milliseconds.
pub(crate) fn duration(millis: u64) -> schema::DurationInfo {
    let nanos = i64::try_from(millis.saturating_mul(NANOS_PER_MILLI)).unwrap_or(i64::MAX);
    schema::DurationInfo { nanoseconds: Some(nanos) }
}

fn refuse_what_is_not_supported(task: &schema::TaskInfo) -> Result<(), String> {
    if !task.limits.is_empty() {
        return Err("Task's 'limits' is not supported by this release".to_owned());
    }
    task.container.as_deref().map_or(Ok(()), |container| refuse_container("Task", container))
}

/// A container that asks for nothing beyond what every task has is as good as none.
///
/// # Errors
/// When it asks for more.
pub(super) fn refuse_container(
    whose: &str,
    container: &schema::ContainerInfo,
) -> Result<(), String> {
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
        Some((what, _)) => Err(format!(
            "{whose}'s container asks for {what}, which is not supported by this release"
        )),
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

/// The command as a framework would have said it.
pub(crate) fn write_command(command: &Command) -> schema::CommandInfo {
    let (value, arguments) = match &command.line {
        CommandLine::Shell { line } => (Some(line.clone()), Vec::new()),
        CommandLine::Exec { program, arguments } => {
            let name = std::iter::once(program).chain(arguments);
            (Some(program.clone()), name.cloned().collect())
        }
        CommandLine::Unknown => (None, Vec::new()),
    };
    let variable = |(name, value): (&String, &String)| schema::EnvironmentVariable {
        name: Some(name.clone()),
        value: Some(value.clone()),
        ..schema::EnvironmentVariable::default()
    };
    let variables: Vec<_> = command.environment.iter().map(variable).collect();
    let uri = |uri: &Uri| schema::CommandInfoUri {
        value: Some(uri.value.clone()),
        executable: Some(uri.executable),
        extract: Some(uri.extract),
        output_file: uri.output_file.clone(),
        ..schema::CommandInfoUri::default()
    };
    schema::CommandInfo {
        uris: command.uris.iter().map(uri).collect(),
        environment: (!variables.is_empty()).then_some(schema::Environment { variables }),
        shell: Some(matches!(command.line, CommandLine::Shell { .. })),
        value,
        arguments,
        user: command.user.clone(),
    }
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
