//! Connects the plan with the driver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshos_sdk::{
    Registered, Scheduler, SchedulerDriver,
    protocol::{
        framework::Offer, resources::Resources, task::StatusUpdate, wishes::ResourceRequest,
    },
};
use tokio::sync::Notify;

use super::{
    plan::{Action, Plan},
    request::Request,
};

/// The plan, shared by the driver's callbacks and the session.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    plan: Arc<Mutex<Plan>>,
    changed: Arc<Notify>,
}

impl Shared {
    pub(super) fn new(plan: Plan) -> Self {
        Self { plan: Arc::new(Mutex::new(plan)), changed: Arc::new(Notify::new()) }
    }

    /// The plan, for a moment.
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the plan has changed since the last time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Launches nothing more and has everything that runs killed.
    pub(super) fn stop(&self, driver: &SchedulerDriver) -> usize {
        let mut plan = self.plan();
        let tasks = plan.stop();
        for task in &tasks {
            driver.kill(task, None);
        }
        drop(plan);
        self.changed.notify_one();
        tasks.len()
    }
}

/// What so many instances need: the run is offered that, and no more.
pub(super) fn requests(need: &Resources, instances: usize) -> ResourceRequest {
    ResourceRequest::new(need.clone(), u32::try_from(instances).unwrap_or(u32::MAX))
}

/// The framework's scheduler.
#[derive(Debug)]
pub(super) struct Launcher(pub Shared);

impl Launcher {
    /// Lets the plan decide and carries it out. The plan stays locked meanwhile, so that a task is
    /// never killed before it was launched.
    fn act(&self, driver: &SchedulerDriver, decide: impl FnOnce(&mut Plan) -> Vec<Action>) {
        let mut plan = self.0.plan();
        for action in decide(&mut plan) {
            match action {
                Action::Launch { offer, tasks, refuse } => {
                    driver.launch(&[*offer], tasks, refuse);
                }
                Action::Decline { offer, refuse } => {
                    driver.decline(&offer, Some(refuse));
                }
                Action::Want { instances } => {
                    let Request { role, need, .. } = plan.request();
                    driver.request_resources(role, vec![requests(need, instances)]);
                    driver.revive([].into());
                }
            }
        }
        drop(plan);
        self.0.changed.notify_one();
    }
}

impl Scheduler for Launcher {
    fn registered(&mut self, driver: &SchedulerDriver, registered: Registered) {
        self.act(driver, |plan| {
            plan.registered(registered.framework);
            Vec::new()
        });
    }

    fn reregistered(&mut self, driver: &SchedulerDriver, _registered: Registered) {
        self.act(driver, |plan| {
            plan.connection(true);
            Vec::new()
        });
    }

    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        self.act(driver, |plan| plan.offers(offers));
    }

    fn status_update(&mut self, driver: &SchedulerDriver, status: StatusUpdate) {
        self.act(driver, |plan| plan.update(status));
    }

    fn unreachable(&mut self, driver: &SchedulerDriver, why: &str) {
        self.act(driver, |plan| {
            plan.unreachable(why);
            Vec::new()
        });
    }

    fn disconnected(&mut self, driver: &SchedulerDriver) {
        self.act(driver, |plan| {
            plan.connection(false);
            Vec::new()
        });
    }
}
