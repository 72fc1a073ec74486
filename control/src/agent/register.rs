//! The stream to the leader: the fence, the registration, the end of an agent id.

use std::time::Duration;

use meshos_protocol::{
    ids::{AgentId, Fence},
    messages::agent::{Registration, TASKS_PER_REPORT_MAX, ToAgent, ToAgentFrame, ToLeader},
    task::TaskReport,
    time::Now,
};

use super::{
    Agent, Change, Effect,
    deadlines::Deadline,
    executors::Executor,
    launch::Owner,
    storage::Waiter,
    task::{Abandoned, Phase, TaskKey},
};
use crate::pages::pages;

/// How far the agent is with its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// No stream.
    Down,
    /// A stream, but what an ended agent id left behind must be gone first: it still uses what the
    /// registration would declare free.
    Waiting,
    /// The registration is sent.
    Registering,
    /// The leader has it.
    Registered,
}

impl Agent {
    /// A majority of the voters confirmed a leader. A stream to an older one counts no more.
    pub(super) fn leader_confirmed(&mut self, fence: Fence) {
        match self.fence {
            Some(known) if fence.is_stale(known) => self.counters.stale_frames += 1,
            Some(known) if known == fence => {}
            Some(_) | None => {
                self.fence = Some(fence);
                self.disconnected();
            }
        }
    }

    pub(super) fn connected(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.disconnected();
        if self.fence.is_some() {
            self.link = Link::Waiting;
            self.register_when_clear(now, effects);
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.link = Link::Down;
        self.held.clear();
        let retries: Vec<Deadline> =
            self.deadlines.iter().filter(|d| matches!(d, Deadline::Retry(_))).cloned().collect();
        for deadline in &retries {
            self.deadlines.clear(deadline);
        }
    }

    /// One instruction, obeyed only under the confirmed fence and on an open stream.
    pub(super) fn message(&mut self, now: Now, frame: ToAgentFrame, effects: &mut Vec<Effect>) {
        let Some(fence) = self.fence else {
            self.counters.unconfirmed_frames += 1;
            return;
        };
        if frame.fence.is_stale(fence) {
            self.counters.stale_frames += 1;
            return;
        }
        if frame.fence != fence || self.link == Link::Down {
            self.counters.unconfirmed_frames += 1;
            return;
        }
        match frame.message {
            ToAgent::Registered { agent, draining } => {
                self.draining = draining;
                self.registered(now, agent, effects);
            }
            ToAgent::Drain { draining } => self.draining = draining,
            ToAgent::Gone { message, leave } => self.gone(now, leave.then_some(message), effects),
            ToAgent::Refused { message } => self.refused(message, effects),
            ToAgent::Launch { framework, user, info, tasks } => {
                for launch in tasks {
                    let of = Owner { framework, user: &user, info: info.as_deref() };
                    self.launch(now, of, launch, effects);
                }
            }
            ToAgent::LaunchGroup { framework, user, info, tasks } => {
                let of = Owner { framework, user: &user, info: info.as_deref() };
                self.launch_group(now, of, tasks, effects);
            }
            ToAgent::Kill { framework, task, grace_ms, drain: None } => {
                self.kill(now, &(framework, task), grace_ms, effects);
            }
            ToAgent::Kill { framework, task, grace_ms: _, drain: Some(drain) } => {
                self.kill_for_drain(now, &(framework, task), drain, effects);
            }
            ToAgent::Operate { uuid, framework, id, operation } => {
                self.operate(uuid, (framework, id), &operation, effects);
            }
            ToAgent::SettleOperation { uuid } => self.settle_operation(uuid, effects),
            ToAgent::Acknowledge { framework, task, update } => {
                self.acknowledged(now, &(framework, task), update, effects);
            }
            ToAgent::ShutdownExecutor { framework, executor, grace_max_ms } => {
                let grace_max = grace_max_ms.map(Duration::from_millis);
                self.shut_down_executor(now, &(framework, executor), grace_max, effects);
            }
            ToAgent::ExecutorMessage { framework, executor, data } => {
                self.message_to_executor(framework, executor, data, effects);
            }
            ToAgent::CloseFramework { framework } => self.close_framework(now, framework, effects),
            ToAgent::TellEnds { after, max } => self.tell_ends(after, max, effects),
            ToAgent::Unknown => {}
        }
    }

    /// Registers once nothing of an ended agent id is left.
    pub(super) fn register_when_clear(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let anything = !self.tasks.is_empty() || !self.executors.is_empty();
        let leftovers = self.id.is_none() && anything;
        let Some(fence) = self.fence else { return };
        if self.link != Link::Waiting || leftovers || self.leaving.is_some() {
            return;
        }
        self.link = Link::Registering;
        self.counters.registrations += 1;
        let reports = self.tasks.values().filter_map(super::task::Task::report).collect();
        let mut pages = pages(reports, TASKS_PER_REPORT_MAX);
        let (tasks, more) = pages.next().unwrap_or_default();
        let registration = self.registration(fence, tasks, more);
        effects.push(Effect::SendToLeader(ToLeader::Register(registration)));
        effects.extend(
            pages.map(|(tasks, more)| Effect::SendToLeader(ToLeader::Report { tasks, more })),
        );
        self.restart_retries(now);
        if self.stopping {
            effects.push(Effect::SendToLeader(ToLeader::Leaving));
        }
    }

    fn registration(&self, fence: Fence, tasks: Vec<TaskReport>, more: bool) -> Registration {
        let config = &self.config;
        Registration {
            fence,
            node: config.node,
            generation: config.generation,
            agent: self.id,
            hostname: config.hostname.clone(),
            http_address: config.http_address.clone(),
            agent_address: config.agent_address.clone(),
            pid: config.pid,
            version: config.version.clone(),
            resources: self.operations.total.clone(),
            operations: Some(self.operations.reports()),
            executors: Some(self.executors.values().map(Executor::report).collect()),
            groups: true,
            attributes: config.attributes.clone(),
            domain: config.domain.clone(),
            tasks,
            more,
            ends: u32::try_from(self.ends.len()).unwrap_or(u32::MAX),
        }
    }

    /// The report carries every head, and the leader passes them on: they count as sent.
    fn restart_retries(&mut self, now: Now) {
        let wait = self.first_wait();
        for (key, task) in &mut self.tasks {
            task.retry = wait;
            if task.head().is_some() {
                self.deadlines.set(Deadline::Retry(key.clone()), now.mono.after(wait));
            }
        }
    }

    fn registered(&mut self, now: Now, agent: AgentId, effects: &mut Vec<Effect>) {
        if self.link != Link::Registering {
            return;
        }
        self.link = Link::Registered;
        if self.id != Some(agent) {
            self.id = Some(agent);
            self.write(Change::Agent(Some(agent)), effects);
        }
        for message in std::mem::take(&mut self.held) {
            self.tell(message, effects);
        }
        let heads: Vec<TaskKey> = self.tasks.keys().cloned().collect();
        for key in &heads {
            self.send_head(now, key, effects);
        }
    }

    /// The leader does not take this node in: it ends, and whoever started it is told why.
    fn refused(&mut self, why: String, effects: &mut Vec<Effect>) {
        if self.link == Link::Registering {
            self.link = Link::Waiting;
            self.held.clear();
            effects.push(Effect::Halt { why, wanted: false });
        }
    }

    /// The agent id has ended, and every task under it: all of it is ended and forgotten, then the
    /// node registers as a new agent, or ends.
    fn gone(&mut self, now: Now, leave: Option<String>, effects: &mut Vec<Effect>) {
        self.id = None;
        self.draining = false;
        if leave.is_some() {
            // It would be a new agent before it is stopped.
            self.disconnected();
        } else {
            self.held.clear();
            self.link = Link::Waiting;
        }
        self.leaving = leave;
        // Before that is on disk it would still be the old agent when it is started again.
        self.write_waited_for(Waiter::Leaving, Change::Agent(None), effects);
        self.forget_operations(effects);
        let keys: Vec<TaskKey> = self.tasks.keys().cloned().collect();
        for key in &keys {
            self.abandon(now, key, Abandoned::AgentGone, effects);
        }
        self.destroy_executors(now, effects);
        if self.storage.failure().is_some() {
            self.leave(effects);
        }
        self.register_when_clear(now, effects);
    }

    /// That the agent id has ended is on disk, or never will be: the node that was told to leave
    /// ends. If the disk refuses writes, it is told so again when it is started again.
    pub(super) fn leave(&self, effects: &mut Vec<Effect>) {
        if let Some(why) = self.leaving.clone() {
            effects.push(Effect::Halt { why, wanted: true });
        }
    }

    /// Nobody waits for a task's updates any more: it is ended, and then forgotten.
    pub(super) fn abandon(
        &mut self,
        now: Now,
        key: &TaskKey,
        why: Abandoned,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if task.abandoned == Some(Abandoned::AgentGone) {
            return;
        }
        task.abandoned = Some(why);
        let newest = std::mem::take(&mut task.record_mut().unacknowledged).pop();
        self.deadlines.clear(&Deadline::Retry(key.clone()));
        match (&task.phase, why) {
            (Phase::Forgetting { .. }, _) => {}
            (Phase::Ending { terminal, .. }, _) => {
                let (state, terminal) = (terminal.state, terminal.as_ref().clone());
                self.forget(key, Some(state), Some(&terminal), effects);
            }
            (Phase::Ended, _) => {
                let state = task.record.state;
                self.forget(key, Some(state), newest.as_ref(), effects);
            }
            (Phase::Recording { .. } | Phase::Queued, _) => {
                self.killed_in_group_before_start(now, key, effects);
            }
            // It ends with its executor, which is told by whoever asks for this.
            (Phase::Running { .. }, _) if task.executor_key().is_some() => {}
            (
                Phase::Starting | Phase::Running { .. } | Phase::Killing { .. },
                Abandoned::AgentGone,
            ) => {
                self.destroy(now, key, effects);
            }
            (
                Phase::Starting | Phase::Running { .. } | Phase::Killing { .. },
                Abandoned::FrameworkClosed,
            ) => self.kill(now, key, None, effects),
        }
    }
}
