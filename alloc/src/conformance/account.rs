//! What is known of a cluster without asking the allocator: who wants what, what it may have, and what
//! it has given back.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    framework::Capabilities,
    ids::{AgentId, FrameworkId},
    resources::{Amount, Reservation, Resource, ResourceName, Resources, ScalarQuantities},
    role::Role,
    time::Mono,
    wishes::ResourceRequest,
};

use super::history::{FrameworkStep, Wished};
use crate::AgentProfile;

/// A framework in a role.
pub(super) type Member = (FrameworkId, Role);

/// What a framework has said in one of its roles.
#[derive(Debug, Default, Clone)]
struct Said {
    suppressed: bool,
    wished: Wished,
    asked: Option<Asked>,
}

/// A demand that was stated.
#[derive(Debug, Clone)]
struct Asked {
    requests: Vec<ResourceRequest>,
    together: bool,
    /// What was offered since, of agents of which not all that it was offered is answered.
    open: BTreeMap<AgentId, Vec<Resources>>,
    /// What was used of that.
    used: Vec<Resources>,
}

#[derive(Debug)]
struct Framework {
    active: bool,
    capabilities: Capabilities,
    members: BTreeMap<Role, Said>,
}

/// What happened, so far as it tells who may have what.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// What each says of itself, and whether it is offered.
    agents: BTreeMap<AgentId, (AgentProfile, bool)>,
    frameworks: BTreeMap<FrameworkId, Framework>,
    /// What who has refused of an agent, until when.
    refusals: BTreeMap<(AgentId, Member), Vec<(Mono, Resources)>>,
    /// Who has given an agent back without a refusal, and was not offered it since.
    gave_back: BTreeSet<(AgentId, Member)>,
}

impl Account {
    pub(super) fn agent(&mut self, agent: AgentId, profile: &AgentProfile) {
        self.agents.entry(agent).or_insert_with(|| (profile.clone(), true)).0 = profile.clone();
    }

    pub(super) fn agent_gone(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        self.refusals.retain(|(of, _), _| *of != agent);
        self.gave_back.retain(|(of, _)| *of != agent);
        let said =
            self.frameworks.values_mut().flat_map(|framework| framework.members.values_mut());
        said.filter_map(|said| said.asked.as_mut()).for_each(|asked| {
            asked.open.remove(&agent);
        });
    }

    pub(super) fn agent_active(&mut self, agent: AgentId, active: bool) {
        if let Some((_, known)) = self.agents.get_mut(&agent) {
            *known = active;
        }
    }

    /// A member is offered something, in a gang or alone.
    pub(super) fn granted(&mut self, agent: AgentId, member: &Member, offered: &Resources) {
        self.refusals.remove(&(agent, member.clone()));
        self.gave_back.remove(&(agent, member.clone()));
        self.kept(agent, member, offered);
    }

    /// What a member was offered before it asked, and may keep, is a part of what it asks for.
    pub(super) fn kept(&mut self, agent: AgentId, member: &Member, offered: &Resources) {
        if let Some(asked) = self.said_mut(member).and_then(|said| said.asked.as_mut()) {
            asked.open.entry(agent).or_default().push(offered.clone());
        }
    }

    /// A member uses something of an offer.
    pub(super) fn used(&mut self, agent: AgentId, member: &Member, used: &Resources) {
        if let Some(asked) = self.said_mut(member).and_then(|said| said.asked.as_mut())
            && asked.open.contains_key(&agent)
        {
            asked.used.push(used.flatten());
        }
    }

    /// Nothing of an agent is offered to a member any more.
    pub(super) fn settled(&mut self, agent: AgentId, member: &Member) {
        if let Some(asked) = self.said_mut(member).and_then(|said| said.asked.as_mut()) {
            asked.open.remove(&agent);
        }
    }

    /// A member refuses as much or less of an agent, until then. Who has left the role meanwhile refuses
    /// nothing: it starts anew when it comes back.
    pub(super) fn refuse(&mut self, agent: AgentId, member: Member, what: Resources, until: Mono) {
        if self.said(&member).is_none() {
            return;
        }
        self.refusals.entry((agent, member)).or_default().push((until, what));
    }

    /// A member gives an agent back, and refuses nothing.
    pub(super) fn give_back(&mut self, agent: AgentId, member: Member) {
        if self.said(&member).is_none() {
            return;
        }
        self.gave_back.insert((agent, member));
    }

    pub(super) fn framework(&mut self, id: FrameworkId, step: &FrameworkStep) {
        let Some(framework) = self.frameworks.get_mut(&id) else {
            if let FrameworkStep::Subscribe { roles, suppressed, capabilities } = step {
                self.subscribe(id, roles, suppressed, *capabilities);
            }
            return;
        };
        let named = |of: &BTreeSet<Role>, role: &Role| of.is_empty() || of.contains(role);
        match step {
            FrameworkStep::Subscribe { roles, suppressed, capabilities } => {
                self.subscribe(id, roles, suppressed, *capabilities);
            }
            FrameworkStep::Remove => {
                self.frameworks.remove(&id);
                self.forgive(|(of, _)| *of == id);
            }
            FrameworkStep::Activate(active) => framework.active = *active,
            FrameworkStep::Suppress(roles) => {
                let members = framework.members.iter_mut();
                members
                    .filter(|(role, _)| named(roles, role))
                    .for_each(|it| it.1.suppressed = true);
            }
            FrameworkStep::Revive(roles) => {
                let members = framework.members.iter_mut();
                members
                    .filter(|(role, _)| named(roles, role))
                    .for_each(|it| it.1.suppressed = false);
                self.forgive(|(of, role)| *of == id && named(roles, role));
            }
            FrameworkStep::Wish(role, wished) => {
                if let Some(said) = framework.members.get_mut(role) {
                    said.wished = wished.clone();
                }
            }
            FrameworkStep::Ask { role, requests, together_ms } => {
                if let Some(said) = framework.members.get_mut(role) {
                    let asked = Asked {
                        requests: requests.clone(),
                        together: together_ms.is_some(),
                        open: BTreeMap::new(),
                        used: Vec::new(),
                    };
                    said.asked = (!requests.is_empty()).then_some(asked);
                }
            }
        }
    }

    fn subscribe(
        &mut self,
        id: FrameworkId,
        roles: &BTreeSet<Role>,
        suppressed: &BTreeSet<Role>,
        capabilities: Capabilities,
    ) {
        let before = self.frameworks.remove(&id).map(|known| known.members).unwrap_or_default();
        let said = |role: &Role| {
            let said = before.get(role).cloned().unwrap_or_default();
            (role.clone(), Said { suppressed: suppressed.contains(role), ..said })
        };
        let members = roles.iter().map(said).collect();
        self.frameworks.insert(id, Framework { active: true, capabilities, members });
        self.forgive(|(of, role)| *of == id && !roles.contains(role));
    }

    /// What these have refused before is over.
    fn forgive(&mut self, over: impl Fn(&Member) -> bool) {
        self.refusals.retain(|(_, member), _| !over(member));
        self.gave_back.retain(|(_, member)| !over(member));
    }

    fn said(&self, (id, role): &Member) -> Option<&Said> {
        self.frameworks.get(id)?.members.get(role)
    }

    fn said_mut(&mut self, (id, role): &Member) -> Option<&mut Said> {
        self.frameworks.get_mut(id)?.members.get_mut(role)
    }

    /// Whether a member takes offers now. Of one that has stated a demand it is not said whether it is met.
    pub(super) fn waits(&self, (id, role): &Member) -> bool {
        let framework = self.frameworks.get(id).filter(|framework| framework.active);
        framework.and_then(|it| it.members.get(role)).is_some_and(|said| !said.suppressed)
    }

    /// Everybody who does.
    pub(super) fn waiting(&self) -> Vec<Member> {
        let active = self.frameworks.iter().filter(|(_, framework)| framework.active);
        let members = active.flat_map(|(id, framework)| {
            let open = framework.members.iter().filter(|(_, said)| !said.suppressed);
            open.map(|(role, _)| (*id, role.clone()))
        });
        members.collect()
    }

    /// Whether a member wants all or nothing.
    pub(super) fn wants_together(&self, member: &Member) -> bool {
        self.said(member).and_then(|said| said.asked.as_ref()).is_some_and(|asked| asked.together)
    }

    /// What a member has said it wants.
    pub(super) fn requests(&self, member: &Member) -> &[ResourceRequest] {
        let asked = self.said(member).and_then(|said| said.asked.as_ref());
        asked.map_or(&[], |asked| &asked.requests)
    }

    /// Whether a member takes whatever there is: it has stated no demand and no smallest size.
    pub(super) fn takes_anything(&self, member: &Member) -> bool {
        self.said(member).is_some_and(|said| said.asked.is_none() && said.wished.minimum.is_none())
    }

    /// Whether an agent is one that a member may be offered something of, whatever is free there.
    pub(super) fn suits(&self, agent: AgentId, total: &Resources, member: &Member) -> bool {
        let (Some((profile, active)), Some(framework), Some(said)) =
            (self.agents.get(&agent), self.frameworks.get(&member.0), self.said(member))
        else {
            return false;
        };
        let far = profile.domain.as_ref().is_some_and(|domain| domain.region != "here");
        *active
            && total.is_offerable_total()
            && (total.gpus().is_zero() || framework.capabilities.gpu_resources)
            && (!far || framework.capabilities.region_aware)
            && said.wished.suits(&profile.attributes)
    }

    /// What of some resources a member understands and may have by its role.
    pub(super) fn may_have(&self, member: &Member, resources: &Resources) -> Resources {
        let Some(framework) = self.frameworks.get(&member.0) else { return Resources::new() };
        let understands = framework.capabilities;
        resources.filter(|part| {
            let it = part.metadata();
            let refined = it.reservation.as_ref().is_some_and(Reservation::is_refined);
            it.is_allocatable_to(&member.1)
                && (understands.shared_resources || !it.shared)
                && (understands.revocable_resources || !it.revocable)
                && (understands.reservation_refinement || !refined)
        })
    }

    /// Whether an offer is as large as a member wants offers to be.
    pub(super) fn is_large_enough(&self, member: &Member, offer: &Resources) -> bool {
        let minimum = self.said(member).and_then(|said| said.wished.minimum.as_ref());
        minimum.is_none_or(|minimum| offer.quantities().contains(minimum))
    }

    /// Whether a member has certainly use for some of what it may have of an agent.
    pub(super) fn wants(&self, agent: AgentId, member: &Member, available: &Resources) -> bool {
        let Some(said) = self.said(member) else { return false };
        let Some(asked) = &said.asked else { return self.is_large_enough(member, available) };
        let enough = |request: &ResourceRequest| self.is_large_enough(member, &request.resources);
        !asked.together
            && asked.requests.iter().all(enough)
            && asked.requests.iter().any(|request| {
                asked.wants_more_of(agent, &request.resources)
                    && available.find(&request.resources, &member.1).is_some()
            })
    }

    /// Whether what a member has refused of an agent last, or longer and more before that, covers this.
    /// (Whoever refuses one thing and then another of the same agent has the first forgotten.)
    pub(super) fn still_refuses(
        &self,
        agent: AgentId,
        member: &Member,
        offer: &Resources,
        now: Mono,
    ) -> bool {
        let refused = self.refusals.get(&(agent, member.clone())).into_iter().flatten();
        let stands = refused.reduce(|before, next| {
            let covers = before.0 >= next.0 && before.1.contains(&next.1);
            if covers { before } else { next }
        });
        stands.is_some_and(|(until, refused)| *until > now && refused.contains(offer))
    }

    /// Whether a member has ever refused this much of an agent, or more, for so long.
    pub(super) fn has_refused(
        &self,
        agent: AgentId,
        member: &Member,
        offer: &Resources,
        now: Mono,
    ) -> bool {
        let refused = self.refusals.get(&(agent, member.clone()));
        refused.into_iter().flatten().any(|(until, it)| *until > now && it.contains(offer))
    }

    /// Whether a member may have refused what it would be offered of this. Who has stated a demand
    /// would be offered less, so any refusal may cover it.
    pub(super) fn refuses(
        &self,
        agent: AgentId,
        member: &Member,
        available: &Resources,
        now: Mono,
    ) -> bool {
        let asked = self.said(member).is_some_and(|said| said.asked.is_some());
        let least = if asked { Resources::new() } else { available.clone() };
        self.has_refused(agent, member, &least, now)
    }

    /// Whether whatever a member is offered is some of what its role is short of, as far as that is
    /// what it has asked for. What is reserved is no part of that, and is taken for a demand first.
    pub(super) fn asks_for(
        &self,
        member: &Member,
        short: &ScalarQuantities,
        portion: &Resources,
    ) -> bool {
        let asked = self.said(member).and_then(|said| said.asked.as_ref());
        let helps = |request: &ResourceRequest| {
            request.resources.iter().any(|part| !short.get(part.name()).is_zero())
        };
        asked.is_none_or(|asked| portion.iter().all(is_pool) && asked.requests.iter().all(helps))
    }

    /// Whether others go first on an agent, before a member.
    pub(super) fn lets_others_go_first(&self, agent: AgentId, member: &Member) -> bool {
        self.gave_back.contains(&(agent, member.clone()))
    }

    /// Nobody is offered more at a time than it has asked for.
    pub(super) fn check_demands(&self) {
        for (id, framework) in &self.frameworks {
            for (role, said) in &framework.members {
                let Some(asked) = &said.asked else { continue };
                let (offered, wanted) = (asked.offered(), asked.wanted());
                assert!(
                    wanted.contains(&offered),
                    "framework {id} in {role} wants {wanted} and is offered {offered}"
                );
            }
        }
    }
}

impl Asked {
    /// Whether, of what it wants of this kind of an agent, more is wanted than it was offered or has used.
    fn wants_more_of(&self, agent: AgentId, kind: &Resources) -> bool {
        let of_kind = self.requests.iter().filter(|request| request.resources == *kind);
        let here = of_kind.filter(|request| request.agent.is_none_or(|named| named == agent));
        let wanted: u32 = here.map(|request| request.count).sum();
        let times = |all: &Resources| all.flatten().take(kind, u32::MAX, &Role::default());
        let had: u32 = self.open.values().flatten().chain(&self.used).map(times).sum();
        wanted > had
    }

    /// All that is offered for it now. Volumes of its role come with it unasked.
    fn offered(&self) -> ScalarQuantities {
        let mut sum = ScalarQuantities::new();
        for offered in self.open.values().flatten() {
            sum += &offered.filter(|part| !part.metadata().is_volume()).quantities();
        }
        sum
    }

    fn wanted(&self) -> ScalarQuantities {
        let mut sum = ScalarQuantities::new();
        for request in &self.requests {
            (0..request.count).for_each(|_| sum += &request.resources.quantities());
        }
        sum
    }
}

/// What of resources is left when there must be no more of the unreserved pool than `room`: amounts are
/// cut, GPUs and what comes whole stay whole. A remainder without processors or memory goes to
/// others, unless it was `asked` for.
pub(crate) fn within(
    room: &BTreeMap<ResourceName, Amount>,
    resources: &Resources,
    asked: bool,
) -> Resources {
    let mut room = room.clone();
    let mut cut = Vec::new();
    for part in resources {
        let limited = room.get_mut(part.name()).filter(|_| is_pool(part));
        let (Some(left), Some(amount)) = (limited, part.amount()) else {
            cut.push(part.clone());
            continue;
        };
        let fits = part.metadata().is_divisible() || amount <= *left;
        let given = if fits { amount.min(*left) } else { Amount::ZERO };
        *left = left.remaining_after(given);
        let is_gpu = *part.name() == ResourceName::Gpus;
        let given = if is_gpu { Amount::whole(given.units()) } else { given };
        cut.extend(part.with_amount(given).filter(|_| !given.is_zero()));
    }
    let cut: Resources = cut.into_iter().collect();
    let lost = |name| {
        let pool = |all: &Resources| all.filter(is_pool).amount_of(name);
        pool(&cut).is_zero() && !pool(resources).is_zero()
    };
    let useless = lost(&ResourceName::Cpus) || lost(&ResourceName::Mem);
    if useless && !asked { cut.filter(|part| !is_pool(part)) } else { cut }
}

/// What counts for quota when somebody holds it.
pub(super) fn is_pool(part: &Resource) -> bool {
    part.metadata().is_unreserved() && !part.metadata().revocable
}
