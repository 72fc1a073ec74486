//! The driver as the executor and other threads use it.

use std::sync::{Arc, Mutex, PoisonError};

use meshos_protocol::executor::MESSAGE_BYTES_MAX;
use tokio::sync::{mpsc, watch};

use super::{Executor, ExecutorOptions, TaskUpdate, service};
use crate::Status;

/// Calls that may wait for the driver.
const CALLS_MAX: usize = 65_536;

/// What reaches the driver's loop.
#[derive(Debug)]
pub(super) enum Command {
    Update(TaskUpdate),
    Message(Vec<u8>),
    Stop,
    Abort,
}

/// What runs once it is started.
struct Waiting {
    executor: Box<dyn Executor>,
    options: ExecutorOptions,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
}

/// An executor's driver; cheap to clone, usable from any thread. No call waits but [`Self::join`];
/// each returns the driver's status, which is [`Status::Running`] when the call was taken.
#[derive(Clone)]
pub struct ExecutorDriver {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    waiting: Arc<Mutex<Option<Waiting>>>,
}

impl std::fmt::Debug for ExecutorDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutorDriver").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl ExecutorDriver {
    /// A driver that is not started yet.
    pub fn new(executor: impl Executor, options: ExecutorOptions) -> Self {
        let (commands, queue) = mpsc::channel(CALLS_MAX);
        let (publish, status) = watch::channel(Status::NotStarted);
        let executor = Box::new(executor);
        let waiting = Waiting { executor, options, commands: queue, status: publish };
        Self { commands, status, waiting: Arc::new(Mutex::new(Some(waiting))) }
    }

    /// Starts the driver beside the caller, on tokio's runtime: it connects to the agent and goes on
    /// until it is stopped or aborted, or the agent does not want it or stays away. A driver that was
    /// started before is left as it is.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(&self) -> Status {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Waiting { executor, options, commands, status }) = waiting {
            status.send_replace(Status::Running);
            let service = service::Service::new(executor, self.clone(), options, commands, status);
            tokio::spawn(service.run());
        }
        self.status()
    }

    /// Waits until the driver has stopped or was aborted; at once when it was not started.
    pub async fn join(&self) -> Status {
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| *status != Status::Running).await;
        match ended.map(|status| *status) {
            Ok(status) => status,
            // Its loop has ended without a word: the runtime shuts down.
            Err(_) => Status::Aborted,
        }
    }

    /// Starts the driver and waits for its end.
    pub async fn run(&self) -> Status {
        match self.start() {
            Status::Running => self.join().await,
            ended @ (Status::NotStarted | Status::Aborted | Status::Stopped) => ended,
        }
    }

    /// Stops the driver once all updates are acknowledged, for which it waits five seconds at most.
    pub fn stop(&self) -> Status {
        self.command(Command::Stop)
    }

    /// Stops at once; no more callbacks.
    pub fn abort(&self) -> Status {
        self.command(Command::Abort)
    }

    /// Tells a step of a task. It is kept and told again until the agent has it on disk, also when
    /// the agent is away meanwhile. One that breaks a rule (its task is over or not the executor's, its
    /// state is not one that executors tell, it carries too much) is logged and left out.
    pub fn send_status_update(&self, update: TaskUpdate) -> Status {
        self.command(Command::Update(update))
    }

    /// Sends bytes to the scheduler, best effort: they are lost when somebody on the way is away. At
    /// most [`MESSAGE_BYTES_MAX`]; more are left out.
    pub fn send_framework_message(&self, data: impl Into<Vec<u8>>) -> Status {
        let data = data.into();
        if data.len() > MESSAGE_BYTES_MAX {
            tracing::warn!(
                bytes = data.len(),
                "a message is larger than {MESSAGE_BYTES_MAX} bytes"
            );
            return self.status();
        }
        self.command(Command::Message(data))
    }

    /// Whether the driver runs.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    fn command(&self, command: Command) -> Status {
        let status = self.status();
        if status == Status::Running && self.commands.try_send(command).is_err() {
            tracing::error!("the driver has too many calls waiting: one is left out");
        }
        status
    }
}
