//! What an executor links: an [`Executor`] to implement and an [`ExecutorDriver`] that runs it beside
//! its agent.

mod core;
mod driver;
mod options;
mod service;
mod update;

#[cfg(test)]
mod tests;

use std::time::Duration;

use meshos_protocol::{
    executor::ExecutorInfo,
    ids::{AgentId, ContainerId, FrameworkId, TaskId},
    task::TaskDescription,
};

pub use driver::ExecutorDriver;
pub use options::{ExecutorOptions, ExecutorOptionsError};
pub use update::TaskUpdate;

/// As what and where an executor is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutorRegistered {
    /// Its own description, as its framework gave it; with its data.
    pub executor: ExecutorInfo,
    /// Its framework.
    pub framework: FrameworkId,
    /// Where it runs; absent while the agent is not admitted to a cluster.
    pub agent: Option<AgentId>,
    /// The agent's host name.
    pub hostname: String,
    /// Its container.
    pub container: ContainerId,
}

/// The half of a framework that runs tasks. Methods are called one at a time and should return soon:
/// nothing else happens meanwhile. Run tasks beside them, and tell of them with
/// [`ExecutorDriver::send_status_update`].
pub trait Executor: Send + 'static {
    /// The executor is registered with its agent for the first time.
    fn registered(&mut self, driver: &ExecutorDriver, registered: ExecutorRegistered) {
        let _ = (driver, registered);
    }

    /// The agent was restarted, or the connection was lost, and is there again. Updates that were not
    /// acknowledged are told again by the driver.
    fn reregistered(&mut self, driver: &ExecutorDriver, registered: ExecutorRegistered) {
        let _ = (driver, registered);
    }

    /// The agent is away. Tasks go on; the driver tries to come back until the recovery timeout.
    fn disconnected(&mut self, driver: &ExecutorDriver) {
        let _ = driver;
    }

    /// Run a task. It has no state for its framework before the first update of it.
    fn launch_task(&mut self, driver: &ExecutorDriver, task: TaskDescription);

    /// Run the tasks of a group, which were launched together; each as [`Self::launch_task`] says, unless that is
    /// overridden. What the end of one means for the others is the executor's to decide ([`TaskDescription::group`]).
    fn launch_group(&mut self, driver: &ExecutorDriver, tasks: Vec<TaskDescription>) {
        for task in tasks {
            self.launch_task(driver, task);
        }
    }

    /// End a task, with an update that tells its end. It may be asked for again; `grace` overrides the
    /// task's own time.
    fn kill_task(&mut self, driver: &ExecutorDriver, task: TaskId, grace: Option<Duration>);

    /// Bytes from the scheduler.
    fn framework_message(&mut self, driver: &ExecutorDriver, data: Vec<u8>) {
        let _ = (driver, data);
    }

    /// End all tasks, tell their ends, and stop the driver; after `grace` the executor is killed. Also
    /// called when the agent did not come back in time.
    fn shutdown(&mut self, driver: &ExecutorDriver, grace: Duration) {
        let _ = grace;
        driver.stop();
    }

    /// The agent refuses the executor; the driver has stopped.
    fn error(&mut self, driver: &ExecutorDriver, message: &str) {
        let _ = (driver, message);
    }
}
