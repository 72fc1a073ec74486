//! The driver as the scheduler and other threads use it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use meshos_protocol::{
    executor::MESSAGE_BYTES_MAX,
    framework::{FrameworkInfo, Offer},
    ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId, UpdateId},
    maintenance::InverseOffer,
    messages::scheduler::TaskQuery,
    operation::OperationRequest,
    role::Role,
    task::TaskDescription,
    time::millis,
    wishes::{OfferWishes, ResourceRequest},
};
use tokio::sync::{mpsc, watch};

use super::{DriverError, DriverOptions, core::Ask, service};
use crate::{Scheduler, TaskBuilderError, TaskGroup};

/// Calls that may wait for the driver.
pub(super) const CALLS_MAX: usize = 65_536;

/// Whether a driver runs. Calls on one that does not are refused with its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It was made and not started.
    NotStarted,
    /// It runs.
    Running,
    /// It was aborted: by the scheduler, or because the cluster turned the framework away.
    Aborted,
    /// It was stopped.
    Stopped,
}

impl Status {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::NotStarted,
            1 => Self::Running,
            2 => Self::Aborted,
            _ => Self::Stopped,
        }
    }
}

/// What reaches the driver's loop.
#[derive(Debug)]
pub(super) enum Command {
    Ask(Ask),
    Stop { failover: bool },
    Abort,
}

/// A running driver; cheap to clone, usable from any thread. No call waits; each returns the
/// driver's status, which is [`Status::Running`] when the call was taken.
#[derive(Debug, Clone)]
pub struct SchedulerDriver {
    commands: mpsc::Sender<Command>,
    status: Arc<AtomicU8>,
    framework: watch::Receiver<Option<FrameworkId>>,
}

impl SchedulerDriver {
    /// Runs `scheduler` until it stops or aborts, or the cluster turns it away.
    ///
    /// # Errors
    /// When the options cannot be used, or the cluster turned the framework away.
    pub async fn run(
        scheduler: impl Scheduler,
        options: DriverOptions,
    ) -> Result<Status, DriverError> {
        Self::start(scheduler, options)?.1.await.unwrap_or(Ok(Status::Aborted))
    }

    /// Starts `scheduler` beside the caller: the driver to call, and what to await for its end.
    ///
    /// # Errors
    /// When the options cannot be used.
    pub fn start(
        scheduler: impl Scheduler,
        options: DriverOptions,
    ) -> Result<(Self, tokio::task::JoinHandle<Result<Status, DriverError>>), DriverError> {
        if options.nodes.is_empty() {
            return Err(DriverError::NoNodes);
        }
        let (commands, queue) = mpsc::channel(CALLS_MAX);
        let (publish, framework) = watch::channel(options.framework);
        let status = Arc::new(AtomicU8::new(Status::Running as u8));
        let driver = Self { commands, status, framework };
        let service =
            service::Service::new(Box::new(scheduler), driver.clone(), options, queue, publish)?;
        Ok((driver, tokio::spawn(service.run())))
    }

    /// Whether the driver runs.
    pub fn status(&self) -> Status {
        Status::from_u8(self.status.load(Ordering::Acquire))
    }

    /// The framework's id, once it has one.
    pub fn framework(&self) -> Option<FrameworkId> {
        *self.framework.borrow()
    }

    /// Launches tasks on offers of one agent; what they leave is declined for `refuse` (five
    /// seconds when absent). Never repeated: each task ends in exactly one of started or dropped,
    /// and its status updates tell which.
    pub fn launch(
        &self,
        offers: &[Offer],
        tasks: Vec<TaskDescription>,
        refuse: Option<Duration>,
    ) -> Status {
        self.accept_offers(offers, Vec::new(), tasks, refuse)
    }

    /// Launches a group of tasks ([`crate::TaskGroup`]) on offers of one agent, all in one role: all of them
    /// or none, at the leader and on the agent. When a rule is broken or they do not fit, each is told as *error* with
    /// [`Reason::TaskGroupInvalid`](meshos_protocol::task::Reason::TaskGroupInvalid) and the same sentence.
    ///
    /// Groups and other tasks may also stand beside each other in one accept: the tasks of each group one after the other,
    /// as they were built.
    ///
    /// # Errors
    /// When the group cannot be built; nothing is launched then, and the offers stay open.
    pub fn launch_group(
        &self,
        offers: &[Offer],
        group: TaskGroup,
        refuse: Option<Duration>,
    ) -> Result<Status, TaskBuilderError> {
        Ok(self.launch(offers, group.build()?, refuse))
    }

    /// Uses offers of one agent: carries the operations out, in order, each on what the ones before
    /// it have left of the offers, and launches tasks on what there is then. What is left after that
    /// is declined for `refuse` (five seconds when absent); with an empty list of both, all is.
    ///
    /// A reservation that an operation makes names the framework's own principal, and a role of the
    /// framework. A task that is to use a volume names it among its resources, with the same
    /// metadata as it was created with, and sees it at the volume's path in its sandbox.
    ///
    /// Never repeated. What becomes of an operation with an id is told to
    /// [`Scheduler::operation_status`], also when the leader dies meanwhile; one without an id is
    /// done or not. An operation that fails does not keep the later ones and the tasks from being
    /// tried on what is offered then.
    pub fn accept_offers(
        &self,
        offers: &[Offer],
        operations: Vec<OperationRequest>,
        tasks: Vec<TaskDescription>,
        refuse: Option<Duration>,
    ) -> Status {
        let offers = offers.iter().map(|offer| offer.id).collect();
        self.ask(Ask::Accept { offers, operations, tasks, refuse_ms: refuse.map(millis) })
    }

    /// Gives an offer back; its agent is left out for `refuse` (five seconds when absent).
    pub fn decline(&self, offer: &OfferId, refuse: Option<Duration>) -> Status {
        self.ask(Ask::Decline { offers: vec![*offer], refuse_ms: refuse.map(millis) })
    }

    /// Says that it suits when the nodes of these inverse offers will be away: what runs there can end then, or is somewhere
    /// else by that time. It is not asked again about them for `again` (absent: as long as the same is planned and the
    /// same leader leads; less than a second is a second). Those that are open no more are left out.
    pub fn accept_inverse_offers(
        &self,
        offers: &[InverseOffer],
        again: Option<Duration>,
    ) -> Status {
        self.answer_inverse_offers(offers, true, again)
    }

    /// The same when it does not suit. The operator sees it, and may go on all the same.
    pub fn decline_inverse_offers(
        &self,
        offers: &[InverseOffer],
        again: Option<Duration>,
    ) -> Status {
        self.answer_inverse_offers(offers, false, again)
    }

    fn answer_inverse_offers(
        &self,
        offers: &[InverseOffer],
        accepts: bool,
        again: Option<Duration>,
    ) -> Status {
        let offers = offers.iter().map(|offer| offer.id).collect();
        self.ask(Ask::AnswerInverse { offers, accepts, refuse_ms: again.map(millis) })
    }

    /// Clears refusals and suppression of these roles; of all when there are none.
    pub fn revive(&self, roles: BTreeSet<Role>) -> Status {
        self.ask(Ask::Revive { roles })
    }

    /// No offers for these roles until a revive; for all when there are none.
    pub fn suppress(&self, roles: BTreeSet<Role>) -> Status {
        self.ask(Ask::Suppress { roles })
    }

    /// Says what the framework wishes of all offers to come, by role: that they have a smallest size, and
    /// of which agents they are. It replaces what was wished before in all roles, and is kept on record:
    /// the next leader knows it too. Wishes that are there from the start belong into
    /// [`DriverOptions::wishes`].
    ///
    /// ```
    /// # use meshos_sdk::SchedulerDriver;
    /// use meshos_sdk::protocol::resources::Resources;
    /// use meshos_sdk::protocol::role::Role;
    /// use meshos_sdk::protocol::wishes::{AgentConstraint, OfferWishes};
    ///
    /// # fn example(driver: &SchedulerDriver) -> Result<(), Box<dyn std::error::Error>> {
    /// let large: Resources = "cpus:4;mem:32768".parse()?;
    /// let wishes = OfferWishes {
    ///     // No offer is smaller than one of these.
    ///     minimum: vec![large.quantities()],
    ///     // Agents in rack a with an SSD, or those of the zone b.
    ///     constraints: vec![
    ///         vec![AgentConstraint::equals("rack", "a"), AgentConstraint::equals("disks", "ssd")],
    ///         vec![AgentConstraint::in_zone("b")],
    ///     ],
    /// };
    /// driver.wish([(Role::new("analytics")?, wishes)].into());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wish(&self, wishes: BTreeMap<Role, OfferWishes>) -> Status {
        self.ask(Ask::Wish { wishes })
    }

    /// Says what the framework wants now in a role: it is offered that and no more, cut out of what
    /// agents have free, so that it keeps nothing from others that it does not need. It replaces what was
    /// said before. What the framework launches is wanted no more; what it declines, is. Without requests
    /// it is offered whatever there is, as in the beginning. Open offers that hold more than it wants, or
    /// something else, are rescinded. The demand outlives a change of leader.
    ///
    /// ```
    /// # use meshos_sdk::SchedulerDriver;
    /// use meshos_sdk::protocol::{ids::AgentId, role::Role, wishes::ResourceRequest};
    ///
    /// # fn example(driver: &SchedulerDriver, near_the_data: AgentId) -> Result<(), Box<dyn std::error::Error>> {
    /// let reader = ResourceRequest::on(near_the_data, "cpus:1;mem:512".parse()?, 1);
    /// let workers = ResourceRequest::new("cpus:2;mem:1024".parse()?, 10);
    /// driver.request_resources(&Role::default(), vec![reader, workers]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_resources(&self, role: &Role, requests: Vec<ResourceRequest>) -> Status {
        self.ask(Ask::Want { role: role.clone(), requests, together_within_ms: None })
    }

    /// The same for resources that are of use together only: all of them are offered at once, or
    /// nothing is, for so long; then [`Scheduler::unfulfilled`] is called. Once they were offered,
    /// nothing more is until the framework says what it wants next. Are they all taken back before
    /// it has answered one, they are tried for again for the rest of the time. A new leader tries for
    /// the whole time again. It needs the capability `gang_offers`.
    ///
    /// ```
    /// # use meshos_sdk::SchedulerDriver;
    /// # use std::time::Duration;
    /// use meshos_sdk::protocol::{role::Role, wishes::ResourceRequest};
    ///
    /// # fn example(driver: &SchedulerDriver) -> Result<(), Box<dyn std::error::Error>> {
    /// let ranks = ResourceRequest::new("cpus:8;mem:4096".parse()?, 16);
    /// driver.request_together(&Role::default(), vec![ranks], Duration::from_secs(600));
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_together(
        &self,
        role: &Role,
        requests: Vec<ResourceRequest>,
        within: Duration,
    ) -> Status {
        let together_within_ms = Some(millis(within));
        self.ask(Ask::Want { role: role.clone(), requests, together_within_ms })
    }

    /// Changes what the framework says of itself, without a new subscription: its name, roles,
    /// capabilities, fail-over timeout, labels, host name and page. Its user cannot change. All of `info`
    /// and all `suppressed` roles stand in place of those before. Open offers stay good, but for those in
    /// roles that it leaves, which are rescinded; its tasks there go on.
    ///
    /// `wishes` are those of [`Self::wish`] from then on, and count before anything is offered in a new
    /// role; without them, what was wished stands in the roles that stay. What
    /// [`Self::request_resources`] asks for afterwards waits until the update is on record.
    ///
    /// The change outlives this leader, and the driver says it again until it is on record;
    /// [`Scheduler::framework_updated`] tells when it is, or why not. While a cluster is upgraded from a
    /// release that knows no updates it waits for the last voter.
    ///
    /// ```
    /// # use meshos_sdk::SchedulerDriver;
    /// use meshos_sdk::protocol::{framework::FrameworkInfo, role::Role};
    ///
    /// # fn example(driver: &SchedulerDriver, mut info: FrameworkInfo) -> Result<(), Box<dyn std::error::Error>> {
    /// info.roles.insert(Role::new("batch")?);
    /// driver.update_framework(info, [].into(), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn update_framework(
        &self,
        info: FrameworkInfo,
        suppressed: BTreeSet<Role>,
        wishes: Option<BTreeMap<Role, OfferWishes>>,
    ) -> Status {
        self.ask(Ask::Update { info: Box::new(info), suppressed, wishes })
    }

    /// Ends a task: SIGTERM, and SIGKILL after `grace` (the task's own when absent; more than a day is
    /// a day).
    pub fn kill(&self, task: &TaskId, grace: Option<Duration>) -> Status {
        self.ask(Ask::Kill { task: task.clone(), grace_ms: grace.map(millis) })
    }

    /// Sends bytes to one of the framework's executors. Best effort: they are lost when somebody on the
    /// way is away, and when there are more than 10,000 messages or 16 MiB in a second. At most
    /// [`MESSAGE_BYTES_MAX`]; more are left out.
    pub fn send_framework_message(
        &self,
        agent: AgentId,
        executor: &ExecutorId,
        data: impl Into<Vec<u8>>,
    ) -> Status {
        let (executor, data) = (executor.clone(), data.into());
        if data.len() > MESSAGE_BYTES_MAX {
            tracing::warn!(
                bytes = data.len(),
                "a message is larger than {MESSAGE_BYTES_MAX} bytes"
            );
            return self.status();
        }
        self.ask(Ask::Message { agent, executor, data })
    }

    /// Ends an executor and its tasks: it is told to, and killed after its shutdown grace period. It is
    /// asked of the present leader alone; when nothing comes of it ([`Scheduler::executor_lost`]), ask
    /// again.
    pub fn shutdown_executor(&self, agent: AgentId, executor: &ExecutorId) -> Status {
        self.ask(Ask::ShutdownExecutor { agent, executor: executor.clone() })
    }

    /// Confirms a status update, when the options ask for explicit acknowledgement.
    pub fn acknowledge(&self, task: &TaskId, agent: AgentId, update: UpdateId) -> Status {
        self.ask(Ask::Acknowledge { task: task.clone(), agent, update })
    }

    /// Asks for the states of tasks; of all live ones when there are none.
    pub fn reconcile(&self, tasks: Vec<TaskQuery>) -> Status {
        self.ask(Ask::Reconcile { tasks })
    }

    /// Stops the driver. With `failover` the framework's tasks live on for its fail-over timeout,
    /// so that another run can take it over; without, the framework and its tasks end.
    pub fn stop(&self, failover: bool) -> Status {
        self.command(Command::Stop { failover })
    }

    /// Stops at once: no more callbacks, and the framework's tasks live on for its fail-over
    /// timeout.
    pub fn abort(&self) -> Status {
        let before = self.command(Command::Abort);
        if before == Status::Running {
            self.set_status(Status::Aborted);
        }
        before
    }

    fn ask(&self, ask: Ask) -> Status {
        self.command(Command::Ask(ask))
    }

    fn command(&self, command: Command) -> Status {
        let status = self.status();
        if status == Status::Running && self.commands.try_send(command).is_err() {
            // The queue is full only when a scheduler asks for more than it can ever be given.
            tracing::error!("the driver has too many calls waiting: it is aborted");
            self.set_status(Status::Aborted);
            return Status::Aborted;
        }
        status
    }

    pub(super) fn set_status(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
    }
}
