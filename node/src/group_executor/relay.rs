//! What the driver calls, as events.

use std::time::Duration;

use meshos_control::group_executor::Event;
use meshos_protocol::{ids::TaskId, task::TaskDescription, time::millis};
use meshos_sdk::{Executor, ExecutorDriver};
use tokio::sync::mpsc;

/// Passes on what the agent asks for.
pub(super) struct Relay {
    say: mpsc::Sender<Event>,
}

impl Relay {
    pub(super) const fn new(say: mpsc::Sender<Event>) -> Self {
        Self { say }
    }

    fn say(&self, driver: &ExecutorDriver, event: Event) {
        if self.say.try_send(event).is_err() {
            tracing::error!("more waits than an agent may ask for: the executor ends");
            driver.abort();
        }
    }
}

impl Executor for Relay {
    fn launch_task(&mut self, driver: &ExecutorDriver, task: TaskDescription) {
        self.say(driver, Event::Launch(vec![task]));
    }

    fn launch_group(&mut self, driver: &ExecutorDriver, tasks: Vec<TaskDescription>) {
        self.say(driver, Event::Launch(tasks));
    }

    fn kill_task(&mut self, driver: &ExecutorDriver, task: TaskId, grace: Option<Duration>) {
        self.say(driver, Event::Kill { task, grace_ms: grace.map(millis) });
    }

    fn shutdown(&mut self, driver: &ExecutorDriver, grace: Duration) {
        self.say(driver, Event::Shutdown { grace_ms: millis(grace) });
    }
}
