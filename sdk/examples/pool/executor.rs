//! The executor: a thread for each task.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use meshos_sdk::{
    Executor, ExecutorDriver, ExecutorRegistered, TaskUpdate,
    protocol::{
        ids::TaskId,
        task::{TaskDescription, TaskState},
    },
};

use crate::work::{self, Outcome};

/// The tasks that run, each with the flag that ends it.
#[derive(Debug, Default)]
struct Running {
    tasks: BTreeMap<TaskId, Arc<AtomicBool>>,
    /// No task comes any more: the executor ends with the last.
    ending: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    running: Arc<Mutex<Running>>,
}

impl Pool {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor for Pool {
    fn registered(&mut self, driver: &ExecutorDriver, registered: ExecutorRegistered) {
        let greeting = String::from_utf8_lossy(&registered.executor.data).into_owned();
        driver.send_framework_message(format!("{greeting}, ready"));
    }

    fn reregistered(&mut self, driver: &ExecutorDriver, _: ExecutorRegistered) {
        driver.send_framework_message("here again");
    }

    fn launch_task(&mut self, driver: &ExecutorDriver, task: TaskDescription) {
        let end = Arc::new(AtomicBool::new(false));
        self.running().tasks.insert(task.task_id.clone(), Arc::clone(&end));
        let pid = std::process::id().to_string();
        driver.send_status_update(
            TaskUpdate::new(task.task_id.clone(), TaskState::Running).data(pid),
        );
        let (driver, running) = (driver.clone(), Arc::clone(&self.running));
        std::thread::spawn(move || {
            let id = task.task_id;
            let update = match work::run(&task.data, &end) {
                Outcome::Done(result) => {
                    TaskUpdate::new(id.clone(), TaskState::Finished).data(result)
                }
                Outcome::Ended => TaskUpdate::new(id.clone(), TaskState::Killed),
                Outcome::Failed(why) => TaskUpdate::new(id.clone(), TaskState::Failed).message(why),
            };
            driver.send_status_update(update);
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.tasks.remove(&id);
            if running.ending && running.tasks.is_empty() {
                driver.stop();
            }
        });
    }

    fn kill_task(&mut self, _: &ExecutorDriver, task: TaskId, _: Option<Duration>) {
        // Its thread tells the end.
        if let Some(end) = self.running().tasks.get(&task) {
            end.store(true, Ordering::Relaxed);
        }
    }

    fn framework_message(&mut self, driver: &ExecutorDriver, data: Vec<u8>) {
        let mut answer = b"heard: ".to_vec();
        answer.extend(data);
        driver.send_framework_message(answer);
    }

    fn shutdown(&mut self, driver: &ExecutorDriver, _: Duration) {
        let mut running = self.running();
        running.ending = true;
        running.tasks.values().for_each(|end| end.store(true, Ordering::Relaxed));
        if running.tasks.is_empty() {
            driver.stop();
        }
    }
}
