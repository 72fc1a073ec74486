//! The whole cluster, as Mesos's master tells of it.

use std::collections::{BTreeMap, BTreeSet};

use meshos_control::master::{AgentView, FrameworkView, TaskView};
use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    task::TaskState,
    time::Wall,
    wishes::FaultDomain,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    agents::{self, expected, taking_part},
    frameworks::{FrameworkRow, completed, running},
    picture::{Of, Picture},
    rows::{DomainRow, Rows, domain, seconds, state_name},
};
use crate::convert::{event::MESOS_VERSION, ids, offer::Place};

/// What a build says of itself. Of this one nothing is known but the release of Mesos whose API it has.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Build {
    version: &'static str,
    build_date: &'static str,
    build_time: f64,
    build_user: &'static str,
}

impl Build {
    /// This one.
    pub const THIS: Self =
        Self { version: MESOS_VERSION, build_date: "", build_time: 0.0, build_user: "" };
}

/// What the leader's node says of itself.
#[derive(Debug)]
pub struct Master<'a> {
    /// Where its HTTP server listens.
    pub place: Place,
    /// Its host name, for people.
    pub hostname: &'a str,
    /// Where it stands.
    pub domain: Option<&'a FaultDomain>,
    /// When its process started.
    pub started_at: Wall,
    /// How it was started.
    pub flags: &'a BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct LeaderRow<'a> {
    id: String,
    pid: String,
    port: u16,
    hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<DomainRow<'a>>,
}

#[derive(Serialize)]
struct State<'a, S, W, R, C> {
    #[serde(flatten)]
    build: Build,
    start_time: f64,
    elected_time: f64,
    id: String,
    pid: String,
    hostname: &'a str,
    capabilities: [&'static str; 0],
    activated_slaves: usize,
    deactivated_slaves: usize,
    unreachable_slaves: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<DomainRow<'a>>,
    leader: String,
    leader_info: LeaderRow<'a>,
    flags: &'a BTreeMap<&'static str, String>,
    slaves: S,
    recovered_slaves: W,
    frameworks: R,
    completed_frameworks: C,
    orphan_tasks: [(); 0],
    unregistered_frameworks: [(); 0],
}

/// `/state`.
pub fn state<'a>(picture: &'a Picture<'_>, master: &'a Master<'_>) -> impl Serialize + 'a {
    let view = picture.view;
    let pid = format!("master@{}", master.place.host_port());
    let id = ids::master(view.fence.cluster, view.fence.term);
    State {
        build: Build::THIS,
        start_time: seconds(master.started_at),
        elected_time: seconds(view.led_since),
        id: id.clone(),
        pid: pid.clone(),
        hostname: master.hostname,
        capabilities: [],
        activated_slaves: picture.registered().filter(|it| agents::is_active(it)).count(),
        deactivated_slaves: picture.registered().filter(|it| !agents::is_active(it)).count(),
        unreachable_slaves: picture.unreachable(),
        domain: domain(master.domain),
        leader: pid.clone(),
        leader_info: LeaderRow {
            id,
            pid,
            port: master.place.port,
            hostname: &master.place.hostname,
            domain: domain(master.domain),
        },
        flags: master.flags,
        slaves: taking_part(picture),
        recovered_slaves: expected(picture),
        frameworks: running(picture, None),
        completed_frameworks: completed(picture, None),
        orphan_tasks: [],
        unregistered_frameworks: [],
    }
}

/// The states that are counted.
const COUNTED: [TaskState; 10] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Killed,
    TaskState::Failed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Unreachable,
];

/// How many tasks are in which state.
#[derive(Debug, Clone, Copy, Default)]
struct Counts([usize; COUNTED.len()]);

impl Counts {
    fn add(&mut self, state: TaskState) {
        // Others are ways to be lost.
        let counted = |state| COUNTED.iter().position(|counted| *counted == state);
        if let Some(place) = counted(state).or_else(|| counted(state.without_partitions())) {
            self.0[place] += 1;
        }
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COUNTED.len()))?;
        for (state, count) in COUNTED.iter().zip(self.0) {
            map.serialize_entry(state_name(*state), &count)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Summary<'a, S, F> {
    hostname: &'a str,
    slaves: S,
    frameworks: F,
}

#[derive(Serialize)]
struct AgentSummary<R> {
    #[serde(flatten)]
    row: R,
    #[serde(flatten)]
    counts: Counts,
    framework_ids: Vec<String>,
}

#[derive(Serialize)]
struct FrameworkSummary<'a> {
    #[serde(flatten)]
    row: FrameworkRow<'a>,
    #[serde(flatten)]
    counts: Counts,
    slave_ids: Vec<String>,
}

/// What tasks come to, by agent.
#[derive(Default)]
struct OfAgent {
    counts: Counts,
    frameworks: BTreeSet<FrameworkId>,
}

struct ByAgent(BTreeMap<AgentId, OfAgent>);

impl ByAgent {
    fn of(picture: &Picture<'_>) -> Self {
        let mut all: BTreeMap<AgentId, OfAgent> = BTreeMap::new();
        for task in picture.by_framework().values().flat_map(Of::tasks) {
            let of = all.entry(task.agent_id).or_default();
            of.counts.add(picture.state_of(task));
            if !task.state.is_terminal() {
                of.frameworks.insert(task.framework_id);
            }
        }
        Self(all)
    }
}

/// `/state-summary`: agents and frameworks with counts in place of tasks.
pub fn summary<'a, 'p>(
    picture: &'a Picture<'p>,
    master: &'a Master<'_>,
) -> impl Serialize + use<'a, 'p> {
    let by_agent = ByAgent::of(picture);
    let agent = move |agent: &'p AgentView| {
        let of = by_agent.0.get(&agent.agent_id);
        let frameworks = of.into_iter().flat_map(|of| &of.frameworks);
        AgentSummary {
            row: agents::row(picture, agent),
            counts: of.map(|of| of.counts).unwrap_or_default(),
            framework_ids: frameworks.map(|id| picture.framework_text(*id)).collect(),
        }
    };
    let framework = |framework: &'p FrameworkView| {
        let mut counts = Counts::default();
        let mut agents: BTreeSet<AgentId> = BTreeSet::new();
        for task in picture.of(framework.id).tasks() {
            let task: &TaskView = task;
            counts.add(picture.state_of(task));
            if !task.state.is_terminal() {
                agents.insert(task.agent_id);
            }
        }
        FrameworkSummary {
            row: FrameworkRow::of(picture, framework),
            counts,
            slave_ids: agents.into_iter().map(|id| picture.agent_text(id)).collect(),
        }
    };
    Summary {
        hostname: master.hostname,
        slaves: picture.registered().map(agent).collect::<Vec<_>>(),
        frameworks: Rows(picture.frameworks.values().copied().map(framework)),
    }
}
