//! Groups: tasks of an accept that are launched together or not at all.

use std::collections::BTreeSet;

use meshos_protocol::{
    codec,
    ids::{AgentId, FrameworkId},
    task::{GROUP_BYTES_MAX, GROUP_TASKS_MAX, Reason, TaskDescription, TaskLaunch, TaskState},
};

use super::{
    accept::{Placed, Pool, place_in},
    state::{Core, Cx},
    updates::Told,
    validate,
};

/// What of an accept's tasks is handed to the agent.
#[derive(Debug, Default)]
pub(super) struct Launches {
    pub(super) single: Vec<TaskLaunch>,
    pub(super) groups: Vec<Vec<TaskLaunch>>,
}

impl Launches {
    pub(super) fn is_empty(&self) -> bool {
        self.single.is_empty() && self.groups.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TaskLaunch> {
        self.single.iter().chain(self.groups.iter().flatten())
    }
}

impl Core {
    /// Finds the tasks of a group their resources, all of them in one role; or tells of each that none can be
    /// launched, and why.
    pub(super) fn place_group(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: AgentId,
        tasks: Vec<TaskDescription>,
        pools: &mut [Pool],
    ) -> Option<Vec<TaskLaunch>> {
        match self.judge_group(framework, agent, &tasks, pools) {
            Ok(placed) => {
                let pairs = tasks.into_iter().zip(placed);
                Some(
                    pairs
                        .map(|(it, placed)| self.add_task(cx, framework, agent, it, placed))
                        .collect(),
                )
            }
            Err(told) => {
                for task in &tasks {
                    self.refuse_task(cx, framework, Some(agent), &task.task_id, told.clone());
                }
                None
            }
        }
    }

    fn judge_group(
        &self,
        framework: FrameworkId,
        agent: AgentId,
        tasks: &[TaskDescription],
        pools: &mut [Pool],
    ) -> Result<Vec<Placed>, Told> {
        let invalid = |why: &str| Told {
            reason: Some(Reason::TaskGroupInvalid),
            ..Told::state(TaskState::Error, why)
        };
        rules(tasks).map_err(|why| invalid(&format!("the group is not launched: {why}")))?;
        if let Some(task) = tasks.iter().find(|task| self.id_is_in_use(framework, &task.task_id)) {
            let why = format!(
                "the group is not launched: another task of the framework has the id of its task {} and is not over",
                task.task_id
            );
            return Err(invalid(&why));
        }
        self.judge_room(framework, agent, tasks.len())?;
        let facts = self.agents.get(&agent).and_then(|agent| agent.facts.as_ref());
        if let Some(facts) = facts.filter(|facts| !facts.knows_groups) {
            let why = format!(
                "agent {agent} runs release {}, which knows no groups of tasks: upgrade it",
                facts.version
            );
            return Err(Told {
                reason: Some(Reason::AgentTooOld),
                ..Told::state(TaskState::Dropped, &why)
            });
        }
        let Some(first) = tasks.first() else { return Ok(Vec::new()) };
        let starts = self.judge_executor(framework, agent, first).map_err(|told| {
            if told.state == TaskState::Error { invalid(&told.message) } else { told }
        })?;
        for pool in pools.iter_mut() {
            let before = pool.left.clone();
            let place = |(at, task): (usize, &TaskDescription)| {
                place_in(pool, task, starts.filter(|_| at == 0))
            };
            match tasks.iter().enumerate().map(place).collect::<Option<Vec<Placed>>>() {
                Some(placed) => return Ok(placed),
                None => pool.left = before,
            }
        }
        let wanted: meshos_protocol::resources::Resources =
            tasks.iter().map(|task| &task.resources).sum();
        let left = pools.iter().map(|pool| pool.left.to_string()).collect::<Vec<_>>().join(" and ");
        let executor = starts.map(|info| format!(" and its executor {}", info.resources));
        Err(invalid(&format!(
            "the group takes {wanted}{}, its offers have {left} left",
            executor.unwrap_or_default()
        )))
    }
}

/// Whether tasks follow the rules of a group that do not depend on offers.
///
/// # Errors
/// Says which rule is broken.
fn rules(tasks: &[TaskDescription]) -> Result<(), String> {
    let Some((first, member)) = tasks.first().and_then(|it| Some((it, it.group.as_ref()?))) else {
        return Err("it has no tasks".to_owned());
    };
    if member.first != first.task_id || usize::try_from(member.size) != Ok(tasks.len()) {
        return Err(format!(
            "its first task is to be {} and its size {}, and it is {} and {}: the tasks of a group stand one after the \
             other",
            member.first,
            member.size,
            first.task_id,
            tasks.len()
        ));
    }
    if tasks.len() > GROUP_TASKS_MAX {
        return Err(format!("it has {} tasks, at most {GROUP_TASKS_MAX} may be", tasks.len()));
    }
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for task in tasks {
        let id = &task.task_id;
        validate::task(task).map_err(|why| format!("task {id}: {why}"))?;
        if task.executor != first.executor {
            return Err(format!("task {id} names another executor than the first"));
        }
        if !seen.insert(id) {
            return Err(format!("task {id} stands in it twice"));
        }
        bytes += codec::encode(task).len();
    }
    if bytes > GROUP_BYTES_MAX {
        return Err(format!(
            "its tasks have {bytes} bytes together, at most {GROUP_BYTES_MAX} may be: fetch what is large"
        ));
    }
    Ok(())
}
