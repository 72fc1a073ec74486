//! A master with a registry behind it and everything around it played by the test.
//!
//! Each step hands in events; what the master wishes for is kept as one line each, in words, until
//! [`World::told`] takes it. Nodes are `n1`, framework streams
//! `s1` in the order of their opening.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshos_protocol::{
    attributes::Attributes,
    framework::{Capabilities, FrameworkInfo},
    ids::{
        AgentId, ClusterId, Fence, FrameworkId, Generation, NodeId, OfferId, Principal, RequestId,
        SessionId, Subscription, TaskId, Term, UpdateId,
    },
    maintenance::{InverseOffer, Unavailability},
    messages::{
        agent::{Registration, TaskHint, ToAgent, ToLeader},
        node::Release,
        scheduler::{Accept, Call, CallFrame, Event as FrameworkEvent, RescindCause, Subscribe},
    },
    resources::Resources,
    role::Role,
    task::{
        Command as TaskCommand, CommandLine, Source, StatusUpdate, TaskDescription, TaskLaunch,
        TaskReport, TaskState,
    },
    time::{Mono, Now, Wall},
};

use crate::{
    master::{ConnectionId, Effect, Event, Master, MasterConfig, VoterRelease},
    recording::{Start, Tape},
    registry::{Command, Entry, LEVEL, Outcome, Registry},
};

pub(super) const START: Now = Now { mono: Mono(1_000), wall: Wall(1_000_000_000) };

pub(super) struct World {
    pub(super) now: Now,
    pub(super) master: Master,
    /// Of everything that the master is told.
    pub(super) tape: Tape,
    pub(super) config: MasterConfig,
    pub(super) term: u64,
    /// The voters' registry.
    pub(super) log: Registry,
    /// Proposed and not committed.
    pub(super) waiting: VecDeque<Entry>,
    /// Commit at once.
    pub(super) commits: bool,
    pub(super) hints: Vec<TaskHint>,
    lines: Vec<String>,
    pub(super) connections: BTreeMap<ConnectionId, u64>,
    /// The subscription that a session holds, and the framework.
    pub(super) held: BTreeMap<SessionId, (FrameworkId, Subscription)>,
    pub(super) offers: BTreeMap<OfferId, meshos_protocol::framework::Offer>,
    /// Offers that were taken back, and why.
    pub(super) rescinds: Vec<(OfferId, RescindCause)>,
    minted: u64,
    sessions: u64,
}

/// A master on node 9, and a tape of what it is told.
fn made(
    config: &MasterConfig,
    fence: Fence,
    log: &Registry,
    hints: &[TaskHint],
    now: Now,
) -> (Master, Tape) {
    let (config, node, seed) = (config.clone(), node(9), 42);
    let master = Master::new(config.clone(), fence, node, log.clone(), hints.to_vec(), now, seed);
    let release = "0.1".to_owned();
    let start = Start { release, fence, node, now, seed, config };
    (master, Tape::begin(start, log, hints, 64 << 20))
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(MasterConfig::default())
    }

    pub(super) fn with(config: MasterConfig) -> Self {
        Self::leading(config, Registry::new(), Vec::new(), START, 5)
    }

    /// The first leader of this release, while the others run older ones.
    pub(super) fn amid_an_upgrade() -> Self {
        Self::amid_an_upgrade_with(MasterConfig::default())
    }

    pub(super) fn amid_an_upgrade_with(config: MasterConfig) -> Self {
        let mut world = Self::with(config);
        world.log = Registry::new();
        let fence = world.fence();
        (world.master, world.tape) = made(&world.config, fence, &Registry::new(), &[], START);
        world
    }

    /// A new leader over what an earlier one left.
    pub(super) fn next_leader(&self) -> Self {
        let registry = Registry::from_snapshot(&self.log.to_snapshot()).unwrap();
        let mut next = Self::leading(
            self.config.clone(),
            registry,
            self.hints.clone(),
            self.now,
            self.term + 1,
        );
        next.minted = self.minted;
        next.sessions = self.sessions;
        next
    }

    fn leading(
        config: MasterConfig,
        log: Registry,
        hints: Vec<TaskHint>,
        now: Now,
        term: u64,
    ) -> Self {
        let fence = Fence { cluster: ClusterId::from_u128(1), term: Term(term) };
        let (master, tape) = made(&config, fence, &log, &hints, now);
        master.check_invariants();
        let mut world = Self {
            now,
            master,
            tape,
            config,
            term,
            log,
            waiting: VecDeque::new(),
            commits: true,
            hints,
            lines: Vec::new(),
            connections: BTreeMap::new(),
            held: BTreeMap::new(),
            offers: BTreeMap::new(),
            rescinds: Vec::new(),
            minted: 100,
            sessions: 0,
        };
        world.voters(&[(9, Some(LEVEL))]);
        world.lines.clear();
        world
    }

    /// The voters as nodes, with the levels that their releases know; absent: not heard.
    pub(super) fn voters(&mut self, voters: &[(u64, Option<u32>)]) {
        let voters = voters.iter().map(|(number, level)| told_by(*number, *level)).collect();
        self.event(Event::Voters { voters });
    }

    pub(super) fn fence(&self) -> Fence {
        Fence { cluster: ClusterId::from_u128(1), term: Term(self.term) }
    }

    fn mint(&mut self) -> u64 {
        self.minted += 1;
        self.minted
    }

    /// Takes the lines since the last call.
    pub(super) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Asserts the lines since the last call.
    #[track_caller]
    pub(super) fn expect(&mut self, lines: &[&str]) {
        let told = self.told();
        assert_eq!(told, lines, "\ntold:\n{}", told.join("\n"));
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.tape.handle(&mut self.master, self.now, event, &mut effects);
        self.master.check_invariants();
        for effect in effects {
            self.perform(effect);
        }
        if self.commits {
            self.commit();
        }
    }

    /// Commits what is proposed.
    pub(super) fn commit(&mut self) {
        while let Some(entry) = self.waiting.pop_front() {
            self.apply(entry);
        }
    }

    /// The voters apply an entry.
    pub(super) fn apply(&mut self, entry: Entry) -> Outcome {
        let outcome = self.log.apply(&entry);
        self.event(Event::Applied { entry, outcome: outcome.clone() });
        outcome
    }

    /// Lets time pass, stopping at every deadline.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = Mono(self.now.mono.0 + ms);
        for _ in 0..10_000 {
            let Some(at) = self.master.next_deadline().filter(|at| *at <= end) else { break };
            self.move_to(at.max(self.now.mono));
            self.event(Event::Tick);
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: Mono) {
        let passed = at.0 - self.now.mono.0;
        self.now = Now { mono: at, wall: Wall(self.now.wall.0 + passed) };
    }

    fn perform(&mut self, effect: Effect) {
        let line = match effect {
            Effect::Propose(entry) => {
                let line = format!("propose {}", proposal(&entry.command));
                self.waiting.push_back(entry);
                line
            }
            Effect::SendToAgent { connection, message } => {
                format!("n{} {}", self.connections[&connection], to_agent(&message))
            }
            Effect::CloseConnection { connection, why } => {
                format!("close n{}: {why}", self.connections[&connection])
            }
            Effect::SendToFramework { session, event } => {
                let line = self.hear(session, event);
                format!("s{} {line}", session.0)
            }
            Effect::CloseSession { session } => {
                self.held.remove(&session);
                format!("close s{}", session.0)
            }
            Effect::Hint(hint) => {
                self.hints.push(hint);
                return;
            }
            Effect::AnswerOperator { request, result } => match result {
                Ok(()) => format!("operator {request} ok"),
                Err(error) => format!("operator {request} {:?}: {}", error.kind, error.message),
            },
        };
        self.lines.push(line);
    }

    fn hear(&mut self, session: SessionId, event: FrameworkEvent) -> String {
        match event {
            FrameworkEvent::Subscribed { framework, subscription, .. } => {
                self.held.insert(session, (framework, subscription));
                format!("subscribed {framework} #{subscription}")
            }
            FrameworkEvent::Offers { offers } => {
                let texts: Vec<String> = offers
                    .iter()
                    .map(|it| format!("{} n{} {}", it.id, it.agent.node.bits(), it.resources))
                    .collect();
                self.offers.extend(offers.into_iter().map(|offer| (offer.id, offer)));
                format!("offers {}", texts.join(", "))
            }
            FrameworkEvent::Rescind { offers, cause } => {
                let cause = cause.expect("this release says why");
                self.rescinds.extend(offers.iter().map(|offer| (*offer, cause)));
                let texts: Vec<String> = offers.iter().map(ToString::to_string).collect();
                format!("rescind {}", texts.join(", "))
            }
            FrameworkEvent::InverseOffers { offers } => {
                let text = |it: &InverseOffer| {
                    let (id, node) = (it.id, it.agent.node.bits());
                    let Unavailability { start, duration_ms } = it.unavailability;
                    format!("{id} n{node} from {} for {duration_ms:?}", start.0)
                };
                format!("asked {}", offers.iter().map(text).collect::<Vec<_>>().join(", "))
            }
            FrameworkEvent::RescindInverseOffers { offers } => {
                let texts: Vec<String> = offers.iter().map(ToString::to_string).collect();
                format!("not asked {}", texts.join(", "))
            }
            FrameworkEvent::Update { status } => update(&status),
            FrameworkEvent::OperationStatus { status } => {
                let uuid = status.uuid.map(|uuid| format!(" {uuid}")).unwrap_or_default();
                format!("operation {} {}{uuid}: {}", status.id, status.state, status.message)
            }
            FrameworkEvent::Unfulfilled { role } => format!("unfulfilled {role}"),
            FrameworkEvent::AgentLost { agent } => format!("agent lost {}", agent_name(agent)),
            FrameworkEvent::Message { agent, executor, data } => {
                format!("message {data:?} from {executor} on {}", agent_name(agent))
            }
            FrameworkEvent::ExecutorLost { agent, executor, exit, .. } => {
                let exit = exit.map(|exit| format!(" {exit:?}")).unwrap_or_default();
                format!("executor lost {executor} on {}{exit}", agent_name(agent))
            }
            FrameworkEvent::Answered { error: None, .. } => "ok".to_owned(),
            FrameworkEvent::Answered { error: Some(error), .. } => {
                format!("refused {:?}", error.kind)
            }
            FrameworkEvent::Error { error } => format!("error {:?}", error.kind),
            other @ (FrameworkEvent::LeaderLost
            | FrameworkEvent::SubscribeAgain
            | FrameworkEvent::Heartbeat
            | FrameworkEvent::Unknown) => format!("{other:?}"),
        }
    }

    // What agents do.

    pub(super) fn connect(&mut self, number: u64) -> ConnectionId {
        let connection = ConnectionId(self.mint());
        self.connections.insert(connection, number);
        self.event(Event::AgentConnected { connection, node: node(number) });
        connection
    }

    pub(super) fn say(&mut self, connection: ConnectionId, message: ToLeader) {
        self.event(Event::AgentMessage { connection, message });
    }

    pub(super) fn registration(&self, number: u64, resources: &str) -> Registration {
        Registration {
            fence: self.fence(),
            node: node(number),
            generation: Generation(1),
            agent: self.log.newest_agent_of(node(number)).map(|(agent, _)| agent),
            hostname: format!("host{number}"),
            http_address: format!("127.0.0.1:{number}"),
            agent_address: String::new(),
            pid: 1,
            version: "0.1.0".to_owned(),
            resources: resources.parse().unwrap(),
            executors: Some(Vec::new()),
            operations: Some(Vec::new()),
            groups: true,
            attributes: Attributes::default(),
            domain: None,
            tasks: Vec::new(),
            more: false,
            ends: 0,
        }
    }

    /// A node registers, with its tasks.
    pub(super) fn register(
        &mut self,
        number: u64,
        resources: &str,
        tasks: Vec<TaskReport>,
    ) -> ConnectionId {
        let connection = self.connect(number);
        let mut registration = self.registration(number, resources);
        registration.tasks = tasks;
        self.say(connection, ToLeader::Register(registration));
        connection
    }

    /// An agent tells a step of a task. The number is that of the update.
    pub(super) fn update(
        &mut self,
        connection: ConnectionId,
        task: &str,
        state: TaskState,
        number: u8,
    ) {
        let status = status(1, task, state, Some(number));
        self.say(connection, ToLeader::Update { status });
    }

    // What frameworks do.

    pub(super) fn open(&mut self, principal: &str) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let principal = Principal::new(principal).unwrap();
        self.event(Event::SessionOpened { session, principal, gateway: node(1) });
        session
    }

    pub(super) fn subscribe(&mut self, session: SessionId, subscribe: Subscribe) {
        let call = Call::Subscribe(subscribe);
        let frame = CallFrame { request: None, subscription: Subscription(0), call };
        self.event(Event::Call { session, frame });
    }

    /// Opens a session and subscribes as a new framework.
    pub(super) fn framework(&mut self, name: &str) -> SessionId {
        let session = self.open("p");
        self.subscribe(session, subscribe(name));
        session
    }

    pub(super) fn call(&mut self, session: SessionId, call: Call) {
        let subscription = self.held.get(&session).map_or(Subscription(0), |held| held.1);
        let request = Some(RequestId(self.mint()));
        self.event(Event::Call { session, frame: CallFrame { request, subscription, call } });
    }

    /// Accepts one offer, by its number in this term.
    pub(super) fn accept(
        &mut self,
        session: SessionId,
        offers: &[u64],
        launch: Vec<TaskDescription>,
    ) {
        let offers = offers
            .iter()
            .map(|number| OfferId { term: Term(self.term), number: *number })
            .collect();
        self.call(
            session,
            Call::Accept(Accept { offers, operations: Vec::new(), launch, refuse_ms: None }),
        );
    }
}

pub(super) fn node(number: u64) -> NodeId {
    NodeId::from_bits(number)
}

/// A voter that answers, when it has told a level at all.
pub(super) fn told_by(number: u64, level: Option<u32>) -> VoterRelease {
    let release = level.map(|level| Release { name: format!("0.{level}"), level });
    VoterRelease { node: node(number), votes: true, answers: release.is_some(), release }
}

pub(super) fn agent(number: u64, registration: u32) -> AgentId {
    AgentId::new(node(number), registration)
}

pub(super) fn task_id(name: &str) -> TaskId {
    TaskId::new(name).unwrap()
}

pub(super) fn info(name: &str) -> FrameworkInfo {
    FrameworkInfo {
        name: name.to_owned(),
        user: "user".to_owned(),
        roles: BTreeSet::from([Role::default()]),
        failover_timeout_ms: 60_000,
        capabilities: Capabilities::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: BTreeMap::new(),
    }
}

pub(super) fn subscribe(name: &str) -> Subscribe {
    Subscribe {
        framework: None,
        info: info(name),
        suppressed_roles: BTreeSet::new(),
        resume: None,
        nonce: String::new(),
        can_be_asked: false,
        demand: None,
    }
}

/// A subscribe with an id: a client's own, or one that resumes.
pub(super) fn subscribe_as(framework: u64, resume: Option<u64>) -> Subscribe {
    Subscribe {
        framework: Some(FrameworkId(framework)),
        resume: resume.map(Subscription),
        ..subscribe("again")
    }
}

pub(super) fn task(name: &str, resources: &str) -> TaskDescription {
    TaskDescription {
        task_id: task_id(name),
        name: name.to_owned(),
        resources: resources.parse::<Resources>().unwrap(),
        command: TaskCommand {
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
    }
}

pub(super) fn status(
    framework: u64,
    task: &str,
    state: TaskState,
    update: Option<u8>,
) -> StatusUpdate {
    StatusUpdate {
        framework: FrameworkId(framework),
        task: task_id(task),
        agent: None,
        state,
        reason: None,
        message: String::new(),
        update: update.map(|number| UpdateId::from_bytes([number; 16])),
        at: START.wall,
        source: Source::Agent,
        executor: None,
        data: Vec::new(),
        exit: None,
        healthy: None,
        check_status: None,
    }
}

/// A task as its agent reports it, with its unacknowledged updates.
pub(super) fn report(
    name: &str,
    state: TaskState,
    unacknowledged: &[(TaskState, u8)],
) -> TaskReport {
    TaskReport {
        framework: FrameworkId(1),
        launch: TaskLaunch {
            description: task(name, "cpus:1;mem:128"),
            role: Role::default(),
            executor_resources: None,
        },
        state,
        launched_at: None,
        started_at: None,
        healthy: None,
        check_status: None,
        unacknowledged: unacknowledged
            .iter()
            .map(|(state, number)| status(1, name, *state, Some(*number)))
            .collect(),
    }
}

fn agent_name(agent: AgentId) -> String {
    format!("n{}.{}", agent.node.bits(), agent.registration)
}

fn update(status: &StatusUpdate) -> String {
    let mut line = format!("update {} {}", status.task, status.state);
    if let Some(agent) = status.agent {
        line.push_str(&format!(" on {}", agent_name(agent)));
    }
    if let Some(reason) = status.reason {
        line.push_str(&format!(" ({reason})"));
    }
    if let Some(update) = status.update {
        line.push_str(&format!(" u{}", update.as_bytes()[0]));
    }
    line
}

fn to_agent(message: &ToAgent) -> String {
    match message {
        ToAgent::Registered { agent, draining } => {
            let draining = if *draining { " draining" } else { "" };
            format!("registered {}{draining}", agent_name(*agent))
        }
        ToAgent::Drain { draining } => format!("drain {draining}"),
        ToAgent::Gone { leave, .. } => if *leave { "gone, leave" } else { "gone" }.to_owned(),
        ToAgent::Refused { message } => format!("refused: {message}"),
        ToAgent::Launch { framework, tasks, .. } => {
            let tasks: Vec<String> = tasks
                .iter()
                .map(|it| {
                    let starts = it.executor_resources.as_ref();
                    let starts = starts.map(|it| format!(" starting {it}")).unwrap_or_default();
                    format!("{} {}{starts}", it.description.task_id, it.description.resources)
                })
                .collect();
            format!("launch {framework} {}", tasks.join(", "))
        }
        ToAgent::LaunchGroup { framework, tasks, .. } => {
            let (framework, user, tasks) = (*framework, String::new(), tasks.clone());
            to_agent(&ToAgent::Launch { framework, user, info: None, tasks }).replacen(
                "launch",
                "launch group",
                1,
            )
        }
        ToAgent::Operate { uuid, operation, .. } => {
            let kind = serde_json::to_value(operation).unwrap()["t"].as_str().unwrap().to_owned();
            format!("operate {uuid} {kind}")
        }
        ToAgent::SettleOperation { uuid } => format!("settle {uuid}"),
        ToAgent::Kill { framework, task, drain, .. } => {
            let drain = drain.map(|drain| {
                let gone = if drain.mark_gone { ", gone" } else { "" };
                format!(" (drain {}{gone})", drain.grace_max_ms)
            });
            format!("kill {framework} {task}{}", drain.unwrap_or_default())
        }
        ToAgent::Acknowledge { framework, task, update } => {
            format!("acknowledge {framework} {task} u{}", update.as_bytes()[0])
        }
        ToAgent::ShutdownExecutor { framework, executor, grace_max_ms } => {
            let most = grace_max_ms.map(|most| format!(" within {most}")).unwrap_or_default();
            format!("shutdown {framework} {executor}{most}")
        }
        ToAgent::ExecutorMessage { framework, executor, data } => {
            format!("message {data:?} for {framework} {executor}")
        }
        ToAgent::CloseFramework { framework } => format!("close {framework}"),
        ToAgent::TellEnds { after, max } => {
            let after = after.map(|after| format!(" after {}", after.0)).unwrap_or_default();
            format!("tell {max} ends{after}")
        }
        ToAgent::Unknown => "unknown".to_owned(),
    }
}

fn proposal(command: &Command) -> String {
    match command {
        Command::FormCluster { .. } => "form".to_owned(),
        Command::AdmitAgent { node } => format!("admit agent n{}", node.bits()),
        Command::SetAgentState { agent, state } => {
            let state = serde_json::to_value(state).unwrap()["t"].as_str().unwrap().to_owned();
            format!("{} {state}", agent_name(*agent))
        }
        Command::SetHold { agent, hold } => {
            let kind = serde_json::to_value(hold).unwrap()["t"].as_str().map(str::to_owned);
            format!("{} held {}", agent_name(*agent), kind.as_deref().unwrap_or("no more"))
        }
        Command::AdmitFramework { info, .. } => format!("admit framework {}", info.name),
        Command::Resubscribe { framework, .. } => format!("resubscribe {framework}"),
        Command::SetSuppressed { framework, roles } => {
            format!("suppress {framework} {}", roles.len())
        }
        Command::Disconnect { framework, .. } => format!("disconnect {framework}"),
        Command::Reconnect { framework, .. } => format!("reconnect {framework}"),
        Command::CloseFramework { framework, .. } => format!("close {framework}"),
        Command::SetQuota { role, .. } => format!("quota {role}"),
        Command::SetPriority { role, priority } => format!("priority {role} {priority}"),
        Command::SetPolicy { policy } => format!("policy {policy}"),
        Command::SetWishes { framework, .. } => format!("wishes {framework}"),
        Command::UpdateFramework { framework, .. } => format!("update {framework}"),
        Command::NotePastUse { .. } => "past use".to_owned(),
        Command::SetMaintenance { nodes, replace } => {
            let kind = if *replace { "plan of" } else { "plan for" };
            format!("{kind} {}", nodes.len())
        }
        Command::RaiseLevel { level } => format!("level {level}"),
        Command::SetWeight { role, weight_millis } => format!("weight {role} {weight_millis}"),
        Command::Unknown => "unknown".to_owned(),
    }
}
