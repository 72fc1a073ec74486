//! Examples of what is said of operations.

use meshos_protocol::{
    ids::{AgentId, FrameworkId, NodeId, OperationId, OperationUuid, Term},
    messages::{
        agent::{ToAgent, ToLeader},
        scheduler::{Call, Event},
    },
    operation::{
        OperationQuery, OperationReport, OperationRequest, OperationState, OperationStatus,
    },
    resources::Resources,
};

use super::{
    resources,
    samples::{Target, target},
};

fn id() -> OperationId {
    OperationId::new("reserve 1").expect("a good id")
}

fn uuid() -> OperationUuid {
    OperationUuid { term: Term(5), number: 7 }
}

fn agent() -> AgentId {
    AgentId::new(NodeId::from_bits(11), 2)
}

pub(crate) fn requests() -> Vec<OperationRequest> {
    let request = |operation| OperationRequest { id: Some(id()), operation };
    resources::operations().into_iter().map(request).collect()
}

pub(crate) fn reports() -> Vec<OperationReport> {
    let report = |state| OperationReport {
        uuid: uuid(),
        framework: Some(FrameworkId(12)),
        id: Some(id()),
        state,
        message: "because".into(),
    };
    OperationState::ALL.into_iter().map(report).collect()
}

fn statuses() -> Vec<OperationStatus> {
    let status = |state| OperationStatus {
        id: id(),
        state,
        message: "because".into(),
        agent: Some(agent()),
        uuid: Some(uuid()),
    };
    OperationState::ALL.into_iter().map(status).collect()
}

fn query() -> OperationQuery {
    OperationQuery { id: id(), agent: agent() }
}

pub(crate) fn to_leader() -> Vec<ToLeader> {
    let resources: Resources = "cpus:1".parse().expect("good resources");
    let told = |report: OperationReport| {
        let judged = Some(report.uuid);
        ToLeader::Operation { report, resources: resources.clone(), judged }
    };
    reports().into_iter().map(told).collect()
}

pub(crate) fn to_agent() -> Vec<ToAgent> {
    let operate = |operation| ToAgent::Operate {
        uuid: uuid(),
        framework: Some(FrameworkId(12)),
        id: Some(id()),
        operation: Box::new(operation),
    };
    let operations = resources::operations().into_iter().map(operate);
    operations.chain([ToAgent::SettleOperation { uuid: uuid() }]).collect()
}

pub(crate) fn calls() -> Vec<Call> {
    vec![
        Call::AcknowledgeOperation { id: id(), agent: agent(), uuid: uuid() },
        Call::ReconcileOperations { operations: vec![query()] },
    ]
}

pub(crate) fn events() -> Vec<Event> {
    statuses().into_iter().map(|status| Event::OperationStatus { status }).collect()
}

pub(crate) fn targets() -> Vec<Target> {
    vec![
        target([id()]),
        target([uuid()]),
        target(OperationState::ALL.into_iter().chain([OperationState::Unknown])),
        target(requests()),
        target(reports()),
        target(statuses()),
        target([query()]),
    ]
}
