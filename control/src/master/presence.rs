//! How frameworks go: lost streams, grace, fail-over time, the end.

use std::{collections::BTreeMap, time::Duration};

use meshos_protocol::{
    ids::{FrameworkId, SessionId},
    messages::{
        agent::ToAgent,
        scheduler::{CallError, CallErrorKind, Event as FrameworkEvent},
    },
    task::{Reason, TaskState},
    time::{Mono, Now},
};

use super::{
    Effect,
    agents::{Link, Times},
    frameworks::{Framework, Presence, SessionPhase},
    proposals::{Caller, Purpose},
    state::{Core, Cx},
    tasks::TaskPhase,
    timers::Timer,
    updates::Told,
};
use crate::registry::{Command, FrameworkRecord};

impl Core {
    /// Takes a framework up that is on record.
    pub(super) fn insert_framework(&mut self, now: Now, id: FrameworkId) {
        let Some(record) = self.registry.framework(id) else { return };
        let presence = match record.disconnected_at {
            None => Presence::Lost { until: now.mono.after(self.config.reconnect_grace) },
            Some(_) => Presence::Disconnected { until: end_of_failover(now, record) },
        };
        let info = &record.info;
        self.allocator.add_framework(id, &info.roles, &record.suppressed_roles, info.capabilities);
        self.allocator.set_framework_active(id, false);
        let slot = self.pictures.framework_slot(id, record);
        self.apply_wishes(id);
        let framework = Framework {
            presence,
            suppressing: None,
            updating: None,
            rescinds_untold: BTreeMap::new(),
            registered: Times::default(),
            slot,
        };
        self.frameworks.insert(id, framework);
        self.arm_framework_timer(id);
    }

    pub(super) fn set_presence(&mut self, id: FrameworkId, presence: Presence) {
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.presence = presence;
            self.inverse.framework_changed(id);
            self.pictures.framework_changed(id);
            self.arm_framework_timer(id);
        }
    }

    fn arm_framework_timer(&mut self, id: FrameworkId) {
        let timer = Timer::FrameworkAway(id);
        match self.frameworks.get(&id).map(|framework| framework.presence) {
            Some(Presence::Lost { until } | Presence::Disconnected { until }) => {
                self.timers.set(timer, until);
            }
            Some(Presence::Subscribed { .. } | Presence::Leaving | Presence::Closing) | None => {
                self.timers.clear(timer);
            }
        }
    }

    /// A framework's stream is gone; it counts as disconnected after `grace`.
    pub(super) fn session_closed(&mut self, cx: &mut Cx<'_>, session: SessionId, grace: Duration) {
        let Some(stream) = self.sessions.remove(&session) else { return };
        let SessionPhase::Subscribed { framework, .. } = stream.phase else { return };
        self.lose_session(cx, framework, session, grace);
    }

    /// Nobody listens for the framework any more: what it was offered is free again.
    pub(super) fn lose_session(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        session: SessionId,
        grace: Duration,
    ) {
        let presence = self.frameworks.get(&framework).map(|framework| framework.presence);
        if presence != Some(Presence::Subscribed { session }) {
            return;
        }
        self.set_presence(framework, Presence::Lost { until: cx.now.mono.after(grace) });
        self.allocator.set_framework_active(framework, false);
        self.inverse_offers_unheard(framework);
        self.rescind_of_framework(cx, framework);
    }

    /// A framework's grace or fail-over time has run out.
    pub(super) fn framework_timed_out(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let Some(presence) = self.frameworks.get(&framework).map(|it| it.presence) else { return };
        match presence {
            Presence::Lost { .. } => {
                let Some(record) = self.registry.framework(framework) else { return };
                let subscription = record.subscription;
                let command = Command::Disconnect { framework, subscription, at: cx.now.wall };
                let purpose = Purpose::Away { framework };
                self.propose(cx, command, purpose, Caller::Nobody);
                self.set_presence(framework, Presence::Leaving);
            }
            Presence::Disconnected { .. } => {
                let why = "it was disconnected for longer than its fail-over timeout".to_owned();
                let command = Command::CloseFramework { framework, at: cx.now.wall, why };
                let purpose = Purpose::Away { framework };
                self.propose(cx, command, purpose, Caller::Nobody);
                self.set_presence(framework, Presence::Closing);
            }
            Presence::Subscribed { .. } | Presence::Leaving | Presence::Closing => {}
        }
    }

    /// A framework is on record as disconnected.
    pub(super) fn disconnect_recorded(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let Some(record) = self.registry.framework(framework) else { return };
        let (subscription, until) = (record.subscription, end_of_failover(cx.now, record));
        match self.frameworks.get(&framework).map(|framework| framework.presence) {
            Some(Presence::Subscribed { .. }) => {
                // An earlier leader's word, applied late: it is there.
                let command = Command::Reconnect { framework, subscription };
                self.propose(cx, command, Purpose::Records, Caller::Nobody);
            }
            Some(Presence::Lost { .. } | Presence::Leaving | Presence::Disconnected { .. }) => {
                self.set_presence(framework, Presence::Disconnected { until });
            }
            Some(Presence::Closing) | None => {}
        }
    }

    /// A framework is on record as connected again; its stream is taken up by whoever wished so.
    pub(super) fn reconnect_recorded(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let grace = self.config.reconnect_grace;
        match self.frameworks.get(&framework).map(|framework| framework.presence) {
            Some(Presence::Leaving | Presence::Disconnected { .. }) => {
                let until = cx.now.mono.after(grace);
                self.set_presence(framework, Presence::Lost { until });
            }
            Some(Presence::Subscribed { .. } | Presence::Lost { .. } | Presence::Closing)
            | None => {}
        }
    }

    /// A disconnect or an end has come back. When it was refused, the wait begins anew.
    pub(super) fn away_concluded(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let grace = self.config.reconnect_grace;
        let presence = self.frameworks.get(&framework).map(|framework| framework.presence);
        if let Some(Presence::Leaving | Presence::Closing) = presence {
            let until = cx.now.mono.after(grace);
            self.set_presence(framework, Presence::Lost { until });
        }
    }

    /// A framework has ended: its stream, its offers and its tasks end with it.
    pub(super) fn framework_closed(&mut self, cx: &mut Cx<'_>, id: FrameworkId, why: &str) {
        let Some(framework) = self.frameworks.get(&id) else { return };
        if let Some(session) = framework.presence.session() {
            self.sessions.remove(&session);
            let message = format!("framework {id} has ended: {why}");
            let error = CallError { kind: CallErrorKind::FrameworkRemoved, message };
            cx.out
                .push(Effect::SendToFramework { session, event: FrameworkEvent::Error { error } });
            cx.out.push(Effect::CloseSession { session });
            self.set_presence(id, Presence::Closing);
        }
        self.inverse.framework_changed(id);
        self.rescind_of_framework(cx, id);
        self.timers.clear(Timer::FrameworkAway(id));
        self.allocator.remove_framework(id);
        self.questions.forget_framework(id);
        self.forget_operations_of(cx, id);
        self.close_tasks(cx, id);
        self.counters.frameworks_closed += 1;
        let slot = self.frameworks.remove(&id).map(|framework| framework.slot);
        let record = self.registry.frameworks().find(|(it, _)| *it == id).map(|(_, record)| record);
        self.pictures.framework_closed(&self.config, id, slot, record);
    }

    /// Ends the tasks of a framework that has ended: those on agents that are there by those
    /// agents, which tell when it is done; the others are forgotten. If an agent brings them back,
    /// it is told then.
    fn close_tasks(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let mut told = self.executors.agents_of(framework);
        for agent in &told {
            self.tell_agent(cx, *agent, ToAgent::CloseFramework { framework });
        }
        self.executors.forget_allowance(framework);
        for key in self.tasks.of_framework(framework) {
            let Some(task) = self.tasks.get(&key) else { continue };
            let state = task.state;
            let link = self.agents.get(&key.agent).map(|agent| agent.link);
            let counts = link.is_some_and(Link::is_in_ledger) && task.phase != TaskPhase::Hinted;
            if told.insert(key.agent) {
                self.tell_agent(cx, key.agent, ToAgent::CloseFramework { framework });
            }
            if state.is_terminal() {
                self.tasks.remove(&key);
            } else if !counts {
                let told = Told {
                    reason: Some(Reason::FrameworkRemoved),
                    ..Told::state(state, "its framework has ended")
                };
                self.drop_ended_framework_task(cx, &key, told);
            } else if state != TaskState::Killing {
                self.tasks.change_unseen(&key, |task| task.head = None);
            }
        }
    }
}

/// When the fail-over time of a disconnected framework has run out.
fn end_of_failover(now: Now, record: &FrameworkRecord) -> Mono {
    let timeout = Duration::from_millis(record.info.failover_timeout_ms);
    let passed = record.disconnected_at.map_or(Duration::ZERO, |at| now.wall.since(at));
    now.mono.after(timeout.saturating_sub(passed))
}
