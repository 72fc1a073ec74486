//! The rules for what frameworks say.

use std::collections::BTreeSet;

use meshos_protocol::{
    executor::{EXECUTOR_DATA_BYTES_MAX, ExecutorInfo, ExecutorKind},
    framework::FrameworkInfo,
    messages::scheduler::{Subscribe, UpdateFramework},
    role::Role,
    task::{
        Command, CommandLine, DATA_BYTES_MAX, KILL_GRACE_MAX_MS, MAX_COMPLETION_MAX_MS,
        TaskDescription,
    },
};

mod checks;

const NAME_BYTES_MAX: usize = 255;
const NONCE_BYTES_MAX: usize = 64;
const ROLES_MAX: usize = 100;
/// Of labels, environments and the like, all together: they are kept in the leader's memory, or
/// in the registry.
const TEXT_BYTES_MAX: usize = 64 << 10;
const ARGUMENTS_BYTES_MAX: usize = 1 << 20;
const URIS_MAX: usize = 1_000;
/// The longest fail-over time: a year.
const FAILOVER_MAX_MS: u64 = 365 * 24 * 3600 * 1000;

/// Whether a subscribe follows the rules.
///
/// # Errors
/// Says which rule is broken.
pub(super) fn subscribe(subscribe: &Subscribe) -> Result<(), String> {
    info(&subscribe.info)?;
    at_most("the nonce", subscribe.nonce.len(), NONCE_BYTES_MAX)?;
    suppressed(&subscribe.suppressed_roles, &subscribe.info)?;
    if subscribe.resume.is_some() && subscribe.framework.is_none() {
        return Err("a subscription can only be resumed with the framework's id".to_owned());
    }
    Ok(())
}

/// Whether an update of a framework that is of this user follows the rules, but for those of wishes.
///
/// # Errors
/// Says which rule is broken.
pub(super) fn update(update: &UpdateFramework, user: &str) -> Result<(), String> {
    info(&update.info)?;
    suppressed(&update.suppressed_roles, &update.info)?;
    if update.info.user != user {
        return Err(format!(
            "the framework's user cannot change from {user:?} to {:?}: tasks run as it; subscribe a new framework for another",
            update.info.user
        ));
    }
    Ok(())
}

fn suppressed(roles: &BTreeSet<Role>, info: &FrameworkInfo) -> Result<(), String> {
    match roles.difference(&info.roles).next() {
        Some(role) => Err(format!("role {role} is to be suppressed and is not among the roles")),
        None => Ok(()),
    }
}

fn info(info: &FrameworkInfo) -> Result<(), String> {
    if info.name.is_empty() {
        return Err("the framework's name is empty".to_owned());
    }
    at_most("the framework's name", info.name.len(), NAME_BYTES_MAX)?;
    at_most("the framework's user", info.user.len(), NAME_BYTES_MAX)?;
    at_most("the framework's host name", info.hostname.len(), NAME_BYTES_MAX)?;
    at_most("the framework's page address", info.webui_url.len(), 4 * NAME_BYTES_MAX)?;
    at_most("the framework's labels", text_bytes(&info.labels), TEXT_BYTES_MAX)?;
    match info.roles.len() {
        0 => return Err("the framework names no role: name at least one, or *".to_owned()),
        count if count > ROLES_MAX => {
            return Err(format!("the framework names {count} roles, at most {ROLES_MAX} may be"));
        }
        _ => {}
    }
    if info.failover_timeout_ms > FAILOVER_MAX_MS {
        return Err("the fail-over timeout is longer than a year".to_owned());
    }
    Ok(())
}

/// Whether a task's description follows the rules that do not depend on offers.
///
/// # Errors
/// Says which rule is broken.
pub(super) fn task(task: &TaskDescription) -> Result<(), String> {
    at_most("the task's name", task.name.len(), NAME_BYTES_MAX)?;
    at_most("the task's labels", text_bytes(&task.labels), TEXT_BYTES_MAX)?;
    if task.resources.is_empty() {
        return Err("the task asks for no resources".to_owned());
    }
    if let Some(grace_ms) = task.kill_grace_ms.filter(|grace_ms| *grace_ms > KILL_GRACE_MAX_MS) {
        return Err(format!(
            "the task asks for {grace_ms} ms between SIGTERM and SIGKILL, at most {KILL_GRACE_MAX_MS} ms (a day) are \
             given"
        ));
    }
    if task.max_completion_ms.is_some_and(|limit_ms| limit_ms > MAX_COMPLETION_MAX_MS) {
        return Err("the task may run for more than ten years: leave the limit away".to_owned());
    }
    checks::checks(task)?;
    at_most("the task's data", task.data.len(), DATA_BYTES_MAX)?;
    match &task.executor {
        None if task.group.is_some() => {
            Err("the task is of a group and names no executor that runs it".to_owned())
        }
        None => command(&task.command),
        Some(_) if task.resources.iter().any(|resource| resource.metadata().is_volume()) => {
            Err("the task has an executor and a persistent volume, which only tasks with a command of their own are shown"
                .to_owned())
        }
        Some(info) => {
            executor(info)?;
            command_beside(task, info)
        }
    }
}

/// Whether a task of an executor may have the command that it has.
fn command_beside(task: &TaskDescription, info: &ExecutorInfo) -> Result<(), String> {
    match (info.kind, &task.group) {
        (ExecutorKind::Group, None) => Err(
            "the task names the executor in the box and no group, which is all that this runs: a group of one will do"
                .to_owned(),
        ),
        (ExecutorKind::Group, Some(_)) => {
            let user = &task.command.user;
            if user.is_some() && *user != info.command.user {
                let user = user.as_deref().unwrap_or_default();
                return Err(format!(
                    "the task names user {user:?} and its executor another, or none: tasks of a group run as the user \
                     of their executor, name it there"
                ));
            }
            command(&task.command)
        }
        (ExecutorKind::Custom, Some(_)) if !task.command.is_none() => command(&task.command),
        (ExecutorKind::Custom, None) if !task.command.is_none() => {
            Err("the task has a command and an executor: a task of an executor has none of its own"
                .to_owned())
        }
        (ExecutorKind::Custom, _) => Ok(()),
        (ExecutorKind::Unknown, _) => {
            Err("this release does not know the kind of the task's executor".to_owned())
        }
    }
}

/// Whether an executor's description follows the rules.
fn executor(info: &ExecutorInfo) -> Result<(), String> {
    at_most("the executor's name", info.name.len(), NAME_BYTES_MAX)?;
    at_most("the executor's source", info.source.len(), NAME_BYTES_MAX)?;
    at_most("the executor's labels", text_bytes(&info.labels), TEXT_BYTES_MAX)?;
    at_most("the executor's data", info.data.len(), EXECUTOR_DATA_BYTES_MAX)?;
    if let Some(grace_ms) = info.shutdown_grace_ms.filter(|ms| *ms > KILL_GRACE_MAX_MS) {
        return Err(format!(
            "the executor asks for {grace_ms} ms to end, at most {KILL_GRACE_MAX_MS} ms (a day) are given"
        ));
    }
    if info.kind == ExecutorKind::Group {
        let user = info.command.user.clone();
        at_most("the executor's user", user.as_ref().map_or(0, String::len), NAME_BYTES_MAX)?;
        if info.command != (Command { user, ..Command::none() }) {
            return Err(
                "the executor in the box has a command: it may name a user and nothing else"
                    .to_owned(),
            );
        }
        return Ok(());
    }
    command(&info.command).map_err(|why| format!("the executor cannot be started: {why}"))
}

fn command(command: &Command) -> Result<(), String> {
    match &command.line {
        CommandLine::Shell { line } if line.is_empty() => {
            return Err("the command's shell line is empty".to_owned());
        }
        CommandLine::Shell { line } => {
            at_most("the command's shell line", line.len(), ARGUMENTS_BYTES_MAX)?;
        }
        CommandLine::Exec { program, .. } if program.is_empty() => {
            return Err("the command names no program".to_owned());
        }
        CommandLine::Exec { program, arguments } => {
            let bytes = program.len() + arguments.iter().map(String::len).sum::<usize>();
            at_most("the command with its arguments", bytes, ARGUMENTS_BYTES_MAX)?;
        }
        CommandLine::Unknown => {
            return Err("this release does not know the form of the command".to_owned());
        }
    }
    at_most("the command's environment", text_bytes(&command.environment), ARGUMENTS_BYTES_MAX)?;
    if let Some(name) =
        command.environment.keys().find(|name| name.is_empty() || name.contains('='))
    {
        return Err(format!("{name:?} is not a name for an environment variable"));
    }
    at_most("the command's user", command.user.as_ref().map_or(0, String::len), NAME_BYTES_MAX)?;
    if command.uris.len() > URIS_MAX {
        let count = command.uris.len();
        return Err(format!("the command has {count} URIs, at most {URIS_MAX} may be"));
    }
    let bytes = command.uris.iter().map(|uri| uri.value.len()).sum();
    at_most("the command's URIs together", bytes, ARGUMENTS_BYTES_MAX)
}

/// The bytes of names and values together.
pub(super) fn text_bytes(texts: &std::collections::BTreeMap<String, String>) -> usize {
    texts.iter().map(|(key, value)| key.len() + value.len()).sum()
}

fn at_most(what: &str, bytes: usize, limit: usize) -> Result<(), String> {
    if bytes <= limit {
        return Ok(());
    }
    Err(format!("{what} has {bytes} bytes, at most {limit} are allowed"))
}
