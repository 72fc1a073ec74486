//! A framework with its driver, as a model that behaves as the protocol allows.
//!
//! It keeps what a careful framework keeps: the tasks it has accepted, written down before the
//! accept is sent, and what it was told of them. It asks for those it has heard nothing of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo, Offer},
    ids::{
        AgentId, ExecutorId, Fence, FrameworkId, OfferId, OperationId, OperationUuid, Principal,
        RequestId, Subscription, TaskId, UpdateId,
    },
    messages::scheduler::{
        Call, CallError, CallErrorKind, CallFrame, Event, EventFrame, Subscribe, TaskQuery,
    },
    role::Role,
    task::{StatusUpdate, TaskState},
};

use crate::{
    invariants,
    maintenance::Questions,
    net::{Class, Frame, Host, Side, StreamId},
    oracle::Told,
    reservations::Operations,
    setup::{FrameworkSetup, Setup},
    wishes::Said,
    world::{Happening, World},
};

/// How many calls a driver keeps for saying them again.
const SAID_MAX: usize = 12;

/// What a framework does by itself.
#[derive(Debug, Clone)]
pub enum Act {
    /// Connects to a node.
    Connect,
    /// Answers the offers it has.
    Think,
    /// Acknowledges an update.
    Acknowledge { task: TaskId, agent: AgentId, update: UpdateId },
    /// Ends one of its tasks.
    Kill { task: TaskId },
    /// Asks for the states of its tasks.
    Reconcile,
    /// Acknowledges what became of an operation.
    AcknowledgeOperation { id: OperationId, agent: AgentId, uuid: OperationUuid },
    /// Does something odd.
    Fidget,
}

/// What a framework believes of a task.
#[derive(Debug, Clone)]
pub struct Belief {
    /// Where it was accepted to run.
    pub agent: AgentId,
    /// The executor that runs it, if one does.
    pub executor: Option<ExecutorId>,
    /// What it was told; nothing yet.
    pub state: Option<TaskState>,
}

impl Belief {
    /// Whether the task is over, as far as the framework knows.
    pub fn is_over(&self) -> bool {
        self.state.is_some_and(TaskState::is_terminal)
    }
}

/// A framework and its driver.
#[derive(Debug)]
pub struct Driver {
    /// What it wants.
    pub setup: FrameworkSetup,
    /// Who it is.
    pub principal: Principal,
    /// How often it has started.
    pub incarnation: u64,
    /// Whether its process runs.
    pub alive: bool,
    /// Its id, which it keeps.
    pub framework: Option<FrameworkId>,
    /// The subscription that this start of it holds.
    pub subscription: Option<Subscription>,
    /// The stream to its gateway.
    pub stream: Option<StreamId>,
    /// The newest leader it has heard of.
    pub newest: Option<Fence>,
    /// Its open offers.
    pub offers: BTreeMap<OfferId, Offer>,
    /// What it is asked about nodes that will be away.
    pub questions: Questions,
    /// What it has accepted, and what it was told of that.
    pub beliefs: BTreeMap<TaskId, Belief>,
    /// How many tasks it still wants to launch.
    pub demand: u64,
    /// How many offers it was made since this was last set to 0.
    pub offers_seen: u64,
    /// Set when the leader told it that it has ended.
    pub ended: bool,
    /// Whether it ended its subscription itself.
    pub torn_down: bool,
    index: usize,
    tasks_named: u64,
    /// How many accepts it has thought of.
    pub(crate) accepts: u64,
    pub(crate) requests: BTreeMap<RequestId, Vec<TaskId>>,
    requests_made: u64,
    lives_lived: u64,
    pub(crate) thinking: bool,
    fidgeting: bool,
    pub(crate) suppressed: bool,
    /// Whether it has ever been in another role than its own.
    pub(crate) has_visited: bool,
    /// What it has said of the offers it wants.
    pub said_of_offers: Said,
    /// The executors that it has brought to agents and not heard the end of.
    pub executors: BTreeSet<(AgentId, ExecutorId)>,
    /// Its operations on resources.
    pub operations: Operations,
    /// The newest calls that may be repeated.
    said: VecDeque<Call>,
}

impl Driver {
    /// The drivers of a setup.
    pub fn all(setup: &Setup) -> Vec<Self> {
        setup.frameworks.iter().enumerate().map(|(index, setup)| Self::new(index, setup)).collect()
    }

    fn new(index: usize, setup: &FrameworkSetup) -> Self {
        Self {
            demand: setup.tasks,
            setup: setup.clone(),
            principal: Principal::new(&format!("p{index}")).expect("a plain text"),
            incarnation: 1,
            alive: true,
            framework: None,
            subscription: None,
            stream: None,
            newest: None,
            offers: BTreeMap::new(),
            questions: Questions::default(),
            beliefs: BTreeMap::new(),
            offers_seen: 0,
            ended: false,
            torn_down: false,
            index,
            tasks_named: 0,
            accepts: 0,
            requests: BTreeMap::new(),
            requests_made: 0,
            lives_lived: 0,
            thinking: false,
            fidgeting: false,
            suppressed: false,
            has_visited: false,
            said_of_offers: Said::Nothing,
            executors: BTreeSet::new(),
            operations: Operations::default(),
            said: VecDeque::new(),
        }
    }

    /// Whether this start of it runs.
    pub fn lives(&self, incarnation: u64) -> bool {
        self.alive && self.incarnation == incarnation
    }

    /// Whether a task is one of its.
    pub fn owns(&self, task: &TaskId) -> bool {
        let mine = format!("d{}-", self.index);
        task.as_str().starts_with(&mine)
    }

    /// Whether everything it has accepted is over.
    pub fn is_at_rest(&self) -> bool {
        self.ended || (self.demand == 0 && self.beliefs.values().all(Belief::is_over))
    }

    pub(crate) fn info(&self) -> FrameworkInfo {
        FrameworkInfo {
            name: format!("d{}", self.index),
            user: String::new(),
            roles: BTreeSet::from([Role::new(&self.setup.role).expect("a valid role")]),
            failover_timeout_ms: self.setup.failover_timeout_ms,
            // Others are there before the last voter is upgraded.
            capabilities: Capabilities {
                gang_offers: self.setup.choosy,
                region_aware: self.setup.region_aware,
                ..Capabilities::default()
            },
            hostname: String::new(),
            webui_url: String::new(),
            labels: BTreeMap::new(),
        }
    }

    fn subscribe(&self) -> Call {
        Call::Subscribe(Subscribe {
            framework: self.framework,
            info: self.info(),
            suppressed_roles: BTreeSet::new(),
            resume: self.subscription,
            nonce: format!("nonce {} of d{}", self.lives_lived, self.index),
            can_be_asked: true,
            demand: None,
        })
    }

    /// Whether it was ended against its will before.
    pub(crate) const fn has_started_over(&self) -> bool {
        self.lives_lived > 0
    }

    /// The framework has ended against its will: another one takes its place.
    fn start_over(&mut self) {
        self.lives_lived += 1;
        self.framework = None;
        self.subscription = None;
        self.offers.clear();
        self.questions = Questions::default();
        self.requests.clear();
        self.operations.waiting.clear();
        self.operations.requests.clear();
        self.beliefs.clear();
        self.executors.clear();
        self.said.clear();
    }

    /// Keeps what may be said again: whether it arrived is not known when a stream breaks.
    fn remember(&mut self, call: &Call) {
        match call {
            Call::Kill { .. }
            | Call::Acknowledge { .. }
            | Call::AcknowledgeOperation { .. }
            | Call::Decline { .. }
            | Call::Revive { .. }
            | Call::Suppress { .. } => {
                if self.said.len() == SAID_MAX {
                    self.said.pop_front();
                }
                self.said.push_back(call.clone());
            }
            Call::Subscribe(_)
            | Call::Message { .. }
            | Call::ShutdownExecutor { .. }
            | Call::Accept(_)
            | Call::Reconcile { .. }
            | Call::ReconcileOperations { .. }
            | Call::Wish { .. }
            | Call::Request { .. }
            | Call::AcceptInverseOffers { .. }
            | Call::DeclineInverseOffers { .. }
            | Call::UpdateFramework(_)
            | Call::Teardown
            | Call::Disconnect
            | Call::Unknown => {}
        }
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.requests_made += 1;
        RequestId(self.requests_made)
    }

    pub(crate) fn name_task(&mut self) -> TaskId {
        self.tasks_named += 1;
        let text = format!("d{}-{}", self.index, self.tasks_named);
        TaskId::new(&text).expect("a plain text")
    }
}

impl World {
    /// Plans what a driver will do in `delay_ms`.
    pub fn plan_act(&mut self, driver: usize, delay_ms: u64, act: Act) {
        let incarnation = self.drivers[driver].incarnation;
        self.plan(delay_ms, Happening::Driver { driver, incarnation, act });
    }

    /// A driver does what it has planned.
    pub fn drive(&mut self, index: usize, incarnation: u64, act: Act) {
        let driver = &self.drivers[index];
        if !driver.lives(incarnation) || driver.ended {
            return;
        }
        match act {
            Act::Connect => self.driver_connects(index),
            Act::Think => self.driver_thinks(index),
            Act::Acknowledge { task, agent, update } => {
                self.call(index, Call::Acknowledge { task, agent, update }, None);
            }
            Act::Kill { task } => {
                let belief = self.drivers[index].beliefs.get(&task);
                if let Some(agent) = belief.filter(|b| !b.is_over()).map(|b| b.agent) {
                    self.call(index, Call::Kill { task, agent: Some(agent), grace_ms: None }, None);
                }
            }
            Act::Reconcile => self.driver_reconciles(index),
            Act::AcknowledgeOperation { id, agent, uuid } => {
                self.driver_acknowledges_operation(index, id, agent, uuid);
            }
            Act::Fidget => self.driver_fidgets(index),
        }
    }

    /// The driver's process ends; its framework starts it again later, under the same id.
    pub fn crash_driver(&mut self, index: usize, for_ms: u64) {
        let driver = &mut self.drivers[index];
        if !driver.alive {
            return;
        }
        self.trace.note(self.now_ms, format_args!("d{index} crashes"));
        let incarnation = driver.incarnation;
        driver.incarnation += 1;
        driver.stream = None;
        driver.subscription = None;
        driver.offers.clear();
        driver.questions.void();
        driver.requests.clear();
        driver.operations.requests.clear();
        driver.said.clear();
        driver.thinking = false;
        driver.fidgeting = false;
        driver.suppressed = false;
        self.host_is_down(Host::Driver(index), incarnation);
        self.plan_act(index, for_ms, Act::Connect);
    }

    /// Sends a call, if there is a stream.
    pub fn call(&mut self, index: usize, call: Call, request: Option<RequestId>) {
        let driver = &self.drivers[index];
        let Some(stream) = driver.stream else { return };
        let subscription = driver.subscription.unwrap_or_default();
        self.drivers[index].remember(&call);
        self.send(stream, Side::Acceptor, Frame::Call(CallFrame { request, subscription, call }));
    }

    fn driver_connects(&mut self, index: usize) {
        if self.drivers[index].stream.is_some() {
            return;
        }
        let nodes: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].process.is_some())
            .filter(|node| self.net.reaches(Host::Driver(index), Host::Node(*node)))
            .collect();
        let Some(node) = self.dice.pick(&nodes).copied() else {
            self.plan_act(index, 200, Act::Connect);
            return;
        };
        self.connect_driver(index, node);
    }

    /// Connects a driver to a certain node.
    pub fn connect_driver(&mut self, index: usize, node: usize) {
        self.oracle.callers += 1;
        let caller = self.oracle.callers;
        self.note(format_args!("d{index} connects to n{node}"));
        let class = Class::Scheduler(caller);
        let stream = self.open_stream(class, [Host::Driver(index), Host::Node(node)]);
        self.drivers[index].stream = Some(stream);
        let call = self.drivers[index].subscribe();
        self.call(index, call, None);
    }

    /// Closes a driver's stream as if it were cut, so that it moves to another node.
    pub fn move_driver(&mut self, index: usize) {
        if let Some(stream) = self.drivers[index].stream.take() {
            self.finish(stream, Side::Opener);
            self.drivers[index].offers.clear();
            self.drivers[index].questions.void();
            self.plan_act(index, 50, Act::Connect);
        }
    }

    /// A driver's stream is closed: it goes to another node.
    pub fn driver_lost_gateway(&mut self, index: usize, stream: StreamId) {
        let driver = &mut self.drivers[index];
        if driver.stream == Some(stream) {
            driver.stream = None;
            let delay = self.dice.number(20..=800);
            self.plan_act(index, delay, Act::Connect);
        }
    }

    /// A leader's word reaches a driver.
    pub fn driver_hears(&mut self, index: usize, stream: StreamId, frame: Frame) {
        let Frame::Event(EventFrame { fence, event }) = frame else { return };
        let driver = &mut self.drivers[index];
        if driver.stream != Some(stream) || driver.newest.is_some_and(|n| fence.is_stale(n)) {
            return;
        }
        driver.newest = Some(fence);
        self.trace.note(self.now_ms, format_args!("d{index} hears: {event:?}"));
        match event {
            Event::Subscribed { framework, subscription, .. } => {
                self.driver_subscribed(index, fence, framework, subscription);
            }
            Event::Offers { offers } => self.driver_offered(index, offers),
            Event::Rescind { offers, cause: _ } => {
                for offer in offers {
                    self.drivers[index].offers.remove(&offer);
                }
            }
            Event::Update { status } => self.driver_updated(index, status),
            Event::Answered { request, error } => self.driver_answered(index, request, error),
            Event::LeaderLost => {
                self.drivers[index].offers.clear();
                self.drivers[index].questions.void();
            }
            Event::InverseOffers { offers } => self.driver_asked(index, offers),
            Event::RescindInverseOffers { offers } => self.drivers[index].not_asked(&offers),
            Event::SubscribeAgain => {
                let call = self.drivers[index].subscribe();
                self.call(index, call, None);
            }
            Event::Error { error } => self.driver_refused(index, &error),
            Event::OperationStatus { status } => self.driver_told_of_operation(index, status),
            Event::ExecutorLost { agent, executor, .. } => {
                self.drivers[index].executors.remove(&(agent, executor));
            }
            Event::AgentLost { .. }
            | Event::Message { .. }
            | Event::Unfulfilled { .. }
            | Event::Heartbeat
            | Event::Unknown => {}
        }
    }

    fn driver_subscribed(
        &mut self,
        index: usize,
        fence: Fence,
        framework: FrameworkId,
        subscription: Subscription,
    ) {
        let driver = &mut self.drivers[index];
        let known = *driver.framework.get_or_insert(framework);
        assert_eq!(known, framework, "d{index} keeps its framework id");
        assert!(
            driver.subscription.is_none_or(|held| held <= subscription),
            "d{index} goes back from {:?} to {subscription}",
            driver.subscription
        );
        driver.subscription = Some(subscription);
        driver.offers.retain(|offer, _| offer.term == fence.term);
        driver.questions.void();
        self.oracle.subscribed(index, framework);
        self.driver_repeats(index);
        self.plan_act(index, 0, Act::Reconcile);
        if !std::mem::replace(&mut self.drivers[index].fidgeting, true) {
            let delay = self.dice.number(500..=4_000);
            self.plan_act(index, delay, Act::Fidget);
        }
    }

    /// Says the newest of what it has said before once more, in the same order.
    fn driver_repeats(&mut self, index: usize) {
        if self.drivers[index].said.is_empty() || self.dice.chance(500) {
            return;
        }
        let from = self.dice.index(self.drivers[index].said.len());
        let again: Vec<Call> = self.drivers[index].said.drain(from..).collect();
        for call in again {
            self.call(index, call, None);
        }
    }

    fn driver_offered(&mut self, index: usize, offers: Vec<Offer>) {
        let driver = &mut self.drivers[index];
        for offer in offers {
            assert_eq!(Some(offer.framework), driver.framework, "offers are for whom they reach");
            invariants::check_offer(&offer);
            driver.offers_seen += 1;
            self.oracle.offered(offer.id);
            driver.offers.insert(offer.id, offer);
        }
        if !std::mem::replace(&mut driver.thinking, true) {
            let delay = self.dice.skewed(1..=600);
            self.plan_act(index, delay, Act::Think);
        }
    }

    fn driver_updated(&mut self, index: usize, status: StatusUpdate) {
        let driver = &mut self.drivers[index];
        assert_eq!(Some(status.framework), driver.framework, "updates are for whom they reach");
        if let (Some(update), Some(agent)) = (status.update, status.agent)
            && self.dice.chance(930)
        {
            let delay = self.dice.skewed(1..=800);
            let task = status.task.clone();
            self.plan_act(index, delay, Act::Acknowledge { task, agent, update });
        }
        let told = self.oracle.told(&status);
        let driver = &mut self.drivers[index];
        if let (Some(agent), Some(executor)) = (status.agent, &status.executor)
            && !status.state.is_terminal()
        {
            // Word of the end of one of that name may have come when another was on its way already.
            driver.executors.insert((agent, executor.clone()));
        }
        if let (Told::New, Some(belief)) = (told, driver.beliefs.get_mut(&status.task)) {
            belief.state = Some(status.state);
        }
    }

    fn driver_refused(&mut self, index: usize, error: &CallError) {
        self.note(format_args!("d{index} is refused: {error:?}"));
        let driver = &mut self.drivers[index];
        match error.kind {
            CallErrorKind::FrameworkRemoved if driver.torn_down => driver.ended = true,
            CallErrorKind::FrameworkRemoved => driver.start_over(),
            // Its own newer subscribe, which it has not heard of, has overtaken this one.
            CallErrorKind::FailedOver => driver.subscription = None,
            CallErrorKind::NoLeader | CallErrorKind::Busy | CallErrorKind::NotSubscribed => {}
            CallErrorKind::Invalid | CallErrorKind::Forbidden | CallErrorKind::Unknown => {
                panic!("d{index} broke no rule: {error:?}")
            }
        }
    }

    pub(crate) fn driver_reconciles(&mut self, index: usize) {
        let driver = &self.drivers[index];
        if driver.subscription.is_none() {
            return;
        }
        self.driver_reconciles_operations(index);
        let driver = &self.drivers[index];
        let tasks: Vec<TaskQuery> = driver
            .beliefs
            .iter()
            .filter(|(_, belief)| !belief.is_over())
            .map(|(task, belief)| TaskQuery {
                task: task.clone(),
                agent: Some(belief.agent),
                pending: belief.state.is_none(),
            })
            .collect();
        if !tasks.is_empty() {
            self.call(index, Call::Reconcile { tasks }, None);
        }
    }
}
