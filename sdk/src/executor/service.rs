//! The driver's loop.

use std::{
    io::Read as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use meshos_protocol::{
    messages::executor::{Call, Event, FRAME_BYTES_MAX},
    time::Wall,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    Executor, ExecutorDriver, ExecutorOptions,
    core::{Core, Output, Tell},
    driver::Command,
};
use crate::{
    Status,
    wire::{LocalReader, WireError, connect_local, frame},
};

/// Calls handled before the other side gets its turn.
const BATCH_MAX: usize = 256;
/// How often updates are told again that nobody acknowledges.
const REPEAT: Duration = Duration::from_secs(10);
/// The pause between two attempts to reach the agent.
const RETRY: Duration = Duration::from_millis(200);
/// How long a driver that stops waits for its last acknowledgements.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
/// How long one write may take: an agent that reads nothing for so long is as good as away.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// One connection to the agent.
struct Link {
    reader: LocalReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

pub(super) struct Service {
    executor: Box<dyn Executor>,
    driver: ExecutorDriver,
    options: ExecutorOptions,
    core: Core,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<Status>,
    link: Option<Link>,
    outputs: Vec<Output>,
    /// When the agent is tried next.
    connect_at: Instant,
    /// Since when the agent is away.
    away_since: Instant,
    repeat_at: Instant,
    /// Set when the driver is to stop as soon as everything is acknowledged.
    stop_by: Option<Instant>,
    end: Option<Status>,
}

/// What woke the loop.
enum Woken {
    Commands,
    Event(Result<Option<Event>, WireError>),
    Connected(Result<Link, std::io::Error>),
    Repeat,
    StopNow,
}

impl Service {
    pub(super) fn new(
        executor: Box<dyn Executor>,
        driver: ExecutorDriver,
        options: ExecutorOptions,
        commands: mpsc::Receiver<Command>,
        status: watch::Sender<Status>,
    ) -> Self {
        let now = Instant::now();
        Self {
            executor,
            driver,
            core: Core::new(options.clone(), seed()),
            options,
            commands,
            status,
            link: None,
            outputs: Vec::new(),
            connect_at: now,
            away_since: now,
            repeat_at: now + REPEAT,
            stop_by: None,
            end: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let status = loop {
            if let Some(status) = self.end {
                break status;
            }
            if self.stop_by.is_some() && self.core.is_settled() {
                break Status::Stopped;
            }
            let woken = self.wait(&mut batch).await;
            self.take(woken);
            for command in batch.drain(..) {
                self.command(command);
            }
            self.flush().await;
        };
        self.status.send_replace(status);
    }

    async fn wait(&mut self, batch: &mut Vec<Command>) -> Woken {
        let stop_by = self.stop_by;
        let stop = async move {
            match stop_by {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let Some(link) = &mut self.link else {
            let (socket, connect_at) = (&self.options.socket, self.connect_at);
            let connect = async {
                tokio::time::sleep_until(connect_at).await;
                let (read, writer) = connect_local(socket).await?.into_split();
                Ok(Link { reader: LocalReader::new(read, FRAME_BYTES_MAX), writer })
            };
            return tokio::select! {
                biased;
                _ = self.commands.recv_many(batch, BATCH_MAX) => Woken::Commands,
                () = stop => Woken::StopNow,
                connected = connect => Woken::Connected(connected),
            };
        };
        tokio::select! {
            biased;
            () = stop => Woken::StopNow,
            () = tokio::time::sleep_until(self.repeat_at) => Woken::Repeat,
            // Before commands: an executor that talks without a pause still hears that it is to end.
            event = link.reader.read::<Event>() => Woken::Event(event),
            _ = self.commands.recv_many(batch, BATCH_MAX) => Woken::Commands,
        }
    }

    fn take(&mut self, woken: Woken) {
        match woken {
            Woken::Commands => {}
            Woken::Event(Ok(Some(event))) => self.core.event(event, &mut self.outputs),
            Woken::Event(Ok(None)) => self.lost("the agent closed the connection"),
            Woken::Event(Err(error)) => self.lost(&error.to_string()),
            Woken::Connected(Ok(link)) => {
                self.link = Some(link);
                self.core.connected(&mut self.outputs);
            }
            Woken::Connected(Err(error)) => {
                self.connect_at = Instant::now() + RETRY;
                tracing::debug!(%error, "the agent cannot be reached");
                if self.away_since.elapsed() >= self.options.recovery_timeout {
                    self.give_up();
                }
            }
            Woken::Repeat => {
                self.repeat_at = Instant::now() + REPEAT;
                self.core.repeat(&mut self.outputs);
            }
            Woken::StopNow => {
                tracing::warn!("the driver stops although updates are not acknowledged");
                self.end = Some(Status::Stopped);
            }
        }
    }

    /// The agent stays away: whatever still runs must end, because it ends what it finds when it is back.
    fn give_up(&mut self) {
        tracing::error!("the agent did not come back in time: the executor ends");
        self.executor.shutdown(&self.driver, self.options.shutdown_grace);
        self.end = Some(Status::Aborted);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Update(update) => {
                if let Err(error) = self.core.update(update, wall_now(), &mut self.outputs) {
                    tracing::error!(%error, "an update is left out");
                }
            }
            Command::Message(data) => {
                if !self.core.message(data, &mut self.outputs) {
                    tracing::debug!("a message is lost, because the agent is away");
                }
            }
            Command::Stop => {
                self.stop_by.get_or_insert_with(|| Instant::now() + FAREWELL_LIMIT);
            }
            Command::Abort => self.end = Some(Status::Aborted),
        }
    }

    fn lost(&mut self, why: &str) {
        if self.link.take().is_some() {
            self.connect_at = Instant::now() + RETRY;
            tracing::info!(why, "the connection to the agent is lost");
            if self.core.is_subscribed() {
                self.away_since = Instant::now();
            }
            self.core.disconnected(&mut self.outputs);
        }
    }

    /// Callbacks may bring more to send.
    async fn flush(&mut self) {
        while !self.outputs.is_empty() && self.end.is_none() {
            for output in std::mem::take(&mut self.outputs) {
                match output {
                    Output::Send(call) => self.send(&call).await,
                    Output::Tell(tell) => self.tell(tell),
                    Output::Refused(message) => {
                        tracing::error!(message, "the agent refuses the executor");
                        self.executor.error(&self.driver, &message);
                        self.end = Some(Status::Aborted);
                        return;
                    }
                }
            }
        }
    }

    async fn send(&mut self, call: &Call) {
        let Some(link) = &mut self.link else { return };
        let written = match frame(call) {
            Ok(bytes) => {
                let write = tokio::time::timeout(WRITE_LIMIT, link.writer.write_all(&bytes)).await;
                match write {
                    Ok(written) => written.map_err(|error| error.to_string()),
                    Err(_) => Err("the agent reads nothing".to_owned()),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = written {
            self.lost(&why);
        }
    }

    fn tell(&mut self, tell: Tell) {
        let (executor, driver) = (&mut self.executor, &self.driver);
        match tell {
            Tell::Registered(registered) => executor.registered(driver, *registered),
            Tell::Reregistered(registered) => executor.reregistered(driver, *registered),
            Tell::Disconnected => executor.disconnected(driver),
            Tell::Launch(task) => executor.launch_task(driver, *task),
            Tell::LaunchGroup(tasks) => executor.launch_group(driver, tasks),
            Tell::Kill(task, grace) => executor.kill_task(driver, task, grace),
            Tell::Message(data) => executor.framework_message(driver, data),
            Tell::Shutdown(grace) => executor.shutdown(driver, grace),
        }
    }
}

fn wall_now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Random, so that no two executors make the same ids for updates.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    match read {
        Ok(()) => u64::from_be_bytes(bytes),
        // The process and the time tell it apart from all others of its container.
        Err(_) => u64::from(std::process::id()) << 32 ^ wall_now().0,
    }
}
