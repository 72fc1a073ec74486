//! Frameworks that reserve and make volumes, and what is sure of what they were told.
//!
//! Every reservation has a label of its own, the name of the operation that made it, and so has the
//! volume that is made of it: what becomes of each can be followed by that name alone.

use std::collections::{BTreeMap, BTreeSet};

use meshos_control::master::OperatorCall;
use meshos_protocol::{
    ids::{AgentId, OperationId, OperationUuid, RequestId},
    messages::scheduler::Call,
    operation::{
        Conversion, Operation, OperationQuery, OperationRequest, OperationState, OperationStatus,
    },
    resources::{Reservation, ReservationKind, Resource, Resources, Volume},
    role::Role,
};

use crate::{driver::Act, world::World};

/// The label that names a reservation.
const LABEL: &str = "made-by";

/// What a framework keeps of its operations.
#[derive(Debug, Default)]
pub struct Operations {
    /// Sent, and nothing final was heard of them: where, and what they touch.
    pub waiting: BTreeMap<OperationId, (AgentId, Sent)>,
    /// By the accept that carried them.
    pub(crate) requests: BTreeMap<RequestId, Vec<OperationId>>,
    named: u64,
}

/// An operation that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Counts all of the run.
    number: u64,
    /// The reservation that it touches.
    label: String,
    /// What it makes of what of that reservation.
    conversion: Conversion,
}

/// What is known of one reservation on one machine.
#[derive(Debug)]
pub struct Certain {
    /// Operations on it whose end nobody has told.
    pub open: BTreeSet<u64>,
    /// What there must be while none is open; nothing while that is not known.
    pub there: Option<Resources>,
}

/// What is sure, by node and label.
pub type Ledger = BTreeMap<(usize, String), Certain>;

/// The name of the reservation that a resource belongs to.
pub fn label_of(resource: &Resource) -> Option<&str> {
    let reservation = resource.metadata().reservation.as_ref()?;
    reservation.labels().get(LABEL).map(String::as_str)
}

/// All of one reservation among these.
pub fn labelled(resources: &Resources, label: &str) -> Resources {
    resources.filter(|resource| label_of(resource) == Some(label))
}

impl World {
    /// Some operations on what a framework is offered, which `free` follows.
    pub(crate) fn draw_operations(
        &mut self,
        index: usize,
        agent: AgentId,
        free: &mut Resources,
        request: RequestId,
    ) -> Vec<OperationRequest> {
        let mut requests = Vec::new();
        if !self.drivers[index].setup.reserves || !self.reserving {
            return requests;
        }
        while requests.len() < 3 && self.dice.chance(400) {
            let operations = &mut self.drivers[index].operations;
            operations.named += 1;
            let name = format!("d{index}-o{}", operations.named);
            let Some((label, operation)) = self.draw_operation(index, &name, free) else { break };
            let conversion = operation.conversion().expect("what is drawn makes sense");
            let Some(rest) = conversion.apply(free) else { break };
            *free = rest;
            let id = OperationId::new(&name).expect("a plain text");
            self.operation_sent(index, agent, &id, label, &conversion);
            let operations = &mut self.drivers[index].operations;
            operations.requests.entry(request).or_default().push(id.clone());
            requests.push(OperationRequest { id: Some(id), operation });
        }
        requests
    }

    /// A volume for a task, now and then.
    pub(crate) fn draw_volume(&mut self, index: usize, free: &Resources) -> Resources {
        let volume = free.iter().find(|it| is_volume(it)).cloned();
        let used = self.drivers[index].setup.reserves && volume.is_some() && self.dice.chance(400);
        volume.filter(|_| used).map(Resources::from).unwrap_or_default()
    }

    /// An operation on one of the reservations that are there, or a new one.
    fn draw_operation(
        &mut self,
        index: usize,
        name: &str,
        free: &Resources,
    ) -> Option<(String, Operation)> {
        let labels: BTreeSet<String> =
            free.iter().filter_map(label_of).map(str::to_owned).collect();
        let labels: Vec<String> = labels.into_iter().collect();
        let old = self.dice.pick(&labels).cloned().filter(|_| self.dice.chance(700));
        let Some(label) = old else {
            return Some((name.to_owned(), self.reserve(index, name, free)?));
        };
        let mine = labelled(free, &label);
        let (volumes, plain) = (mine.filter(is_volume), mine.filter(|it| !is_volume(it)));
        let disk = plain.iter().find(|it| it.name().as_str() == "disk").cloned();
        let operation = match (volumes.is_empty(), disk) {
            (false, _) => Operation::Destroy { volumes },
            (true, Some(disk)) if self.dice.chance(600) => {
                Operation::Create { volumes: volume_of(&disk, &label)?.into() }
            }
            (true, _) => Operation::Unreserve { resources: plain },
        };
        Some((label, operation))
    }

    fn reserve(&mut self, index: usize, name: &str, free: &Resources) -> Option<Operation> {
        let (cpus, mem) = (self.dice.number(1..=900), self.dice.number(1..=256));
        let text = format!("cpus:0.{cpus:03};mem:{mem};disk:{mem}");
        let plain: Resources = text.parse().expect("a resource text");
        if !free.contains(&plain) {
            return None;
        }
        let role = Role::new(&self.drivers[index].setup.role).expect("a valid role");
        let labels = BTreeMap::from([(LABEL.to_owned(), name.to_owned())]);
        let principal = self.drivers[index].principal.as_str();
        let reservation = Reservation::dynamic(role, principal, labels, None).ok()?;
        Operation::reserve(&plain, &reservation).ok()
    }

    fn operation_sent(
        &mut self,
        index: usize,
        agent: AgentId,
        id: &OperationId,
        label: String,
        conversion: &Conversion,
    ) {
        let Some(node) = self.node_of(agent) else { return };
        self.oracle.operations_sent += 1;
        let number = self.oracle.operations_sent;
        let nothing = || Certain { open: BTreeSet::new(), there: Some(Resources::new()) };
        let ledger = &mut self.oracle.reservations;
        ledger.entry((node, label.clone())).or_insert_with(nothing).open.insert(number);
        let conversion = Conversion {
            consumed: labelled(&conversion.consumed, &label),
            converted: labelled(&conversion.converted, &label),
        };
        let sent = Sent { number, label, conversion };
        self.drivers[index].operations.waiting.insert(id.clone(), (agent, sent));
    }

    fn node_of(&self, agent: AgentId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == agent.node)
    }

    /// A framework is told where an operation stands.
    pub fn driver_told_of_operation(&mut self, index: usize, status: OperationStatus) {
        let OperationStatus { id, state, agent, uuid, message: _ } = status;
        if let (Some(uuid), Some(agent)) = (uuid, agent)
            && self.dice.chance(930)
        {
            let delay = self.dice.skewed(1..=800);
            let id = id.clone();
            self.plan_act(index, delay, Act::AcknowledgeOperation { id, agent, uuid });
        }
        assert!(state != OperationState::Unknown, "d{index} is told that {id} is {state}");
        if state.is_terminal() {
            self.operation_concluded(index, &id, state);
        }
    }

    fn operation_concluded(&mut self, index: usize, id: &OperationId, state: OperationState) {
        let Some((agent, sent)) = self.drivers[index].operations.waiting.remove(id) else { return };
        let Some(node) = self.node_of(agent) else { return };
        let Some(certain) = self.oracle.reservations.get_mut(&(node, sent.label)) else { return };
        certain.open.remove(&sent.number);
        match state {
            // Alone, it says what there is; with others under way, who was last is not known.
            OperationState::Finished if certain.open.is_empty() => {
                certain.there = certain.there.take().map(|before| {
                    let after = sent.conversion.apply(&before);
                    after.unwrap_or_else(|| panic!("{id} is done to what is not there: {before}"))
                });
            }
            OperationState::Finished | OperationState::GoneByOperator => certain.there = None,
            // Nothing has changed.
            OperationState::Pending
            | OperationState::Failed
            | OperationState::Error
            | OperationState::Dropped
            | OperationState::Unreachable
            | OperationState::Unknown => {}
        }
    }

    /// The accept was not carried out.
    pub(crate) fn operations_refused(&mut self, index: usize, request: RequestId) {
        let operations = self.drivers[index].operations.requests.remove(&request);
        for id in operations.unwrap_or_default() {
            self.operation_concluded(index, &id, OperationState::Dropped);
        }
    }

    /// A framework asks for what it has heard nothing of.
    pub(crate) fn driver_reconciles_operations(&mut self, index: usize) {
        let waiting = self.drivers[index].operations.waiting.iter();
        let operations: Vec<OperationQuery> = waiting
            .map(|(id, (agent, _))| OperationQuery { id: id.clone(), agent: *agent })
            .collect();
        if !operations.is_empty() {
            self.call(index, Call::ReconcileOperations { operations }, None);
        }
    }

    pub(crate) fn driver_acknowledges_operation(
        &mut self,
        index: usize,
        id: OperationId,
        agent: AgentId,
        uuid: OperationUuid,
    ) {
        self.call(index, Call::AcknowledgeOperation { id, agent, uuid }, None);
    }

    /// Operators give everybody back what is reserved, as far as no task has it.
    pub fn unreserve_all(&mut self) {
        let Some(view) = self.master_view() else { return };
        for row in view.agents.iter().filter(|row| row.connected) {
            let unused = row.resources.saturating_sub(&row.used);
            let volumes = unused.filter(is_volume);
            let resources = unused.filter(|it| is_dynamic(it) && !is_volume(it));
            let operation = match (volumes.is_empty(), resources.is_empty()) {
                (false, _) => Operation::Destroy { volumes },
                (true, false) => Operation::Unreserve { resources },
                (true, true) => continue,
            };
            let node = self.node_of(row.agent_id);
            for ((of, _), certain) in &mut self.oracle.reservations {
                if Some(*of) == node {
                    // What is under way there may come before or after.
                    certain.there = None;
                }
            }
            self.operate(OperatorCall::Operate { agent: row.agent_id, operation });
        }
    }

    /// Who has something reserved, if anybody has.
    pub fn still_reserved(&self) -> Option<String> {
        self.nodes.iter().enumerate().find_map(|(index, node)| {
            let converted = &node.disk.operations.converted;
            (!converted.is_empty()).then(|| format!("n{index} has {converted} reserved"))
        })
    }
}

fn is_volume(resource: &Resource) -> bool {
    resource.metadata().is_volume()
}

fn is_dynamic(resource: &Resource) -> bool {
    let reservation = resource.metadata().reservation.as_ref();
    reservation.is_some_and(|it| it.kind() == ReservationKind::Dynamic)
}

fn volume_of(disk: &Resource, label: &str) -> Option<Resource> {
    let reservation = disk.metadata().reservation.as_ref()?;
    let principal = reservation.principal().to_owned();
    let (id, container_path) = (label.to_owned(), "data".to_owned());
    Volume { id, container_path, principal }.of(disk.amount()?, reservation).ok()
}
