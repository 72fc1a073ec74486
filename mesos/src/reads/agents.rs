//! Agents.

use meshos_control::master::{AgentView, DrainView, NodeState};
use serde::Serialize;

use super::{
    amounts::{All, Reserved, ReservedFull, all, full, unreserved, unreserved_full},
    picture::Picture,
    rows::{AttributeRows, DomainRow, Rows, domain, name_of, seconds, seconds_or_zero},
};
use crate::{
    convert::{event::MESOS_VERSION, offer::Place},
    schema,
};

/// What agents of this release can do, by Mesos's names.
pub(super) const CAPABILITIES: [schema::AgentInfoCapabilityType; 4] = [
    schema::AgentInfoCapabilityType::MultiRole,
    schema::AgentInfoCapabilityType::HierarchicalRole,
    schema::AgentInfoCapabilityType::ReservationRefinement,
    schema::AgentInfoCapabilityType::ResizeVolume,
];

/// The same as text.
pub(super) fn capability_names() -> Vec<&'static str> {
    CAPABILITIES.map(|it| name_of::<schema::AgentInfoCapabilityType>(it as i32)).into()
}

/// How an agent's process is called by Mesos.
pub(super) fn pid(address: &str) -> String {
    if address.is_empty() { String::new() } else { format!("slave(1)@{address}") }
}

/// What is told of an agent everywhere.
#[derive(Serialize)]
pub(super) struct AgentRow<'a, F> {
    id: String,
    hostname: &'a str,
    port: u16,
    attributes: AttributeRows<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<DomainRow<'a>>,
    pid: String,
    registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    resources: All<'a>,
    used_resources: All<'a>,
    offered_resources: All<'a>,
    reserved_resources: Reserved<'a>,
    unreserved_resources: F,
    active: bool,
    deactivated: bool,
    version: &'static str,
    capabilities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_info: Option<schema::DrainInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_drain_start_time_seconds: Option<f64>,
}

/// Whether it is offered.
pub(super) fn is_active(agent: &AgentView) -> bool {
    agent.connected && agent.state == NodeState::Active
}

/// Whether an operator keeps it from being offered.
pub(crate) const fn is_deactivated(agent: &AgentView) -> bool {
    matches!(agent.state, NodeState::Draining | NodeState::Drained | NodeState::Deactivated)
}

/// Whether all that ran there has ended, and everybody knows.
pub(super) fn is_drained(agent: &AgentView) -> bool {
    agent.state == NodeState::Drained
}

/// How an operator empties it. A drain that ends nothing is none of Mesos's.
pub(super) fn drain_info(agent: &AgentView) -> Option<schema::DrainInfo> {
    let state = match is_drained(agent) {
        true => schema::DrainState::Drained,
        false => schema::DrainState::Draining,
    };
    let grace = |drain: &DrainView| i64::try_from(drain.grace_ms).unwrap_or(i64::MAX);
    agent.drain.as_ref().map(|drain| schema::DrainInfo {
        state: Some(state.into()),
        config: Some(schema::DrainConfig {
            max_grace_period: Some(schema::DurationInfo {
                nanoseconds: Some(grace(drain).saturating_mul(1_000_000)),
            }),
            mark_gone: Some(drain.mark_gone),
        }),
    })
}

pub(super) fn row<'a>(
    picture: &Picture<'_>,
    agent: &'a AgentView,
) -> AgentRow<'a, impl Serialize + 'a> {
    AgentRow {
        id: picture.agent_text(agent.agent_id),
        hostname: &agent.hostname,
        port: Place::read(&agent.agent_address).map_or(0, |place| place.port),
        attributes: AttributeRows(&agent.attributes),
        domain: domain(agent.domain.as_ref()),
        pid: pid(&agent.agent_address),
        registered_time: seconds_or_zero(agent.registered_at),
        reregistered_time: agent.reregistered_at.map(seconds),
        resources: all(&agent.resources),
        used_resources: all(&agent.used),
        offered_resources: all(&agent.offered),
        reserved_resources: Reserved(&agent.resources),
        unreserved_resources: unreserved(&agent.resources),
        active: is_active(agent),
        deactivated: is_deactivated(agent),
        // Of Mesos, whose agents it is taken for.
        version: MESOS_VERSION,
        capabilities: capability_names(),
        drain_info: drain_info(agent),
        estimated_drain_start_time_seconds: agent.drain.as_ref().map(|drain| seconds(drain.since)),
    }
}

/// Agents that take part.
pub(super) fn taking_part<'a>(picture: &'a Picture<'_>) -> impl Serialize + 'a {
    Rows(picture.registered().map(|agent| row(picture, agent)))
}

/// Agents that are expected to come back.
pub(super) fn expected<'a>(picture: &'a Picture<'_>) -> impl Serialize + 'a {
    Rows(picture.awaited().map(|agent| row(picture, agent)))
}

/// An agent with each of its resources.
#[derive(Serialize)]
struct Full<'a, R> {
    #[serde(flatten)]
    row: R,
    reserved_resources_full: ReservedFull<'a>,
    unreserved_resources_full: Vec<schema::Resource>,
    used_resources_full: Vec<schema::Resource>,
    offered_resources_full: Vec<schema::Resource>,
}

#[derive(Serialize)]
struct Agents<R, A> {
    slaves: R,
    recovered_slaves: A,
}

/// `/slaves`, or the one that is asked for.
pub fn agents<'a, 'p>(
    picture: &'a Picture<'p>,
    only: Option<&'a str>,
) -> impl Serialize + use<'a, 'p> {
    let is_wanted = move |agent: &&AgentView| {
        only.is_none_or(|only| only == picture.agent_text(agent.agent_id))
    };
    let full = |agent: &'p AgentView| Full {
        row: row(picture, agent),
        reserved_resources_full: ReservedFull(&agent.resources),
        unreserved_resources_full: unreserved_full(&agent.resources),
        used_resources_full: full(&agent.used),
        offered_resources_full: full(&agent.offered),
    };
    Agents {
        slaves: Rows(picture.registered().filter(is_wanted).map(full)),
        recovered_slaves: Rows(
            picture.awaited().filter(is_wanted).map(|agent| row(picture, agent)),
        ),
    }
}
