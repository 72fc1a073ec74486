//! Carries out what the agent wishes of containers.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use meshos_control::agent::{Event, ExecutorRecord, FoundContainer, TaskRecord, TaskVolume};
use meshos_isolation::{
    self as isolation, ContainerEvent, ContainerSpec, Containerizer, ExitStatus, LaunchError,
    Limitation, RecoveredState,
};
use meshos_mesos::executor;
use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::{AgentId, ContainerId, FrameworkId},
    messages::executor::TOKEN_VARIABLE,
    resources::Resources,
    task::{Command, CommandLine, Exit, Reason, TaskDescription, TaskLaunch},
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    Input, Sandboxes, Volumes,
    executors::{Executors, make_token, uid_of},
};
use crate::group_executor;

/// Launches that may be under way at a time; a fetch counts as one.
const LAUNCHES_MAX: usize = 256;
/// Bytes in one MB of the `mem` resource.
const MB: u64 = 1 << 20;

/// What the node's operator has set for all tasks.
#[derive(Debug, Clone, Copy)]
pub(super) struct TaskRules {
    pub allow_root: bool,
    /// The most processes and threads of one task.
    pub pids_max: Option<u32>,
}

/// Starts and ends containers beside the agent's loop.
pub(super) struct Containers {
    containerizer: Arc<dyn Containerizer>,
    sandboxes: Sandboxes,
    volumes: Volumes,
    rules: TaskRules,
    /// This node's own, as it was found when the node started.
    program: PathBuf,
    launches: Arc<Semaphore>,
    /// The newest limits of containers that are being changed; none while they are.
    limits: Arc<Mutex<BTreeMap<ContainerId, Option<isolation::Limits>>>>,
    mailbox: mpsc::Sender<Input>,
}

impl Containers {
    pub(super) fn new(
        containerizer: Arc<dyn Containerizer>,
        events: mpsc::Receiver<ContainerEvent>,
        sandboxes: Sandboxes,
        volumes: Volumes,
        (rules, program): (TaskRules, PathBuf),
        mailbox: mpsc::Sender<Input>,
    ) -> Self {
        tokio::spawn(pass_on(events, mailbox.clone()));
        let launches = Arc::new(Semaphore::new(LAUNCHES_MAX));
        let limits = Arc::default();
        Self { containerizer, sandboxes, volumes, rules, program, launches, limits, mailbox }
    }

    pub(super) fn start(
        &self,
        container: ContainerId,
        framework: FrameworkId,
        user: &str,
        launch: TaskLaunch,
        volumes: &[TaskVolume],
    ) {
        let containerizer = Arc::clone(&self.containerizer);
        let launches = Arc::clone(&self.launches);
        let mailbox = self.mailbox.clone();
        let task = launch.description.task_id.as_str();
        let sandbox = self.sandboxes.path(framework, task, &container);
        // Before anything of it is there.
        self.sandboxes.hold(&container, Some(sandbox.clone()));
        let description = launch.description;
        let environment = environment_of(framework, &description);
        let limits = limits(&description.resources, self.rules.pids_max);
        let (command, user) = (description.command, (user, environment));
        let spec = self.spec(&container, command, user, limits, sandbox);
        let spec = spec.map_err(|message| (Reason::TaskInvalid, message));
        let (volumes, wanted) = (self.volumes.clone(), volumes.to_vec());
        tokio::spawn(async move {
            let Ok(_slot) = launches.acquire().await else { return };
            let event = match with_volumes(spec, volumes, wanted).await {
                Ok(spec) => launch_container(containerizer.as_ref(), container, spec).await,
                Err((reason, message)) => Event::ContainerFailed { container, reason, message },
            };
            // The loop is gone only when the node stops.
            let _listening = mailbox.send(Input::Core(event)).await;
        });
    }

    /// The same for an executor: with its token, and what it needs to find its agent.
    pub(super) fn start_executor(
        &self,
        (executors, agent): (&Executors, Option<AgentId>),
        container: ContainerId,
        (framework, user): (FrameworkId, &str),
        info: ExecutorInfo,
        resources: &Resources,
    ) {
        let sandbox = self.sandboxes.path(framework, info.id.as_str(), &container);
        self.sandboxes.hold(&container, Some(sandbox.clone()));
        let mut environment: Vec<_> = info.command.environment.clone().into_iter().collect();
        environment.extend(executors.variables(framework, agent, &info, &sandbox));
        let limits = limits(resources, self.rules.pids_max);
        let command = self.command_of(info);
        let spec = command.and_then(|command| {
            self.spec(&container, command, (user, environment), limits, sandbox)
        });
        let token_file = executors.token_file(&container);
        let doors = executors.doors().clone();
        let containerizer = Arc::clone(&self.containerizer);
        let (launches, mailbox) = (Arc::clone(&self.launches), self.mailbox.clone());
        tokio::spawn(async move {
            let Ok(_slot) = launches.acquire().await else { return };
            let named = spec.as_ref().ok().and_then(|spec| spec.user.clone());
            let made =
                tokio::task::spawn_blocking(move || (make_token(&token_file), uid_of(named)));
            // An error means that the runtime shuts down.
            let Ok((token, uid)) = made.await else { return };
            let failed = |reason, message| Event::ContainerFailed {
                container: container.clone(),
                reason,
                message,
            };
            let event = match (spec, token) {
                (Ok(mut spec), Ok(token)) => {
                    doors.expect(&container, &token, uid);
                    for name in [TOKEN_VARIABLE, executor::TOKEN_VARIABLE] {
                        spec.environment.push((name.to_owned(), token.clone()));
                    }
                    launch_container(containerizer.as_ref(), container.clone(), spec).await
                }
                (Err(message), _) => failed(Reason::TaskInvalid, message),
                (_, Err(error)) => {
                    let message = format!("the executor's token cannot be made: {error}");
                    failed(Reason::ContainerLaunchFailed, message)
                }
            };
            // The loop is gone only when the node stops.
            let _listening = mailbox.send(Input::Core(event)).await;
        });
    }

    /// What is executed as an executor: the framework's program, or this one.
    fn command_of(&self, info: ExecutorInfo) -> Result<Command, String> {
        match info.kind {
            ExecutorKind::Custom => Ok(info.command),
            ExecutorKind::Group => {
                let program = self.program.to_str();
                let program = program.ok_or("the path of this node's program is not UTF-8")?;
                let line = CommandLine::exec(program, [group_executor::COMMAND]);
                Ok(Command { line, ..info.command })
            }
            ExecutorKind::Unknown => {
                Err("the executor is of a kind that this node's release does not know".to_owned())
            }
        }
    }

    /// Changes what a running container may use. Of several changes in a row the newest counts.
    pub(super) fn limit(&self, container: ContainerId, resources: &Resources) {
        let newest = limits(resources, self.rules.pids_max);
        let under_way = {
            let mut all = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(container.clone(), Some(newest)).is_some()
        };
        if under_way {
            return;
        }
        let (all, containerizer) = (Arc::clone(&self.limits), Arc::clone(&self.containerizer));
        tokio::spawn(async move {
            while let Some(limits) = next_limits(&all, &container) {
                let updated = containerizer.update(&as_isolated(&container), limits).await;
                if let Err(error) = updated {
                    tracing::debug!(%container, %error, "cannot change the limits of a container");
                }
            }
        });
    }

    pub(super) fn terminate(&self, container: ContainerId) {
        self.spawn(container, "terminate", |containerizer, container| async move {
            containerizer.terminate(&container).await
        });
    }

    pub(super) fn destroy(&self, container: ContainerId) {
        self.spawn(container, "destroy", |containerizer, container| async move {
            containerizer.destroy(&container).await
        });
    }

    /// The sandbox ages from now on, and may be removed once the container is released.
    pub(super) fn release(&self, container: ContainerId) {
        let sandboxes = self.sandboxes.clone();
        self.spawn(container.clone(), "release", |containerizer, isolated| async move {
            let (noted, ended) = (sandboxes.clone(), container.clone());
            // An error means that the runtime shuts down: then it is released at the next start.
            let _noted = tokio::task::spawn_blocking(move || noted.note_end(&ended)).await;
            containerizer.release(&isolated).await?;
            sandboxes.let_go(&container);
            Ok(())
        });
    }

    fn spawn<F, W>(&self, container: ContainerId, what: &'static str, work: F)
    where
        F: FnOnce(Arc<dyn Containerizer>, isolation::ContainerId) -> W + Send + 'static,
        W: Future<Output = Result<(), isolation::Error>> + Send + 'static,
    {
        let containerizer = Arc::clone(&self.containerizer);
        tokio::spawn(async move {
            let done = work(containerizer, as_isolated(&container)).await;
            if let Err(error) = done {
                tracing::warn!(%container, %error, "cannot {what} a container");
            }
        });
    }

    fn spec(
        &self,
        container: &ContainerId,
        command: Command,
        (user, environment): (&str, Vec<(String, String)>),
        limits: isolation::Limits,
        sandbox: PathBuf,
    ) -> Result<ContainerSpec, String> {
        let named = command.user.or_else(|| (!user.is_empty()).then(|| user.to_owned()));
        Ok(ContainerSpec {
            container: as_isolated(container),
            command: as_isolated_command(command.line)?,
            environment,
            user: named,
            allow_root: self.rules.allow_root,
            sandbox,
            limits,
            uris: command.uris.into_iter().map(as_isolated_uri).collect(),
            volumes: Vec::new(),
            inside: None,
        })
    }
}

/// The newest limits of a container that are not in force yet; nothing more is under way when there are
/// none.
fn next_limits(
    all: &Mutex<BTreeMap<ContainerId, Option<isolation::Limits>>>,
    container: &ContainerId,
) -> Option<isolation::Limits> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let next = all.get_mut(container).and_then(Option::take);
    if next.is_none() {
        all.remove(container);
    }
    next
}

async fn launch_container(
    containerizer: &dyn Containerizer,
    container: ContainerId,
    spec: ContainerSpec,
) -> Event {
    match containerizer.launch(spec).await {
        Ok(started) => Event::ContainerStarted { container, pid: started.pid },
        Err(error) => {
            let reason = match error {
                LaunchError::Fetch { .. } => Reason::FetchFailed,
                LaunchError::Invalid { .. }
                | LaunchError::Exists { .. }
                | LaunchError::User { .. }
                | LaunchError::Sandbox { .. }
                | LaunchError::Volume { .. }
                | LaunchError::Isolation { .. }
                | LaunchError::Exec { .. }
                | LaunchError::Destroyed
                | LaunchError::Launcher { .. } => Reason::ContainerLaunchFailed,
            };
            Event::ContainerFailed { container, reason, message: error.to_string() }
        }
    }
}

/// The same container with its volumes, whose disks are looked at.
async fn with_volumes(
    spec: Result<ContainerSpec, (Reason, String)>,
    volumes: Volumes,
    wanted: Vec<TaskVolume>,
) -> Result<ContainerSpec, (Reason, String)> {
    let mut spec = spec?;
    if !wanted.is_empty() {
        let mounted =
            move || wanted.iter().map(|volume| volumes.mount(volume)).collect::<Result<_, _>>();
        let mounted = tokio::task::spawn_blocking(mounted).await;
        let mounted = mounted.unwrap_or_else(|_| Err("the node is being stopped".to_owned()));
        spec.volumes = mounted.map_err(|why| (Reason::ContainerLaunchFailed, why))?;
    }
    Ok(spec)
}

fn limits(resources: &Resources, pids_max: Option<u32>) -> isolation::Limits {
    let millis = |of: &Resources| u32::try_from(of.cpus().millis()).unwrap_or(u32::MAX);
    let (cpus_millis, revocable_cpus_millis) = (millis(resources), millis(&resources.revocable()));
    let mem_millis = u64::try_from(resources.mem().millis()).unwrap_or(0);
    let memory = mem_millis.saturating_mul(MB) / 1000;
    let memory_bytes = (memory > 0).then_some(memory);
    isolation::Limits { cpus_millis, revocable_cpus_millis, memory_bytes, pids_max }
}

/// The variables of a task, beside those that every container has.
pub(super) fn environment_of(
    framework: FrameworkId,
    description: &TaskDescription,
) -> Vec<(String, String)> {
    let identity = [("MESHOS_TASK_ID".to_owned(), description.task_id.to_string())].into_iter();
    identity
        .chain([("MESHOS_FRAMEWORK_ID".to_owned(), framework.to_string())])
        .chain(description.command.environment.clone())
        .collect()
}

pub(super) fn as_isolated_command(line: CommandLine) -> Result<isolation::Command, String> {
    match line {
        CommandLine::Shell { line } => Ok(isolation::Command::Shell(line)),
        CommandLine::Exec { program, arguments } => {
            Ok(isolation::Command::Exec { path: program, args: arguments })
        }
        CommandLine::Unknown => {
            Err("the command is of a kind that this node's release does not know".to_owned())
        }
    }
}

pub(super) fn as_isolated(container: &ContainerId) -> isolation::ContainerId {
    isolation::ContainerId::new(container.as_str()).expect("both ids follow the same rule")
}

fn as_isolated_uri(uri: meshos_protocol::task::Uri) -> isolation::Uri {
    isolation::Uri {
        value: uri.value,
        executable: uri.executable,
        extract: uri.extract,
        output_file: uri.output_file,
        cache: false,
    }
}

async fn pass_on(mut events: mpsc::Receiver<ContainerEvent>, mailbox: mpsc::Sender<Input>) {
    while let Some(event) = events.recv().await {
        let event = match event {
            ContainerEvent::Exited { container, status, limitation } => {
                let Ok(container) = ContainerId::new(container.as_str()) else { continue };
                let limitation = limitation.as_ref().map(as_reason);
                Event::ContainerExited { container, exit: as_exit(status), limitation }
            }
            ContainerEvent::LauncherLost { reason } => {
                tracing::error!(%reason, "the launcher is lost; its containers live on");
                continue;
            }
            ContainerEvent::LauncherBack { pid } => {
                tracing::info!(pid, "a launcher is there");
                continue;
            }
        };
        if mailbox.send(Input::Core(event)).await.is_err() {
            return;
        }
    }
}

fn as_exit(status: ExitStatus) -> Exit {
    match status {
        ExitStatus::Code(code) => Exit::Code { code },
        ExitStatus::Signal(signal) => Exit::Signal { signal },
        ExitStatus::Unreadable { reason } => Exit::Unreadable { why: reason },
    }
}

fn as_reason(limitation: &Limitation) -> (Reason, String) {
    match limitation {
        Limitation::Memory { .. } => (Reason::MemoryLimit, limitation.to_string()),
    }
}

/// What the launcher knows, in the agent's words.
pub(super) async fn recover(
    containerizer: &dyn Containerizer,
) -> Result<Vec<FoundContainer>, isolation::Error> {
    let found = containerizer.recover().await?.into_iter();
    let known = found.filter_map(|found| {
        let container = ContainerId::new(found.container.as_str()).ok()?;
        Some(match found.state {
            RecoveredState::Running => {
                FoundContainer { container, ended: None, pid: Some(found.pid) }
            }
            RecoveredState::Exited { status, limitation } => {
                let ended = Some((as_exit(status), limitation.as_ref().map(as_reason)));
                FoundContainer { container, ended, pid: None }
            }
        })
    });
    Ok(known.collect())
}

/// The containers that records name, with whose sandbox each works in: that of an executor is its tasks' too.
fn recorded<'a>(
    records: &'a [TaskRecord],
    executors: &'a [ExecutorRecord],
) -> BTreeMap<&'a ContainerId, (FrameworkId, &'a str)> {
    let own = records.iter().filter(|record| record.launch.description.executor.is_none());
    let tasks = own.map(|record| {
        (&record.container, (record.framework, record.launch.description.task_id.as_str()))
    });
    let executors = executors
        .iter()
        .map(|record| (&record.container, (record.framework, record.info.id.as_str())));
    tasks.chain(executors).collect()
}

/// Holds the sandboxes of all containers that the launcher knows: they run, or are to be released.
pub(super) fn hold(
    sandboxes: &Sandboxes,
    found: &[FoundContainer],
    records: &[TaskRecord],
    executors: &[ExecutorRecord],
) {
    let recorded = recorded(records, executors);
    for FoundContainer { container, .. } in found {
        let sandbox = recorded
            .get(container)
            .map(|(framework, name)| sandboxes.path(*framework, name, container));
        sandboxes.hold(container, sandbox);
    }
}

/// Says which containers run without a record: they are ended. Records are written first, so in
/// health there are none but those of probes (`p...`), which have none.
pub(super) fn warn_of_strays(
    found: &[FoundContainer],
    records: &[TaskRecord],
    executors: &[ExecutorRecord],
) {
    let recorded = recorded(records, executors);
    let running = found.iter().filter(|container| container.ended.is_none());
    let known = |it: &ContainerId| recorded.contains_key(it) || it.as_str().starts_with('p');
    for stray in running.filter(|container| !known(&container.container)) {
        tracing::warn!(container = %stray.container, pid = ?stray.pid, "a container runs that no record names: it is ended");
    }
}

/// Whether the machine was restarted since the node last ran here; remembers the present boot. When
/// there are records and nothing sure is known, it counts as restarted: containers that live are
/// found all the same.
pub(super) fn boot_changed(data_dir: &Path, has_records: bool) -> Result<bool> {
    const SOURCE: &str = "/proc/sys/kernel/random/boot_id";
    let now = std::fs::read_to_string(SOURCE).with_context(|| format!("cannot read {SOURCE}"))?;
    boot_differs(&data_dir.join("boot-id"), &now, has_records)
}

fn boot_differs(file: &Path, now: &str, has_records: bool) -> Result<bool> {
    let before = match std::fs::read(file) {
        Ok(before) => before,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    };
    if before == now.as_bytes() {
        return Ok(false);
    }
    meshos_membership::identity::write_atomic(file, now.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(has_records || !before.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_the_same_only_when_that_is_sure() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("boot-id");
        let differs = |now, has_records| boot_differs(&file, now, has_records).unwrap();
        assert!(!differs("one\n", false), "the first start");
        assert!(!differs("one\n", true));
        assert!(differs("two\n", true));
        assert!(!differs("two\n", true), "the new one is remembered");
        for damaged in [&b""[..], b"tw", b"\xff\xfe"] {
            std::fs::write(&file, damaged).unwrap();
            assert!(differs("two\n", true), "{damaged:?}");
            assert!(!differs("two\n", true));
        }
        std::fs::remove_file(&file).unwrap();
        assert!(differs("two\n", true), "records without any boot");
    }
}
