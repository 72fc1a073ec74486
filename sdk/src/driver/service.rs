//! The driver's loop.

use std::time::Duration;

use meshos_protocol::{
    demand::StatedDemand,
    ids::FrameworkId,
    messages::scheduler::{Call, CallError, CallErrorKind},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    DriverError, DriverOptions, SchedulerDriver, Status,
    connection::{Connection, Link},
    core::{Ask, Core, Output, Tell},
    handle::Command,
    wants::Wants,
};
use crate::{Scheduler, wire::FrameSender};

/// Calls and events handled before the other side gets its turn.
const BATCH_MAX: usize = 256;
/// How long the good-bye may take to reach the node.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Service {
    scheduler: Box<dyn Scheduler>,
    driver: SchedulerDriver,
    core: Core,
    connection: Connection,
    commands: mpsc::Receiver<Command>,
    framework: watch::Sender<Option<FrameworkId>>,
    sender: Option<FrameSender>,
    outputs: Vec<Output>,
    /// When a busy leader is asked again.
    wake: Option<Instant>,
    end: Option<Result<Status, DriverError>>,
}

impl Service {
    pub(super) fn new(
        scheduler: Box<dyn Scheduler>,
        driver: SchedulerDriver,
        mut options: DriverOptions,
        commands: mpsc::Receiver<Command>,
        framework: watch::Sender<Option<FrameworkId>>,
    ) -> Result<Self, DriverError> {
        let connection = Connection::start(&options.credentials, options.nodes)?;
        // Whoever asks for several things together understands such offers.
        let is_gang = |demand: &StatedDemand| demand.together_within_ms.is_some();
        options.info.capabilities.gang_offers |= options.demand.values().any(is_gang);
        let core = Core::new(
            options.info,
            options.framework,
            options.suppressed_roles,
            Wants::new(options.wishes, &options.demand),
            options.explicit_acknowledgements,
            nonce(),
        );
        Ok(Self {
            scheduler,
            driver,
            core,
            connection,
            commands,
            framework,
            sender: None,
            outputs: Vec::new(),
            wake: None,
            end: None,
        })
    }

    pub(super) async fn run(mut self) -> Result<Status, DriverError> {
        let mut commands = Vec::with_capacity(BATCH_MAX);
        let mut links = Vec::with_capacity(BATCH_MAX);
        let ended = loop {
            if let Some(ended) = self.end.take() {
                break ended;
            }
            tokio::select! {
                biased;
                _ = self.commands.recv_many(&mut commands, BATCH_MAX) => {}
                () = wait_until(self.wake) => {
                    self.wake = None;
                    self.core.ask_again(&mut self.outputs);
                }
                count = self.connection.links.recv_many(&mut links, BATCH_MAX) => {
                    if count == 0 {
                        break Ok(Status::Aborted);
                    }
                }
            }
            for command in commands.drain(..) {
                self.command(command);
            }
            for link in links.drain(..) {
                self.link(link);
                self.flush();
            }
            self.flush();
        };
        self.driver.set_status(match &ended {
            Ok(status) => *status,
            Err(_) => Status::Aborted,
        });
        self.say_goodbye().await;
        ended
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Ask(ask) => self.core.ask(ask, &mut self.outputs),
            Command::Stop { failover } => {
                let last = if failover { Ask::Disconnect } else { Ask::Teardown };
                self.core.ask(last, &mut self.outputs);
                self.end = Some(Ok(Status::Stopped));
            }
            Command::Abort => {
                self.core.ask(Ask::Disconnect, &mut self.outputs);
                self.end = Some(Ok(Status::Aborted));
            }
        }
    }

    fn link(&mut self, link: Link) {
        match link {
            Link::Up(sender) => {
                self.sender = Some(sender);
                self.core.connected(&mut self.outputs);
            }
            Link::Event(frame) => self.core.event(*frame, &mut self.outputs),
            Link::Down => {
                self.sender = None;
                self.core.disconnected(&mut self.outputs);
            }
            Link::Unreachable(why) => {
                tracing::info!("{why}");
                if self.driver.status() == Status::Running {
                    self.scheduler.unreachable(&self.driver, &why);
                }
            }
            Link::Refused(error) => {
                let message = error.to_string();
                self.turned_away(CallError { kind: CallErrorKind::Forbidden, message });
                self.end.get_or_insert(Err(DriverError::Wire(error)));
            }
        }
    }

    fn turned_away(&mut self, error: CallError) {
        self.driver.set_status(Status::Aborted);
        self.scheduler.error(&self.driver, error);
    }

    fn flush(&mut self) {
        let mut unheard = false;
        for output in std::mem::take(&mut self.outputs) {
            match output {
                // What the scheduler has not heard comes again to the next instance.
                Output::Send(frame) if unheard && acknowledges(&frame.call) => {}
                Output::Send(frame) => {
                    if let Some(sender) = &self.sender
                        && let Err(error) = sender.send(&frame)
                    {
                        tracing::warn!(%error, "the node takes no more calls");
                        self.sender = None;
                    }
                }
                // After an abort the scheduler hears nothing more.
                Output::Tell(tell) if self.driver.status() == Status::Running => self.tell(tell),
                Output::Tell(_) => unheard = true,
                Output::Wake(after) => self.wake = Some(Instant::now() + after),
                Output::End(error) => {
                    self.turned_away(error.clone());
                    self.end.get_or_insert(Err(DriverError::Refused(error)));
                }
            }
        }
    }

    fn tell(&mut self, tell: Tell) {
        let (scheduler, driver) = (&mut self.scheduler, &self.driver);
        match tell {
            Tell::Registered(registered) => {
                self.framework.send_replace(Some(registered.framework));
                scheduler.registered(driver, registered);
            }
            Tell::Reregistered(registered) => scheduler.reregistered(driver, registered),
            Tell::Offers(offers) => scheduler.resource_offers(driver, offers),
            Tell::Rescinded(offer, cause) => scheduler.offer_rescinded(driver, offer, cause),
            Tell::Inverse(offers) => scheduler.inverse_offers(driver, offers),
            Tell::InverseRescinded(offer) => scheduler.inverse_offer_rescinded(driver, offer),
            Tell::Update(status) => scheduler.status_update(driver, *status),
            Tell::Operation(status) => scheduler.operation_status(driver, status),
            Tell::Disconnected => scheduler.disconnected(driver),
            Tell::AgentLost(agent) => scheduler.agent_lost(driver, agent),
            Tell::Message(agent, executor, data) => {
                scheduler.framework_message(driver, agent, executor, data);
            }
            Tell::ExecutorLost(agent, executor, exit) => {
                scheduler.executor_lost(driver, agent, executor, exit);
            }
            Tell::Updated(outcome) => scheduler.framework_updated(driver, outcome),
            Tell::Unfulfilled(role) => scheduler.unfulfilled(driver, role),
        }
    }

    /// Lets the last call reach the node: the writer ends when its sender is dropped, and the node
    /// then closes the stream.
    async fn say_goodbye(mut self) {
        self.connection.stay_with_last();
        if self.sender.take().is_none() {
            return;
        }
        let closed = async {
            while let Some(link) = self.connection.links.recv().await {
                if matches!(link, Link::Down) {
                    return;
                }
            }
        };
        if tokio::time::timeout(FAREWELL_LIMIT, closed).await.is_err() {
            tracing::debug!("the node did not close the stream in time");
        }
    }
}

async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Makes one subscribe recognisable when its answer was lost.
fn nonce() -> String {
    use std::time::{SystemTime, UNIX_EPOCH};
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{:x}-{nanos:x}", std::process::id())
}
/// Whether it says that the scheduler has heard something.
const fn acknowledges(call: &Call) -> bool {
    matches!(call, Call::Acknowledge { .. } | Call::AcknowledgeOperation { .. })
}
