//! A framework that writes down each status update before it acts on it.

mod answers;

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use meshos_sdk::{
    DriverOptions, Registered, Scheduler, SchedulerDriver,
    protocol::{
        demand::StatedDemand,
        framework::{Capabilities, Offer},
        ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId},
        maintenance::InverseOffer,
        messages::scheduler::{CallError, RescindCause},
        operation::OperationStatus,
        role::Role,
        task::{Exit, StatusUpdate, TaskDescription, TaskState},
        time::millis,
        wishes::OfferWishes,
    },
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    cluster::Cluster,
    credentials::framework_credentials,
    wait::{PATIENCE, poll_until},
};

/// Runs all drivers of this process; it lives as long as the process, so that a driver can say good-bye.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime can be started"));

/// How long an agent is refused on which nothing that waits has room.
const REFUSE: Duration = Duration::from_millis(500);
/// The same when nothing waits; a revive ends it.
const REFUSE_IDLE: Duration = Duration::from_secs(5);

/// What a framework does with offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Launches what waits and declines the rest.
    Launch,
    /// Keeps them, unless something waits.
    Keep,
}

/// What a framework is like.
#[derive(Debug, Clone)]
pub struct FrameworkOptions {
    /// Its name and principal.
    pub name: String,
    /// The nodes it knows, by index; it connects to the first that answers.
    pub gateways: Vec<usize>,
    /// How long its tasks outlive it.
    pub failover_timeout: Duration,
    /// The roles it is in, in place of `*`.
    pub roles: Vec<String>,
    /// What it understands.
    pub capabilities: Capabilities,
    /// What it wishes of offers from the start.
    pub wishes: BTreeMap<Role, OfferWishes>,
    /// What it wants from the start.
    pub demand: BTreeMap<Role, StatedDemand>,
    /// What it does with offers.
    pub handling: Handling,
    /// An earlier run to take over.
    pub takes_over: Option<FrameworkId>,
    /// Whether updates are acknowledged; those that are not come again.
    pub acknowledge: bool,
}

impl FrameworkOptions {
    /// A framework that knows these nodes.
    #[must_use]
    pub fn new(name: &str, gateways: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            gateways: gateways.to_vec(),
            failover_timeout: Duration::from_secs(60),
            roles: Vec::new(),
            capabilities: Capabilities::default(),
            wishes: BTreeMap::new(),
            demand: BTreeMap::new(),
            handling: Handling::Launch,
            takes_over: None,
            acknowledge: true,
        }
    }
}

/// What a framework was told.
#[derive(Debug, Clone)]
pub enum Note {
    /// It is subscribed.
    Registered(Registered),
    /// Its subscription goes on.
    Reregistered(Registered),
    /// It was offered resources.
    Offers(Vec<Offer>),
    /// An offer is void.
    Rescinded(OfferId, RescindCause),
    /// It was asked whether it suits that nodes will be away.
    Asked(Vec<InverseOffer>),
    /// It need not answer that any more.
    NotAsked(OfferId),
    /// A step of a task.
    Update(StatusUpdate),
    /// Where an operation stands.
    Operation(OperationStatus),
    /// No leader can be reached.
    Disconnected,
    /// An agent is unreachable or gone.
    AgentLost(AgentId),
    /// An executor said something.
    Message(AgentId, ExecutorId, Vec<u8>),
    /// An executor is over.
    ExecutorLost(AgentId, ExecutorId, Option<Exit>),
    /// What it wanted together was not to be had in time.
    Unfulfilled(Role),
    /// What it said of itself is on record, or refused.
    Updated(Result<(), CallError>),
    /// The subscription is over.
    Error(CallError),
}

/// A status update as it stands in the framework's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenUpdate {
    /// The task.
    pub task: String,
    /// Its state.
    pub state: TaskState,
    /// The update's id, if it has one.
    pub update: Option<String>,
}

/// A task that waits for an offer.
struct Wanted {
    task: TaskDescription,
    /// The node it must run on, by its id.
    node: Option<String>,
}

struct State {
    notes: Vec<(Instant, Note)>,
    wanted: VecDeque<Wanted>,
    open: BTreeMap<OfferId, Offer>,
    launched: BTreeMap<String, u32>,
    file: File,
}

struct Recorder {
    state: Arc<Mutex<State>>,
    handling: Handling,
}

/// A framework with its driver; it is ended when dropped.
pub struct Framework {
    driver: SchedulerDriver,
    state: Arc<Mutex<State>>,
    directory: TempDir,
}

impl Framework {
    /// Starts one and waits until it is registered.
    ///
    /// # Panics
    /// When it cannot register.
    #[must_use]
    pub fn start(cluster: &Cluster, options: FrameworkOptions) -> Self {
        let framework = Self::begin(cluster, options);
        framework.wait_for("the framework is registered", |notes| {
            notes.iter().find_map(|(_, note)| matches!(note, Note::Registered(_)).then_some(()))
        });
        framework
    }

    /// Starts one and does not wait.
    ///
    /// # Panics
    /// When no node signs its key.
    #[must_use]
    pub fn begin(cluster: &Cluster, options: FrameworkOptions) -> Self {
        let gateways = options.gateways.iter().map(|index| &cluster.nodes[*index]);
        let nodes: Vec<String> = gateways.clone().map(|node| node.quic().to_string()).collect();
        let first = gateways.clone().next().expect("a framework knows a node");
        let credentials = framework_credentials(first, &options.name);
        let mut driver_options = DriverOptions::new(options.name, nodes, credentials);
        driver_options.info.failover_timeout_ms = millis(options.failover_timeout);
        if !options.roles.is_empty() {
            let role = |name: &String| Role::new(name).expect("a test knows what a role is");
            driver_options.info.roles = options.roles.iter().map(role).collect();
        }
        driver_options.info.capabilities = options.capabilities;
        driver_options.wishes = options.wishes;
        driver_options.demand = options.demand;
        driver_options.framework = options.takes_over;
        driver_options.explicit_acknowledgements = !options.acknowledge;
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let file = File::create(updates_file(directory.path())).expect("a file can be made");
        let state = Arc::new(Mutex::new(State {
            notes: Vec::new(),
            wanted: VecDeque::new(),
            open: BTreeMap::new(),
            launched: BTreeMap::new(),
            file,
        }));
        let recorder = Recorder { state: Arc::clone(&state), handling: options.handling };
        let _entered = RUNTIME.enter();
        let (driver, _ended) =
            SchedulerDriver::start(recorder, driver_options).expect("the options are good");
        Self { driver, state, directory }
    }

    /// The driver, for calls that this type does not wrap.
    #[must_use]
    pub fn driver(&self) -> &SchedulerDriver {
        &self.driver
    }

    /// Its id.
    ///
    /// # Panics
    /// When it is not registered yet.
    #[must_use]
    pub fn id(&self) -> FrameworkId {
        self.driver.framework().expect("the framework is registered")
    }

    /// Launches tasks as soon as there are offers for them.
    pub fn submit(&self, tasks: impl IntoIterator<Item = TaskDescription>) {
        self.want(tasks.into_iter().map(|task| Wanted { task, node: None }));
    }

    /// The same, on one node.
    pub fn submit_on(&self, node: &str, tasks: impl IntoIterator<Item = TaskDescription>) {
        self.want(tasks.into_iter().map(|task| Wanted { task, node: Some(node.to_owned()) }));
    }

    fn want(&self, wanted: impl Iterator<Item = Wanted>) {
        let mut state = self.lock();
        state.wanted.extend(wanted);
        state.use_offers(&self.driver);
        self.driver.revive(Default::default());
    }

    /// How many tasks wait for an offer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().wanted.len()
    }

    /// How often each task was launched.
    #[must_use]
    pub fn launched(&self) -> BTreeMap<String, u32> {
        self.lock().launched.clone()
    }

    /// The offers that it holds.
    #[must_use]
    pub fn open_offers(&self) -> Vec<Offer> {
        self.lock().open.values().cloned().collect()
    }

    /// Ends a task.
    pub fn kill(&self, task: &str) {
        self.driver.kill(&TaskId::new(task).expect("a good task id"), None);
    }

    /// All that it was told, with the time of each.
    #[must_use]
    pub fn notes(&self) -> Vec<(Instant, Note)> {
        self.lock().notes.clone()
    }

    /// The updates of one task, in the order in which they came.
    #[must_use]
    pub fn updates_of(&self, task: &str) -> Vec<StatusUpdate> {
        let state = self.lock();
        let updates = state.notes.iter().filter_map(|(_, note)| match note {
            Note::Update(update) if update.task.as_str() == task => Some(update.clone()),
            _ => None,
        });
        updates.collect()
    }

    /// The newest state of each task.
    #[must_use]
    pub fn states(&self) -> BTreeMap<String, TaskState> {
        let state = self.lock();
        let updates = state.notes.iter().filter_map(|(_, note)| match note {
            Note::Update(update) => Some((update.task.as_str().to_owned(), update.state)),
            _ => None,
        });
        updates.collect()
    }

    /// What stands in its file: each update, written before it was acted on.
    ///
    /// # Panics
    /// When the file is not as it was written.
    #[must_use]
    pub fn written(&self) -> Vec<WrittenUpdate> {
        let text =
            fs::read_to_string(updates_file(self.directory.path())).expect("the file is there");
        let read = |line| serde_json::from_str(line).expect("a line is one update");
        text.lines().map(read).collect()
    }

    /// Waits until what it was told has something, and gives it back.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&[(Instant, Note)]) -> Option<T>,
    ) -> T {
        poll_until(PATIENCE, what, || find(&self.lock().notes))
    }

    /// Waits until a task is in a state, and gives that update back.
    ///
    /// # Panics
    /// When that does not come; with all updates of the task.
    #[track_caller]
    pub fn wait_for_state(&self, task: &str, state: TaskState) -> StatusUpdate {
        let start = Instant::now();
        poll_until(PATIENCE * 2, &format!("{task} is {state}"), || {
            let updates = self.updates_of(task);
            let found = updates.iter().rev().find(|update| update.state == state).cloned();
            assert!(
                found.is_some() || start.elapsed() < PATIENCE,
                "{task} is not {state}: {updates:#?}"
            );
            found
        })
    }

    /// Waits until the newest state of each of these tasks satisfies `condition`.
    ///
    /// # Panics
    /// When that does not come; with the states of those that do not.
    #[track_caller]
    pub fn wait_for_all(
        &self,
        what: &str,
        tasks: &[String],
        condition: impl Fn(TaskState) -> bool,
    ) {
        let start = Instant::now();
        poll_until(PATIENCE * 2, what, || {
            let states = self.states();
            let missing: Vec<_> = tasks
                .iter()
                .map(|task| (task, states.get(task)))
                .filter(|(_, state)| !state.is_some_and(|state| condition(*state)))
                .collect();
            assert!(
                missing.is_empty() || start.elapsed() < PATIENCE,
                "not so: {what}: {} tasks wait for offers; {missing:?}",
                self.waiting()
            );
            missing.is_empty().then_some(())
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = self.lock();
            let begin = state.notes.len().saturating_sub(60);
            eprintln!("--- framework {:?} was told (the newest)", self.driver.framework());
            for (at, note) in &state.notes[begin..] {
                eprintln!("{:?} ago: {note:?}", at.elapsed());
            }
        }
        self.driver.abort();
    }
}

impl std::fmt::Debug for Framework {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Framework").field("id", &self.driver.framework()).finish_non_exhaustive()
    }
}

fn updates_file(directory: &Path) -> PathBuf {
    directory.join("updates.jsonl")
}

impl State {
    fn note(&mut self, note: Note) {
        self.notes.push((Instant::now(), note));
    }

    /// Launches what waits on the open offers, spread over them.
    fn use_offers(&mut self, driver: &SchedulerDriver) {
        let offers: Vec<Offer> = self.open.values().cloned().collect();
        for (index, offer) in offers.iter().enumerate() {
            let share = self.wanted.len().div_ceil(offers.len() - index);
            let tasks = self.take_for(offer, share);
            if tasks.is_empty() {
                continue;
            }
            for task in &tasks {
                *self.launched.entry(task.task_id.as_str().to_owned()).or_default() += 1;
            }
            self.open.remove(&offer.id);
            let refuse = self.refuse();
            driver.launch(std::slice::from_ref(offer), tasks, Some(refuse));
        }
    }

    fn refuse(&self) -> Duration {
        if self.wanted.is_empty() { REFUSE_IDLE } else { REFUSE }
    }

    /// At most `share` tasks that wait and have room in the offer.
    fn take_for(&mut self, offer: &Offer, share: usize) -> Vec<TaskDescription> {
        let node = offer.agent.node.to_string();
        let mut rest = offer.resources.clone();
        let mut taken = Vec::new();
        for wanted in std::mem::take(&mut self.wanted) {
            let here = wanted.node.as_ref().is_none_or(|wanted| *wanted == node);
            let left = rest.checked_sub(&wanted.task.resources);
            match left.filter(|_| here && taken.len() < share) {
                Some(left) => {
                    rest = left;
                    taken.push(wanted.task);
                }
                None => self.wanted.push_back(wanted),
            }
        }
        taken
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scheduler for Recorder {
    fn registered(&mut self, _: &SchedulerDriver, registered: Registered) {
        self.lock().note(Note::Registered(registered));
    }

    fn reregistered(&mut self, _: &SchedulerDriver, registered: Registered) {
        self.lock().note(Note::Reregistered(registered));
    }

    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        let mut state = self.lock();
        state.note(Note::Offers(offers.clone()));
        state.open.extend(offers.into_iter().map(|offer| (offer.id, offer)));
        state.use_offers(driver);
        if self.handling == Handling::Launch {
            let refuse = state.refuse();
            for offer in std::mem::take(&mut state.open).into_keys() {
                driver.decline(&offer, Some(refuse));
            }
        }
    }

    fn offer_rescinded(&mut self, _: &SchedulerDriver, offer: OfferId, cause: RescindCause) {
        let mut state = self.lock();
        state.open.remove(&offer);
        state.note(Note::Rescinded(offer, cause));
    }

    fn inverse_offers(&mut self, _: &SchedulerDriver, offers: Vec<InverseOffer>) {
        self.lock().note(Note::Asked(offers));
    }

    fn inverse_offer_rescinded(&mut self, _: &SchedulerDriver, offer: OfferId) {
        self.lock().note(Note::NotAsked(offer));
    }

    fn status_update(&mut self, _: &SchedulerDriver, status: StatusUpdate) {
        let mut state = self.lock();
        let written = WrittenUpdate {
            task: status.task.as_str().to_owned(),
            state: status.state,
            update: status.update.as_ref().map(|id| format!("{:02x?}", id.as_bytes())),
        };
        let line = serde_json::to_string(&written).expect("an update is JSON");
        writeln!(state.file, "{line}").expect("the disk takes an update");
        state.note(Note::Update(status));
    }

    fn operation_status(&mut self, _: &SchedulerDriver, status: OperationStatus) {
        self.lock().note(Note::Operation(status));
    }

    fn disconnected(&mut self, _: &SchedulerDriver) {
        self.lock().note(Note::Disconnected);
    }

    fn agent_lost(&mut self, _: &SchedulerDriver, agent: AgentId) {
        self.lock().note(Note::AgentLost(agent));
    }

    fn framework_message(
        &mut self,
        _: &SchedulerDriver,
        agent: AgentId,
        executor: ExecutorId,
        data: Vec<u8>,
    ) {
        self.lock().note(Note::Message(agent, executor, data));
    }

    fn executor_lost(
        &mut self,
        _: &SchedulerDriver,
        agent: AgentId,
        executor: ExecutorId,
        exit: Option<Exit>,
    ) {
        self.lock().note(Note::ExecutorLost(agent, executor, exit));
    }

    fn unfulfilled(&mut self, _: &SchedulerDriver, role: Role) {
        self.lock().note(Note::Unfulfilled(role));
    }

    fn framework_updated(&mut self, _: &SchedulerDriver, outcome: Result<(), CallError>) {
        self.lock().note(Note::Updated(outcome));
    }

    fn error(&mut self, _: &SchedulerDriver, error: CallError) {
        self.lock().note(Note::Error(error));
    }
}
