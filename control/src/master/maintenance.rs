//! Maintenance: who is asked whether it suits that a node will be away, and what was answered.
//!
//! Which nodes will be away is on record. Who is asked about them follows from that and from what frameworks have there, so
//! it is not: whoever leads looks at both and asks. An inverse offer takes nothing away, and its answer is advice to the
//! operator.

mod asked;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_protocol::{
    ids::{AgentId, FrameworkId, NodeId, OfferId},
    maintenance::{InverseOffer, Unavailability},
    messages::scheduler::{CallError, Event as FrameworkEvent, OFFERS_PER_CALL_MAX, REFUSE_MAX_MS},
    resources::{Metadata, Resource},
    time::Now,
};

pub(super) use self::asked::Inverse;
use self::asked::{About, Again};
use super::{
    AskedView, MaintenanceView,
    agents::Link,
    calls::invalid,
    state::{Core, Cx},
    timers::Timer,
};
use crate::pages::pages;

/// A framework is not asked again sooner than this after its answer, whatever it says: else the two would do nothing else.
const ASKED_AGAIN_MIN_MS: u64 = 1_000;
/// The most inverse offers that a framework is told at once.
const INVERSE_OFFERS_PER_EVENT_MAX: usize = 1_000;

/// What a framework is to be told.
#[derive(Debug, Default)]
struct Told {
    void: Vec<OfferId>,
    asked: Vec<InverseOffer>,
}

impl Core {
    /// Asks whoever has something on a node that will be away, and takes back what nobody need answer any more. Looks at
    /// what has changed since the last call.
    pub(super) fn settle_maintenance(&mut self, cx: &mut Cx<'_>) {
        self.gather_changes();
        let frameworks = self.inverse.take_changed_frameworks();
        if self.registry.maintenance().len() == 0 && self.inverse.is_empty() {
            return;
        }
        let mut pairs: Vec<(AgentId, FrameworkId)> = Vec::new();
        for agent in self.pictures.agents_changed() {
            if self.registry.planned(agent.node).is_some() {
                let found = self.with_something_on(*agent).into_iter();
                pairs.extend(found.map(|framework| (*agent, framework)));
            }
            pairs.extend(self.inverse.of_agent(*agent));
        }
        for (node, _) in self.registry.maintenance().filter(|_| !frameworks.is_empty()) {
            let newest = self.registry.newest_agent_of(node);
            let newest = newest.into_iter();
            pairs.extend(
                newest.flat_map(|(agent, _)| frameworks.iter().map(move |it| (agent, *it))),
            );
        }
        pairs.extend(frameworks.iter().flat_map(|framework| self.inverse.of_framework(*framework)));
        pairs.sort_unstable();
        pairs.dedup();
        let mut told: BTreeMap<FrameworkId, Told> = BTreeMap::new();
        for pair in pairs {
            self.settle_pair(cx.now, pair, &mut told);
        }
        for (framework, Told { void, asked }) in told {
            if !void.is_empty() {
                let event = FrameworkEvent::RescindInverseOffers { offers: void };
                self.tell_framework(cx, framework, event);
            }
            if asked.is_empty() {
                continue;
            }
            for (offers, _) in pages(asked, INVERSE_OFFERS_PER_EVENT_MAX) {
                self.tell_framework(cx, framework, FrameworkEvent::InverseOffers { offers });
            }
        }
    }

    fn settle_pair(
        &mut self,
        now: Now,
        (agent, framework): (AgentId, FrameworkId),
        told: &mut BTreeMap<FrameworkId, Told>,
    ) {
        let planned = self.registry.planned(agent.node).map(|planned| planned.unavailability);
        let about = planned.filter(|_| self.has_something_on(agent, framework));
        let Some(about) = about else {
            if let Some(open) = self.forget_asked((agent, framework)) {
                told.entry(framework).or_default().void.push(open);
            }
            return;
        };
        if self.inverse.is_about_other((agent, framework), about)
            && let Some(open) = self.forget_asked((agent, framework))
        {
            told.entry(framework).or_default().void.push(open);
        }
        let listens =
            self.frameworks.get(&framework).is_some_and(|it| it.presence.session().is_some());
        if !listens || !self.inverse.is_due((agent, framework), now.mono) {
            return;
        }
        let id = self.offers.next_id(self.fence.term);
        self.inverse.ask((agent, framework), about, id);
        self.counters.inverse_offers_sent += 1;
        let facts = self.agents.get(&agent).and_then(|it| it.facts.as_ref());
        let hostname = facts.map(|facts| facts.hostname.clone()).unwrap_or_default();
        let offer = InverseOffer { id, framework, agent, hostname, unavailability: about };
        told.entry(framework).or_default().asked.push(offer);
    }

    /// Nothing is asked of the framework about this agent any more: the inverse offer that was open.
    fn forget_asked(&mut self, about: About) -> Option<OfferId> {
        let (agent, framework) = about;
        self.timers.clear(Timer::AskAgain(agent, framework));
        self.inverse.remove(about)
    }

    /// The frameworks that have something on an agent.
    fn with_something_on(&self, agent: AgentId) -> BTreeSet<FrameworkId> {
        if !self.counts(agent) {
            return BTreeSet::new();
        }
        let mut found = self.tasks.holders_on(agent);
        found.extend(self.executors.held_on(agent).map(|(framework, ..)| framework));
        found.retain(|framework| self.frameworks.contains_key(framework));
        if self.reserved_on(agent).next().is_some() {
            let all = self.frameworks.keys().copied();
            found.extend(all.filter(|framework| self.is_reserved_for(agent, *framework)));
        }
        found
    }

    /// Whether what is on an agent counts: it is known, and not lost.
    fn counts(&self, agent: AgentId) -> bool {
        self.agents.get(&agent).map(|agent| agent.link).is_some_and(Link::is_in_ledger)
    }

    /// Whether a framework has a task or an executor on an agent, or something is reserved there for a role of it.
    fn has_something_on(&self, agent: AgentId, framework: FrameworkId) -> bool {
        if !self.counts(agent) || !self.frameworks.contains_key(&framework) {
            return false;
        }
        let executors = || self.executors.held_on(agent).any(|(of, ..)| of == framework);
        self.tasks.holds_on(agent, framework)
            || executors()
            || self.is_reserved_for(agent, framework)
    }

    /// What of an agent is reserved.
    fn reserved_on(&self, agent: AgentId) -> impl Iterator<Item = &Metadata> {
        let facts = self.agents.get(&agent).and_then(|it| it.facts.as_ref());
        let all = facts.into_iter().flat_map(|facts| facts.resources.iter());
        all.map(Resource::metadata).filter(|metadata| !metadata.is_unreserved())
    }

    fn is_reserved_for(&self, agent: AgentId, framework: FrameworkId) -> bool {
        let Some(record) = self.registry.framework(framework) else { return false };
        let roles = &record.info.roles;
        let mut reserved = self.reserved_on(agent);
        reserved.any(|metadata| roles.iter().any(|role| metadata.is_allocatable_to(role)))
    }

    /// A framework says whether it suits that these nodes will be away.
    pub(super) fn answer_inverse_offers(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        (offers, refuse_ms): (&[OfferId], Option<u64>),
        accepted: bool,
    ) -> Result<(), CallError> {
        if offers.len() > OFFERS_PER_CALL_MAX {
            return Err(invalid(format!(
                "more than {OFFERS_PER_CALL_MAX} inverse offers in one call"
            )));
        }
        let again = refuse_ms.map(|ms| ms.clamp(ASKED_AGAIN_MIN_MS, REFUSE_MAX_MS));
        let again = again.map(|ms| cx.now.mono.after(Duration::from_millis(ms)));
        for offer in offers {
            let Some((agent, of)) = self.inverse.about(*offer) else { continue };
            if of != framework {
                continue;
            }
            self.inverse.answer((agent, of), (accepted, cx.now.wall), again);
            match (again, accepted) {
                (Some(at), _) => self.timers.set(Timer::AskAgain(agent, of), at),
                (None, _) => self.timers.clear(Timer::AskAgain(agent, of)),
            }
            let counters = &mut self.counters;
            let counter = match accepted {
                true => &mut counters.inverse_offers_accepted,
                false => &mut counters.inverse_offers_declined,
            };
            *counter += 1;
        }
        Ok(())
    }

    /// The time has come to ask a framework once more.
    pub(super) fn ask_again(&mut self, agent: AgentId, framework: FrameworkId) {
        self.inverse.ask_now((agent, framework));
    }

    /// Nobody listens for the framework any more: whoever subscribes is told anew.
    pub(super) fn inverse_offers_unheard(&mut self, framework: FrameworkId) {
        self.inverse.unheard(framework);
    }

    /// Another instance of the framework subscribes: it knows nothing of what was answered.
    pub(super) fn inverse_offers_unknown(&mut self, framework: FrameworkId) {
        for (agent, framework) in self.inverse.of_framework(framework) {
            self.timers.clear(Timer::AskAgain(agent, framework));
            self.inverse.ask_now((agent, framework));
        }
    }

    /// What was planned under earlier leaders.
    pub(super) fn take_plan(&mut self) {
        let planned = self.registry.maintenance();
        let planned = planned.map(|(node, planned)| (node, planned.unavailability)).collect();
        // No agent has registered, so nobody can be asked yet.
        self.inverse.plan(planned);
    }

    /// Which nodes will be away has changed.
    pub(super) fn maintenance_recorded(&mut self, cx: &mut Cx<'_>) {
        let planned = self.registry.maintenance();
        let planned = planned.map(|(node, planned)| (node, planned.unavailability)).collect();
        for (node, changed) in self.inverse.plan(planned) {
            let Some((agent, _)) = self.registry.newest_agent_of(node) else { continue };
            self.pictures.agent_changed(agent);
            if changed {
                // Offers tell when the node will be away.
                self.rescind_of_agent(cx, agent);
            }
        }
    }

    /// When an agent's node will be away, for offers.
    pub(super) fn unavailability(&self, agent: AgentId) -> Option<Unavailability> {
        self.registry.planned(agent.node).map(|planned| planned.unavailability)
    }

    /// Redraws the rows of nodes in windows that have changed.
    pub(super) fn redraw_maintenance(&mut self) {
        for node in self.inverse.take_changed() {
            let row = self.maintenance_row(node);
            self.inverse.draw(node, row);
        }
    }

    fn maintenance_row(&self, node: NodeId) -> Option<MaintenanceView> {
        let planned = self.registry.planned(node)?;
        let agent = self.registry.newest_agent_of(node).map(|(agent, _)| agent);
        let asked = agent.into_iter().flat_map(|agent| self.inverse.shown(agent));
        Some(MaintenanceView {
            node_id: node,
            agent_id: agent,
            hostname: planned.hostname.clone(),
            ip: planned.ip.clone(),
            start: planned.unavailability.start,
            duration_ms: planned.unavailability.duration_ms,
            begun: planned.begun,
            asked: asked.collect(),
        })
    }

    /// The inverse offers that are open are those that must be.
    pub(super) fn check_maintenance(&self) {
        self.inverse.check_invariants();
        for ((agent, framework), about, again) in self.inverse.iter() {
            assert_eq!(Some(about), self.unavailability(agent), "asked about agent {agent}");
            assert!(self.has_something_on(agent, framework), "{framework} has nothing on {agent}");
            let timed = self.timers.is_set(Timer::AskAgain(agent, framework));
            assert_eq!(timed, matches!(again, Again::At(_)), "{framework} is asked again");
        }
        for (node, _) in self.registry.maintenance() {
            let Some((agent, _)) = self.registry.newest_agent_of(node) else { continue };
            for framework in self.with_something_on(agent) {
                let listens = self.frameworks[&framework].presence.session().is_some();
                let asked = self.inverse.is_asked((agent, framework));
                assert!(asked || !listens, "{framework} is not asked about agent {agent}");
            }
        }
    }
}

impl AskedView {
    /// The answer in one word.
    #[must_use]
    pub const fn answer(&self) -> Option<&'static str> {
        match self.accepted {
            Some(true) => Some("accepted"),
            Some(false) => Some("declined"),
            None => None,
        }
    }
}
