//! The tasks that the master knows.

mod invariants;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use meshos_protocol::{
    check::CheckStatus,
    ids::{AgentId, FrameworkId, NodeId, TaskId},
    resources::Resources,
    role::Role,
    task::{Exit, Reason, StatusUpdate, TaskEnd, TaskLaunch, TaskState},
    time::Wall,
};

use super::{
    Tally, TaskExtras, TaskView,
    ended::EndedTasks,
    table::{Slot, TableWriter},
};

/// Names one task. The agent is part of it: after a loss of memory a framework may use an id
/// again while an agent that was away still runs its first bearer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TaskKey {
    pub(super) framework: FrameworkId,
    pub(super) task: TaskId,
    pub(super) agent: AgentId,
}

/// A task that has not ended, or whose end its framework has not acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    pub(super) resources: Resources,
    /// For readers.
    extras: Option<Arc<TaskExtras>>,
    pub(super) phase: TaskPhase,
    pub(super) state: TaskState,
    pub(super) reason: Option<Reason>,
    pub(super) message: Arc<str>,
    pub(super) exit: Option<Exit>,
    /// Whether it is healthy, and what its other check has found, as its agent told last.
    pub(super) healthy: Option<bool>,
    pub(super) check_status: Option<CheckStatus>,
    pub(super) launched_at: Option<Wall>,
    /// Whether this master sent it to its agent.
    pub(super) launched_here: bool,
    pub(super) started_at: Option<Wall>,
    pub(super) changed_at: Wall,
    /// The agent's update that waits for the framework's acknowledgement.
    pub(super) head: Option<Box<StatusUpdate>>,
    /// Set when its end was asked for, with the grace period; repeated when the agent returns.
    pub(super) kill: Option<Option<u64>>,
    /// Its row among the live tasks.
    slot: Option<Slot>,
}

/// How the master knows of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskPhase {
    /// From an earlier leader's hint; its agent has not reported.
    Hinted,
    /// It was sent to its agent, which has said nothing of it.
    Sent,
    /// Its agent has told of it.
    Known,
}

impl Task {
    pub(super) fn new(launch: &TaskLaunch, phase: TaskPhase, at: Wall) -> Self {
        Self {
            name: launch.description.name.as_str().into(),
            role: launch.role.clone(),
            resources: launch.description.resources.clone(),
            extras: extras_of(launch),
            phase,
            state: match phase {
                TaskPhase::Hinted => TaskState::Unknown,
                TaskPhase::Sent | TaskPhase::Known => TaskState::Staging,
            },
            reason: None,
            message: "".into(),
            exit: None,
            healthy: None,
            check_status: None,
            launched_at: matches!(phase, TaskPhase::Sent).then_some(at),
            launched_here: matches!(phase, TaskPhase::Sent),
            started_at: None,
            changed_at: at,
            head: None,
            kill: None,
            slot: None,
        }
    }

    /// The same task without its row, to be put in its place.
    pub(super) fn without_row(&self) -> Self {
        Self { slot: None, ..self.clone() }
    }

    /// Takes over what an update tells.
    pub(super) fn follow(&mut self, status: &StatusUpdate) {
        // What checks find changes no state.
        let is_told_again = self.state == status.state && self.state == TaskState::Running;
        self.state = status.state;
        self.reason = status.reason;
        if *self.message != *status.message {
            self.message = status.message.as_str().into();
        }
        self.exit.clone_from(&status.exit);
        self.healthy = status.healthy;
        self.check_status = status.check_status;
        if !is_told_again {
            self.changed_at = status.at;
        }
        self.note_start(status);
    }

    /// Keeps the time of the start, if the update tells it.
    pub(super) fn note_start(&mut self, status: &StatusUpdate) {
        if status.state == TaskState::Running && self.started_at.is_none() {
            self.started_at = Some(status.at);
        }
    }

    /// Whether what it holds counts against its agent.
    pub(super) fn holds(&self) -> bool {
        !self.state.is_terminal()
            && self.state != TaskState::Unreachable
            && self.phase != TaskPhase::Hinted
    }

    fn view(&self, key: &TaskKey) -> TaskView {
        TaskView {
            id: key.task.clone(),
            framework_id: key.framework,
            agent_id: key.agent,
            node_id: key.agent.node,
            name: self.name.to_string(),
            role: self.role.clone(),
            resources: self.resources.clone(),
            extras: self.extras.clone(),
            state: self.state,
            reason: self.reason,
            message: Arc::clone(&self.message),
            exit: self.exit.clone(),
            healthy: self.healthy,
            check_status: self.check_status,
            launched_at: self.launched_at,
            launched_here: self.launched_here,
            started_at: self.started_at,
            changed_at: self.changed_at,
            ended_told: None,
        }
    }
}

/// What the tasks of one framework come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// How many have not ended.
    pub(super) live: usize,
    /// The amounts they hold. Ports and sets are left out: those of different machines are
    /// different things, and do not add up.
    pub(super) held: Resources,
    /// How many there are, ended ones too.
    pub(super) all: usize,
}

/// The tasks that the master knows, with their pictures.
#[derive(Debug)]
pub(super) struct Tasks {
    map: BTreeMap<TaskKey, Task>,
    by_agent: BTreeMap<AgentId, BTreeSet<TaskKey>>,
    /// How many have not ended; of agents that have any.
    live_by_agent: BTreeMap<AgentId, usize>,
    by_framework: BTreeMap<FrameworkId, Sum>,
    by_state: Tally<TaskState>,
    live: TableWriter<TaskView>,
    ended: EndedTasks,
    /// Whose sums have changed since they were last asked for.
    changed: BTreeSet<(FrameworkId, AgentId)>,
    /// Agents whose last live task ended, or whose last task was forgotten, since they were last
    /// asked for.
    emptied: BTreeSet<AgentId>,
    /// Agents of which a task was forgotten since they were last asked for.
    shrunk: BTreeSet<AgentId>,
}

impl Tasks {
    pub(super) fn new(ended_max: usize) -> Self {
        Self {
            map: BTreeMap::new(),
            by_agent: BTreeMap::new(),
            live_by_agent: BTreeMap::new(),
            by_framework: BTreeMap::new(),
            by_state: Tally::default(),
            live: TableWriter::default(),
            ended: EndedTasks::new(ended_max),
            changed: BTreeSet::new(),
            emptied: BTreeSet::new(),
            shrunk: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn get(&self, key: &TaskKey) -> Option<&Task> {
        self.map.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TaskKey, &Task)> {
        self.map.iter()
    }

    /// The tasks on one agent.
    pub(super) fn of_agent(&self, agent: AgentId) -> Vec<TaskKey> {
        self.by_agent.get(&agent).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// The frameworks with tasks on one agent that hold something there.
    pub(super) fn holders_on(&self, agent: AgentId) -> BTreeSet<FrameworkId> {
        let keys = self.by_agent.get(&agent).into_iter().flatten();
        let holding = keys.filter(|key| self.map.get(*key).is_some_and(Task::holds));
        holding.map(|key| key.framework).collect()
    }

    /// Whether a framework has tasks on one agent that hold something there.
    pub(super) fn holds_on(&self, agent: AgentId, framework: FrameworkId) -> bool {
        let Some(keys) = self.by_agent.get(&agent) else { return false };
        let mut keys = keys.range(first_of(framework)..);
        keys.by_ref()
            .take_while(|key| key.framework == framework)
            .any(|key| self.map.get(key).is_some_and(Task::holds))
    }

    /// How many tasks are on one agent, ended ones too.
    pub(super) fn count_of_agent(&self, agent: AgentId) -> usize {
        self.by_agent.get(&agent).map_or(0, BTreeSet::len)
    }

    /// How many tasks on one agent have not ended.
    pub(super) fn live_of_agent(&self, agent: AgentId) -> usize {
        self.live_by_agent.get(&agent).copied().unwrap_or_default()
    }

    /// The tasks of one framework, in order.
    pub(super) fn of_framework(&self, framework: FrameworkId) -> Vec<TaskKey> {
        self.map
            .range(first_of(framework)..)
            .take_while(|(key, _)| key.framework == framework)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The tasks of one framework under one id: almost always at most one.
    pub(super) fn named(
        &self,
        framework: FrameworkId,
        task: &TaskId,
    ) -> impl Iterator<Item = (&TaskKey, &Task)> {
        let key = |agent| TaskKey { framework, task: task.clone(), agent };
        self.map.range(key(agent_first())..=key(agent_last()))
    }

    /// The task that a framework means by an id: on the agent it names, else the one that has not
    /// ended.
    pub(super) fn find(
        &self,
        framework: FrameworkId,
        task: &TaskId,
        agent: Option<AgentId>,
    ) -> Option<(&TaskKey, &Task)> {
        self.named(framework, task)
            .max_by_key(|(key, task)| (agent == Some(key.agent), !task.state.is_terminal()))
    }

    pub(super) fn sum_of(&self, framework: FrameworkId) -> Sum {
        self.by_framework.get(&framework).cloned().unwrap_or_default()
    }

    /// Adds a task, in place of one with the same key.
    pub(super) fn insert(&mut self, key: TaskKey, task: Task) {
        let was_ended = self.map.get(&key).is_some_and(|task| task.state.is_terminal());
        self.remove(&key);
        if task.state.is_terminal() && !was_ended {
            // It ended where nobody could tell, or has been told of before.
            self.ended.push_reported(task.view(&key));
        }
        self.by_agent.entry(key.agent).or_default().insert(key.clone());
        self.by_framework.entry(key.framework).or_default().all += 1;
        self.map.insert(key.clone(), task);
        self.count_in(&key);
    }

    /// Changes a task. False when there is none.
    pub(super) fn change(&mut self, key: &TaskKey, change: impl FnOnce(&mut Task)) -> bool {
        if !self.map.contains_key(key) {
            return false;
        }
        self.count_out(key);
        if let Some(task) = self.map.get_mut(key) {
            let was_terminal = task.state.is_terminal();
            change(task);
            debug_assert!(!was_terminal || task.state.is_terminal(), "{key:?} left its end");
        }
        self.count_in(key);
        true
    }

    /// Changes what readers do not see of a task.
    pub(super) fn change_unseen(&mut self, key: &TaskKey, change: impl FnOnce(&mut Task)) {
        if let Some(task) = self.map.get_mut(key) {
            let state = task.state;
            change(task);
            debug_assert_eq!(state, task.state, "the state of {key:?} is seen");
        }
    }

    /// Forgets a task.
    pub(super) fn remove(&mut self, key: &TaskKey) -> Option<Task> {
        if !self.map.contains_key(key) {
            return None;
        }
        self.count_out(key);
        let task = self.map.remove(key)?;
        self.shrunk.insert(key.agent);
        if let Some(slot) = task.slot {
            self.live.remove(slot);
        }
        if let Some(keys) = self.by_agent.get_mut(&key.agent) {
            keys.remove(key);
            if keys.is_empty() {
                self.emptied.insert(key.agent);
                self.by_agent.remove(&key.agent);
            }
        }
        if let Some(sum) = self.by_framework.get_mut(&key.framework) {
            sum.all -= 1;
            if sum.all == 0 {
                self.by_framework.remove(&key.framework);
            }
        }
        Some(task)
    }

    /// Shows a task as ended without keeping it.
    pub(super) fn show_ended(&mut self, key: &TaskKey, task: &Task) {
        self.ended.push(task.view(key));
    }

    /// Shows what others remember of tasks that ended on these agents.
    pub(super) fn learn_ended(&mut self, now: Wall, ends: Vec<(AgentId, TaskEnd)>) {
        self.ended.learn(now, ends);
    }

    /// How a task ended, if it is shown.
    pub(super) fn end_of(&self, key: &TaskKey) -> Option<TaskEnd> {
        self.ended.end_of(key)
    }

    /// See [`EndedTasks::full_after`].
    pub(super) fn ended_full_after(&self) -> Option<Wall> {
        self.ended.full_after()
    }

    /// Adds to a task's row among the ended ones what its last update tells. False when that tells of
    /// another end.
    pub(super) fn amend_ended(&mut self, key: &TaskKey, status: &StatusUpdate) -> bool {
        let Some(task) = self.map.get_mut(key).filter(|task| task.state == status.state) else {
            return false;
        };
        task.follow(status);
        let view = task.view(key);
        self.ended.replace(key, view);
        true
    }

    /// Takes a task out of the sums.
    fn count_out(&mut self, key: &TaskKey) {
        let Some(task) = self.map.get(key) else { return };
        if task.state.is_terminal() {
            return;
        }
        self.by_state.take(task.state);
        if let Some(live) = self.live_by_agent.get_mut(&key.agent) {
            *live -= 1;
            if *live == 0 {
                self.emptied.insert(key.agent);
                self.live_by_agent.remove(&key.agent);
            }
        }
        self.changed.insert((key.framework, key.agent));
        if let Some(sum) = self.by_framework.get_mut(&key.framework) {
            sum.live -= 1;
            if task.holds() {
                sum.held = sum.held.saturating_sub(&amounts(&task.resources));
            }
        }
    }

    /// Puts a task into the sums and shows it as it is now.
    fn count_in(&mut self, key: &TaskKey) {
        let Some(task) = self.map.get_mut(key) else { return };
        if task.state.is_terminal() {
            if let Some(slot) = task.slot.take() {
                self.live.remove(slot);
                let task = task.clone();
                self.show_ended(key, &task);
            }
            return;
        }
        let view = task.view(key);
        match task.slot {
            Some(slot) => self.live.replace(slot, view),
            None => task.slot = Some(self.live.insert(view)),
        }
        self.by_state.add(task.state);
        *self.live_by_agent.entry(key.agent).or_default() += 1;
        self.changed.insert((key.framework, key.agent));
        let sum = self.by_framework.entry(key.framework).or_default();
        sum.live += 1;
        if task.holds() {
            sum.held += &amounts(&task.resources);
        }
    }

    /// Agents that may have no live task, or no task, any more since the last call.
    pub(super) fn take_emptied(&mut self) -> BTreeSet<AgentId> {
        std::mem::take(&mut self.emptied)
    }

    /// Agents that have fewer tasks than at the last call, those counted that have ended.
    pub(super) fn take_shrunk(&mut self) -> BTreeSet<AgentId> {
        std::mem::take(&mut self.shrunk)
    }

    /// Frameworks and agents whose sums have changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<(FrameworkId, AgentId)> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn pictures(
        &self,
    ) -> (super::Table<TaskView>, Arc<VecDeque<Arc<TaskView>>>, Tally<TaskState>) {
        (self.live.picture(), self.ended.picture(), self.by_state.clone())
    }
}

fn extras_of(launch: &TaskLaunch) -> Option<Arc<TaskExtras>> {
    let description = &launch.description;
    let extras = TaskExtras {
        labels: description.labels.clone(),
        executor: description.executor_id().cloned(),
        user: description.command.user.clone(),
    };
    (extras != TaskExtras::default()).then(|| Arc::new(extras))
}

/// What of some resources adds up over machines.
fn amounts(resources: &Resources) -> Resources {
    resources.filter(|resource| resource.amount().is_some())
}

/// Before all tasks of a framework.
fn first_of(framework: FrameworkId) -> TaskKey {
    // No valid id sorts before a single blank: it is the lowest character that ids may hold.
    let task = TaskId::new(" ").expect("a blank is a valid task id");
    TaskKey { framework, task, agent: agent_first() }
}

const fn agent_first() -> AgentId {
    AgentId::new(NodeId::from_bits(0), 0)
}

const fn agent_last() -> AgentId {
    AgentId::new(NodeId::from_bits(u64::MAX), u32::MAX)
}
