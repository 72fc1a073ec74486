//! The account of every task: what its framework wrote down, held against what the task itself did.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::Birth;

use crate::book::{Book, Life};

/// How the tasks of all frameworks ended, and what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Account {
    ends: BTreeMap<String, usize>,
    known: BTreeSet<String>,
    pub tasks: usize,
    pub wrong: Vec<String>,
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} tasks:", self.tasks)?;
        self.ends.iter().try_for_each(|(end, count)| write!(out, " {count} {end}"))
    }
}

impl Account {
    /// Takes a framework's tasks into account.
    pub(crate) fn add(&mut self, book: &Book, births: &BTreeMap<String, Vec<Birth>>) {
        for (id, life) in &book.lives {
            let born = births.get(id).map_or(0, Vec::len);
            self.tasks += 1;
            self.known.insert(id.clone());
            if let Some(end) = end_of(life) {
                *self.ends.entry(format!("{end:?}").to_lowercase()).or_default() += 1;
            }
            let wrong = faults(life, born).into_iter();
            self.wrong
                .extend(wrong.map(|what| format!("{id}: {what}; born {born} times, {life:?}")));
            let alive = births.get(id).into_iter().flatten().any(|birth| birth.is_alive());
            if alive && !life.in_executor {
                self.wrong.push(format!("{id}: its process still runs; {life:?}"));
            }
        }
    }
}

impl Account {
    /// Nothing may have been born that no framework launched.
    pub(crate) fn demand_that_all_are_known(&mut self, births: &BTreeMap<String, Vec<Birth>>) {
        let strangers = births.keys().filter(|id| !self.known.contains(*id));
        self.wrong.extend(strangers.map(|id| format!("{id}: born, and in nobody's book")));
    }
}

fn end_of(life: &Life) -> Option<TaskState> {
    let states = life.steps.iter().map(|(_, state, _)| *state);
    let mut ends = states.clone().filter(|state| state.is_terminal());
    ends.next_back().or_else(|| states.clone().find(|state| *state == TaskState::Unknown))
}

/// What is wrong with the life of a task that was born so many times.
fn faults(life: &Life, born: usize) -> Vec<String> {
    let mut faults = Vec::new();
    if born > 1 {
        faults.push("it was run twice".to_owned());
    }
    let Some(end) = end_of(life) else {
        faults.push("nobody knows what became of it".to_owned());
        return faults;
    };
    if end == TaskState::Error {
        faults.push("it was refused, and there is nothing wrong with it".to_owned());
    }
    let must_have_run = end == TaskState::Finished;
    let cannot_have_run = [TaskState::Dropped, TaskState::Gone, TaskState::Unknown].contains(&end);
    if must_have_run && born == 0 {
        faults.push("it finished and never ran".to_owned());
    }
    if cannot_have_run && born > 0 {
        faults.push(format!("it ran, and its framework heard {end:?}"));
    }
    let mut ended: Option<&str> = None;
    let mut told = BTreeSet::new();
    for (update, state, _) in &life.steps {
        let Some(update) = update.as_deref() else { continue };
        let is_new = told.insert(update);
        match ended {
            Some(end) if end != update && is_new => {
                faults.push(format!("{state:?} was told after its end"));
            }
            Some(_) => {}
            None if state.is_terminal() => ended = Some(update),
            None => {}
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use meshos_sdk::protocol::ids::{AgentId, NodeId};

    use super::*;

    fn life(steps: &[(&str, TaskState)]) -> Life {
        let step = |(update, state): &(&str, TaskState)| {
            ((!update.is_empty()).then(|| (*update).to_owned()), *state, String::new())
        };
        let agent = AgentId::new(NodeId::from_bits(1), 1);
        let steps = steps.iter().map(step).collect();
        Life { agent, in_executor: false, killed: false, steps }
    }

    #[test]
    fn each_kind_of_lie_is_found() {
        use TaskState::{Dropped, Error, Finished, Killed, Running, Unknown, Unreachable};
        let good: [(&[(&str, TaskState)], usize); 5] = [
            (&[("a", Running), ("b", Finished)], 1),
            // A framework that was killed before it acknowledged hears it again.
            (
                &[("a", Running), ("a", Running), ("b", Finished), ("b", Finished), ("", Finished)],
                1,
            ),
            (&[("a", Running), ("", Unreachable), ("b", Killed)], 1),
            (&[("", Unknown)], 0),
            (&[("", Dropped)], 0),
        ];
        for (steps, born) in good {
            assert_eq!(faults(&life(steps), born), Vec::<String>::new(), "{steps:?}");
        }
        let bad: [(&[(&str, TaskState)], usize); 8] = [
            (&[("", Error)], 0),
            (&[("a", Running)], 1),
            (&[("a", Running), ("", Unreachable)], 1),
            (&[("a", Running), ("b", Finished)], 2),
            (&[("a", Running), ("b", Finished)], 0),
            (&[("", Unknown)], 1),
            (&[("", Dropped)], 1),
            (&[("a", Running), ("b", Finished), ("c", Killed)], 1),
        ];
        for (steps, born) in bad {
            assert_eq!(faults(&life(steps), born).len(), 1, "{steps:?} {born}");
        }
    }
}
