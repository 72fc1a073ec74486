//! The ended tasks that an agent remembers, so that a new leader can show them.
//!
//! Nothing depends on them: a task's end is delivered by its update. An end is written by the same
//! change that removes the task's record, so remembering costs no write of its own, and no crash
//! comes between the two.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use meshos_protocol::{
    messages::agent::{TASKS_PER_REPORT_MAX, ToLeader},
    task::{StatusUpdate, TaskEnd},
    time::Wall,
};

use super::{Agent, Effect, RememberedEnd, TaskRecord, register::Link, task::TaskKey};
use crate::pages::pages;

/// The newest ends, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends {
    kept: VecDeque<(u64, Arc<TaskEnd>)>,
    /// On their way to the disk.
    unwritten: BTreeMap<TaskKey, (u64, Arc<TaskEnd>)>,
    newest: u64,
}

impl Ends {
    /// What was found on disk; of more than `max`, the newest.
    pub(super) fn recover(mut found: Vec<(u64, TaskEnd)>, max: usize) -> Self {
        found.sort_by_key(|(number, _)| *number);
        found.drain(..found.len().saturating_sub(max));
        let newest = found.last().map_or(0, |(number, _)| *number);
        let kept = found.into_iter().map(|(number, end)| (number, Arc::new(end))).collect();
        Self { kept, unwritten: BTreeMap::new(), newest }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn check_invariants(&self, max: usize) {
        assert!(self.len() <= max, "more ended tasks are kept than is allowed");
        let rising = self.kept.iter().zip(self.kept.iter().skip(1)).all(|(a, b)| a.0 < b.0);
        assert!(rising && self.kept.back().is_none_or(|(number, _)| *number <= self.newest));
    }
}

impl Agent {
    /// Takes down how a task ended; to be written with the change that forgets the task, and told
    /// only then: after a crash before that, the task's own record tells of its end once more.
    pub(super) fn remember_end(
        &mut self,
        key: &TaskKey,
        terminal: &StatusUpdate,
    ) -> Option<Box<RememberedEnd>> {
        let max = self.config.ends_max;
        let task = self.tasks.get(key).filter(|_| max > 0)?;
        let end = Arc::new(end_of(&task.record, terminal));
        self.ends.newest += 1;
        let number = self.ends.newest;
        self.ends.unwritten.insert(key.clone(), (number, Arc::clone(&end)));
        let oldest = (number + 1).saturating_sub(u64::try_from(max).unwrap_or(u64::MAX));
        Some(Box::new(RememberedEnd { number, end, oldest }))
    }

    /// The end of a task that is forgotten is on disk.
    pub(super) fn end_written(&mut self, key: &TaskKey) {
        let ends = &mut self.ends;
        ends.kept.extend(ends.unwritten.remove(key));
        let excess = ends.kept.len().saturating_sub(self.config.ends_max);
        ends.kept.drain(..excess);
    }

    /// The leader asks for what is remembered.
    pub(super) fn tell_ends(&self, after: Option<Wall>, max: u32, effects: &mut Vec<Effect>) {
        if self.link != Link::Registered {
            return;
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let wanted = |end: &&TaskEnd| after.is_none_or(|after| end.ended_at > after);
        let newest_first = self.ends.kept.iter().rev().map(|(_, end)| end.as_ref());
        let ends: Vec<TaskEnd> = newest_first.filter(wanted).take(max).cloned().collect();
        effects.extend(
            pages(ends, TASKS_PER_REPORT_MAX)
                .map(|(ends, more)| Effect::SendToLeader(ToLeader::Ends { ends, more })),
        );
    }
}

fn end_of(record: &TaskRecord, terminal: &StatusUpdate) -> TaskEnd {
    let description = &record.launch.description;
    TaskEnd {
        framework: record.framework,
        task: description.task_id.clone(),
        agent: terminal.agent,
        name: description.name.clone(),
        role: record.launch.role.clone(),
        resources: description.resources.clone(),
        state: terminal.state,
        reason: terminal.reason,
        message: terminal.message.clone(),
        exit: terminal.exit.clone(),
        launched_at: record.launched_at,
        started_at: record.started_at,
        ended_at: terminal.at,
    }
}
