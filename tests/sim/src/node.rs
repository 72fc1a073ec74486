//! A machine: its disk, its launcher, and the node process that may be running on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_control::{
    agent::{self, Agent, AgentConfig, Effect, Recovered},
    master::{ConnectionId, Hints, Master, VoterRelease},
    recording::Tape,
    registry::LEVEL,
};
use meshos_protocol::{
    ids::{AgentId, ContainerId, Fence, FrameworkId, Generation, NodeId, SessionId, Term},
    resources::Resources,
    role::Role,
    task::{Exit, Reason, TaskLaunch},
    time::{Mono, Now, Wall},
};

use crate::{
    disk::Disk,
    executors::RECOVERY_MS,
    gateway::Caller,
    invariants,
    launcher::{Container, Launcher},
    net::StreamId,
    places::Place,
    releases::OnRecord,
    volumes::{Directories, Volumes},
    world::{CLUSTER, Happening, World},
};

/// When simulated time begins, by the clocks on the walls.
const WALL_START_MS: i64 = 1_700_000_000_000;

/// A machine.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// What it has.
    pub capacity: Resources,
    /// Where it stands.
    pub place: Place,
    /// Up to which level its release knows the registry.
    pub level: u32,
    /// How often its process has started.
    pub generation: u64,
    /// Its process, while it runs.
    pub process: Option<Process>,
    /// Its disk.
    pub disk: Disk,
    /// Its launcher.
    pub launcher: Launcher,
    /// The directories of its volumes.
    pub volumes: Volumes,
    /// How wrong its clock is.
    pub skew_ms: i64,
    /// Whether the machine was restarted since the process last ran.
    pub boot_changed: bool,
    /// How much longer than usual its disk takes.
    pub disk_factor: u64,
    /// Whether its disk has refused writes since its process last started.
    pub disk_refused: bool,
}

/// A node's process.
#[derive(Debug)]
pub struct Process {
    /// The start generation.
    pub generation: u64,
    /// The agent half.
    pub agent: Agent,
    /// When the agent's next tick is planned.
    pub agent_tick: Option<u64>,
    /// The leader that a majority of the voters confirmed, with the fence on disk.
    pub leader: Option<(Term, usize)>,
    /// The term that voters are being asked about.
    pub confirming: Option<Term>,
    /// The agent's stream to the leader.
    pub agent_stream: Option<StreamId>,
    /// The master half, while this node believes that it leads.
    pub leading: Option<Leading>,
    /// The gateway's callers.
    pub callers: BTreeMap<u64, Caller>,
    /// Executors whose sockets it listens on.
    pub served: BTreeSet<ContainerId>,
    /// The newest connection of each executor.
    pub executor_links: BTreeMap<ContainerId, u64>,
    /// What the leader told of its tasks.
    pub hints: Hints,
}

/// A master with its streams.
#[derive(Debug)]
pub struct Leading {
    /// Its term.
    pub term: Term,
    /// The state machine.
    pub master: Master,
    /// Of what it is told.
    pub tape: Tape,
    /// Until when it may act without hearing from a majority.
    pub lease_until: u64,
    /// When its next tick is planned.
    pub tick: Option<u64>,
    /// Agents' streams.
    pub connections: BTreeMap<ConnectionId, StreamId>,
    /// Gateways' streams.
    pub sessions: BTreeMap<SessionId, StreamId>,
    /// What it was told to be on record.
    pub on_record: OnRecord,
    /// What it was told of the voters' releases.
    pub voters_told: Vec<VoterRelease>,
    /// The agents that it has waited for since it was elected.
    pub unreported: BTreeSet<AgentId>,
    /// How many streams it has had.
    pub streams_numbered: u64,
}

impl Node {
    /// The leader that it is, or believes to be.
    pub fn leading(&self) -> Option<&Leading> {
        self.process.as_ref()?.leading.as_ref()
    }

    /// The same, to be changed.
    pub(crate) fn leading_mut(&mut self) -> Option<&mut Leading> {
        self.process.as_mut()?.leading.as_mut()
    }

    /// A machine that was never started.
    pub fn new(id: NodeId, capacity: Resources) -> Self {
        Self {
            id,
            capacity,
            place: Place::default(),
            level: LEVEL,
            generation: 0,
            process: None,
            disk: Disk::default(),
            launcher: Launcher::default(),
            volumes: Volumes::default(),
            skew_ms: 0,
            boot_changed: false,
            disk_factor: 1,
            disk_refused: false,
        }
    }

    /// Both clocks of the machine.
    pub fn now(&self, now_ms: u64) -> Now {
        let since_start = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let wall = WALL_START_MS.saturating_add(since_start).saturating_add(self.skew_ms);
        Now { mono: Mono(now_ms), wall: Wall(u64::try_from(wall).unwrap_or(0)) }
    }

    /// The roles and resources of the tasks that it has or will have again, whether its process lives
    /// or not.
    pub fn tasks(&self) -> Vec<(Role, Resources)> {
        let of = |record: &agent::TaskRecord| {
            (record.launch.role.clone(), record.launch.description.resources.clone())
        };
        match &self.process {
            Some(process) => {
                let tasks = process.agent.view().tasks;
                let held = tasks.iter().filter(|task| task.holds_resources);
                held.map(|task| of(&task.record)).collect()
            }
            None => {
                let live = self.disk.records.values().filter(|it| !it.state.is_terminal());
                live.map(of).collect()
            }
        }
    }

    /// The sum of what its containers use.
    pub fn running(&self) -> Resources {
        self.launcher.running().map(|(_, container)| &container.resources).sum()
    }
}

impl World {
    /// Starts a node's process over what its disk and launcher hold.
    pub fn start_node(&mut self, index: usize) {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[index];
        if node.process.is_some() {
            return;
        }
        node.generation += 1;
        node.disk_refused = false;
        let generation = node.generation;
        let mut config = AgentConfig::new(node.id, Generation(generation), node.capacity.clone());
        config.hostname = format!("n{index}");
        config.attributes = node.place.attributes();
        config.domain = node.place.domain.clone();
        config.update_retry_min = Duration::from_secs(1);
        config.update_retry_max = Duration::from_secs(8);
        config.kill_grace = Duration::from_millis(800);
        config.destroy_retry = Duration::from_secs(2);
        config.executor_registration_timeout = Duration::from_secs(3);
        config.executor_recovery_timeout = Duration::from_millis(RECOVERY_MS);
        config.executor_shutdown_grace = Duration::from_millis(600);
        let found = Recovered {
            agent: node.disk.agent,
            fence: node.disk.term.map(|term| Fence { cluster: CLUSTER, term }),
            records: node.disk.records.values().cloned().collect(),
            executors: node.disk.executors.values().cloned().collect(),
            ends: node.disk.ends.iter().map(|(number, end)| (*number, end.clone())).collect(),
            containers: node.launcher.found(),
            operations: node.disk.operations.clone(),
            boot_changed: std::mem::take(&mut node.boot_changed),
        };
        let mut effects = Vec::new();
        let agent = Agent::recover(config, found, node.now(now_ms), &mut effects);
        agent.check_invariants();
        node.process = Some(Process {
            generation,
            agent,
            agent_tick: None,
            leader: None,
            confirming: None,
            agent_stream: None,
            leading: None,
            callers: BTreeMap::new(),
            served: BTreeSet::new(),
            executor_links: BTreeMap::new(),
            hints: Hints::default(),
        });
        self.note(format_args!("n{index} starts for the {generation}. time"));
        self.maybe_upgrade(index);
        self.perform_agent(index, effects);
        self.plan_agent_tick(index);
    }

    /// Ends a node's process without warning. Its launcher and containers live on.
    pub fn crash_node(&mut self, index: usize) {
        let Some(mut process) = self.nodes[index].process.take() else { return };
        process.leading.iter_mut().for_each(invariants::check_replayed);
        self.note(format_args!("n{index} crashes"));
        let survivors = self.dice.index(self.nodes[index].disk.pending() + 1);
        self.nodes[index].disk.crash(survivors);
        for ((framework, task), record) in &self.nodes[index].disk.records {
            if let Some(checks) = &record.checks {
                self.oracle.failures_left(*framework, task, checks.failures);
            }
        }
        // What was being prepared comes up in spite of the crash, or is cleaned away.
        let preparing: Vec<_> = self.nodes[index].launcher.preparing.keys().cloned().collect();
        for container in preparing {
            if self.dice.chance(500) {
                self.container_up(index, &container);
            }
        }
        self.nodes[index].launcher.preparing.clear();
        drop(process);
        self.executors_lose_agent(index);
        self.host_is_down(crate::net::Host::Node(index), self.nodes[index].generation);
    }

    /// Ends everything on a machine.
    pub fn crash_machine(&mut self, index: usize) {
        self.crash_node(index);
        self.note(format_args!("n{index} loses its containers"));
        let node = &mut self.nodes[index];
        node.launcher = Launcher::default();
        node.boot_changed = true;
    }

    /// Ends a launcher without warning; its containers live on, and a new one adopts them.
    pub fn kill_launcher(&mut self, index: usize, for_ms: u64) {
        self.note(format_args!("n{index} loses its launcher for {for_ms} ms"));
        self.nodes[index].launcher.dead = true;
        self.plan(for_ms, Happening::LauncherStarts { node: index });
    }

    /// Hands an event to an agent and carries out what it wishes for.
    pub fn agent_event(&mut self, index: usize, event: agent::Event) {
        let now = self.nodes[index].now(self.now_ms);
        let Some(process) = &mut self.nodes[index].process else { return };
        let mut effects = Vec::new();
        let instruction = match &event {
            agent::Event::Message(frame) => Some(frame.fence),
            _ => None,
        };
        self.trace.note(self.now_ms, format_args!("n{index} agent: {event:?}"));
        process.agent.handle(now, event, &mut effects);
        process.agent.check_invariants();
        if let Some(fence) = instruction {
            self.oracle.instructed(index, fence, process.agent.view().fence, &effects);
        }
        self.perform_agent(index, effects);
        self.plan_agent_tick(index);
    }

    fn plan_agent_tick(&mut self, index: usize) {
        let Some(process) = &mut self.nodes[index].process else { return };
        let Some(deadline) = process.agent.next_deadline() else { return };
        let at_ms = deadline.0.max(self.now_ms + 1);
        if process.agent_tick.is_none_or(|planned| planned > at_ms) {
            process.agent_tick = Some(at_ms);
            let generation = process.generation;
            self.plan_at(at_ms, Happening::AgentTick { node: index, generation });
        }
    }

    fn perform_agent(&mut self, index: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist { write, change } => {
                    let node = &mut self.nodes[index];
                    node.disk.write(write, change);
                    let generation = node.generation;
                    let delay = self.disk_delay(index);
                    self.plan(delay, Happening::Disk { node: index, generation });
                }
                Effect::StartContainer { container, framework, launch, .. } => {
                    self.prepare_container(index, container, framework, &launch);
                }
                Effect::StartExecutor { container, framework, info, resources, .. } => {
                    self.prepare_executor(index, container, framework, &info, resources);
                }
                Effect::StartProbe { probe, how, task } => self.ask_task(index, probe, &how, &task),
                Effect::EndProbe { probe } => self.end_probe(index, probe),
                Effect::ServeExecutor { container } => {
                    if let Some(process) = &mut self.nodes[index].process {
                        process.served.insert(container);
                    }
                }
                Effect::TellExecutor { container, event } => {
                    self.tell_executor(index, &container, event);
                }
                Effect::LimitContainer { container, resources } => {
                    let containers = &mut self.nodes[index].launcher.containers;
                    if let Some(container) = containers.get_mut(&container) {
                        container.resources = resources;
                    }
                }
                Effect::MakeVolumes { operation, directories } => {
                    self.change_directories(index, Directories::Made { operation, directories });
                }
                Effect::RemoveVolume { directory } => {
                    self.change_directories(index, Directories::Removed { directory });
                }
                Effect::Terminate { container } => self.terminate_container(index, container),
                Effect::Destroy { container } => {
                    let exit = Exit::Signal { signal: 9 };
                    let delay = self.dice.number(1..=30);
                    self.plan(delay, Happening::ContainerEnds { node: index, container, exit });
                }
                Effect::Release { container } => {
                    let known = self.nodes[index].launcher.containers.remove(&container);
                    assert!(
                        known.is_none_or(|container| container.ended.is_some()),
                        "n{index} releases {container}, which runs"
                    );
                }
                Effect::Halt { why, .. } => {
                    self.note(format_args!("n{index} ends: {why}"));
                    let generation = self.nodes[index].generation;
                    self.plan(0, Happening::NodeDies { node: index, generation });
                }
                Effect::SendToLeader(message) => {
                    let stream = self.nodes[index].process.as_ref().and_then(|p| p.agent_stream);
                    if let Some(stream) = stream {
                        self.send(
                            stream,
                            crate::net::Side::Acceptor,
                            crate::net::Frame::ToLeader(message),
                        );
                    }
                }
            }
        }
    }

    /// How long a durable write takes on a node's disk.
    pub fn disk_delay(&mut self, index: usize) -> u64 {
        self.dice.number(1..=6) * self.nodes[index].disk_factor
    }

    fn prepare_container(
        &mut self,
        index: usize,
        id: ContainerId,
        framework: FrameworkId,
        launch: &TaskLaunch,
    ) {
        let description = &launch.description;
        let container = Container {
            framework,
            task: Some(description.task_id.clone()),
            program: None,
            resources: description.resources.clone(),
            pid: 0,
            ended: None,
        };
        self.prepare(index, id, container);
    }

    /// A container comes up after a while, unless its node dies before.
    pub(crate) fn prepare(&mut self, index: usize, id: ContainerId, container: Container) {
        self.nodes[index].launcher.preparing.insert(id.clone(), container);
        let delay = self.dice.skewed(1..=2_000);
        let generation = self.nodes[index].generation;
        self.plan(delay, Happening::ContainerUp { node: index, generation, container: id });
    }

    /// A container that was being prepared runs, or could not be started.
    pub fn container_prepared(&mut self, index: usize, generation: u64, container: ContainerId) {
        let node = &mut self.nodes[index];
        let lives = node.process.as_ref().is_some_and(|process| process.generation == generation);
        if !lives || !node.launcher.preparing.contains_key(&container) {
            return;
        }
        if node.launcher.dead {
            self.plan(20, Happening::ContainerUp { node: index, generation, container });
            return;
        }
        if self.dice.chance(20) {
            node_forgets(&mut self.nodes[index].launcher, &container);
            let (reason, message) = (Reason::ContainerLaunchFailed, "no such user".to_owned());
            self.agent_event(index, agent::Event::ContainerFailed { container, reason, message });
            return;
        }
        if let Some(pid) = self.container_up(index, &container) {
            self.agent_event(index, agent::Event::ContainerStarted { container, pid });
        }
    }

    /// The moment at which a task starts, whatever anybody knows of it.
    fn container_up(&mut self, index: usize, id: &ContainerId) -> Option<u32> {
        let node = &mut self.nodes[index];
        let container = node.launcher.comes_up(id)?;
        let (framework, task, pid) = (container.framework, container.task.clone(), container.pid);
        let Some(task) = task else {
            self.trace.note(self.now_ms, format_args!("n{index} runs {id}, an executor"));
            self.executor_up(index, id);
            return Some(pid);
        };
        self.trace.note(self.now_ms, format_args!("n{index} runs {id}: {task}"));
        self.oracle.started(index, framework, &task);
        let exit = Exit::Code { code: i32::from(self.dice.chance(200)) };
        let delay = self.draw_task_ms(&task);
        self.plan(delay, Happening::ContainerEnds { node: index, container: id.clone(), exit });
        Some(pid)
    }

    fn terminate_container(&mut self, index: usize, container: ContainerId) {
        // One in four ignores the signal.
        if self.dice.chance(750) {
            let delay = self.dice.number(1..=500);
            let exit = Exit::Signal { signal: 15 };
            self.plan(delay, Happening::ContainerEnds { node: index, container, exit });
        }
    }

    /// A container ends, if it still runs.
    pub fn container_ends(&mut self, index: usize, container: ContainerId, exit: Exit) {
        let launcher = &mut self.nodes[index].launcher;
        let Some(exit) = launcher.ends(&container, exit) else { return };
        if launcher.dead {
            return;
        }
        self.trace.note(self.now_ms, format_args!("n{index} ended {container}"));
        let event = agent::Event::ContainerExited { container, exit, limitation: None };
        self.agent_event(index, event);
    }

    /// A new launcher has adopted what runs and tells what ended.
    pub fn launcher_starts(&mut self, index: usize) {
        let launcher = &mut self.nodes[index].launcher;
        if !std::mem::replace(&mut launcher.dead, false) {
            return;
        }
        let ended: Vec<_> = launcher
            .containers
            .iter()
            .filter_map(|(id, container)| Some((id.clone(), container.ended.clone()?)))
            .collect();
        for (container, exit) in ended {
            let event = agent::Event::ContainerExited { container, exit, limitation: None };
            self.agent_event(index, event);
        }
    }
}

fn node_forgets(launcher: &mut Launcher, container: &ContainerId) {
    launcher.preparing.remove(container);
}
