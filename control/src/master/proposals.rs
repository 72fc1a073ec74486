//! Changes of the registry on their way.
//!
//! The purpose of a proposal says whom its outcome concerns beyond the records themselves. What
//! follows from the records is decided by the entry alone, whoever proposed it.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    demand::Demands,
    ids::{AgentId, FrameworkId, ProposalId, RequestId, SessionId},
    messages::scheduler::{CallError, CallErrorKind},
    role::Role,
};

use super::{
    ConnectionId, Effect,
    state::{Core, Cx},
};
use crate::registry::{AgentState, Command, Entry, Outcome};

/// What a proposal is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// The agent behind this stream wants to be admitted.
    AdmitAgent { connection: ConnectionId },
    /// An agent's state changes.
    AgentState { agent: AgentId },
    /// The caller wants a subscription.
    Subscribe(Subscribing),
    /// The framework's suppressed roles change; revived roles also lose their filters.
    Suppression { framework: FrameworkId, revived: Option<BTreeSet<Role>> },
    /// The framework says something else of itself.
    FrameworkUpdate { framework: FrameworkId },
    /// The framework has been away for too long: it is disconnected, or ends.
    Away { framework: FrameworkId },
    /// It is planned which nodes will be away.
    Maintenance,
    /// Nothing beyond the records.
    Records,
}

/// A subscribe that waits for the registry.
#[derive(Debug, Clone)]
pub(super) struct Subscribing {
    pub(super) session: SessionId,
    pub(super) request: Option<RequestId>,
    pub(super) nonce: String,
    /// Absent for a framework that has no id yet.
    pub(super) framework: Option<FrameworkId>,
    /// What it wants, if it says so.
    pub(super) demand: Option<Box<Demands>>,
}

/// Who is answered when a proposal's outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Nobody asked.
    Nobody,
    /// A framework's call; the request when it wants an answer.
    Framework { session: SessionId, request: Option<RequestId> },
    /// An operator.
    Operator { request: RequestId },
}

/// The proposals on their way.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    newest: ProposalId,
    pending: BTreeMap<ProposalId, (Purpose, Caller)>,
    /// How many of them admit an agent.
    admissions: usize,
}

impl Proposals {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// How many agents are being admitted.
    pub(super) const fn admissions(&self) -> usize {
        self.admissions
    }

    /// Takes the oldest proposal up to `id`.
    fn take_up_to(&mut self, id: ProposalId) -> Option<(ProposalId, Purpose, Caller)> {
        let entry = self.pending.first_entry().filter(|entry| *entry.key() <= id)?;
        let (id, (purpose, caller)) = entry.remove_entry();
        self.admissions -= usize::from(matches!(purpose, Purpose::AdmitAgent { .. }));
        Some((id, purpose, caller))
    }
}

impl Core {
    /// Wishes for a change of the registry on which nothing but the records depends, if all voters
    /// know what it puts there.
    pub(super) fn record(&mut self, cx: &mut Cx<'_>, command: Command, caller: Caller) {
        if let Err(error) = self.may_record(&command) {
            return self.answer(cx, caller, Err(error));
        }
        self.propose(cx, command, Purpose::Records, caller);
    }

    /// Wishes for a change of the registry.
    pub(super) fn propose(
        &mut self,
        cx: &mut Cx<'_>,
        command: Command,
        purpose: Purpose,
        caller: Caller,
    ) -> ProposalId {
        debug_assert!(
            matches!(command, Command::RaiseLevel { .. }) || self.may_record(&command).is_ok(),
            "not every voter knows {command:?}"
        );
        let id = self.proposals.newest.next();
        self.proposals.newest = id;
        self.proposals.admissions += usize::from(matches!(purpose, Purpose::AdmitAgent { .. }));
        self.proposals.pending.insert(id, (purpose, caller));
        self.counters.proposals += 1;
        cx.out.push(Effect::Propose(Entry { term: self.fence.term, proposal: id, command }));
        id
    }

    /// Whether another change may be asked for by someone outside.
    pub(super) fn may_propose(&self) -> Result<(), CallError> {
        if self.proposals.len() < self.config.limits.proposals_max {
            return Ok(());
        }
        Err(CallError {
            kind: CallErrorKind::Busy,
            message: "the leader has too many registry changes on their way, try again later"
                .to_owned(),
        })
    }

    /// The registry has applied an entry.
    pub(super) fn on_applied(&mut self, cx: &mut Cx<'_>, entry: &Entry, told: &Outcome) {
        let outcome = self.registry.apply(entry);
        let repeated = outcome == Outcome::Repeated;
        debug_assert!(
            repeated || outcome == *told,
            "applying {entry:?} gave {outcome:?} here and {told:?} on the voter"
        );
        let mut concluded = Vec::new();
        while entry.term == self.fence.term
            && let Some((id, purpose, caller)) = self.proposals.take_up_to(entry.proposal)
        {
            let outcome = if id == entry.proposal {
                outcome.clone()
            } else {
                // Overtaken by a later one, so it will never be applied.
                let why = "the change was lost on its way into the registry, try again".to_owned();
                Outcome::Refused { why }
            };
            // First of all, while the caller's stream is still there.
            self.answer(cx, caller, answer_of(&outcome));
            concluded.push((id, purpose, outcome));
        }
        if !repeated && !matches!(outcome, Outcome::Refused { .. }) {
            self.follow(cx, &entry.command, &outcome);
        }
        for (id, purpose, outcome) in concluded {
            self.conclude(cx, id, purpose, &outcome);
        }
    }

    /// What follows from a change of the records, whoever proposed it.
    fn follow(&mut self, cx: &mut Cx<'_>, command: &Command, outcome: &Outcome) {
        match command {
            Command::AdmitAgent { .. } => {
                if let Outcome::AgentAdmitted { agent } = outcome {
                    self.agent_admitted(cx, *agent);
                    // Another agent may have been forgotten in its favour.
                    self.maintenance_recorded(cx);
                }
            }
            Command::SetAgentState { agent, state } => match state {
                AgentState::Active => self.agent_active(cx, *agent),
                AgentState::Draining => self.agent_draining(cx, *agent),
                AgentState::Unreachable { .. } => self.agent_unreachable(cx, *agent),
                AgentState::Gone { .. } => {
                    self.agent_gone(cx, *agent);
                    self.maintenance_recorded(cx);
                }
                AgentState::Unknown => {}
            },
            Command::SetHold { agent, .. } => self.hold_recorded(cx, *agent),
            Command::AdmitFramework { .. } | Command::Resubscribe { .. } => {
                if let Outcome::Subscribed { framework, .. } = outcome {
                    self.framework_recorded(cx, *framework);
                }
            }
            Command::SetSuppressed { framework, .. } => self.roles_recorded(*framework),
            Command::Disconnect { framework, .. } => self.disconnect_recorded(cx, *framework),
            Command::Reconnect { framework, .. } => self.reconnect_recorded(cx, *framework),
            Command::CloseFramework { framework, why, .. } => {
                self.framework_closed(cx, *framework, why);
            }
            Command::SetWeight { role, .. } => {
                self.allocator.set_weight(role, self.registry.weight_millis(role));
                self.pictures.role_set();
            }
            Command::SetPriority { role, priority } => {
                self.allocator.set_priority(role, *priority);
                self.pictures.role_set();
            }
            Command::SetQuota { role, quota } => {
                self.allocator.set_quota(role, quota.clone());
                self.pictures.role_set();
            }
            Command::SetPolicy { .. } => self.policy_chosen(cx.now),
            Command::SetWishes { framework, .. } => self.apply_wishes(*framework),
            Command::UpdateFramework { framework, .. } => self.update_recorded(cx, *framework),
            Command::SetMaintenance { .. } => self.maintenance_recorded(cx),
            Command::FormCluster { .. }
            | Command::RaiseLevel { .. }
            | Command::NotePastUse { .. }
            | Command::Unknown => {}
        }
    }

    /// What follows for those who wished for the change.
    fn conclude(&mut self, cx: &mut Cx<'_>, id: ProposalId, purpose: Purpose, outcome: &Outcome) {
        let refused = refusal(outcome);
        match purpose {
            Purpose::AdmitAgent { connection } => {
                self.admission_concluded(cx, connection, refused);
            }
            Purpose::AgentState { agent } => self.agent_state_concluded(cx, agent),
            Purpose::Subscribe(waiting) => self.subscribe_concluded(cx, waiting, outcome),
            Purpose::Suppression { framework, revived } => {
                self.suppression_concluded(framework, id, revived, refused.is_some());
            }
            Purpose::FrameworkUpdate { framework } => self.update_concluded(framework, id),
            Purpose::Away { framework } => self.away_concluded(cx, framework),
            Purpose::Maintenance => self.plan_concluded(),
            Purpose::Records => {}
        }
    }
}

const fn refusal(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Refused { why } => Some(why.as_str()),
        Outcome::Done
        | Outcome::AgentAdmitted { .. }
        | Outcome::Subscribed { .. }
        | Outcome::Repeated
        | Outcome::Unknown => None,
    }
}

fn answer_of(outcome: &Outcome) -> Result<(), CallError> {
    refusal(outcome).map_or(Ok(()), |why| {
        Err(CallError { kind: CallErrorKind::Invalid, message: why.to_owned() })
    })
}
