//! What a call that changes something asks of the master, and what it is answered with.

use meshos_control::master::{AgentView, NodeState, OperatorCall, View};
use meshos_protocol::{
    messages::scheduler::{CallError, CallErrorKind},
    task::KILL_GRACE_MAX_MS,
};

use super::{
    call::{self, Called, Changing},
    maintenance, operation, shares,
};
use crate::{
    codec::{Media, Refused},
    convert::ids,
    reads::is_deactivated,
    schema::{self, MasterCall},
};

/// What Mesos says of an agent that is not there.
const UNKNOWN_AGENT: &str = "Unknown agent";

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The name.
    pub principal: &'a str,
    /// Whether it may say that somebody else, or nobody, did something: it is no principal of its own.
    pub in_any_name: bool,
}

/// A call that changes something.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    changing: Changing,
    asked: Option<OperatorCall>,
}

impl Change {
    /// Reads a call, and holds it against what the leader knows.
    ///
    /// # Errors
    /// When it is no such call, or asks for what cannot be.
    pub fn read(
        media: Media,
        body: &[u8],
        caller: Caller<'_>,
        view: &View,
    ) -> Result<Self, Refused> {
        let (called, call) = call::read(media, body)?;
        match called {
            Called::Change(changing) => {
                check_grace(media, &call)?;
                Ok(Self { changing, asked: asked(changing, &call, caller, view)? })
            }
            Called::Watch => Err(Refused::new(400, "Call SUBSCRIBE changes nothing")),
            Called::Files(_) => Err(Refused::new(400, "Calls that read files change nothing")),
            Called::Read(read) => {
                let why = format!("Call {} changes nothing", read.name());
                Err(Refused::new(400, why))
            }
        }
    }

    /// What is to be asked of the master; nothing when it is so already.
    #[must_use]
    pub const fn asked(&self) -> Option<&OperatorCall> {
        self.asked.as_ref()
    }

    /// Mesos's name of the call.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.changing.name()
    }

    /// The status of the answer once it is done. The answer has no body.
    #[must_use]
    pub const fn status(&self) -> u16 {
        if matches!(self.changing, Changing::Operate(_)) { 202 } else { 200 }
    }

    /// The answer when the master refuses it.
    #[must_use]
    pub fn refused(&self, error: &CallError) -> Refused {
        let message = error.message.clone();
        match error.kind {
            CallErrorKind::NoLeader | CallErrorKind::Busy => Refused::new(503, message),
            CallErrorKind::Forbidden => Refused::new(403, message),
            CallErrorKind::Invalid
            | CallErrorKind::FrameworkRemoved
            | CallErrorKind::FailedOver
            | CallErrorKind::NotSubscribed
            | CallErrorKind::Unknown => match self.changing {
                Changing::Quotas => Refused::new(400, format!("Invalid QuotaConfig: {message}")),
                // What was asked for makes sense, and the cluster is not so.
                Changing::NewQuota | Changing::Gone | Changing::Operate(_) => {
                    Refused::new(409, message)
                }
                Changing::Weights
                | Changing::NoQuota
                | Changing::Teardown
                | Changing::Drain
                | Changing::Schedule
                | Changing::Down
                | Changing::Up
                | Changing::Deactivate
                | Changing::Reactivate => Refused::new(400, message),
            },
        }
    }
}

/// A body that is there, as [`call::read`] has seen.
pub(super) fn body<T>(body: Option<&T>) -> Result<&T, Refused> {
    body.ok_or_else(|| invalid("Failed to validate master::Call: its body is not there"))
}

pub(super) fn invalid(why: impl Into<String>) -> Refused {
    Refused::new(400, why)
}

fn asked(
    changing: Changing,
    call: &MasterCall,
    caller: Caller<'_>,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    match changing {
        Changing::Weights => shares::weights(body(call.update_weights.as_ref())?),
        Changing::Quotas => shares::quotas(body(call.update_quota.as_ref())?),
        Changing::NewQuota => shares::set_quota(body(call.set_quota.as_ref())?, view),
        Changing::NoQuota => shares::remove_quota(body(call.remove_quota.as_ref())?, view),
        Changing::Teardown => teardown(body(call.teardown.as_ref())?, view),
        Changing::Drain => drain(body(call.drain_agent.as_ref())?, view),
        Changing::Deactivate => deactivate(body(call.deactivate_agent.as_ref())?, view),
        Changing::Reactivate => reactivate(body(call.reactivate_agent.as_ref())?, view),
        Changing::Gone => gone(body(call.mark_agent_gone.as_ref())?, view),
        Changing::Schedule => {
            maintenance::schedule(body(call.update_maintenance_schedule.as_ref())?, view)
        }
        Changing::Down => maintenance::start(body(call.start_maintenance.as_ref())?, view),
        Changing::Up => maintenance::stop(body(call.stop_maintenance.as_ref())?, view),
        Changing::Operate(operating) => {
            let (agent, operation) = operation::read(operating, call, caller)?;
            let agent = known_agent(view, agent, "No agent found with specified ID")?.agent_id;
            Ok(Some(OperatorCall::Operate { agent, operation }))
        }
    }
}

fn teardown(
    body: &schema::MasterCallTeardown,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let named = body.framework_id.as_ref().map(schema::FrameworkId::value).unwrap_or_default();
    let framework = ids::read_framework(view.fence.cluster, named)
        .filter(|id| view.frameworks.iter().any(|framework| framework.id == *id));
    let framework = framework.ok_or_else(|| invalid("No framework found with specified ID"))?;
    Ok(Some(OperatorCall::Teardown { framework }))
}

/// The agent of that id, if it is on record.
fn agent_of<'a>(view: &'a View, id: &schema::AgentId) -> Option<&'a AgentView> {
    let id = ids::read_agent(view.fence.cluster, id.value())?;
    view.agents.iter().find(|agent| agent.agent_id == id).map(AsRef::as_ref)
}

fn is_gone(agent: &AgentView) -> bool {
    agent.state == NodeState::Gone
}

/// An agent that is not gone; what is said when there is none.
fn known_agent<'a>(
    view: &'a View,
    id: Option<&schema::AgentId>,
    unknown: &str,
) -> Result<&'a AgentView, Refused> {
    let known = id.and_then(|id| agent_of(view, id)).filter(|agent| !is_gone(agent));
    known.ok_or_else(|| invalid(unknown))
}

fn drain(
    body: &schema::MasterCallDrainAgent,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let agent = known_agent(view, body.agent_id.as_ref(), UNKNOWN_AGENT)?.agent_id;
    let grace_max_ms = match &body.max_grace_period {
        // Each task has its own, and none a longer one.
        None => KILL_GRACE_MAX_MS,
        Some(period) => millis(period)
            .ok_or_else(|| invalid("The field 'max_grace_period' must be zero or more"))?,
    };
    Ok(Some(OperatorCall::Drain { agent, grace_max_ms, mark_gone: body.mark_gone() }))
}

/// In JSON a time that has neither of its fields has another one, which would be read as no time at all. In protobuf that is how
/// none is written.
fn check_grace(media: Media, call: &MasterCall) -> Result<(), Refused> {
    let period = call.drain_agent.as_ref().and_then(|drain| drain.max_grace_period.as_ref());
    let blank = period.is_some_and(|it| it.seconds.is_none() && it.nanos.is_none());
    if media == Media::Json && blank {
        return Err(invalid(
            "The field 'max_grace_period' has neither 'seconds' nor 'nanos': say {\"seconds\": 0} to end tasks at once",
        ));
    }
    Ok(())
}

/// At most what any task may have; nothing for what is negative.
fn millis(period: &schema::Duration) -> Option<u64> {
    let seconds = u64::try_from(period.seconds()).ok()?;
    let nanos = u64::try_from(period.nanos()).ok()?;
    let millis = seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000);
    Some(millis.min(KILL_GRACE_MAX_MS))
}

fn deactivate(
    body: &schema::MasterCallDeactivateAgent,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let agent = known_agent(view, body.agent_id.as_ref(), UNKNOWN_AGENT)?;
    // One that is being emptied is offered no more already.
    let is_so = agent.drain.is_some();
    Ok((!is_so).then_some(OperatorCall::Deactivate { agent: agent.agent_id }))
}

fn reactivate(
    body: &schema::MasterCallReactivateAgent,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let agent = known_agent(view, body.agent_id.as_ref(), UNKNOWN_AGENT)?;
    // Of one that is out of reach only the record says at what it is held.
    if agent.state != NodeState::Unreachable && !is_deactivated(agent) {
        return Err(invalid("Agent is not deactivated"));
    }
    Ok(Some(OperatorCall::Reactivate { agent: agent.agent_id }))
}

fn gone(
    body: &schema::MasterCallMarkAgentGone,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let agent = body.agent_id.as_ref().and_then(|id| agent_of(view, id));
    let agent = agent.ok_or_else(|| Refused::new(404, "No agent found with specified ID"))?;
    Ok((!is_gone(agent)).then_some(OperatorCall::MarkAgentGone { agent: agent.agent_id }))
}
