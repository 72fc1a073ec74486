//! Says on standard error how it goes.

use std::{collections::BTreeSet, time::Duration};

use meshos_protocol::{ids::TaskId, task::TaskState};
use tokio::time::Instant;

use super::plan::{Counts, Declined, Note, Plan, Step};
use crate::cli::{
    output,
    text::{count, plain},
};

/// With more instances than this, numbers take the place of names.
const INSTANCES_NAMED: usize = 8;
/// Numbers are told at most this often.
const NUMBERS_INTERVAL: Duration = Duration::from_secs(1);

/// What was told last.
#[derive(Debug)]
pub(super) struct Progress {
    quiet: bool,
    /// The run is being ended: tasks that are killed are what was asked for.
    stops: bool,
    named: bool,
    told: Option<(Instant, Counts)>,
    /// Tasks that were told to be out of reach, and not yet that they are back.
    away: BTreeSet<TaskId>,
}

impl Progress {
    pub(super) fn new(quiet: bool, instances: usize) -> Self {
        Self {
            quiet,
            stops: false,
            named: instances <= INSTANCES_NAMED,
            told: None,
            away: BTreeSet::new(),
        }
    }

    /// The run is being ended.
    pub(super) fn stops(&mut self) {
        self.stops = true;
    }

    /// Something happened.
    pub(super) fn note(&mut self, note: &Note) {
        let is_back = matches!(note, Note::Step(step) if self.comes_back(step));
        if self.quiet && !is_back && !self.is_bad(note) {
            return;
        }
        let text = match note {
            Note::Registered(framework) => format!("framework {framework}"),
            Note::Disconnected => "the cluster cannot be reached; waiting for a leader".to_owned(),
            Note::Unreachable(why) => plain(why),
            Note::Reconnected => "connected again".to_owned(),
            // The next step follows at once.
            Note::Launched { .. } => return,
            Note::Step(step) if is_back => back(step),
            Note::Step(step) => match sentence(step) {
                Some(text) if self.named || is_worth_a_line(step.state) => text,
                _ => return,
            },
        };
        say(&text);
    }

    /// Keeps who is away. True when a task that was runs again.
    fn comes_back(&mut self, step: &Step) -> bool {
        if step.state == TaskState::Unreachable {
            self.away.insert(step.task.clone());
            return false;
        }
        self.away.remove(&step.task) && step.state == TaskState::Running
    }

    /// Whether something went wrong that nobody asked for.
    fn is_bad(&self, note: &Note) -> bool {
        matches!(note, Note::Step(step) if is_worth_a_line(step.state) && !step.again && !self.stops)
    }

    /// The numbers, when there are many instances.
    pub(super) fn numbers(&mut self, counts: Counts, now: Instant, last: bool) {
        let due = match self.told {
            None => true,
            Some((at, told)) => told != counts && (last || now - at >= NUMBERS_INTERVAL),
        };
        if self.quiet || self.named || !due {
            return;
        }
        self.told = Some((now, counts));
        say(&format!(
            "{} waiting, {} launched, {} ended, {} of them badly",
            counts.waiting, counts.launched, counts.ended, counts.failed
        ));
    }

    /// Why nothing is launched.
    pub(super) fn waiting(&self, sentences: &[String]) {
        if !self.quiet {
            sentences.iter().for_each(|sentence| say(sentence));
        }
    }
}

/// A line of progress.
pub(super) fn say(text: &str) {
    output::sentence(text);
}

/// What is told even when only numbers are.
fn is_worth_a_line(state: TaskState) -> bool {
    !matches!(
        state,
        TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Killing
            | TaskState::Finished
    )
}

fn sentence(step: &Step) -> Option<String> {
    let what = match step.state {
        TaskState::Staging | TaskState::Starting | TaskState::Killing => return None,
        TaskState::Running => match step.healthy {
            None => "runs",
            Some(true) => "is healthy",
            Some(false) => "is not healthy",
        },
        TaskState::Finished => "has finished",
        TaskState::Failed => "has failed",
        TaskState::Killed => "was killed",
        TaskState::Error => "cannot be run",
        TaskState::Dropped if step.again => "was not started and is tried again",
        TaskState::Dropped => "was not started",
        TaskState::Gone | TaskState::GoneByOperator => "is gone",
        TaskState::Unreachable => "is out of reach",
        TaskState::Lost => "is lost",
        TaskState::Unknown => "is in a state that is not known",
    };
    let mut text = format!("task {} {what}{}", step.task, place(step));
    let well = step.state == TaskState::Running && step.healthy != Some(false);
    if !well && step.state != TaskState::Finished && !step.why.is_empty() {
        text += &format!(": {}", step.why);
    }
    if step.state == TaskState::Unreachable {
        text += "; it may come back with its node";
        if let Some(node) = step.node {
            text += &format!(", or end when `meshos gone {node}` gives the node up");
        }
    }
    Some(plain(&text))
}

fn back(step: &Step) -> String {
    plain(&format!("task {} is back and runs{}", step.task, place(step)))
}

/// Where a task is, as far as that is known.
fn place(step: &Step) -> String {
    let mut text = String::new();
    if !step.hostname.is_empty() {
        text += &format!(" on {}", step.hostname);
    }
    if let Some(node) = step.node {
        text += &format!(" ({node})");
    }
    text
}

/// Why instances wait, as far as the plan itself knows.
pub(super) fn waiting(plan: &Plan) -> Vec<String> {
    let counts = plan.counts();
    let request = plan.request();
    let of =
        if request.instances > 1 { format!(" of {}", request.instances) } else { String::new() };
    let mut lines = vec![format!(
        "{}{of} {} for {}",
        count(counts.waiting, "instance"),
        if counts.waiting == 1 { "waits" } else { "wait" },
        request.need
    )];
    if plan.framework().is_none() {
        return lines;
    }
    lines.extend(declined(plan.declined()));
    lines
}

fn declined(declined: &Declined) -> Vec<String> {
    let Declined { by_constraint, found, too_small, nearest } = declined;
    let mut lines = Vec::new();
    if *by_constraint > 0 {
        let found = found.iter().map(|(constraint, found)| {
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            format!("{constraint} (found {})", found.join(", "))
        });
        let found: Vec<String> = found.collect();
        lines.push(plain(&format!(
            "{} did not meet {}",
            count(*by_constraint, "offer"),
            found.join(" or ")
        )));
    }
    if *too_small > 0 {
        let offers = count(*too_small, "offer");
        lines.push(match nearest {
            Some(lacking) => format!("{offers} had too little; the nearest lacked {lacking}"),
            None => format!("{offers} had too little that this role may use"),
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{
        super::{request::tests::request, shortfall::Shortfall},
        *,
    };

    fn step(state: TaskState, why: &str) -> Step {
        Step {
            task: TaskId::new("echo-F3").unwrap(),
            instance: 0,
            node: None,
            hostname: "lab".to_owned(),
            state,
            healthy: None,
            why: why.to_owned(),
            again: false,
        }
    }

    #[test]
    fn steps_are_told_in_sentences() {
        let text = |state, why| sentence(&step(state, why));
        assert_eq!(text(TaskState::Staging, ""), None);
        assert_eq!(text(TaskState::Running, "").unwrap(), "task echo-F3 runs on lab");
        assert_eq!(
            text(TaskState::Failed, "memory_limit: it used 70 MB").unwrap(),
            "task echo-F3 has failed on lab: memory_limit: it used 70 MB"
        );
        assert_eq!(
            text(TaskState::Unreachable, "agent_unreachable").unwrap(),
            "task echo-F3 is out of reach on lab: agent_unreachable; it may come back with its node"
        );
        let running = |healthy, why| {
            sentence(&Step { healthy: Some(healthy), ..step(TaskState::Running, why) }).unwrap()
        };
        assert_eq!(running(true, "health_check_status_updated"), "task echo-F3 is healthy on lab");
        assert_eq!(
            running(false, "health_check_status_updated: it failed"),
            "task echo-F3 is not healthy on lab: health_check_status_updated: it failed"
        );
        for state in TaskState::ALL {
            assert!(sentence(&step(state, "why")).is_none_or(|text| !text.contains('\n')));
        }
    }

    #[test]
    fn a_task_that_was_out_of_reach_is_told_to_be_back_once() {
        let mut progress = Progress::new(true, 100);
        let mut is_back = |state| progress.comes_back(&step(state, ""));
        assert!(!is_back(TaskState::Running));
        assert!(!is_back(TaskState::Unreachable));
        assert!(is_back(TaskState::Running));
        assert!(!is_back(TaskState::Running), "told before");
        assert!(!is_back(TaskState::Unreachable) && !is_back(TaskState::Failed));
        assert!(!is_back(TaskState::Running));
        assert_eq!(back(&step(TaskState::Running, "")), "task echo-F3 is back and runs on lab");
    }

    #[test]
    fn waiting_is_explained_by_what_was_declined() {
        let plan = Plan::new(request(&["--cpus", "8", "echo"]).unwrap());
        assert_eq!(waiting(&plan), ["1 instance waits for cpus:8;mem:128"]);
        let lacking = |has: &str| {
            let (need, has) = ("cpus:8;mem:128".parse().unwrap(), has.parse().unwrap());
            Shortfall::of(&need, &has)
        };
        let rack = ["rack:def".to_owned(), "no rack".to_owned()];
        let no_use = Declined {
            by_constraint: 1,
            found: [("rack:abc".to_owned(), rack.into())].into(),
            too_small: 2,
            nearest: lacking("cpus:4;mem:64;ports:[1-2]"),
        };
        assert_eq!(
            declined(&no_use),
            [
                "1 offer did not meet rack:abc (found no rack, rack:def)",
                "2 offers had too little; the nearest lacked cpus:4 and mem:64",
            ]
        );
        let unusable = Declined { too_small: 1, nearest: None, ..Declined::default() };
        assert_eq!(declined(&unusable), ["1 offer had too little that this role may use"]);
    }
}
