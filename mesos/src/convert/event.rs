//! Events, each with its type and its body.

use meshos_protocol::ids::{ClusterId, Fence, FrameworkId};

use super::{ids, offer::Place};
use crate::schema::{self, Event, EventType};

/// Clients compare it part by part, so it has three numbers and nothing else.
pub const MESOS_VERSION: &str = "1.11.0";

fn of(kind: EventType) -> Event {
    Event { r#type: Some(kind.into()), ..Event::default() }
}

/// The stream is alive.
#[must_use]
pub fn heartbeat() -> Event {
    of(EventType::Heartbeat)
}

/// The subscription holds; `leader` is where the leader listens.
#[must_use]
pub fn subscribed(
    fence: Fence,
    framework: FrameworkId,
    heartbeat_seconds: f64,
    leader: Option<&Place>,
) -> Event {
    let subscribed = schema::EventSubscribed {
        framework_id: Some(ids::framework(fence.cluster, framework)),
        heartbeat_interval_seconds: Some(heartbeat_seconds),
        master_info: Some(master(fence, leader)),
    };
    Event { subscribed: Some(subscribed), ..of(EventType::Subscribed) }
}

/// Who leads, as Mesos describes its master.
#[must_use]
pub fn master(fence: Fence, leader: Option<&Place>) -> schema::MasterInfo {
    let place = leader.cloned();
    let ip = match leader.and_then(|leader| leader.ip) {
        Some(std::net::IpAddr::V4(ip)) => u32::from_le_bytes(ip.octets()),
        Some(std::net::IpAddr::V6(_)) | None => 0,
    };
    schema::MasterInfo {
        id: Some(ids::master(fence.cluster, fence.term)),
        ip: Some(ip),
        port: place.as_ref().map(|place| u32::from(place.port)).or(Some(5050)),
        pid: place.as_ref().map(|place| format!("master@{}", place.host_port())),
        hostname: place.as_ref().map(|place| place.hostname.clone()),
        version: Some(MESOS_VERSION.to_owned()),
        address: place.as_ref().map(Place::address),
        domain: None,
        capabilities: Vec::new(),
    }
}

/// Resources to use.
#[must_use]
pub fn offers(offers: Vec<schema::Offer>) -> Event {
    Event { offers: Some(schema::EventOffers { offers }), ..of(EventType::Offers) }
}

/// An offer is void.
#[must_use]
pub fn rescind(cluster: ClusterId, offer: meshos_protocol::ids::OfferId) -> Event {
    let rescind = schema::EventRescind { offer_id: Some(ids::offer(cluster, offer)) };
    Event { rescind: Some(rescind), ..of(EventType::Rescind) }
}

/// Asks whether it suits that nodes will be away.
#[must_use]
pub fn inverse_offers(inverse_offers: Vec<schema::InverseOffer>) -> Event {
    let inverse_offers = Some(schema::EventInverseOffers { inverse_offers });
    Event { inverse_offers, ..of(EventType::InverseOffers) }
}

/// An inverse offer is void.
#[must_use]
pub fn rescind_inverse_offer(cluster: ClusterId, offer: meshos_protocol::ids::OfferId) -> Event {
    let inverse_offer_id = Some(ids::offer(cluster, offer));
    let rescind = schema::EventRescindInverseOffer { inverse_offer_id };
    Event { rescind_inverse_offer: Some(rescind), ..of(EventType::RescindInverseOffer) }
}

/// A step in a task's life.
#[must_use]
pub fn update(status: schema::TaskStatus) -> Event {
    Event { update: Some(schema::EventUpdate { status: Some(status) }), ..of(EventType::Update) }
}

/// Where an operation stands.
#[must_use]
pub fn operation(status: schema::OperationStatus) -> Event {
    let update = schema::EventUpdateOperationStatus { status: Some(status) };
    Event { update_operation_status: Some(update), ..of(EventType::UpdateOperationStatus) }
}

/// An agent is unreachable or gone.
#[must_use]
pub fn agent_lost(cluster: ClusterId, agent: meshos_protocol::ids::AgentId) -> Event {
    let agent_id = Some(ids::agent(cluster, agent));
    let failure = schema::EventFailure { agent_id, ..schema::EventFailure::default() };
    Event { failure: Some(failure), ..of(EventType::Failure) }
}

/// An executor is over.
#[must_use]
pub fn executor_lost(
    cluster: ClusterId,
    agent: meshos_protocol::ids::AgentId,
    executor: &meshos_protocol::ids::ExecutorId,
    exit: Option<&meshos_protocol::task::Exit>,
) -> Event {
    use meshos_protocol::task::Exit;
    // The status as wait(2) tells it: the code in the second byte, or the signal in the first.
    let status = exit.and_then(|exit| match exit {
        Exit::Code { code } => Some(code << 8),
        Exit::Signal { signal } => Some(*signal),
        Exit::Unreadable { .. } | Exit::Unknown => None,
    });
    let failure = schema::EventFailure {
        agent_id: Some(ids::agent(cluster, agent)),
        executor_id: Some(schema::ExecutorId { value: Some(executor.as_str().to_owned()) }),
        status,
    };
    Event { failure: Some(failure), ..of(EventType::Failure) }
}

/// Bytes of an executor.
#[must_use]
pub fn message(
    cluster: ClusterId,
    agent: meshos_protocol::ids::AgentId,
    executor: &meshos_protocol::ids::ExecutorId,
    data: Vec<u8>,
) -> Event {
    let message = schema::EventMessage {
        agent_id: Some(ids::agent(cluster, agent)),
        executor_id: Some(schema::ExecutorId { value: Some(executor.as_str().to_owned()) }),
        data: Some(data),
    };
    Event { message: Some(message), ..of(EventType::Message) }
}

/// The subscription is over.
#[must_use]
pub fn error(message: impl Into<String>) -> Event {
    let error = schema::EventError { message: Some(message.into()) };
    Event { error: Some(error), ..of(EventType::Error) }
}
