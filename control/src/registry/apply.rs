//! Applying entries.

use std::collections::{BTreeMap, BTreeSet};

use meshos_alloc::Quota;
use meshos_protocol::{
    framework::FrameworkInfo,
    ids::{AgentId, ClusterId, FrameworkId, NodeId, Principal, Subscription},
    role::Role,
    time::Wall,
};

use super::{
    AgentState, Closing, Command, Entry, FrameworkRecord, Hold, Lookup, Outcome, Registry,
    level::Level, state::WEIGHT_DEFAULT_MILLIS,
};

/// The subscription of a framework that has just been admitted.
const SUBSCRIPTION_FIRST: Subscription = Subscription(1);

type Applied = Result<Outcome, String>;

impl Registry {
    /// Applies one entry of the log.
    ///
    /// The shell hands a leader's entries to the log in the order in which that leader proposed
    /// them: an entry that is not newer than the newest of its term counts as repeated.
    pub fn apply(&mut self, entry: &Entry) -> Outcome {
        let (newest_term, newest_proposal) = self.newest;
        if entry.term < newest_term {
            let why = format!("term {} is over, the registry has seen {newest_term}", entry.term);
            return Outcome::Refused { why };
        }
        if entry.term == newest_term && entry.proposal <= newest_proposal {
            return Outcome::Repeated;
        }
        self.newest = (entry.term, entry.proposal);
        self.change(&entry.command).unwrap_or_else(|why| Outcome::Refused { why })
    }

    fn change(&mut self, command: &Command) -> Applied {
        match command {
            Command::FormCluster { cluster } => self.form_cluster(*cluster),
            Command::AdmitAgent { node } => self.admit_agent(*node),
            Command::SetAgentState { agent, state } => self.set_agent_state(*agent, *state),
            Command::AdmitFramework { principal, info, suppressed_roles, nonce } => {
                self.admit_framework(principal, info, suppressed_roles, nonce)
            }
            Command::Resubscribe { framework, info, suppressed_roles } => {
                self.resubscribe(*framework, info, suppressed_roles)
            }
            Command::SetSuppressed { framework, roles } => {
                self.live_framework(*framework)?.suppressed_roles = roles.clone();
                Ok(Outcome::Done)
            }
            Command::Disconnect { framework, subscription, at } => {
                self.disconnect(*framework, *subscription, *at)
            }
            Command::Reconnect { framework, subscription } => {
                self.of_subscription(*framework, *subscription)?.disconnected_at = None;
                Ok(Outcome::Done)
            }
            Command::CloseFramework { framework, at, why } => {
                self.close_framework(*framework, *at, why)
            }
            Command::SetWeight { role, weight_millis } => self.set_weight(role, *weight_millis),
            Command::SetQuota { role, quota } => self.set_quota(role, quota),
            Command::SetPriority { role, priority } => self.set_priority(role, *priority),
            Command::SetPolicy { policy } => {
                // What one policy counted means nothing to another, nor to the same one later.
                self.past = self.past.take().filter(|past| past.policy == *policy);
                self.policy = Some(policy.clone());
                Ok(Outcome::Done)
            }
            Command::SetWishes { framework, wishes } => {
                self.live_framework(*framework)?.wishes = wishes.clone();
                Ok(Outcome::Done)
            }
            Command::UpdateFramework {
                framework,
                subscription,
                info,
                suppressed_roles,
                wishes,
            } => {
                let record = self.of_subscription(*framework, *subscription)?;
                record.update(info, suppressed_roles, wishes.as_ref());
                Ok(Outcome::Done)
            }
            Command::SetHold { agent, hold } => self.set_hold(*agent, *hold),
            Command::NotePastUse { past } => {
                past.check()?;
                self.past = (!past.roles.is_empty()).then(|| past.clone());
                Ok(Outcome::Done)
            }
            Command::SetMaintenance { nodes, replace } => self.set_maintenance(nodes, *replace),
            Command::RaiseLevel { level } => {
                self.level = self.level.max(Level(*level));
                Ok(Outcome::Done)
            }
            Command::Unknown => Err("this release does not know the command".to_owned()),
        }
    }

    fn form_cluster(&mut self, cluster: ClusterId) -> Applied {
        match self.cluster {
            None => self.cluster = Some(cluster),
            Some(formed) if formed == cluster => {}
            Some(formed) => return Err(format!("the cluster has formed already, as {formed}")),
        }
        Ok(Outcome::Done)
    }

    fn admit_agent(&mut self, node: NodeId) -> Applied {
        let newest = self.newest_agent_of(node);
        if let Some((agent, state)) = newest
            && !matches!(state, AgentState::Gone { .. })
        {
            // Admitted by an earlier proposal whose answer the leader did not see.
            return Ok(Outcome::AgentAdmitted { agent });
        }
        if !self.make_room_for_agent() {
            let limit = self.limits.agents_max;
            return Err(format!(
                "the limit of {limit} agents is reached: mark agents that will not return as gone"
            ));
        }
        let newest = newest.map_or(0, |(agent, _)| agent.registration);
        let registration = newest
            .max(self.registration_floor)
            .checked_add(1)
            .ok_or_else(|| format!("node {node} has used up its registration numbers"))?;
        let agent = AgentId::new(node, registration);
        self.agents.insert(agent, AgentState::Active);
        Ok(Outcome::AgentAdmitted { agent })
    }

    fn set_agent_state(&mut self, agent: AgentId, state: AgentState) -> Applied {
        let Some(current) = self.agents.get(&agent).copied() else {
            return Err(format!("agent {agent} is not on record"));
        };
        if matches!(current, AgentState::Gone { .. }) {
            let same = matches!(state, AgentState::Gone { .. });
            let final_state = || format!("agent {agent} is gone, which is final");
            return same.then_some(Outcome::Done).ok_or_else(final_state);
        }
        let state = match state {
            AgentState::Unreachable { since, draining } => {
                AgentState::Unreachable { since: self.dated(since), draining }
            }
            AgentState::Gone { at } => AgentState::Gone { at: self.dated_last(at) },
            AgentState::Active | AgentState::Draining => state,
            AgentState::Unknown => {
                return Err(format!("this release does not know the new state of agent {agent}"));
            }
        };
        self.agents.insert(agent, state);
        if matches!(state, AgentState::Gone { .. }) {
            // Kept of one that was drained to be gone: should it ask, it hears that it was meant.
            let meant = matches!(self.hold(agent), Some(Hold::Drain { mark_gone: true, .. }));
            if !meant {
                self.holds.remove(&agent);
            }
            self.forget_plan(agent.node);
            self.forget_gone_agents();
        }
        Ok(Outcome::Done)
    }

    fn set_hold(&mut self, agent: AgentId, hold: Option<Hold>) -> Applied {
        if hold == Some(Hold::Unknown) {
            return Err(format!("this release does not know how agent {agent} is held"));
        }
        let Some(state) = self.agents.get_mut(&agent) else {
            return Err(format!("agent {agent} is not on record"));
        };
        match state {
            AgentState::Gone { .. } => {
                return Err(format!("agent {agent} is gone, which is final"));
            }
            AgentState::Draining => *state = AgentState::Active,
            AgentState::Unreachable { draining, .. } => *draining = false,
            AgentState::Active | AgentState::Unknown => {}
        }
        match hold {
            Some(hold) => self.holds.insert(agent, hold),
            None => self.holds.remove(&agent),
        };
        Ok(Outcome::Done)
    }

    fn admit_framework(
        &mut self,
        principal: &Principal,
        info: &FrameworkInfo,
        suppressed_roles: &BTreeSet<Role>,
        nonce: &str,
    ) -> Applied {
        let key = (principal.clone(), nonce.to_owned());
        if let Some(framework) = self.nonces.get(&key).copied() {
            let subscription = self.live_framework(framework)?.subscription;
            if subscription != SUBSCRIPTION_FIRST {
                return Err(format!("framework {framework} has been taken over since"));
            }
            return Ok(Outcome::Subscribed { framework, subscription });
        }
        if self.live_frameworks() >= self.limits.frameworks_max {
            let limit = self.limits.frameworks_max;
            return Err(format!(
                "the limit of {limit} frameworks is reached: tear down those that are not needed"
            ));
        }
        self.frameworks_admitted += 1;
        let framework = FrameworkId(self.frameworks_admitted);
        let record = FrameworkRecord {
            principal: principal.clone(),
            info: info.clone(),
            suppressed_roles: suppressed_roles.clone(),
            wishes: BTreeMap::new(),
            subscription: SUBSCRIPTION_FIRST,
            nonce: nonce.to_owned(),
            disconnected_at: None,
            closed: None,
        };
        self.frameworks.insert(framework, record);
        if !nonce.is_empty() {
            self.nonces.insert(key, framework);
        }
        Ok(Outcome::Subscribed { framework, subscription: SUBSCRIPTION_FIRST })
    }

    fn resubscribe(
        &mut self,
        framework: FrameworkId,
        info: &FrameworkInfo,
        suppressed_roles: &BTreeSet<Role>,
    ) -> Applied {
        let record = self.live_framework(framework)?;
        record.info = info.clone();
        record.suppressed_roles = suppressed_roles.clone();
        record.subscription = record.subscription.next();
        record.disconnected_at = None;
        Ok(Outcome::Subscribed { framework, subscription: record.subscription })
    }

    fn disconnect(
        &mut self,
        framework: FrameworkId,
        subscription: Subscription,
        at: Wall,
    ) -> Applied {
        let record = self.of_subscription(framework, subscription)?;
        // The first date counts: a leader that lost the answer must not lengthen the time.
        record.disconnected_at.get_or_insert(at);
        self.note_date(at);
        Ok(Outcome::Done)
    }

    fn close_framework(&mut self, framework: FrameworkId, at: Wall, why: &str) -> Applied {
        if self.look_up(framework) == Lookup::Closed {
            return Ok(Outcome::Done);
        }
        self.live_framework(framework)?;
        let at = self.dated_last(at);
        let record = self.live_framework(framework)?;
        record.closed = Some(Closing { at, why: why.to_owned() });
        // Ten thousand of these are kept; what only matters to a living framework goes.
        record.info.labels.clear();
        record.info.webui_url.clear();
        record.suppressed_roles.clear();
        record.wishes.clear();
        let key = (record.principal.clone(), std::mem::take(&mut record.nonce));
        self.nonces.remove(&key);
        self.forget_closed_frameworks();
        Ok(Outcome::Done)
    }

    fn set_weight(&mut self, role: &Role, weight_millis: u64) -> Applied {
        match weight_millis {
            0 => return Err(format!("the weight of role {role} must be above 0")),
            WEIGHT_DEFAULT_MILLIS => {
                self.weights.remove(role);
            }
            _ if !self.weights.contains_key(role)
                && self.weights.len() >= self.limits.weights_max =>
            {
                let limit = self.limits.weights_max;
                return Err(format!("the limit of {limit} roles with a weight is reached"));
            }
            _ => {
                self.weights.insert(role.clone(), weight_millis);
            }
        }
        Ok(Outcome::Done)
    }

    fn set_quota(&mut self, role: &Role, quota: &Quota) -> Applied {
        if quota.is_empty() {
            self.quotas.remove(role);
        } else if !self.quotas.contains_key(role) && self.quotas.len() >= self.limits.weights_max {
            let limit = self.limits.weights_max;
            return Err(format!("the limit of {limit} roles with a quota is reached"));
        } else {
            self.quotas.insert(role.clone(), quota.clone());
        }
        Ok(Outcome::Done)
    }

    fn set_priority(&mut self, role: &Role, priority: i32) -> Applied {
        if priority == 0 {
            self.priorities.remove(role);
        } else if !self.priorities.contains_key(role)
            && self.priorities.len() >= self.limits.weights_max
        {
            let limit = self.limits.weights_max;
            return Err(format!("the limit of {limit} roles with a priority is reached"));
        } else {
            self.priorities.insert(role.clone(), priority);
        }
        Ok(Outcome::Done)
    }

    fn live_framework(&mut self, framework: FrameworkId) -> Result<&mut FrameworkRecord, String> {
        match self.look_up(framework) {
            Lookup::Live(_) => {}
            Lookup::Closed => return Err(format!("framework {framework} has ended")),
            Lookup::Never => return Err(format!("framework {framework} does not exist")),
        }
        Ok(self.frameworks.get_mut(&framework).expect("it was just found live"))
    }

    fn of_subscription(
        &mut self,
        framework: FrameworkId,
        subscription: Subscription,
    ) -> Result<&mut FrameworkRecord, String> {
        let record = self.live_framework(framework)?;
        if record.subscription == subscription {
            return Ok(record);
        }
        Err(format!(
            "framework {framework} is under subscription {}, not {subscription}",
            record.subscription
        ))
    }
}
