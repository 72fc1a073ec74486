//! Random histories: what happens to a cluster, decided before it happens.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    resources::{Amount, ResourceName, Resources, ScalarQuantities},
    role::Role,
    wishes::{AgentConstraint, FaultDomain, OfferWishes, Predicate, ResourceRequest, Selector},
};

use super::{
    Chance,
    conversions::{Used, Wanted},
    kinds::total,
};
use crate::{AgentProfile, Quota};

/// One thing that happens. Numbers choose among what there is when it happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Agent(AgentStep),
    Framework(u64, FrameworkStep),
    Role(Role, RoleStep),
    Ledger(LedgerStep),
    Wait { ms: u64 },
    Run,
}

/// Something happens to an agent.
#[derive(Debug, Clone)]
pub(super) enum AgentStep {
    Add { number: u64, total: Resources, profile: AgentProfile },
    Remove { choice: usize },
    Change { choice: usize, total: Resources, profile: AgentProfile },
    Activate { choice: usize, active: bool },
}

/// A framework says something, or something happens to it.
#[derive(Debug, Clone)]
pub(super) enum FrameworkStep {
    Subscribe { roles: BTreeSet<Role>, suppressed: BTreeSet<Role>, capabilities: Capabilities },
    Remove,
    Activate(bool),
    Suppress(BTreeSet<Role>),
    Revive(BTreeSet<Role>),
    Wish(Role, Wished),
    Ask { role: Role, requests: Vec<ResourceRequest>, together_ms: Option<u64> },
}

/// What a framework wishes of offers.
#[derive(Debug, Clone, Default)]
pub(super) struct Wished {
    /// The smallest offer.
    pub(super) minimum: Option<ScalarQuantities>,
    /// A rack, and whether agents must be in it or must not.
    rack: Option<(&'static str, bool)>,
}

impl Wished {
    pub(super) fn wishes(&self) -> OfferWishes {
        let constraint = |(rack, is_in): (&'static str, bool)| {
            let of = Selector::Attribute { name: "rack".to_owned() };
            let value = rack.to_owned();
            let is =
                if is_in { Predicate::Equals { value } } else { Predicate::NotEquals { value } };
            vec![AgentConstraint { of, is }]
        };
        OfferWishes {
            minimum: self.minimum.iter().cloned().collect(),
            constraints: self.rack.map(constraint).into_iter().collect(),
        }
    }

    /// Whether an agent of these attributes, which name a rack or nothing, is one of those it wants.
    pub(super) fn suits(&self, attributes: &Attributes) -> bool {
        self.rack.is_none_or(|(rack, is_in)| {
            (*attributes == parse::<Attributes>(&format!("rack:{rack}"))) == is_in
        })
    }
}

/// An operator says something of a role.
#[derive(Debug, Clone)]
pub(super) enum RoleStep {
    Weight(u64),
    Priority(i32),
    Quota(Quota),
}

/// An offer is answered, or a task ends.
#[derive(Debug, Clone)]
pub(super) enum LedgerStep {
    Accept {
        choice: usize,
        used: Used,
        refuse_ms: Option<u64>,
    },
    Decline {
        choice: usize,
        refuse_ms: Option<u64>,
    },
    EndTask {
        choice: usize,
    },
    /// A task turns up that nobody knew.
    Adopt {
        choice: usize,
        framework: u64,
        role: Role,
        used: Resources,
    },
    /// An operator wants what an offer holds.
    TakeBack {
        choice: usize,
    },
    /// Something of an offer, or of what is free on an agent, becomes something else.
    Convert {
        choice: usize,
        offered: bool,
        wanted: Wanted,
    },
}

const ROLES: [&str; 7] = ["*", "a", "a/b", "a/b/c", "a/d", "z", "z/y"];

/// A history over at most so many agents.
pub(super) fn history(chance: &mut Chance, agents: usize, steps: usize) -> Vec<Step> {
    let mut history = Vec::with_capacity(steps + agents);
    for number in 0..agents {
        history.push(add_agent(chance, number));
    }
    for framework in 0..4 {
        let step = subscribe(chance, framework);
        let asks = match &step {
            Step::Framework(_, FrameworkStep::Subscribe { roles, .. }) if chance.once_in(4) => {
                roles.first().cloned()
            }
            Step::Agent(_)
            | Step::Framework(..)
            | Step::Role(..)
            | Step::Ledger(_)
            | Step::Wait { .. }
            | Step::Run => None,
        };
        history.push(step);
        if let Some(role) = asks {
            history.push(Step::Framework(framework, ask(chance, agents, role)));
        }
    }
    if chance.once_in(3) {
        lend(chance, &mut history);
    }
    for _ in 0..steps {
        history.push(step(chance, agents));
    }
    history.push(Step::Run);
    history
}

/// The same history when all roles are one.
pub(super) fn in_one_role(history: &mut [Step]) {
    let one = Role::default;
    let all_in_one = |roles: &mut BTreeSet<Role>| {
        if !roles.is_empty() {
            *roles = [one()].into();
        }
    };
    for step in history {
        match step {
            Step::Role(role, _)
            | Step::Framework(_, FrameworkStep::Wish(role, _) | FrameworkStep::Ask { role, .. })
            | Step::Ledger(LedgerStep::Adopt { role, .. }) => *role = one(),
            Step::Framework(_, FrameworkStep::Subscribe { roles, suppressed, .. }) => {
                all_in_one(roles);
                all_in_one(suppressed);
            }
            Step::Framework(_, FrameworkStep::Suppress(roles) | FrameworkStep::Revive(roles)) => {
                all_in_one(roles);
            }
            Step::Framework(_, FrameworkStep::Remove | FrameworkStep::Activate(_))
            | Step::Ledger(
                LedgerStep::Accept { .. }
                | LedgerStep::Decline { .. }
                | LedgerStep::EndTask { .. }
                | LedgerStep::TakeBack { .. }
                | LedgerStep::Convert { .. },
            )
            | Step::Agent(_)
            | Step::Wait { .. }
            | Step::Run => {}
        }
    }
}

/// Everything is offered to some when others come who are guaranteed a part of it.
fn lend(chance: &mut Chance, history: &mut Vec<Step>) {
    history.push(Step::Run);
    for framework in 4..6 {
        let step = subscribe(chance, framework);
        if let Step::Framework(_, FrameworkStep::Subscribe { roles, .. }) = &step {
            for role in roles {
                let quota = Quota { limit: BTreeMap::new(), ..quota(chance) };
                history.push(Step::Role(role.clone(), RoleStep::Quota(quota)));
            }
        }
        history.push(step);
        history.push(Step::Run);
    }
}

fn step(chance: &mut Chance, agents: usize) -> Step {
    let choice = chance.below(usize::MAX);
    let framework = u64::try_from(chance.below(6)).unwrap_or(0);
    match chance.below(40) {
        0 => add_agent(chance, choice % agents.max(1)),
        1..=3 => Step::Agent(agent_step(chance, choice)),
        4 | 5 => subscribe(chance, framework),
        6..=11 => Step::Framework(framework, framework_step(chance, agents)),
        12..=14 => Step::Role(role(chance), role_step(chance)),
        15..=28 => Step::Ledger(ledger_step(chance, choice)),
        29 | 30 => Step::Wait { ms: u64::try_from(chance.below(4000)).unwrap_or(0) },
        _ => Step::Run,
    }
}

fn agent_step(chance: &mut Chance, choice: usize) -> AgentStep {
    match chance.below(3) {
        0 => AgentStep::Remove { choice },
        1 => AgentStep::Change { choice, total: total(chance), profile: profile(chance) },
        _ => AgentStep::Activate { choice, active: !chance.once_in(3) },
    }
}

fn framework_step(chance: &mut Chance, agents: usize) -> FrameworkStep {
    match chance.below(8) {
        0 => FrameworkStep::Remove,
        1 => FrameworkStep::Activate(!chance.once_in(3)),
        2 => FrameworkStep::Suppress(roles(chance)),
        3 => FrameworkStep::Revive(roles(chance)),
        4 => FrameworkStep::Wish(role(chance), wishes(chance)),
        _ => {
            let role = role(chance);
            ask(chance, agents, role)
        }
    }
}

fn role_step(chance: &mut Chance) -> RoleStep {
    match chance.below(3) {
        0 => RoleStep::Weight(*chance.one_of(&[1, 500, 1000, 3000])),
        1 => RoleStep::Priority(*chance.one_of(&[-1, 0, 7])),
        _ => RoleStep::Quota(quota(chance)),
    }
}

fn ledger_step(chance: &mut Chance, choice: usize) -> LedgerStep {
    match chance.below(20) {
        0..=4 => LedgerStep::Accept { choice, used: used(chance), refuse_ms: refuse_ms(chance) },
        15..=19 => {
            let offered = !chance.once_in(3);
            let wanted = Wanted::numbered(chance.below(usize::MAX), role(chance));
            LedgerStep::Convert { choice, offered, wanted }
        }
        5..=9 => LedgerStep::Decline { choice, refuse_ms: refuse_ms(chance) },
        10 => LedgerStep::TakeBack { choice },
        11 if chance.once_in(2) => LedgerStep::Adopt {
            choice,
            framework: u64::try_from(chance.below(6)).unwrap_or(0),
            role: role(chance),
            used: parse(pick(chance, &["cpus:1;mem:32;ports:[3-6]", "cpus:0.5", "mem(z):10"])),
        },
        _ => LedgerStep::EndTask { choice },
    }
}

fn used(chance: &mut Chance) -> Used {
    if chance.once_in(2) {
        Used::These(parse(pick(chance, &USES)))
    } else {
        Used::Kinds(chance.below(usize::MAX))
    }
}

fn add_agent(chance: &mut Chance, number: usize) -> Step {
    let number = u64::try_from(number).unwrap_or(0);
    Step::Agent(AgentStep::Add { number, total: total(chance), profile: profile(chance) })
}

fn subscribe(chance: &mut Chance, framework: u64) -> Step {
    let mut roles = roles(chance);
    roles.insert(role(chance));
    let suppressed =
        if chance.once_in(4) { roles.iter().take(1).cloned().collect() } else { BTreeSet::new() };
    let capabilities = Capabilities {
        gpu_resources: chance.once_in(2),
        shared_resources: chance.once_in(2),
        revocable_resources: chance.once_in(2),
        region_aware: chance.once_in(2),
        reservation_refinement: !chance.once_in(3),
        gang_offers: true,
        ..Capabilities::default()
    };
    Step::Framework(framework, FrameworkStep::Subscribe { roles, suppressed, capabilities })
}

fn ask(chance: &mut Chance, agents: usize, role: Role) -> FrameworkStep {
    use meshos_protocol::ids::{AgentId, NodeId};
    let number = u64::try_from(chance.below(agents)).unwrap_or(0);
    let named = AgentId::new(NodeId::from_bits(number), 1);
    const WANTED: [&str; 4] =
        ["cpus:1;mem:100", "cpus:0.3", "mem:200;ports:[7-8]", "mem:50;names:{y}"];
    let one = pick(chance, &WANTED);
    let alike = !chance.once_in(3);
    let requests = (0..chance.below(3))
        .map(|_| ResourceRequest {
            agent: chance.once_in(3).then_some(named),
            resources: parse(if alike { one } else { pick(chance, &WANTED) }),
            count: u32::try_from(1 + chance.below(4)).unwrap_or(1),
        })
        .collect();
    let together_ms = chance.once_in(2).then_some(3000);
    FrameworkStep::Ask { role, requests, together_ms }
}

fn refuse_ms(chance: &mut Chance) -> Option<u64> {
    *chance.one_of(&[None, Some(1000), Some(5000)])
}

fn role(chance: &mut Chance) -> Role {
    parse(pick(chance, &ROLES))
}

fn roles(chance: &mut Chance) -> BTreeSet<Role> {
    (0..chance.below(3)).map(|_| role(chance)).collect()
}

fn quota(chance: &mut Chance) -> Quota {
    let amounts = |chance: &mut Chance, most: usize| -> BTreeMap<ResourceName, Amount> {
        let amount = |units: usize| Amount::whole(i64::try_from(units).unwrap_or(0));
        match chance.below(4) {
            0 | 1 => BTreeMap::new(),
            2 => BTreeMap::from([(ResourceName::Cpus, amount(chance.below(most)))]),
            _ => BTreeMap::from([
                (ResourceName::Cpus, amount(1 + chance.below(most))),
                (ResourceName::Mem, amount(chance.below(most * 100))),
                (ResourceName::Gpus, Amount::ZERO),
            ]),
        }
    };
    Quota { guarantee: amounts(chance, 8).into_iter().collect(), limit: amounts(chance, 40) }
}

fn wishes(chance: &mut Chance) -> Wished {
    let minimum = chance.once_in(2).then(|| pick(chance, &["mem:2000", "cpus:2;mem:100"]));
    Wished {
        minimum: minimum.map(|minimum| parse::<Resources>(minimum).quantities()),
        rack: chance.once_in(2).then(|| ("r1", chance.once_in(2))),
    }
}

fn profile(chance: &mut Chance) -> AgentProfile {
    let region = pick(chance, &["here", "here", "there"]);
    AgentProfile {
        attributes: parse(pick(chance, &["", "rack:r1", "rack:r2"])),
        hostname: String::new(),
        domain: chance
            .once_in(2)
            .then(|| FaultDomain { region: region.to_owned(), zone: String::new() }),
    }
}

const USES: [&str; 5] =
    ["cpus:1;mem:64", "cpus:0.5;ports:[5-6]", "cpus(a):1;mem:9", "mem:40;names:{x}", ""];

fn pick(chance: &mut Chance, texts: &[&'static str]) -> &'static str {
    texts[chance.below(texts.len())]
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a literal that is well-formed")
}
