//! The task that owns the connection to the launcher.
//!
//! It never blocks on the agent: events that the agent does not take yet wait here, at most one exit per container, so
//! that an agent that waits for an answer cannot be waited for in turn.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::link::{self, Link, Place};
use crate::container::ContainerId;
use crate::containerizer::{ContainerEvent, ExitStatus};
use crate::error::Error;
use crate::isolators::Isolation;
use crate::launcher::protocol::{Answer, Call, Known, Message, Request, Welcome};

/// How many calls wait to be sent before the callers wait.
const COMMANDS_MAX: usize = 1024;
/// How many calls are sent in one write.
const BATCH_MAX: usize = 64;
/// The pauses between attempts to reach a launcher, doubling from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What the client needs to know.
#[derive(Debug, Clone)]
pub(crate) struct ClientOptions {
    pub(crate) directory: PathBuf,
    pub(crate) runtime: PathBuf,
    pub(crate) idle_exit: Option<Duration>,
}

/// A handle on the task.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    commands: mpsc::Sender<Command>,
    mirror: Arc<Mutex<Mirror>>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the launcher was lost before the container was started")]
    Lost,
    #[error("the containerizer has stopped")]
    Stopped,
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Lost => Self::LauncherUnreachable { reason: error.to_string() },
            CallError::Stopped => Self::Stopped,
        }
    }
}

/// What the launcher is known to hold.
#[derive(Debug, Default)]
struct Mirror {
    launcher: u32,
    release: String,
    containers: BTreeMap<ContainerId, Known>,
}

/// A call on its way.
#[derive(Debug)]
struct Command {
    call: Call,
    reply: oneshot::Sender<Result<Answer, CallError>>,
}

/// Why the connection is no longer served.
enum End {
    /// It broke: come back.
    Broken(String),
    /// The launcher has stopped as asked, or the node is about to stop.
    Stopped,
    /// Another node process speaks to the launcher now.
    Replaced,
}

struct Actor {
    place: Place,
    commands: mpsc::Receiver<Command>,
    in_flight: BTreeMap<u64, Command>,
    next_id: u64,
    mirror: Arc<Mutex<Mirror>>,
    isolation: Arc<Isolation>,
    events: mpsc::Sender<ContainerEvent>,
    queue: VecDeque<ContainerEvent>,
    incarnation: (u32, u32),
    shutdown: CancellationToken,
}

impl Client {
    /// Connects to the launcher, starting it when there is none, and keeps connected until `shutdown`.
    pub(crate) async fn start(
        options: ClientOptions,
        isolation: Arc<Isolation>,
        events: mpsc::Sender<ContainerEvent>,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        let ClientOptions { directory, runtime, idle_exit } = options;
        let place = Place { directory, runtime, idle_exit };
        let link = link::connect(&place).await;
        let link = link.map_err(|reason| Error::LauncherUnreachable { reason })?;
        let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
        let mirror = Arc::<Mutex<Mirror>>::default();
        let mut actor = Actor {
            place,
            commands: receiver,
            in_flight: BTreeMap::new(),
            next_id: 1,
            mirror: Arc::clone(&mirror),
            isolation,
            events,
            queue: VecDeque::new(),
            incarnation: (link.welcome.pid, link.welcome.incarnation),
            shutdown,
        };
        actor.welcomed(&link.welcome);
        tokio::spawn(actor.run(link));
        Ok(Self { commands: sender, mirror })
    }

    /// Asks the launcher. Waits while it is not reachable.
    pub(crate) async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command { call, reply }).await.map_err(|_| CallError::Stopped)?;
        answer.await.map_err(|_| CallError::Stopped)?
    }

    /// What the launcher holds, as last told.
    pub(crate) fn known(&self) -> Vec<Known> {
        lock(&self.mirror).containers.values().cloned().collect()
    }

    /// The first process of a container.
    pub(crate) fn pid(&self, container: &ContainerId) -> Option<u32> {
        lock(&self.mirror).containers.get(container).map(|known| known.pid)
    }

    /// The release that the launcher is of.
    pub(crate) fn launcher_release(&self) -> String {
        lock(&self.mirror).release.clone()
    }

    /// The launcher's own process.
    pub(crate) fn launcher_pid(&self) -> u32 {
        lock(&self.mirror).launcher
    }
}

fn lock(mirror: &Mutex<Mirror>) -> MutexGuard<'_, Mirror> {
    mirror.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Actor {
    async fn run(mut self, mut link: Link) {
        loop {
            let resend = self.resolve_in_flight();
            let end = match link::write(&mut link.writer, resend).await {
                Ok(()) => self.serve(&mut link).await,
                Err(error) => End::Broken(error.to_string()),
            };
            match end {
                End::Broken(_) if self.stopping() => break,
                End::Broken(reason) => {
                    tracing::warn!(%reason, "the connection to the launcher is lost");
                    self.queue.push_back(ContainerEvent::LauncherLost { reason });
                }
                End::Stopped => break,
                End::Replaced => {
                    let reason = "another process of this node has taken over the launcher";
                    tracing::error!(reason);
                    let event = ContainerEvent::LauncherLost { reason: reason.to_owned() };
                    self.queue.push_back(event);
                    break;
                }
            }
            match self.reconnect().await {
                Some(new) => link = new,
                None => break,
            }
            self.welcomed(&link.welcome);
            let pid = link.welcome.pid;
            self.queue.push_back(ContainerEvent::LauncherBack { pid });
        }
        self.finish().await;
    }

    /// Whether the launcher was asked to stop: then its end is the answer.
    fn stopping(&self) -> bool {
        self.in_flight.values().any(|command| matches!(command.call, Call::Stop { .. }))
    }

    async fn finish(mut self) {
        for (_, command) in std::mem::take(&mut self.in_flight) {
            let answer = match command.call {
                Call::Stop { .. } => Ok(Answer::Done),
                _ => Err(CallError::Stopped),
            };
            send(command.reply, answer);
        }
        self.commands.close();
        let shutdown = self.shutdown.clone();
        let deliver = async {
            for event in std::mem::take(&mut self.queue) {
                if self.events.send(event).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = deliver => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn reconnect(&mut self) -> Option<Link> {
        let mut pause = PAUSE_MIN;
        loop {
            tokio::select! {
                connected = link::connect(&self.place) => match connected {
                    Ok(link) => return Some(link),
                    Err(reason) => tracing::warn!(%reason, "the launcher cannot be reached; trying again"),
                },
                () = self.shutdown.cancelled() => return None,
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shutdown.cancelled() => return None,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn serve(&mut self, link: &mut Link) -> End {
        let mut batch = Vec::new();
        let events = self.events.clone();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return End::Stopped,
                permit = events.reserve(), if !self.queue.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(event) = self.queue.pop_front() {
                            permit.send(event);
                        }
                    }
                    // Nobody listens any more.
                    Err(_) => self.queue.clear(),
                },
                message = link.reader.next() => match message {
                    Ok(Some(message)) => {
                        if let Some(end) = self.received(message) {
                            return end;
                        }
                    }
                    Ok(None) => return End::Broken("the launcher has hung up".to_owned()),
                    Err(error) => return End::Broken(error.to_string()),
                },
                count = self.commands.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return End::Stopped;
                    }
                    let requests: Vec<_> = batch.drain(..).map(|command| self.sent(command)).collect();
                    if let Err(error) = link::write(&mut link.writer, requests).await {
                        return End::Broken(error.to_string());
                    }
                }
            }
        }
    }

    /// Notes a call as on its way.
    fn sent(&mut self, command: Command) -> Request {
        let id = self.next_id;
        self.next_id += 1;
        let request = Request { id, call: command.call.clone() };
        self.in_flight.insert(id, command);
        request
    }

    fn received(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Reply { id, answer } => {
                let command = self.in_flight.remove(&id)?;
                let stopped = matches!((&command.call, &answer), (Call::Stop { .. }, Answer::Done));
                self.answered(command, answer);
                stopped.then_some(End::Stopped)
            }
            Message::Exited { container, status } => {
                self.exited(&container, status);
                None
            }
            Message::Replaced => Some(End::Replaced),
            Message::Welcome(_) | Message::Refused { .. } | Message::Unknown => None,
        }
    }

    fn answered(&self, command: Command, answer: Answer) {
        match (&command.call, &answer) {
            (Call::Launch(launch), Answer::Started { pid }) => {
                let container = launch.container.clone();
                let known = Known { container: container.clone(), pid: *pid, status: None };
                lock(&self.mirror).containers.insert(container, known);
            }
            (Call::Release { container }, Answer::Done) => {
                lock(&self.mirror).containers.remove(container);
            }
            _ => {}
        }
        send(command.reply, Ok(answer));
    }

    /// Tells the agent of an exit, once per container as long as this process lives.
    fn exited(&mut self, container: &ContainerId, status: ExitStatus) {
        {
            let mut mirror = lock(&self.mirror);
            let Some(known) = mirror.containers.get_mut(container) else { return };
            if known.status.is_some() {
                return;
            }
            known.status = Some(status.clone());
        }
        self.queue_exit(container.clone(), status);
    }

    fn queue_exit(&mut self, container: ContainerId, status: ExitStatus) {
        // A container that ended well has not hit a limit that ended it: spares it the look.
        let limited = !status.success();
        let limitation = limited.then(|| self.isolation.limitation(&container)).flatten();
        self.queue.push_back(ContainerEvent::Exited { container, status, limitation });
    }

    /// Takes over what a welcome lists: it is the truth, also about what was missed.
    fn welcomed(&mut self, welcome: &Welcome) {
        let mut missed = Vec::new();
        {
            let mut mirror = lock(&self.mirror);
            mirror.launcher = welcome.pid;
            mirror.release.clone_from(&welcome.release);
            let mut before = std::mem::take(&mut mirror.containers);
            for known in &welcome.containers {
                let told = before.remove(&known.container).is_some_and(|old| old.status.is_some());
                if !told && let Some(status) = &known.status {
                    missed.push((known.container.clone(), status.clone()));
                }
                mirror.containers.insert(known.container.clone(), known.clone());
            }
            // What a launcher does not list any more can only be a container whose record was lost with a disk.
            for (container, old) in before {
                if old.status.is_none() {
                    let reason = "the container is over, but the launcher has lost its record";
                    missed.push((container, ExitStatus::Unreadable { reason: reason.to_owned() }));
                }
            }
        }
        for (container, status) in missed {
            self.queue_exit(container, status);
        }
        let now = (welcome.pid, welcome.incarnation);
        let before = std::mem::replace(&mut self.incarnation, now);
        let upgraded = now.0 == before.0 && now.1 != before.1;
        let upgrades = self.in_flight.iter().filter_map(|(id, command)| {
            matches!(command.call, Call::Upgrade { .. }).then_some(*id)
        });
        let upgrades: Vec<u64> = upgrades.collect();
        for id in upgrades {
            if let Some(command) = self.in_flight.remove(&id) {
                send(command.reply, if upgraded { Ok(Answer::Done) } else { Err(CallError::Lost) });
            }
        }
    }

    /// What becomes of the calls that were on their way when the connection broke: a launch is looked up, because it is
    /// never made twice; the others may be repeated.
    fn resolve_in_flight(&mut self) -> Vec<Request> {
        let mut resend = Vec::new();
        for (id, command) in std::mem::take(&mut self.in_flight) {
            if let Call::Launch(launch) = &command.call {
                let pid =
                    lock(&self.mirror).containers.get(&launch.container).map(|known| known.pid);
                let answer = pid.map(|pid| Answer::Started { pid }).ok_or(CallError::Lost);
                send(command.reply, answer);
            } else {
                resend.push(Request { id, call: command.call.clone() });
                self.in_flight.insert(id, command);
            }
        }
        resend
    }
}

/// The caller may have given up waiting: then nobody needs the answer.
fn send(reply: oneshot::Sender<Result<Answer, CallError>>, answer: Result<Answer, CallError>) {
    drop(reply.send(answer));
}
