//! The state, and the one way in.

use std::{collections::BTreeMap, time::Duration};

use meshos_protocol::{
    ids::TaskId,
    task::{Exit, GroupEnds, KILL_GRACE_MAX_MS, Reason, TaskDescription, TaskState},
    time::Mono,
};

use super::{Effect, Event};

/// The time between SIGTERM and SIGKILL where nobody says one; agents do.
const GRACE_DEFAULT_MS: u64 = 3_000;
/// After this time SIGKILL is sent once more.
const DESTROY_AGAIN: Duration = Duration::from_secs(1);

/// Why a task is being ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// Its agent asked for it.
    Asked,
    /// Another task of its group has failed or was killed.
    Group(TaskId, TaskState),
    /// The executor ends.
    Shutdown,
}

#[derive(Debug, Clone)]
struct Kill {
    why: Why,
    /// When SIGKILL is sent.
    destroy_at: Mono,
}

#[derive(Debug, Clone)]
struct Task {
    /// Numbers the groups that were handed over.
    group: u64,
    ends: GroupEnds,
    grace_ms: u64,
    /// Whether its process runs; else it is being prepared.
    runs: bool,
    kill: Option<Kill>,
}

/// The executor in the box. See the module's documentation.
#[derive(Debug, Clone, Default)]
pub struct GroupExecutor {
    /// Those that are not over.
    tasks: BTreeMap<TaskId, Task>,
    groups: u64,
    ending: bool,
}

impl GroupExecutor {
    /// The only way in. Runs to completion, never blocks, never fails.
    pub fn handle(&mut self, now: Mono, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Launch(tasks) => self.launch(tasks, effects),
            Event::Kill { task, grace_ms } => self.kill(now, &task, grace_ms, effects),
            Event::Started { task } => self.started(&task, effects),
            Event::NotStarted { task, reason, message } => {
                self.over(now, &task, End::NotStarted(reason, message), effects);
            }
            Event::Exited { task, exit } => self.over(now, &task, End::Exited(exit), effects),
            Event::Shutdown { grace_ms } => self.shutdown(now, grace_ms, effects),
            Event::Tick => {}
        }
        self.destroy_overdue(now, effects);
    }

    /// When [`Event::Tick`] must come, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.tasks.values().filter_map(|task| task.kill.as_ref()).map(|kill| kill.destroy_at).min()
    }

    /// Whether no task is left.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    fn launch(&mut self, tasks: Vec<TaskDescription>, effects: &mut Vec<Effect>) {
        self.groups += 1;
        for description in tasks {
            let id = description.task_id.clone();
            if self.ending {
                let why = "the task's executor was told to end before the task was started";
                let reason = Some(Reason::ExecutorTerminated);
                tell(id, TaskState::Killed, reason, why.to_owned(), effects);
                continue;
            }
            let task = Task {
                group: self.groups,
                ends: description.group.as_ref().map(|group| group.ends).unwrap_or_default(),
                grace_ms: description
                    .kill_grace_ms
                    .unwrap_or(GRACE_DEFAULT_MS)
                    .min(KILL_GRACE_MAX_MS),
                runs: false,
                kill: None,
            };
            self.tasks.insert(id.clone(), task);
            tell(id, TaskState::Starting, None, String::new(), effects);
            effects.push(Effect::Start(Box::new(description)));
        }
    }

    fn kill(&mut self, now: Mono, id: &TaskId, grace_ms: Option<u64>, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(id) else { return };
        let grace_ms = grace_ms.map_or(task.grace_ms, |asked| asked.min(KILL_GRACE_MAX_MS));
        self.begin_kill(now, id, Why::Asked, grace_ms, effects);
    }

    /// Asks a task to end and sets when it is made to; asked again, that can only come earlier.
    fn begin_kill(
        &mut self,
        now: Mono,
        id: &TaskId,
        why: Why,
        grace_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let destroy_at = now.after(Duration::from_millis(grace_ms));
        if let Some(kill) = &mut task.kill {
            kill.destroy_at = kill.destroy_at.min(destroy_at);
            return;
        }
        let (reason, message) = why.in_words();
        tell(id.clone(), TaskState::Killing, reason, message, effects);
        if task.runs && grace_ms > 0 {
            effects.push(Effect::Terminate(id.clone()));
            task.kill = Some(Kill { why, destroy_at });
        } else {
            // There is nothing yet that could end with grace, or it is not to.
            task.kill = Some(Kill { why, destroy_at: now });
        }
    }

    fn started(&mut self, id: &TaskId, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.runs = true;
        match task.kill {
            None => tell(id.clone(), TaskState::Running, None, String::new(), effects),
            // It was to be called off.
            Some(_) => effects.push(Effect::Destroy(id.clone())),
        }
    }

    fn over(&mut self, now: Mono, id: &TaskId, end: End, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.remove(id) else { return };
        let (state, reason, message) = match (&task.kill, end) {
            (Some(kill), _) => {
                let (reason, message) = kill.why.in_words();
                (TaskState::Killed, reason, message)
            }
            (None, end) => end.in_words(),
        };
        tell(id.clone(), state, reason, message, effects);
        if state != TaskState::Finished && task.ends != GroupEnds::Apart {
            let beside = self.tasks.iter().filter(|(_, other)| other.group == task.group);
            let beside: Vec<(TaskId, u64)> =
                beside.map(|(other, it)| (other.clone(), it.grace_ms)).collect();
            for (other, grace_ms) in beside {
                let why = Why::Group(id.clone(), state);
                self.begin_kill(now, &other, why, grace_ms, effects);
            }
        }
        self.stop_when_idle(effects);
    }

    /// Everything has to be over before the executor itself is ended, and told before that.
    fn shutdown(&mut self, now: Mono, grace_ms: u64, effects: &mut Vec<Effect>) {
        self.ending = true;
        let most = grace_ms.saturating_mul(3) / 4;
        let all: Vec<(TaskId, u64)> =
            self.tasks.iter().map(|(id, task)| (id.clone(), task.grace_ms)).collect();
        for (id, own) in all {
            self.begin_kill(now, &id, Why::Shutdown, own.min(most), effects);
        }
        self.stop_when_idle(effects);
    }

    fn stop_when_idle(&self, effects: &mut Vec<Effect>) {
        if self.ending && self.tasks.is_empty() {
            effects.push(Effect::Stop);
        }
    }

    fn destroy_overdue(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        for (id, task) in &mut self.tasks {
            if let Some(kill) = task.kill.as_mut().filter(|kill| kill.destroy_at <= now) {
                kill.destroy_at = now.after(DESTROY_AGAIN);
                effects.push(Effect::Destroy(id.clone()));
            }
        }
    }
}

/// How a task ended by itself.
enum End {
    NotStarted(Reason, String),
    Exited(Exit),
}

impl End {
    fn in_words(self) -> (TaskState, Option<Reason>, String) {
        let failed = |message| (TaskState::Failed, Some(Reason::CommandFailed), message);
        match self {
            Self::NotStarted(reason, message) => (TaskState::Failed, Some(reason), message),
            Self::Exited(Exit::Code { code: 0 }) => (TaskState::Finished, None, String::new()),
            Self::Exited(Exit::Code { code }) => {
                failed(format!("the command exited with status {code}"))
            }
            Self::Exited(Exit::Signal { signal }) => {
                failed(format!("signal {signal} ended the command"))
            }
            Self::Exited(Exit::Unreadable { why }) => {
                (TaskState::Failed, Some(Reason::ExitStatusUnreadable), why)
            }
            Self::Exited(Exit::Unknown) => {
                let message = "nobody knows how the command ended".to_owned();
                (TaskState::Failed, Some(Reason::ExitStatusUnreadable), message)
            }
        }
    }
}

impl Why {
    fn in_words(&self) -> (Option<Reason>, String) {
        match self {
            Self::Asked => (None, "the task was killed".to_owned()),
            Self::Group(other, state) => {
                let message =
                    format!("the task was killed because task {other} of its group is {state}");
                (Some(Reason::TaskGroupEnded), message)
            }
            Self::Shutdown => {
                let message = "the task was killed because its executor was told to end".to_owned();
                (Some(Reason::ExecutorTerminated), message)
            }
        }
    }
}

fn tell(
    task: TaskId,
    state: TaskState,
    reason: Option<Reason>,
    message: String,
    effects: &mut Vec<Effect>,
) {
    effects.push(Effect::Tell { task, state, reason, message });
}
