//! The bodies of calls that change something, and those that change tasks and frameworks.

use std::time::Duration;

use meshos_control::master::{OperatorCall, View};
use meshos_protocol::{
    ids::{FrameworkId, TaskId},
    messages::scheduler::CallError,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    Api,
    call::{Answer, Call, Failure},
    route::TaskName,
    tasks,
};
use crate::driver::master::NotOperated;

/// How long the master may take: longer than a commit does on a slow disk.
const OPERATE_LIMIT: Duration = Duration::from_secs(15);

/// Reads a body; unknown fields are refused, since one that is misspelt must not be ignored.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::invalid(format!("the body is not the expected JSON: {error}")))
}

/// Names a node: by its id, or else by its hostname or an address of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeBody {
    pub node_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KillTask {
    task_id: TaskId,
    #[serde(default)]
    framework_id: Option<FrameworkId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Teardown {
    framework_id: FrameworkId,
}

impl Api {
    pub(super) async fn kill_task(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let KillTask { task_id, framework_id } = read(&call.body)?;
        let name = TaskName { framework: framework_id, task: task_id };
        let task = tasks::find(view.tasks.iter(), view.tasks_ended.iter(), &name)?;
        let (framework, id) = (task.framework_id, task.id.clone());
        // The kill is kept for a node that is not there, and sent when it is back.
        let agent = view.agents.iter().find(|agent| agent.agent_id == task.agent_id);
        let connected = agent.is_some_and(|agent| agent.connected);
        if task.state.is_terminal() {
            let state = task.state;
            return Err(Failure::invalid(format!(
                "task {id} of framework {framework} is {state} already"
            )));
        }
        tracing::info!(%framework, task = %id, principal = %call.principal, "an operator kills a task");
        self.operate(OperatorCall::KillTask { framework, task: id.clone() }).await?;
        Answer::json(&json!({
            "framework_id": framework,
            "task_id": id,
            "killing": true,
            "node_connected": connected,
        }))
    }

    pub(super) async fn teardown(&self, call: &Call) -> Result<Answer, Failure> {
        let Teardown { framework_id: framework } = read(&call.body)?;
        tracing::info!(%framework, principal = %call.principal, "an operator tears a framework down");
        self.operate(OperatorCall::Teardown { framework }).await?;
        Answer::json(&json!({ "framework_id": framework, "torn_down": true }))
    }

    pub(super) async fn operate(&self, call: OperatorCall) -> Result<(), Failure> {
        self.ask_master(call).await?.map_err(Failure::from)
    }

    /// The same, with the master's own words when it refuses.
    pub(super) async fn ask_master(
        &self,
        call: OperatorCall,
    ) -> Result<Result<(), CallError>, Failure> {
        match tokio::time::timeout(OPERATE_LIMIT, self.options.master.operate(call)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(NotOperated::NotLeading)) => Err(Failure::no_leader(&[])),
            Ok(Err(NotOperated::Unanswered)) => Err(Failure::leader_lost()),
            Err(_) => Err(Failure::unavailable(format!(
                "the master has not answered within {OPERATE_LIMIT:?}; whether it carried out the call is not known"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_strictly() {
        let call: KillTask = read(br#"{"task_id":"t","framework_id":"F3"}"#).unwrap();
        assert_eq!((call.task_id.as_str(), call.framework_id), ("t", Some(FrameworkId(3))));
        let alone: KillTask = read(br#"{"task_id":"t"}"#).unwrap();
        assert_eq!(alone.framework_id, None);
        for body in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"task_id":"a/b"}"#,
            br#"{"task_id":"t","framework":"F3"}"#,
            br#"{"task_id":"t","framework_id":3}"#,
            br#"{"task_id":"t"} more"#,
        ] {
            let failure = read::<KillTask>(body).err().unwrap();
            assert_eq!(Answer::from(failure).status, 400, "{}", String::from_utf8_lossy(body));
        }
    }
}
