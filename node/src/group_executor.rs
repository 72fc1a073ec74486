//! The executor in the box, as a process: what agents start for the tasks of groups.
//!
//! It speaks to its agent over the SDK's driver, as every executor does, and starts the tasks itself: each as a process
//! group in a directory of its own below the executor's sandbox. So they share its container, with its limits and its
//! user, and end with it. What is decided is decided by [`meshos_control::group_executor`].

mod processes;
mod relay;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use meshos_control::group_executor::{Effect, Event, GroupExecutor};
use meshos_protocol::{
    ids::TaskId,
    task::TaskState,
    time::{Mono, millis},
};
use meshos_sdk::{ExecutorDriver, ExecutorOptions, Status, TaskUpdate};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

use processes::Processes;
use relay::Relay;

/// The argument by which this program is started as one.
pub(crate) const COMMAND: &str = "group-executor";
/// Below the sandbox: the directories of the tasks, by id.
const TASKS: &str = "tasks";
/// What may wait to be looked at: more than the tasks that an agent takes on.
const HEARD_MAX: usize = 40_000;

/// A task's own directory, below the sandbox of its executor.
pub(crate) fn directory_of(task: &TaskId) -> PathBuf {
    PathBuf::from(TASKS).join(task.as_str())
}

/// Runs until the agent has told it to end, or stays away.
pub(crate) fn main() -> ExitCode {
    let filter = crate::logging::Filter::of_environment().unwrap_or_default();
    crate::logging::start(&crate::logging::Options { filter, json: false });
    match start() {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the executor cannot run");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    let options = ExecutorOptions::from_environment()?;
    // One thread: children belong to the thread that has started them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(run(options));
    runtime.shutdown_background();
    code
}

async fn run(options: ExecutorOptions) -> anyhow::Result<ExitCode> {
    let grace_ms = millis(options.shutdown_grace);
    let mut ended = signal(SignalKind::child())?;
    let (say, mut heard) = mpsc::channel(HEARD_MAX);
    let processes = Processes::new(&options, say.clone())?;
    let driver = ExecutorDriver::new(Relay::new(say), options);
    let mut service = Service {
        core: GroupExecutor::default(),
        begun: Instant::now(),
        processes,
        driver: driver.clone(),
    };
    driver.start();
    let mut status = Status::Running;
    loop {
        if status != Status::Running && service.core.is_idle() {
            // Whoever lost its agent has failed.
            let stopped = status == Status::Stopped;
            return Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let deadline = service.core.next_deadline();
        let begun = service.begun;
        let tick = async move {
            match deadline {
                Some(at) => tokio::time::sleep_until(begun + Duration::from_millis(at.0)).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            Some(event) = heard.recv() => event,
            _ = ended.recv() => Event::Tick,
            now = driver.join(), if status == Status::Running => {
                status = now;
                // What still runs has nobody any more who would hear of it.
                if now == Status::Stopped { Event::Tick } else { Event::Shutdown { grace_ms } }
            }
            () = tick => Event::Tick,
        };
        service.take(event);
        for event in service.processes.ended() {
            service.take(event);
        }
    }
}

struct Service {
    core: GroupExecutor,
    begun: Instant,
    processes: Processes,
    driver: ExecutorDriver,
}

impl Service {
    /// Carrying out an effect may bring new events.
    fn take(&mut self, event: Event) {
        let mut events = vec![event];
        while !events.is_empty() {
            let now = Mono(millis(self.begun.elapsed()));
            let mut effects = Vec::new();
            for event in events.drain(..) {
                self.core.handle(now, event, &mut effects);
            }
            events.extend(effects.into_iter().filter_map(|effect| self.perform(effect)));
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Start(task) => return self.processes.start(*task),
            Effect::Terminate(task) => self.processes.terminate(&task),
            Effect::Destroy(task) => return self.processes.destroy(&task),
            Effect::Tell { task, state, reason, message } => {
                tracing::info!(%task, %state, message, "task");
                self.tell(task, state, reason, message);
            }
            Effect::Stop => {
                self.driver.stop();
            }
        }
        None
    }

    fn tell(
        &self,
        task: TaskId,
        state: TaskState,
        reason: Option<meshos_protocol::task::Reason>,
        message: String,
    ) {
        let update = TaskUpdate::new(task, state).message(message);
        let update = match reason {
            Some(reason) => update.reason(reason),
            None => update,
        };
        self.driver.send_status_update(update);
    }
}
