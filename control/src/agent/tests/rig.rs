//! An agent with a modelled disk and launcher, which live on when the agent crashes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use meshos_protocol::{
    check::Probe,
    executor::{ExecutorInfo, ExecutorKind},
    ids::{
        AgentId, ClusterId, ContainerId, ExecutorId, Fence, FrameworkId, Generation, NodeId,
        OperationUuid, TaskId, Term, UpdateId,
    },
    messages::{
        agent::{Registration, ToAgent, ToAgentFrame, ToLeader},
        executor::Event as ExecutorEvent,
    },
    operation::OperationState,
    resources::Resources,
    role::Role,
    task::{
        Command, CommandLine, Exit, GroupEnds, GroupMember, Reason, StatusUpdate, TaskDescription,
        TaskEnd, TaskLaunch, TaskState, Uri,
    },
    time::{Mono, Now, Wall},
};

use crate::agent::{
    Agent, AgentConfig, Change, Effect, Event, ExecutorRecord, FoundContainer, OperationsRecord,
    ProbeOutcome, Recovered, TaskRecord, TaskVolume, VolumeRecord, WriteId,
};

pub(super) const NODE: NodeId = NodeId::from_bits(7);
pub(super) const AGENT: AgentId = AgentId::new(NODE, 1);
pub(super) const CLUSTER: ClusterId = ClusterId::from_u128(1);
pub(super) const F1: FrameworkId = FrameworkId(1);

pub(super) fn fence(term: u64) -> Fence {
    Fence { cluster: CLUSTER, term: Term(term) }
}

pub(super) fn task_id(name: &str) -> TaskId {
    TaskId::new(name).unwrap()
}

/// A task of one cpu.
pub(super) fn task(name: &str) -> TaskLaunch {
    let description = TaskDescription {
        task_id: task_id(name),
        name: name.to_owned(),
        resources: "cpus:1;mem:64".parse().unwrap(),
        command: Command {
            line: CommandLine::Shell { line: "true".to_owned() },
            environment: BTreeMap::new(),
            user: None,
            uris: Vec::new(),
        },
        executor: None,
        group: None,
        data: Vec::new(),
        kill_grace_ms: None,
        max_completion_ms: None,
        health_check: None,
        check: None,
        labels: BTreeMap::new(),
    };
    TaskLaunch { description, role: Role::default(), executor_resources: None }
}

/// A task of one cpu for the executor `pool`, which takes half a cpu; it is started by the first.
pub(super) fn executor_task(name: &str, starts: bool) -> TaskLaunch {
    let mut launch = task(name);
    let command = std::mem::replace(&mut launch.description.command, Command::none());
    let resources: Resources = "cpus:0.5;mem:32".parse().unwrap();
    launch.executor_resources = starts.then(|| resources.clone());
    launch.description.executor = Some(Box::new(ExecutorInfo {
        id: ExecutorId::new("pool").unwrap(),
        name: String::new(),
        kind: ExecutorKind::Custom,
        source: String::new(),
        resources,
        command,
        data: b"for the pool".to_vec(),
        shutdown_grace_ms: None,
        labels: BTreeMap::new(),
    }));
    launch
}

/// A group of tasks for the executor `pod`, which is the one in the box and takes half a cpu.
pub(super) fn group(names: &[&str], starts: bool) -> Vec<TaskLaunch> {
    let mut tasks: Vec<TaskLaunch> = names.iter().map(|name| task(name)).collect();
    for (place, launch) in tasks.iter_mut().enumerate() {
        let mut named = executor_task(names[0], starts && place == 0);
        let mut info = named.description.executor.take().unwrap();
        info.id = ExecutorId::new("pod").unwrap();
        info.kind = ExecutorKind::Group;
        info.command = Command::none();
        launch.executor_resources = named.executor_resources;
        launch.description.executor = Some(info);
        launch.description.group = Some(Box::new(GroupMember {
            first: task_id(names[0]),
            size: u32::try_from(names.len()).unwrap(),
            ends: GroupEnds::Together,
        }));
    }
    tasks
}

/// A task that has something to fetch.
pub(super) fn fetching(name: &str) -> TaskLaunch {
    let mut launch = task(name);
    let value = "/etc/hostname".to_owned();
    launch.description.command.uris =
        vec![Uri { value, executable: false, extract: false, output_file: None }];
    launch
}

pub(super) fn launch_of(framework: FrameworkId, tasks: Vec<TaskLaunch>) -> ToAgent {
    ToAgent::Launch { framework, user: String::new(), info: None, tasks }
}

pub(super) const CODE_0: Exit = Exit::Code { code: 0 };

/// What survives the agent's process.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) agent: Option<AgentId>,
    pub(super) fence: Option<Fence>,
    pub(super) records: BTreeMap<(FrameworkId, TaskId), TaskRecord>,
    pub(super) executors: BTreeMap<(FrameworkId, ExecutorId), ExecutorRecord>,
    pub(super) ends: BTreeMap<u64, TaskEnd>,
    pub(super) operations: OperationsRecord,
}

impl Disk {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Agent(agent) => self.agent = agent,
            Change::Task(record) => {
                let key = (record.framework, record.launch.description.task_id.clone());
                self.records.insert(key, *record);
            }
            Change::Group(records) => {
                for record in records {
                    self.apply(Change::Task(Box::new(record)));
                }
            }
            Change::Operations(record) => self.operations = *record,
            Change::Executor(record) => {
                self.executors.insert((record.framework, record.info.id.clone()), *record);
            }
            Change::ForgetExecutor { framework, executor } => {
                self.executors.remove(&(framework, executor));
            }
            Change::Forget { framework, task, end } => {
                self.records.remove(&(framework, task));
                if let Some(kept) = end {
                    self.ends.insert(kept.number, Arc::unwrap_or_clone(kept.end));
                    self.ends.retain(|number, _| *number >= kept.oldest);
                }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Rig {
    pub(super) agent: Agent,
    pub(super) now: Now,
    pub(super) disk: Disk,
    /// Writes that are not yet durable.
    pub(super) pending: VecDeque<(WriteId, Change)>,
    /// What the launcher knows; survives the agent's process.
    pub(super) containers: BTreeMap<ContainerId, FoundContainer>,
    /// Containers that were asked for and have not come up.
    pub(super) preparing: Vec<ContainerId>,
    /// Containers that were told to end, by SIGTERM and by SIGKILL.
    pub(super) terminated: Vec<ContainerId>,
    pub(super) destroyed: Vec<ContainerId>,
    pub(super) released: Vec<ContainerId>,
    /// Directories of volumes that are to be made or removed.
    pub(super) making: Vec<(OperationUuid, Vec<String>)>,
    pub(super) removing: Vec<String>,
    /// The volumes that were given to tasks.
    pub(super) mounted: Vec<TaskVolume>,
    /// Executors whose sockets are to be served.
    pub(super) served: Vec<ContainerId>,
    /// What executors were told.
    pub(super) told: Vec<(ContainerId, ExecutorEvent)>,
    /// Containers of tasks whose updates nobody waits for any more.
    pub(super) given_up: BTreeSet<ContainerId>,
    /// What containers were limited to.
    pub(super) limited: Vec<(ContainerId, Resources)>,
    /// Probes that are under way, and how each asks.
    pub(super) probes: BTreeMap<ContainerId, Probe>,
    /// Probes that were called off.
    pub(super) ended_probes: Vec<ContainerId>,
    /// What was said to the leader and not yet looked at.
    pub(super) said: Vec<ToLeader>,
    /// Which tasks were started, in order, over all crashes.
    pub(super) starts: Vec<(FrameworkId, TaskId)>,
    pub(super) generation: u64,
    pub(super) boot_changed: bool,
    /// Why the node was told to end.
    pub(super) halted: Option<String>,
}

impl Rig {
    /// A new agent, admitted and registered in term 1.
    pub(super) fn registered() -> Self {
        Self::registered_with(config(1))
    }

    /// The same of an agent with such settings.
    pub(super) fn registered_with(config: AgentConfig) -> Self {
        let mut rig = Self::with(config);
        rig.connect(1);
        rig.tell(ToAgent::Registered { agent: AGENT, draining: false });
        rig.flush();
        rig.said.clear();
        rig
    }

    /// An agent that was never admitted.
    pub(super) fn fresh() -> Self {
        Self::with(config(1))
    }

    fn with(config: AgentConfig) -> Self {
        let now = Now { mono: Mono(1_000), wall: Wall(1_000_000) };
        let mut effects = Vec::new();
        let agent = Agent::recover(config, Recovered::default(), now, &mut effects);
        assert!(effects.is_empty(), "nothing is found, nothing is to do");
        Self {
            agent,
            now,
            disk: Disk::default(),
            pending: VecDeque::new(),
            containers: BTreeMap::new(),
            preparing: Vec::new(),
            terminated: Vec::new(),
            destroyed: Vec::new(),
            released: Vec::new(),
            making: Vec::new(),
            removing: Vec::new(),
            mounted: Vec::new(),
            served: Vec::new(),
            told: Vec::new(),
            given_up: BTreeSet::new(),
            limited: Vec::new(),
            probes: BTreeMap::new(),
            ended_probes: Vec::new(),
            said: Vec::new(),
            starts: Vec::new(),
            generation: 1,
            boot_changed: false,
            halted: None,
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.note_given_up(&event);
        let mut effects = Vec::new();
        self.agent.handle(self.now, event, &mut effects);
        self.agent.check_invariants();
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist { write, change } => self.pending.push_back((write, change)),
                Effect::MakeVolumes { operation, directories } => {
                    for directory in &directories {
                        let known = |it: &VolumeRecord| it.directory == *directory;
                        let on_disk = self.disk.operations.volumes.iter().any(known);
                        assert!(on_disk, "{directory} is made before its volume is on disk");
                    }
                    self.making.push((operation, directories));
                }
                Effect::RemoveVolume { directory } => {
                    let known = self.disk.operations.removing.contains(&directory);
                    assert!(known, "{directory} is removed before its end is on disk");
                    self.removing.push(directory);
                }
                Effect::StartContainer { container, framework, launch, volumes, .. } => {
                    for volume in &volumes {
                        let known = |it: &VolumeRecord| it.directory == volume.directory;
                        let on_disk = self.disk.operations.volumes.iter().any(known);
                        assert!(on_disk, "{volume:?} is used before it is on disk");
                    }
                    self.mounted.extend(volumes);
                    let key = (framework, launch.description.task_id);
                    assert!(
                        self.disk.records.contains_key(&key),
                        "{key:?} starts before it is on disk"
                    );
                    self.starts.push(key);
                    self.preparing.push(container);
                }
                Effect::StartExecutor { container, framework, info, .. } => {
                    let known = self.disk.executors.contains_key(&(framework, info.id.clone()));
                    assert!(known, "{} starts before it is on disk", info.id);
                    self.preparing.push(container);
                }
                Effect::StartProbe { probe, how, task } => {
                    self.start_probe(probe, *how, &task);
                }
                Effect::EndProbe { probe } => self.ended_probes.push(probe),
                Effect::ServeExecutor { container } => self.served.push(container),
                Effect::TellExecutor { container, event } => {
                    self.check_handed_over(&container, &event);
                    self.told.push((container, event));
                }
                Effect::LimitContainer { container, resources } => {
                    self.limited.push((container, resources));
                }
                Effect::Terminate { container } => self.terminated.push(container),
                Effect::Destroy { container } => self.destroyed.push(container),
                Effect::Halt { why, .. } => self.halted = Some(why),
                Effect::Release { container } => {
                    let known = self.containers.remove(&container);
                    assert!(
                        known.is_none_or(|c| c.ended.is_some()),
                        "{container} runs, cannot be released"
                    );
                    self.released.push(container);
                }
                Effect::SendToLeader(message) => {
                    self.check_durable(&message);
                    self.said.push(message);
                }
            }
        }
    }

    /// A probe asks a task that runs, as far as anybody knows.
    fn start_probe(&mut self, probe: ContainerId, how: Probe, task: &TaskRecord) {
        let known = self.containers.contains_key(&task.container);
        assert!(known, "{} is asked and never ran", task.container);
        assert!(self.probes.insert(probe, how).is_none(), "probes have names of their own");
    }

    /// A probe finds something.
    pub(super) fn probe_ends(&mut self, probe: &ContainerId, outcome: ProbeOutcome) {
        self.probes.remove(probe);
        self.event(Event::ProbeEnded { probe: probe.clone(), outcome });
    }

    /// The one probe that is under way.
    pub(super) fn probe(&self) -> ContainerId {
        assert_eq!(self.probes.len(), 1, "one probe: {:?}", self.probes);
        self.probes.keys().next().unwrap().clone()
    }

    /// A task is on disk before it is handed over, and is handed over once; an update is on disk before
    /// it is acknowledged, or its task is over or given up.
    fn check_handed_over(&mut self, container: &ContainerId, event: &ExecutorEvent) {
        let record = |rig: &Self, task: &TaskId| {
            let mut records = rig.disk.records.values();
            let named = |it: &&TaskRecord| it.launch.description.task_id == *task;
            records.find(|it| named(it) && it.container == *container).cloned()
        };
        match event {
            ExecutorEvent::Launch { task } => {
                let known = record(self, &task.task_id).expect("handed over before it is on disk");
                self.starts.push((known.framework, task.task_id.clone()));
            }
            ExecutorEvent::LaunchGroup { tasks } => {
                for task in tasks {
                    let known =
                        record(self, &task.task_id).expect("handed over before it is on disk");
                    self.starts.push((known.framework, task.task_id.clone()));
                }
            }
            ExecutorEvent::Acknowledged { task, update } => {
                if let Some(known) = record(self, task) {
                    let taken = known.updates_taken.contains(update);
                    let matters = !self.given_up.contains(container);
                    assert!(
                        taken || known.state.is_terminal() || !matters,
                        "{update} is not on disk"
                    );
                }
            }
            ExecutorEvent::Subscribed(_)
            | ExecutorEvent::Kill { .. }
            | ExecutorEvent::Message { .. }
            | ExecutorEvent::Shutdown { .. }
            | ExecutorEvent::Error { .. }
            | ExecutorEvent::Unknown => {}
        }
    }

    /// Nobody waits for the updates of an agent id or a framework that has ended.
    fn note_given_up(&mut self, event: &Event) {
        let Event::Message(ToAgentFrame { message, .. }) = event else { return };
        let ended = if let ToAgent::CloseFramework { framework } = message {
            Some(*framework)
        } else if matches!(message, ToAgent::Gone { .. }) {
            None
        } else {
            return;
        };
        let waiting = self.pending.iter().flat_map(|(_, change)| {
            if let Change::Task(record) = change {
                std::slice::from_ref(record.as_ref())
            } else if let Change::Group(records) = change {
                records.as_slice()
            } else {
                &[]
            }
        });
        let records = self.disk.records.values().chain(waiting);
        let of_them = records.filter(|it| ended.is_none_or(|ended| it.framework == ended));
        self.given_up.extend(of_them.map(|record| record.container.clone()).collect::<Vec<_>>());
    }

    /// A terminal update with an id is on disk before it is told.
    fn check_durable(&self, message: &ToLeader) {
        if let ToLeader::Operation { report, .. } = message
            && report.state == OperationState::Finished
        {
            let mut unsettled = self.disk.operations.unsettled.iter();
            assert!(unsettled.any(|it| it.uuid == report.uuid), "told before written: {report:?}");
        }
        let ToLeader::Update { status } = message else { return };
        if status.state.is_terminal() && status.update.is_some() {
            let record = self.disk.records.get(&(status.framework, status.task.clone()));
            let on_disk = record.is_some_and(|record| record.unacknowledged.contains(status));
            assert!(on_disk, "told before it was written: {status:?}");
        }
    }

    /// Everything written so far becomes durable.
    pub(super) fn flush(&mut self) {
        while !self.pending.is_empty() {
            self.flush_some(usize::MAX);
        }
    }

    /// The oldest `count` writes become durable.
    pub(super) fn flush_some(&mut self, count: usize) {
        let count = count.min(self.pending.len());
        let mut newest = None;
        for (write, change) in self.pending.drain(..count) {
            self.disk.apply(change);
            newest = Some(write);
        }
        if let Some(write) = newest {
            self.event(Event::Persisted(write));
        }
    }

    pub(super) fn connect(&mut self, term: u64) {
        self.disk.fence = Some(fence(term));
        self.event(Event::LeaderConfirmed { fence: fence(term) });
        self.event(Event::Connected);
    }

    /// The leader of the confirmed term speaks.
    pub(super) fn tell(&mut self, message: ToAgent) {
        let fence = self.disk.fence.unwrap();
        self.event(Event::Message(ToAgentFrame { fence, message }));
    }

    pub(super) fn launch(&mut self, name: &str) {
        self.tell(launch_of(F1, vec![task(name)]));
    }

    /// Launches a task and lets its container come up; returns the container.
    pub(super) fn run(&mut self, name: &str) -> ContainerId {
        self.launch(name);
        self.flush();
        let container = self.preparing.pop().unwrap();
        self.comes_up(&container);
        self.flush();
        container
    }

    /// Runs a task whose running update is acknowledged.
    pub(super) fn run_acknowledged(&mut self, name: &str) -> ContainerId {
        let container = self.run(name);
        let update = self.updates().pop().unwrap();
        self.acknowledge(&update);
        container
    }

    pub(super) fn comes_up(&mut self, container: &ContainerId) {
        let found = FoundContainer { container: container.clone(), ended: None, pid: Some(100) };
        self.containers.insert(container.clone(), found);
        self.event(Event::ContainerStarted { container: container.clone(), pid: 100 });
    }

    pub(super) fn exits(&mut self, container: &ContainerId, exit: Exit) {
        self.exits_unseen(container, exit.clone());
        let container = container.clone();
        self.event(Event::ContainerExited { container, exit, limitation: None });
    }

    /// The container ends while no agent is there to see it.
    pub(super) fn exits_unseen(&mut self, container: &ContainerId, exit: Exit) {
        let found = self.containers.get_mut(container).unwrap();
        found.ended = Some((exit, None));
        found.pid = None;
    }

    pub(super) fn acknowledge(&mut self, status: &StatusUpdate) {
        let update = status.update.unwrap();
        self.acknowledge_id(&status.task, update);
    }

    pub(super) fn acknowledge_id(&mut self, task: &TaskId, update: UpdateId) {
        self.tell(ToAgent::Acknowledge { framework: F1, task: task.clone(), update });
    }

    /// The updates that were sent since the last look, in order.
    pub(super) fn updates(&mut self) -> Vec<StatusUpdate> {
        let updates = |message| match message {
            ToLeader::Update { status } => Some(status),
            ToLeader::Register(_)
            | ToLeader::Report { .. }
            | ToLeader::TaskEnded { .. }
            | ToLeader::Operation { .. }
            | ToLeader::Leaving
            | ToLeader::ExecutorEnded { .. }
            | ToLeader::ExecutorMessage { .. }
            | ToLeader::Ends { .. }
            | ToLeader::Unknown => None,
        };
        std::mem::take(&mut self.said).into_iter().filter_map(updates).collect()
    }

    /// The one update that was sent since the last look.
    pub(super) fn update(&mut self) -> StatusUpdate {
        let mut updates = self.updates();
        assert_eq!(updates.len(), 1, "one update: {updates:?}");
        updates.pop().unwrap()
    }

    /// The states of the updates that were sent since the last look.
    pub(super) fn states(&mut self) -> Vec<TaskState> {
        self.updates().iter().map(|status| status.state).collect()
    }

    /// The first frame of the registration that was just sent.
    pub(super) fn registration(&mut self) -> Registration {
        let ToLeader::Register(registration) = self.said.remove(0) else {
            panic!("no registration, but {:?}", self.said)
        };
        registration
    }

    /// Lets time pass, with a tick at every deadline on the way.
    pub(super) fn wait(&mut self, ms: u64) {
        let until = self.now.mono.0 + ms;
        while let Some(deadline) = self.agent.next_deadline().filter(|d| d.0 <= until) {
            let step = deadline.0.saturating_sub(self.now.mono.0);
            self.now =
                Now { mono: Mono(self.now.mono.0 + step), wall: Wall(self.now.wall.0 + step) };
            self.event(Event::Tick);
        }
        let step = until - self.now.mono.0;
        self.now = Now { mono: Mono(until), wall: Wall(self.now.wall.0 + step) };
    }

    /// The agent's process dies: what was not durable is lost, and what was being started is not.
    pub(super) fn crash(&mut self) {
        self.pending.clear();
        self.preparing.clear();
        self.probes.clear();
        self.making.clear();
        self.removing.clear();
        self.said.clear();
        self.generation += 1;
        let recovered = Recovered {
            agent: self.disk.agent,
            fence: self.disk.fence,
            records: self.disk.records.values().cloned().collect(),
            executors: self.disk.executors.values().cloned().collect(),
            ends: self.disk.ends.iter().map(|(number, end)| (*number, end.clone())).collect(),
            containers: self.containers.values().cloned().collect(),
            operations: self.disk.operations.clone(),
            boot_changed: self.boot_changed,
        };
        self.boot_changed = false;
        let mut effects = Vec::new();
        self.agent = Agent::recover(config(self.generation), recovered, self.now, &mut effects);
        self.agent.check_invariants();
        self.perform(effects);
    }

    /// The machine dies: the launcher and all containers too.
    pub(super) fn reboot(&mut self) {
        self.containers.clear();
        self.boot_changed = true;
        self.crash();
    }

    /// The agent id has ended: it registers anew.
    pub(super) fn tell_gone(&mut self) {
        self.register_again(2);
        self.tell(ToAgent::Gone { message: String::new(), leave: false });
        self.flush();
    }

    /// Registers again with the leader of `term` and returns the registration.
    pub(super) fn register_again(&mut self, term: u64) -> Registration {
        self.connect(term);
        let registration = self.registration();
        self.said.clear();
        self.tell(ToAgent::Registered { agent: AGENT, draining: false });
        registration
    }
}

pub(super) fn config(generation: u64) -> AgentConfig {
    let resources: Resources = "cpus:4;mem:4096;disk:1000".parse().unwrap();
    AgentConfig::new(NODE, Generation(generation), resources)
}

pub(super) fn killed(status: &StatusUpdate) -> (TaskState, Option<Reason>) {
    (status.state, status.reason)
}
