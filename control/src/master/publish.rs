//! Keeps the rows of the [`View`] up to date.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use meshos_protocol::{
    ids::{AgentId, Fence, FrameworkId, NodeId},
    resources::Resources,
    time::{Mono, Now},
};

use super::{
    AgentView, Counters, FrameworkDetails, FrameworkState, FrameworkView, MasterConfig, NodeState,
    RoleView, Table, Tally, View,
    agents::Link,
    frameworks::Presence,
    state::Core,
    table::{Slot, TableWriter},
};
use crate::registry::{AgentState, FrameworkRecord, Registry};

/// How old the shares of roles may be in a view: they are computed over all roles at once.
const ROLES_AGE_MAX: Duration = Duration::from_millis(250);

/// The rows of agents and frameworks, and what must be redrawn.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    agents: TableWriter<AgentView>,
    /// Rows of agents that are gone, by node: the newest of each.
    gone: BTreeMap<NodeId, (AgentId, Slot)>,
    frameworks: TableWriter<FrameworkView>,
    closed: Arc<VecDeque<Arc<FrameworkView>>>,
    roles: Arc<Vec<RoleView>>,
    roles_at: Mono,
    roles_changed: bool,
    /// Whoever changed them looks next, so that their age is no excuse.
    roles_due: bool,
    agents_changed: BTreeSet<AgentId>,
    frameworks_changed: BTreeSet<FrameworkId>,
}

impl Pictures {
    pub(super) fn agent_changed(&mut self, agent: AgentId) {
        self.agents_changed.insert(agent);
    }

    /// The agents whose rows are to be redrawn.
    pub(super) const fn agents_changed(&self) -> &BTreeSet<AgentId> {
        &self.agents_changed
    }

    pub(super) fn roles_changed(&mut self) {
        self.roles_changed = true;
    }

    /// An operator changed a role: the next view holds it.
    pub(super) fn role_set(&mut self) {
        self.roles_changed = true;
        self.roles_due = true;
    }

    pub(super) fn framework_changed(&mut self, framework: FrameworkId) {
        self.frameworks_changed.insert(framework);
    }

    /// A row for a new agent.
    pub(super) fn agent_slot(&mut self, agent: AgentId) -> Slot {
        if let Some((_, slot)) = self.gone.remove(&agent.node) {
            self.agents.remove(slot);
        }
        self.agents_changed.insert(agent);
        self.agents.insert(blank_agent(agent))
    }

    /// The agent is gone; its row stays until the node is admitted again.
    pub(super) fn agent_gone(&mut self, agent: AgentId, slot: Slot) {
        self.agents.remove(slot);
        self.agents_changed.insert(agent);
    }

    /// A row for a new framework.
    pub(super) fn framework_slot(&mut self, id: FrameworkId, record: &FrameworkRecord) -> Slot {
        self.frameworks_changed.insert(id);
        self.frameworks.insert(framework_row(id, record, None))
    }

    /// The framework has ended.
    pub(super) fn framework_closed(
        &mut self,
        config: &MasterConfig,
        id: FrameworkId,
        slot: Option<Slot>,
        record: Option<&FrameworkRecord>,
    ) {
        let before = slot.and_then(|slot| self.frameworks.row(slot)).cloned();
        if let Some(slot) = slot {
            self.frameworks.remove(slot);
        }
        self.frameworks_changed.remove(&id);
        let Some(record) = record else { return };
        let mut row = framework_row(id, record, before.as_ref().map(|before| &before.details));
        row.registered_at = before.as_ref().and_then(|before| before.registered_at);
        row.reregistered_at = before.and_then(|before| before.reregistered_at);
        let closed = Arc::make_mut(&mut self.closed);
        closed.push_back(Arc::new(row));
        while closed.len() > config.closed_frameworks_shown_max {
            closed.pop_front();
        }
    }

    /// Shows the frameworks that ended in earlier terms.
    pub(super) fn closed_frameworks_at_start(
        &mut self,
        config: &MasterConfig,
        registry: &Registry,
    ) {
        let mut closed: Vec<_> = registry
            .frameworks()
            .filter_map(|(id, record)| record.closed.as_ref().map(|end| (end.at, id, record)))
            .collect();
        closed.sort_unstable_by_key(|(at, id, _)| (*at, *id));
        for (_, id, record) in closed {
            self.framework_closed(config, id, None, Some(record));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.roles_changed.then(|| self.roles_at.after(ROLES_AGE_MAX))
    }
}

impl Core {
    /// Notes whose rows are to be redrawn.
    pub(super) fn gather_changes(&mut self) {
        let changed = [self.tasks.take_changed(), self.offers.take_changed()];
        for (framework, agent) in changed.into_iter().flatten() {
            self.pictures.framework_changed(framework);
            self.pictures.agent_changed(agent);
        }
        for agent in self.tasks.take_shrunk() {
            // Only of those it is shown how many ends are not acknowledged.
            if !self.registry.takes_tasks(agent) {
                self.pictures.agent_changed(agent);
            }
        }
    }

    /// Redraws the rows that have changed.
    pub(super) fn publish(&mut self, now: Now) {
        self.gather_changes();
        self.redraw_maintenance();
        let agents = std::mem::take(&mut self.pictures.agents_changed);
        let frameworks = std::mem::take(&mut self.pictures.frameworks_changed);
        self.pictures.roles_changed |= !agents.is_empty() || !frameworks.is_empty();
        for agent in agents {
            self.redraw_agent(agent);
        }
        for framework in frameworks {
            self.redraw_framework(framework);
        }
        let age = now.mono.since(self.pictures.roles_at);
        let due = self.pictures.roles_due || age >= ROLES_AGE_MAX;
        if self.pictures.roles_changed && due {
            self.pictures.roles =
                Arc::new(self.allocator.roles().into_iter().map(RoleView::from).collect());
            self.pictures.roles_at = now.mono;
            self.pictures.roles_changed = false;
            self.pictures.roles_due = false;
        }
    }

    fn redraw_agent(&mut self, id: AgentId) {
        let Some(agent) = self.agents.get(&id) else {
            self.redraw_gone_agent(id);
            return;
        };
        let mut row = blank_agent(id);
        (row.state, row.since) = self.shown_state(id);
        row.connected = matches!(agent.link, Link::Online { .. });
        row.leader = id.node == self.me;
        row.tasks = self.tasks.live_of_agent(id);
        row.drain = self.shown_drain(id);
        row.registered_at = agent.registered.first;
        row.reregistered_at = agent.registered.again;
        if let Some(facts) = &agent.facts {
            row.hostname.clone_from(&facts.hostname);
            row.address.clone_from(&facts.http_address);
            row.agent_address.clone_from(&facts.agent_address);
            row.pid = facts.pid;
            row.version.clone_from(&facts.version);
            row.resources = facts.resources.clone();
            row.attributes = facts.attributes.clone();
            row.domain.clone_from(&facts.domain);
        }
        if let Some(ledger) = self.allocator.agent(id) {
            row.used = ledger.allocated;
            row.offered = ledger.offered;
        }
        self.pictures.agents.replace(agent.slot, row);
    }

    fn redraw_gone_agent(&mut self, id: AgentId) {
        let newest = self.registry.newest_agent_of(id.node).map(|(newest, _)| newest);
        if newest != Some(id) {
            return;
        }
        let mut row = blank_agent(id);
        (row.state, row.since) = self.shown_state(id);
        row.leader = id.node == self.me;
        if let Some((_, slot)) = self.pictures.gone.get(&id.node) {
            self.pictures.agents.replace(*slot, row);
        } else {
            let slot = self.pictures.agents.insert(row);
            self.pictures.gone.insert(id.node, (id, slot));
        }
    }

    fn shown_state(&self, agent: AgentId) -> (NodeState, Option<meshos_protocol::time::Wall>) {
        match self.registry.agent(agent) {
            Some(AgentState::Active) => (self.shown_held(agent).unwrap_or(NodeState::Active), None),
            Some(AgentState::Draining) => (self.shown_draining(agent), None),
            Some(AgentState::Unreachable { since, .. }) => (NodeState::Unreachable, Some(since)),
            Some(AgentState::Gone { at }) => (NodeState::Gone, Some(at)),
            Some(AgentState::Unknown) | None => (NodeState::Unreachable, None),
        }
    }

    fn redraw_framework(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.get(&id) else { return };
        let Some(record) = self.registry.framework(id) else { return };
        let before = self.pictures.frameworks.row(framework.slot);
        let mut row = framework_row(id, record, before.map(|before| &before.details));
        row.registered_at = framework.registered.first;
        row.reregistered_at = framework.registered.again;
        let session = framework.presence.session();
        row.state = match framework.presence {
            Presence::Subscribed { .. } => FrameworkState::Subscribed,
            Presence::Lost { .. } => FrameworkState::Reconnecting,
            Presence::Leaving | Presence::Disconnected { .. } | Presence::Closing => {
                FrameworkState::Disconnected
            }
        };
        row.gateway =
            session.and_then(|session| self.sessions.get(&session)).map(|session| session.gateway);
        let sum = self.tasks.sum_of(id);
        row.tasks = sum.live;
        row.used = sum.held + &self.executors.held_by(id);
        row.offers = self.offers.count_of_framework(id);
        self.pictures.frameworks.replace(framework.slot, row);
    }

    pub(super) fn view(&self) -> View {
        let (tasks, tasks_ended, tasks_by_state) = self.tasks.pictures();
        View {
            leader: self.me,
            fence: self.fence,
            led_since: self.led_since,
            deposed: false,
            agents: self.pictures.agents.picture(),
            frameworks: self.pictures.frameworks.picture(),
            frameworks_closed: Arc::clone(&self.pictures.closed),
            tasks,
            tasks_ended,
            tasks_by_state,
            offers: self.offers.picture(),
            maintenance: self.inverse.picture(),
            policy: self.policy.to_string(),
            policy_on_record: self.registry.policy().map(str::to_owned),
            roles: Arc::clone(&self.pictures.roles),
            counters: Counters {
                skips: self.allocator.skips().into_iter().collect(),
                ..self.counters.clone()
            },
        }
    }
}

impl View {
    /// What is left of a master that leads no more: nothing.
    pub fn deposed(fence: Fence, leader: NodeId) -> Self {
        Self {
            leader,
            fence,
            led_since: meshos_protocol::time::Wall(0),
            deposed: true,
            agents: Table::default(),
            frameworks: Table::default(),
            frameworks_closed: Arc::default(),
            tasks: Table::default(),
            tasks_ended: Arc::default(),
            tasks_by_state: Tally::default(),
            offers: Table::default(),
            maintenance: Table::default(),
            policy: String::new(),
            policy_on_record: None,
            roles: Arc::default(),
            counters: Counters::default(),
        }
    }
}

fn blank_agent(agent: AgentId) -> AgentView {
    AgentView {
        id: agent.node,
        agent_id: agent,
        hostname: String::new(),
        address: String::new(),
        agent_address: String::new(),
        pid: 0,
        version: String::new(),
        resources: Resources::new(),
        used: Resources::new(),
        offered: Resources::new(),
        attributes: meshos_protocol::attributes::Attributes::default(),
        domain: None,
        state: NodeState::Active,
        since: None,
        registered_at: None,
        reregistered_at: None,
        connected: false,
        leader: false,
        tasks: 0,
        drain: None,
    }
}

/// The row of a framework as far as the registry knows it. What has not changed `before` is shared.
fn framework_row(
    id: FrameworkId,
    record: &FrameworkRecord,
    before: Option<&Arc<FrameworkDetails>>,
) -> FrameworkView {
    let closing = record.closed.as_ref();
    let is_same = |known: &&Arc<FrameworkDetails>| {
        known.capabilities == record.info.capabilities && known.labels == record.info.labels
    };
    let details = before.filter(is_same).cloned().unwrap_or_else(|| {
        Arc::new(FrameworkDetails {
            capabilities: record.info.capabilities,
            labels: record.info.labels.clone(),
        })
    });
    FrameworkView {
        id,
        name: record.info.name.clone(),
        user: record.info.user.clone(),
        principal: record.principal.clone(),
        roles: record.info.roles.clone(),
        suppressed_roles: record.suppressed_roles.clone(),
        hostname: record.info.hostname.clone(),
        webui_url: record.info.webui_url.clone(),
        state: if closing.is_some() {
            FrameworkState::Closed
        } else {
            FrameworkState::Reconnecting
        },
        subscription: record.subscription,
        gateway: None,
        failover_timeout_ms: record.info.failover_timeout_ms,
        details,
        registered_at: None,
        reregistered_at: None,
        disconnected_at: record.disconnected_at,
        closed_at: closing.map(|closing| closing.at),
        closed_why: closing.map(|closing| closing.why.clone()).unwrap_or_default(),
        tasks: 0,
        used: Resources::new(),
        offers: 0,
    }
}
