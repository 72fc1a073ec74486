//! Tasks without ceremony.

use std::collections::BTreeMap;

use meshos_protocol::{
    check::{Check, HealthCheck},
    executor::ExecutorInfo,
    ids::{IdError, TaskId},
    resources::{Resources, TextError},
    task::{Command, CommandLine, TaskDescription, Uri},
};

/// What tasks and executors take when nothing else is said.
pub(crate) const RESOURCES_DEFAULT: &str = "cpus:0.1;mem:32";

/// Makes a [`TaskDescription`] step by step; what is wrong is told by [`TaskBuilder::build`].
#[derive(Debug, Clone)]
pub struct TaskBuilder {
    id: String,
    name: Option<String>,
    resources: String,
    command: Command,
    executor: Option<Box<ExecutorInfo>>,
    data: Vec<u8>,
    kill_grace_ms: Option<u64>,
    max_completion_ms: Option<u64>,
    health_check: Option<Box<HealthCheck>>,
    check: Option<Box<Check>>,
    labels: BTreeMap<String, String>,
}

/// What is wrong with a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskBuilderError {
    /// The id breaks a rule.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The resources cannot be read.
    #[error("the task's resources cannot be read: {0}")]
    Resources(#[from] TextError),
    /// A group of none.
    #[error("the group has no tasks")]
    NoTasks,
}

impl TaskBuilder {
    /// A task that runs a line for `/bin/sh -c`.
    pub fn shell(id: impl Into<String>, line: impl Into<String>) -> Self {
        Self::new(id, CommandLine::shell(line))
    }

    /// A task that runs a program without a shell.
    pub fn exec<A: Into<String>>(
        id: impl Into<String>,
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::new(id, CommandLine::exec(program, arguments))
    }

    /// A task that an executor runs. Make the executor with [`crate::ExecutorBuilder`]; all tasks of it
    /// on one agent name it in the same words.
    pub fn for_executor(id: impl Into<String>, executor: ExecutorInfo) -> Self {
        let mut builder = Self::of(id, Command::none());
        builder.executor = Some(Box::new(executor));
        builder
    }

    fn new(id: impl Into<String>, line: CommandLine) -> Self {
        Self::of(id, Command { line, ..Command::none() })
    }

    fn of(id: impl Into<String>, command: Command) -> Self {
        Self {
            id: id.into(),
            name: None,
            resources: RESOURCES_DEFAULT.into(),
            command,
            executor: None,
            data: Vec::new(),
            kill_grace_ms: None,
            max_completion_ms: None,
            health_check: None,
            check: None,
            labels: BTreeMap::new(),
        }
    }

    /// For people; the id when not set.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What the task takes, in the text form, for example `cpus:1;mem:128;ports:[31000-31001]`.
    #[must_use]
    pub fn resources(mut self, text: impl Into<String>) -> Self {
        self.resources = text.into();
        self
    }

    /// Processors and MB of memory.
    #[must_use]
    pub fn cpus_mem(self, cpus: &str, mem_mb: &str) -> Self {
        self.resources(format!("cpus:{cpus};mem:{mem_mb}"))
    }

    /// Adds a variable to the task's environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.command.environment.insert(name.into(), value.into());
        self
    }

    /// Runs the task as this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.command.user = Some(user.into());
        self
    }

    /// Fetches something into the sandbox before the task starts.
    #[must_use]
    pub fn uri(mut self, uri: Uri) -> Self {
        self.command.uris.push(uri);
        self
    }

    /// Time between SIGTERM and SIGKILL when the task is killed, in milliseconds; at most a day, or
    /// the task is refused.
    #[must_use]
    pub fn kill_grace_ms(mut self, grace_ms: u64) -> Self {
        self.kill_grace_ms = Some(grace_ms);
        self
    }

    /// For how long the task may run, in milliseconds from when it runs; then it is killed and fails with
    /// [`Reason::MaxCompletionTimeReached`](meshos_protocol::task::Reason::MaxCompletionTimeReached). A task of an executor is ended
    /// by the executor, which is asked for it.
    #[must_use]
    pub fn max_completion_ms(mut self, limit_ms: u64) -> Self {
        self.max_completion_ms = Some(limit_ms);
        self
    }

    /// Has the task's agent find out whether it is healthy: [`StatusUpdate::healthy`] tells it whenever that changes, with the reason
    /// [`Reason::HealthCheckStatusUpdated`]. After as many failures in a row as the check allows the task is killed, with its own grace
    /// period, and ends as killed, with [`Reason::HealthCheckFailed`], `healthy` false and a sentence.
    ///
    /// A task of an executor is checked by the executor, to which the description is handed on.
    ///
    /// ```
    /// use meshos_sdk::{
    ///     TaskBuilder,
    ///     protocol::check::{HealthCheck, Probe},
    /// };
    ///
    /// let mut check = HealthCheck::new(Probe::Http { port: 8080, path: "/up".into() });
    /// check.times.interval_ms = 5_000;
    /// check.consecutive_failures = 2;
    /// let task = TaskBuilder::exec("web", "./serve", ["--port", "8080"])
    ///     .resources("cpus:1;mem:128;ports:[8080-8080]")
    ///     .health_check(check)
    ///     .build()?;
    /// assert!(task.health_check.is_some());
    /// # Ok::<(), meshos_sdk::TaskBuilderError>(())
    /// ```
    ///
    /// [`StatusUpdate::healthy`]: meshos_protocol::task::StatusUpdate::healthy
    /// [`Reason::HealthCheckStatusUpdated`]: meshos_protocol::task::Reason::HealthCheckStatusUpdated
    /// [`Reason::HealthCheckFailed`]: meshos_protocol::task::Reason::HealthCheckFailed
    #[must_use]
    pub fn health_check(mut self, check: HealthCheck) -> Self {
        self.health_check = Some(Box::new(check));
        self
    }

    /// Has the task's agent ask it, and tell what comes of it whenever that changes, in
    /// [`StatusUpdate::check_status`](meshos_protocol::task::StatusUpdate::check_status) with the reason
    /// [`Reason::CheckStatusUpdated`](meshos_protocol::task::Reason::CheckStatusUpdated). Nothing else follows of it.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.check = Some(Box::new(check));
        self
    }

    /// What the task's executor gets with it; at most [`meshos_protocol::task::DATA_BYTES_MAX`] bytes.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// The task.
    ///
    /// # Errors
    /// When the id breaks a rule or the resources cannot be read.
    pub fn build(self) -> Result<TaskDescription, TaskBuilderError> {
        Ok(TaskDescription {
            task_id: TaskId::new(&self.id)?,
            name: self.name.unwrap_or(self.id),
            resources: self.resources.parse::<Resources>()?,
            command: self.command,
            executor: self.executor,
            group: None,
            data: self.data,
            kill_grace_ms: self.kill_grace_ms,
            max_completion_ms: self.max_completion_ms,
            health_check: self.health_check,
            check: self.check,
            labels: self.labels,
        })
    }
}
