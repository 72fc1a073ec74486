//! The driver's decisions, without I/O: what to send when, and what to tell the executor.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use meshos_protocol::{
    codec::{WIRE_VERSION, WIRE_VERSION_MIN},
    executor::MESSAGE_BYTES_MAX,
    ids::{TaskId, UpdateId},
    messages::executor::{
        Call, Event, ExecutorStatus, Subscribe, Subscribed, UPDATES_IN_FLIGHT_MAX,
        UPDATES_PER_SUBSCRIBE_MAX,
    },
    task::{STATUS_DATA_BYTES_MAX, TaskDescription, TaskState, shortened},
    time::Wall,
};

use super::{ExecutorOptions, ExecutorRegistered, TaskUpdate};

/// The most bytes of updates that a subscribe carries; the others follow it.
const SUBSCRIBE_BYTES_MAX: usize = 1 << 20;
/// Updates of one task that wait to be told; an executor that makes more is refused.
const WAITING_MAX: usize = 10_000;

/// What the shell must do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Output {
    /// Send to the agent.
    Send(Box<Call>),
    /// Tell the executor.
    Tell(Tell),
    /// The agent does not want the executor.
    Refused(String),
}

/// What the executor is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tell {
    Registered(Box<ExecutorRegistered>),
    Reregistered(Box<ExecutorRegistered>),
    Disconnected,
    Launch(Box<TaskDescription>),
    LaunchGroup(Vec<TaskDescription>),
    Kill(TaskId, Option<Duration>),
    Message(Vec<u8>),
    Shutdown(Duration),
}

/// A task that was handed over and whose end is not acknowledged.
#[derive(Debug, Default)]
struct Task {
    /// Updates that are not acknowledged, oldest first.
    waiting: VecDeque<ExecutorStatus>,
    /// How many of them were sent over the present connection.
    sent: usize,
    /// Whether its end was told.
    over: bool,
}

/// Why an update is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UpdateError {
    /// Executors do not tell that.
    #[error("executors do not tell that a task is {0}")]
    State(TaskState),
    /// The task is not there, or its end was told.
    #[error("the executor has no task {0} that is not over")]
    NoSuchTask(TaskId),
    /// More than an update may carry.
    #[error("the update carries {0} bytes of data, at most {STATUS_DATA_BYTES_MAX} are allowed")]
    TooMuchData(usize),
    /// Nobody acknowledges what was told.
    #[error("{WAITING_MAX} updates of task {0} wait to be acknowledged")]
    TooMany(TaskId),
}

/// The driver's state.
#[derive(Debug)]
pub(super) struct Core {
    options: ExecutorOptions,
    /// Tells this process from others: in its subscriptions, and in the ids of its updates.
    seed: u64,
    updates_minted: u64,
    subscribed: bool,
    registered_before: bool,
    tasks: BTreeMap<TaskId, Task>,
}

impl Core {
    pub(super) fn new(options: ExecutorOptions, seed: u64) -> Self {
        Self {
            options,
            seed,
            updates_minted: 0,
            subscribed: false,
            registered_before: false,
            tasks: BTreeMap::new(),
        }
    }

    pub(super) const fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Whether everything that was told is acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.tasks.values().all(|task| task.waiting.is_empty())
    }

    /// A connection to the agent is open.
    pub(super) fn connected(&mut self, out: &mut Vec<Output>) {
        let (mut updates, mut bytes) = (Vec::new(), 0);
        for task in self.tasks.values_mut() {
            task.sent = 0;
            for status in task.waiting.iter().take(UPDATES_IN_FLIGHT_MAX) {
                bytes += status.data.len() + status.message.len();
                if updates.len() >= UPDATES_PER_SUBSCRIBE_MAX || bytes > SUBSCRIBE_BYTES_MAX {
                    break;
                }
                updates.push(status.clone());
                task.sent += 1;
            }
        }
        out.push(Output::Send(Box::new(Call::Subscribe(Subscribe {
            version: WIRE_VERSION,
            version_min: WIRE_VERSION_MIN,
            token: self.options.token.clone(),
            framework: self.options.framework,
            executor: self.options.executor.clone(),
            container: self.options.container.clone(),
            program: self.seed,
            again: self.registered_before,
            acknowledged_left_out: false,
            groups: true,
            tasks: self.tasks.keys().cloned().collect(),
            updates,
        }))));
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, out: &mut Vec<Output>) {
        if std::mem::take(&mut self.subscribed) {
            out.push(Output::Tell(Tell::Disconnected));
        }
    }

    /// The agent said something.
    pub(super) fn event(&mut self, event: Event, out: &mut Vec<Output>) {
        match event {
            Event::Subscribed(subscribed) => self.subscribed(*subscribed, out),
            Event::Launch { task } => {
                let known = self.tasks.contains_key(&task.task_id);
                self.tasks.entry(task.task_id.clone()).or_default();
                if !known {
                    out.push(Output::Tell(Tell::Launch(task)));
                }
            }
            Event::LaunchGroup { tasks } => {
                let known = |task: &TaskDescription| self.tasks.contains_key(&task.task_id);
                let new = !tasks.iter().any(known);
                for task in &tasks {
                    self.tasks.entry(task.task_id.clone()).or_default();
                }
                if new {
                    out.push(Output::Tell(Tell::LaunchGroup(tasks)));
                }
            }
            Event::Kill { task, grace_ms } => {
                // One whose end was told is over.
                if self.tasks.get(&task).is_some_and(|task| !task.over) {
                    let grace = grace_ms.map(Duration::from_millis);
                    out.push(Output::Tell(Tell::Kill(task, grace)));
                }
            }
            Event::Acknowledged { task, update } => self.acknowledged(&task, update, out),
            Event::Message { data } => out.push(Output::Tell(Tell::Message(data))),
            Event::Shutdown { grace_ms } => {
                out.push(Output::Tell(Tell::Shutdown(Duration::from_millis(grace_ms))));
            }
            Event::Error { message } => out.push(Output::Refused(message)),
            Event::Unknown => {}
        }
    }

    fn subscribed(&mut self, subscribed: Subscribed, out: &mut Vec<Output>) {
        let Subscribed { executor, framework, agent, hostname, container, .. } = subscribed;
        let registered =
            Box::new(ExecutorRegistered { executor, framework, agent, hostname, container });
        self.subscribed = true;
        let first = !std::mem::replace(&mut self.registered_before, true);
        out.push(Output::Tell(match first {
            true => Tell::Registered(registered),
            false => Tell::Reregistered(registered),
        }));
        for task in self.tasks.values_mut() {
            task.send_more(out);
        }
    }

    fn acknowledged(&mut self, id: &TaskId, update: UpdateId, out: &mut Vec<Output>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(place) = task.waiting.iter().position(|status| status.update == update) else {
            return;
        };
        task.waiting.remove(place);
        task.sent = task.sent.saturating_sub(1);
        if task.over && task.waiting.is_empty() {
            self.tasks.remove(id);
        } else if self.subscribed {
            task.send_more(out);
        }
    }

    /// The executor tells a step of a task.
    pub(super) fn update(
        &mut self,
        update: TaskUpdate,
        at: Wall,
        out: &mut Vec<Output>,
    ) -> Result<(), UpdateError> {
        let TaskUpdate { task: id, state, reason, message, data, healthy, check_status } = update;
        if !state.is_told_by_executors() {
            return Err(UpdateError::State(state));
        }
        if data.len() > STATUS_DATA_BYTES_MAX {
            return Err(UpdateError::TooMuchData(data.len()));
        }
        let Some(task) = self.tasks.get_mut(&id).filter(|task| !task.over) else {
            return Err(UpdateError::NoSuchTask(id));
        };
        if task.waiting.len() >= WAITING_MAX {
            return Err(UpdateError::TooMany(id));
        }
        self.updates_minted += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.seed.to_be_bytes());
        bytes[8..].copy_from_slice(&self.updates_minted.to_be_bytes());
        let update = UpdateId::from_bytes(bytes);
        let at = Some(at);
        task.over = state.is_terminal();
        task.waiting.push_back(ExecutorStatus {
            task: id,
            state,
            update,
            reason,
            message: shortened(message),
            data,
            at,
            healthy,
            check_status,
        });
        if self.subscribed {
            task.send_more(out);
        }
        Ok(())
    }

    /// Nothing was acknowledged for a while: what is on its way is sent again.
    pub(super) fn repeat(&mut self, out: &mut Vec<Output>) {
        if !self.subscribed {
            return;
        }
        for task in self.tasks.values() {
            let again = task.waiting.iter().take(task.sent).cloned();
            out.extend(again.map(|status| Output::Send(Box::new(Call::Update { status }))));
        }
    }

    /// The executor has something for the scheduler. False when that is too much, or nobody listens.
    pub(super) fn message(&self, data: Vec<u8>, out: &mut Vec<Output>) -> bool {
        let passes = self.subscribed && data.len() <= MESSAGE_BYTES_MAX;
        if passes {
            out.push(Output::Send(Box::new(Call::Message { data })));
        }
        passes
    }
}

impl Task {
    /// Sends as many updates as may be on their way.
    fn send_more(&mut self, out: &mut Vec<Output>) {
        while self.sent < UPDATES_IN_FLIGHT_MAX
            && let Some(status) = self.waiting.get(self.sent)
        {
            out.push(Output::Send(Box::new(Call::Update { status: status.clone() })));
            self.sent += 1;
        }
    }
}
