//! The allocator without a single clever idea: every run looks at everything and adds it up anew.
//! The real one must offer the same. (Which offers are wanted back is not looked at here.)

use meshos_protocol::{
    ids::AgentId,
    resources::{Metadata, Reservation, Resource, Resources, ScalarQuantities},
    role::Role,
    time::Mono,
};

use super::facts::{Member, Reference, path};
use crate::{Grant, MinAllocatable, allocator::run::place};

impl Reference {
    fn is_met(&self, role: &Role) -> bool {
        self.quotas_of(role).iter().all(|(role, quota)| {
            quota.guarantee.iter().all(|(name, amount)| self.consumed(role, name) >= amount)
        })
    }

    /// What a member may have of an agent, and whether others go first.
    fn may_have(&self, agent: AgentId, member: &Member) -> Option<(Resources, bool)> {
        let (total, rack, active) = &self.agents[&agent];
        let understands = self.frameworks[&member.0].1;
        let may_have = |part: &Resource| {
            let Metadata { reservation, shared, revocable, .. } = part.metadata();
            let refined = reservation.as_ref().is_some_and(Reservation::is_refined);
            part.metadata().is_allocatable_to(&member.1)
                && (understands.shared_resources || !shared)
                && (understands.revocable_resources || !revocable)
                && (understands.reservation_refinement || !refined)
        };
        let part = self.cut(&member.1, &self.free(agent).filter(may_have));
        let nothing = (ScalarQuantities::new(), None);
        let (least, wanted) = self.wishes.get(member).unwrap_or(&nothing);
        let suits = *active
            && total.is_offerable_total()
            && (total.gpus().is_zero() || understands.gpu_resources)
            && wanted.is_none_or(|wanted| wanted == *rack)
            && MinAllocatable::default().is_met_by(&part)
            && least.iter().all(|(name, amount)| part.amount_of(name) >= amount);
        match self.refusals.get(&(agent, member.clone())).map(|(_, refused)| refused) {
            Some(Some(refused)) if refused.contains(&part) => None,
            refusal => suits.then_some((part, refusal == Some(&None))),
        }
    }

    pub(super) fn run(&mut self, now: Mono, draw: u64) -> Vec<Grant> {
        self.refusals.retain(|_, (until, _)| *until > now);
        let mut agents: Vec<_> = self.agents.keys().copied().collect();
        agents.sort_by_key(|agent| (place(draw, *agent), *agent));
        agents.into_iter().flat_map(|agent| self.offer(agent)).collect()
    }

    fn offer(&mut self, agent: AgentId) -> Vec<Grant> {
        let members = self.waiting().into_iter();
        let willing = members.filter_map(|member| Some((self.may_have(agent, &member)?, member)));
        let willing: Vec<_> = willing.collect();
        let group = |((_, after_others), member): &((Resources, bool), Member)| {
            (*after_others, self.is_met(&member.1))
        };
        let first = willing.iter().map(group).min();
        let of_first = willing.iter().filter(|found| Some(group(found)) == first);
        let of_first: Vec<_> = of_first.map(|(_, member)| member.clone()).collect();
        let Some((member, _)) = self.levels().next(&[], &of_first) else { return Vec::new() };
        let found = willing.into_iter().find(|(_, willing)| *willing == member);
        let Some(((resources, after_others), _)) = found else { return Vec::new() };
        self.refusals.retain(|(of, key), (_, refused)| {
            *of != agent || (*key != member && !(after_others && refused.is_none()))
        });
        let way = path(&member);
        (1..=way.len()).for_each(|end| *self.grants.entry(way[..end].into()).or_default() += 1);
        self.held.entry((agent, member.clone())).or_default()[0] += &resources;
        let (framework, role) = member;
        let grant = Grant { framework, role, agent, resources, gang: None };
        [grant].into_iter().chain(self.offer(agent)).collect()
    }
}
