//! Frameworks.

use meshos_control::master::{FrameworkState, FrameworkView, OfferView};
use meshos_protocol::{framework::Capabilities, resources::Resources};
use serde::Serialize;

use super::{
    amounts::{All, all},
    picture::Picture,
    rows::{LabelRow, Rows, labels, name_of, seconds, seconds_or_zero},
};
use crate::{
    convert::{ids, number, resource::allocated_to},
    schema,
};

/// What is told of a framework everywhere.
#[derive(Serialize)]
pub(super) struct FrameworkRow<'a> {
    pub(super) id: String,
    name: &'a str,
    used_resources: Owned,
    offered_resources: Owned,
    /// Both together.
    resources: Owned,
    capabilities: Vec<&'static str>,
    hostname: &'a str,
    webui_url: &'a str,
    active: bool,
    connected: bool,
    recovered: bool,
    user: &'a str,
    failover_timeout: f64,
    checkpoint: bool,
    registered_time: f64,
    unregistered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    principal: &'a str,
    /// Beside all roles for older tools, of a framework that has but one.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    roles: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<LabelRow<'a>>>,
}

/// Resources that were added up for a row.
pub(super) struct Owned(pub(super) Resources);

impl Serialize for Owned {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        all(&self.0).serialize(serializer)
    }
}

/// What a framework says that it understands; each here has several roles.
pub(crate) fn capabilities(of: Capabilities) -> Vec<schema::FrameworkInfoCapabilityType> {
    use schema::FrameworkInfoCapabilityType as Capability;
    let named = [
        (of.revocable_resources, Capability::RevocableResources),
        (of.task_killing_state, Capability::TaskKillingState),
        (of.gpu_resources, Capability::GpuResources),
        (of.shared_resources, Capability::SharedResources),
        (of.partition_aware, Capability::PartitionAware),
        (true, Capability::MultiRole),
        (of.reservation_refinement, Capability::ReservationRefinement),
        (of.region_aware, Capability::RegionAware),
    ];
    named.into_iter().filter(|(has, _)| *has).map(|(_, capability)| capability).collect()
}

impl<'a> FrameworkRow<'a> {
    pub(super) fn of(picture: &Picture<'_>, framework: &'a FrameworkView) -> Self {
        let mut offered = Resources::new();
        for offer in &picture.of(framework.id).offers {
            offered += &offer.resources.filter(|resource| resource.amount().is_some());
        }
        let connected = framework.state == FrameworkState::Subscribed;
        let roles: Vec<&str> = framework.roles.iter().map(|role| role.as_str()).collect();
        let capabilities = capabilities(framework.details.capabilities);
        Self {
            id: picture.framework_text(framework.id),
            name: &framework.name,
            resources: Owned(framework.used.clone() + &offered),
            used_resources: Owned(framework.used.clone()),
            offered_resources: Owned(offered),
            capabilities: capabilities
                .into_iter()
                .map(|it| name_of::<schema::FrameworkInfoCapabilityType>(it as i32))
                .collect(),
            hostname: &framework.hostname,
            webui_url: &framework.webui_url,
            active: connected,
            connected,
            recovered: framework.registered_at.is_none()
                && framework.state != FrameworkState::Closed,
            user: &framework.user,
            failover_timeout: number::seconds(framework.failover_timeout_ms),
            // Tasks always outlive their agent's process.
            checkpoint: true,
            registered_time: seconds_or_zero(framework.registered_at),
            unregistered_time: seconds_or_zero(framework.closed_at),
            reregistered_time: framework.reregistered_at.map(seconds),
            principal: framework.principal.as_str(),
            role: if let [role] = roles[..] { Some(role) } else { None },
            roles,
            labels: labels(&framework.details.labels),
        }
    }
}

/// An open offer.
#[derive(Serialize)]
struct OfferRow<'a> {
    id: String,
    framework_id: String,
    allocation_info: Option<schema::ResourceAllocationInfo>,
    slave_id: String,
    resources: All<'a>,
}

fn offer<'a>(picture: &Picture<'_>, offer: &'a OfferView) -> OfferRow<'a> {
    OfferRow {
        id: ids::offer(picture.cluster(), offer.id).value.unwrap_or_default(),
        framework_id: picture.framework_text(offer.framework_id),
        allocation_info: allocated_to(&offer.role),
        slave_id: picture.agent_text(offer.agent_id),
        resources: all(&offer.resources),
    }
}

/// A framework with all that it has.
#[derive(Serialize)]
struct Full<'a, L, U, E, O> {
    #[serde(flatten)]
    row: FrameworkRow<'a>,
    tasks: L,
    unreachable_tasks: U,
    completed_tasks: E,
    offers: O,
    /// Executors are not told of.
    executors: [(); 0],
}

fn full<'a>(picture: &'a Picture<'_>, framework: &'a FrameworkView) -> impl Serialize + 'a {
    let of = picture.of(framework.id);
    Full {
        row: FrameworkRow::of(picture, framework),
        tasks: Rows(picture.task_rows(of.live.iter().copied())),
        unreachable_tasks: Rows(picture.task_rows(of.unreachable.iter().copied())),
        completed_tasks: Rows(picture.task_rows(of.ended.iter().copied())),
        offers: Rows(of.offers.iter().map(|it| offer(picture, it))),
        executors: [],
    }
}

fn is_wanted(picture: &Picture<'_>, framework: &FrameworkView, only: Option<&str>) -> bool {
    only.is_none_or(|only| only == picture.framework_text(framework.id))
}

/// Frameworks that have not ended, with all that they have.
pub(super) fn running<'a>(picture: &'a Picture<'_>, only: Option<&'a str>) -> impl Serialize + 'a {
    let wanted = picture.frameworks.values().copied();
    let wanted = wanted.filter(move |it| is_wanted(picture, it, only));
    Rows(wanted.map(|framework| full(picture, framework)))
}

/// Those that have ended, with what is remembered of them.
pub(super) fn completed<'a>(
    picture: &'a Picture<'_>,
    only: Option<&'a str>,
) -> impl Serialize + 'a {
    let wanted = picture.view.frameworks_closed.iter();
    let wanted = wanted.filter(move |it| is_wanted(picture, it, only));
    Rows(wanted.map(|framework| full(picture, framework)))
}

#[derive(Serialize)]
struct Frameworks<R, C> {
    frameworks: R,
    completed_frameworks: C,
    unregistered_frameworks: [(); 0],
}

/// `/frameworks`, or the one that is asked for.
pub fn frameworks<'a>(picture: &'a Picture<'_>, only: Option<&'a str>) -> impl Serialize + 'a {
    Frameworks {
        frameworks: running(picture, only),
        completed_frameworks: completed(picture, only),
        unregistered_frameworks: [],
    }
}
