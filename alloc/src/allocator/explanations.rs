//! Exact answers on request: why is who offered what, where would something fit, and who could have
//! an agent?

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Resource, Resources, ScalarQuantities, Value},
    role::Role,
    shown::key_of,
    time::millis,
};

use super::{Allocator, run::Look};
use crate::{
    Share,
    agent::{Agent, Holding, Miss},
    arena::Key,
    explain::{
        AgentExplanation, Explanation, Fit, Holder, NearMiss, RequestExplanation, RoleExplanation,
        RoleMember, RoleShare, Shares, SkipRule, TaskExplanation, TaskMiss, WholeRole,
    },
    filters::Standing,
    membership::{Framework, Membership},
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

/// What decides that something does not fit on an agent.
enum Decisive {
    Rule(SkipRule),
    /// There is too little of a resource.
    Lack(String),
}

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
            offered: holding.offered.clone(),
            allocated: holding.allocated.clone(),
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
        let mut available = 0;
        for agent_key in self.agent_keys.values() {
            let page = &self.agents[*agent_key];
            match silenced.or_else(|| self.skip_rule(*agent_key, key)) {
                None => available += 1,
                Some(rule) => {
                    *skipped.entry(rule).or_default() += 1;
                    misses.push((rule, page));
                    keep_nearest(&mut misses);
                }
            }
        }
        let nearest = misses.into_iter().map(|(rule, page)| self.near_miss(rule, page, key));
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

    /// Where something would fit that a membership wants, of one agent or of all.
    fn fit(
        &self,
        key: Key<Membership>,
        silenced: Option<SkipRule>,
        wanted: &Resources,
        of: Option<AgentId>,
    ) -> Fit {
        let mut fit = Fit::default();
        let wanted = wanted.as_request();
        // What may be taken back, wanted by one that does not say that it takes such.
        let says_so = self.memberships[key].capabilities.revocable_resources;
        let unsaid = if says_so { Resources::new() } else { wanted.revocable() };
        let is_unsaid = |mine: &Resource| {
            mine.metadata().revocable && unsaid.iter().any(|wanted| wanted.name() == mine.name())
        };
        for (id, agent) in &self.agent_keys {
            if of.is_some_and(|of| of != *id) {
                continue;
            }
            fit.considered += 1;
            fit.fits_when_empty += usize::from(self.fits_when_empty(*agent, key, &wanted));
            let short = self.short_for(*agent, key, &wanted);
            for name in short.keys() {
                *fit.lacking.entry(name.clone()).or_default() += 1;
            }
            let rule = silenced.or_else(|| self.skip_rule(*agent, key));
            let rule = if self.agents[*agent].total().iter().any(is_unsaid) {
                rule.max(Some(SkipRule::NotUnderstood))
            } else {
                // That it has too little of something says the same, and more.
                let of_demand = |it: &SkipRule| *it == SkipRule::NotRequested && !short.is_empty();
                // What is wanted together was asked for, though none of it is offered alone.
                rule.filter(|it| *it != SkipRule::NotTogether && !of_demand(it))
            };
            match rule {
                Some(rule) => *fit.skipped.entry(rule).or_default() += 1,
                None if short.is_empty() => fit.fits += 1,
                None => {}
            }
            if rule.is_some() || !short.is_empty() {
                match self.decisive((*agent, key), &wanted, rule, &short) {
                    Decisive::Rule(rule) => *fit.kept_by.entry(rule).or_default() += 1,
                    Decisive::Lack(name) => *fit.short_of.entry(name).or_default() += 1,
                }
                let hostname = self.agents[*agent].profile.hostname.clone();
                fit.nearest.push(TaskMiss { agent: *id, hostname, rule, short });
                keep_nearest_to_task(&mut fit.nearest);
            }
        }
        fit
    }

    /// What decides that something does not fit on an agent that a rule keeps away, or that is short of
    /// something.
    fn decisive(
        &self,
        (agent, key): (Key<Agent>, Key<Membership>),
        wanted: &Resources,
        rule: Option<SkipRule>,
        short: &BTreeMap<String, Resources>,
    ) -> Decisive {
        let lasting = |rule: &SkipRule| *rule >= SkipRule::ReservedForOtherRole;
        if let Some(rule) = rule.filter(|rule| short.is_empty() || lasting(rule)) {
            return Decisive::Rule(rule);
        }
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        let lacks = |available: &Resources| {
            let suited = available.filter(|resource| membership.may_have(resource));
            let missing = |part: &&Resource| {
                suited.find(&Resources::from(Resource::clone(part)), &membership.role).is_none()
            };
            wanted.iter().find(missing).map(key_of)
        };
        if let Some(name) = lacks(page.total()) {
            return Decisive::Lack(name);
        }
        match lacks(&page.free_or_offered()) {
            // If only the offers were answered.
            None => Decisive::Rule(match page.is_offered_to(key) {
                true => SkipRule::OfferedAlready,
                false => SkipRule::OfferedElsewhere,
            }),
            Some(_) if rule == Some(SkipRule::NothingFree) => Decisive::Rule(SkipRule::NothingFree),
            Some(name) => Decisive::Lack(name),
        }
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
        Shares { roles: all.len(), shown: shown.collect() }
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

    fn near_miss(&self, rule: SkipRule, page: &Agent, key: Key<Membership>) -> NearMiss {
        let is_refusal = matches!(rule, SkipRule::Refused | SkipRule::TimedOut);
        let until = match page.filters.standing(key, &self.memberships[key]) {
            Standing::Refused(until, _) if is_refusal => Some(until),
            Standing::Refused(..) | Standing::TurnTaken { .. } | Standing::Open => None,
        };
        let left = until.map(|until| millis(until.since(self.tree.clock())));
        let (free, hostname) = (page.free().clone(), page.profile.hostname.clone());
        NearMiss { agent: page.id, hostname, rule, free, left_ms: left }
    }

    /// What a task lacks of what a membership may have of an agent, whatever it has refused.
    fn short_for(
        &self,
        agent: Key<Agent>,
        key: Key<Membership>,
        task: &Resources,
    ) -> BTreeMap<String, Resources> {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        // A limit of the role is told by its rule; the agent lacks nothing for it.
        let available =
            page.portion_unrefused(key, membership, &Resources::new(), None).unwrap_or_default();
        let lacks = |wanted: &Resource| {
            let one = Resources::from(wanted.clone());
            if available.find(&one, &membership.role).is_some() {
                return None;
            }
            Some((key_of(wanted), missing(wanted, &one, &available)))
        };
        task.iter().filter_map(lacks).collect()
    }

    /// Whether an agent of which nobody used anything would have room for a task.
    fn fits_when_empty(&self, agent: Key<Agent>, key: Key<Membership>, task: &Resources) -> bool {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        let all = page.total().filter(|resource| membership.may_have(resource));
        all.find(task, &membership.role).is_some()
    }
}

/// How much of one resource is missing.
fn missing(wanted: &Resource, one: &Resources, available: &Resources) -> Resources {
    match wanted.value() {
        Value::Scalar(amount) => {
            let alike = |mine: &Resource| mine.metadata().revocable == wanted.metadata().revocable;
            let rest = amount.remaining_after(available.filter(alike).amount_of(wanted.name()));
            // All of it when what is there cannot be used by a task.
            let rest = if rest.is_zero() { *amount } else { rest };
            wanted.with_amount(rest).map(Resources::from).unwrap_or_default()
        }
        Value::Ranges(_) | Value::Set(_) => one.saturating_sub(&available.flatten()),
    }
}

/// The nearest rules, and under one rule those that lack the fewest things.
fn keep_nearest_to_task(misses: &mut Vec<TaskMiss>) {
    let rank = |miss: &TaskMiss| (miss.short.len(), miss.rule, lack(miss), miss.agent);
    misses.sort_by_key(rank);
    misses.truncate(NEAREST_MAX);
}

fn lack(miss: &TaskMiss) -> ScalarQuantities {
    let mut sum = ScalarQuantities::new();
    miss.short.values().for_each(|short| sum += &short.quantities());
    sum
}

/// Keeps the list short: the nearest rules, and under one rule the agents with the most free.
fn keep_nearest(misses: &mut Vec<(SkipRule, &Agent)>) {
    misses.sort_by(|(rule, page), (other_rule, other)| {
        rule.cmp(other_rule)
            .then_with(|| other.free().cpus().cmp(&page.free().cpus()))
            .then_with(|| other.free().mem().cmp(&page.free().mem()))
    });
    misses.truncate(NEAREST_MAX);
}
