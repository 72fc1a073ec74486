//! Executors without ceremony.

use std::time::Duration;

use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::ExecutorId,
    resources::Resources,
    task::{Command, CommandLine, Uri},
    time::millis,
};

use crate::task_builder::{RESOURCES_DEFAULT, TaskBuilderError};

/// Makes an [`ExecutorInfo`] step by step; what is wrong is told by [`ExecutorBuilder::build`].
#[derive(Debug, Clone)]
pub struct ExecutorBuilder {
    id: String,
    kind: ExecutorKind,
    name: Option<String>,
    source: String,
    resources: String,
    command: Command,
    data: Vec<u8>,
    shutdown_grace_ms: Option<u64>,
}

impl ExecutorBuilder {
    /// An executor that is started by a line for `/bin/sh -c`.
    pub fn shell(id: impl Into<String>, line: impl Into<String>) -> Self {
        Self::new(id, CommandLine::shell(line))
    }

    /// An executor that is started without a shell.
    pub fn exec<A: Into<String>>(
        id: impl Into<String>,
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::new(id, CommandLine::exec(program, arguments))
    }

    /// The executor in the box, which runs the tasks of groups as processes and ends with the last
    /// ([`crate::TaskGroup`]).
    pub fn in_the_box(id: impl Into<String>) -> Self {
        let Command { line, .. } = Command::none();
        Self { kind: ExecutorKind::Group, ..Self::new(id, line) }
    }

    fn new(id: impl Into<String>, line: CommandLine) -> Self {
        Self {
            id: id.into(),
            kind: ExecutorKind::Custom,
            name: None,
            source: String::new(),
            resources: RESOURCES_DEFAULT.into(),
            command: Command { line, ..Command::none() },
            data: Vec::new(),
            shutdown_grace_ms: None,
        }
    }

    /// For people; the id when not set.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where its tasks come from, for people and tools.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Processors and MB of memory that it takes for itself.
    #[must_use]
    pub fn cpus_mem(mut self, cpus: &str, mem_mb: &str) -> Self {
        self.resources = format!("cpus:{cpus};mem:{mem_mb}");
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.command.environment.insert(name.into(), value.into());
        self
    }

    /// Runs it, and its tasks, as this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.command.user = Some(user.into());
        self
    }

    /// Fetches something into its sandbox before it starts.
    #[must_use]
    pub fn uri(mut self, uri: Uri) -> Self {
        self.command.uris.push(uri);
        self
    }

    /// What it gets when it registers; at most [`meshos_protocol::executor::EXECUTOR_DATA_BYTES_MAX`]
    /// bytes.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// How long it may take to end when it is told to; at most a day.
    #[must_use]
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace_ms = Some(millis(grace));
        self
    }

    /// The executor.
    ///
    /// # Errors
    /// When the id breaks a rule or the resources cannot be read.
    pub fn build(self) -> Result<ExecutorInfo, TaskBuilderError> {
        Ok(ExecutorInfo {
            id: ExecutorId::new(&self.id)?,
            name: self.name.unwrap_or(self.id),
            kind: self.kind,
            source: self.source,
            resources: self.resources.parse::<Resources>()?,
            command: self.command,
            data: self.data,
            shutdown_grace_ms: self.shutdown_grace_ms,
            labels: Default::default(),
        })
    }
}
