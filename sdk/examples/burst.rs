//! Runs many short tasks as fast as the cluster takes them, and prints how long each step took, as
//! JSON. `cargo xtask bench launch` measures with it.
//!
//! ```text
//! cargo run --release -p meshos-sdk --example burst -- \
//!     --node 127.0.0.1:5051 --credentials framework.pem --tasks 2000 --in-flight 64
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use meshos_sdk::{
    Credentials, DriverOptions, Scheduler, SchedulerDriver, TaskBuilder,
    protocol::{
        framework::Offer,
        ids::TaskId,
        resources::Resources,
        task::{StatusUpdate, TaskState},
    },
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: burst --node HOST:PORT --credentials FILE [--tasks N] [--in-flight N] [--command PROGRAM]";
/// What each task takes.
const TASK_RESOURCES: &str = "cpus:0.01;mem:8";

struct Options {
    node: String,
    credentials: String,
    tasks: usize,
    in_flight: usize,
    command: String,
}

#[derive(Debug, Default)]
struct Times {
    /// From the accept to running, in microseconds.
    to_running: Vec<u128>,
    /// From the accept to the end, in microseconds.
    to_end: Vec<u128>,
    begun: Option<Instant>,
    ended: Option<Instant>,
    failed: usize,
}

struct Burst {
    options: Options,
    launched: usize,
    open: BTreeMap<TaskId, Instant>,
    times: Arc<Mutex<Times>>,
}

impl Burst {
    fn note(&self, change: impl FnOnce(&mut Times)) {
        change(&mut self.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn launch(&mut self, driver: &SchedulerDriver, offer: Offer) {
        let one: Resources = TASK_RESOURCES.parse().expect("a valid text");
        let mut left = offer.resources.flatten();
        let mut tasks = Vec::new();
        let now = Instant::now();
        while self.launched < self.options.tasks
            && self.open.len() < self.options.in_flight
            && left.contains(&one)
        {
            self.launched += 1;
            let none: [String; 0] = [];
            let task = TaskBuilder::exec(
                format!("burst-{}", self.launched),
                self.options.command.clone(),
                none,
            );
            let task = task.resources(TASK_RESOURCES).build().expect("ids are made here");
            self.open.insert(task.task_id.clone(), now);
            tasks.push(task);
            left = left.saturating_sub(&one);
        }
        self.note(|times| {
            times.begun.get_or_insert(now);
        });
        if tasks.is_empty() {
            // The next end of a task frees more than this, which lifts the refusal.
            driver.decline(&offer.id, Some(Duration::from_secs(600)));
        } else {
            driver.launch(&[offer], tasks, Some(Duration::ZERO));
        }
    }
}

impl Scheduler for Burst {
    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        for offer in offers {
            self.launch(driver, offer);
        }
    }

    fn status_update(&mut self, driver: &SchedulerDriver, status: StatusUpdate) {
        let Some(accepted) = self.open.get(&status.task).copied() else { return };
        let took = accepted.elapsed().as_micros();
        if status.state == TaskState::Running {
            self.note(|times| times.to_running.push(took));
        }
        if !status.state.is_terminal() {
            return;
        }
        self.open.remove(&status.task);
        self.note(|times| {
            times.to_end.push(took);
            times.failed += usize::from(status.state != TaskState::Finished);
        });
        if status.state != TaskState::Finished {
            eprintln!("{} is {}: {}", status.task, status.state, status.message);
        }
        if self.open.is_empty() && self.launched == self.options.tasks {
            self.note(|times| times.ended = Some(Instant::now()));
            driver.stop(false);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("burst: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let options = parse()?;
    let credentials = Credentials::load(options.credentials.as_ref())?;
    let driver = DriverOptions::new("burst", vec![options.node.clone()], credentials);
    let times = Arc::new(Mutex::new(Times::default()));
    let tasks = options.tasks;
    let burst = Burst { options, launched: 0, open: BTreeMap::new(), times: Arc::clone(&times) };
    SchedulerDriver::run(burst, driver).await?;
    let mut times = times.lock().map_err(|_| "the scheduler panicked")?;
    let (Some(begun), Some(ended)) = (times.begun, times.ended) else {
        return Err("the driver stopped before all tasks had ended".into());
    };
    let wall_us = ended.duration_since(begun).as_micros().max(1);
    let rate_millis = u128::try_from(tasks)? * 1_000_000_000 / wall_us;
    let times = &mut *times;
    let running = percentiles(&mut times.to_running);
    let end = percentiles(&mut times.to_end);
    println!(
        "{{\"tasks\":{tasks},\"failed\":{},\"wall_us\":{wall_us},\"rate_per_s\":{}.{:03},\
         \"running_p50_us\":{},\"running_p99_us\":{},\"end_p50_us\":{},\"end_p99_us\":{}}}",
        times.failed,
        rate_millis / 1000,
        rate_millis % 1000,
        running.0,
        running.1,
        end.0,
        end.1,
    );
    Ok(())
}

/// The median and the 99th percentile.
fn percentiles(samples: &mut [u128]) -> (u128, u128) {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    let at = |percent| samples.get(last * percent / 100).copied().unwrap_or(0);
    (at(50), at(99))
}

fn parse() -> Result<Options, Failure> {
    let mut options = Options {
        node: String::new(),
        credentials: String::new(),
        tasks: 1_000,
        in_flight: 64,
        command: "/bin/true".into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
        match name.as_str() {
            "--node" => options.node = value,
            "--credentials" => options.credentials = value,
            "--tasks" => options.tasks = value.parse()?,
            "--in-flight" => options.in_flight = value.parse()?,
            "--command" => options.command = value,
            unknown => return Err(format!("unknown option {unknown}\n{USAGE}").into()),
        }
    }
    match options.node.is_empty() || options.credentials.is_empty() {
        true => Err(USAGE.into()),
        false => Ok(options),
    }
}
