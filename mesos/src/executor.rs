//! One executor that speaks Mesos's executor API, between its HTTP calls and its agent.
//!
//! The agent's core expects of an executor what the SDK's driver does: few updates of a task at a time, and those that
//! nobody acknowledged told again. Executors of Mesos need not do that while their stream stands, so the session does
//! it for them: what it took it holds until the agent has it on disk.

mod environment;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use meshos_protocol::{
    attributes::Attributes,
    codec::{WIRE_VERSION, WIRE_VERSION_MIN},
    executor::{ExecutorInfo, MESSAGE_BYTES_MAX},
    ids::{ClusterId, ContainerId, ExecutorId, FrameworkId, TaskId, UpdateId},
    messages::executor::{
        Call, Event, ExecutorStatus, Subscribe, Subscribed, TASKS_PER_SUBSCRIBE_MAX,
        UPDATES_IN_FLIGHT_MAX, UPDATES_PER_SUBSCRIBE_MAX,
    },
    resources::Resources,
    task::{Command, TaskDescription},
    wishes::FaultDomain,
};

use crate::{
    codec::Refused,
    convert::{
        executor::{self, Surroundings},
        offer::{attribute, domain},
        resource, task,
    },
    schema::{self, ExecutorEventType as Type},
};

pub use environment::{Environment, PATH, TOKEN_VARIABLE};

/// The pace of heartbeats on an executor's stream: that of Mesos, half an hour.
pub const HEARTBEAT_MS: u64 = 30 * 60 * 1_000;
/// Updates of one executor that may wait until the agent has them on disk.
const WAITING_MAX: usize = 10_000;
/// Their bytes together.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// What of a node its executors are told.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The port of the agent.
    pub port: u16,
    /// Its attributes.
    pub attributes: Attributes,
    /// All that it has, as it was started with it.
    pub resources: Resources,
    /// Where it stands.
    pub domain: Option<FaultDomain>,
}

/// The updates of one task that nobody acknowledged, oldest first.
#[derive(Debug, Default)]
struct Waiting {
    updates: VecDeque<ExecutorStatus>,
    /// How many of them the agent was told.
    sent: usize,
}

/// The session's state.
#[derive(Debug)]
pub struct Session {
    executor: ExecutorId,
    container: ContainerId,
    surroundings: Surroundings,
    /// Whether the agent has taken the subscription up.
    subscribed: bool,
    waiting: BTreeMap<TaskId, Waiting>,
    count: usize,
    bytes: usize,
}

impl Session {
    /// A session of an executor that has not subscribed yet.
    #[must_use]
    pub fn new(
        cluster: ClusterId,
        (framework, executor): (FrameworkId, ExecutorId),
        container: ContainerId,
    ) -> Self {
        let surroundings = Surroundings { cluster, framework, framework_info: None, agent: None };
        Self {
            executor,
            container,
            surroundings,
            subscribed: false,
            waiting: BTreeMap::new(),
            count: 0,
            bytes: 0,
        }
    }

    /// The executor subscribes: what the agent is told.
    ///
    /// # Errors
    /// When something that it says is not valid, or too much.
    pub fn subscribe(
        &mut self,
        subscribe: &schema::ExecutorCallSubscribe,
    ) -> Result<Subscribe, Refused> {
        let tasks = subscribe.unacknowledged_tasks.iter();
        let tasks = tasks.map(|info| task::task_id(info.task_id.as_ref()));
        let tasks: Vec<TaskId> = tasks.collect::<Result<_, _>>().map_err(invalid)?;
        if tasks.len() > TASKS_PER_SUBSCRIBE_MAX {
            let why = format!("at most {TASKS_PER_SUBSCRIBE_MAX} tasks may be unacknowledged");
            return Err(invalid(why));
        }
        let told = subscribe.unacknowledged_updates.iter();
        let told = told.filter_map(|update| update.status.as_deref()).map(executor::read_status);
        let told: Vec<ExecutorStatus> = told.collect::<Result<_, _>>().map_err(invalid)?;
        for status in told {
            self.hold(status)?;
        }
        self.subscribed = false;
        let mut updates = Vec::new();
        for waiting in self.waiting.values_mut() {
            let room = UPDATES_PER_SUBSCRIBE_MAX - updates.len();
            waiting.sent = waiting.updates.len().min(UPDATES_IN_FLIGHT_MAX).min(room);
            updates.extend(waiting.updates.iter().take(waiting.sent).cloned());
        }
        Ok(Subscribe {
            version: WIRE_VERSION,
            version_min: WIRE_VERSION_MIN,
            // Who it is was found out before.
            token: String::new(),
            framework: self.surroundings.framework,
            executor: self.executor.clone(),
            container: self.container.clone(),
            // Executors of Mesos do not say which program they are, nor whether they were subscribed before.
            program: 0,
            again: true,
            acknowledged_left_out: true,
            groups: true,
            tasks,
            updates,
        })
    }

    /// The stream is gone.
    pub fn disconnected(&mut self) {
        self.subscribed = false;
    }

    /// The stream is over, and the executor may not come again: what it told and the agent was not told yet, as far as so many
    /// updates of a task may be on their way.
    pub fn leave(&mut self) -> Vec<Call> {
        // What was told before the agent took the subscription up counts as what was told behind it.
        self.subscribed = true;
        let tasks: Vec<TaskId> = self.waiting.keys().cloned().collect();
        let calls = tasks.iter().flat_map(|task| self.more_of(task)).collect();
        self.subscribed = false;
        calls
    }

    /// The executor tells something of a task.
    ///
    /// # Errors
    /// When executors do not tell that, or too much waits.
    pub fn update(&mut self, status: &schema::TaskStatus) -> Result<Vec<Call>, Refused> {
        let status = executor::read_status(status).map_err(invalid)?;
        let task = status.task.clone();
        self.hold(status)?;
        Ok(self.more_of(&task))
    }

    /// The executor has something for the scheduler.
    ///
    /// # Errors
    /// When it is too long.
    pub fn message(&self, message: &schema::ExecutorCallMessage) -> Result<Call, Refused> {
        let data = message.data();
        if data.len() > MESSAGE_BYTES_MAX {
            let bytes = data.len();
            let why =
                format!("The message has {bytes} bytes, at most {MESSAGE_BYTES_MAX} are passed on");
            return Err(invalid(why));
        }
        Ok(Call::Message { data: data.to_vec() })
    }

    /// From time to time: what the agent was told and has not acknowledged it is told again.
    #[must_use]
    pub fn repeat(&self) -> Vec<Call> {
        let sent = self.waiting.values().filter(|_| self.subscribed);
        let sent = sent.flat_map(|waiting| waiting.updates.iter().take(waiting.sent));
        sent.map(|status| Call::Update { status: status.clone() }).collect()
    }

    /// The agent says something: what the executor is told, and what the agent is to be told now.
    pub fn event(
        &mut self,
        about: &About,
        event: &Event,
    ) -> (Option<schema::ExecutorEvent>, Vec<Call>) {
        let mut more = Vec::new();
        let told = match event {
            Event::Subscribed(subscribed) => {
                let told = self.subscribed(about, subscribed);
                let tasks: Vec<TaskId> = self.waiting.keys().cloned().collect();
                more = tasks.iter().flat_map(|task| self.more_of(task)).collect();
                told
            }
            Event::Launch { task } => {
                let task = Some(self.surroundings.write_task(Some(&self.executor), task));
                let launch = Box::new(schema::ExecutorEventLaunch { task });
                schema::ExecutorEvent { launch: Some(launch), ..of(Type::Launch) }
            }
            Event::LaunchGroup { tasks } => {
                let write = |task: &TaskDescription| {
                    // Unlike a task of its own, one of a group says what is to run.
                    let command = (task.command != Command::none())
                        .then(|| task::write_command(&task.command));
                    let info = self.surroundings.write_task(Some(&self.executor), task);
                    schema::TaskInfo { command, ..info }
                };
                let group = schema::TaskGroupInfo { tasks: tasks.iter().map(write).collect() };
                let launch_group =
                    Some(schema::ExecutorEventLaunchGroup { task_group: Some(group) });
                schema::ExecutorEvent { launch_group, ..of(Type::LaunchGroup) }
            }
            Event::Kill { task, grace_ms } => {
                let policy = |ms| schema::KillPolicy { grace_period: Some(task::duration(ms)) };
                let kill = schema::ExecutorEventKill {
                    task_id: Some(written_id(task)),
                    kill_policy: grace_ms.map(policy),
                };
                schema::ExecutorEvent { kill: Some(kill), ..of(Type::Kill) }
            }
            Event::Acknowledged { task, update } => {
                more = self.acknowledged(task, *update);
                let acknowledged = schema::ExecutorEventAcknowledged {
                    task_id: Some(written_id(task)),
                    uuid: Some(update.as_bytes().to_vec()),
                };
                let acknowledged = Some(acknowledged);
                schema::ExecutorEvent { acknowledged, ..of(Type::Acknowledged) }
            }
            Event::Message { data } => {
                let message = schema::ExecutorEventMessage { data: Some(data.clone()) };
                schema::ExecutorEvent { message: Some(message), ..of(Type::Message) }
            }
            Event::Shutdown { .. } => of(Type::Shutdown),
            Event::Error { message } => error(message),
            Event::Unknown => return (None, more),
        };
        (Some(told), more)
    }

    fn subscribed(&mut self, about: &About, subscribed: &Subscribed) -> schema::ExecutorEvent {
        self.subscribed = true;
        self.surroundings.framework_info = subscribed.framework_info.as_deref().cloned();
        self.surroundings.agent = subscribed.agent;
        let agent_info = schema::AgentInfo {
            hostname: Some(subscribed.hostname.clone()),
            port: Some(i32::from(about.port)),
            resources: about.resources.iter().map(resource::write_plain).collect(),
            attributes: about.attributes.iter().map(attribute).collect(),
            id: Some(self.surroundings.agent_id()),
            domain: about.domain.as_ref().map(domain),
        };
        let container = subscribed.container.as_str().to_owned();
        let told = schema::ExecutorEventSubscribed {
            executor_info: Some(self.written(&subscribed.executor)),
            framework_info: Some(self.surroundings.write_framework()),
            agent_info: Some(agent_info),
            container_id: Some(schema::ContainerId { value: Some(container), parent: None }),
        };
        schema::ExecutorEvent { subscribed: Some(Box::new(told)), ..of(Type::Subscribed) }
    }

    fn written(&self, info: &ExecutorInfo) -> schema::ExecutorInfo {
        self.surroundings.write_executor(info)
    }

    /// Keeps an update until it is acknowledged; one that is kept already is the same.
    fn hold(&mut self, status: ExecutorStatus) -> Result<(), Refused> {
        let waiting = self.waiting.entry(status.task.clone()).or_default();
        if waiting.updates.iter().any(|known| known.update == status.update) {
            return Ok(());
        }
        let bytes = weight(&status);
        if self.count >= WAITING_MAX || self.bytes + bytes > WAITING_BYTES_MAX {
            let why =
                "Too many updates of the executor wait to be acknowledged: tell it again later";
            self.waiting.retain(|_, waiting| !waiting.updates.is_empty());
            return Err(Refused::new(503, why));
        }
        (self.count, self.bytes) = (self.count + 1, self.bytes + bytes);
        waiting.updates.push_back(status);
        Ok(())
    }

    /// As many updates of a task as may be on their way.
    fn more_of(&mut self, task: &TaskId) -> Vec<Call> {
        let mut calls = Vec::new();
        let waiting = self.waiting.get_mut(task).filter(|_| self.subscribed);
        let Some(waiting) = waiting else { return calls };
        while waiting.sent < UPDATES_IN_FLIGHT_MAX
            && let Some(status) = waiting.updates.get(waiting.sent)
        {
            calls.push(Call::Update { status: status.clone() });
            waiting.sent += 1;
        }
        calls
    }

    fn acknowledged(&mut self, task: &TaskId, update: UpdateId) -> Vec<Call> {
        let Some(waiting) = self.waiting.get_mut(task) else { return Vec::new() };
        let place = waiting.updates.iter().position(|status| status.update == update);
        if let Some(place) = place
            && let Some(status) = waiting.updates.remove(place)
        {
            waiting.sent -= usize::from(place < waiting.sent);
            (self.count, self.bytes) = (self.count - 1, self.bytes - weight(&status));
        }
        if waiting.updates.is_empty() {
            self.waiting.remove(task);
        }
        self.more_of(task)
    }
}

/// What an update counts for: its bytes, and what it takes beside them.
fn weight(status: &ExecutorStatus) -> usize {
    const BESIDE: usize = 256;
    status.data.len() + status.message.len() + BESIDE
}

fn written_id(task: &TaskId) -> schema::TaskId {
    schema::TaskId { value: Some(task.as_str().to_owned()) }
}

fn of(kind: Type) -> schema::ExecutorEvent {
    schema::ExecutorEvent { r#type: Some(kind.into()), ..schema::ExecutorEvent::default() }
}

fn invalid(why: impl Into<String>) -> Refused {
    Refused::new(400, why)
}

/// That the stream lives.
#[must_use]
pub fn heartbeat() -> schema::ExecutorEvent {
    of(Type::Heartbeat)
}

/// That the executor is not wanted.
#[must_use]
pub fn error(message: &str) -> schema::ExecutorEvent {
    let error = schema::ExecutorEventError { message: Some(message.to_owned()) };
    schema::ExecutorEvent { error: Some(error), ..of(Type::Error) }
}
