//! Drives the agent: its stream to the leader, its disk and its containers.

mod containers;
mod disks;
mod executors;
mod probes;
mod sandboxes;
mod volumes;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use meshos_control::agent::{Agent, AgentConfig, Effect, Event, FoundContainer, Recovered, View};
use meshos_isolation::{ContainerEvent, Containerizer, Usage, garbage::Rule};
use meshos_protocol::{
    ids::{ContainerId, Fence},
    messages::{
        StreamClass,
        agent::{ToAgentFrame, ToLeader},
    },
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Publisher, Snapshot, until};
use crate::{
    clock::Clock,
    cluster::{Leader, LeaderEvent, LeaderStream, Reach},
    net::Net,
    storage::{AgentStore, Loaded, StoreHandle, Written, start_writer},
};
use containers::{Containers, TaskRules};
use disks::Disks;
pub(crate) use executors::{Credential, Doors, DoorsOptions};
use executors::{Executors, Said};
use probes::Probes;
pub(crate) use sandboxes::{Sandboxes, Status as SandboxStatus};
use volumes::Volumes;

/// Events that may wait for the agent's loop; whoever brings more waits.
const MAILBOX_MAX: usize = 16_384;
/// Events handled before effects are carried out.
const BATCH_MAX: usize = 512;

/// What the agent's loop needs.
pub(crate) struct Options {
    pub config: AgentConfig,
    pub data_dir: PathBuf,
    /// The fence on disk when the node started.
    pub fence: Option<Fence>,
    pub allow_root_tasks: bool,
    pub task_pids_max: Option<u32>,
    /// How long the sandboxes of ended tasks are kept.
    pub sandbox_rule: Rule,
    pub containerizer: Arc<dyn Containerizer>,
    pub container_events: mpsc::Receiver<ContainerEvent>,
    pub leader: watch::Receiver<Option<Leader>>,
    /// Told whether the stream to that leader stands.
    pub reach: Reach,
    pub net: Net,
    pub clock: Clock,
    /// What executors that speak Mesos's API need.
    pub doors: DoorsOptions,
}

/// What reaches the agent's loop.
enum Input {
    Core(Event),
    /// An executor's connection brought something.
    Executor {
        container: ContainerId,
        said: Said,
    },
    /// End all tasks; answered when none is left.
    StopTasks(oneshot::Sender<()>),
}

/// Asks the agent's loop for things.
#[derive(Clone)]
pub(crate) struct Handle {
    mailbox: mpsc::Sender<Input>,
    view: Snapshot<View>,
    sandboxes: Sandboxes,
    containerizer: Arc<dyn Containerizer>,
    store_writes: Arc<AtomicU64>,
    /// Why the node is to end, once it is.
    halted: watch::Receiver<Option<Halt>>,
    doors: Doors,
}

/// Why a node is to end.
#[derive(Debug, Clone)]
pub(crate) struct Halt {
    /// For people.
    pub(crate) why: String,
    /// Whether that is what somebody wanted: else the node has failed.
    pub(crate) wanted: bool,
}

impl Handle {
    /// Waits until the agent wants its node to end, and tells why.
    pub(crate) async fn halted(&self) -> Halt {
        let mut halted = self.halted.clone();
        let why = halted.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // The loop has ended, because the node ends anyway.
            None => std::future::pending().await,
        }
    }

    /// The newest picture of the agent.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.get()
    }

    /// A picture that shows all that anybody has been told of.
    pub(crate) async fn caught_up(&self) -> Arc<View> {
        self.view.caught_up().await
    }

    /// How many durable transactions the agent's records have cost since the node started.
    pub(crate) fn store_writes(&self) -> u64 {
        self.store_writes.load(Ordering::Relaxed)
    }

    /// What a container uses now; nothing when that cannot be told.
    pub(crate) async fn usage(&self, container: &ContainerId) -> Option<Usage> {
        self.containerizer.usage(&containers::as_isolated(container)).await.ok()
    }

    /// The executor API of Mesos.
    pub(crate) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The sandboxes.
    pub(crate) fn sandboxes(&self) -> &Sandboxes {
        &self.sandboxes
    }

    /// Ends all tasks and returns when they are over.
    pub(crate) async fn stop_tasks(&self) {
        let (done, over) = oneshot::channel();
        if self.mailbox.send(Input::StopTasks(done)).await.is_ok() {
            // An error means that the loop has ended: nothing is left to wait for.
            let _over = over.await;
        }
    }
}

/// The loop and all that it owns.
pub(crate) struct Service {
    agent: Agent,
    mailbox: mpsc::Receiver<Input>,
    store: StoreHandle,
    containers: Containers,
    volumes: Volumes,
    executors: Executors,
    probes: Probes,
    sandboxes: Sandboxes,
    leader: LeaderStream<ToAgentFrame>,
    reach: Reach,
    publisher: Publisher<View>,
    clock: Clock,
    stopping: Vec<oneshot::Sender<()>>,
    halt: watch::Sender<Option<Halt>>,
    effects: Vec<Effect>,
}

/// Recovers the agent from its disk and its launcher.
pub(crate) async fn start(options: Options) -> Result<(Service, Handle)> {
    let store = AgentStore::open(&options.data_dir)?;
    let loaded = store.load()?;
    let found = containers::recover(options.containerizer.as_ref())
        .await
        .context("cannot learn from the launcher which containers there are")?;
    let boot_changed = containers::boot_changed(&options.data_dir, !loaded.tasks.is_empty())?;
    containers::warn_of_strays(&found, &loaded.tasks, &loaded.executors);
    let (tasks, executors) = (loaded.tasks.len(), loaded.executors.len());
    tracing::info!(tasks, executors, containers = found.len(), boot_changed, "agent recovers");
    let sandboxes = Sandboxes::new(options.data_dir.join("sandboxes"), options.sandbox_rule);
    containers::hold(&sandboxes, &found, &loaded.tasks, &loaded.executors);
    let mut effects = Vec::new();
    let (sender, mailbox) = mpsc::channel(MAILBOX_MAX);
    let doors = Doors::new(options.doors, sender.clone(), &loaded.executors);
    let recovered = recovered(loaded, options.fence, found, boot_changed);
    recovered.check_fit(&options.config.resources)?;
    let disks = Disks::of(&options.config.resources);
    disks.check().map_err(anyhow::Error::msg)?;
    let times = (options.config.executor_recovery_timeout, options.config.executor_shutdown_grace);
    let agent = Agent::recover(options.config, recovered, options.clock.now(), &mut effects);
    let store_writes = Arc::new(AtomicU64::new(0));
    let store = spawn_store(store, sender.clone(), Arc::clone(&store_writes))?;
    let dir = |name: &str| options.data_dir.join(name);
    let executors =
        Executors::new(dir("executors"), sandboxes.clone(), sender.clone(), doors.clone(), times);
    let volumes = Volumes::new(dir("volumes"), disks, sender.clone());
    let allow_root = options.allow_root_tasks;
    let containerizer = Arc::clone(&options.containerizer);
    let probes = Probes::new(containerizer, sandboxes.clone(), allow_root, sender.clone())?;
    let containers = Containers::new(
        Arc::clone(&options.containerizer),
        options.container_events,
        sandboxes.clone(),
        volumes.clone(),
        rules_of(allow_root, options.task_pids_max)?,
        sender.clone(),
    );
    let view = Snapshot::new(agent.view());
    let (halt, halted) = watch::channel(None);
    let handle = Handle {
        mailbox: sender.clone(),
        view: view.clone(),
        sandboxes,
        containerizer: options.containerizer,
        store_writes,
        halted,
        doors,
    };
    let service = Service {
        agent,
        mailbox,
        store,
        containers,
        volumes,
        executors,
        probes,
        sandboxes: handle.sandboxes.clone(),
        leader: LeaderStream::new(options.net, StreamClass::Agent, options.leader),
        reach: options.reach,
        publisher: Publisher::new(view),
        clock: options.clock,
        stopping: Vec::new(),
        halt,
        effects,
    };
    Ok((service, handle))
}

fn recovered(
    loaded: Loaded,
    fence: Option<Fence>,
    containers: Vec<FoundContainer>,
    boot_changed: bool,
) -> Recovered {
    Recovered {
        agent: loaded.agent,
        fence,
        records: loaded.tasks,
        executors: loaded.executors,
        ends: loaded.ends,
        containers,
        operations: loaded.operations,
        boot_changed,
    }
}

/// The operator's rules for tasks, and the program that runs those of groups.
fn rules_of(allow_root: bool, pids_max: Option<u32>) -> Result<(TaskRules, PathBuf)> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    Ok((TaskRules { allow_root, pids_max }, program))
}

fn spawn_store(
    store: AgentStore,
    mailbox: mpsc::Sender<Input>,
    writes: Arc<AtomicU64>,
) -> Result<StoreHandle> {
    let tell = move |written| {
        let event = match written {
            Written::Durable(write) => {
                writes.fetch_add(1, Ordering::Relaxed);
                Event::Persisted(write)
            }
            Written::Failed { why } => Event::StorageFailed { why },
        };
        // The loop is gone only when the node stops.
        let _listening = mailbox.blocking_send(Input::Core(event));
    };
    let (handle, _thread) = start_writer(store, tell).context("cannot start the store's thread")?;
    Ok(handle)
}

impl Service {
    /// Runs until `shutdown`. Tasks live on.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        tokio::spawn(self.sandboxes.clone().collect(shutdown.clone()));
        self.flush();
        self.executors.doors().recovered();
        loop {
            let deadline = self.agent.next_deadline().map(|mono| self.clock.instant(mono));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                event = self.leader.next() => self.take_from_leader(event),
                count = self.mailbox.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                }
                () = until([deadline, self.publisher.due()]) => {}
            }
            for input in batch.drain(..) {
                self.take(input);
            }
            self.handle(Event::Tick);
            // Others may hear of it from now on.
            self.publisher.touch();
            self.flush();
            self.publisher.changed(|| self.agent.view());
            if self.agent.unfinished_tasks() == 0 {
                for done in self.stopping.drain(..) {
                    // Whoever asked may have gone.
                    let _heard = done.send(());
                }
            }
        }
    }

    fn take_from_leader(&mut self, event: LeaderEvent<ToAgentFrame>) {
        self.reach.tell(self.leader.is_open());
        match event {
            LeaderEvent::Follow(leader) => {
                tracing::info!(leader = %leader.node, term = %leader.fence.term, "agent follows");
                self.handle(Event::LeaderConfirmed { fence: leader.fence });
            }
            LeaderEvent::Opened => self.handle(Event::Connected),
            LeaderEvent::Frame(frame) => self.handle(Event::Message(frame)),
            LeaderEvent::Closed => self.handle(Event::Disconnected),
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Core(event) => self.handle(event),
            Input::Executor { container, said } => {
                if let Some(event) = self.executors.take(container, said) {
                    self.handle(event);
                }
            }
            Input::StopTasks(done) => {
                self.stopping.push(done);
                self.handle(Event::StopTasks);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.agent.handle(self.clock.now(), event, &mut self.effects);
    }

    fn flush(&mut self) {
        // Carrying out an effect may bring the core new events, whose effects follow.
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                self.perform(effect);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { write, change } => {
                if !self.store.write(write, change) {
                    let why = "the agent's store has stopped or is too far behind".into();
                    self.handle(Event::StorageFailed { why });
                }
            }
            Effect::StartContainer { container, framework, user, launch, volumes } => {
                self.containers.start(container, framework, &user, launch, &volumes);
            }
            Effect::StartExecutor { container, framework, user, info, resources } => {
                let (executors, agent) = (&self.executors, self.agent.id());
                let owner = (framework, user.as_str());
                self.executors.doors().add(container.clone(), (framework, info.id.clone()));
                self.containers.start_executor(
                    (executors, agent),
                    container,
                    owner,
                    *info,
                    &resources,
                );
            }
            Effect::StartProbe { probe, how, task } => self.probes.start(probe, *how, &task),
            Effect::EndProbe { probe } => self.probes.end(probe),
            Effect::ServeExecutor { container } => self.executors.serve(container),
            Effect::TellExecutor { container, event } => {
                if let Some(event) = self.executors.tell(container, &event) {
                    self.handle(event);
                }
            }
            Effect::LimitContainer { container, resources } => {
                self.containers.limit(container, &resources);
            }
            Effect::MakeVolumes { operation, directories } => {
                self.volumes.make(operation, directories);
            }
            Effect::RemoveVolume { directory } => self.volumes.remove(directory),
            Effect::Terminate { container } => self.containers.terminate(container),
            Effect::Destroy { container } => self.containers.destroy(container),
            Effect::Release { container } => {
                self.executors.forget(&container);
                self.probes.forget(&container);
                self.containers.release(container);
            }
            Effect::Halt { why, wanted } => {
                self.halt.send_replace(Some(Halt { why, wanted }));
            }
            Effect::SendToLeader(ToLeader::ExecutorMessage { .. })
                if self.leader.sender().is_some_and(|sender| !sender.has_room()) =>
            {
                tracing::debug!(
                    "a message of an executor is left out: too much waits for the leader"
                );
            }
            Effect::SendToLeader(message) => {
                // The stream is opened again and the core is told that it was closed.
                if let Err(error) = self.leader.send(&message) {
                    tracing::warn!(%error, "the stream to the leader is given up");
                }
            }
        }
    }
}
