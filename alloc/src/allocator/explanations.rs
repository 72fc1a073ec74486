//! Exact answers on request: why is who offered what, where would something fit, and who could have
//! an agent?

mod figures;
mod fit;

use std::{cmp::Reverse, collections::BTreeMap};

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Amount, Resources, ScalarQuantities},
    role::Role,
    time::millis,
};

use super::{Allocator, run::Look};
use crate::{
    Share,
    agent::{Agent, Holding, Miss},
    arena::Key,
    explain::{
        AgentExplanation, Explanation, Holder, NearMiss, RequestExplanation, RoleExplanation,
        RoleMember, RoleShare, Shares, SkipRule, TaskExplanation, WholeRole,
    },
    filters::Standing,
    membership::{Framework, Membership},
    min_allocatable::far,
    policy::Rank,
    tree::{Node, Scope, WEIGHT_DEFAULT_MILLIS},
};

/// How many near misses an explanation names.
const NEAREST_MAX: usize = 5;
/// How many requests of a stated demand are looked at: each is held against every agent.
const REQUESTS_MAX: usize = 5;
/// How many frameworks of a role are named.
const MEMBERS_MAX: usize = 20;
/// How many roles are compared, beside those that are asked about.
const SHARES_MAX: usize = 10;

impl Allocator {
    /// Why a framework is offered what it is. Looks at every agent, so it is for answers, not for
    /// loops.
    pub fn explain(&self, framework: FrameworkId) -> Option<Explanation> {
        let entry = self.frameworks.get(&framework)?;
        let subscribed = |key: &&Key<Membership>| self.memberships[**key].subscribed;
        let keys: Vec<_> = entry.memberships.values().filter(subscribed).copied().collect();
        let own: Vec<&Role> = keys.iter().map(|key| &self.memberships[*key].role).collect();
        let shares = self.shares(&own);
        let roles = keys.iter().map(|key| self.explain_membership(entry, *key)).collect();
        Some(Explanation { framework, active: entry.active, roles, shares })
    }

    /// Where a task of a framework in a role would fit now, and what is in the way elsewhere. Looks
    /// at every agent, so it is for answers, not for loops.
    pub fn explain_task(
        &self,
        framework: FrameworkId,
        role: &Role,
        task: &Resources,
    ) -> Option<TaskExplanation> {
        let entry = self.frameworks.get(&framework)?;
        let key = self.find_membership(framework, role)?;
        let membership = &self.memberships[key];
        Some(TaskExplanation {
            fit: self.fit(key, membership.silenced(entry), task, None),
            position: self.position(key),
            waiting: self.tree.waiting(),
            share: self.tree.share(self.tree.node(membership.node)),
            shares: self.shares(&[role]),
        })
    }

    /// How a role with all roles below it stands among the others, who waits in it, and what keeps
    /// agents from the first of them. Nothing when nobody is in it and nothing is set or reserved for
    /// it.
    pub fn explain_role(&self, role: &Role) -> Option<WholeRole> {
        let mut others = self.tree.configured().chain(self.tree.reserved_for());
        if self.tree.role(role).is_none() && !others.any(|known| known == role) {
            return None;
        }
        let state = self.role_state(role);
        let within = |key: Key<Membership>| {
            let of = &self.memberships[key].role;
            of == role || role.is_ancestor_of(of)
        };
        let (mut before, mut position, mut first) = (0, None, None);
        let mut frameworks = Vec::new();
        self.tree.first(Scope::Waiting, |key| {
            if within(key) {
                position.get_or_insert(before);
                first.get_or_insert(key);
                frameworks.extend(self.member(key));
            }
            before += 1;
            frameworks.len() == MEMBERS_MAX
        });
        let all = self.frameworks.values().flat_map(|framework| framework.memberships.values());
        let idle = all.filter(|key| within(**key)).filter_map(|key| self.member(*key));
        let idle = idle.filter(|member| member.rule.is_some());
        let room = MEMBERS_MAX - frameworks.len();
        frameworks.extend(idle.take(room));
        let first = first.and_then(|key: Key<Membership>| {
            let framework = self.frameworks.get(&self.memberships[key].framework)?;
            Some(self.explain_membership(framework, key))
        });
        Some(WholeRole {
            role: state.role,
            weight_millis: state.weight_millis,
            priority: state.priority,
            guarantee: state.quota.guarantee,
            limit: state.quota.limit,
            consumed: state.consumed,
            held: state.held,
            offered: state.offered,
            revocable: self.revocable_held(within),
            waiting: state.waiting,
            waiting_in_all: self.tree.waiting(),
            position,
            shares: self.shares(&[role]),
            frameworks,
            first,
        })
    }

    /// What of what may be taken back at any time some hold together, offered or used.
    fn revocable_held(&self, whose: impl Fn(Key<Membership>) -> bool) -> ScalarQuantities {
        let mut sum = ScalarQuantities::new();
        for page in self.agents.iter().map(|(_, page)| page) {
            for (_, holding) in page.holdings().iter().filter(|(key, _)| whose(**key)) {
                sum += &holding.allocated.revocable().quantities();
                sum += &holding.offered.revocable().quantities();
            }
        }
        sum
    }

    /// Who holds something of an agent, and which rule keeps it from whom. Looks at everybody who
    /// waits.
    pub fn explain_agent(&self, agent: AgentId) -> Option<AgentExplanation> {
        let key = *self.agent_keys.get(&agent)?;
        let page = &self.agents[key];
        let holder = |(holder, holding): (&Key<Membership>, &Holding)| Holder {
            framework: self.memberships[*holder].framework,
            role: self.memberships[*holder].role.clone(),
            offered: once(page, &holding.offered),
            allocated: once(page, &holding.allocated),
        };
        let mut explanation = AgentExplanation {
            agent,
            hostname: page.profile.hostname.clone(),
            closed: page.closed(),
            total: page.total().clone(),
            free: page.free().clone(),
            holders: page.holdings().iter().map(holder).collect(),
            considered: 0,
            skipped: BTreeMap::new(),
            next: None,
        };
        self.tree.first(Scope::Waiting, |waiting| {
            explanation.considered += 1;
            match self.skip_rule(key, waiting) {
                Some(rule) => *explanation.skipped.entry(rule).or_default() += 1,
                None if explanation.next.is_none() => explanation.next = self.member(waiting),
                None => {}
            }
            false
        });
        Some(explanation)
    }

    fn explain_membership(&self, framework: &Framework, key: Key<Membership>) -> RoleExplanation {
        let membership = &self.memberships[key];
        let node = self.tree.node(membership.node);
        let role = self.tree.role(&membership.role);
        let silenced = membership.silenced(framework);
        let mut skipped = BTreeMap::new();
        let mut misses = Vec::new();
        let mut limited = ScalarQuantities::new();
        let mut available = 0;
        for agent_key in self.agent_keys.values() {
            let page = &self.agents[*agent_key];
            match silenced.or_else(|| self.skip_rule(*agent_key, key)) {
                None => available += 1,
                Some(rule) => {
                    *skipped.entry(rule).or_default() += 1;
                    if rule == SkipRule::QuotaLimit {
                        figures::note_limited(&mut limited, page.free());
                    }
                    let (short, ever) = self.missing(page, membership, rule);
                    misses.push(Kept { rule, page, short, ever });
                    keep_nearest(&mut misses);
                }
            }
        }
        let figures = self.figures(key, skipped.keys(), &limited);
        let nearest = misses.into_iter().map(|miss| self.near_miss(miss, key));
        RoleExplanation {
            role: membership.role.clone(),
            suppressed: membership.suppressed,
            share: self.tree.share(node),
            role_share: role.map_or(Share::ZERO, |role| self.tree.share(role)),
            role_weight_millis: role.map_or(WEIGHT_DEFAULT_MILLIS, Node::weight_millis),
            position: self.position(key),
            waiting: self.tree.waiting(),
            grants: node.grants(),
            agents: self.agents.len(),
            available,
            skipped,
            figures,
            skipped_so_far: self.skips.of(key),
            nearest: nearest.collect(),
            requests: self.explain_requests(key, silenced),
        }
    }

    fn explain_requests(
        &self,
        key: Key<Membership>,
        silenced: Option<SkipRule>,
    ) -> Vec<RequestExplanation> {
        let Some(demand) = self.memberships[key].demand() else { return Vec::new() };
        let explain = |(agent, wanted, left): (Option<AgentId>, &Resources, u32)| {
            let resources = wanted.clone();
            let fit = self.fit(key, silenced, wanted, agent);
            RequestExplanation { agent, resources, left, fit }
        };
        demand.open().take(REQUESTS_MAX).map(explain).collect()
    }

    /// The shares of the roles, over their weights, by band: the least, and those of `own`.
    fn shares(&self, own: &[&Role]) -> Shares {
        let all = self.tree.roles().map(|(role, node)| (self.tree.rank_of(node), role));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        let shown = all
            .iter()
            .enumerate()
            .filter(|(place, (_, role))| *place < SHARES_MAX || own.contains(role));
        let shown = shown.map(|(_, (Rank { band, share }, role))| RoleShare {
            role: (*role).clone(),
            share: *share,
            band: *band,
        });
        let measure = self.tree.policy().measure();
        Shares { measure, roles: all.len(), shown: shown.collect() }
    }

    fn member(&self, key: Key<Membership>) -> Option<RoleMember> {
        let membership = &self.memberships[key];
        let framework = self.frameworks.get(&membership.framework)?;
        Some(RoleMember {
            framework: membership.framework,
            role: membership.role.clone(),
            rule: membership.silenced(framework),
            agents: membership.agents,
        })
    }

    /// The rule that keeps an agent from a membership that is not silenced. That it would never be
    /// offered it says more than that it is not to be had at present.
    fn skip_rule(&self, agent: Key<Agent>, key: Key<Membership>) -> Option<SkipRule> {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        let look = Look { tree: &self.tree, page, agent, turns: true };
        let closed = || (!page.is_open()).then(|| page.withheld(key, membership));
        let rule = page.barred().or_else(|| page.unsuited(agent, membership)).or_else(closed);
        let rule_of = |miss| match miss {
            Miss::Rule(rule) => rule,
            Miss::Withheld => page.withheld(key, membership),
        };
        let miss = || look.at(key, membership, |refused, free| refused.contains(free)).err();
        rule.or_else(|| miss().map(rule_of))
    }

    /// How many are served before a membership.
    fn position(&self, key: Key<Membership>) -> Option<usize> {
        let mut before = 0;
        self.tree
            .first(Scope::Waiting, |next| {
                before += usize::from(next != key);
                next == key
            })
            .map(|_| before)
    }

    fn near_miss(&self, miss: Kept<'_>, key: Key<Membership>) -> NearMiss {
        let Kept { rule, page, short, .. } = miss;
        let is_refusal = matches!(rule, SkipRule::Refused | SkipRule::TimedOut);
        let until = match page.filters.standing(key, &self.memberships[key]) {
            Standing::Refused(until, _) if is_refusal => Some(until),
            Standing::Refused(..) | Standing::TurnTaken { .. } | Standing::Open => None,
        };
        let left = until.map(|until| millis(until.since(self.tree.clock())));
        let (free, hostname) = (page.free().clone(), page.profile.hostname.clone());
        NearMiss { agent: page.id, hostname, rule, free, short, left_ms: left }
    }
}

/// An agent that is not offered.
struct Kept<'a> {
    rule: SkipRule,
    page: &'a Agent,
    /// What it lacks of what the rule asks for.
    short: ScalarQuantities,
    /// Whether it could ever have that.
    ever: bool,
}

/// What somebody holds, a shared volume once: he may be offered it several times.
fn once(page: &Agent, held: &Resources) -> Resources {
    held.exclusive() + &held.shared().intersection(page.total())
}

/// Whether a rule stays as long as nobody changes anything: it is not about what is free.
fn is_lasting(rule: SkipRule) -> bool {
    rule >= SkipRule::ReservedForOtherRole
}

/// Keeps the list short: those first that may be offered one day, then the nearest rules, where the least
/// is missing, and the agents with the most free.
fn keep_nearest(misses: &mut Vec<Kept<'_>>) {
    let free = |name: fn(&Resources) -> Amount, miss: &Kept<'_>| Reverse(name(miss.page.free()));
    misses.sort_by_cached_key(|miss| {
        let never = (is_lasting(miss.rule), !miss.ever);
        let most = (free(Resources::cpus, miss), free(Resources::mem, miss));
        (never, miss.rule, far(&miss.short), most)
    });
    misses.truncate(NEAREST_MAX);
}
