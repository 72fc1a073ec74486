//! The reading half of the operator API: the same picture in Mesos's v1 messages.

use std::collections::BTreeMap;

use meshos_control::master::{
    AgentView, FrameworkState, FrameworkView, OfferView, RoleView, TaskView,
};
use meshos_protocol::{ids::FrameworkId, task::TaskState, time::Wall};

use super::{
    Master, Picture,
    agents::{self, CAPABILITIES, pid},
    amounts::full,
    frameworks::capabilities,
    maintenance, roles,
    rows::name_of,
    tasks::steps,
};
use crate::{
    convert::{
        self, check,
        event::{self, MESOS_VERSION},
        ids, labels_of, number,
        offer::{Place, attribute, domain},
        resource, status,
    },
    schema::{self, MasterResponse, MasterResponseType as Type},
};

/// A call that is answered from the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
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
    /// `GET_AGENTS`.
    Agents,
    /// `GET_FRAMEWORKS`.
    Frameworks,
    /// `GET_EXECUTORS`.
    Executors,
    /// `GET_TASKS`.
    Tasks,
    /// `GET_ROLES`.
    Roles,
    /// `GET_WEIGHTS`.
    Weights,
    /// `GET_MASTER`.
    Master,
    /// `GET_MAINTENANCE_STATUS`.
    MaintenanceStatus,
    /// `GET_MAINTENANCE_SCHEDULE`.
    MaintenanceSchedule,
    /// `GET_QUOTA`.
    Quota,
}

impl Read {
    /// All of them with the types of their answers, whose names are those of the calls.
    const TYPES: [(Self, Type); 16] = [
        (Self::Health, Type::GetHealth),
        (Self::Flags, Type::GetFlags),
        (Self::Version, Type::GetVersion),
        (Self::Metrics, Type::GetMetrics),
        (Self::LoggingLevel, Type::GetLoggingLevel),
        (Self::State, Type::GetState),
        (Self::Agents, Type::GetAgents),
        (Self::Frameworks, Type::GetFrameworks),
        (Self::Executors, Type::GetExecutors),
        (Self::Tasks, Type::GetTasks),
        (Self::Roles, Type::GetRoles),
        (Self::Weights, Type::GetWeights),
        (Self::Master, Type::GetMaster),
        (Self::MaintenanceStatus, Type::GetMaintenanceStatus),
        (Self::MaintenanceSchedule, Type::GetMaintenanceSchedule),
        (Self::Quota, Type::GetQuota),
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

    fn answer_type(self) -> Type {
        let row = Self::TYPES.iter().find(|(read, _)| *read == self);
        row.map_or(Type::Unknown, |(_, kind)| *kind)
    }

    /// Whether its answer grows with the tasks, frameworks and agents of the cluster.
    #[must_use]
    pub const fn is_long(self) -> bool {
        matches!(
            self,
            Self::State | Self::Agents | Self::Frameworks | Self::Executors | Self::Tasks
        )
    }
}

/// What cannot be read from the picture.
#[derive(Debug)]
pub struct Beside {
    /// Whether the leader's node is well.
    pub healthy: bool,
    /// What it measures, by Mesos's names.
    pub metrics: BTreeMap<String, f64>,
}

/// Answers a read.
#[must_use]
pub fn answer(
    read: Read,
    picture: &Picture<'_>,
    master: &Master<'_>,
    beside: &Beside,
) -> MasterResponse {
    let mut answer = MasterResponse::default();
    match read {
        Read::Health => answer.get_health = Some(health(beside)),
        Read::Flags => answer.get_flags = Some(flags(master.flags)),
        Read::Version => answer.get_version = Some(version()),
        Read::Metrics => answer.get_metrics = Some(metrics(beside)),
        Read::LoggingLevel => answer.get_logging_level = Some(logging_level()),
        Read::State => answer.get_state = Some(Box::new(state(picture))),
        Read::Agents => answer.get_agents = Some(agents_of(picture)),
        Read::Frameworks => answer.get_frameworks = Some(frameworks(picture)),
        Read::Executors => answer.get_executors = Some(executors()),
        Read::Tasks => answer.get_tasks = Some(tasks(picture)),
        Read::Roles => answer.get_roles = Some(roles_of(picture)),
        Read::Weights => answer.get_weights = Some(weights(picture)),
        Read::Master => answer.get_master = Some(leader(picture, master)),
        Read::MaintenanceStatus => {
            answer.get_maintenance_status = Some(maintenance_status(picture))
        }
        Read::MaintenanceSchedule => {
            answer.get_maintenance_schedule = Some(maintenance_schedule(picture));
        }
        Read::Quota => answer.get_quota = Some(quota(picture)),
    }
    answer.set_type(read.answer_type());
    answer
}

pub(super) fn health(beside: &Beside) -> schema::ResponseGetHealth {
    schema::ResponseGetHealth { healthy: Some(beside.healthy) }
}

/// The lowest: what is logged is not changed over this API.
pub(super) const fn logging_level() -> schema::ResponseGetLoggingLevel {
    schema::ResponseGetLoggingLevel { level: Some(0) }
}

pub(super) fn state(picture: &Picture<'_>) -> schema::ResponseGetState {
    schema::ResponseGetState {
        get_tasks: Some(tasks(picture)),
        get_executors: Some(executors()),
        get_frameworks: Some(frameworks(picture)),
        get_agents: Some(agents_of(picture)),
    }
}

/// Executors are not told of.
fn executors() -> schema::ResponseGetExecutors {
    schema::ResponseGetExecutors::default()
}

fn maintenance_status(picture: &Picture<'_>) -> schema::ResponseGetMaintenanceStatus {
    schema::ResponseGetMaintenanceStatus { status: Some(maintenance::status(picture.view)) }
}

fn maintenance_schedule(picture: &Picture<'_>) -> schema::ResponseGetMaintenanceSchedule {
    schema::ResponseGetMaintenanceSchedule { schedule: Some(maintenance::schedule(picture.view)) }
}

pub(super) fn flags(flags: &BTreeMap<&'static str, String>) -> schema::ResponseGetFlags {
    let flag = |(name, value): (&&'static str, &String)| schema::Flag {
        name: Some((*name).to_owned()),
        value: Some(value.clone()),
    };
    schema::ResponseGetFlags { flags: flags.iter().map(flag).collect() }
}

pub(super) fn version() -> schema::ResponseGetVersion {
    let version = Some(MESOS_VERSION.to_owned());
    let info = schema::VersionInfo { version, ..schema::VersionInfo::default() };
    schema::ResponseGetVersion { version_info: Some(info) }
}

pub(super) fn metrics(beside: &Beside) -> schema::ResponseGetMetrics {
    let metric = |(name, value): (&String, &f64)| schema::Metric {
        name: Some(name.clone()),
        value: Some(*value),
    };
    schema::ResponseGetMetrics { metrics: beside.metrics.iter().map(metric).collect() }
}

fn leader(picture: &Picture<'_>, master: &Master<'_>) -> schema::ResponseGetMaster {
    let mut info = event::master(picture.view.fence, Some(&master.place));
    info.domain = master.domain.map(domain);
    schema::ResponseGetMaster {
        master_info: Some(info),
        start_time: Some(number::seconds(master.started_at.0)),
        elected_time: Some(number::seconds(picture.view.led_since.0)),
    }
}

fn agent_info(picture: &Picture<'_>, agent: &AgentView) -> schema::AgentInfo {
    let port = Place::read(&agent.agent_address).map(|place| i32::from(place.port));
    schema::AgentInfo {
        hostname: Some(agent.hostname.clone()),
        port: port.or(Some(5051)),
        resources: full(&agent.resources),
        attributes: agent.attributes.iter().map(attribute).collect(),
        id: Some(ids::agent(picture.cluster(), agent.agent_id)),
        domain: agent.domain.as_ref().map(domain),
    }
}

/// An agent with what it has.
pub(super) fn agent_of(picture: &Picture<'_>, agent: &AgentView) -> schema::ResponseGetAgentsAgent {
    let capability = |it: schema::AgentInfoCapabilityType| schema::AgentInfoCapability {
        r#type: Some(it.into()),
    };
    schema::ResponseGetAgentsAgent {
        agent_info: Some(agent_info(picture, agent)),
        active: Some(agents::is_active(agent)),
        deactivated: Some(agents::is_deactivated(agent)),
        version: Some(MESOS_VERSION.to_owned()),
        pid: Some(pid(&agent.agent_address)),
        registered_time: agent.registered_at.map(status::time),
        reregistered_time: agent.reregistered_at.map(status::time),
        total_resources: full(&agent.resources),
        allocated_resources: full(&agent.used),
        offered_resources: full(&agent.offered),
        capabilities: CAPABILITIES.map(capability).into(),
        drain_info: agents::drain_info(agent),
        estimated_drain_start_time: agent.drain.as_ref().map(|drain| status::time(drain.since)),
    }
}

fn agents_of(picture: &Picture<'_>) -> schema::ResponseGetAgents {
    schema::ResponseGetAgents {
        agents: picture.registered().map(|agent| agent_of(picture, agent)).collect(),
        recovered_agents: picture.awaited().map(|agent| agent_info(picture, agent)).collect(),
    }
}

pub(super) fn framework_info(
    picture: &Picture<'_>,
    framework: &FrameworkView,
) -> schema::FrameworkInfo {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let capability = |it: schema::FrameworkInfoCapabilityType| schema::FrameworkInfoCapability {
        r#type: Some(it.into()),
    };
    let capabilities = capabilities(framework.details.capabilities).into_iter();
    schema::FrameworkInfo {
        user: Some(framework.user.clone()),
        name: Some(framework.name.clone()),
        id: Some(ids::framework(picture.cluster(), framework.id)),
        failover_timeout: Some(number::seconds(framework.failover_timeout_ms)),
        checkpoint: Some(true),
        role: None,
        roles: framework.roles.iter().map(|role| role.as_str().to_owned()).collect(),
        hostname: text(&framework.hostname),
        principal: text(framework.principal.as_str()),
        webui_url: text(&framework.webui_url),
        capabilities: capabilities.map(capability).collect(),
        labels: labels_of(&framework.details.labels),
        offer_filters: BTreeMap::new(),
    }
}

fn offer(picture: &Picture<'_>, offer: &OfferView) -> schema::Offer {
    let agent = picture.agents.get(&offer.agent_id);
    schema::Offer {
        id: Some(ids::offer(picture.cluster(), offer.id)),
        framework_id: Some(ids::framework(picture.cluster(), offer.framework_id)),
        agent_id: Some(ids::agent(picture.cluster(), offer.agent_id)),
        hostname: Some(agent.map(|agent| agent.hostname.clone()).unwrap_or_default()),
        domain: offer.domain.as_ref().map(domain),
        resources: resource::write_all(&offer.resources, &offer.role, false),
        attributes: agent
            .map(|agent| agent.attributes.iter().map(attribute).collect())
            .unwrap_or_default(),
        unavailability: offer.unavailability.map(convert::maintenance::unavailability),
        allocation_info: resource::allocated_to(&offer.role),
        ..schema::Offer::default()
    }
}

pub(super) fn framework(
    picture: &Picture<'_>,
    framework: &FrameworkView,
) -> schema::ResponseGetFrameworksFramework {
    let offers = &picture.of(framework.id).offers;
    let connected = framework.state == FrameworkState::Subscribed;
    let recovered = framework.registered_at.is_none() && framework.state != FrameworkState::Closed;
    let offered =
        offers.iter().flat_map(|offer| resource::write_all(&offer.resources, &offer.role, false));
    schema::ResponseGetFrameworksFramework {
        framework_info: Some(framework_info(picture, framework)),
        active: Some(connected),
        connected: Some(connected),
        recovered: Some(recovered),
        registered_time: framework.registered_at.map(status::time),
        reregistered_time: framework.reregistered_at.map(status::time),
        unregistered_time: framework.closed_at.map(status::time),
        offers: offers.iter().map(|it| offer(picture, it)).collect(),
        inverse_offers: maintenance::open_of(picture, framework.id),
        allocated_resources: full(&framework.used),
        offered_resources: offered.collect(),
    }
}

fn frameworks(picture: &Picture<'_>) -> schema::ResponseGetFrameworks {
    let closed = picture.view.frameworks_closed.iter();
    schema::ResponseGetFrameworks {
        frameworks: picture.frameworks.values().map(|it| framework(picture, it)).collect(),
        completed_frameworks: closed.map(|it| framework(picture, it)).collect(),
        recovered_frameworks: Vec::new(),
    }
}

pub(super) fn task(picture: &Picture<'_>, task: &TaskView) -> schema::Task {
    let cluster = picture.cluster();
    let extras = task.extras.as_deref();
    let newest = picture.state_of(task);
    let named = |state: TaskState| if state == task.state { newest } else { state };
    let id = schema::TaskId { value: Some(task.id.as_str().to_owned()) };
    let executor = extras.and_then(|extras| extras.executor.as_ref());
    let step = |(state, at): (TaskState, Wall)| {
        let last = state == task.state;
        let place = picture.place_of(task.agent_id);
        schema::TaskStatus {
            task_id: Some(id.clone()),
            state: Some(status::written_state(named(state)).into()),
            message: (last && !task.message.is_empty()).then(|| task.message.to_string()),
            reason: task.reason.filter(|_| last).and_then(status::reason).map(Into::into),
            agent_id: Some(ids::agent(cluster, task.agent_id)),
            timestamp: Some(number::seconds(at.0)),
            container_status: place.map(|place| status::container_status(Some(&place))),
            healthy: task.healthy.filter(|_| last),
            check_status: task.check_status.filter(|_| last).map(check::status),
            ..schema::TaskStatus::default()
        }
    };
    schema::Task {
        name: Some(task.name.clone()),
        task_id: Some(id.clone()),
        framework_id: Some(ids::framework(cluster, task.framework_id)),
        executor_id: executor
            .map(|executor| schema::ExecutorId { value: Some(executor.as_str().to_owned()) }),
        agent_id: Some(ids::agent(cluster, task.agent_id)),
        state: Some(status::written_state(newest).into()),
        resources: resource::write_all(&task.resources, &task.role, false),
        statuses: steps(task).map(step).collect(),
        labels: extras.and_then(|extras| labels_of(&extras.labels)),
        user: extras.and_then(|extras| extras.user.clone()),
        ..schema::Task::default()
    }
}

fn tasks(picture: &Picture<'_>) -> schema::ResponseGetTasks {
    let of = || picture.by_framework().values();
    schema::ResponseGetTasks {
        tasks: of().flat_map(|of| &of.live).map(|it| task(picture, it)).collect(),
        unreachable_tasks: of()
            .flat_map(|of| &of.unreachable)
            .map(|it| task(picture, it))
            .collect(),
        completed_tasks: of().flat_map(|of| &of.ended).map(|it| task(picture, it)).collect(),
        ..schema::ResponseGetTasks::default()
    }
}

fn roles_of(picture: &Picture<'_>) -> schema::ResponseGetRoles {
    let shown = |facts: roles::RoleFacts<'_>| {
        let id = |id: &FrameworkId| ids::framework(picture.cluster(), *id);
        schema::Role {
            name: Some(facts.role.as_str().to_owned()),
            weight: Some(roles::weight(facts.view)),
            frameworks: facts.frameworks.iter().map(id).collect(),
            resources: full(&(facts.allocated + &facts.offered)),
        }
    };
    schema::ResponseGetRoles { roles: roles::facts(picture).into_iter().map(shown).collect() }
}

fn weights(picture: &Picture<'_>) -> schema::ResponseGetWeights {
    let info = |view: &RoleView| schema::WeightInfo {
        weight: Some(roles::weight(Some(view))),
        role: Some(view.role.as_str().to_owned()),
    };
    schema::ResponseGetWeights { weight_infos: roles::weighted(picture).map(info).collect() }
}

fn quota(picture: &Picture<'_>) -> schema::ResponseGetQuota {
    let role = |view: &RoleView| Some(view.role.as_str().to_owned());
    let infos = roles::limited(picture).map(|view| schema::QuotaInfo {
        role: role(view),
        principal: None,
        guarantee: full(&roles::resources(&view.guarantee)),
    });
    let configs = roles::limited(picture).map(|view| schema::QuotaConfig {
        role: role(view),
        guarantees: roles::scalars(view.guarantee.iter()),
        limits: roles::scalars(view.limit.iter().map(|(name, amount)| (name, *amount))),
    });
    let status = schema::QuotaStatus { infos: infos.collect(), configs: configs.collect() };
    schema::ResponseGetQuota { status: Some(status) }
}
