//! What a framework implements.

use meshos_protocol::{
    framework::Offer,
    ids::{AgentId, ClusterId, ExecutorId, FrameworkId, NodeId, OfferId, Term},
    maintenance::InverseOffer,
    messages::scheduler::{CallError, RescindCause},
    operation::OperationStatus,
    role::Role,
    task::{Exit, StatusUpdate},
};

use crate::SchedulerDriver;

/// Where and as what the framework is subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// The framework's id: keep it to take the framework over after a crash.
    pub framework: FrameworkId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The leader's term.
    pub term: Term,
    /// The leading node.
    pub leader: NodeId,
}

/// The deciding half of a framework. All methods have empty defaults but the offers; they are
/// called one at a time, and should return soon: nothing else happens meanwhile.
pub trait Scheduler: Send + 'static {
    /// The framework is subscribed for the first time in this process.
    fn registered(&mut self, driver: &SchedulerDriver, registered: Registered) {
        let _ = (driver, registered);
    }

    /// The subscription goes on: at a new leader, or through another node. Offers received before
    /// are void (each was told to [`Scheduler::offer_rescinded`]).
    fn reregistered(&mut self, driver: &SchedulerDriver, registered: Registered) {
        let _ = (driver, registered);
    }

    /// Resources to use. An offer that is neither launched on nor declined keeps its resources
    /// from everybody else, until it times out.
    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>);

    /// An offer is void, for this cause; a leader of an earlier release tells none
    /// ([`RescindCause::Unknown`]). What was launched on it before is told by status updates.
    fn offer_rescinded(&mut self, driver: &SchedulerDriver, offer: OfferId, cause: RescindCause) {
        let _ = (driver, offer, cause);
    }

    /// Nodes will be away for maintenance on which the framework has a task, an executor or a reservation: does that suit?
    /// Answer with [`SchedulerDriver::accept_inverse_offers`] or [`SchedulerDriver::decline_inverse_offers`]; operators see
    /// the answer, and nothing is taken away by it. Each node is asked about once, again when another time is planned, and
    /// by each new leader.
    fn inverse_offers(&mut self, driver: &SchedulerDriver, offers: Vec<InverseOffer>) {
        drop((driver, offers));
    }

    /// An inverse offer needs no answer any more: nothing is planned, or something else; the framework has nothing left
    /// there; or the leader that asked is lost, and the next one asks anew.
    fn inverse_offer_rescinded(&mut self, driver: &SchedulerDriver, offer: OfferId) {
        let _ = (driver, offer);
    }

    /// A step in a task's life. It is acknowledged when this method returns, unless the options
    /// ask for explicit acknowledgement. Each step is delivered once to this process.
    fn status_update(&mut self, driver: &SchedulerDriver, status: StatusUpdate) {
        let _ = (driver, status);
    }

    /// What became of an operation that was given an id (see [`SchedulerDriver::accept_offers`]), or
    /// where it stands meanwhile. It is acknowledged when this method returns. Each end is delivered
    /// once to this process; one that was not acknowledged comes again to the next.
    fn operation_status(&mut self, driver: &SchedulerDriver, status: OperationStatus) {
        let _ = (driver, status);
    }

    /// No node, or no leader, is reachable right now; the driver goes on trying.
    fn disconnected(&mut self, driver: &SchedulerDriver) {
        let _ = driver;
    }

    /// For a second no node could be reached, and then every ten seconds it is told again: `why` says
    /// what the last attempt came to. The driver goes on trying.
    fn unreachable(&mut self, driver: &SchedulerDriver, why: &str) {
        let _ = (driver, why);
    }

    /// An agent is unreachable or gone; its tasks are told by status updates.
    fn agent_lost(&mut self, driver: &SchedulerDriver, agent: AgentId) {
        let _ = (driver, agent);
    }

    /// Bytes from one of the framework's executors. Best effort: some may be lost.
    fn framework_message(
        &mut self,
        driver: &SchedulerDriver,
        agent: AgentId,
        executor: ExecutorId,
        data: Vec<u8>,
    ) {
        let _ = (driver, agent, executor, data);
    }

    /// An executor is over; its tasks are told by status updates. `exit` says how its process ended, if
    /// it had one. What happens while the framework is disconnected is not told later.
    fn executor_lost(
        &mut self,
        driver: &SchedulerDriver,
        agent: AgentId,
        executor: ExecutorId,
        exit: Option<Exit>,
    ) {
        let _ = (driver, agent, executor, exit);
    }

    /// What was asked for with [`SchedulerDriver::request_together`] was not to be had in time. Nothing
    /// is offered in the role until the next call that says what is wanted.
    fn unfulfilled(&mut self, driver: &SchedulerDriver, role: Role) {
        let _ = (driver, role);
    }

    /// What was said with [`SchedulerDriver::update_framework`] is on record and holds, or was refused
    /// and changes nothing: the error says why. Of several calls in a row the newest is told.
    fn framework_updated(&mut self, driver: &SchedulerDriver, outcome: Result<(), CallError>) {
        drop((driver, outcome));
    }

    /// The subscription is over and cannot be resumed, or every node refuses the credentials; the
    /// driver has stopped.
    fn error(&mut self, driver: &SchedulerDriver, error: CallError) {
        let _ = (driver, error);
    }
}
