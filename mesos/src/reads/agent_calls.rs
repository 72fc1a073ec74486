//! The reading half of an agent's operator API: what an agent tells of itself in Mesos's v1 messages.

use std::{collections::BTreeMap, sync::Arc};

use meshos_control::agent::{ExecutorRecord, TaskRecord};
use meshos_protocol::{
    framework::FrameworkInfo,
    ids::{ContainerId, FrameworkId},
    task::TaskState,
    time::Wall,
};

use super::{
    amounts::full,
    name_of,
    node::{Container, Node, Usage, statistics},
    operator::{self, Beside},
};
use crate::{
    convert::{
        check,
        executor::Surroundings,
        ids, labels_of, number,
        offer::{attribute, domain},
        resource, status,
    },
    schema::{self, AgentResponse, AgentResponseType as Type},
};

/// A call that an agent answers from its own picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentRead {
    /// `GET_HEALTH`.
    Health,
    /// `GET_FLAGS`.
    Flags,
    /// `GET_VERSION`.
    Version,
    /// `GET_METRICS`.
    Metrics,
    /// `GET_LOGGING_LEVEL`.
    LoggingLevel,
    /// `GET_STATE`.
    State,
    /// `GET_CONTAINERS`.
    Containers,
    /// `GET_FRAMEWORKS`.
    Frameworks,
    /// `GET_EXECUTORS`.
    Executors,
    /// `GET_OPERATIONS`.
    Operations,
    /// `GET_TASKS`.
    Tasks,
    /// `GET_AGENT`.
    Agent,
    /// `GET_RESOURCE_PROVIDERS`.
    ResourceProviders,
}

impl AgentRead {
    /// All of them with the types of their answers, whose names are those of the calls.
    const TYPES: [(Self, Type); 13] = [
        (Self::Health, Type::GetHealth),
        (Self::Flags, Type::GetFlags),
        (Self::Version, Type::GetVersion),
        (Self::Metrics, Type::GetMetrics),
        (Self::LoggingLevel, Type::GetLoggingLevel),
        (Self::State, Type::GetState),
        (Self::Containers, Type::GetContainers),
        (Self::Frameworks, Type::GetFrameworks),
        (Self::Executors, Type::GetExecutors),
        (Self::Operations, Type::GetOperations),
        (Self::Tasks, Type::GetTasks),
        (Self::Agent, Type::GetAgent),
        (Self::ResourceProviders, Type::GetResourceProviders),
    ];

    /// The call of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::TYPES.iter();
        all.find(|(_, kind)| name_of::<Type>(*kind as i32) == name).map(|(read, _)| *read)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_of::<Type>(self.answer_type() as i32)
    }

    /// Whether its answer grows with what runs on the node, or has run.
    #[must_use]
    pub const fn is_long(self) -> bool {
        match self {
            Self::Health
            | Self::Flags
            | Self::Version
            | Self::Metrics
            | Self::LoggingLevel
            | Self::Operations
            | Self::Agent
            | Self::ResourceProviders => false,
            Self::State | Self::Containers | Self::Frameworks | Self::Executors | Self::Tasks => {
                true
            }
        }
    }

    fn answer_type(self) -> Type {
        let row = Self::TYPES.iter().find(|(read, _)| *read == self);
        row.map_or(Type::Unknown, |(_, kind)| *kind)
    }
}

/// What cannot be read from an agent's picture.
#[derive(Debug)]
pub struct AgentBeside {
    /// Whether the node is well, and what it measures.
    pub node: Beside,
    /// What the containers use.
    pub usage: Arc<BTreeMap<ContainerId, Usage>>,
}

/// Answers a read.
#[must_use]
pub fn answer(read: AgentRead, node: &Node<'_>, beside: &AgentBeside) -> AgentResponse {
    let mut answer = AgentResponse::default();
    match read {
        AgentRead::Health => answer.get_health = Some(operator::health(&beside.node)),
        AgentRead::Flags => answer.get_flags = Some(operator::flags(node.flags)),
        AgentRead::Version => answer.get_version = Some(operator::version()),
        AgentRead::Metrics => answer.get_metrics = Some(operator::metrics(&beside.node)),
        AgentRead::LoggingLevel => answer.get_logging_level = Some(operator::logging_level()),
        AgentRead::State => {
            answer.get_state = Some(Box::new(schema::AgentResponseGetState {
                get_tasks: Some(tasks(node)),
                get_executors: Some(executors(node)),
                get_frameworks: Some(frameworks(node)),
            }));
        }
        AgentRead::Containers => answer.get_containers = Some(containers(node, &beside.usage)),
        AgentRead::Frameworks => answer.get_frameworks = Some(frameworks(node)),
        AgentRead::Executors => answer.get_executors = Some(executors(node)),
        AgentRead::Operations => {
            answer.get_operations = Some(schema::AgentResponseGetOperations {});
        }
        AgentRead::Tasks => answer.get_tasks = Some(tasks(node)),
        AgentRead::Agent => answer.get_agent = Some(Box::new(agent(node))),
        AgentRead::ResourceProviders => {
            answer.get_resource_providers = Some(schema::AgentResponseGetResourceProviders {});
        }
    }
    answer.set_type(read.answer_type());
    answer
}

fn agent(node: &Node<'_>) -> schema::AgentResponseGetAgent {
    let view = node.view;
    let info = schema::AgentInfo {
        hostname: Some(node.hostname.to_owned()),
        port: Some(i32::from(node.place.port)),
        resources: full(&view.resources),
        attributes: view.attributes.iter().map(attribute).collect(),
        id: view.agent.map(|agent| ids::agent(node.cluster, agent)),
        domain: node.domain.map(domain),
    };
    schema::AgentResponseGetAgent { agent_info: Some(info) }
}

fn container_id(id: &ContainerId) -> schema::ContainerId {
    schema::ContainerId { value: Some(id.as_str().to_owned()), parent: None }
}

fn executor_id(name: &str) -> schema::ExecutorId {
    schema::ExecutorId { value: Some(name.to_owned()) }
}

fn containers(
    node: &Node<'_>,
    usage: &BTreeMap<ContainerId, Usage>,
) -> schema::AgentResponseGetContainers {
    let row = |(id, of): (&ContainerId, &Container<'_>)| {
        let used = usage.get(id).map(|used| Box::new(statistics(used, &of.resources())));
        schema::AgentResponseGetContainersContainer {
            framework_id: Some(ids::framework(node.cluster, of.framework)),
            executor_id: Some(executor_id(of.name())),
            executor_name: Some(of.title()),
            container_id: Some(container_id(id)),
            container_status: Some(status::container_status(Some(&node.place))),
            resource_statistics: used,
        }
    };
    let all = node.containers();
    let all = all.values().filter_map(|of| Some((of.id()?, of)));
    schema::AgentResponseGetContainers { containers: all.map(row).collect() }
}

fn surroundings(
    node: &Node<'_>,
    framework: FrameworkId,
    known: Option<&ExecutorRecord>,
) -> Surroundings {
    Surroundings {
        cluster: node.cluster,
        framework,
        framework_info: known.and_then(|record| record.framework_info.as_deref().cloned()),
        agent: node.view.agent,
    }
}

/// Frameworks of which something runs here. What they say of themselves is told to agents with their executors alone.
fn frameworks(node: &Node<'_>) -> schema::AgentResponseGetFrameworks {
    let mut known: BTreeMap<FrameworkId, (&str, Option<FrameworkInfo>)> = BTreeMap::new();
    let containers = node.containers();
    for of in containers.values() {
        let told = surroundings(node, of.framework, of.executor).framework_info;
        let (_, info) = known.entry(of.framework).or_insert((of.user, None));
        *info = info.take().or(told);
    }
    let row =
        |(framework, (user, framework_info)): (FrameworkId, (&str, Option<FrameworkInfo>))| {
            let unknown = framework_info.is_none();
            let of = Surroundings { framework_info, ..surroundings(node, framework, None) };
            let mut info = of.write_framework();
            if unknown {
                info.user = Some(user.to_owned());
            }
            schema::AgentResponseGetFrameworksFramework { framework_info: Some(info) }
        };
    let frameworks = known.into_iter().map(row).collect();
    schema::AgentResponseGetFrameworks { frameworks, completed_frameworks: Vec::new() }
}

/// Executors, and the one that Mesos has for each task without.
fn executors(node: &Node<'_>) -> schema::AgentResponseGetExecutors {
    let row = |of: &Container<'_>| {
        let around = surroundings(node, of.framework, of.executor);
        let info = match of.executor {
            Some(record) => around.write_executor(&record.info),
            None => schema::ExecutorInfo {
                r#type: Some(schema::ExecutorInfoType::Custom.into()),
                executor_id: Some(executor_id(of.name())),
                framework_id: Some(ids::framework(node.cluster, of.framework)),
                name: Some(of.title()),
                source: Some(of.source().to_owned()),
                ..schema::ExecutorInfo::default()
            },
        };
        schema::AgentResponseGetExecutorsExecutor { executor_info: Some(info) }
    };
    let executors = node.containers().values().map(row).collect();
    schema::AgentResponseGetExecutors { executors, completed_executors: Vec::new() }
}

/// Tasks that are over stay until their end is acknowledged.
fn tasks(node: &Node<'_>) -> schema::AgentResponseGetTasks {
    let mut told = schema::AgentResponseGetTasks::default();
    for of in node.containers().values() {
        let executor = of.executor.map(|record| record.info.id.as_str());
        for record in &of.tasks {
            let list = if record.state.is_terminal() {
                &mut told.terminated_tasks
            } else {
                &mut told.launched_tasks
            };
            list.push(task(node, record, executor));
        }
    }
    told
}

fn task(node: &Node<'_>, record: &TaskRecord, executor: Option<&str>) -> schema::Task {
    let description = &record.launch.description;
    let id = schema::TaskId { value: Some(description.task_id.as_str().to_owned()) };
    let agent = node.view.agent.map(|agent| ids::agent(node.cluster, agent));
    let agent = agent.unwrap_or_else(|| schema::AgentId { value: Some(String::new()) });
    let checks = record.checks.as_ref();
    let step = |(state, at): (TaskState, Wall)| {
        let mut container = status::container_status(Some(&node.place));
        container.container_id = Some(container_id(&record.container));
        let last = state == record.state;
        schema::TaskStatus {
            task_id: Some(id.clone()),
            state: Some(status::written_state(state).into()),
            agent_id: Some(agent.clone()),
            timestamp: Some(number::seconds(at.0)),
            container_status: Some(container),
            healthy: checks.and_then(|checks| checks.healthy).filter(|_| last),
            check_status: checks
                .and_then(|checks| checks.status)
                .filter(|_| last)
                .map(check::status),
            ..schema::TaskStatus::default()
        }
    };
    schema::Task {
        name: Some(description.name.clone()),
        task_id: Some(id.clone()),
        framework_id: Some(ids::framework(node.cluster, record.framework)),
        executor_id: executor.map(executor_id),
        agent_id: Some(agent.clone()),
        state: Some(status::written_state(record.state).into()),
        resources: resource::write_all(&description.resources, &record.launch.role, false),
        statuses: Node::steps(record).map(step).collect(),
        labels: labels_of(&description.labels),
        ..schema::Task::default()
    }
}

#[cfg(test)]
mod tests;
