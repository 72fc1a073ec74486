//! What an executor's driver is told: by its environment.

use std::{path::PathBuf, str::FromStr, time::Duration};

use meshos_protocol::{
    ids::{ContainerId, ExecutorId, FrameworkId},
    messages::executor::{
        CONTAINER_VARIABLE, EXECUTOR_VARIABLE, FRAMEWORK_VARIABLE, RECOVERY_VARIABLE,
        SHUTDOWN_VARIABLE, SOCKET_VARIABLE, TOKEN_VARIABLE,
    },
};

/// The recovery timeout where the environment has none: that of Mesos, 15 minutes.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The time for a shutdown where the environment has none: that of Mesos, 5 seconds.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// What an executor's driver is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExecutorOptions {
    /// The agent's socket.
    pub socket: PathBuf,
    /// Says that the executor is the one of its container.
    pub token: String,
    /// Its framework.
    pub framework: FrameworkId,
    /// Its id.
    pub executor: ExecutorId,
    /// Its container.
    pub container: ContainerId,
    /// How long the driver tries to come back to an agent that is away.
    pub recovery_timeout: Duration,
    /// How long the executor may take to end when it has to.
    pub shutdown_grace: Duration,
}

/// Why a process is not an executor.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorOptionsError {
    /// A variable is not there.
    #[error("the environment has no {0}: an executor is started by an agent, not by hand")]
    Missing(&'static str),
    /// A variable cannot be read.
    #[error("{name}={value:?} in the environment cannot be read: {why}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ExecutorOptions {
    /// What the agent has put into the environment.
    ///
    /// # Errors
    /// When the process was not started as an executor.
    pub fn from_environment() -> Result<Self, ExecutorOptionsError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ExecutorOptionsError> {
        let text = |name| variable(name).ok_or(ExecutorOptionsError::Missing(name));
        let duration = |name, default| match variable(name) {
            Some(value) => read::<u64>(name, value).map(Duration::from_millis),
            None => Ok(default),
        };
        Ok(Self {
            socket: text(SOCKET_VARIABLE)?.into(),
            token: text(TOKEN_VARIABLE)?,
            framework: read(FRAMEWORK_VARIABLE, text(FRAMEWORK_VARIABLE)?)?,
            executor: read(EXECUTOR_VARIABLE, text(EXECUTOR_VARIABLE)?)?,
            container: read(CONTAINER_VARIABLE, text(CONTAINER_VARIABLE)?)?,
            recovery_timeout: duration(RECOVERY_VARIABLE, RECOVERY_TIMEOUT)?,
            shutdown_grace: duration(SHUTDOWN_VARIABLE, SHUTDOWN_GRACE)?,
        })
    }
}

fn read<T: FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    value: String,
) -> Result<T, ExecutorOptionsError> {
    value.parse().map_err(|why: T::Err| {
        let why = why.to_string();
        ExecutorOptionsError::Invalid { name, value, why }
    })
}
