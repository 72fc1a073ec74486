//! The ended tasks that an agent remembers, so that a new leader can show them.
//!
//! Nothing depends on them: a task's end is delivered by its update. They are written in the same
//! durable write that removes the task's record, so remembering costs no write of its own.

use std::{collections::VecDeque, sync::Arc};

use meshos_protocol::{
    messages::agent::ToLeader,
    task::{StatusUpdate, TaskEnd},
    time::Wall,
};

use super::{
    Agent, Change, Effect, TaskRecord,
    register::{Link, pages},
    task::TaskKey,
};

/// The newest ends, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends {
    kept: VecDeque<(u64, Arc<TaskEnd>)>,
    newest: u64,
}

impl Ends {
    /// What was found on disk.
    pub(super) fn recover(mut found: Vec<(u64, TaskEnd)>) -> Self {
        found.sort_by_key(|(number, _)| *number);
        let newest = found.last().map_or(0, |(number, _)| *number);
        let kept = found.into_iter().map(|(number, end)| (number, Arc::new(end))).collect();
        Self { kept, newest }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

impl Agent {
    /// Writes down how a task ended, before its record is removed.
    pub(super) fn remember_end(
        &mut self,
        key: &TaskKey,
        terminal: &StatusUpdate,
        effects: &mut Vec<Effect>,
    ) {
        if self.config.ends_max == 0 {
            return;
        }
        let Some(task) = self.tasks.get(key) else { return };
        let end = end_of(&task.record, terminal);
        self.ends.newest += 1;
        let number = self.ends.newest;
        self.ends.kept.push_back((number, Arc::new(end.clone())));
        self.write(Change::Remember { number, end: Box::new(end) }, effects);
        while self.ends.kept.len() > self.config.ends_max {
            let Some((number, _)) = self.ends.kept.pop_front() else { break };
            self.write(Change::DropEnd { number }, effects);
        }
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
        let mut pages = pages(ends).into_iter().peekable();
        let mut ends = pages.next().unwrap_or_default();
        loop {
            let more = pages.peek().is_some();
            effects.push(Effect::SendToLeader(ToLeader::Ends { ends, more }));
            match pages.next() {
                Some(next) => ends = next,
                None => break,
            }
        }
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
