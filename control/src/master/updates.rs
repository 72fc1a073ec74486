//! How the states of tasks move: updates from agents, the master's own, acknowledgements, kills.

use meshos_protocol::{
    check::CheckStatus,
    ids::{AgentId, FrameworkId, TaskId, UpdateId},
    messages::{
        agent::{TaskHint, ToAgent},
        scheduler::Event as FrameworkEvent,
    },
    task::{Exit, Reason, Source, StatusUpdate, TaskEnd, TaskState},
    time::Wall,
};

use super::{
    ConnectionId, DropReason, Effect,
    agents::ConnectionPhase,
    state::{Core, Cx},
    tasks::{Task, TaskKey, TaskPhase},
};

/// What the master tells of a task on its own account.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) state: TaskState,
    pub(super) reason: Option<Reason>,
    pub(super) message: String,
    pub(super) exit: Option<Exit>,
    pub(super) healthy: Option<bool>,
    pub(super) check_status: Option<CheckStatus>,
}

impl Told {
    pub(super) fn state(state: TaskState, message: &str) -> Self {
        let message = message.to_owned();
        Self { state, reason: None, message, exit: None, healthy: None, check_status: None }
    }
}

/// How far along its life a state is; a later update never brings a task back.
const fn rank(state: TaskState) -> u8 {
    match state {
        TaskState::Unknown | TaskState::Unreachable | TaskState::Lost => 0,
        TaskState::Staging => 1,
        TaskState::Starting => 2,
        TaskState::Running => 3,
        TaskState::Killing => 4,
        TaskState::Finished
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Error
        | TaskState::Dropped
        | TaskState::Gone
        | TaskState::GoneByOperator => 5,
    }
}

/// Whether a state is one that agents tell.
const fn is_agents(state: TaskState) -> bool {
    match state {
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Finished
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Error
        | TaskState::Dropped
        | TaskState::Gone
        // Of a node that is drained to be gone.
        | TaskState::GoneByOperator => true,
        TaskState::Unreachable
        | TaskState::Lost
        | TaskState::Unknown => false,
    }
}

impl Core {
    /// An agent tells a step of one of its tasks.
    pub(super) fn on_update(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        mut status: StatusUpdate,
    ) {
        let early_max = self.config.limits.early_updates_max;
        let Some(stream) = self.connections.get_mut(&connection) else { return };
        let agent = match &mut stream.phase {
            ConnectionPhase::Registered { agent } => *agent,
            ConnectionPhase::Admitting(report) if report.early.len() < early_max => {
                report.early.push(status);
                return;
            }
            ConnectionPhase::Opened
            | ConnectionPhase::Reporting(_)
            | ConnectionPhase::Admitting(_) => {
                self.counters.dropped.add(DropReason::OutOfTurn);
                return;
            }
        };
        self.counters.updates_received += 1;
        if !is_agents(status.state) {
            self.counters.dropped.add(DropReason::BadState);
            return;
        }
        status.agent = Some(agent);
        let key = TaskKey { framework: status.framework, task: status.task.clone(), agent };
        if self.registry.framework(key.framework).is_none() {
            self.follow_update_of_ended_framework(cx, &key, &status);
            return;
        }
        self.follow_update(cx, &key, &status);
        self.pass_on(cx, status);
    }

    /// An agent tells that a task is over although an earlier update of it still waits for its
    /// acknowledgement: what it held is free, the end itself will be told in its turn.
    pub(super) fn on_task_ended(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        (framework, task): (FrameworkId, TaskId),
        (state, at): (TaskState, Option<Wall>),
    ) {
        // What is being registered lists the task as it is.
        let Some(agent) = self.registered_over(connection) else { return };
        if !is_agents(state) || !state.is_terminal() {
            self.counters.dropped.add(DropReason::BadState);
            return;
        }
        let key = TaskKey { framework, task, agent };
        let Some(known) = self.tasks.get(&key) else { return };
        if !known.state.is_terminal() {
            let (role, resources) = (known.role.clone(), known.resources.clone());
            self.allocator.recover_allocated(agent, framework, &role, &resources);
            // In the agent's words, by which the end is known again.
            let at = at.unwrap_or(cx.now.wall);
            self.tasks.change(&key, |task| {
                task.phase = TaskPhase::Known;
                task.state = state;
                task.changed_at = at;
            });
            self.count_end(state, None);
            self.hint_end(cx, &key);
        }
        if self.registry.framework(framework).is_none() {
            self.tasks.remove(&key);
        }
    }

    fn follow_update(&mut self, cx: &mut Cx<'_>, key: &TaskKey, status: &StatusUpdate) {
        let Some(task) = self.tasks.get(key) else { return };
        let forward = rank(status.state) >= rank(task.state) && !task.state.is_terminal();
        let held = task.holds();
        let (role, resources) = (task.role.clone(), task.resources.clone());
        // Nothing comes behind the end: what was sent before and arrives once more must not hide that
        // the end is what waits for its acknowledgement.
        let over = task.head.as_ref().is_some_and(|head| head.state.is_terminal());
        let is_head = status.update.is_some() && (!over || status.state.is_terminal());
        let head = is_head.then(|| Box::new(status.clone()));
        if forward {
            self.tasks.change(key, |task| {
                task.phase = TaskPhase::Known;
                task.follow(status);
            });
        }
        if let Some(head) = head {
            self.tasks.change_unseen(key, |task| task.head = Some(head));
        }
        if !forward && status.state.is_terminal() {
            // Its end was known already, but not how.
            if self.tasks.amend_ended(key, status) {
                self.hint_end(cx, key);
            }
        }
        if !forward || !status.state.is_terminal() {
            return;
        }
        if held {
            self.allocator.recover_allocated(key.agent, key.framework, &role, &resources);
        }
        self.count_end(status.state, status.reason);
        self.hint_end(cx, key);
        if status.update.is_none() {
            self.tasks.remove(key);
        }
    }

    /// The framework has ended: nobody is told, only the resources matter.
    fn follow_update_of_ended_framework(
        &mut self,
        cx: &mut Cx<'_>,
        key: &TaskKey,
        status: &StatusUpdate,
    ) {
        self.follow_update(cx, key, status);
        if status.state.is_terminal() {
            self.tasks.remove(key);
        }
        if status.update.is_some() || !status.state.is_terminal() {
            // It has not heard of the end, or not yet: said again until it forgets the task.
            let framework = key.framework;
            self.tell_agent(cx, key.agent, ToAgent::CloseFramework { framework });
        }
    }

    /// Passes an agent's update on to its framework, when that is there; else the agent's update
    /// waits as the task's head.
    pub(super) fn pass_on(&mut self, cx: &mut Cx<'_>, status: StatusUpdate) {
        let framework = status.framework;
        if self.tell_framework(cx, framework, FrameworkEvent::Update { status }) {
            self.counters.updates_sent += 1;
        }
    }

    /// Sends a framework that has come (back) all that it has not acknowledged.
    pub(super) fn repeat_heads(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        for key in self.tasks.of_framework(framework) {
            let head = self.tasks.get(&key).and_then(|task| task.head.clone());
            if let Some(head) = head {
                self.pass_on(cx, *head);
            }
        }
    }

    /// Tells a framework of one of its tasks, on the master's own account.
    pub(super) fn tell_of_task(&mut self, cx: &mut Cx<'_>, key: &TaskKey, told: Told) {
        self.tell_status(cx, key.framework, &key.task, Some(key.agent), told);
    }

    /// The same for a task that is not known here, or not yet.
    pub(super) fn tell_status(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        task: &TaskId,
        agent: Option<AgentId>,
        told: Told,
    ) {
        let status = StatusUpdate {
            framework,
            task: task.clone(),
            agent,
            state: told.state,
            reason: told.reason,
            message: told.message,
            update: None,
            at: cx.now.wall,
            source: Source::Master,
            executor: None,
            data: Vec::new(),
            exit: told.exit,
            healthy: told.healthy,
            check_status: told.check_status,
        };
        self.pass_on(cx, status);
    }

    /// Moves a task to a state that the master infers, and tells its framework.
    pub(super) fn move_by_master(&mut self, cx: &mut Cx<'_>, key: &TaskKey, told: Told) {
        let at = cx.now.wall;
        self.tasks.change(key, |task| {
            task.state = told.state;
            task.reason = told.reason;
            task.message = told.message.as_str().into();
            task.changed_at = at;
        });
        self.tell_of_task(cx, key, told);
    }

    /// Ends a task by what the master infers, and forgets it. A task that had ended already is
    /// forgotten without a word: its framework was told, or will never be.
    pub(super) fn end_by_master(&mut self, cx: &mut Cx<'_>, key: &TaskKey, told: Told) {
        debug_assert!(told.state.is_terminal());
        let Some(task) = self.tasks.get(key) else { return };
        if !task.state.is_terminal() {
            if task.holds() {
                let (role, resources) = (task.role.clone(), task.resources.clone());
                self.allocator.recover_allocated(key.agent, key.framework, &role, &resources);
            }
            self.count_end(told.state, told.reason);
            self.move_by_master(cx, key, told);
        }
        self.tasks.remove(key);
        self.hint_end(cx, key);
    }

    /// Forgets a task of a framework that has ended, on an agent that may never come back. It is
    /// shown as it was last seen.
    pub(super) fn drop_ended_framework_task(&mut self, cx: &mut Cx<'_>, key: &TaskKey, told: Told) {
        let Some(mut task) = self.tasks.remove(key) else { return };
        task.state = told.state;
        task.reason = told.reason;
        task.message = told.message.as_str().into();
        task.changed_at = cx.now.wall;
        self.tasks.show_ended(key, &task);
        self.hint_end(cx, key);
    }

    pub(super) fn count_end(&mut self, state: TaskState, reason: Option<Reason>) {
        self.counters.tasks_ended.add(state);
        if state != TaskState::Finished {
            self.counters.tasks_ended_reason.add(reason.unwrap_or(Reason::Unknown));
        }
    }

    /// Tells the other voters that a task is over, and how it ended.
    pub(super) fn hint_end(&self, cx: &mut Cx<'_>, key: &TaskKey) {
        hint_over(cx, key, self.tasks.end_of(key).map(Box::new));
    }

    /// A framework has an update: its agent is told.
    pub(super) fn acknowledge(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        task: TaskId,
        agent: AgentId,
        update: UpdateId,
    ) {
        let key = TaskKey { framework, task: task.clone(), agent };
        let message = ToAgent::Acknowledge { framework, task, update };
        if !self.tell_agent(cx, agent, message) {
            // The agent sends the update again when it is back, and the framework says so again.
            return;
        }
        self.counters.acknowledgements += 1;
        let is_head = |task: &Task| task.head.as_ref().is_some_and(|it| it.update == Some(update));
        let Some(known) = self.tasks.get(&key).filter(|task| is_head(task)) else { return };
        // The agent may have ended the task while an earlier update was waiting.
        let was_last = known.head.as_ref().is_some_and(|head| head.state.is_terminal());
        if was_last {
            self.tasks.remove(&key);
        } else {
            self.tasks.change_unseen(&key, |task| task.head = None);
        }
    }

    /// Asks an agent for the end of a task.
    pub(super) fn send_kill(&mut self, cx: &mut Cx<'_>, key: &TaskKey, grace_ms: Option<u64>) {
        let (framework, task) = (key.framework, key.task.clone());
        if self.tell_agent(cx, key.agent, ToAgent::Kill { framework, task, grace_ms, drain: None })
        {
            self.counters.kills += 1;
        }
    }

    /// Asks for the end of a task: now, and again when its agent returns. False when no such task
    /// is known.
    pub(super) fn kill(&mut self, cx: &mut Cx<'_>, key: &TaskKey, grace_ms: Option<u64>) -> bool {
        let Some(task) = self.tasks.get(key) else { return false };
        if task.state.is_terminal() {
            return false;
        }
        self.tasks.change_unseen(key, |task| task.kill = Some(grace_ms));
        self.send_kill(cx, key, grace_ms);
        true
    }
}

/// Tells the other voters that a task is over, with its end if it is known.
pub(super) fn hint_over(cx: &mut Cx<'_>, key: &TaskKey, end: Option<Box<TaskEnd>>) {
    cx.out.push(Effect::Hint(TaskHint {
        framework: key.framework,
        task: key.task.clone(),
        agent: key.agent,
        launch: None,
        end,
    }));
}
