//! Offers: made when the allocator grants, taken back when someone goes away or lets them lie.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_alloc::{Grant, RescindCause as WantedFor};
use meshos_protocol::{
    framework::Offer,
    ids::{AgentId, FrameworkId, OfferId, Term},
    maintenance::Unavailability,
    messages::scheduler::{Event as FrameworkEvent, RescindCause},
    resources::Resources,
    role::Role,
    time::{Mono, Now},
    wishes::FaultDomain,
};

use super::{
    OfferView,
    state::{Core, Cx},
    table::{Slot, TableWriter},
};
use crate::pages::pages;

/// An offer that its framework has not answered.
#[derive(Debug)]
pub(super) struct OpenOffer {
    pub(super) framework: FrameworkId,
    pub(super) role: Role,
    pub(super) agent: AgentId,
    pub(super) resources: Resources,
    made_at: Mono,
    /// The gang that it is a part of.
    gang: Option<u64>,
    slot: Slot,
}

/// Offers that are of use together only.
#[derive(Debug, Default)]
struct Gang {
    /// Those that are open.
    open: BTreeSet<OfferId>,
    /// Their framework has answered one, or has let them lie.
    answered: bool,
}

/// How many of the offers are remembered that somebody else was faster to accept.
const TAKEN_MAX: usize = 10_000;

/// The open offers.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// In the order in which they were made, so also in the order in which they time out.
    open: BTreeMap<OfferId, OpenOffer>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<OfferId>>,
    by_agent: BTreeMap<AgentId, BTreeSet<OfferId>>,
    /// By the allocator's number.
    gangs: BTreeMap<u64, Gang>,
    /// Those that were taken back because somebody else was faster, the newest.
    taken: BTreeSet<OfferId>,
    made: u64,
    /// Offers up to this one are overdue and stay open because nobody waits; looked at again when
    /// someone does.
    overdue: Option<OfferId>,
    rows: TableWriter<OfferView>,
    /// Whose offers have changed since they were last asked for.
    changed: BTreeSet<(FrameworkId, AgentId)>,
}

impl Offers {
    pub(super) fn iter(&self) -> impl Iterator<Item = (OfferId, &OpenOffer)> {
        self.open.iter().map(|(id, offer)| (*id, offer))
    }

    pub(super) fn get(&self, offer: OfferId) -> Option<&OpenOffer> {
        self.open.get(&offer)
    }

    pub(super) fn of_framework(&self, framework: FrameworkId) -> Vec<OfferId> {
        self.by_framework
            .get(&framework)
            .map(|ids| ids.iter().copied().collect())
            .unwrap_or_default()
    }

    pub(super) fn count_of_framework(&self, framework: FrameworkId) -> usize {
        self.by_framework.get(&framework).map_or(0, BTreeSet::len)
    }

    /// How many open offers each framework has that has any.
    pub(super) fn counts_by_framework(&self) -> BTreeMap<FrameworkId, usize> {
        self.by_framework.iter().map(|(framework, ids)| (*framework, ids.len())).collect()
    }

    pub(super) fn of_agent(&self, agent: AgentId) -> Vec<OfferId> {
        self.by_agent.get(&agent).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether it was taken back because somebody else was faster to accept what it held.
    pub(super) fn was_taken(&self, offer: OfferId) -> bool {
        self.taken.contains(&offer)
    }

    fn remember_taken(&mut self, offer: OfferId) {
        self.taken.insert(offer);
        if self.taken.len() > TAKEN_MAX {
            self.taken.pop_first();
        }
    }

    /// These offers with all that belong together with them.
    fn with_their_gangs(&self, offers: &[OfferId]) -> BTreeSet<OfferId> {
        let gang = |id: &OfferId| Some(&self.gangs.get(&self.open.get(id)?.gang?)?.open);
        offers.iter().chain(offers.iter().filter_map(gang).flatten()).copied().collect()
    }

    /// The gangs among these offers of which nothing has been answered yet.
    fn whole_gangs(&self, offers: &BTreeSet<OfferId>) -> BTreeMap<u64, (FrameworkId, Role)> {
        let whole = |id: &OfferId| {
            let offer = self.open.get(id)?;
            let gang = offer.gang.filter(|gang| !self.gangs[gang].answered)?;
            Some((gang, (offer.framework, offer.role.clone())))
        };
        offers.iter().filter_map(whole).collect()
    }

    /// When the oldest offer that was not looked at yet is overdue.
    pub(super) fn next_deadline(&self, timeout: Duration) -> Option<Mono> {
        let next = match self.overdue {
            None => self.open.first_key_value(),
            Some(overdue) => self.open.range(overdue..).find(|(id, _)| **id > overdue),
        };
        next.map(|(_, offer)| offer.made_at.after(timeout))
    }

    /// An id that no offer and no inverse offer has.
    pub(super) fn next_id(&mut self, term: Term) -> OfferId {
        self.made += 1;
        OfferId { term, number: self.made }
    }

    fn insert(
        &mut self,
        now: Now,
        id: OfferId,
        grant: &Grant,
        (domain, unavailability): (Option<FaultDomain>, Option<Unavailability>),
    ) {
        let view = OfferView {
            id,
            framework_id: grant.framework,
            role: grant.role.clone(),
            agent_id: grant.agent,
            node_id: grant.agent.node,
            domain,
            unavailability,
            resources: grant.resources.clone(),
            made_at: now.wall,
        };
        let offer = OpenOffer {
            framework: grant.framework,
            role: grant.role.clone(),
            agent: grant.agent,
            resources: grant.resources.clone(),
            made_at: now.mono,
            gang: grant.gang,
            slot: self.rows.insert(view),
        };
        if let Some(gang) = grant.gang {
            self.gangs.entry(gang).or_default().open.insert(id);
        }
        self.by_framework.entry(grant.framework).or_default().insert(id);
        self.by_agent.entry(grant.agent).or_default().insert(id);
        self.changed.insert((grant.framework, grant.agent));
        self.open.insert(id, offer);
    }

    /// Takes an offer out; what it held is the caller's.
    pub(super) fn remove(&mut self, id: OfferId) -> Option<OpenOffer> {
        let offer = self.open.remove(&id)?;
        self.rows.remove(offer.slot);
        self.changed.insert((offer.framework, offer.agent));
        take_out(&mut self.by_framework, offer.framework, id);
        take_out(&mut self.by_agent, offer.agent, id);
        if let Some(number) = offer.gang
            && let Some(gang) = self.gangs.get_mut(&number)
        {
            gang.open.remove(&id);
            gang.answered = true;
            if gang.open.is_empty() {
                self.gangs.remove(&number);
            }
        }
        Some(offer)
    }

    /// Frameworks and agents whose offers have changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<(FrameworkId, AgentId)> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn picture(&self) -> super::Table<OfferView> {
        self.rows.picture()
    }

    pub(super) fn check_invariants(&self) {
        for (id, offer) in &self.open {
            assert!(self.by_framework.get(&offer.framework).is_some_and(|ids| ids.contains(id)));
            assert!(self.by_agent.get(&offer.agent).is_some_and(|ids| ids.contains(id)));
        }
        let count = |index: usize| assert_eq!(index, self.open.len(), "offers and their index");
        count(self.by_framework.values().map(BTreeSet::len).sum());
        count(self.by_agent.values().map(BTreeSet::len).sum());
        count(self.picture().len());
        let in_gangs = self.open.values().filter(|offer| offer.gang.is_some()).count();
        let open = self.gangs.values().map(|gang| gang.open.len());
        assert_eq!(open.sum::<usize>(), in_gangs, "gangs");
    }
}

fn take_out<K: Ord>(index: &mut BTreeMap<K, BTreeSet<OfferId>>, key: K, id: OfferId) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}

/// The most offers that a framework is told at once; a run that makes more tells them one after the other.
const OFFERS_PER_EVENT_MAX: usize = 10_000;

impl Core {
    /// Runs the allocator and sends what it grants.
    pub(super) fn allocate(&mut self, cx: &mut Cx<'_>) {
        self.counters.allocation_runs += 1;
        let mut grants = Vec::new();
        self.allocator.allocate(cx.now.mono, &mut grants);
        let mut batches: BTreeMap<FrameworkId, Vec<Offer>> = BTreeMap::new();
        for grant in grants {
            let facts = self.agents.get(&grant.agent).and_then(|agent| agent.facts.clone());
            let Some(facts) = facts.filter(|_| self.frameworks.contains_key(&grant.framework))
            else {
                debug_assert!(false, "the allocator granted what the master does not know");
                continue;
            };
            let id = self.offers.next_id(self.fence.term);
            let unavailability = self.unavailability(grant.agent);
            self.offers.insert(cx.now, id, &grant, (facts.domain.clone(), unavailability));
            batches.entry(grant.framework).or_default().push(Offer {
                id,
                framework: grant.framework,
                role: grant.role,
                agent: grant.agent,
                hostname: facts.hostname.clone(),
                resources: grant.resources,
                attributes: facts.attributes.clone(),
                domain: facts.domain.clone(),
                unavailability,
            });
        }
        for (framework, offers) in batches {
            self.counters.offers_sent += u64::try_from(offers.len()).unwrap_or(u64::MAX);
            // Whole nodes with many volumes may be more than a frame holds.
            for (offers, _) in pages(offers, OFFERS_PER_EVENT_MAX) {
                self.tell_framework(cx, framework, FrameworkEvent::Offers { offers });
            }
        }
    }

    /// Takes back what the allocator wants back, and tells those whose gangs have failed.
    pub(super) fn take_back(&mut self, cx: &mut Cx<'_>) {
        for wanted in self.allocator.take_rescinds() {
            let mut offers = self.offers.of_agent(wanted.agent);
            offers.retain(|id| {
                let offer = self.offers.get(*id);
                offer.is_some_and(|offer| {
                    offer.framework == wanted.framework && offer.role == wanted.role
                })
            });
            let cause = match wanted.cause {
                WantedFor::Guarantee => RescindCause::Guarantee,
                WantedFor::Limit => RescindCause::Limit,
                WantedFor::Taken => RescindCause::Taken,
                WantedFor::NotRequested => RescindCause::NotRequested,
            };
            self.rescind(cx, &offers, cause);
        }
        for (framework, role) in self.allocator.take_failed_gangs() {
            self.tell_framework(cx, framework, FrameworkEvent::Unfulfilled { role });
        }
    }

    /// Takes back one offer, because an operator wants what it holds.
    pub(super) fn rescind_wanted(&mut self, cx: &mut Cx<'_>, offer: OfferId) {
        self.rescind(cx, &[offer], RescindCause::Operator);
    }

    /// Takes back the open offers of an agent.
    pub(super) fn rescind_of_agent(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        let offers = self.offers.of_agent(agent);
        self.rescind(cx, &offers, RescindCause::Agent);
    }

    /// Takes back the open offers of a framework.
    pub(super) fn rescind_of_framework(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let offers = self.offers.of_framework(framework);
        self.rescind(cx, &offers, RescindCause::Disconnected);
    }

    /// Takes back the open offers of a framework in roles that are not its own.
    pub(super) fn rescind_in_roles_left(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let Some(record) = self.registry.framework(framework) else { return };
        let is_left = |id: &OfferId| {
            self.offers.get(*id).is_some_and(|offer| !record.info.roles.contains(&offer.role))
        };
        let mut offers = self.offers.of_framework(framework);
        offers.retain(is_left);
        self.rescind(cx, &offers, RescindCause::RoleLeft);
    }

    /// Takes back offers that were open for too long, as far as others wait. Whoever loses an offer may begin to
    /// wait by that, so it is looked again until nobody new does.
    pub(super) fn expire_offers(&mut self, cx: &mut Cx<'_>) {
        let next = self.offers.next_deadline(self.config.offer_timeout);
        let mut due = next.is_some_and(|at| at <= cx.now.mono);
        while self.allocator.take_began_to_wait() && self.offers.overdue.is_some() || due {
            due = false;
            self.expire_overdue(cx);
        }
    }

    fn expire_overdue(&mut self, cx: &mut Cx<'_>) {
        let timeout = self.config.offer_timeout;
        let overdue: Vec<(OfferId, FrameworkId)> = self
            .offers
            .iter()
            .take_while(|(_, offer)| offer.made_at.after(timeout) <= cx.now.mono)
            .map(|(id, offer)| (id, offer.framework))
            .collect();
        let Some((newest, _)) = overdue.last().copied() else { return };
        self.offers.overdue = Some(newest);
        // At most two are looked for: whoever holds an offer waits for others than itself.
        let waiting: Vec<FrameworkId> = self.allocator.waiting_frameworks().take(2).collect();
        let expired: Vec<OfferId> = overdue
            .into_iter()
            .filter(|(_, holder)| waiting.iter().any(|other| other != holder))
            .map(|(id, _)| id)
            .collect();
        self.rescind(cx, &expired, RescindCause::TimedOut);
    }

    fn rescind(&mut self, cx: &mut Cx<'_>, offers: &[OfferId], cause: RescindCause) {
        let mut told: BTreeMap<FrameworkId, Vec<OfferId>> = BTreeMap::new();
        // Offers of a gang are of use together only, so they go together.
        let offers = self.offers.with_their_gangs(offers);
        let gangs = self.offers.whole_gangs(&offers);
        for id in offers {
            let Some(offer) = self.offers.remove(id) else { continue };
            if cause == RescindCause::Taken {
                self.offers.remember_taken(id);
            }
            let refuse_until = if cause == RescindCause::TimedOut {
                self.counters.offers_timed_out += 1;
                self.allocator.refuse_until(cx.now.mono, self.config.offer_timeout_refusal)
            } else {
                self.counters.offers_rescinded += 1;
                None
            };
            self.allocator.take_back_offered(
                offer.agent,
                offer.framework,
                &offer.role,
                &offer.resources,
                refuse_until,
            );
            told.entry(offer.framework).or_default().push(id);
        }
        for (gang, (framework, role)) in gangs {
            // One that its framework let lie is not tried again.
            if cause != RescindCause::TimedOut {
                self.allocator.gang_taken_back(framework, &role, gang);
            }
        }
        for (framework, offers) in told {
            let event = FrameworkEvent::Rescind { offers: offers.clone(), cause: Some(cause) };
            if self.tell_framework(cx, framework, event) {
                continue;
            }
            if let Some(framework) = self.frameworks.get_mut(&framework) {
                let untold = framework.rescinds_untold.entry(cause).or_default();
                untold.extend(offers);
            }
        }
    }
}
