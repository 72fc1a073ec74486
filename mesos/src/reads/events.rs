//! The operator API's events: what differs between one picture and a later one of the same term.
//!
//! Whoever reads slowly is told of several changes at once: of a task the newest state, and that it ran in between. No events are
//! kept for anybody, only the picture that a reader has seen.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use meshos_control::master::{FrameworkView, TaskView, View};
use meshos_protocol::{
    ids::{AgentId, FrameworkId, TaskId},
    task::TaskState,
    time::Wall,
};

use super::{
    Picture,
    operator::{agent_of, framework, framework_info, state, task},
    picture::is_known,
};
use crate::{
    convert::{ids, status},
    schema::{self, MasterEvent, MasterEventType as Type},
};

/// How often a heartbeat comes, in seconds, as in Mesos.
pub const HEARTBEAT_S: f64 = 15.0;

/// How a task is known: its framework gives no id twice to what has not ended.
type Key<'a> = (FrameworkId, &'a TaskId);

fn of(kind: Type) -> MasterEvent {
    MasterEvent { r#type: Some(kind.into()), ..MasterEvent::default() }
}

/// The stream is alive.
#[must_use]
pub fn heartbeat() -> MasterEvent {
    of(Type::Heartbeat)
}

/// The first event: all that there is.
#[must_use]
pub fn subscribed(picture: &Picture<'_>) -> MasterEvent {
    let subscribed = schema::MasterEventSubscribed {
        get_state: Some(Box::new(state(picture))),
        heartbeat_interval_seconds: Some(HEARTBEAT_S),
    };
    MasterEvent { subscribed: Some(Box::new(subscribed)), ..of(Type::Subscribed) }
}

/// Tells what happened from one picture to the other, in an order in which nothing is told of what was not told to be there.
/// An event is made when it is told, and no more are made once `tell` has had enough.
///
/// # Errors
/// What `tell` returned.
pub fn between<E>(
    before: &View,
    after: &View,
    tell: &mut impl FnMut(MasterEvent) -> Result<(), E>,
) -> Result<(), E> {
    let (old, new) = (Picture::new(before), Picture::new(after));
    let closed = newer(&before.frameworks_closed, &after.frameworks_closed);
    let brief: Vec<&FrameworkView> =
        closed.filter(|row| !old.frameworks.contains_key(&row.id)).collect();
    brief.iter().try_for_each(|row| tell(framework_added(&new, row)))?;
    frameworks_there(&old, &new, tell)?;
    agents_there(&old, &new, tell)?;
    Tasks::between(&old, &new).tell(&new, tell)?;
    agents_gone(&old, &new, tell)?;
    let gone = old.frameworks.values().filter(|row| !new.frameworks.contains_key(&row.id));
    gone.chain(&brief).try_for_each(|row| {
        let info = Some(framework_info(&new, row));
        let removed = schema::MasterEventFrameworkRemoved { framework_info: info };
        tell(MasterEvent { framework_removed: Some(removed), ..of(Type::FrameworkRemoved) })
    })
}

/// The rows of a list of what is over that another list does not have.
fn newer<'a, T>(
    before: &VecDeque<Arc<T>>,
    after: &'a VecDeque<Arc<T>>,
) -> impl Iterator<Item = &'a T> {
    // Rows that are shared are the same; most of them are.
    let known: BTreeSet<*const T> = before.iter().map(Arc::as_ptr).collect();
    after.iter().filter(move |row| !known.contains(&Arc::as_ptr(row))).map(AsRef::as_ref)
}

fn framework_added(new: &Picture<'_>, row: &FrameworkView) -> MasterEvent {
    let added = schema::MasterEventFrameworkAdded { framework: Some(framework(new, row)) };
    MasterEvent { framework_added: Some(added), ..of(Type::FrameworkAdded) }
}

/// Frameworks that came, and those that say something else of themselves or are connected again, or no more.
fn frameworks_there<E>(
    old: &Picture<'_>,
    new: &Picture<'_>,
    tell: &mut impl FnMut(MasterEvent) -> Result<(), E>,
) -> Result<(), E> {
    let changed = new.view.frameworks.changes(&old.view.frameworks);
    for row in changed.filter_map(|(_, row)| row) {
        let Some(was) = old.frameworks.get(&row.id) else {
            tell(framework_added(new, row))?;
            continue;
        };
        let facts = |picture: &Picture<'_>, row: &FrameworkView| {
            (framework_info(picture, row), row.state, row.registered_at.is_some())
        };
        if facts(old, was) != facts(new, row) {
            let updated =
                schema::MasterEventFrameworkUpdated { framework: Some(framework(new, row)) };
            tell(MasterEvent { framework_updated: Some(updated), ..of(Type::FrameworkUpdated) })?;
        }
    }
    Ok(())
}

fn registered(picture: &Picture<'_>) -> BTreeSet<AgentId> {
    picture.registered().map(|agent| agent.agent_id).collect()
}

fn agents_there<E>(
    old: &Picture<'_>,
    new: &Picture<'_>,
    tell: &mut impl FnMut(MasterEvent) -> Result<(), E>,
) -> Result<(), E> {
    let known = registered(old);
    for agent in new.registered().filter(|agent| !known.contains(&agent.agent_id)) {
        let added = schema::MasterEventAgentAdded { agent: Some(agent_of(new, agent)) };
        tell(MasterEvent { agent_added: Some(added), ..of(Type::AgentAdded) })?;
    }
    Ok(())
}

/// Agents that are gone, or out of reach, which Mesos tells in the same way.
fn agents_gone<E>(
    old: &Picture<'_>,
    new: &Picture<'_>,
    tell: &mut impl FnMut(MasterEvent) -> Result<(), E>,
) -> Result<(), E> {
    let left = registered(new);
    for agent in old.registered().filter(|agent| !left.contains(&agent.agent_id)) {
        let agent_id = Some(ids::agent(new.cluster(), agent.agent_id));
        let removed = schema::MasterEventAgentRemoved { agent_id };
        tell(MasterEvent { agent_removed: Some(removed), ..of(Type::AgentRemoved) })?;
    }
    Ok(())
}

/// What became of tasks.
#[derive(Default)]
struct Tasks<'a> {
    /// Those that were there and are not.
    gone: BTreeMap<Key<'a>, &'a TaskView>,
    /// Those that are there and were not.
    come: BTreeMap<Key<'a>, &'a TaskView>,
    /// Those that were and are there, as they were and are.
    changed: Vec<(&'a TaskView, &'a TaskView)>,
    /// Those that have ended.
    ended: Vec<&'a TaskView>,
}

fn key(task: &TaskView) -> Key<'_> {
    (task.framework_id, &task.id)
}

/// What is the same of a task from its launch to its end, and another of one that is given the id of one that has ended.
fn life(task: &TaskView) -> (Key<'_>, Option<Wall>) {
    (key(task), task.launched_at)
}

impl<'a> Tasks<'a> {
    fn between(old: &Picture<'a>, new: &Picture<'a>) -> Self {
        let mut all = Self::default();
        for (was, is) in new.view.tasks.changes(&old.view.tasks) {
            // Of a task that only an earlier leader told of nothing is told.
            let [was, is] = [was, is].map(|row| row.map(AsRef::as_ref).filter(|it| is_known(it)));
            match (was, is) {
                (Some(was), Some(is)) if life(was) == life(is) => all.changed.push((was, is)),
                (was, is) => {
                    all.gone.extend(was.map(|was| (key(was), was)));
                    all.come.extend(is.map(|is| (key(is), is)));
                }
            }
        }
        all.ended = newer(&old.view.tasks_ended, &new.view.tasks_ended).collect();
        all
    }

    fn tell<E>(
        mut self,
        new: &Picture<'_>,
        tell: &mut impl FnMut(MasterEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        for ended in std::mem::take(&mut self.ended) {
            if let Some(was) = self.gone.remove(&key(ended)) {
                updates(new, Some(was.state), ended, tell)?;
            } else if ended.launched_here {
                // It came and went between the two; what agents report of earlier terms is no news.
                added(new, ended, tell)?;
            }
        }
        for (was, is) in self.changed {
            if was.state != is.state {
                updates(new, Some(was.state), is, tell)?;
            }
        }
        for (at, was) in self.gone {
            match self.come.remove(&at) {
                // It only stands elsewhere.
                Some(is) if was.state == is.state => {}
                Some(is) => updates(new, Some(was.state), is, tell)?,
                // How it ended nobody has told, or so many ended that it is not among the newest.
                None => {
                    let lost = TaskView { state: TaskState::Unknown, ..was.clone() };
                    updates(new, Some(was.state), &lost, tell)?;
                }
            }
        }
        self.come.into_values().try_for_each(|is| added(new, is, tell))
    }
}

/// A task that is new, from its beginning on, as Mesos tells it.
fn added<E>(
    new: &Picture<'_>,
    row: &TaskView,
    tell: &mut impl FnMut(MasterEvent) -> Result<(), E>,
) -> Result<(), E> {
    let launched = TaskView { state: TaskState::Staging, started_at: None, ..row.clone() };
    let added = schema::MasterEventTaskAdded { task: Some(task(new, &launched)) };
    tell(MasterEvent { task_added: Some(added), ..of(Type::TaskAdded) })?;
    if row.state != TaskState::Staging {
        updates(new, None, row, tell)?;
    }
    Ok(())
}

/// The newest state of a task, and in front of it that it began to run, when that was not told.
fn updates<E>(
    new: &Picture<'_>,
    was: Option<TaskState>,
    row: &TaskView,
    tell: &mut impl FnMut(MasterEvent) -> Result<(), E>,
) -> Result<(), E> {
    let shown = task(new, row);
    let ran_before = !matches!(was, None | Some(TaskState::Staging | TaskState::Starting));
    let mut steps = shown.statuses;
    if steps.is_empty() || row.state == TaskState::Unknown {
        steps = vec![schema::TaskStatus {
            task_id: shown.task_id,
            agent_id: shown.agent_id,
            state: Some(status::written_state(new.state_of(row)).into()),
            ..schema::TaskStatus::default()
        }];
    }
    let told = if ran_before { steps.len().saturating_sub(1) } else { 0 };
    for step in steps.drain(told..) {
        let updated = schema::MasterEventTaskUpdated {
            framework_id: shown.framework_id.clone(),
            state: step.state,
            status: Some(step),
        };
        tell(MasterEvent { task_updated: Some(updated), ..of(Type::TaskUpdated) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
