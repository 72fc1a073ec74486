//! Mesos's executor API on the agent's port.

use meshos_mesos::{
    codec::{self, Media, Refused},
    executor::PATH,
    schema::ExecutorCallType,
    validate,
};

use super::{Api, Body, Scheduled, call::Answer};
use crate::driver::agent::Credential;

/// A request to the executor API.
#[derive(Debug)]
pub(crate) struct ExecutorRequest {
    pub method: String,
    /// By what the caller may speak for an executor.
    pub credential: Credential,
    pub content_type: Option<String>,
    pub accept: Option<String>,
    pub body: Body,
}

impl Api {
    /// Whether a path at the agent's port is that of the executor API.
    pub(crate) fn is_executor_path(path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let process = ["/slave(1)", "/slave%281%29"].iter().find_map(|it| path.strip_prefix(it));
        process.unwrap_or(path) == PATH
    }

    /// As whom somebody is counted who may speak for an executor of this node.
    pub(crate) async fn admit_executor(&self, credential: &Credential) -> Option<Credential> {
        self.options.agent.doors().admit(credential).await
    }

    /// Answers a request to the executor API.
    pub(crate) async fn execute(&self, request: ExecutorRequest) -> Scheduled {
        match self.try_execute(request).await {
            Ok(answered) => answered,
            Err(refused) => Scheduled::Answer(refused.into()),
        }
    }

    async fn try_execute(&self, request: ExecutorRequest) -> Result<Scheduled, Refused> {
        let ExecutorRequest { method, credential, content_type, accept, body } = request;
        if method != "POST" {
            return Err(Refused::new(
                405,
                format!(
                    "405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'."
                ),
            ));
        }
        let media = Media::of_content(content_type.as_deref())?;
        let call = {
            // While it is read it may take many times what it has bytes.
            let memory = self.executor_calls.take(codec::EXECUTOR_CALL_MEMORY_MAX).await;
            let _memory = memory.ok_or_else(|| {
                Refused::new(503, "This node reads too many calls of executors at once")
            })?;
            codec::read_executor_call(media, &body.bytes)?
        };
        drop(body);
        let doors = self.options.agent.doors();
        let accepted = || Scheduled::Answer(Answer::empty(202));
        Ok(match validate::executor_call(&call)? {
            // Some executors name nobody in it.
            ExecutorCallType::Heartbeat => accepted(),
            ExecutorCallType::Subscribe => {
                let media = Media::acceptable(accept.as_deref())?;
                let records = doors.subscribe(&credential, &call, media).await?;
                Scheduled::Stream { id: None, media, records }
            }
            ExecutorCallType::Update | ExecutorCallType::Message | ExecutorCallType::Unknown => {
                doors.call(&credential, &call).await?;
                accepted()
            }
        })
    }
}
