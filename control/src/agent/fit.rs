//! Whether what a node has after a restart still holds the tasks that run on it.
//!
//! Tasks do not record which attributes they were placed for, so a change of attributes always fits.

use std::{collections::BTreeMap, fmt};

use meshos_protocol::{
    ids::{ContainerId, FrameworkId, TaskId},
    resources::{Resource, Resources},
};

use super::{FoundContainer, Recovered};

/// How many tasks a refusal names of each resource.
const TASKS_NAMED_MAX: usize = 10;

/// Running tasks, with their executors, that hold more than their node has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    lacking: Vec<Lack>,
    /// What is reserved or a volume and is not there.
    converted: Resources,
}

/// One resource of which there is too little.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lack {
    held: Resource,
    /// Absent when the node has nothing of that name for that role.
    available: Option<Resource>,
    tasks: Vec<(FrameworkId, TaskId)>,
}

impl std::error::Error for Misfit {}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.converted.is_empty() {
            return write!(
                f,
                "reservations and volumes of this node are made of resources that it does not have any more ({} too little): \
                 start it with at least what it had (--resources), and unreserve or destroy first what it is to have less of",
                self.converted
            );
        }
        f.write_str("the resources of this node do not hold the tasks that run on it: ")?;
        for (position, lack) in self.lacking.iter().enumerate() {
            let between = if position == 0 { "" } else { "; " };
            write!(f, "{between}{lack}")?;
        }
        let revocable = |lack: &Lack| lack.held.metadata().revocable;
        let option = match (self.lacking.iter().all(revocable), self.lacking.iter().any(revocable))
        {
            (true, _) => "--revocable-resources",
            (false, true) => "--resources, --revocable-resources",
            (false, false) => "--resources",
        };
        write!(
            f,
            "; start it with at least that much ({option}), or with what it had and end those tasks first",
        )
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, available, tasks } = self;
        match available {
            Some(available) => write!(f, "they hold {held} and it has {available}")?,
            None if held.metadata().revocable => {
                write!(f, "they hold {held} and it has no revocable {}", held.name())?;
            }
            None => write!(f, "they hold {held} and it has no {}", held.name())?,
        }
        let named = tasks.iter().take(TASKS_NAMED_MAX);
        let named: Vec<String> = named.map(|(of, task)| format!("{of}/{task}")).collect();
        write!(f, " (task {}", named.join(", "))?;
        match tasks.len().saturating_sub(TASKS_NAMED_MAX) {
            0 => f.write_str(")"),
            more => write!(f, " and {more} more)"),
        }
    }
}

impl Recovered {
    /// Whether a node with these configured resources may start over what was found: what was
    /// reserved and the volumes must be there, and the tasks that still run must fit.
    ///
    /// # Errors
    /// When they do not: which resources are too small, and for which tasks.
    pub fn check_fit(&self, configured: &Resources) -> Result<(), Misfit> {
        let converted = self.operations.lacking(configured);
        if !converted.is_empty() {
            return Err(Misfit { lacking: Vec::new(), converted });
        }
        let resources = &self.operations.total(configured);
        if self.agent.is_none() || self.boot_changed {
            // Whatever is left is about to be ended, or is over.
            return Ok(());
        }
        let containers: BTreeMap<&ContainerId, &FoundContainer> =
            self.containers.iter().map(|found| (&found.container, found)).collect();
        let runs = |container| containers.get(container).is_some_and(|it| it.ended.is_none());
        let running = self
            .records
            .iter()
            .filter(|record| !record.state.is_terminal() && runs(&record.container));
        let mut held = Resources::new();
        let mut tasks = Vec::new();
        for executor in self.executors.iter().filter(|executor| runs(&executor.container)) {
            held += &executor.resources;
        }
        for record in running {
            let description = &record.launch.description;
            // A shared volume counts once, however many hold it.
            let shared = description.resources.shared().saturating_sub(&held);
            held += &(description.resources.exclusive() + &shared);
            tasks.push((record.framework, description));
        }
        let alone = |entry: &Resource| {
            let mut alone = Resources::new();
            alone.insert(entry.clone());
            alone
        };
        let same = |one: &Resource, other: &Resource| {
            one.name() == other.name() && one.metadata() == other.metadata()
        };
        let lacking: Vec<Lack> = held
            .iter()
            .filter(|entry| !resources.contains(&alone(entry)))
            .map(|entry| Lack {
                held: entry.clone(),
                available: resources.iter().find(|mine| same(mine, entry)).cloned(),
                tasks: tasks
                    .iter()
                    .filter(|(_, task)| task.resources.iter().any(|its| same(its, entry)))
                    .map(|(framework, task)| (*framework, task.task_id.clone()))
                    .collect(),
            })
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        Err(Misfit { lacking, converted: Resources::new() })
    }
}
