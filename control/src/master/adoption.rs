//! What an agent's report changes: its tasks become the master's knowledge.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use meshos_alloc::AgentProfile;
use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    messages::agent::{TaskHint, ToAgent},
    resources::Resources,
    role::Role,
    task::{Reason, TaskReport, TaskState},
    time::Now,
};

use super::{
    ConnectionId,
    agents::{Facts, Link, Report},
    state::{Core, Cx},
    tasks::{Task, TaskKey, TaskPhase},
    updates::{Told, hint_over},
};

impl Core {
    /// Takes over what an earlier leader told of its tasks. It is believed until their agents
    /// report, and as long as those do not come back. How tasks ended is shown: nobody else may
    /// remember it.
    pub(super) fn take_hints(&mut self, now: Now, hints: Vec<TaskHint>) {
        let mut ends = Vec::new();
        for hint in hints {
            if let Some(end) = hint.end {
                ends.push((hint.agent, *end));
            }
            let key = TaskKey { framework: hint.framework, task: hint.task, agent: hint.agent };
            let known = self.registry.framework(key.framework).is_some()
                && self.agents.contains_key(&key.agent);
            match hint.launch {
                Some(launch) if known && self.tasks.len() < self.config.limits.tasks_max => {
                    let mut task = Task::new(&launch, TaskPhase::Hinted, now.wall);
                    if self.agents.get(&key.agent).is_some_and(|it| it.link == Link::Unreachable) {
                        task.state = TaskState::Unreachable;
                        task.reason = Some(Reason::AgentUnreachable);
                    }
                    self.tasks.insert(key, task);
                }
                Some(_) | None => {
                    self.tasks.remove(&key);
                }
            }
        }
        ends.retain(|(_, end)| end.state.is_terminal());
        self.tasks.learn_ended(now.wall, ends);
    }

    /// Takes an agent with its whole report in.
    pub(super) fn adopt(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        agent: AgentId,
        report: Report,
    ) {
        let Report { mut registration, tasks, early, admission_asked: _ } = report;
        let operations = registration.operations.take();
        let ends = registration.ends;
        let executors = registration.executors.clone().unwrap_or_default();
        let facts = Arc::new(Facts::of(registration));
        if let Some(entry) = self.agents.get_mut(&agent) {
            entry.link = Link::Online { connection };
            entry.facts = Some(Arc::clone(&facts));
            entry.reported = true;
            entry.registered.note(cx.now.wall);
        }
        self.awaited.remove(&agent);
        self.pictures.agent_changed(agent);
        // The report replaces all that was known. The allocator hears of the agent before
        // anything can recover from it.
        self.allocator.remove_agent(agent);
        let mut ended = self.take_reports(cx, agent, tasks);
        ended.extend(self.take_executors(cx, agent, executors));
        let used = self.held_on(agent);
        let profile = AgentProfile {
            attributes: facts.attributes.clone(),
            hostname: facts.hostname.clone(),
            domain: facts.domain.clone(),
        };
        self.allocator.add_agent(agent, facts.resources.clone(), profile, &used);
        self.allocator.set_agent_active(agent, self.registry.takes_tasks(agent));
        for framework in ended {
            self.tell_agent(cx, agent, ToAgent::CloseFramework { framework });
        }
        self.repeat_kills(cx, agent);
        self.go_on_draining(cx, agent);
        self.take_operations(cx, agent, operations);
        self.agent_has_reported(cx, agent);
        for status in early {
            self.on_update(cx, connection, status);
        }
        self.wants_history_of(cx, agent, ends);
    }

    /// Takes the reported tasks over and ends those that the agent does not know. Tells which
    /// frameworks with tasks there have ended.
    fn take_reports(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        reports: Vec<TaskReport>,
    ) -> BTreeSet<FrameworkId> {
        let mut forgotten: BTreeSet<TaskKey> = self.tasks.of_agent(agent).into_iter().collect();
        let mut ended = BTreeSet::new();
        for mut report in reports {
            report.state = as_reported(report.state);
            let task = report.launch.description.task_id.clone();
            let key = TaskKey { framework: report.framework, task, agent };
            if self.registry.framework(key.framework).is_none() {
                ended.insert(key.framework);
            }
            if report.state.is_terminal() && report.unacknowledged.is_empty() {
                // Over and acknowledged; the agent is about to forget it, and so is the master.
                continue;
            }
            forgotten.remove(&key);
            self.take_report(cx, key, report);
        }
        for key in forgotten {
            self.forgotten_by_agent(cx, &key);
        }
        ended
    }

    fn take_report(&mut self, cx: &mut Cx<'_>, key: TaskKey, report: TaskReport) {
        let known = self.tasks.get(&key);
        let was_unreachable = known.is_some_and(|task| task.state == TaskState::Unreachable);
        let mut task = known
            .filter(|task| !task.state.is_terminal() || report.state.is_terminal())
            .map(Task::without_row)
            .unwrap_or_else(|| Task::new(&report.launch, TaskPhase::Known, cx.now.wall));
        task.phase = TaskPhase::Known;
        task.role = report.launch.role.clone();
        task.resources = report.launch.description.resources.clone();
        // Earlier agents tell the start only while its update is not acknowledged.
        report.unacknowledged.iter().for_each(|status| task.note_start(status));
        task.started_at = task.started_at.or(report.started_at);
        task.launched_at = task.launched_at.or(report.launched_at);
        (task.healthy, task.check_status) = (report.healthy, report.check_status);
        let newest = report.unacknowledged.last().filter(|status| status.state == report.state);
        match newest {
            Some(status) => task.follow(status),
            None if task.state != report.state => {
                task.state = report.state;
                task.reason = None;
                task.message = "".into();
                // A task that runs does so since it started, whoever leads.
                let running = report.state == TaskState::Running;
                let since = task.started_at.filter(|_| running);
                task.changed_at = since.unwrap_or(cx.now.wall);
            }
            None => {}
        }
        task.head = report.unacknowledged.into_iter().next().map(|mut head| {
            // The agent speaks of its own tasks only.
            (head.framework, head.task) = (key.framework, key.task.clone());
            head.agent = Some(key.agent);
            Box::new(head)
        });
        let head = task.head.clone();
        let terminal = task.state.is_terminal();
        self.tasks.insert(key.clone(), task);
        if terminal {
            self.hint_end(cx, &key);
        }
        if was_unreachable && !terminal {
            let told = Told {
                reason: Some(Reason::AgentReregistered),
                healthy: report.healthy,
                check_status: report.check_status,
                ..Told::state(report.state, "the agent has come back with the task")
            };
            self.tell_of_task(cx, &key, told);
        }
        if let Some(head) = head {
            self.pass_on(cx, *head);
        }
    }

    /// The master knew of a task on this agent, and the agent does not.
    fn forgotten_by_agent(&mut self, cx: &mut Cx<'_>, key: &TaskKey) {
        let Some(task) = self.tasks.get(key) else { return };
        let told = match task.phase {
            _ if task.state.is_terminal() => None,
            // Ended and acknowledged, or never arrived: whoever waits for it has asked.
            TaskPhase::Hinted => None,
            TaskPhase::Sent => Some(Told {
                reason: Some(Reason::AgentDisconnected),
                ..Told::state(TaskState::Dropped, "the agent went away before the launch arrived")
            }),
            TaskPhase::Known => Some(Told {
                reason: Some(Reason::AgentForgot),
                ..Told::state(TaskState::Gone, "the agent came back and does not know the task")
            }),
        };
        match told {
            Some(told) => self.end_by_master(cx, key, told),
            None => {
                self.tasks.remove(key);
                hint_over(cx, key, None);
            }
        }
    }

    /// What tasks and executors hold on one agent, by framework and role.
    pub(super) fn held_on(&self, agent: AgentId) -> Vec<(FrameworkId, Role, Resources)> {
        let mut held: BTreeMap<(FrameworkId, Role), Resources> = BTreeMap::new();
        for key in self.tasks.of_agent(agent) {
            let Some(task) = self.tasks.get(&key).filter(|task| task.holds()) else { continue };
            *held.entry((key.framework, task.role.clone())).or_default() += &task.resources;
        }
        for (framework, role, resources) in self.executors.held_on(agent) {
            *held.entry((framework, role.clone())).or_default() += resources;
        }
        held.into_iter().map(|((framework, role), held)| (framework, role, held)).collect()
    }

    /// Kills that were asked for while the agent was away.
    fn repeat_kills(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        for key in self.tasks.of_agent(agent) {
            let Some(task) = self.tasks.get(&key) else { continue };
            if let Some(grace_ms) = task.kill
                && !task.state.is_terminal()
            {
                self.send_kill(cx, &key, grace_ms);
            }
        }
    }
}

/// The state of a reported task. States that only a master tells, and those of newer releases,
/// say no more than that the agent has the task.
const fn as_reported(state: TaskState) -> TaskState {
    match state {
        TaskState::Unreachable | TaskState::Lost | TaskState::Unknown => TaskState::Staging,
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
        | TaskState::GoneByOperator => state,
    }
}
