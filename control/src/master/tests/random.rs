//! Random histories: whatever happens, in whatever order, the master neither panics nor
//! contradicts itself, and says nothing that depends on what is not committed.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    framework::FrameworkInfo,
    ids::{
        AgentId, FrameworkId, NodeId, OfferId, OperationUuid, RequestId, SessionId, Subscription,
        Term,
    },
    messages::{
        agent::ToLeader,
        scheduler::{Accept, Call, CallFrame, TaskQuery, UpdateFramework},
    },
    operation::{self, OperationReport, OperationState},
    resources::Resources,
    role::Role,
    task::{TaskEnd, TaskLaunch, TaskReport, TaskState},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{
    ends::end,
    executors::{in_pool, pool},
    history::{Operation, Quote, Said, Step, TASKS, any_step},
    maintenance::plan,
    operations::reserved,
    recordings::play_all,
    world::{World, agent, node, status, subscribe, subscribe_as, task, task_id},
};
use crate::master::{ConnectionId, Counters, Event, MasterConfig, OperatorCall};

/// Plays steps against a world, keeping what it needs to name things.
struct Player {
    world: World,
    streams: Vec<ConnectionId>,
    sessions: Vec<SessionId>,
    operators: u64,
    /// What deposed leaders had counted.
    earlier: Vec<Counters>,
}

fn pick<T: Copy>(list: &[T], number: usize) -> Option<T> {
    let newest = list.len().checked_sub(1 + number % list.len().max(1))?;
    Some(list[newest])
}

fn ends(tasks: &[(u8, u8)]) -> Vec<TaskEnd> {
    let ends = tasks.iter().map(|(task, state)| {
        let state = TaskState::ALL[usize::from(*state)];
        TaskEnd { state, ..end(TASKS[usize::from(*task)], u64::from(*task)) }
    });
    ends.collect()
}

fn reports(tasks: &[(u8, u8)]) -> Vec<TaskReport> {
    let mut seen = BTreeSet::new();
    tasks
        .iter()
        .filter(|(name, _)| seen.insert(*name))
        .map(|(name, state)| {
            let name = TASKS[usize::from(*name)];
            let state = TaskState::ALL[usize::from(*state)];
            let described = task(name, "cpus:1;mem:128");
            let launch = TaskLaunch {
                description: described,
                role: Role::default(),
                executor_resources: None,
            };
            let unacknowledged = vec![status(1, name, state, Some(1))];
            let framework = FrameworkId(1);
            TaskReport {
                framework,
                launch,
                state,
                unacknowledged,
                launched_at: None,
                started_at: None,
                healthy: None,
                check_status: None,
            }
        })
        .collect()
}

/// The framework is in the roles whose bits are set, at least in one.
fn update(roles: u8, suppressed: u8) -> Call {
    let named = |bits: u8| {
        let all = [Role::default(), Role::new("a").unwrap(), Role::new("a/b").unwrap()];
        let named = all.into_iter().enumerate().filter(move |(bit, _)| bits & (1 << bit) != 0);
        named.map(|(_, role)| role).collect::<BTreeSet<_>>()
    };
    let info = FrameworkInfo { roles: named(roles.max(1)), ..subscribe("new").info };
    // Now and then one that is not among its roles, which is refused.
    Call::UpdateFramework(Box::new(UpdateFramework {
        info,
        suppressed_roles: named(suppressed & (roles | 4)),
        wishes: None,
    }))
}

/// What a framework was asked about nodes that will be away, it answers so.
fn answer_all(world: &World, session: SessionId, accepted: bool, refuse_ms: Option<u64>) -> Call {
    let own = world.held.get(&session).map(|held| held.0);
    let view = world.master.view();
    let asked = view.maintenance.iter().flat_map(|row| &row.asked);
    let offers = asked.filter(|it| Some(it.framework_id) == own).filter_map(|it| it.open).collect();
    match accepted {
        true => Call::AcceptInverseOffers { offers, refuse_ms },
        false => Call::DeclineInverseOffers { offers, refuse_ms },
    }
}

fn to_executor(agent: AgentId, shutdown: bool) -> Call {
    match shutdown {
        true => Call::ShutdownExecutor { agent, executor: pool() },
        false => Call::Message { agent, executor: pool(), data: vec![2] },
    }
}

impl Player {
    fn play(&mut self, step: &Step) {
        match step {
            Step::Return { node, forgets } => self.come_back(*node, *forgets),
            Step::Resume { framework, own } => self.resume(*framework, *own),
            Step::AcknowledgeAll(session) => self.acknowledge_all(*session),
            Step::Connect(number) => {
                let stream = self.world.connect(*number);
                self.streams.push(stream);
            }
            Step::Register { stream, quotes, tasks, more } => {
                self.register(*stream, quotes, tasks, *more);
            }
            Step::Report { stream, tasks, more } => {
                self.say(*stream, ToLeader::Report { tasks: reports(tasks), more: *more });
            }
            Step::Update { stream, task, state, number, framework } => {
                let state = TaskState::ALL[usize::from(*state)];
                let status = status(*framework, TASKS[usize::from(*task)], state, *number);
                self.say(*stream, ToLeader::Update { status });
            }
            Step::Ended { stream, task, state } => {
                let (framework, task) = (FrameworkId(1), task_id(TASKS[usize::from(*task)]));
                let state = TaskState::ALL[usize::from(*state)];
                self.say(*stream, ToLeader::TaskEnded { framework, task, state, at: None });
            }
            Step::Outcome { stream, number, state, cpus } => {
                self.tell_outcome(*stream, *number, *state, *cpus);
            }
            Step::Executor { stream, framework, ended } => {
                self.executor(*stream, FrameworkId(*framework), *ended);
            }
            Step::Leaving(stream) => self.say(*stream, ToLeader::Leaving),
            Step::Remembered { stream, tasks, more } => {
                self.say(*stream, ToLeader::Ends { ends: ends(tasks), more: *more });
            }
            Step::Lose(stream) => {
                if let Some(connection) = pick(&self.streams, *stream) {
                    self.world.event(Event::AgentDisconnected { connection });
                }
            }
            Step::Peer { node: number, word } => {
                let node = node(*number);
                let event = match word {
                    0 => Event::PeerUp { node },
                    1 => Event::PeerDown { node },
                    _ => Event::PeerForgotten { node },
                };
                self.world.event(event);
            }
            Step::Open(owner) => {
                let session = self.world.open(if *owner { "p" } else { "q" });
                self.sessions.push(session);
            }
            Step::Subscribe { session, framework, resume, nonce } => {
                self.subscribe(*session, *framework, *resume, *nonce);
            }
            Step::Call { session, call } => self.call(*session, call),
            Step::CloseSession(session) => {
                if let Some(session) = pick(&self.sessions, *session) {
                    self.world.held.remove(&session);
                    self.world.event(Event::SessionClosed { session });
                }
            }
            Step::Operate(operation) => self.operate(operation),
            Step::Commit => self.world.commit(),
            Step::CommitOutOfTurn => self.commit_out_of_turn(),
            Step::Pass(ms) => self.world.pass(*ms),
            Step::NextLeader => self.next_leader(),
        }
    }

    fn executor(&mut self, stream: usize, framework: FrameworkId, ended: bool) {
        let (executor, message) = (pool(), String::new());
        let message = match ended {
            true => ToLeader::ExecutorEnded { framework, executor, exit: None, message },
            false => ToLeader::ExecutorMessage { framework, executor, data: vec![1] },
        };
        self.say(stream, message);
    }

    fn tell_outcome(&mut self, stream: usize, number: u64, state: u8, cpus: i64) {
        let uuid = OperationUuid { term: Term(self.world.term), number };
        let state = OperationState::ALL[usize::from(state)];
        let message = String::new();
        let report = OperationReport { uuid, framework: None, id: None, state, message };
        let rest: Resources = format!("cpus:{};mem:4096", 4 - cpus).parse().unwrap();
        let resources = rest + &reserved(&format!("cpus:{cpus}"));
        self.say(stream, ToLeader::Operation { report, resources, judged: Some(uuid) });
    }

    fn resume(&mut self, framework: u64, own: bool) {
        let record = self.world.log.framework(FrameworkId(framework));
        let resume = record.filter(|_| !own).map(|record| record.subscription.0);
        let session = self.world.open("p");
        self.sessions.push(session);
        self.world.subscribe(session, subscribe_as(framework, resume));
    }

    fn subscribe(
        &mut self,
        session: usize,
        framework: Option<u64>,
        resume: Option<u64>,
        nonce: bool,
    ) {
        let Some(session) = pick(&self.sessions, session) else { return };
        let mut said = match framework {
            Some(framework) => subscribe_as(framework, resume),
            None => subscribe("new"),
        };
        said.nonce = if nonce { "n".to_owned() } else { String::new() };
        self.world.subscribe(session, said);
    }

    /// What the shell promises not to do: the one before counts as lost.
    fn commit_out_of_turn(&mut self) {
        if self.world.waiting.len() > 1
            && let Some(later) = self.world.waiting.remove(1)
        {
            self.world.apply(later);
        }
    }

    fn next_leader(&mut self) {
        self.earlier.push(self.world.master.view().counters);
        self.world = self.world.next_leader();
        self.world.commits = false;
        self.streams.clear();
        self.sessions.clear();
    }

    fn say(&mut self, stream: usize, message: ToLeader) {
        if let Some(connection) = pick(&self.streams, stream) {
            self.world.say(connection, message);
        }
    }

    fn register(&mut self, stream: usize, quotes: &Quote, tasks: &[(u8, u8)], more: bool) {
        let Some(connection) = pick(&self.streams, stream) else { return };
        let number = self.world.connections[&connection];
        let mut registration = self.world.registration(number, "cpus:4;mem:4096");
        match quotes {
            Quote::OnRecord => {}
            Quote::Nothing => registration.agent = None,
            Quote::Made(registered) => registration.agent = Some(agent(number, *registered)),
        }
        registration.tasks = reports(tasks);
        registration.more = more;
        registration.ends = u32::from(more);
        self.world.say(connection, ToLeader::Register(registration));
    }

    fn come_back(&mut self, number: u64, forgets: bool) {
        let view = self.world.master.view();
        let tasks: Vec<TaskReport> = view
            .tasks
            .iter()
            .filter(|task| task.node_id == node(number))
            .skip(usize::from(forgets))
            .map(|it| {
                let mut described = task(it.id.as_str(), "cpus:1");
                described.resources = it.resources.clone();
                let state = TaskState::Running;
                let mut status = status(it.framework_id.0, it.id.as_str(), state, Some(1));
                status.framework = it.framework_id;
                TaskReport {
                    framework: it.framework_id,
                    launch: TaskLaunch {
                        description: described,
                        role: it.role.clone(),
                        executor_resources: None,
                    },
                    state,
                    unacknowledged: vec![status],
                    launched_at: None,
                    started_at: None,
                    healthy: None,
                    check_status: None,
                }
            })
            .collect();
        let stream = self.world.register(number, "cpus:4;mem:4096", tasks);
        self.streams.push(stream);
    }

    fn acknowledge_all(&mut self, session: usize) {
        for (task, on) in [0u8, 1, 2, 3].into_iter().zip([1, 2, 3].into_iter().cycle()) {
            for number in 0..4 {
                self.call(session, &Said::Acknowledge { task, on, number });
            }
        }
    }

    fn call(&mut self, session: usize, said: &Said) {
        // Mostly a stream that holds a subscription; now and then any.
        let holding: Vec<SessionId> = self.world.held.keys().copied().collect();
        let among = if session == 3 || holding.is_empty() { &self.sessions } else { &holding };
        let Some(session) = pick(among, session) else { return };
        let name = |number: &u8| task_id(TASKS[usize::from(*number)]);
        let offers = |world: &World, picks: &[usize]| {
            // Mostly its own open ones; now and then any that was ever made.
            let own = world.held.get(&session).map(|held| held.0);
            let view = world.master.view();
            let mut open: Vec<OfferId> = match picks {
                [7, ..] => world.offers.keys().copied().collect(),
                _ => view
                    .offers
                    .iter()
                    .filter(|offer| Some(offer.framework_id) == own)
                    .map(|offer| offer.id)
                    .collect(),
            };
            open.sort_unstable();
            picks.iter().filter_map(|number| pick(&open, *number)).collect::<Vec<_>>()
        };
        let call = match said {
            Said::Accept { offers: picks, tasks } => Call::Accept(Accept {
                offers: offers(&self.world, picks),
                operations: Vec::new(),
                launch: tasks
                    .iter()
                    .map(|(task_name, size)| {
                        let resources = format!("cpus:{};mem:64", size % 5);
                        let name = TASKS[usize::from(*task_name)];
                        // A third of them in an executor of a cpu.
                        if *size > 8 { in_pool(name) } else { task(name, &resources) }
                    })
                    .collect(),
                refuse_ms: None,
            }),
            Said::Decline { offers: picks, refuse_ms } => {
                Call::Decline { offers: offers(&self.world, picks), refuse_ms: *refuse_ms }
            }
            Said::Revive => Call::Revive { roles: BTreeSet::new() },
            Said::Suppress => Call::Suppress { roles: BTreeSet::new() },
            Said::Update { roles, suppressed } => update(*roles, *suppressed),
            Said::Kill { task, on } => {
                let agent = on.map(|number| agent(number, 1));
                Call::Kill { task: name(task), agent, grace_ms: None }
            }
            Said::Acknowledge { task, on, number } => Call::Acknowledge {
                task: name(task),
                agent: agent(*on, 1),
                update: meshos_protocol::ids::UpdateId::from_bytes([*number; 16]),
            },
            Said::Reconcile { tasks } => Call::Reconcile {
                tasks: tasks
                    .iter()
                    .map(|(task, on, pending)| TaskQuery {
                        task: name(task),
                        agent: on.map(|number| agent(number, 1)),
                        pending: *pending,
                    })
                    .collect(),
            },
            Said::Executor { on, shutdown } => to_executor(agent(*on, 1), *shutdown),
            Said::Inverse(yes, ms) => answer_all(&self.world, session, *yes, *ms),
            Said::Teardown => Call::Teardown,
            Said::Disconnect => Call::Disconnect,
        };
        self.world.call(session, call);
    }

    fn operate(&mut self, operation: &Operation) {
        let call = match operation {
            Operation::Kill { framework, task } => OperatorCall::KillTask {
                framework: FrameworkId(*framework),
                task: task_id(TASKS[usize::from(*task)]),
            },
            Operation::Teardown(framework) => {
                OperatorCall::Teardown { framework: FrameworkId(*framework) }
            }
            Operation::Gone(number, registration) => {
                OperatorCall::MarkAgentGone { agent: agent(*number, *registration) }
            }
            Operation::Drain { node, registration, draining } => OperatorCall::SetDraining {
                agent: agent(*node, *registration),
                draining: *draining,
            },
            Operation::Hold { node, registration, kind } => {
                let agent = agent(*node, *registration);
                match kind {
                    0 => OperatorCall::Deactivate { agent },
                    1 => OperatorCall::Reactivate { agent },
                    _ => OperatorCall::Drain { agent, grace_max_ms: 5_000, mark_gone: *kind == 4 },
                }
            }
            Operation::Reserve { node, cpus, undo } => {
                let resources = reserved(&format!("cpus:{cpus}"));
                let operation = match undo {
                    false => operation::Operation::Reserve { resources },
                    true => operation::Operation::Unreserve { resources },
                };
                OperatorCall::Operate { agent: agent(*node, 1), operation }
            }
            Operation::Plan { node, start, replace } => {
                OperatorCall::PlanMaintenance { nodes: plan(*node, *start), replace: *replace }
            }
            Operation::Maintain { node: number, kind } => match kind {
                0 => OperatorCall::StopMaintenance { nodes: [node(*number)].into() },
                1 => OperatorCall::StartMaintenance { nodes: [(node(*number), None)].into() },
                _ => OperatorCall::StartMaintenance { nodes: [(node(*number), Some(5))].into() },
            },
            Operation::Weight(weight_millis) => {
                OperatorCall::SetWeight { role: Role::default(), weight_millis: *weight_millis }
            }
        };
        self.operators += 1;
        self.world.event(Event::Operator { request: RequestId(self.operators), call });
    }

    /// Whatever was said speaks only of what is committed: ids that the voters gave out, agents
    /// that they hold for active, subscriptions that they know.
    fn check_told(&mut self) {
        let log = &self.world.log;
        for (framework, subscription) in self.world.held.values() {
            let record = log.frameworks().find(|(id, _)| id == framework).map(|(_, record)| record);
            let committed = record.map(|record| record.subscription);
            assert!(committed >= Some(*subscription), "{framework} #{subscription} was told early");
        }
        let admitted: BTreeSet<AgentId> = log.agents().map(|(agent, _)| agent).collect();
        for line in self.world.told() {
            if let Some((_, name)) = line.split_once(" registered n") {
                let name = name.split(' ').next().unwrap();
                let (number, registration) = name.split_once('.').unwrap();
                let node = NodeId::from_bits(number.parse().unwrap());
                let agent = AgentId::new(node, registration.parse().unwrap());
                assert!(admitted.contains(&agent), "{line}: not admitted");
            }
        }
    }
}

fn play(steps: &[Step]) -> Player {
    let mut config = MasterConfig::default();
    config.limits.questions_max = 3;
    config.limits.tasks_per_framework_max = 6;
    let mut world = World::with(config);
    // Three agents and two frameworks with offers; from there on anything goes.
    let streams = (1..4).map(|number| world.register(number, "cpus:4;mem:4096", vec![])).collect();
    let sessions = ["one", "two"].map(|name| world.framework(name)).into();
    world.pass(10);
    world.commits = false;
    let mut player = Player { world, streams, sessions, operators: 0, earlier: Vec::new() };
    for step in steps {
        player.play(step);
        player.check_told();
    }
    player
}

proptest! {
    #[test]
    fn the_master_never_contradicts_itself(steps in prop::collection::vec(any_step(), 1..120)) {
        play(&steps);
    }

    /// The same events lead to the same effects and the same state, also when they were written down
    /// and read in between.
    #[test]
    fn what_was_recorded_plays_the_same_again(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut player = play(&steps);
        let again = play_all(&player.world.tape.take());
        let views = [&player.world.master, &again].map(|master| serde_json::to_string(&master.view()).unwrap());
        prop_assert_eq!(&views[0], &views[1]);
    }

    /// After everything is committed and has come back, time alone settles all that waits.
    #[test]
    fn nothing_waits_for_ever(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut player = play(&steps);
        player.world.commits = true;
        player.world.commit();
        player.world.pass(400_000);
        let again = player.world.master.next_deadline();
        prop_assert!(player.world.waiting.is_empty());
        let quiet = again.is_none_or(|at| at > player.world.now.mono);
        prop_assert!(quiet, "a deadline has passed and nothing was done about it");
    }
}

/// Adds up counters, with their names.
fn count(sums: &mut BTreeMap<String, u64>, name: &str, value: &serde_json::Value) {
    if let Some(count) = value.as_u64() {
        *sums.entry(name.to_owned()).or_default() += count;
    }
    for (part, value) in value.as_object().into_iter().flatten() {
        let name = if name.is_empty() { part.clone() } else { format!("{name}.{part}") };
        count(sums, &name, value);
    }
}

/// The histories reach what they are meant to shake.
#[test]
fn random_histories_reach_every_corner() {
    let mut runner = TestRunner::deterministic();
    let histories = prop::collection::vec(any_step(), 60..120);
    let mut reached = BTreeMap::new();
    for _ in 0..400 {
        let steps = histories.new_tree(&mut runner).unwrap().current();
        let player = play(&steps);
        let newest = player.world.master.view().counters;
        for counters in player.earlier.into_iter().chain([newest]) {
            count(&mut reached, "", &serde_json::to_value(counters).unwrap());
        }
    }
    let never: Vec<_> = reached.iter().filter(|(_, count)| **count == 0).collect();
    assert!(never.is_empty(), "never reached: {never:?} of {reached:?}");
    // One of each is luck; hundreds of the everyday ones are needed to shake anything.
    for name in ["launches", "updates_received", "offers_sent", "agents_registered"] {
        assert!(reached[name] > 150, "{name}: {reached:?}");
    }
    for state in [TaskState::Finished, TaskState::Dropped, TaskState::Gone, TaskState::Error] {
        let name = format!("tasks_ended.{state}");
        assert!(reached.contains_key(&name), "{name}: {reached:?}");
    }
}

#[test]
fn a_call_quoting_a_future_subscription_is_refused() {
    let mut world = World::new();
    let s1 = world.framework("one");
    world.told();
    let frame = CallFrame {
        request: Some(RequestId(1)),
        subscription: Subscription(2),
        call: Call::Revive { roles: BTreeSet::new() },
    };
    world.event(Event::Call { session: s1, frame });
    world.expect(&["s1 refused NotSubscribed"]);
    let old = OfferId { term: Term(1), number: 1 };
    world.call(s1, Call::Decline { offers: vec![old], refuse_ms: None });
    world.expect(&["s1 ok"]);
}
