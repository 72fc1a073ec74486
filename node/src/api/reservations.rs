//! What is reserved on nodes and which volumes they have. A change is answered when the node has it on
//! disk.

use std::collections::BTreeMap;

use meshos_control::master::{AgentView, NodeState, OperatorCall, View};
use meshos_protocol::{
    ids::{AgentId, NodeId},
    operation::Operation,
    resources::{
        Amount, Disk, Metadata, Reservation, ReservationKind, Resource, ResourceName, Resources,
        Volume,
    },
    role::Role,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Api, bodies,
    call::{Answer, Call, Failure},
};

/// Resources as text, such as `cpus:2;mem:512`: without a role, which stands beside them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReserveBody {
    node_id: String,
    role: Role,
    resources: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnreserveBody {
    node_id: String,
    role: Role,
    resources: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    node_id: String,
    role: Role,
    volume_id: String,
    /// In MB, as text.
    size: String,
    /// Where tasks see it, inside their sandbox.
    path: String,
    #[serde(default)]
    shared: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DestroyBody {
    node_id: String,
    role: Role,
    volume_id: String,
}

/// What is reserved on one node in one way.
#[derive(Debug, Serialize)]
pub(super) struct ReservationRow {
    node_id: NodeId,
    agent_id: AgentId,
    role: Role,
    /// `static` by the node's configuration, or `dynamic`.
    kind: ReservationKind,
    principal: String,
    labels: BTreeMap<String, String>,
    /// Volumes are not among them.
    resources: String,
}

/// A volume of a node.
#[derive(Debug, Serialize)]
pub(super) struct VolumeRow {
    node_id: NodeId,
    agent_id: AgentId,
    role: Role,
    volume_id: String,
    /// In MB, as text.
    size: String,
    path: String,
    shared: bool,
    principal: String,
    /// Whether a task has it.
    used: bool,
}

pub(super) fn reservations(view: &View) -> Vec<ReservationRow> {
    view.agents.iter().flat_map(|agent| reservations_of(agent)).collect()
}

fn reservations_of(agent: &AgentView) -> Vec<ReservationRow> {
    let mut by_reservation: BTreeMap<&Reservation, Resources> = BTreeMap::new();
    for resource in &agent.resources {
        let metadata = resource.metadata();
        if let Some(reservation) = metadata.reservation.as_ref().filter(|_| !metadata.is_volume()) {
            by_reservation.entry(reservation).or_default().insert(resource.clone());
        }
    }
    let row = |(reservation, resources): (&Reservation, Resources)| ReservationRow {
        node_id: agent.id,
        agent_id: agent.agent_id,
        role: reservation.role().clone(),
        kind: reservation.kind(),
        principal: reservation.principal().to_owned(),
        labels: reservation.labels().clone(),
        resources: resources.flatten().to_string(),
    };
    by_reservation.into_iter().map(row).collect()
}

pub(super) fn volumes(view: &View) -> Vec<VolumeRow> {
    view.agents.iter().flat_map(|agent| volumes_of(agent)).collect()
}

fn volumes_of(agent: &AgentView) -> Vec<VolumeRow> {
    let rows = agent.resources.iter().filter_map(|resource| {
        let metadata = resource.metadata();
        let volume = metadata.disk.as_ref()?.volume.as_ref()?;
        Some(VolumeRow {
            node_id: agent.id,
            agent_id: agent.agent_id,
            role: metadata.reserved_role()?.clone(),
            volume_id: volume.id.clone(),
            size: resource.amount()?.to_string(),
            path: volume.container_path.clone(),
            shared: metadata.shared,
            principal: volume.principal.clone(),
            used: agent.used.iter().any(|used| used.metadata() == metadata),
        })
    });
    rows.collect()
}

impl Api {
    pub(super) async fn reserve(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let ReserveBody { node_id, role, resources, labels } = bodies::read(&call.body)?;
        let node = self.node_to_operate_on(view, &node_id)?;
        let wanted = plain(&resources)?;
        let reservation = Reservation::dynamic(role.clone(), call.principal.as_str(), labels, None)
            .map_err(|error| Failure::invalid(error.to_string()))?;
        let operation = Operation::reserve(&wanted, &reservation)
            .map_err(|error| Failure::invalid(error.to_string()))?;
        tracing::info!(node = %node.id, %role, %resources, principal = %call.principal, "an operator reserves");
        self.operate_on(&node, operation).await?;
        Answer::json(&json!({ "node_id": node.id, "role": role, "reserved": wanted.to_string() }))
    }

    pub(super) async fn unreserve(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let UnreserveBody { node_id, role, resources } = bodies::read(&call.body)?;
        let node = self.node_to_operate_on(view, &node_id)?;
        let wanted = plain(&resources)?;
        let operation = Operation::Unreserve { resources: reserved_part(&node, &wanted, &role)? };
        tracing::info!(node = %node.id, %role, %resources, principal = %call.principal, "an operator unreserves");
        self.operate_on(&node, operation).await?;
        Answer::json(&json!({ "node_id": node.id, "role": role, "unreserved": wanted.to_string() }))
    }

    pub(super) async fn create_volume(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let body: CreateBody = bodies::read(&call.body)?;
        let node = self.node_to_operate_on(view, &body.node_id)?;
        let principal = call.principal.as_str().to_owned();
        let volume = new_volume(&node, &body, principal)?;
        let CreateBody { role, volume_id, size, .. } = body;
        tracing::info!(node = %node.id, %role, %volume_id, %size, principal = %call.principal, "an operator creates a volume");
        self.operate_on(&node, Operation::Create { volumes: volume.into() }).await?;
        Answer::json(&json!({ "node_id": node.id, "role": role, "volume_id": volume_id }))
    }

    pub(super) async fn destroy_volume(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let DestroyBody { node_id, role, volume_id } = bodies::read(&call.body)?;
        let node = self.node_to_operate_on(view, &node_id)?;
        let is_it = |resource: &Resource| {
            let metadata = resource.metadata();
            let volume = metadata.disk.as_ref().and_then(|disk| disk.volume.as_ref());
            metadata.reserved_role() == Some(&role) && volume.is_some_and(|it| it.id == volume_id)
        };
        let volumes = node.resources.filter(is_it);
        if volumes.is_empty() {
            return Err(Failure::not_found(format!(
                "role {role} has no volume {volume_id:?} on node {}; `meshos volumes` shows what there is",
                node.id
            )));
        }
        tracing::info!(node = %node.id, %role, %volume_id, principal = %call.principal, "an operator destroys a volume");
        self.operate_on(&node, Operation::Destroy { volumes }).await?;
        Answer::json(&json!({ "node_id": node.id, "role": role, "volume_id": volume_id }))
    }

    fn node_to_operate_on(&self, view: &View, name: &str) -> Result<AgentView, Failure> {
        let node = self.node_named(view, name)?;
        if node.state == NodeState::Gone {
            return Err(Failure::invalid(format!("node {} is gone", node.id)));
        }
        // As the leader has it, not as gossip shows it.
        let known = view.agents.iter().find(|agent| agent.agent_id == node.agent_id);
        Ok(known.map_or(node, |agent| AgentView::clone(agent)))
    }

    async fn operate_on(&self, node: &AgentView, operation: Operation) -> Result<(), Failure> {
        self.operate(OperatorCall::Operate { agent: node.agent_id, operation }).await
    }
}

/// Resources that are nobody's in particular.
fn plain(text: &str) -> Result<Resources, Failure> {
    let refused = |why: &str| Failure::invalid(format!("the resources are {text:?}: {why}"));
    let resources: Resources = text.parse().map_err(|error| refused(&format!("{error}")))?;
    if resources.is_empty() {
        return Err(refused("name some, such as cpus:2;mem:512"));
    }
    if !resources.revocable().is_empty() {
        return Err(refused(
            "what is revocable may be taken back at any time, so it can neither be reserved nor unreserved",
        ));
    }
    let is_plain = |it: &Resource| it.metadata().is_unreserved() && it.metadata().is_plain();
    if resources.iter().all(is_plain) {
        return Ok(resources);
    }
    Err(refused(
        "they are named without a role, which stands beside them: cpus:2, not cpus(role):2",
    ))
}

fn with_metadata(resources: &Resources, metadata: &Metadata) -> Result<Resources, Failure> {
    let one =
        |it: &Resource| Resource::new(it.name().clone(), metadata.clone(), it.value().clone());
    let made: Result<Resources, _> = resources.iter().map(one).collect();
    made.map_err(|error| Failure::invalid(error.to_string()))
}

/// What no task of the node uses.
fn unused(node: &AgentView) -> Resources {
    node.resources.saturating_sub(&node.used)
}

/// Of what is reserved for a role by operations, as much as is wanted: whoever reserved it.
fn reserved_part(node: &AgentView, wanted: &Resources, role: &Role) -> Result<Resources, Failure> {
    let is_its = |resource: &Resource| {
        let metadata = resource.metadata();
        let reservation = metadata.reservation.as_ref();
        metadata.is_plain()
            && reservation
                .is_some_and(|it| it.role() == role && it.kind() == ReservationKind::Dynamic)
    };
    let (reserved, unused) = (node.resources.filter(is_its), unused(node).filter(is_its));
    let in_use = reserved.saturating_sub(&unused);
    let (mut missing, mut found) = (wanted.clone(), Resources::new());
    // What tasks use cannot be had: it is named only when there is no other.
    for candidate in unused.iter().chain(&in_use) {
        let like = missing.filter(|resource| resource.name() == candidate.name());
        let like = with_metadata(&like, candidate.metadata())?;
        let part = like.intersection(&candidate.clone().into());
        missing = missing.saturating_sub(&part.flatten());
        found += &part;
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let there =
        if reserved.is_empty() { "nothing".to_owned() } else { reserved.flatten().to_string() };
    Err(Failure::invalid(format!(
        "operations have reserved {there} for role {role} on node {}, and {wanted} is to be unreserved; volumes are \
         destroyed first, and what the node's configuration reserves is changed there",
        node.id
    )))
}

/// A volume of disk that is reserved for its role.
fn new_volume(node: &AgentView, body: &CreateBody, principal: String) -> Result<Resource, Failure> {
    let CreateBody { role, volume_id, size, path, shared, .. } = body;
    let amount: Amount = size.parse().map_err(|error| {
        Failure::invalid(format!("the size {size:?} cannot be read as MB: {error}"))
    })?;
    if amount <= Amount::ZERO {
        return Err(Failure::invalid(format!(
            "the size is {size} MB: a volume has more than 0 MB"
        )));
    }
    let is_disk = |it: &&Resource| {
        let metadata = it.metadata();
        *it.name() == ResourceName::Disk
            && !metadata.is_volume()
            && metadata.reserved_role() == Some(role)
    };
    let unused = unused(node);
    let disks: Vec<&Resource> = node.resources.iter().filter(is_disk).collect();
    let has_room = |it: &&&Resource| match it.amount() {
        Some(there) if it.metadata().is_divisible() => there >= amount,
        there => there == Some(amount),
    };
    let first = unused.iter().filter(is_disk).collect::<Vec<_>>();
    let Some(disk) = first.iter().chain(&disks).find(has_room) else {
        let there: Vec<String> =
            disks.iter().filter_map(|disk| disk.amount()).map(|it| it.to_string()).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(" and ") };
        return Err(Failure::invalid(format!(
            "a volume of {size} MB is made of disk that is reserved for its role, in one piece; role {role} has {there} on \
             node {}: reserve some with `meshos reserve {} disk:{size} --role {role}`",
            node.id, node.id
        )));
    };
    let volume = Volume { id: volume_id.clone(), container_path: path.clone(), principal };
    let source = disk.metadata().disk.as_ref().and_then(|disk| disk.source.clone());
    let made = Some(Disk { source, volume: Some(volume) }.into());
    let metadata = Metadata { disk: made, shared: *shared, ..disk.metadata().clone() };
    Resource::new(ResourceName::Disk, metadata, amount)
        .map_err(|error| Failure::invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::nodes::tests::agent;

    fn role() -> Role {
        Role::new("db").unwrap()
    }

    fn reserved(text: &str, principal: &str) -> Resources {
        let reservation = Reservation::dynamic(role(), principal, BTreeMap::new(), None).unwrap();
        let metadata = Metadata { reservation: Some(reservation), ..Metadata::UNRESERVED };
        with_metadata(&plain(text).unwrap(), &metadata).unwrap()
    }

    fn node(resources: Resources) -> AgentView {
        AgentView { resources, ..AgentView::clone(&agent(7, "127.0.0.1:5050")) }
    }

    fn create(size: &str) -> CreateBody {
        CreateBody {
            node_id: String::new(),
            role: role(),
            volume_id: "v".into(),
            size: size.into(),
            path: "data".into(),
            shared: false,
        }
    }

    #[test]
    fn what_is_unreserved_is_found_whoever_reserved_it() {
        let both = reserved("cpus:2", "a") + &reserved("cpus:1;ports:[1-9]", "b");
        let node = node(both.clone() + &"cpus:4;cpus(db):8".parse().unwrap());
        let part = reserved_part(&node, &plain("cpus:3;ports:[2-4]").unwrap(), &role()).unwrap();
        assert_eq!(part.flatten().to_string(), "cpus:3;ports:[2-4]");
        assert!(both.contains(&part));
        let refused = reserved_part(&node, &plain("cpus:4").unwrap(), &role()).unwrap_err();
        assert!(
            refused.to_string().contains("reserved cpus:3;ports:[1-9] for role db"),
            "{refused}"
        );
    }

    #[test]
    fn a_volume_is_made_of_reserved_disk_in_one_piece() {
        let there = reserved("disk:60;cpus:1", "a") + &"disk(db):100;disk:900".parse().unwrap();
        let volume = new_volume(&node(there.clone()), &create("80"), "ops".into()).unwrap();
        let operation = Operation::Create { volumes: volume.clone().into() };
        let consumed = operation.conversion().unwrap().consumed;
        assert_eq!(consumed.to_string(), "disk(db):80");
        let refused = new_volume(&node(there), &create("160"), "ops".into()).unwrap_err();
        assert!(refused.to_string().contains("`meshos reserve"), "{refused}");
        let rows = volumes_of(&node(volume.into()));
        assert_eq!((rows[0].volume_id.as_str(), rows[0].size.as_str()), ("v", "80"));
        assert!(!rows[0].used);
    }

    #[test]
    fn resources_are_named_without_a_role() {
        for text in ["", "cpus(db):2", "x", "cpus:-1"] {
            assert_eq!(Answer::from(plain(text).unwrap_err()).status, 400, "{text}");
        }
    }
}
