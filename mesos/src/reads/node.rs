//! One node's agent, as Mesos's agents tell of themselves.

use std::collections::BTreeMap;

use meshos_control::agent::{ExecutorRecord, TaskRecord, View};
use meshos_protocol::{
    ids::{ClusterId, ContainerId, FrameworkId, TaskId},
    resources::{Amount, ResourceName, Resources},
    task::{CommandLine, TaskState},
    time::Wall,
    wishes::FaultDomain,
};
use serde::Serialize;

use super::{
    agents::{capability_names, pid},
    amounts::{All, Reserved, ReservedFull, all, unreserved, unreserved_full},
    files::{Run, SandboxPath},
    frameworks::Owned,
    master::Build,
    rows::{AttributeRows, DomainRow, LabelRow, domain, labels, seconds, state_name},
    tasks::{StatusRow, TaskRow},
};
use crate::{
    convert::{ids, number, offer::Place, status},
    schema,
};

/// The most of a command that names its executor, in characters.
const COMMAND_CHARS_MAX: usize = 60;

/// What a node says of itself and of its agent.
pub struct Node<'a> {
    /// Its agent.
    pub view: &'a View,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Where its agent's HTTP server listens.
    pub place: Place,
    /// Its host name, for people.
    pub hostname: &'a str,
    /// Where it stands.
    pub domain: Option<&'a FaultDomain>,
    /// When its process started.
    pub started_at: Wall,
    /// The leader's host, if one is known.
    pub leader: Option<String>,
    /// How it was started.
    pub flags: &'a BTreeMap<&'static str, String>,
    /// Sandboxes that are there, the newest first; those of what runs may be among them.
    pub sandboxes: &'a [Sandbox],
}

/// What is left of a container that was started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sandbox {
    /// Whose it was.
    pub framework: FrameworkId,
    /// Its executor, or the task that has none.
    pub name: TaskId,
    /// The container.
    pub container: ContainerId,
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Node").field("place", &self.place).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct State<'a, F, A> {
    #[serde(flatten)]
    build: Build,
    start_time: f64,
    id: String,
    pid: String,
    hostname: &'a str,
    capabilities: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<DomainRow<'a>>,
    resources: All<'a>,
    reserved_resources: Reserved<'a>,
    unreserved_resources: F,
    reserved_resources_full: ReservedFull<'a>,
    unreserved_resources_full: Vec<schema::Resource>,
    reserved_resources_allocated: Reserved<'a>,
    unreserved_resources_allocated: A,
    resource_providers: [(); 0],
    attributes: AttributeRows<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_hostname: Option<&'a str>,
    flags: &'a BTreeMap<&'static str, String>,
    frameworks: Vec<FrameworkRow<'a>>,
    completed_frameworks: Vec<FrameworkRow<'a>>,
}

/// What an agent knows of a framework.
#[derive(Serialize)]
struct FrameworkRow<'a> {
    id: String,
    /// The agent is not told what it is called.
    name: &'static str,
    user: &'a str,
    failover_timeout: f64,
    checkpoint: bool,
    hostname: &'static str,
    roles: Vec<&'a str>,
    executors: Vec<ExecutorRow<'a>>,
    completed_executors: Vec<ExecutorRow<'a>>,
}

#[derive(Serialize)]
struct ExecutorRow<'a> {
    id: &'a str,
    name: String,
    source: &'a str,
    container: &'a str,
    directory: String,
    resources: Owned,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<LabelRow<'a>>>,
    r#type: &'static str,
    tasks: Vec<TaskRow<'a>>,
    queued_tasks: [(); 0],
    completed_tasks: [(); 0],
}

/// A container and what runs in it: an executor, or the task that has none.
pub(super) struct Container<'a> {
    pub(super) framework: FrameworkId,
    pub(super) user: &'a str,
    pub(super) executor: Option<&'a ExecutorRecord>,
    pub(super) tasks: Vec<&'a TaskRecord>,
}

impl<'a> Container<'a> {
    pub(super) fn id(&self) -> Option<&'a ContainerId> {
        let of_task = || self.tasks.first().map(|task| &task.container);
        self.executor.map(|executor| &executor.container).or_else(of_task)
    }

    pub(super) fn name(&self) -> &'a str {
        let of_task = || self.tasks.first().map(|task| task.launch.description.task_id.as_str());
        self.executor.map(|it| it.info.id.as_str()).or_else(of_task).unwrap_or_default()
    }

    pub(super) fn source(&self) -> &'a str {
        self.executor.map_or_else(|| self.name(), |executor| &executor.info.source)
    }

    pub(super) fn title(&self) -> String {
        if let Some(executor) = self.executor {
            return executor.info.name.clone();
        }
        let line = self.tasks.first().map(|task| &task.launch.description.command.line);
        let line = match line {
            Some(CommandLine::Shell { line }) => line.as_str(),
            Some(CommandLine::Exec { program, .. }) => program.as_str(),
            Some(CommandLine::Unknown) | None => "",
        };
        let line: String = line.chars().take(COMMAND_CHARS_MAX).collect();
        format!("Command Executor (Task: {}) (Command: {line})", self.name())
    }

    /// What it holds: an executor's own, and that of the tasks that are not over.
    pub(super) fn resources(&self) -> Resources {
        let own = self.executor.map(|executor| executor.resources.clone()).unwrap_or_default();
        let live = self.tasks.iter().filter(|task| !task.state.is_terminal());
        live.fold(own, |sum, task| sum + &task.launch.description.resources)
    }

    fn role(&self) -> &'a str {
        let of_task = || self.tasks.first().map(|task| &task.launch.role);
        let role = self.executor.map(|executor| &executor.role).or_else(of_task);
        role.map(|role| role.as_str()).unwrap_or_default()
    }
}

type Containers<'a> = BTreeMap<(FrameworkId, &'a str), Container<'a>>;

fn containers(view: &View) -> Containers<'_> {
    let mut all = Containers::new();
    for executor in &view.executors {
        let record = executor.record.as_ref();
        let of = Container {
            framework: record.framework,
            user: &record.user,
            executor: Some(record),
            tasks: Vec::new(),
        };
        all.insert((record.framework, record.container.as_str()), of);
    }
    for task in &view.tasks {
        let record = task.record.as_ref();
        let of = all.entry((record.framework, record.container.as_str()));
        let of = of.or_insert_with(|| Container {
            framework: record.framework,
            user: &record.user,
            executor: None,
            tasks: Vec::new(),
        });
        of.tasks.push(record);
    }
    all
}

impl Node<'_> {
    /// What there is in containers here, by framework and container.
    pub(super) fn containers(&self) -> Containers<'_> {
        containers(self.view)
    }

    /// The steps that an agent knows of a task: when it began to run, and its newest one that nobody has acknowledged.
    pub(super) fn steps(record: &TaskRecord) -> impl Iterator<Item = (TaskState, Wall)> {
        let started = record.started_at.map(|at| (TaskState::Running, at));
        let newest = record.unacknowledged.last().map(|last| (last.state, last.at));
        let newest = newest.filter(|(state, _)| started.is_none() || *state != TaskState::Running);
        started.into_iter().chain(newest)
    }

    fn agent_text(&self) -> String {
        let agent = self.view.agent.map(|agent| ids::agent(self.cluster, agent));
        agent.and_then(|agent| agent.value).unwrap_or_default()
    }

    /// The path by which the sandbox is read.
    fn directory(&self, framework: FrameworkId, name: &TaskId, container: &ContainerId) -> String {
        let run = Run::Container(container.clone());
        let (agent, name, within) = (self.view.agent, name.clone(), String::new());
        SandboxPath { agent, framework, name, run, within }.text(self.cluster)
    }

    fn framework_text(&self, id: FrameworkId) -> String {
        ids::framework(self.cluster, id).value.unwrap_or_default()
    }

    fn task<'a>(&self, record: &'a TaskRecord, executor: &'a str) -> TaskRow<'a> {
        let description = &record.launch.description;
        let healthy = record.checks.as_ref().and_then(|checks| checks.healthy);
        let status = |(state, at): (TaskState, Wall)| {
            let mut container = status::container_status(Some(&self.place));
            container.container_id = Some(schema::ContainerId {
                value: Some(record.container.as_str().to_owned()),
                parent: None,
            });
            StatusRow {
                state: state_name(state),
                timestamp: seconds(at),
                container_status: Some(container),
                healthy: healthy.filter(|_| state == record.state),
            }
        };
        TaskRow {
            id: description.task_id.as_str(),
            name: &description.name,
            framework_id: self.framework_text(record.framework),
            executor_id: executor,
            slave_id: self.agent_text(),
            state: state_name(record.state),
            resources: all(&description.resources),
            role: record.launch.role.as_str(),
            statuses: Self::steps(record).map(status).collect(),
            user: None,
            labels: labels(&description.labels),
        }
    }

    fn executor<'a>(&self, of: &Container<'a>) -> ExecutorRow<'a> {
        let container = of.id();
        let own = of.executor.map(|executor| executor.info.id.as_str());
        let name = TaskId::new(of.name()).ok();
        let directory =
            container.zip(name).map(|(id, name)| self.directory(of.framework, &name, id));
        ExecutorRow {
            id: of.name(),
            name: of.title(),
            source: of.source(),
            container: container.map(|id| id.as_str()).unwrap_or_default(),
            directory: directory.unwrap_or_default(),
            resources: Owned(of.resources()),
            role: of.role(),
            labels: of.executor.and_then(|executor| labels(&executor.info.labels)),
            r#type: "CUSTOM",
            tasks: of.tasks.iter().map(|task| self.task(task, own.unwrap_or_default())).collect(),
            queued_tasks: [],
            completed_tasks: [],
        }
    }

    /// An executor of which nothing is left but its sandbox.
    fn ended<'a>(&self, of: &'a Sandbox) -> ExecutorRow<'a> {
        ExecutorRow {
            id: of.name.as_str(),
            name: String::new(),
            source: of.name.as_str(),
            container: of.container.as_str(),
            directory: self.directory(of.framework, &of.name, &of.container),
            resources: Owned(Resources::default()),
            role: "",
            labels: None,
            r#type: "CUSTOM",
            tasks: Vec::new(),
            queued_tasks: [],
            completed_tasks: [],
        }
    }

    fn framework<'a>(&self, id: FrameworkId, user: &'a str) -> FrameworkRow<'a> {
        FrameworkRow {
            id: self.framework_text(id),
            name: "",
            user,
            failover_timeout: 0.0,
            checkpoint: true,
            hostname: "",
            roles: Vec::new(),
            executors: Vec::new(),
            completed_executors: Vec::new(),
        }
    }

    /// Frameworks of which something runs here, and those of which only sandboxes are left.
    fn frameworks(&self) -> (Vec<FrameworkRow<'_>>, Vec<FrameworkRow<'_>>) {
        let mut rows: BTreeMap<FrameworkId, FrameworkRow<'_>> = BTreeMap::new();
        let mut over: BTreeMap<FrameworkId, FrameworkRow<'_>> = BTreeMap::new();
        let containers = containers(self.view);
        for of in containers.values() {
            let row =
                rows.entry(of.framework).or_insert_with(|| self.framework(of.framework, of.user));
            if !row.roles.contains(&of.role()) {
                row.roles.push(of.role());
            }
            row.executors.push(self.executor(of));
        }
        for sandbox in self.sandboxes {
            let id = sandbox.framework;
            if containers.contains_key(&(id, sandbox.container.as_str())) {
                continue;
            }
            let row = match rows.get_mut(&id) {
                Some(row) => row,
                None => over.entry(id).or_insert_with(|| self.framework(id, "")),
            };
            row.completed_executors.push(self.ended(sandbox));
        }
        (rows.into_values().collect(), over.into_values().collect())
    }

    /// `/state` of the agent.
    pub fn state(&self) -> impl Serialize + '_ {
        let view = self.view;
        let (frameworks, completed_frameworks) = self.frameworks();
        State {
            build: Build::THIS,
            start_time: seconds(self.started_at),
            id: self.agent_text(),
            pid: pid(&self.place.host_port()),
            hostname: self.hostname,
            capabilities: capability_names(),
            domain: domain(self.domain),
            resources: all(&view.resources),
            reserved_resources: Reserved(&view.resources),
            unreserved_resources: unreserved(&view.resources),
            reserved_resources_full: ReservedFull(&view.resources),
            unreserved_resources_full: unreserved_full(&view.resources),
            reserved_resources_allocated: Reserved(&view.used),
            unreserved_resources_allocated: unreserved(&view.used),
            resource_providers: [],
            attributes: AttributeRows(&view.attributes),
            master_hostname: self.leader.as_deref(),
            flags: self.flags,
            frameworks,
            completed_frameworks,
        }
    }

    /// The containers that run: `/monitor/statistics`, and `/containers` with their status too. `usage` says what each uses.
    pub fn statistics<'a>(
        &'a self,
        usage: &'a BTreeMap<ContainerId, Usage>,
        with_status: bool,
        only: &ContainerQuery,
    ) -> impl Serialize + use<> {
        let mut rows = Vec::new();
        for of in containers(self.view).values() {
            let Some(id) = of.id() else { continue };
            if !only.asks_for(id.as_str(), &self.framework_text(of.framework), of.name()) {
                continue;
            }
            let Some(used) = usage.get(id) else { continue };
            rows.push(ContainerRow {
                executor_id: of.name().to_owned(),
                executor_name: of.title(),
                framework_id: self.framework_text(of.framework),
                source: of.source().to_owned(),
                container_id: with_status.then(|| id.as_str().to_owned()),
                status: with_status.then(|| status::container_status(Some(&self.place))),
                statistics: statistics(used, &of.resources()),
            });
        }
        rows
    }
}

/// Which containers are asked for: all, but for what is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerQuery {
    /// The container.
    pub container: Option<String>,
    /// Its framework.
    pub framework: Option<String>,
    /// Its executor.
    pub executor: Option<String>,
}

impl ContainerQuery {
    fn asks_for(&self, container: &str, framework: &str, executor: &str) -> bool {
        let is = |wanted: &Option<String>, it| wanted.as_deref().is_none_or(|wanted| wanted == it);
        is(&self.container, container)
            && is(&self.framework, framework)
            && is(&self.executor, executor)
    }
}

/// The containers that run.
pub fn running(view: &View) -> impl Iterator<Item = ContainerId> + '_ {
    let tasks = view.tasks.iter().filter(|task| task.pid.is_some());
    let of_tasks = tasks.map(|task| task.record.container.clone());
    let of_executors = view.executors.iter().filter(|executor| executor.subscribed);
    of_tasks.chain(of_executors.map(|executor| executor.record.container.clone()))
}

/// What a container uses; absent what its isolators cannot tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// When it was looked at.
    pub at: Wall,
    /// Processor time in user mode, in microseconds.
    pub cpu_user_us: Option<u64>,
    /// Processor time in the kernel, in microseconds.
    pub cpu_system_us: Option<u64>,
    /// Periods in which it was held back by its quota.
    pub cpu_throttled_periods: Option<u64>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// The limit on it, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Processes, and threads where they are counted.
    pub processes: Option<u64>,
}

#[derive(Serialize)]
struct ContainerRow {
    executor_id: String,
    executor_name: String,
    framework_id: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<schema::ContainerStatus>,
    statistics: schema::ResourceStatistics,
}

/// What a container uses. What it may use is what it was given; what is not known is left out.
pub(super) fn statistics(usage: &Usage, given: &Resources) -> schema::ResourceStatistics {
    // To the millisecond, as all times here.
    let seconds = |us: Option<u64>| us.map(|us| number::seconds(us / 1_000));
    let bytes = |name| megabytes(given.amount_of(&name));
    let short = |count: Option<u64>| count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let disk = bytes(ResourceName::Disk);
    schema::ResourceStatistics {
        timestamp: Some(number::seconds(usage.at.0)),
        processes: short(usage.processes),
        cpus_user_time_secs: seconds(usage.cpu_user_us),
        cpus_system_time_secs: seconds(usage.cpu_system_us),
        cpus_limit: Some(number::double(given.cpus())),
        cpus_nr_throttled: short(usage.cpu_throttled_periods),
        mem_total_bytes: usage.memory_bytes,
        mem_limit_bytes: usage.memory_limit_bytes.or_else(|| Some(bytes(ResourceName::Mem))),
        mem_rss_bytes: usage.memory_bytes,
        disk_limit_bytes: (disk > 0).then_some(disk),
    }
}

/// Megabytes in bytes.
fn megabytes(amount: Amount) -> u64 {
    let millis = u64::try_from(amount.millis()).unwrap_or(0);
    (millis / 1_000).saturating_mul(1 << 20)
}

#[cfg(test)]
pub(super) mod tests;
