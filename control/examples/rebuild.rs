//! Measures how long a new leader takes to learn a large cluster anew: `cargo run --release -p meshos-control --example rebuild`.
//!
//! 10,000 agents with ten tasks each and 1,000 frameworks are on record; their earlier leader's hints are there. Then all
//! frameworks resume and all agents register, as bytes, interleaved and in batches as the shell hands them in, until each
//! task is known to run and each agent is offered again. All of it runs on one thread,
//! whose processor time is told. Prints one line of JSON;
//! `cargo xtask bench rebuild` runs it. With two numbers, so many agents and frameworks.

#![expect(clippy::print_stdout, reason = "it prints its findings")]
#![expect(
    clippy::disallowed_methods,
    reason = "it is no part of the pure crate: it reads its arguments"
)]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use meshos_control::{
    master::{ConnectionId, Effect, Event, Master, MasterConfig},
    registry::{Command, Entry, LEVEL, Registry},
};
use meshos_protocol::{
    attributes::Attributes,
    codec,
    framework::{Capabilities, FrameworkInfo},
    ids::{
        AgentId, ClusterId, Fence, FrameworkId, Generation, NodeId, Principal, ProposalId,
        SessionId, Subscription, TaskId, Term,
    },
    messages::{
        agent::{Registration, TaskHint, ToLeader},
        scheduler::{Call, CallFrame, Event as FrameworkEvent, Subscribe},
    },
    role::Role,
    task::{
        Command as TaskCommand, CommandLine, TaskDescription, TaskLaunch, TaskReport, TaskState,
    },
    time::{Mono, Now, Wall},
};

const TASKS_PER_AGENT: u64 = 10;
/// As many as the shell hands in before it publishes.
const BATCH: usize = 512;
/// The new leader's term.
const TERM: Term = Term(2);
const START: Now = Now { mono: Mono(1_000_000), wall: Wall(1_700_000_000_000) };

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let (agents, frameworks) = (numbers.next().unwrap_or(10_000), numbers.next().unwrap_or(1_000));
    let registry = registry(agents, frameworks);
    let hints: Vec<TaskHint> =
        (1..=agents).flat_map(|number| hints_of(number, frameworks)).collect();
    let frames: Vec<Vec<u8>> =
        (1..=agents).map(|number| codec::encode(&registration(number, frameworks))).collect();
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let mut leader = Leader::elected(registry, hints);
    leader.resume(frameworks);
    leader.register(&frames);
    leader.settle(agents);
    let total = leader.started + leader.subscribed + leader.registered + leader.settled;
    let ms = |took: Duration| (took.as_micros(), "ms");
    let figures: serde_json::Map<_, _> = [
        ("rebuild_ms", ms(total)),
        ("rebuild_start_ms", ms(leader.started)),
        ("rebuild_frameworks_ms", ms(leader.subscribed)),
        ("rebuild_agents_ms", ms(leader.registered)),
        ("rebuild_offers_ms", ms(leader.settled)),
        ("rebuild_registrations_mb", (bytes as u128 / 1_000, "MB")),
    ]
    .into_iter()
    .map(|(name, figure)| (name.to_owned(), shown(figure)))
    .collect();
    println!("{}", serde_json::json!({ "figures": figures }));
}

/// Thousandths of a unit.
fn shown((thousandths, unit): (u128, &str)) -> serde_json::Value {
    let value = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    let value: serde_json::Value = value.parse().expect("a number");
    serde_json::json!({"value": value, "unit": unit})
}

/// The processor time of this process so far: the first number of `schedstat` (proc(5)), in nanoseconds.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("procfs");
    let number = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(number.expect("nanoseconds"))
}

fn node(number: u64) -> NodeId {
    NodeId::from_bits(number)
}

fn principal() -> Principal {
    Principal::new("bench").expect("a name that is well-formed")
}

fn info() -> FrameworkInfo {
    FrameworkInfo {
        name: "bench".to_owned(),
        user: "nobody".to_owned(),
        roles: BTreeSet::from([Role::default()]),
        failover_timeout_ms: 3_600_000,
        capabilities: Capabilities::default(),
        hostname: "somewhere".to_owned(),
        webui_url: String::new(),
        labels: BTreeMap::new(),
    }
}

/// What an earlier leader put on record.
fn registry(agents: u64, frameworks: u64) -> Registry {
    let cluster = Command::FormCluster { cluster: ClusterId::from_u128(1) };
    let first = [cluster, Command::RaiseLevel { level: LEVEL }];
    let admitted = (1..=agents).map(|number| Command::AdmitAgent { node: node(number) });
    let subscribed = (0..frameworks).map(|_| Command::AdmitFramework {
        principal: principal(),
        info: info(),
        suppressed_roles: BTreeSet::new(),
        nonce: String::new(),
    });
    let mut registry = Registry::new();
    for (command, proposal) in first.into_iter().chain(admitted).chain(subscribed).zip(1..) {
        registry.apply(&Entry { term: Term(1), proposal: ProposalId(proposal), command });
    }
    registry
}

fn launch(task: &TaskId) -> TaskLaunch {
    let command = TaskCommand {
        line: CommandLine::Shell { line: "sleep 1000".to_owned() },
        environment: BTreeMap::from([("PORT".to_owned(), "31000".to_owned())]),
        user: None,
        uris: Vec::new(),
    };
    TaskLaunch {
        description: TaskDescription {
            task_id: task.clone(),
            name: "web".to_owned(),
            resources: "cpus:1;mem:256".parse().expect("well-formed"),
            command,
            executor: None,
            group: None,
            data: Vec::new(),
            kill_grace_ms: None,
            max_completion_ms: None,
            health_check: None,
            check: None,
            labels: BTreeMap::new(),
        },
        role: Role::default(),
        executor_resources: None,
    }
}

/// The tasks of an agent, spread over the frameworks.
fn tasks_of(agent: u64, frameworks: u64) -> impl Iterator<Item = (FrameworkId, TaskId)> {
    (0..TASKS_PER_AGENT).map(move |index| {
        let number = agent * TASKS_PER_AGENT + index;
        let task = TaskId::new(&format!("task-{number}")).expect("a name that is well-formed");
        (FrameworkId(1 + number % frameworks), task)
    })
}

fn hints_of(number: u64, frameworks: u64) -> impl Iterator<Item = TaskHint> {
    let agent = AgentId::new(node(number), 1);
    tasks_of(number, frameworks).map(move |(framework, task)| {
        let launch = Some(launch(&task));
        TaskHint { framework, task, agent, launch, end: None }
    })
}

fn registration(number: u64, frameworks: u64) -> ToLeader {
    let report = |(framework, task)| TaskReport {
        framework,
        launch: launch(&task),
        state: TaskState::Running,
        launched_at: Some(START.wall),
        started_at: Some(START.wall),
        healthy: None,
        check_status: None,
        unacknowledged: Vec::new(),
    };
    ToLeader::Register(Registration {
        fence: Fence { cluster: ClusterId::from_u128(1), term: TERM },
        node: node(number),
        generation: Generation(1),
        agent: Some(AgentId::new(node(number), 1)),
        hostname: format!("host-{number}"),
        http_address: format!("10.0.0.1:{}", number % 60_000),
        agent_address: format!("10.0.0.2:{}", number % 60_000),
        pid: 7,
        version: "0.1.0".to_owned(),
        resources: "cpus:24;mem:4096;disk:4096;ports:[31000-32000]".parse().expect("well-formed"),
        executors: Some(Vec::new()),
        operations: Some(Vec::new()),
        groups: true,
        attributes: "rack:abc;zone:west".parse::<Attributes>().expect("well-formed"),
        domain: None,
        tasks: tasks_of(number, frameworks).map(report).collect(),
        more: false,
        ends: 0,
    })
}

/// A new leader, and a registry that commits at once.
struct Leader {
    master: Master,
    registry: Registry,
    now: Now,
    effects: Vec<Effect>,
    offered: usize,
    started: Duration,
    subscribed: Duration,
    registered: Duration,
    settled: Duration,
}

impl Leader {
    fn elected(registry: Registry, hints: Vec<TaskHint>) -> Self {
        let fence = Fence { cluster: ClusterId::from_u128(1), term: TERM };
        let log = registry.clone();
        let start = cpu_time();
        let master =
            Master::new(MasterConfig::default(), fence, node(1), registry, hints, START, 1);
        Self {
            started: cpu_time() - start,
            master,
            registry: log,
            now: START,
            effects: Vec::new(),
            offered: 0,
            subscribed: Duration::ZERO,
            registered: Duration::ZERO,
            settled: Duration::ZERO,
        }
    }

    fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.master.handle(self.now, event, &mut self.effects);
            for effect in self.effects.drain(..) {
                match effect {
                    Effect::Propose(entry) => {
                        let outcome = self.registry.apply(&entry);
                        events.push_back(Event::Applied { entry, outcome });
                    }
                    Effect::SendToFramework {
                        event: FrameworkEvent::Offers { offers }, ..
                    } => {
                        self.offered += offers.len();
                    }
                    _ => {}
                }
            }
        }
    }

    /// A batch is over: what has come to be due is done, and the picture is published.
    fn publish(&mut self) {
        self.now.mono = Mono(self.now.mono.0 + 5);
        self.now.wall = Wall(self.now.wall.0 + 5);
        if self.master.next_deadline().is_some_and(|at| at <= self.now.mono) {
            self.handle(Event::Tick);
        }
        drop(self.master.view());
    }

    /// All frameworks come back.
    fn resume(&mut self, frameworks: u64) {
        let start = cpu_time();
        for number in 1..=frameworks {
            let session = SessionId(number);
            self.handle(Event::SessionOpened { session, principal: principal(), gateway: node(1) });
            let subscribe = Subscribe {
                framework: Some(FrameworkId(number)),
                info: info(),
                suppressed_roles: BTreeSet::new(),
                resume: Some(Subscription(1)),
                nonce: String::new(),
                can_be_asked: false,
                demand: None,
            };
            let call = Call::Subscribe(subscribe);
            let frame = CallFrame { request: None, subscription: Subscription(0), call };
            self.handle(Event::Call { session, frame });
            if number.is_multiple_of(BATCH as u64) {
                self.publish();
            }
        }
        self.subscribed = cpu_time() - start;
    }

    /// All agents come back, each on a stream of its own.
    fn register(&mut self, frames: &[Vec<u8>]) {
        let start = cpu_time();
        for (number, frame) in (1..).zip(frames) {
            let connection = ConnectionId(number);
            self.handle(Event::AgentConnected { connection, node: node(number) });
            let message: ToLeader = codec::decode(frame).expect("it was just encoded");
            self.handle(Event::AgentMessage { connection, message });
            if number.is_multiple_of(BATCH as u64) {
                self.publish();
            }
        }
        self.registered = cpu_time() - start;
    }

    /// Until all is known and offered.
    fn settle(&mut self, agents: u64) {
        let start = cpu_time();
        let agents = usize::try_from(agents).expect("some thousands");
        for _ in 0..1_000 {
            if self.offered >= agents {
                break;
            }
            self.publish();
        }
        self.settled = cpu_time() - start;
        assert!(self.offered >= agents, "{} offers for {agents} agents", self.offered);
        let view = self.master.view();
        let running = view.tasks.iter().filter(|task| task.state == TaskState::Running).count();
        assert_eq!(running as u64, agents as u64 * TASKS_PER_AGENT, "each task is known to run");
        assert_eq!(view.agents.iter().filter(|agent| agent.connected).count(), agents);
    }
}
