//! Reconciliation: what the master answers when it is asked for the states of tasks.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{AgentId, FrameworkId, TaskId},
    messages::scheduler::{CallError, TASKS_PER_CALL_MAX, TaskQuery},
    task::{Reason, TaskState},
};

use super::{
    calls::{busy, invalid},
    state::{Core, Cx},
    tasks::{TaskKey, TaskPhase},
    updates::Told,
};
use crate::registry::AgentState;

/// What waits for an agent's report.
#[derive(Debug, Clone, Copy, Default)]
struct Question {
    /// The asker accepted an offer for it and has heard nothing.
    pending: bool,
    /// The task is to be killed, with this grace period.
    kill: Option<Option<u64>>,
}

/// Questions that wait for agents to report in this term.
#[derive(Debug, Default)]
pub(super) struct Questions {
    by_agent: BTreeMap<AgentId, BTreeMap<(FrameworkId, TaskId), Question>>,
    /// Tasks not known here of which a framework was told that they are unreachable, and whether it had asked for a
    /// pending one. They are answered anew when the agent comes back: nobody else would tell.
    strangers: BTreeMap<AgentId, BTreeMap<(FrameworkId, TaskId), bool>>,
    strangers_count: usize,
}

impl Questions {
    pub(super) fn len(&self) -> usize {
        self.by_agent.values().map(BTreeMap::len).sum()
    }

    fn ask(&mut self, key: TaskKey, ask: impl FnOnce(&mut Question)) {
        let questions = self.by_agent.entry(key.agent).or_default();
        ask(questions.entry((key.framework, key.task)).or_default());
    }

    fn take(&mut self, agent: AgentId) -> BTreeMap<(FrameworkId, TaskId), Question> {
        self.by_agent.remove(&agent).unwrap_or_default()
    }

    pub(super) const fn strangers_len(&self) -> usize {
        self.strangers_count
    }

    /// Remembers a task as told to be unreachable; beyond `max` none, whose frameworks have to ask again.
    fn told_unreachable(&mut self, key: TaskKey, pending: bool, max: usize) {
        if self.strangers_count >= max {
            return;
        }
        let strangers = self.strangers.entry(key.agent).or_default();
        if strangers.insert((key.framework, key.task), pending).is_none() {
            self.strangers_count += 1;
        }
    }

    fn take_strangers(&mut self, agent: AgentId) -> BTreeMap<(FrameworkId, TaskId), bool> {
        let strangers = self.strangers.remove(&agent).unwrap_or_default();
        self.strangers_count -= strangers.len();
        strangers
    }

    pub(super) fn forget_framework(&mut self, framework: FrameworkId) {
        for questions in self.by_agent.values_mut() {
            questions.retain(|(asker, _), _| *asker != framework);
        }
        self.by_agent.retain(|_, questions| !questions.is_empty());
        for strangers in self.strangers.values_mut() {
            strangers.retain(|(asker, _), _| *asker != framework);
        }
        self.strangers.retain(|_, strangers| !strangers.is_empty());
        self.strangers_count = self.strangers.values().map(BTreeMap::len).sum();
    }

    pub(super) fn agents(&self) -> impl Iterator<Item = AgentId> {
        self.by_agent.keys().copied()
    }
}

impl Core {
    pub(super) fn reconcile(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        tasks: Vec<TaskQuery>,
    ) -> Result<(), CallError> {
        if tasks.len() > TASKS_PER_CALL_MAX {
            return Err(invalid(format!("more than {TASKS_PER_CALL_MAX} tasks in one call")));
        }
        if tasks.is_empty() {
            self.counters.reconciliations += 1;
            for key in self.tasks.of_framework(framework) {
                self.tell_known(cx, &key);
            }
            return Ok(());
        }
        self.room_for_questions(tasks.len())?;
        self.counters.reconciliations += u64::try_from(tasks.len()).unwrap_or(u64::MAX);
        let all_reported = self.all_agents_have_reported();
        for query in &tasks {
            self.answer_query(cx, framework, query, None, all_reported);
        }
        Ok(())
    }

    pub(super) fn kill_by_framework(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        task: TaskId,
        agent: Option<AgentId>,
        grace_ms: Option<u64>,
    ) -> Result<(), CallError> {
        let known = self.tasks.find(framework, &task, agent).map(|(key, _)| key.clone());
        if let Some(key) = known
            && self.kill(cx, &key, grace_ms)
        {
            return Ok(());
        }
        self.room_for_questions(1)?;
        let query = TaskQuery { task, agent, pending: false };
        let all_reported = self.all_agents_have_reported();
        self.answer_query(cx, framework, &query, Some(grace_ms), all_reported);
        Ok(())
    }

    fn room_for_questions(&self, more: usize) -> Result<(), CallError> {
        if self.questions.by_agent.is_empty()
            || self.questions.len() + more <= self.config.limits.questions_max
        {
            return Ok(());
        }
        Err(busy("too many questions wait for agents to report, ask again later"))
    }

    /// Whether no agent is still expected to report in this term.
    fn all_agents_have_reported(&self) -> bool {
        self.awaited.is_empty()
    }

    fn answer_query(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        query: &TaskQuery,
        kill: Option<Option<u64>>,
        all_reported: bool,
    ) {
        let known = self.tasks.find(framework, &query.task, query.agent);
        let elsewhere =
            known.is_some_and(|(key, _)| query.agent.is_some_and(|agent| agent != key.agent));
        if let Some((key, _)) = known.filter(|_| !(elsewhere && query.pending)) {
            let key = key.clone();
            if !self.tell_known(cx, &key) && query.pending {
                self.questions.ask(key, |question| question.pending = true);
            }
            return;
        }
        let Some(agent) = query.agent else {
            if all_reported {
                let told = reconciled(TaskState::Unknown, "no agent has reported the task");
                self.tell_status(cx, framework, &query.task, None, told);
            }
            return;
        };
        if let Some(told) = self.state_of_unknown(agent, query.pending) {
            if told.state == TaskState::Unreachable {
                let key = TaskKey { framework, task: query.task.clone(), agent };
                let max = self.config.limits.questions_max;
                self.questions.told_unreachable(key, query.pending, max);
            }
            self.tell_status(cx, framework, &query.task, Some(agent), told);
        } else if query.pending || kill.is_some() {
            let key = TaskKey { framework, task: query.task.clone(), agent };
            self.questions.ask(key, |question| {
                question.pending |= query.pending;
                question.kill = kill.or(question.kill);
            });
        }
    }

    /// Tells what is known of a task. False when it is only a hint: its agent has not reported.
    fn tell_known(&mut self, cx: &mut Cx<'_>, key: &TaskKey) -> bool {
        let Some(task) = self.tasks.get(key) else { return false };
        if task.phase == TaskPhase::Hinted && task.state == TaskState::Unknown {
            return false;
        }
        // An answer never runs ahead of the updates that the framework has yet to acknowledge: they
        // come in their turn, and a later one must not tell it of an earlier state.
        let told = match &task.head {
            Some(head) if task.state != TaskState::Unreachable => Told {
                state: head.state,
                reason: Some(Reason::Reconciliation),
                message: head.message.clone(),
                exit: head.exit.clone(),
                healthy: head.healthy,
                check_status: head.check_status,
            },
            None if task.state.is_terminal() => return true,
            Some(_) | None => Told {
                state: task.state,
                reason: Some(Reason::Reconciliation),
                message: task.message.to_string(),
                exit: task.exit.clone(),
                healthy: task.healthy,
                check_status: task.check_status,
            },
        };
        self.tell_of_task(cx, key, told);
        true
    }

    /// What is to be said of a task that is not known on this agent; nothing while the agent is
    /// expected to report.
    fn state_of_unknown(&self, agent: AgentId, pending: bool) -> Option<Told> {
        match self.registry.agent(agent) {
            None => Some(reconciled(TaskState::Unknown, "the agent is not known")),
            Some(AgentState::Gone { .. }) => {
                Some(reconciled(TaskState::Gone, "the agent has been declared gone"))
            }
            Some(AgentState::Unreachable { .. } | AgentState::Unknown) => {
                Some(reconciled(TaskState::Unreachable, "the agent cannot be reached"))
            }
            Some(AgentState::Active | AgentState::Draining) => {
                let reported = self.agents.get(&agent).is_some_and(|agent| agent.reported);
                reported.then(|| not_on_agent(pending))
            }
        }
    }

    /// An agent has reported: what waited for that is answered.
    pub(super) fn agent_has_reported(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        for ((framework, task), question) in self.questions.take(agent) {
            let key = TaskKey { framework, task, agent };
            if let Some(grace_ms) = question.kill
                && self.kill(cx, &key, grace_ms)
            {
                continue;
            }
            if !self.tell_known(cx, &key) {
                let told = not_on_agent(question.pending);
                self.tell_status(cx, framework, &key.task, Some(agent), told);
            }
        }
        for ((framework, task), pending) in self.questions.take_strangers(agent) {
            self.tell_of_stranger(cx, TaskKey { framework, task, agent }, pending);
        }
    }

    /// The agent of a task that was told to be unreachable is back.
    fn tell_of_stranger(&mut self, cx: &mut Cx<'_>, key: TaskKey, pending: bool) {
        let Some(task) = self.tasks.get(&key) else {
            self.tell_status(cx, key.framework, &key.task, Some(key.agent), not_on_agent(pending));
            return;
        };
        // An update that waits for its acknowledgement was passed on, and says more.
        if task.head.is_none() && !task.state.is_terminal() {
            let told = Told {
                reason: Some(Reason::AgentReregistered),
                healthy: task.healthy,
                check_status: task.check_status,
                ..Told::state(task.state, "the agent has come back with the task")
            };
            self.tell_of_task(cx, &key, told);
        }
    }

    /// An agent will not report: what waited for that is answered with what that means.
    pub(super) fn agent_will_not_report(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        state: TaskState,
        reason: Reason,
    ) {
        let asked = self.questions.take(agent).into_iter();
        let mut unknown: BTreeMap<_, bool> =
            asked.map(|(key, asked)| (key, asked.pending)).collect();
        unknown.extend(self.questions.take_strangers(agent));
        for ((framework, task), pending) in unknown {
            let key = TaskKey { framework, task: task.clone(), agent };
            if self.tasks.get(&key).is_some() {
                // Told along with the agent's other tasks.
                continue;
            }
            if state == TaskState::Unreachable {
                self.questions.told_unreachable(key, pending, self.config.limits.questions_max);
            }
            let told = Told {
                reason: Some(reason),
                ..Told::state(state, "the agent went away before it told of the task")
            };
            self.tell_status(cx, framework, &task, Some(agent), told);
        }
    }
}

fn reconciled(state: TaskState, message: &str) -> Told {
    Told { reason: Some(Reason::Reconciliation), ..Told::state(state, message) }
}

/// A task that its agent, having reported, does not know.
fn not_on_agent(pending: bool) -> Told {
    if pending {
        let message = "the launch was not passed on before the leader changed";
        let reason = Some(Reason::LeaderChanged);
        return Told { reason, ..Told::state(TaskState::Dropped, message) };
    }
    reconciled(TaskState::Gone, "the agent does not know the task")
}
