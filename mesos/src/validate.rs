//! The rules for calls that need no knowledge of their framework.

use crate::{
    codec::Refused,
    schema::{self, Call, CallType, ExecutorCall, ExecutorCallType},
};

/// Whether a call has what its type needs.
///
/// # Errors
/// With the status and the text that Mesos's clients know.
pub fn call(call: &Call) -> Result<CallType, Refused> {
    let invalid =
        |why: String| Refused::new(400, format!("Failed to validate scheduler::Call: {why}"));
    let present = |field: &str| invalid(format!("Expecting '{field}' to be present"));
    let kind = call.r#type.and_then(|kind| CallType::try_from(kind).ok());
    let kind = kind.ok_or_else(|| present("type"))?;
    if kind == CallType::Unknown {
        return Err(Refused::new(501, "The type of the call is not known"));
    }
    if let Some(field) = missing_body(call, kind) {
        return Err(present(field));
    }
    if kind == CallType::Subscribe {
        let outer = id_text(call.framework_id.as_ref());
        let info = call.subscribe.as_ref().and_then(|it| it.framework_info.as_ref());
        if outer != id_text(info.and_then(|info| info.id.as_ref())) {
            let why = "'framework_id' differs from 'subscribe.framework_info.id'";
            return Err(invalid(why.to_owned()));
        }
        return Ok(kind);
    }
    if id_text(call.framework_id.as_ref()).is_none() {
        return Err(present("framework_id"));
    }
    if let Some(update) = &call.update_framework
        && kind == CallType::UpdateFramework
    {
        let inner = update.framework_info.as_ref().and_then(|info| info.id.as_ref());
        if id_text(call.framework_id.as_ref()) != id_text(inner) {
            let why = "'framework_id' differs from 'update_framework.framework_info.id'";
            return Err(invalid(why.to_owned()));
        }
    }
    let of_update = call.acknowledge.as_ref().map(|it| it.uuid());
    let of_operation = call.acknowledge_operation_status.as_ref().map(|it| it.uuid());
    let uuid = if kind == CallType::Acknowledge { of_update } else { of_operation };
    if uuid.is_some_and(|uuid| uuid.len() != 16) {
        return Err(invalid("The uuid must have 16 bytes".to_owned()));
    }
    Ok(kind)
}

/// Whether a call of the executor API has what its type needs, but for what its session looks at.
///
/// # Errors
/// With the status and the text that Mesos's clients know.
pub fn executor_call(call: &ExecutorCall) -> Result<ExecutorCallType, Refused> {
    let invalid =
        |why: String| Refused::new(400, format!("Failed to validate Executor::Call: {why}"));
    let present = |field: &str| invalid(format!("Expecting '{field}' to be present"));
    let kind = call.r#type.and_then(|kind| ExecutorCallType::try_from(kind).ok());
    match kind.ok_or_else(|| present("type"))? {
        ExecutorCallType::Unknown => Err(Refused::new(501, "The type of the call is not known")),
        ExecutorCallType::Heartbeat => Ok(ExecutorCallType::Heartbeat),
        ExecutorCallType::Subscribe if call.subscribe.is_none() => Err(present("subscribe")),
        ExecutorCallType::Subscribe => Ok(ExecutorCallType::Subscribe),
        ExecutorCallType::Message if call.message.is_none() => Err(present("message")),
        ExecutorCallType::Message => Ok(ExecutorCallType::Message),
        ExecutorCallType::Update => {
            let status = call.update.as_ref().and_then(|update| update.status.as_deref());
            status_of_executor(call, status.ok_or_else(|| present("update"))?).map_err(invalid)?;
            Ok(ExecutorCallType::Update)
        }
    }
}

fn status_of_executor(call: &ExecutorCall, status: &schema::TaskStatus) -> Result<(), String> {
    let executor = call.executor_id.as_ref().map(|id| id.value()).unwrap_or_default();
    let framework = id_text(call.framework_id.as_ref()).unwrap_or_default();
    let received =
        |what: &str| format!("Received {what} from executor {executor} of framework {framework}");
    match &status.uuid {
        None => return Err("Expecting 'uuid' to be present".to_owned()),
        Some(uuid) if uuid.len() != 16 => return Err("The uuid must have 16 bytes".to_owned()),
        Some(_) => {}
    }
    let named = status.executor_id.as_ref().map(|id| id.value());
    if let Some(named) = named.filter(|named| *named != executor) {
        return Err(format!(
            "ExecutorID in Call: {executor} does not match ExecutorID in TaskStatus: {named}"
        ));
    }
    if status.source != Some(schema::TaskStatusSource::Executor.into()) {
        let received = received("Call");
        return Err(format!("{received} with invalid source, expecting 'SOURCE_EXECUTOR'"));
    }
    if status.state() == schema::TaskState::Staging {
        return Err(format!("{} which is not allowed", received("TASK_STAGING")));
    }
    Ok(())
}

/// The text of an id; an empty one is none.
#[must_use]
pub fn id_text(id: Option<&schema::FrameworkId>) -> Option<&str> {
    id.map(|id| id.value()).filter(|text| !text.is_empty())
}

/// The body that a call of this type must have and has not.
fn missing_body(call: &Call, kind: CallType) -> Option<&'static str> {
    let (field, is_there) = match kind {
        CallType::Unknown | CallType::Teardown | CallType::Revive | CallType::Suppress => {
            return None;
        }
        CallType::Subscribe => ("subscribe", call.subscribe.is_some()),
        CallType::Accept => ("accept", call.accept.is_some()),
        CallType::Decline => ("decline", call.decline.is_some()),
        CallType::AcceptInverseOffers => {
            ("accept_inverse_offers", call.accept_inverse_offers.is_some())
        }
        CallType::DeclineInverseOffers => {
            ("decline_inverse_offers", call.decline_inverse_offers.is_some())
        }
        CallType::Kill => ("kill", call.kill.is_some()),
        CallType::Shutdown => ("shutdown", call.shutdown.is_some()),
        CallType::Acknowledge => ("acknowledge", call.acknowledge.is_some()),
        CallType::AcknowledgeOperationStatus => {
            ("acknowledge_operation_status", call.acknowledge_operation_status.is_some())
        }
        CallType::Reconcile => ("reconcile", call.reconcile.is_some()),
        CallType::ReconcileOperations => {
            ("reconcile_operations", call.reconcile_operations.is_some())
        }
        CallType::Message => ("message", call.message.is_some()),
        CallType::Request => ("request", call.request.is_some()),
        CallType::UpdateFramework => ("update_framework", call.update_framework.is_some()),
    };
    (!is_there).then_some(field)
}

#[cfg(test)]
mod tests;
