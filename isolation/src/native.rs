//! The containerizer in the box: launcher, isolators, sandbox and fetcher put together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::build;
use crate::client::{CallError, Client, ClientOptions};
use crate::container::{ContainerId, ContainerSpec, Limits};
use crate::containerizer::{
    ContainerEvent, Containerizer, Limitation, RecoveredContainer, RecoveredState, Started, Usage,
};
use crate::environment;
use crate::error::{Error, LaunchError};
use crate::fetcher::{FetchOptions, Fetcher};
use crate::isolator::IsolatorName;
use crate::isolators::{Isolation, IsolationOptions};
use crate::launcher::protocol::{Answer, Call, FailureKind, Launch, LaunchIds};
use crate::sandbox;
use crate::sys;
use crate::user::{self, Identity, SystemUsers, UserDatabase};
use crate::volume;

/// How often, and for how long, a container is looked at after the kernel's alarm.
const SUSPECT_PAUSE: Duration = Duration::from_millis(10);
const SUSPECT_TIME_MAX: Duration = Duration::from_secs(2);

/// How the containerizer is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's data directory; the launcher's own is `launcher` in it.
    pub data_dir: PathBuf,
    /// The binary with the subcommands `launcher` and `fetch`: the node's own, normally.
    pub runtime: PathBuf,
    /// The isolators; empty chooses those of control groups where they can be used, the posix ones otherwise.
    pub isolation: Vec<IsolatorName>,
    /// Tasks may run as root. A container's specification has to allow it too.
    pub allow_root: bool,
    /// Cap each container at its cpus, instead of only weighing it.
    pub cpu_quota: bool,
    /// How URIs are fetched.
    pub fetch: FetchOptions,
    /// How long a launcher that holds nothing stays without a node; none is its default of a minute.
    pub launcher_idle_exit: Option<Duration>,
    /// Replace a launcher that executes another build than `runtime`, in place, when the node starts.
    pub upgrade_launcher: bool,
}

impl Options {
    /// The defaults: automatic isolation, no root tasks, no cpu quota.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, runtime: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            runtime: runtime.into(),
            isolation: Vec::new(),
            allow_root: false,
            cpu_quota: false,
            fetch: FetchOptions::default(),
            launcher_idle_exit: None,
            upgrade_launcher: true,
        }
    }
}

/// Runs containers as processes of this machine.
///
/// Dropping it leaves containers and launcher running: that is what a node that stops wants.
pub struct NativeContainerizer {
    options: Options,
    client: Client,
    isolation: Arc<Isolation>,
    fetcher: Fetcher,
    users: Box<dyn UserDatabase>,
    /// Containers between the start of their launch and its end, and how that is called off.
    launching: Mutex<BTreeMap<ContainerId, CancellationToken>>,
    _shutdown: DropGuard,
}

impl fmt::Debug for NativeContainerizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeContainerizer")
            .field("options", &self.options)
            .field("launcher", &self.client.launcher_pid())
            .finish_non_exhaustive()
    }
}

impl NativeContainerizer {
    /// Selects isolators, connects to the launcher of `data_dir` (starting it when there is none), and tells `events`
    /// what happens from then on.
    ///
    /// # Errors
    /// When the options cannot work here, or the launcher cannot be started.
    pub async fn start(
        options: Options,
        events: mpsc::Sender<ContainerEvent>,
    ) -> Result<Self, Error> {
        let make = Error::io("make", &options.data_dir);
        std::fs::create_dir_all(&options.data_dir).map_err(make)?;
        let find = Error::io("find", &options.data_dir);
        let data_dir = options.data_dir.canonicalize().map_err(find)?;
        if data_dir.to_str().is_none() {
            return Err(Error::Options(format!("the data directory {data_dir:?} is not UTF-8")));
        }
        let selection = IsolationOptions {
            names: options.isolation.clone(),
            cpu_quota: options.cpu_quota,
            tag: environment::tag_of(&data_dir),
        };
        let isolation = Arc::new(Isolation::select(&selection)?);
        let shutdown = CancellationToken::new();
        let client_options = ClientOptions {
            directory: data_dir.join("launcher"),
            runtime: options.runtime.clone(),
            idle_exit: options.launcher_idle_exit,
        };
        let client =
            Client::start(client_options, Arc::clone(&isolation), events, shutdown.clone()).await?;
        watch_alarm(Arc::clone(&isolation), client.clone(), shutdown.clone())?;
        let containerizer = Self {
            fetcher: Fetcher::new(options.runtime.clone(), options.fetch),
            options,
            client,
            isolation,
            users: Box::<SystemUsers>::default(),
            launching: Mutex::default(),
            _shutdown: shutdown.drop_guard(),
        };
        containerizer.upgrade_if_other().await;
        Ok(containerizer)
    }

    /// A launcher of another build still works; that it could not be replaced is no reason not to start.
    async fn upgrade_if_other(&self) {
        let runtime = &self.options.runtime;
        if self.options.upgrade_launcher
            && build::is_other(runtime, self.launcher_pid(), self.client.launcher_release()).await
            && let Err(error) = self.upgrade_launcher(runtime).await
        {
            tracing::warn!(%error, "the launcher is of another build and could not be replaced");
        }
    }

    /// The isolators in use.
    #[must_use]
    pub fn isolators(&self) -> Vec<IsolatorName> {
        self.isolation.names()
    }

    /// What tells this node's cgroups (`meshos/<tag>`) and processes (`MESHOS_CONTAINER=<tag>/...`) from those of other
    /// nodes on this machine.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.isolation.tag()
    }

    /// The launcher's process.
    #[must_use]
    pub fn launcher_pid(&self) -> u32 {
        self.client.launcher_pid()
    }

    /// Makes the launcher execute another binary in place: same process, and its children stay its children.
    ///
    /// # Errors
    /// When that binary cannot be executed; then the launcher goes on as it is.
    pub async fn upgrade_launcher(&self, runtime: &Path) -> Result<(), Error> {
        let runtime = runtime.to_str().ok_or_else(|| {
            Error::Options(format!("the path of the binary {runtime:?} is not UTF-8"))
        })?;
        let call = Call::Upgrade { runtime: runtime.to_owned() };
        self.done("replace itself", call).await
    }

    /// Ends the launcher. With `kill`, everything in every container is killed first; exit statuses that were not
    /// released are found in the records by the next launcher.
    ///
    /// # Errors
    /// When containers run and `kill` is not set, or they cannot be killed.
    pub async fn stop_launcher(&self, kill: bool) -> Result<(), Error> {
        self.done("stop", Call::Stop { kill }).await?;
        let remove = move |isolation: &Isolation| {
            // Containers that ended a moment ago may not have been released: nothing of them runs any more.
            if kill && let Err(error) = isolation.remove_strangers(&BTreeSet::new()) {
                tracing::warn!(%error, "could not remove the cgroups of ended containers");
            }
            isolation.remove_parents();
        };
        self.blocking(remove).await
    }

    async fn done(&self, action: &'static str, call: Call) -> Result<(), Error> {
        match self.client.call(call).await? {
            Answer::Done => Ok(()),
            Answer::Failed { reason, .. } => Err(Error::Refused { action, reason }),
            Answer::Started { .. } | Answer::Unknown => {
                let reason = "it gave an answer that this release does not know".to_owned();
                Err(Error::Refused { action, reason })
            }
        }
    }

    /// Runs file operations away from the async workers.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Isolation) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let isolation = Arc::clone(&self.isolation);
        let done = tokio::task::spawn_blocking(move || work(&isolation)).await;
        // It fails when the runtime shuts down, or when the work panicked.
        done.map_err(|_| Error::Stopped)
    }

    async fn try_launch(
        &self,
        spec: ContainerSpec,
        identity: Identity,
        destroyed: &CancellationToken,
    ) -> Result<Started, LaunchError> {
        let stopped = |error: Error| LaunchError::Launcher { reason: error.to_string() };
        let ids = identity.switch_to.as_ref().map(|ids| LaunchIds {
            uid: ids.uid,
            gid: ids.gid,
            groups: ids.groups.clone(),
        });
        if !spec.uris.is_empty() && spec.inside.is_none() {
            let (path, owner) = (spec.sandbox.clone(), identity.clone());
            self.blocking(move |_| sandbox::create(&path, &owner)).await.map_err(stopped)??;
            let fetched = self.fetcher.fetch(&spec.sandbox, ids.clone(), &spec.uris);
            // A fetch may take an hour: nobody who wants its end waits for that.
            let fetched = destroyed.run_until_cancelled(fetched).await;
            fetched.unwrap_or(Err(LaunchError::Destroyed))?;
        }
        let launch = self
            .blocking(move |isolation| prepare(isolation, spec, &identity, ids))
            .await
            .map_err(stopped)??;
        let container = launch.container.clone();
        let command = launch.command.to_string();
        let sandbox = PathBuf::from(&launch.sandbox);
        if destroyed.is_cancelled() {
            self.clean_up(&container).await;
            return Err(LaunchError::Destroyed);
        }
        // From here on the launcher, which takes calls in order, sees to it that a destroyed container ends.
        let error = match self.client.call(Call::Launch(Box::new(launch))).await {
            Ok(Answer::Started { pid }) => return Ok(Started { pid }),
            Ok(Answer::Failed { kind, reason }) => {
                launch_error(kind, reason, &container, command, sandbox)
            }
            Ok(Answer::Done | Answer::Unknown) => LaunchError::Launcher {
                reason: "the launcher gave an answer that this release does not know".to_owned(),
            },
            Err(error) => LaunchError::Launcher { reason: error.to_string() },
        };
        if !matches!(error, LaunchError::Exists { .. }) {
            self.clean_up(&container).await;
        }
        Err(error)
    }

    async fn clean_up(&self, container: &ContainerId) {
        if !self.isolation.leaves_traces() {
            return;
        }
        let id = container.clone();
        if let Ok(Err(error)) = self.blocking(move |isolation| isolation.cleanup(&id)).await {
            tracing::warn!(%container, %error, "could not remove the cgroups of a container");
        }
    }

    fn claim(&self, container: &ContainerId) -> Result<Claim<'_>, LaunchError> {
        let exists = || LaunchError::Exists { container: container.clone() };
        let mut launching = self.launching.lock().unwrap_or_else(PoisonError::into_inner);
        if self.client.pid(container).is_some() || launching.contains_key(container) {
            return Err(exists());
        }
        let destroyed = CancellationToken::new();
        launching.insert(container.clone(), destroyed.clone());
        Ok(Claim { launching: &self.launching, container: container.clone(), destroyed })
    }

    /// Ends a launch that is under way.
    fn call_off(&self, container: &ContainerId) {
        let launching = self.launching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(destroyed) = launching.get(container) {
            destroyed.cancel();
        }
    }
}

/// Keeps a container's name taken while it is being launched.
struct Claim<'a> {
    launching: &'a Mutex<BTreeMap<ContainerId, CancellationToken>>,
    container: ContainerId,
    destroyed: CancellationToken,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut launching = self.launching.lock().unwrap_or_else(PoisonError::into_inner);
        launching.remove(&self.container);
    }
}

#[async_trait]
impl Containerizer for NativeContainerizer {
    async fn recover(&self) -> Result<Vec<RecoveredContainer>, Error> {
        let known = self.client.known();
        let mut keep: BTreeSet<_> = known.iter().map(|known| known.container.clone()).collect();
        keep.extend(self.launching.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned());
        let recovered = self.blocking(move |isolation| {
            if let Err(error) = isolation.remove_strangers(&keep) {
                tracing::warn!(%error, "could not look for cgroups of unknown containers");
            }
            let recover = |known: crate::launcher::protocol::Known| {
                let state = match known.status {
                    None => {
                        isolation.adopt(&known.container);
                        RecoveredState::Running
                    }
                    Some(status) => {
                        let limitation = isolation.limitation(&known.container);
                        let limitation = limitation.filter(|_| !status.success());
                        RecoveredState::Exited { status, limitation }
                    }
                };
                RecoveredContainer { container: known.container, pid: known.pid, state }
            };
            known.into_iter().map(recover).collect()
        });
        recovered.await
    }

    async fn launch(&self, spec: ContainerSpec) -> Result<Started, LaunchError> {
        environment::check(&spec)?;
        let allow_root = self.options.allow_root && spec.allow_root;
        let identity = user::resolve(self.users.as_ref(), spec.user.as_deref(), allow_root)?;
        let claim = self.claim(&spec.container)?;
        self.try_launch(spec, identity, &claim.destroyed).await
    }

    async fn terminate(&self, container: &ContainerId) -> Result<(), Error> {
        self.done("signal a container", Call::Terminate { container: container.clone() }).await
    }

    async fn destroy(&self, container: &ContainerId) -> Result<(), Error> {
        self.call_off(container);
        self.done("kill a container", Call::Destroy { container: container.clone() }).await
    }

    async fn release(&self, container: &ContainerId) -> Result<(), Error> {
        self.done("forget a container", Call::Release { container: container.clone() }).await?;
        self.clean_up(container).await;
        Ok(())
    }

    async fn update(&self, container: &ContainerId, limits: Limits) -> Result<(), Error> {
        let unknown = || Error::UnknownContainer { container: container.clone() };
        self.client.pid(container).ok_or_else(unknown)?;
        let id = container.clone();
        let updated = self.blocking(move |isolation| isolation.update(&id, &limits)).await?;
        Ok(updated?)
    }

    async fn usage(&self, container: &ContainerId) -> Result<Usage, Error> {
        let unknown = || Error::UnknownContainer { container: container.clone() };
        let pid = self.client.pid(container).ok_or_else(unknown)?;
        let id = container.clone();
        let usage = self.blocking(move |isolation| isolation.usage(&id, pid)).await?;
        Ok(usage?)
    }
}

/// Makes sandbox and cgroups, and puts together what the launcher is told.
fn prepare(
    isolation: &Isolation,
    spec: ContainerSpec,
    identity: &Identity,
    ids: Option<LaunchIds>,
) -> Result<Launch, LaunchError> {
    let environment = environment::build(&spec, isolation.tag(), &identity.name);
    let prepared = if let Some(outer) = &spec.inside {
        isolation.inside(outer)
    } else {
        sandbox::create(&spec.sandbox, identity)?;
        spec.volumes.iter().try_for_each(|it| volume::show(&spec.sandbox, it, identity))?;
        isolation.prepare(&spec.container, &spec.limits)?
    };
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    Ok(Launch {
        mark: environment.mark,
        environment: environment.variables,
        container: spec.container,
        command: spec.command,
        sandbox: text(&spec.sandbox),
        ids,
        cgroups: prepared.cgroups.iter().map(text).collect(),
        tracking: prepared.tracking.as_ref().map(text),
        inside: spec.inside,
    })
}

fn launch_error(
    kind: FailureKind,
    reason: String,
    container: &ContainerId,
    command: String,
    sandbox: PathBuf,
) -> LaunchError {
    match kind {
        FailureKind::Exists => LaunchError::Exists { container: container.clone() },
        FailureKind::Sandbox => LaunchError::Sandbox { path: sandbox, reason },
        FailureKind::User => LaunchError::User { user: None, reason },
        FailureKind::Isolation => {
            LaunchError::Isolation { isolator: "the launcher".to_owned(), reason }
        }
        FailureKind::Exec => LaunchError::Exec { command, reason },
        FailureKind::Other => LaunchError::Launcher { reason },
    }
}

/// Kills a container whole when the kernel has killed a part of it for its memory limit.
fn watch_alarm(
    isolation: Arc<Isolation>,
    client: Client,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Some(alarm) = isolation.alarm() else { return Ok(()) };
    let watch = |error: std::io::Error| Error::Io {
        action: "watch",
        path: PathBuf::from("memory limits"),
        source: error,
    };
    let alarm: OwnedFd = alarm.try_clone_to_owned().map_err(watch)?;
    let alarm = sys::watch_readable(alarm).map_err(watch)?;
    tokio::spawn(async move {
        tokio::select! {
            () = follow_alarm(&alarm, &isolation, &client) => {}
            () = shutdown.cancelled() => {}
        }
    });
    Ok(())
}

/// The kernel raises the alarm before it kills, so a container that is not seen to have lost a process is looked at again
/// for a while.
async fn follow_alarm(alarm: &AsyncFd<OwnedFd>, isolation: &Isolation, client: &Client) {
    let mut suspects: BTreeMap<ContainerId, Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            ready = alarm.readable() => match ready {
                Ok(mut guard) => guard.clear_ready(),
                Err(error) => {
                    tracing::error!(%error, "memory limits can no longer be watched");
                    return;
                }
            },
            () = tokio::time::sleep(SUSPECT_PAUSE), if !suspects.is_empty() => {}
        }
        loop {
            let alarmed = isolation.alarmed();
            if alarmed.is_empty() {
                break;
            }
            let now = Instant::now();
            suspects.extend(alarmed.into_iter().map(|container| (container, now)));
        }
        for (container, since) in std::mem::take(&mut suspects) {
            if let Some(limitation) = isolation.limitation(&container) {
                destroy_limited(client, container, &limitation).await;
            } else if since.elapsed() < SUSPECT_TIME_MAX {
                suspects.insert(container, since);
            }
        }
    }
}

async fn destroy_limited(client: &Client, container: ContainerId, limitation: &Limitation) {
    tracing::info!(%container, %limitation, "destroying a container that hit its limit");
    match client.call(Call::Destroy { container: container.clone() }).await {
        Ok(_) | Err(CallError::Stopped) => {}
        Err(error) => tracing::warn!(%container, %error, "could not destroy the container"),
    }
}
