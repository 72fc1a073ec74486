//! The allocator without a single clever idea: everything is looked at in every run, and every
//! share is added up anew. The real one must offer the same.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Resources, ScalarQuantities},
    role::Role,
    time::Mono,
};

use super::super::run::place;
use crate::Grant;

pub(super) type Member = (FrameworkId, Role);

/// By the way from the top: the share and the number of grants.
type Ranks = BTreeMap<Vec<Level>, ((u128, u128), u64)>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Direct,
    Role(Role),
    Framework(FrameworkId),
}

/// From the top: the roles on the way, those directly in the last, the framework.
pub(super) fn path((framework, role): &Member) -> Vec<Level> {
    let mut roles: Vec<_> = std::iter::successors(Some(role.clone()), Role::parent).collect();
    roles.reverse();
    let steps = roles.into_iter().map(Level::Role);
    steps.chain([Level::Direct, Level::Framework(*framework)]).collect()
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    Until(Mono, Resources),
    /// Others go first; forgotten at that time.
    Turn(Mono),
}

#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) agents: BTreeMap<AgentId, (Resources, bool)>,
    /// Active, uses GPUs, roles with whether they are suppressed.
    pub(super) frameworks: BTreeMap<FrameworkId, (bool, bool, BTreeMap<Role, bool>)>,
    /// Offered and allocated.
    pub(super) held: BTreeMap<(AgentId, Member), [Resources; 2]>,
    pub(super) refusals: BTreeMap<(AgentId, Member), Refusal>,
    pub(super) weights: BTreeMap<Role, u64>,
    pub(super) grants: BTreeMap<Vec<Level>, u64>,
}

impl Reference {
    pub(super) fn free(&self, agent: AgentId) -> Resources {
        let held = self.held.iter().filter(|((of, _), _)| *of == agent);
        let used: Resources = held.flat_map(|(_, both)| both).sum();
        self.agents[&agent].0.saturating_sub(&used)
    }

    pub(super) fn share(&self, prefix: &[Level]) -> (u128, u128) {
        let mut held = ScalarQuantities::new();
        for ((_, member), both) in &self.held {
            if path(member).starts_with(prefix) {
                both.iter().for_each(|part| held += &part.quantities());
            }
        }
        let total: Resources = self.agents.values().map(|(total, _)| total).sum();
        let number = |millis: i64| u128::try_from(millis).unwrap();
        let weight = match prefix.last() {
            Some(Level::Role(role)) => self.weights.get(role).copied().unwrap_or(1000),
            _ => 1000,
        };
        held.iter()
            .map(|(name, amount)| (number(amount.millis()), number(total.amount_of(name).millis())))
            .filter(|(_, total)| *total > 0)
            .map(|(held, total)| (held, total * u128::from(weight)))
            .max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)))
            .unwrap_or((0, 1))
    }

    fn order(ranks: &Ranks, one: &Member, other: &Member) -> Ordering {
        let (one, other) = (path(one), path(other));
        let Some(level) = one.iter().zip(&other).position(|(a, b)| a != b) else {
            return Ordering::Equal;
        };
        let (share, granted) = ranks[&one[..=level]];
        let (other_share, other_granted) = ranks[&other[..=level]];
        (share.0 * other_share.1)
            .cmp(&(other_share.0 * share.1))
            .then_with(|| granted.cmp(&other_granted))
            .then_with(|| one[level].cmp(&other[level]))
    }

    /// Share and number of grants of everybody on the way to these members.
    fn ranks(&self, members: &[Member]) -> Ranks {
        let paths = members.iter().map(path);
        let prefixes: BTreeSet<_> = paths
            .flat_map(|path| (1..=path.len()).map(|end| path[..end].to_vec()).collect::<Vec<_>>())
            .collect();
        let rank = |prefix: &Vec<Level>| {
            (self.share(prefix), self.grants.get(prefix).copied().unwrap_or(0))
        };
        prefixes.into_iter().map(|prefix| (prefix.clone(), rank(&prefix))).collect()
    }

    /// Whether the member may have this part of the agent; `None`: it is others' turn.
    fn may_have(&self, agent: AgentId, member: &Member, part: &Resources) -> Option<bool> {
        let gpus = !self.agents[&agent].0.gpus().is_zero();
        if (gpus && !self.frameworks[&member.0].1) || !part.is_allocatable() {
            return Some(false);
        }
        match self.refusals.get(&(agent, member.clone())) {
            Some(Refusal::Until(_, refused)) => Some(!refused.contains(part)),
            Some(Refusal::Turn(_)) => None,
            None => Some(true),
        }
    }

    pub(super) fn waiting(&self) -> Vec<Member> {
        let active = self.frameworks.iter().filter(|(_, (active, _, _))| *active);
        let of = |(id, (_, _, roles)): (&FrameworkId, &(bool, bool, BTreeMap<Role, bool>))| {
            let wanted = roles.iter().filter(|(_, suppressed)| !**suppressed);
            wanted.map(|(role, _)| (*id, role.clone())).collect::<Vec<_>>()
        };
        active.flat_map(of).collect()
    }

    pub(super) fn run(&mut self, now: Mono, draw: u64) -> Vec<Grant> {
        self.refusals.retain(|_, refusal| match refusal {
            Refusal::Until(at, _) | Refusal::Turn(at) => *at > now,
        });
        let mut agents: Vec<_> = self.agents.keys().copied().collect();
        agents.sort_by_key(|agent| (place(draw, *agent), *agent));
        agents.into_iter().flat_map(|agent| self.offer(agent)).collect()
    }

    fn offer(&mut self, agent: AgentId) -> Vec<Grant> {
        let mut grants = Vec::new();
        while self.agents[&agent].1 && self.agents[&agent].0.is_offerable_total() {
            let free = self.free(agent);
            let mut members = self.waiting();
            let ranks = self.ranks(&members);
            members.sort_by(|one, other| Self::order(&ranks, one, other));
            let verdict =
                |member: &&Member| self.may_have(agent, member, &free.for_role(&member.1));
            let willing = members.iter().find(|member| verdict(member) == Some(true));
            let passed = members.iter().find(|member| verdict(member).is_none());
            let Some(member) = willing.or(passed).cloned() else { return grants };
            if willing.is_none() {
                self.refusals.retain(|(of, _), refusal| {
                    *of != agent || !matches!(refusal, Refusal::Turn(_))
                });
            }
            let resources = free.for_role(&member.1);
            self.refusals.remove(&(agent, member.clone()));
            self.held.entry((agent, member.clone())).or_default()[0] += &resources;
            let steps = path(&member);
            (1..=steps.len())
                .for_each(|end| *self.grants.entry(steps[..end].into()).or_default() += 1);
            let (framework, role) = member;
            grants.push(Grant { framework, role, agent, resources, together: false });
        }
        grants
    }
}
