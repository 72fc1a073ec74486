//! Executors: what they hold, and what passes between them and their schedulers.
//!
//! What an executor holds is counted from the launch that starts it until its agent says that it is
//! over. The agents own the truth: what they report replaces what is known here.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    executor::{EXECUTORS_PER_AGENT_MAX, ExecutorInfo, MESSAGE_BYTES_MAX},
    ids::{AgentId, ExecutorId, FrameworkId},
    messages::{
        agent::{ExecutorReport, ToAgent},
        scheduler::{CallError, Event as FrameworkEvent},
    },
    resources::Resources,
    role::Role,
    task::{Exit, Reason, TaskDescription, TaskState},
};

use super::{
    ConnectionId, DropReason,
    calls::invalid,
    state::{Core, Cx},
    updates::Told,
};
use crate::allowance::{Allowance, Rate};

/// Messages of one framework for its executors, in a second.
const MESSAGES_OF_FRAMEWORK: Rate = Rate { messages: 10_000, bytes: 16 << 20 };

/// Names an executor.
type Key = (AgentId, FrameworkId, ExecutorId);

/// An executor that is on an agent, or on its way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Executor {
    pub(super) role: Role,
    pub(super) resources: Resources,
    /// Of its description.
    fingerprint: u64,
    /// Set when its end was asked for; repeated when its agent returns.
    shutdown: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Executors {
    map: BTreeMap<Key, Executor>,
    /// What those of each framework hold: amounts, which add up over machines.
    held: BTreeMap<FrameworkId, Resources>,
    allowances: BTreeMap<FrameworkId, Allowance>,
}

fn first_of(agent: AgentId) -> Key {
    // No valid id sorts before a single blank: it is the lowest character that ids may hold.
    (agent, FrameworkId(0), ExecutorId::new(" ").expect("a blank is a valid executor id"))
}

fn amounts(resources: &Resources) -> Resources {
    resources.filter(|resource| resource.amount().is_some())
}

impl Executors {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Executor)> {
        self.map.iter()
    }

    fn of_agent(&self, agent: AgentId) -> impl Iterator<Item = (&Key, &Executor)> {
        self.map.range(first_of(agent)..).take_while(move |(key, _)| key.0 == agent)
    }

    /// The executors on one agent.
    pub(super) fn names_on(&self, agent: AgentId) -> Vec<(FrameworkId, ExecutorId)> {
        self.of_agent(agent).map(|((_, framework, id), _)| (*framework, id.clone())).collect()
    }

    /// What the executors on one agent hold.
    pub(super) fn held_on(
        &self,
        agent: AgentId,
    ) -> impl Iterator<Item = (FrameworkId, &Role, &Resources)> {
        self.of_agent(agent).map(|((_, framework, _), it)| (*framework, &it.role, &it.resources))
    }

    /// What those of a framework hold.
    pub(super) fn held_by(&self, framework: FrameworkId) -> Resources {
        self.held.get(&framework).cloned().unwrap_or_default()
    }

    fn insert(&mut self, key: Key, executor: Executor) {
        self.remove(&key);
        *self.held.entry(key.1).or_default() += &amounts(&executor.resources);
        self.map.insert(key, executor);
    }

    fn remove(&mut self, key: &Key) -> Option<Executor> {
        let executor = self.map.remove(key)?;
        if let Some(held) = self.held.get_mut(&key.1) {
            *held = held.saturating_sub(&amounts(&executor.resources));
            if held.is_empty() {
                self.held.remove(&key.1);
            }
        }
        Some(executor)
    }

    fn take_of_agent(&mut self, agent: AgentId) -> BTreeMap<Key, Executor> {
        let keys: Vec<Key> = self.of_agent(agent).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| Some((key.clone(), self.remove(&key)?))).collect()
    }

    /// The agents that have executors of a framework.
    pub(super) fn agents_of(&self, framework: FrameworkId) -> BTreeSet<AgentId> {
        self.map.keys().filter(|key| key.1 == framework).map(|key| key.0).collect()
    }

    pub(super) fn forget_allowance(&mut self, framework: FrameworkId) {
        self.allowances.remove(&framework);
    }

    pub(super) fn check_invariants(&self) {
        let mut held: BTreeMap<FrameworkId, Resources> = BTreeMap::new();
        for (key, executor) in &self.map {
            *held.entry(key.1).or_default() += &amounts(&executor.resources);
        }
        held.retain(|_, held| !held.is_empty());
        assert_eq!(held, self.held, "what executors hold by framework");
    }
}

impl Core {
    /// The executor that a task would start; none when it has none, or that is there.
    pub(super) fn judge_executor<'a>(
        &self,
        framework: FrameworkId,
        agent: AgentId,
        task: &'a TaskDescription,
    ) -> Result<Option<&'a ExecutorInfo>, Told> {
        let Some(info) = task.executor.as_deref() else { return Ok(None) };
        let refused = |state, reason, why: &str| {
            Err(Told { reason: Some(reason), ..Told::state(state, why) })
        };
        let facts = self.agents.get(&agent).and_then(|agent| agent.facts.as_ref());
        if let Some(facts) = facts.filter(|facts| !facts.knows_executors) {
            let why = format!(
                "agent {agent} runs release {}, which knows no executors: upgrade it",
                facts.version
            );
            return refused(TaskState::Dropped, Reason::AgentTooOld, &why);
        }
        let key = (agent, framework, info.id.clone());
        match self.executors.map.get(&key) {
            Some(known) if known.fingerprint != info.fingerprint() => {
                let why = format!(
                    "executor {} is on agent {agent} already, with another description: use the same one, or another id",
                    info.id
                );
                refused(TaskState::Error, Reason::TaskInvalid, &why)
            }
            Some(_) => Ok(None),
            None if self.executors.of_agent(agent).count() >= EXECUTORS_PER_AGENT_MAX => {
                let why = format!("agent {agent} has {EXECUTORS_PER_AGENT_MAX} executors");
                refused(TaskState::Dropped, Reason::TooManyTasks, &why)
            }
            None => Ok(Some(info)),
        }
    }

    /// An executor is about to be started with these resources.
    pub(super) fn add_executor(
        &mut self,
        (framework, agent): (FrameworkId, AgentId),
        info: &ExecutorInfo,
        (role, resources): (Role, Resources),
    ) {
        let key = (agent, framework, info.id.clone());
        let fingerprint = info.fingerprint();
        let executor = Executor { role, resources, fingerprint, shutdown: false };
        self.executors.insert(key, executor);
        self.pictures.framework_changed(framework);
    }

    /// An agent says that an executor is over: what it held is free.
    pub(super) fn on_executor_ended(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        (framework, executor): (FrameworkId, ExecutorId),
        (exit, message): (Option<Exit>, String),
    ) {
        let Some(agent) = self.registered_over(connection) else { return };
        let key = (agent, framework, executor.clone());
        let Some(known) = self.executors.remove(&key) else { return };
        self.allocator.recover_allocated(agent, framework, &known.role, &known.resources);
        self.pictures.framework_changed(framework);
        self.pictures.agent_changed(agent);
        self.counters.executors_ended += 1;
        let event = FrameworkEvent::ExecutorLost { agent, executor, exit, message };
        self.tell_framework(cx, framework, event);
        self.conclude_drain(cx, agent);
    }

    /// Takes over what an agent reports of executors, in place of what was known of them. The agent is
    /// not in the ledger meanwhile. Tells which frameworks with executors there have ended.
    pub(super) fn take_executors(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        reports: Vec<ExecutorReport>,
    ) -> BTreeSet<FrameworkId> {
        let mut before = self.executors.take_of_agent(agent);
        let mut ended = BTreeSet::new();
        for report in reports.into_iter().take(EXECUTORS_PER_AGENT_MAX) {
            let ExecutorReport { framework, executor, role, resources, fingerprint } = report;
            if self.registry.framework(framework).is_none() {
                ended.insert(framework);
            }
            let key = (agent, framework, executor.clone());
            let shutdown = before.remove(&key).is_some_and(|known| known.shutdown);
            self.executors.insert(key, Executor { role, resources, fingerprint, shutdown });
            self.pictures.framework_changed(framework);
            if shutdown {
                self.tell_agent(
                    cx,
                    agent,
                    ToAgent::ShutdownExecutor { framework, executor, grace_max_ms: None },
                );
            }
        }
        for ((_, framework, executor), _) in before {
            self.pictures.framework_changed(framework);
            self.counters.executors_ended += 1;
            let message = "the agent came back and does not have the executor".to_owned();
            let event = FrameworkEvent::ExecutorLost { agent, executor, exit: None, message };
            self.tell_framework(cx, framework, event);
        }
        ended
    }

    /// What executors on an agent hold counts no more: the agent is out of the ledger.
    pub(super) fn drop_executors_of(&mut self, agent: AgentId) {
        for ((_, framework, _), _) in self.executors.take_of_agent(agent) {
            self.pictures.framework_changed(framework);
        }
    }

    pub(super) fn shut_down_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: AgentId,
        executor: ExecutorId,
    ) -> Result<(), CallError> {
        let key = (agent, framework, executor.clone());
        let known = self.executors.map.get_mut(&key);
        let known = known.ok_or_else(|| unknown(agent, &executor))?;
        known.shutdown = true;
        self.tell_agent(
            cx,
            agent,
            ToAgent::ShutdownExecutor { framework, executor, grace_max_ms: None },
        );
        Ok(())
    }

    /// A scheduler has something for one of its executors.
    pub(super) fn message_to_executor(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        (agent, executor): (AgentId, ExecutorId),
        data: Vec<u8>,
    ) -> Result<(), CallError> {
        let bytes = data.len();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(invalid(format!(
                "the message has {bytes} bytes, at most {MESSAGE_BYTES_MAX} are allowed"
            )));
        }
        if !self.executors.map.contains_key(&(agent, framework, executor.clone())) {
            return Err(unknown(agent, &executor));
        }
        let allowance = self.executors.allowances.entry(framework).or_default();
        if !allowance.take(cx.now.mono, bytes, MESSAGES_OF_FRAMEWORK) {
            return Err(super::calls::busy("too many messages for executors in this second"));
        }
        self.counters.executor_messages += 1;
        self.tell_agent(cx, agent, ToAgent::ExecutorMessage { framework, executor, data });
        Ok(())
    }

    /// An executor has something for its scheduler.
    pub(super) fn on_executor_message(
        &mut self,
        cx: &mut Cx<'_>,
        connection: ConnectionId,
        (framework, executor): (FrameworkId, ExecutorId),
        data: Vec<u8>,
    ) {
        let Some(agent) = self.registered_over(connection) else { return };
        let known = self.executors.map.contains_key(&(agent, framework, executor.clone()));
        if !known || data.len() > MESSAGE_BYTES_MAX {
            self.counters.dropped.add(DropReason::Invalid);
            return;
        }
        self.counters.executor_messages += 1;
        self.tell_framework(cx, framework, FrameworkEvent::Message { agent, executor, data });
    }
}

fn unknown(agent: AgentId, executor: &ExecutorId) -> CallError {
    invalid(format!("the framework has no executor {executor} on agent {agent}"))
}
