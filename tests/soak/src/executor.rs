//! The executor that an agent starts for some of the tasks: a thread for each.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use meshos_sdk::{
    Executor, ExecutorDriver, ExecutorOptions, ExecutorRegistered, Status, TaskUpdate,
    protocol::{
        ids::TaskId,
        task::{TaskDescription, TaskState},
    },
};
use meshos_tests::Journal;

use crate::work::{Work, executors_journal};

/// Runs it until its agent ends it, or is away for too long.
pub(crate) async fn run() -> Result<()> {
    let driver = ExecutorDriver::new(Pool::default(), ExecutorOptions::from_environment()?);
    match driver.run().await {
        Status::Stopped => Ok(()),
        Status::NotStarted | Status::Running | Status::Aborted => {
            bail!("the agent is away, or does not want this executor")
        }
    }
}

/// The tasks that run; each ends when its sender is dropped.
type Running = Arc<Mutex<BTreeMap<TaskId, Sender<()>>>>;

#[derive(Default)]
struct Pool {
    running: Running,
}

fn end_of(work: &Work) -> TaskState {
    if work.code == 0 { TaskState::Finished } else { TaskState::Failed }
}

impl Executor for Pool {
    fn registered(&mut self, _: &ExecutorDriver, registered: ExecutorRegistered) {
        // Its data is the path of the journal.
        let journal = String::from_utf8_lossy(&registered.executor.data).into_owned();
        Journal::write_birth(&executors_journal(Path::new(&journal)), "executor");
    }

    fn launch_task(&mut self, driver: &ExecutorDriver, task: TaskDescription) {
        let id = task.task_id;
        let Ok(work) = serde_json::from_slice::<Work>(&task.data) else {
            let update = TaskUpdate::new(id, TaskState::Failed).message("no work that it knows");
            driver.send_status_update(update);
            return;
        };
        Journal::write_birth(&work.journal, &work.id);
        let (alive, ended) = channel();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), alive);
        driver.send_status_update(TaskUpdate::new(id.clone(), TaskState::Running));
        let (driver, running) = (driver.clone(), Arc::clone(&self.running));
        std::thread::spawn(move || {
            let state = match ended.recv_timeout(Duration::from_millis(work.ms)) {
                Err(RecvTimeoutError::Timeout) => end_of(&work),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => TaskState::Killed,
            };
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            driver.send_status_update(TaskUpdate::new(id, state));
        });
    }

    fn kill_task(&mut self, _: &ExecutorDriver, task: TaskId, _: Option<Duration>) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
    }
}
