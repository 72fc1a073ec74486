//! What an executor finds in its environment that speaks Mesos's executor API.
//!
//! Which variables there are, and in which form: Mesos's documentation of the executor HTTP API, and what mesos-go and
//! pymesos read.

use std::{net::SocketAddr, time::Duration};

use meshos_protocol::{
    ids::{AgentId, ClusterId, ExecutorId, FrameworkId},
    resources::Amount,
};

use crate::convert::ids;

/// Where the executor API is, on the agent's port.
pub const PATH: &str = "/api/v1/executor";
/// What the executor's token is in.
pub const TOKEN_VARIABLE: &str = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN";
/// How long at most an executor waits before it tries to come back, as Mesos has it.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// What is known of an executor that is started.
#[derive(Debug, Clone)]
pub struct Environment<'a> {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its framework.
    pub framework: FrameworkId,
    /// Its id.
    pub executor: &'a ExecutorId,
    /// Its agent.
    pub agent: Option<AgentId>,
    /// Where its agent's HTTP server is reached from this machine.
    pub endpoint: SocketAddr,
    /// Its sandbox.
    pub sandbox: &'a str,
    /// How long it may take to end.
    pub shutdown_grace: Duration,
    /// For how long it tries to come back.
    pub recovery_timeout: Duration,
}

impl Environment<'_> {
    /// All variables but that of the token.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let endpoint = self.endpoint.to_string();
        let framework = ids::framework(self.cluster, self.framework);
        let agent = self.agent.and_then(|agent| ids::agent(self.cluster, agent).value);
        let all = [
            ("MESOS_FRAMEWORK_ID", framework.value.unwrap_or_default()),
            ("MESOS_EXECUTOR_ID", self.executor.as_str().to_owned()),
            ("MESOS_SLAVE_ID", agent.unwrap_or_default()),
            ("MESOS_SLAVE_PID", format!("slave(1)@{endpoint}")),
            ("MESOS_AGENT_ENDPOINT", endpoint),
            ("MESOS_DIRECTORY", self.sandbox.to_owned()),
            ("MESOS_SANDBOX", self.sandbox.to_owned()),
            // Whatever the framework says: its tasks outlive the agent's process.
            ("MESOS_CHECKPOINT", "1".to_owned()),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration(self.shutdown_grace)),
            ("MESOS_RECOVERY_TIMEOUT", duration(self.recovery_timeout)),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", duration(BACKOFF_MAX)),
            ("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned()),
        ];
        all.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// A time as Mesos's variables have it.
fn duration(time: Duration) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    format!("{}secs", Amount::from_millis(millis))
}
