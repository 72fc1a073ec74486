//! What must hold between events.

use std::collections::BTreeMap;

use meshos_alloc::OfferMode;
use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::Resources,
    role::Role,
};

use super::{
    agents::{ConnectionPhase, Link},
    frameworks::{Presence, SessionPhase},
    state::Core,
    tasks::TaskPhase,
    timers::Timer,
};
use crate::registry::AgentState;

impl Core {
    pub(super) fn check_invariants(&self) {
        self.allocator.check_invariants();
        self.tasks.check_invariants();
        self.offers.check_invariants();
        self.operations.check_invariants();
        self.executors.check_invariants();
        self.timers.check_invariants();
        self.check_history();
        self.check_agents();
        self.check_frameworks();
        self.check_ledger();
        self.check_limits();
        self.check_maintenance();
    }

    fn check_agents(&self) {
        for (id, agent) in &self.agents {
            let state = self.registry.agent(*id);
            assert!(
                state.is_some_and(|state| !matches!(state, AgentState::Gone { .. })),
                "agent {id} is held and is {state:?} on record"
            );
            let unreachable =
                matches!(state, Some(AgentState::Unreachable { .. } | AgentState::Unknown));
            assert_eq!(agent.link == Link::Unreachable, unreachable, "agent {id} and its record");
            if let Link::Online { connection } = agent.link {
                let stream = self.connections.get(&connection).map(|stream| &stream.phase);
                assert!(
                    matches!(stream, Some(ConnectionPhase::Registered { agent }) if agent == id),
                    "agent {id} is online over {connection:?}, which is {stream:?}"
                );
                assert!(agent.reported && agent.facts.is_some());
            }
            let waits = matches!(agent.link, Link::Awaited { .. } | Link::Lost { .. });
            assert!(
                !waits || agent.in_flight.is_some() || self.timers.is_set(Timer::AgentLost(*id)),
                "agent {id} is away and nothing will happen about it"
            );
        }
        let awaited = self.agents.iter().filter(|(_, it)| matches!(it.link, Link::Awaited { .. }));
        assert!(awaited.map(|(id, _)| id).eq(&self.awaited), "who is awaited: {:?}", self.awaited);
        for (connection, stream) in &self.connections {
            assert_eq!(self.nodes.get(&stream.node), Some(connection), "one stream of each node");
        }
        for node in &self.nodes_leaving {
            let newest = self.registry.newest_agent_of(*node).map(|(agent, _)| agent);
            assert!(
                newest.is_some_and(|agent| self.agents.contains_key(&agent)),
                "node {node} is leaving and has no agent"
            );
        }
        for agent in self.questions.agents() {
            let link = self.agents.get(&agent).map(|agent| agent.link);
            assert!(
                matches!(link, Some(Link::Awaited { .. })),
                "questions wait for agent {agent}, which is {link:?}"
            );
        }
    }

    fn check_frameworks(&self) {
        let on_record: Vec<_> = self
            .registry
            .frameworks()
            .filter(|(_, record)| record.closed.is_none())
            .map(|(id, _)| id)
            .collect();
        assert_eq!(self.frameworks.keys().copied().collect::<Vec<_>>(), on_record);
        for (id, framework) in &self.frameworks {
            let armed = self.timers.is_set(Timer::FrameworkAway(*id));
            match framework.presence {
                Presence::Subscribed { session } => {
                    let subscription = self.registry.framework(*id).map(|it| it.subscription);
                    let phase = self.sessions.get(&session).map(|stream| stream.phase);
                    let held = match phase {
                        Some(SessionPhase::Subscribed { framework, subscription })
                            if framework == *id =>
                        {
                            Some(subscription)
                        }
                        Some(_) | None => None,
                    };
                    assert_eq!(held, subscription, "framework {id} and its stream");
                }
                Presence::Lost { .. } | Presence::Disconnected { .. } => {
                    assert!(armed, "framework {id} is away and nothing will happen about it");
                }
                Presence::Leaving | Presence::Closing => {
                    assert!(self.proposals.len() > 0, "framework {id} waits for the registry");
                }
            }
            let offers = self.offers.count_of_framework(*id);
            let subscribed = framework.presence.session().is_some();
            assert!(subscribed || offers == 0, "framework {id} is away and has {offers} offers");
        }
    }

    /// The allocator's ledger holds what the tasks and offers here hold.
    fn check_ledger(&self) {
        let mut held: BTreeMap<AgentId, (Resources, Resources)> = BTreeMap::new();
        for (key, task) in self.tasks.iter().filter(|(_, task)| task.holds()) {
            held.entry(key.agent).or_default().0 += &task.resources;
        }
        for ((agent, ..), executor) in self.executors.iter() {
            held.entry(*agent).or_default().0 += &executor.resources;
        }
        // When several are offered the same, that counts once.
        let several = self.config.offers == OfferMode::Optimistic;
        let mut offered = BTreeMap::<(AgentId, Option<(FrameworkId, &Role)>), Resources>::new();
        for (_, offer) in self.offers.iter() {
            let holder = several.then_some((offer.framework, &offer.role));
            *offered.entry((offer.agent, holder)).or_default() += &offer.resources;
            let online = self
                .agents
                .get(&offer.agent)
                .is_some_and(|agent| matches!(agent.link, Link::Online { .. }) && agent.reported);
            assert!(online, "agent {} is offered and not there", offer.agent);
        }
        for ((agent, _), resources) in offered {
            let all = &mut held.entry(agent).or_default().1;
            let more = resources.saturating_sub(all);
            *all += if several { &more } else { &resources };
        }
        for (id, agent) in &self.agents {
            let ledger = self.allocator.agent(*id);
            assert_eq!(ledger.is_some(), agent.link.is_in_ledger(), "agent {id} in the ledger");
            let Some(ledger) = ledger else { continue };
            let (allocated, offered) = held.remove(id).unwrap_or_default();
            assert_eq!(ledger.allocated, allocated, "what tasks and executors hold on agent {id}");
            assert_eq!(ledger.offered, offered, "what offers hold on agent {id}");
        }
        assert!(held.is_empty(), "something is held on agents that are not there: {held:?}");
    }

    fn check_limits(&self) {
        let limits = &self.config.limits;
        assert!(self.connections.len() <= limits.connections_max);
        assert!(self.sessions.len() <= limits.sessions_max);
        assert!(self.questions.len() <= limits.questions_max);
        assert!(self.questions.strangers_len() <= limits.questions_max);
        for (key, task) in self.tasks.iter() {
            assert!(
                self.agents.contains_key(&key.agent),
                "task {key:?} ({:?}) is on an agent that is not on record",
                task.state
            );
            let hinted = task.phase == TaskPhase::Hinted;
            let reported = self.agents.get(&key.agent).is_some_and(|agent| agent.reported);
            assert!(!(hinted && reported), "the hint of {key:?} outlived its agent's report");
        }
    }
}
