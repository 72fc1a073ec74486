//! Tasks.

use meshos_control::master::TaskView;
use meshos_protocol::{task::TaskState, time::Wall};
use serde::Serialize;

use super::{
    amounts::{All, all},
    picture::{Picture, is_known},
    rows::{LabelRow, Rows, labels, seconds, state_name},
};
use crate::{
    convert::{ids, status},
    schema,
};

/// A task.
#[derive(Serialize)]
pub(super) struct TaskRow<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) framework_id: String,
    /// Empty when it has none.
    pub(super) executor_id: &'a str,
    pub(super) slave_id: String,
    pub(super) state: &'static str,
    pub(super) resources: All<'a>,
    pub(super) role: &'a str,
    pub(super) statuses: Vec<StatusRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<Vec<LabelRow<'a>>>,
}

/// A step in a task's life.
#[derive(Serialize)]
pub(super) struct StatusRow {
    pub(super) state: &'static str,
    pub(super) timestamp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_status: Option<schema::ContainerStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) healthy: Option<bool>,
}

/// The steps that are known of a task: when it began to run, and its newest one, unless it has just been launched.
pub(super) fn steps(task: &TaskView) -> impl Iterator<Item = (TaskState, Wall)> {
    let started = task.started_at.map(|at| (TaskState::Running, at));
    // Of a task that is being staged nobody has told anything.
    let told = !matches!(task.state, TaskState::Staging | TaskState::Unknown);
    let is_start = task.state == TaskState::Running && started.is_some();
    let newest = (told && !is_start).then_some((task.state, task.changed_at));
    started.into_iter().chain(newest)
}

impl<'a> TaskRow<'a> {
    pub(super) fn of(picture: &Picture<'_>, task: &'a TaskView) -> Self {
        let extras = task.extras.as_deref();
        let place = picture.place_of(task.agent_id);
        let newest = picture.state_of(task);
        let row = |(state, at): (TaskState, Wall)| StatusRow {
            // The newest one in the words of its framework.
            state: state_name(if state == task.state { newest } else { state }),
            timestamp: seconds(at),
            container_status: place.as_ref().map(|place| status::container_status(Some(place))),
            healthy: task.healthy.filter(|_| state == task.state),
        };
        Self {
            id: task.id.as_str(),
            name: &task.name,
            framework_id: picture.framework_text(task.framework_id),
            executor_id: extras
                .and_then(|extras| extras.executor.as_ref())
                .map_or("", |executor| executor.as_str()),
            slave_id: picture.agent_text(task.agent_id),
            state: state_name(newest),
            resources: all(&task.resources),
            role: task.role.as_str(),
            statuses: steps(task).map(row).collect(),
            user: extras.and_then(|extras| extras.user.as_deref()),
            labels: extras.and_then(|extras| labels(&extras.labels)),
        }
    }
}

/// In which order tasks are listed, by when they were first told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    Ascending,
    /// The newest first.
    #[default]
    Descending,
}

/// Which tasks, and how many of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// Of the framework of this id alone.
    pub framework: Option<String>,
    /// With this id alone.
    pub task: Option<String>,
    /// So many at most; absent: all.
    pub limit: Option<usize>,
    /// After so many.
    pub offset: usize,
    /// In which order.
    pub order: Order,
}

#[derive(Serialize)]
struct Tasks<L: Serialize> {
    tasks: L,
}

/// `/tasks`: those that have ended too.
pub fn tasks<'a>(picture: &'a Picture<'_>, query: &TaskQuery) -> impl Serialize + 'a {
    // What is no id of this cluster is nobody's.
    let named = query.framework.as_deref();
    let framework = named.map(|text| ids::read_framework(picture.cluster(), text));
    let wanted = |task: &&TaskView| {
        framework.is_none_or(|framework| framework == Some(task.framework_id))
            && query.task.as_ref().is_none_or(|id| *id == task.id.as_str())
    };
    let live = picture.view.tasks.iter().map(AsRef::as_ref).filter(|task| is_known(task));
    let ended = picture.view.tasks_ended.iter().map(AsRef::as_ref);
    let mut found: Vec<&TaskView> = live.chain(ended).filter(wanted).collect();
    let first = |task: &TaskView| steps(task).next().map_or(Wall(0), |(_, at)| at);
    found.sort_by(|one, other| {
        let key = |task: &TaskView| (first(task), task.launched_at, task.framework_id);
        key(one).cmp(&key(other)).then_with(|| one.id.cmp(&other.id))
    });
    if query.order == Order::Descending {
        found.reverse();
    }
    let limit = query.limit.unwrap_or(usize::MAX);
    let found: Vec<&TaskView> = found.into_iter().skip(query.offset).take(limit).collect();
    Tasks { tasks: Listed { picture, found } }
}

/// Tasks that are listed beside their picture.
struct Listed<'a, 'b> {
    picture: &'a Picture<'b>,
    found: Vec<&'a TaskView>,
}

impl Serialize for Listed<'_, '_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Rows(self.found.iter().map(|task| TaskRow::of(self.picture, task))).serialize(serializer)
    }
}
