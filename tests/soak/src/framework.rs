//! One of the frameworks: keeps some tasks running, writes everything down before it acts on it, and takes itself
//! over after it was killed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use meshos_sdk::{
    Credentials, DriverOptions, ExecutorBuilder, Registered, Scheduler, SchedulerDriver, Status,
    TaskBuilder,
    protocol::{
        executor::ExecutorInfo,
        framework::Offer,
        ids::TaskId,
        messages::scheduler::{CallError, TaskQuery},
        resources::Resources,
        task::{StatusUpdate, TaskDescription},
    },
};
use meshos_tests::say;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use rand_core::RngCore as _;

use crate::{
    FrameworkArguments,
    book::{Book, Entry},
    work::Work,
};

/// Tasks that are not over at a time.
const OPEN_MAX: usize = 12;
/// Tasks on one offer.
const PER_OFFER: usize = 3;
/// How long an agent is left out that was not used.
const REFUSE: Duration = Duration::from_millis(500);
/// How often it looks after its tasks.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds between two questions what became of the open tasks.
const ASK_EVERY: u64 = 8;
/// Rounds for which a task that is to be killed may run.
const KILL_EVERY: u64 = 3;

/// The file whose presence says that nothing new is to be launched.
pub(crate) fn stop_file(dir: &Path) -> PathBuf {
    dir.join("stop")
}

/// Where its credentials are.
pub(crate) fn credentials_file(dir: &Path) -> PathBuf {
    dir.join("credentials.pem")
}

struct State {
    book: Book,
    random: ChaCha8Rng,
    dir: PathBuf,
    journal: PathBuf,
    name: String,
    /// All tasks of an agent that are for an executor share this one.
    executor: ExecutorInfo,
}

impl State {
    fn stops(&self) -> bool {
        stop_file(&self.dir).exists()
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    /// A task for an agent: a plain one, or one for the executor there.
    fn task(&mut self) -> Result<TaskDescription> {
        let number = self.book.lives.len();
        let id = format!("{}-{number}", self.name);
        // Some run until they are killed.
        let ms = if self.below(10) == 0 { 900_000 } else { self.below(3_000) };
        let code = u8::from(self.below(15) == 0);
        let work = Work { id: id.clone(), journal: self.journal.clone(), ms, code };
        let builder = if self.below(3) == 0 {
            TaskBuilder::for_executor(id, self.executor.clone()).data(serde_json::to_vec(&work)?)
        } else {
            TaskBuilder::shell(id, work.line())
        };
        Ok(builder.cpus_mem("0.1", "16").kill_grace_ms(500).build()?)
    }

    fn use_offer(&mut self, driver: &SchedulerDriver, offer: Offer) -> Result<()> {
        let free = OPEN_MAX.saturating_sub(self.book.open_tasks().count()).min(PER_OFFER);
        if free == 0 || self.stops() {
            driver.decline(&offer.id, Some(REFUSE));
            return Ok(());
        }
        let (mut tasks, mut left) = (Vec::new(), offer.resources.clone());
        for _ in 0..free {
            let task = self.task()?;
            // The first task on an agent brings the executor, and which is the first is not known.
            let executor = task.executor.as_ref().map(|executor| &executor.resources);
            let wanted = executor.into_iter().chain([&task.resources]).sum::<Resources>();
            let Some(rest) = left.checked_sub(&wanted) else { break };
            left = rest;
            let (id, in_executor) = (task.task_id.to_string(), task.executor.is_some());
            self.book.write(vec![Entry::Launch { task: id, agent: offer.agent, in_executor }])?;
            tasks.push(task);
        }
        driver.launch(&[offer], tasks, Some(REFUSE));
        Ok(())
    }

    /// Looks after the tasks. True when nothing is left to do.
    fn look(&mut self, driver: &SchedulerDriver, round: u64) -> Result<bool> {
        let (stops, kills) = (self.stops(), round.is_multiple_of(KILL_EVERY));
        let open: Vec<(String, _)> =
            self.book.open_tasks().map(|(id, life)| (id.clone(), life.clone())).collect();
        if stops && open.is_empty() {
            return Ok(true);
        }
        if round.is_multiple_of(ASK_EVERY) && !open.is_empty() {
            let query = |(id, life): &(String, crate::book::Life)| {
                let (task, agent) = (TaskId::new(id).ok()?, Some(life.agent));
                // The accept may still be on its way when nothing was heard.
                Some(TaskQuery { task, agent, pending: life.steps.is_empty() })
            };
            driver.reconcile(open.iter().filter_map(query).collect());
        }
        let heard = open.iter().filter(|(_, life)| !life.steps.is_empty());
        let victim = heard.max_by_key(|(_, life)| (!life.killed, life.steps.len()));
        // At the end all are killed, again and again.
        let victims: Vec<&String> = if stops {
            open.iter().map(|(id, _)| id).collect()
        } else {
            victim.filter(|_| kills).map(|(id, _)| id).into_iter().collect()
        };
        for id in victims {
            self.book.write(vec![Entry::Kill { task: id.clone() }])?;
            driver.kill(&TaskId::new(id)?, None);
        }
        Ok(false)
    }
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Storm {
    state: Shared,
}

impl Storm {
    /// What cannot be written down must not be acted on.
    fn must(done: Result<()>) {
        if let Err(error) = done {
            say(format_args!("the framework cannot go on: {error:#}"));
            std::process::abort();
        }
    }
}

impl Scheduler for Storm {
    fn registered(&mut self, driver: &SchedulerDriver, registered: Registered) {
        let mut state = lock(&self.state);
        if state.book.framework != Some(registered.framework) {
            Self::must(state.book.write(vec![Entry::Framework(registered.framework)]));
        }
        driver.revive(BTreeSet::new());
    }

    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        let mut state = lock(&self.state);
        for offer in offers {
            Self::must(state.use_offer(driver, offer));
        }
    }

    fn status_update(&mut self, _: &SchedulerDriver, status: StatusUpdate) {
        let mut state = lock(&self.state);
        Self::must(state.book.write(vec![Entry::of(&status)]));
    }

    fn error(&mut self, _: &SchedulerDriver, error: CallError) {
        say(format_args!("the cluster turned the framework away: {}", error.message));
    }
}

/// Runs it until it is told to stop and all its tasks are over.
pub(crate) async fn run(arguments: FrameworkArguments) -> Result<()> {
    let FrameworkArguments { dir, journal, name, node, seed } = arguments;
    let program = std::env::current_exe()?;
    let program = program.to_str().context("the path of this program is not UTF-8")?;
    let data = journal.to_str().context("the path of the journal is not UTF-8")?;
    let executor = ExecutorBuilder::exec("storm", program, Vec::<String>::new())
        .cpus_mem("0.1", "32")
        .data(data)
        .build()?;
    let book = Book::open(&dir)?;
    let credentials = Credentials::load(&credentials_file(&dir))?;
    let mut options = DriverOptions::new(&name, node, credentials);
    options.info.failover_timeout_ms = 600_000;
    options.framework = book.framework;
    let random = ChaCha8Rng::seed_from_u64(seed);
    let state = Arc::new(Mutex::new(State { book, random, dir, journal, name, executor }));
    let (driver, mut ended) = SchedulerDriver::start(Storm { state: Arc::clone(&state) }, options)?;
    let mut rounds = tokio::time::interval(ROUND);
    for round in 0.. {
        tokio::select! {
            done = &mut ended => {
                return match done?? {
                    Status::Stopped => Ok(()),
                    status => bail!("the driver ended as {status:?}"),
                };
            }
            _ = rounds.tick() => {}
        }
        if driver.framework().is_some() && lock(&state).look(&driver, round)? {
            driver.stop(false);
        }
    }
    Ok(())
}
