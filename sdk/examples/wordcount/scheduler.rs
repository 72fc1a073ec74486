//! The framework itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use meshos_sdk::{
    Registered, Scheduler, SchedulerDriver, TaskBuilder,
    protocol::{
        framework::Offer,
        ids::TaskId,
        messages::scheduler::CallError,
        resources::Resources,
        task::{StatusUpdate, TaskDescription, TaskState},
    },
};

use crate::{
    Failure,
    options::Options,
    placement::{Choice, Queue, Waiting},
};

/// What each task takes.
const TASK_RESOURCES: &str = "cpus:0.5;mem:64";
/// A map task that fails more often ends the framework.
const FAILURES_MAX: u32 = 3;
/// Offers that nothing needs are refused for so long.
const NO_NEED: Duration = Duration::from_secs(3600);

/// What the framework leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) maps: usize,
    pub(crate) local_maps: usize,
    pub(crate) failure: Option<String>,
}

/// Runs a map task for each text, then one reduce task.
pub(crate) struct WordCount {
    program: PathBuf,
    texts: Vec<PathBuf>,
    parts: Vec<PathBuf>,
    result: PathBuf,
    locality: Option<String>,
    queue: Queue,
    running: BTreeMap<TaskId, Waiting>,
    reducing: bool,
    attempts: u64,
    outcome: Arc<Mutex<Outcome>>,
}

impl WordCount {
    pub(crate) fn new(options: &Options) -> Result<(Self, Arc<Mutex<Outcome>>), Failure> {
        let texts = options.texts()?;
        let waiting = texts.iter().enumerate().map(|(text, found)| Waiting {
            text,
            place: found.place.clone().filter(|_| options.locality.is_some()),
            failures: 0,
        });
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let framework = Self {
            program: std::env::current_exe()?,
            parts: (0..texts.len()).map(|text| options.part(text)).collect(),
            result: options.result(),
            locality: options.locality.clone(),
            queue: Queue::new(waiting, options.delay),
            texts: texts.into_iter().map(|text| text.path).collect(),
            running: BTreeMap::new(),
            reducing: false,
            attempts: 0,
            outcome: Arc::clone(&outcome),
        };
        if let Some(work) = framework.result.parent() {
            std::fs::create_dir_all(work)?;
        }
        Ok((framework, outcome))
    }

    /// Fills one offer with map tasks, or with the reduce task when all maps are done.
    fn use_offer(&mut self, driver: &SchedulerDriver, offer: Offer) {
        let one: Resources = TASK_RESOURCES.parse().expect("a valid text");
        let mut left = offer.resources.flatten();
        let mut tasks = Vec::new();
        let mut refuse = NO_NEED;
        while left.contains(&one) {
            let Some(task) = self.next_task(&offer, &mut refuse) else { break };
            tasks.push(task);
            left = left.saturating_sub(&one);
        }
        match tasks.is_empty() {
            true => driver.decline(&offer.id, Some(refuse)),
            false => driver.launch(&[offer], tasks, Some(refuse)),
        };
    }

    fn next_task(&mut self, offer: &Offer, refuse: &mut Duration) -> Option<TaskDescription> {
        let place = self.locality.as_deref().and_then(|name| offer.attributes.get(name));
        let place = place.map(ToString::to_string);
        match self.queue.choose(Instant::now(), place.as_deref()) {
            Choice::Run(waiting, local) => {
                self.note(|outcome| {
                    outcome.maps += 1;
                    outcome.local_maps += usize::from(local);
                });
                Some(self.map_task(waiting))
            }
            Choice::Hold(left) => {
                *refuse = left;
                None
            }
            Choice::Nothing => {
                let ready = !self.reducing && self.running.is_empty();
                ready.then(|| self.reduce_task())
            }
        }
    }

    fn map_task(&mut self, waiting: Waiting) -> TaskDescription {
        let arguments =
            ["map".into(), path(&self.texts[waiting.text]), path(&self.parts[waiting.text])];
        let task = self.task(&format!("map-{}", waiting.text), arguments.into());
        self.running.insert(task.task_id.clone(), waiting);
        task
    }

    fn reduce_task(&mut self) -> TaskDescription {
        self.reducing = true;
        let mut arguments = vec!["reduce".into(), path(&self.result)];
        arguments.extend(self.parts.iter().map(path));
        self.task("reduce", arguments)
    }

    /// Each attempt has an id of its own: an id names one run of one program.
    fn task(&mut self, name: &str, arguments: Vec<String>) -> TaskDescription {
        self.attempts += 1;
        TaskBuilder::exec(format!("{name}.{}", self.attempts), path(&self.program), arguments)
            .name(name)
            .resources(TASK_RESOURCES)
            .build()
            .expect("ids and resources are made here")
    }

    fn ended(&mut self, driver: &SchedulerDriver, status: &StatusUpdate) {
        let finished = status.state == TaskState::Finished;
        match self.running.remove(&status.task) {
            Some(_) if finished => {
                if self.queue.is_empty() && self.running.is_empty() {
                    // All maps are done; refusals would keep the reduce task waiting.
                    driver.revive([].into());
                }
            }
            Some(map) if map.failures < FAILURES_MAX => {
                self.queue.push(Waiting { failures: map.failures + 1, ..map });
                driver.revive([].into());
            }
            None if self.reducing && finished => {
                driver.stop(false);
            }
            Some(_) | None => self.fail(driver, status),
        }
    }

    fn fail(&self, driver: &SchedulerDriver, status: &StatusUpdate) {
        let failure = format!("task {} is {}: {}", status.task, status.state, status.message);
        self.note(|outcome| outcome.failure = Some(failure));
        driver.stop(false);
    }

    fn note(&self, change: impl FnOnce(&mut Outcome)) {
        if let Ok(mut outcome) = self.outcome.lock() {
            change(&mut outcome);
        }
    }
}

impl Scheduler for WordCount {
    fn registered(&mut self, _driver: &SchedulerDriver, registered: Registered) {
        eprintln!("subscribed as {}, led by node {}", registered.framework, registered.leader);
    }

    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        for offer in offers {
            self.use_offer(driver, offer);
        }
    }

    fn status_update(&mut self, driver: &SchedulerDriver, status: StatusUpdate) {
        eprintln!("{} is {} {}", status.task, status.state, status.message);
        // A task that is unreachable may come back; its end is awaited like any other's.
        if status.state.is_terminal() {
            self.ended(driver, &status);
        }
    }

    fn disconnected(&mut self, _driver: &SchedulerDriver) {
        eprintln!("the cluster cannot be reached; waiting for a leader");
    }

    fn unreachable(&mut self, _driver: &SchedulerDriver, why: &str) {
        eprintln!("{why}");
    }

    fn error(&mut self, _driver: &SchedulerDriver, error: CallError) {
        self.note(|outcome| outcome.failure = Some(error.message));
    }
}

fn path(path: impl AsRef<Path>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}
