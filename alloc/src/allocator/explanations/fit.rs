//! Where something would fit, and what is in the way elsewhere.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::AgentId,
    resources::{Resource, Resources, ScalarQuantities, Value},
    role::Role,
    shown::key_of,
};

use super::{Allocator, NEAREST_MAX, figures, is_lasting};
use crate::{
    agent::Agent,
    allocator::run::Look,
    arena::Key,
    explain::{AgentName, Fit, SkipRule, TaskMiss},
    membership::Membership,
};

/// What is missing of each resource, by its key.
type Short = BTreeMap<String, Resources>;

/// What decides that something does not fit on an agent.
enum Decisive {
    Rule(SkipRule),
    /// There is too little of a resource.
    Lack(String),
}

/// How something fits on one agent.
struct Found {
    /// Into what the membership is offered already.
    open: bool,
    /// If nobody used anything there.
    when_empty: bool,
    /// What keeps the agent away, rules that say no more than what is missing left out.
    rule: Option<SkipRule>,
    /// What is missing of what is free.
    missing: Short,
    /// The same beside what the membership is offered already.
    short: Short,
    /// What it would take of the agent, where the limit does not leave that.
    limited: Option<Resources>,
}

impl Allocator {
    /// Where something would fit that a membership wants, of one agent or of all. What is wanted of
    /// reservations or volumes is found among these alone.
    pub(super) fn fit(
        &self,
        key: Key<Membership>,
        silenced: Option<SkipRule>,
        wanted: &Resources,
        of: Option<AgentId>,
    ) -> Fit {
        let mut fit = Fit::default();
        let mut limited = ScalarQuantities::new();
        let mut nearest: Vec<(Place, TaskMiss)> = Vec::new();
        for (id, agent) in &self.agent_keys {
            if of.is_some_and(|of| of != *id) {
                continue;
            }
            let page = &self.agents[*agent];
            let found = self.found((*agent, key), silenced, wanted);
            fit.considered += 1;
            fit.fits_when_empty += usize::from(found.when_empty);
            if found.open {
                fit.fits_open_offers += 1;
                if fit.open_offers_on.len() < NEAREST_MAX {
                    let hostname = page.profile.hostname.clone();
                    fit.open_offers_on.push(AgentName { agent: *id, hostname });
                }
            }
            for name in found.short.keys() {
                *fit.lacking.entry(name.clone()).or_default() += 1;
            }
            if found.rule == Some(SkipRule::QuotaLimit) {
                let taken = found.limited.as_ref().unwrap_or_else(|| page.free());
                figures::note_limited(&mut limited, taken);
            }
            match found.rule {
                Some(rule) => *fit.skipped.entry(rule).or_default() += 1,
                None if found.missing.is_empty() => {
                    fit.fits += 1;
                    continue;
                }
                None => {}
            }
            match self.decisive((*agent, key), wanted, &found) {
                Decisive::Rule(rule) => *fit.kept_by.entry(rule).or_default() += 1,
                Decisive::Lack(name) => *fit.short_of.entry(name).or_default() += 1,
            }
            let (hostname, Found { rule, short, .. }) = (page.profile.hostname.clone(), &found);
            let miss = TaskMiss { agent: *id, hostname, rule: *rule, short: short.clone() };
            nearest.push((place(&found), miss));
            nearest.sort_by(|(one, miss), (other, than)| {
                one.cmp(other).then_with(|| miss.agent.cmp(&than.agent))
            });
            nearest.truncate(NEAREST_MAX);
        }
        fit.nearest = nearest.into_iter().map(|(_, miss)| miss).collect();
        fit.figures = self.figures(key, fit.skipped.keys(), &limited);
        fit
    }

    /// How something fits on one agent.
    fn found(
        &self,
        (agent, key): (Key<Agent>, Key<Membership>),
        silenced: Option<SkipRule>,
        wanted: &Resources,
    ) -> Found {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        let role = &membership.role;
        let suited = |all: &Resources| all.filter(|resource| membership.may_have(resource));
        let own = page.holdings().get(&key).map(|holding| &holding.offered);
        let own = own.filter(|offered| !offered.is_empty());
        let open = own.is_some_and(|offered| missing(offered, wanted, role).is_empty());
        // A limit of the role is told by its rule; the agent lacks nothing for it.
        let free = page.portion_unrefused(key, membership, &Resources::new(), None);
        let lacks = missing(&free.unwrap_or_default(), wanted, role);
        let mut short = missing(&suited(page.free()), wanted, role);
        if let Some(offered) = own.filter(|_| !page.is_optimistic() && !short.is_empty()) {
            short = missing(&(suited(page.free()) + offered), wanted, role);
        }
        let mut rule = silenced.or_else(|| self.skip_rule(agent, key));
        let mut limited = None;
        if self.wants_unsaid(page, membership, wanted) {
            rule = rule.max(Some(SkipRule::NotUnderstood));
        } else {
            // That it has too little of something says the same, and more.
            let of_demand = |it: &SkipRule| *it == SkipRule::NotRequested && !short.is_empty();
            // What is wanted together was asked for, though none of it is offered alone.
            rule = rule.filter(|it| *it != SkipRule::NotTogether && !of_demand(it));
        }
        if lacks.is_empty() && matches!(rule, None | Some(SkipRule::QuotaLimit)) {
            let look = Look { tree: &self.tree, page, agent, turns: true };
            let taken = taken(&suited(page.free()), wanted, role);
            let headroom = look.headroom(membership);
            let beyond = |taken: &Resources| headroom.is_some_and(|rest| !rest.allows(taken));
            limited = taken.filter(beyond);
            if limited.is_some() && rule.is_none() {
                rule = Some(match self.tree.limits_held() {
                    true => SkipRule::ConsumptionUnknown,
                    false => SkipRule::QuotaLimit,
                });
            }
        }
        // Not alone in what is free, but there or beside it in what it is offered already.
        let together = rule.is_none() && !lacks.is_empty() && short.is_empty();
        if silenced.is_none() && own.is_some() && (together || open && rule.is_some()) {
            rule = Some(SkipRule::OfferedAlready);
        }
        let when_empty = missing(&suited(page.total()), wanted, role).is_empty();
        Found { open, when_empty, rule, missing: lacks, short, limited }
    }

    /// Whether an agent has something that may be taken back and is wanted as such by one that does not
    /// say that it takes such.
    fn wants_unsaid(&self, page: &Agent, membership: &Membership, wanted: &Resources) -> bool {
        let says_so = membership.capabilities.revocable_resources;
        let unsaid = if says_so { Resources::new() } else { wanted.revocable() };
        page.total().iter().any(|mine| {
            mine.metadata().revocable && unsaid.iter().any(|wanted| wanted.name() == mine.name())
        })
    }

    /// What decides that something does not fit on an agent that a rule keeps away, or that is short of
    /// something.
    fn decisive(
        &self,
        (agent, key): (Key<Agent>, Key<Membership>),
        wanted: &Resources,
        found: &Found,
    ) -> Decisive {
        let sufficient = found.missing.is_empty() || found.short.is_empty();
        let decides = |rule: &SkipRule| sufficient || found.open || is_lasting(*rule);
        if let Some(rule) = found.rule.filter(decides) {
            return Decisive::Rule(rule);
        }
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        let lacks = |available: &Resources| {
            let suited = available.filter(|resource| membership.may_have(resource));
            missing(&suited, wanted, &membership.role).into_keys().next()
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
            Some(_) if found.rule == Some(SkipRule::NothingFree) => {
                Decisive::Rule(SkipRule::NothingFree)
            }
            Some(name) => Decisive::Lack(name),
        }
    }
}

/// What a task takes of what is there, entry by entry: what it wants of reservations and volumes first,
/// as these are found nowhere else. What it does not find is told to `lacks`.
fn take(
    available: &Resources,
    wanted: &Resources,
    role: &Role,
    mut lacks: impl FnMut(&Resource, Resources),
) -> Resources {
    let (mut rest, mut taken) = (available.clone(), Resources::new());
    let named = |entry: &&Resource| is_named(entry);
    let plain = wanted.iter().filter(|entry| !is_named(entry));
    for entry in wanted.iter().filter(named).chain(plain) {
        let serving = match is_named(entry) {
            true => rest.filter(|mine| serves(mine, entry)),
            false => rest.clone(),
        };
        let one = Resources::from(entry.clone());
        let found = match volume(entry) {
            Some(_) => Some(&serving)
                .filter(|mine| mine.amount_of(entry.name()) == one.amount_of(entry.name()))
                .cloned(),
            None => serving.find(&one, role),
        };
        match found {
            Some(found) => {
                rest = rest.saturating_sub(&found.exclusive());
                taken += &found;
            }
            None => lacks(entry, lack(entry, &serving)),
        }
    }
    taken
}

/// What is missing of what is wanted.
fn missing(available: &Resources, wanted: &Resources, role: &Role) -> Short {
    let mut short = Short::new();
    take(available, wanted, role, |entry, lack| {
        short.insert(key_of(entry), lack);
    });
    short
}

/// What it takes; nothing when something is missing.
fn taken(available: &Resources, wanted: &Resources, role: &Role) -> Option<Resources> {
    let mut all = true;
    let taken = take(available, wanted, role, |_, _| all = false);
    all.then_some(taken)
}

/// Whether it is wanted of a reservation or a volume.
fn is_named(entry: &Resource) -> bool {
    entry.metadata().reserved_role().is_some() || volume(entry).is_some()
}

fn volume(entry: &Resource) -> Option<&str> {
    let disk = entry.metadata().disk.as_ref()?;
    disk.volume.as_ref().map(|volume| volume.id.as_str())
}

/// Whether it is of the reservation or the volume that is wanted.
fn serves(mine: &Resource, wanted: &Resource) -> bool {
    let of =
        |entry: &Resource| (entry.metadata().reserved_role().cloned(), entry.metadata().revocable);
    mine.name() == wanted.name() && of(mine) == of(wanted) && volume(mine) == volume(wanted)
}

/// How much of one resource is missing.
fn lack(wanted: &Resource, available: &Resources) -> Resources {
    match wanted.value() {
        Value::Scalar(amount) => {
            let alike = |mine: &Resource| mine.metadata().revocable == wanted.metadata().revocable;
            let rest = amount.remaining_after(available.filter(alike).amount_of(wanted.name()));
            // All of it when what is there cannot be used by a task.
            let rest = if rest.is_zero() { *amount } else { rest };
            wanted.with_amount(rest).map(Resources::from).unwrap_or_default()
        }
        Value::Ranges(_) | Value::Set(_) => {
            Resources::from(wanted.clone()).flatten().saturating_sub(&available.flatten())
        }
    }
}

/// Where an agent stands among those that came nearest: those first where it may fit one day, then those
/// that are too small, then those that a lasting rule keeps away; where the least is missing first.
type Place = (bool, bool, usize, Option<SkipRule>, ScalarQuantities);

fn place(found: &Found) -> Place {
    let mut sum = ScalarQuantities::new();
    found.short.values().for_each(|short| sum += &short.quantities());
    let lasting = found.rule.is_some_and(is_lasting);
    (lasting, !found.when_empty, found.short.len(), found.rule, sum)
}
