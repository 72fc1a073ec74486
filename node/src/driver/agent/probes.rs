//! Asks tasks that run how they are.
//!
//! A command runs in a container of its own within the task's, started by the launcher like any other: it is in the task's control
//! groups, is its user's, and ends with it, whatever happens to this process. `GET`s and connections are made by this process,
//! to 127.0.0.1, as tasks share the network of their machine.

use std::{
    collections::BTreeMap,
    error::Error as _,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};
use meshos_control::agent::{Event, ProbeOutcome, TaskRecord};
use meshos_isolation::{ContainerSpec, Containerizer, LaunchError, Limits};
use meshos_protocol::{check::Probe, ids::ContainerId, task::CommandLine};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Input, Sandboxes,
    containers::{as_isolated, as_isolated_command, environment_of},
};

/// The probes that are under way.
pub(super) struct Probes {
    containerizer: Arc<dyn Containerizer>,
    sandboxes: Sandboxes,
    allow_root: bool,
    http: reqwest::Client,
    /// How each is called off.
    under_way: Arc<Mutex<BTreeMap<ContainerId, CancellationToken>>>,
    mailbox: mpsc::Sender<Input>,
}

impl Probes {
    pub(super) fn new(
        containerizer: Arc<dyn Containerizer>,
        sandboxes: Sandboxes,
        allow_root: bool,
        mailbox: mpsc::Sender<Input>,
    ) -> Result<Self> {
        // A task's answer is the task's: no proxy stands between, and nobody else is asked instead. Each probe opens a connection,
        // so that one that is taken no more is seen.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .http1_only()
            .user_agent(concat!("meshos/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot prepare to ask tasks over HTTP")?;
        let under_way = Arc::default();
        Ok(Self { containerizer, sandboxes, allow_root, http, under_way, mailbox })
    }

    /// Asks once.
    pub(super) fn start(&self, probe: ContainerId, how: Probe, task: &TaskRecord) {
        let called_off = CancellationToken::new();
        self.lock().insert(probe.clone(), called_off.clone());
        match how {
            Probe::Command { line, environment } => {
                let spec = self.spec(&probe, line, environment, task);
                self.run(probe, spec, called_off);
            }
            Probe::Http { port, path } => {
                let answer = get(self.http.clone(), port, path);
                self.ask(probe, answer, called_off);
            }
            Probe::Tcp { port } => self.ask(probe, connect(port), called_off),
            Probe::Unknown => {
                let why = "this node's release does not know the kind of the check".to_owned();
                self.ask(probe, async { ProbeOutcome::NotAsked { why } }, called_off);
            }
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn end(&self, probe: ContainerId) {
        let Some(called_off) = self.lock().get(&probe).cloned() else { return };
        called_off.cancel();
        let containerizer = Arc::clone(&self.containerizer);
        tokio::spawn(async move {
            // Of a probe that is no command there is no container.
            if let Err(error) = containerizer.destroy(&as_isolated(&probe)).await {
                tracing::warn!(%probe, %error, "cannot end a probe");
            }
        });
    }

    /// A container is over.
    pub(super) fn forget(&self, container: &ContainerId) {
        self.lock().remove(container);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, CancellationToken>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the task, within its container.
    fn spec(
        &self,
        probe: &ContainerId,
        line: CommandLine,
        added: BTreeMap<String, String>,
        task: &TaskRecord,
    ) -> Result<ContainerSpec, String> {
        let description = &task.launch.description;
        let mut environment = environment_of(task.framework, description);
        environment.extend(added);
        let user = description.command.user.clone();
        let user = user.or_else(|| (!task.user.is_empty()).then(|| task.user.clone()));
        let name = description.task_id.as_str();
        Ok(ContainerSpec {
            container: as_isolated(probe),
            command: as_isolated_command(line)?,
            environment,
            user,
            allow_root: self.allow_root,
            sandbox: self.sandboxes.path(task.framework, name, &task.container),
            limits: Limits::default(),
            uris: Vec::new(),
            volumes: Vec::new(),
            inside: Some(as_isolated(&task.container)),
        })
    }

    /// Runs the command; how it ends is told as the end of a container.
    fn run(
        &self,
        probe: ContainerId,
        spec: Result<ContainerSpec, String>,
        called_off: CancellationToken,
    ) {
        let (containerizer, mailbox) = (Arc::clone(&self.containerizer), self.mailbox.clone());
        let under_way = Arc::clone(&self.under_way);
        tokio::spawn(async move {
            let launched = match spec {
                Ok(spec) => containerizer.launch(spec).await.map_err(outcome),
                Err(why) => Err(ProbeOutcome::NotAsked { why }),
            };
            match launched {
                Ok(_) if called_off.is_cancelled() => {
                    // It was not there yet when it was called off.
                    if let Err(error) = containerizer.destroy(&as_isolated(&probe)).await {
                        tracing::warn!(%probe, %error, "cannot end a probe");
                    }
                }
                Ok(_) => {}
                Err(outcome) => tell(&under_way, &mailbox, probe, outcome).await,
            }
        });
    }

    /// Waits for the outcome, unless the probe is called off before.
    fn ask(
        &self,
        probe: ContainerId,
        outcome: impl Future<Output = ProbeOutcome> + Send + 'static,
        called_off: CancellationToken,
    ) {
        let (under_way, mailbox) = (Arc::clone(&self.under_way), self.mailbox.clone());
        tokio::spawn(async move {
            let outcome = called_off.run_until_cancelled(outcome).await;
            let outcome = outcome
                .unwrap_or_else(|| ProbeOutcome::NotAsked { why: "it was called off".to_owned() });
            tell(&under_way, &mailbox, probe, outcome).await;
        });
    }
}

async fn tell(
    under_way: &Mutex<BTreeMap<ContainerId, CancellationToken>>,
    mailbox: &mpsc::Sender<Input>,
    probe: ContainerId,
    outcome: ProbeOutcome,
) {
    under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&probe);
    // The loop is gone only when the node stops.
    let _listening = mailbox.send(Input::Core(Event::ProbeEnded { probe, outcome })).await;
}

/// What it says of a task that the command of its probe could not be started.
fn outcome(error: LaunchError) -> ProbeOutcome {
    let why = error.to_string();
    match error {
        LaunchError::Exec { .. } | LaunchError::Invalid { .. } | LaunchError::Sandbox { .. } => {
            ProbeOutcome::Failed { why }
        }
        LaunchError::Exists { .. }
        | LaunchError::Fetch { .. }
        | LaunchError::User { .. }
        | LaunchError::Volume { .. }
        | LaunchError::Isolation { .. }
        | LaunchError::Destroyed
        | LaunchError::Launcher { .. } => ProbeOutcome::NotAsked { why },
    }
}

async fn get(http: reqwest::Client, port: u16, path: String) -> ProbeOutcome {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let address = format!("http://{}:{port}{slash}{path}", Ipv4Addr::LOCALHOST);
    match http.get(&address).send().await {
        // What follows the head is nobody's business.
        Ok(answer) => ProbeOutcome::Status(answer.status().as_u16()),
        Err(error) => ProbeOutcome::Failed { why: format!("{address}: {}", cause(&error)) },
    }
}

/// The innermost cause: what the system said.
fn cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

async fn connect(port: u16) -> ProbeOutcome {
    match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
        Ok(_) => ProbeOutcome::Connected,
        Err(error) => {
            let why = format!("{}:{port}: {error}", Ipv4Addr::LOCALHOST);
            ProbeOutcome::Failed { why }
        }
    }
}
