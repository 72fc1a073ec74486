//! Tests of the registry: what commands do, what is kept, and snapshots.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_alloc::{PastUse, Quota};
use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo},
    ids::{AgentId, ClusterId, FrameworkId, NodeId, Principal, ProposalId, Subscription, Term},
    resources::{Amount, ResourceName, Resources},
    role::Role,
    time::Wall,
    wishes::OfferWishes,
};
use proptest::prelude::*;

use super::{
    AgentState, Command, Entry, Hold, LEVEL, Limits, Lookup, Outcome, PastRecord, Registry,
};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Proposes for one term, one after the other.
struct Leader {
    term: Term,
    proposal: ProposalId,
}

impl Leader {
    fn of(term: u64) -> Self {
        Self { term: Term(term), proposal: ProposalId(0) }
    }

    fn entry(&mut self, command: Command) -> Entry {
        self.proposal = self.proposal.next();
        Entry { term: self.term, proposal: self.proposal, command }
    }

    fn apply(&mut self, registry: &mut Registry, command: Command) -> Outcome {
        let entry = self.entry(command);
        registry.apply(&entry)
    }
}

fn node(number: u64) -> NodeId {
    NodeId::from_bits(number)
}

fn info(name: &str) -> FrameworkInfo {
    FrameworkInfo {
        name: name.to_owned(),
        user: String::new(),
        roles: BTreeSet::from([Role::default()]),
        failover_timeout_ms: 0,
        capabilities: Capabilities::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: [("k".to_owned(), "v".to_owned())].into(),
    }
}

fn admit(principal: &str, nonce: &str) -> Command {
    Command::AdmitFramework {
        principal: Principal::new(principal).unwrap(),
        info: info("f"),
        suppressed_roles: BTreeSet::new(),
        nonce: nonce.to_owned(),
    }
}

fn subscribed(framework: u64, subscription: u64) -> Outcome {
    Outcome::Subscribed {
        framework: FrameworkId(framework),
        subscription: Subscription(subscription),
    }
}

fn refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused { why } if !why.is_empty())
}

#[test]
fn an_entry_counts_once_and_lower_terms_not_at_all() {
    let mut registry = Registry::new();
    let entry = Entry { term: Term(2), proposal: ProposalId(1), command: admit("p", "") };
    assert_eq!(registry.apply(&entry), subscribed(1, 1));
    let after = registry.clone();
    assert_eq!(registry.apply(&entry), Outcome::Repeated);
    assert_eq!(registry, after);
    assert!(refused(&registry.apply(&Entry { term: Term(1), ..entry.clone() })));
    assert_eq!(registry, after);
    assert_eq!(registry.apply(&Entry { term: Term(3), ..entry }), subscribed(2, 1));
}

#[test]
fn a_cluster_forms_once() {
    let (mut registry, mut leader) = (Registry::new(), Leader::of(1));
    let form = |id| Command::FormCluster { cluster: ClusterId::from_u128(id) };
    assert_eq!(leader.apply(&mut registry, form(7)), Outcome::Done);
    assert_eq!(leader.apply(&mut registry, form(7)), Outcome::Done);
    assert!(refused(&leader.apply(&mut registry, form(8))));
    assert_eq!(registry.cluster(), Some(ClusterId::from_u128(7)));
}

#[test]
fn a_node_is_admitted_under_the_next_number_only_after_it_is_gone() {
    let (mut registry, mut leader) = (Registry::new(), Leader::of(1));
    let admit = || Command::AdmitAgent { node: node(1) };
    let first = AgentId::new(node(1), 1);
    let gone = AgentState::Gone { at: Wall(5) };
    for _ in 0..2 {
        let outcome = leader.apply(&mut registry, admit());
        assert_eq!(outcome, Outcome::AgentAdmitted { agent: first });
    }
    let set = |state| Command::SetAgentState { agent: first, state };
    assert_eq!(leader.apply(&mut registry, set(gone)), Outcome::Done);
    assert!(refused(&leader.apply(&mut registry, set(AgentState::Active))));
    let second = AgentId::new(node(1), 2);
    let outcome = leader.apply(&mut registry, admit());
    assert_eq!(outcome, Outcome::AgentAdmitted { agent: second });
    assert_eq!(registry.agent(first), Some(gone));
    assert_eq!(registry.newest_agent_of(node(1)), Some((second, AgentState::Active)));
    let unknown = Command::SetAgentState { agent: AgentId::new(node(9), 1), state: gone };
    assert!(refused(&leader.apply(&mut registry, unknown)));
}

#[test]
fn gone_agents_are_forgotten_after_two_weeks_and_their_ids_never_used_again() {
    let (mut registry, mut leader) = (Registry::new(), Leader::of(1));
    let gone = |number, at| Command::SetAgentState {
        agent: AgentId::new(node(number), 1),
        state: AgentState::Gone { at: Wall(at) },
    };
    for number in [1, 2] {
        leader.apply(&mut registry, Command::AdmitAgent { node: node(number) });
    }
    leader.apply(&mut registry, gone(1, DAY_MS));
    leader.apply(&mut registry, gone(2, 14 * DAY_MS));
    assert!(registry.agent(AgentId::new(node(1), 1)).is_some());
    leader.apply(&mut registry, Command::AdmitAgent { node: node(3) });
    leader.apply(&mut registry, gone(3, 15 * DAY_MS + 1));
    assert_eq!(registry.agent(AgentId::new(node(1), 1)), None);
    let outcome = leader.apply(&mut registry, Command::AdmitAgent { node: node(1) });
    assert_eq!(outcome, Outcome::AgentAdmitted { agent: AgentId::new(node(1), 2) });
}

#[test]
fn the_limit_of_agents_gives_way_only_to_agents_long_unreachable() {
    let limits = Limits { agents_max: 2, ..Limits::DEFAULT };
    let (mut registry, mut leader) = (Registry::with_limits(limits), Leader::of(1));
    for number in [1, 2] {
        leader.apply(&mut registry, Command::AdmitAgent { node: node(number) });
    }
    let full = leader.apply(&mut registry, Command::AdmitAgent { node: node(3) });
    assert!(refused(&full));
    let state = |number, at| Command::SetAgentState {
        agent: AgentId::new(node(number), 1),
        state: AgentState::Unreachable { since: Wall(at), draining: false },
    };
    leader.apply(&mut registry, state(1, DAY_MS));
    assert!(refused(&leader.apply(&mut registry, Command::AdmitAgent { node: node(3) })));
    leader.apply(&mut registry, state(2, 16 * DAY_MS));
    let outcome = leader.apply(&mut registry, Command::AdmitAgent { node: node(3) });
    assert!(matches!(outcome, Outcome::AgentAdmitted { .. }), "{outcome:?}");
    assert_eq!(registry.agent(AgentId::new(node(1), 1)), None);
}

#[test]
fn a_leader_whose_clock_is_behind_has_its_records_kept_as_long_as_any() {
    let limits = Limits { frameworks_closed_max: 1, ..Limits::DEFAULT };
    let (mut registry, mut leader) = (Registry::with_limits(limits), Leader::of(1));
    for number in [1, 2] {
        leader.apply(&mut registry, Command::AdmitAgent { node: node(number) });
        leader.apply(&mut registry, admit("p", ""));
    }
    let gone = |number, at| Command::SetAgentState {
        agent: AgentId::new(node(number), 1),
        state: AgentState::Gone { at: Wall(at) },
    };
    let close = |number, at| Command::CloseFramework {
        framework: FrameworkId(number),
        at: Wall(at),
        why: String::new(),
    };
    leader.apply(&mut registry, gone(1, 100 * DAY_MS));
    leader.apply(&mut registry, gone(2, DAY_MS));
    let dates: Vec<_> = registry.agents().map(|(_, state)| state).collect();
    let first = AgentState::Gone { at: Wall(100 * DAY_MS) };
    assert_eq!(dates, [first, AgentState::Gone { at: Wall(100 * DAY_MS + 1) }]);
    leader.apply(&mut registry, close(1, 100 * DAY_MS));
    leader.apply(&mut registry, close(2, DAY_MS));
    let kept: Vec<u64> = registry.frameworks().map(|(id, _)| id.0).collect();
    assert_eq!(kept, [2], "the one that was closed last");
}

#[test]
fn a_framework_lives_through_its_subscriptions() {
    let (mut registry, mut leader) = (Registry::new(), Leader::of(1));
    let framework = FrameworkId(1);
    leader.apply(&mut registry, admit("p", ""));
    let away = |subscription, at| Command::Disconnect {
        framework,
        subscription: Subscription(subscription),
        at: Wall(at),
    };
    assert_eq!(leader.apply(&mut registry, away(1, 10)), Outcome::Done);
    assert_eq!(leader.apply(&mut registry, away(1, 20)), Outcome::Done);
    let disconnected = |registry: &Registry| registry.framework(framework).unwrap().disconnected_at;
    assert_eq!(disconnected(&registry), Some(Wall(10)), "the first date counts");
    let back =
        |subscription| Command::Reconnect { framework, subscription: Subscription(subscription) };
    assert_eq!(leader.apply(&mut registry, back(1)), Outcome::Done);
    assert_eq!(disconnected(&registry), None);
    let again = Command::Resubscribe {
        framework,
        info: info("renamed"),
        suppressed_roles: BTreeSet::from([Role::default()]),
    };
    assert_eq!(leader.apply(&mut registry, again.clone()), subscribed(1, 2));
    let record = registry.framework(framework).unwrap();
    assert_eq!((record.info.name.as_str(), record.suppressed_roles.len()), ("renamed", 1));
    assert!(refused(&leader.apply(&mut registry, away(1, 30))), "the subscription is over");
    assert!(refused(&leader.apply(&mut registry, back(1))));
    let close = Command::CloseFramework { framework, at: Wall(40), why: "enough".to_owned() };
    assert_eq!(leader.apply(&mut registry, close.clone()), Outcome::Done);
    assert_eq!(leader.apply(&mut registry, close), Outcome::Done);
    assert_eq!(registry.look_up(framework), Lookup::Closed);
    assert_eq!(registry.look_up(FrameworkId(2)), Lookup::Never);
    assert!(refused(&leader.apply(&mut registry, again)));
    assert!(refused(&leader.apply(&mut registry, back(2))));
}

#[test]
fn a_nonce_is_recognised_while_the_first_subscription_holds() {
    let (mut registry, mut leader) = (Registry::new(), Leader::of(1));
    assert_eq!(leader.apply(&mut registry, admit("p", "n")), subscribed(1, 1));
    assert_eq!(leader.apply(&mut registry, admit("p", "n")), subscribed(1, 1));
    assert_eq!(leader.apply(&mut registry, admit("q", "n")), subscribed(2, 1));
    assert_eq!(leader.apply(&mut registry, admit("p", "m")), subscribed(3, 1));
    let mut restored = Registry::from_snapshot(&registry.to_snapshot()).unwrap();
    assert_eq!(leader.apply(&mut restored, admit("p", "n")), subscribed(1, 1));
    let again = Command::Resubscribe {
        framework: FrameworkId(1),
        info: info("f"),
        suppressed_roles: BTreeSet::new(),
    };
    leader.apply(&mut registry, again);
    assert!(refused(&leader.apply(&mut registry, admit("p", "n"))));
    let close =
        Command::CloseFramework { framework: FrameworkId(1), at: Wall(1), why: String::new() };
    leader.apply(&mut registry, close);
    assert_eq!(leader.apply(&mut registry, admit("p", "n")), subscribed(4, 1));
}

#[test]
fn the_newest_closed_frameworks_are_kept_and_live_ones_limited() {
    let limits = Limits { frameworks_max: 2, frameworks_closed_max: 2, ..Limits::DEFAULT };
    let (mut registry, mut leader) = (Registry::with_limits(limits), Leader::of(1));
    for number in 1..=5 {
        assert_eq!(leader.apply(&mut registry, admit("p", "")), subscribed(number, 1));
        let framework = FrameworkId(number);
        let close = Command::CloseFramework { framework, at: Wall(number), why: "x".to_owned() };
        leader.apply(&mut registry, close);
    }
    let kept: Vec<u64> = registry.frameworks().map(|(id, _)| id.0).collect();
    assert_eq!(kept, [4, 5]);
    assert_eq!(registry.look_up(FrameworkId(1)), Lookup::Closed, "forgotten is still ended");
    leader.apply(&mut registry, admit("p", ""));
    leader.apply(&mut registry, admit("p", ""));
    assert!(refused(&leader.apply(&mut registry, admit("p", ""))));
}

#[test]
fn weights_are_set_reset_and_never_zero() {
    let (mut registry, mut leader) = (Registry::new(), Leader::of(1));
    let role = Role::new("a/b").unwrap();
    let set = |weight_millis| Command::SetWeight { role: role.clone(), weight_millis };
    assert_eq!(registry.weight_millis(&role), 1_000);
    assert_eq!(leader.apply(&mut registry, set(2_500)), Outcome::Done);
    assert!(refused(&leader.apply(&mut registry, set(0))));
    assert_eq!(registry.weight_millis(&role), 2_500);
    assert_eq!(leader.apply(&mut registry, set(1_000)), Outcome::Done);
    assert_eq!(registry.weights().len(), 0);
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let (mut registry, mut leader) = (Registry::new(), Leader::of(1));
    leader.apply(&mut registry, admit("p", "n"));
    leader.apply(&mut registry, Command::AdmitAgent { node: node(1) });
    let bytes = registry.to_snapshot();
    assert_eq!(Registry::from_snapshot(&bytes).unwrap(), registry);
    for cut in 0..bytes.len() {
        assert!(Registry::from_snapshot(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let twice = [bytes.clone(), bytes.clone()].concat();
    assert!(Registry::from_snapshot(&twice).is_err());
    // A record is missing in the middle: the end counts them.
    let length = |at: usize| {
        let four = bytes[at..at + 4].try_into().unwrap();
        4 + usize::try_from(u32::from_be_bytes(four)).unwrap()
    };
    let header = length(0);
    let without = [&bytes[..header], &bytes[header + length(header)..]].concat();
    let error = Registry::from_snapshot(&without).unwrap_err();
    assert_eq!(error.to_string(), "the registry snapshot is malformed: records are missing");
}

fn any_command() -> impl Strategy<Value = Command> {
    let node = || (0u64..4).prop_map(node);
    let agent = || (node(), 1u32..4).prop_map(|(node, number)| AgentId::new(node, number));
    let framework = || (1u64..6).prop_map(FrameworkId);
    let subscription = || (1u64..4).prop_map(Subscription);
    let at = || (0u64..40).prop_map(|day| Wall(day * DAY_MS));
    let state = prop_oneof![
        Just(AgentState::Active),
        Just(AgentState::Draining),
        (at(), any::<bool>())
            .prop_map(|(since, draining)| AgentState::Unreachable { since, draining }),
        at().prop_map(|at| AgentState::Gone { at }),
        Just(AgentState::Unknown),
    ];
    let roles = || prop_oneof![Just(BTreeSet::new()), Just(BTreeSet::from([Role::default()]))];
    let weight = prop_oneof![Just(0u64), Just(1_000), Just(3_000)];
    prop_oneof![
        (0u128..2).prop_map(|id| Command::FormCluster { cluster: ClusterId::from_u128(id) }),
        node().prop_map(|node| Command::AdmitAgent { node }),
        (agent(), state).prop_map(|(agent, state)| Command::SetAgentState { agent, state }),
        ("[pq]", "[nm]?").prop_map(|(principal, nonce)| admit(&principal, &nonce)),
        (framework(), roles()).prop_map(|(framework, suppressed_roles)| Command::Resubscribe {
            framework,
            info: info("g"),
            suppressed_roles,
        }),
        (framework(), roles())
            .prop_map(|(framework, roles)| Command::SetSuppressed { framework, roles }),
        (framework(), subscription(), at()).prop_map(|(framework, subscription, at)| {
            Command::Disconnect { framework, subscription, at }
        }),
        (framework(), subscription())
            .prop_map(|(framework, subscription)| Command::Reconnect { framework, subscription }),
        (framework(), at()).prop_map(|(framework, at)| Command::CloseFramework {
            framework,
            at,
            why: "why".to_owned(),
        }),
        ("[ab]", weight).prop_map(|(role, weight_millis)| Command::SetWeight {
            role: Role::new(&role).unwrap(),
            weight_millis,
        }),
        shares(),
        (framework(), prop::bool::ANY).prop_map(|(framework, some)| {
            let minimum = vec!["mem:64".parse::<Resources>().unwrap().quantities()];
            let wishes = OfferWishes { minimum, ..OfferWishes::default() };
            let wishes = some.then_some((Role::default(), wishes)).into_iter().collect();
            Command::SetWishes { framework, wishes }
        }),
        (framework(), subscription(), "[ab]", prop::bool::ANY).prop_map(
            |(framework, subscription, role, wishes)| Command::UpdateFramework {
                framework,
                subscription,
                info: FrameworkInfo { roles: [Role::new(&role).unwrap()].into(), ..info("new") },
                suppressed_roles: BTreeSet::new(),
                wishes: wishes.then(BTreeMap::new),
            }
        ),
        (agent(), hold()).prop_map(|(agent, hold)| Command::SetHold { agent, hold }),
        (1u32..4).prop_map(|level| Command::RaiseLevel { level: level.min(LEVEL) }),
        Just(Command::Unknown),
    ]
}

/// How operators hold an agent.
fn hold() -> impl Strategy<Value = Option<Hold>> {
    let drain = |mark_gone, day| {
        Some(Hold::Drain { grace_max_ms: 5_000, mark_gone, since: Wall(day * DAY_MS) })
    };
    prop_oneof![
        Just(None),
        Just(Some(Hold::Deactivated)),
        (any::<bool>(), 0u64..40).prop_map(move |(mark_gone, day)| drain(mark_gone, day)),
        Just(Some(Hold::Unknown)),
    ]
}

fn past_use(of: Option<Role>) -> Command {
    let roles = of.into_iter().map(|role| (role, PastUse::default())).collect();
    let past = PastRecord { policy: "fair-decay:1h".to_owned(), at: Wall(5), roles };
    Command::NotePastUse { past: Box::new(past) }
}

/// What operators say of how the cluster is shared.
fn shares() -> impl Strategy<Value = Command> {
    let role = || "[ab]".prop_map(|role| Role::new(&role).unwrap());
    let amount = || prop_oneof![Just(0i64), Just(3)];
    let quota = (amount(), amount()).prop_map(|(guarantee, limit)| Quota {
        guarantee: [(ResourceName::Cpus, Amount::whole(guarantee))].into_iter().collect(),
        // A limit of nothing is a limit.
        limit: [(ResourceName::Gpus, Amount::whole(limit))].into(),
    });
    let policy = prop_oneof![Just("fair-decay:1h"), Just("max-min:mem"), Just("of-tomorrow")];
    prop_oneof![
        (role(), quota).prop_map(|(role, quota)| Command::SetQuota { role, quota }),
        role().prop_map(|role| Command::SetQuota { role, quota: Quota::default() }),
        (role(), -1i32..2).prop_map(|(role, priority)| Command::SetPriority { role, priority }),
        policy.prop_map(|policy| Command::SetPolicy { policy: policy.to_owned() }),
        (role(), any::<bool>()).prop_map(|(role, any)| past_use(any.then_some(role))),
    ]
}

proptest! {
    /// Two voters that see the same entries agree, also when one starts from a snapshot in the
    /// middle, and when entries come twice.
    #[test]
    fn voters_agree(commands in prop::collection::vec(any_command(), 1..60), cut in 0usize..60) {
        let limits = Limits {
            agents_max: 3,
            agents_gone_max: 2,
            agents_gone_kept: Duration::from_millis(10 * DAY_MS),
            frameworks_max: 3,
            frameworks_closed_max: 1,
            weights_max: 1,
        };
        let (mut one, mut leader) = (Registry::with_limits(limits), Leader::of(1));
        let mut other = one.clone();
        let mut ids = BTreeSet::new();
        for (position, command) in commands.into_iter().enumerate() {
            let entry = leader.entry(command);
            let before: BTreeSet<AgentId> = one.agents().map(|(id, _)| id).collect();
            let outcome = one.apply(&entry);
            if let Outcome::AgentAdmitted { agent } = outcome
                && !before.contains(&agent)
            {
                prop_assert!(ids.insert(agent), "agent id {agent} was given out twice");
            }
            prop_assert_eq!(&outcome, &other.apply(&entry));
            prop_assert_eq!(other.apply(&entry), Outcome::Repeated);
            if position == cut {
                other = Registry::from_snapshot(&one.to_snapshot()).unwrap();
                other.limits = limits;
            }
            prop_assert_eq!(&one, &other);
            prop_assert!(one.agents().len() <= 5 && one.weights().len() <= 1);
            prop_assert!(one.holds().all(|(agent, _)| one.agent(agent).is_some()));
            prop_assert!(one.frameworks().len() <= 4);
        }
    }
}

#[test]
fn an_unreachable_agent_of_an_older_release_is_read_as_one_that_did_not_drain() {
    let old = serde_json::json!({ "t": "unreachable", "since": 5 });
    let state: AgentState = serde_json::from_value(old).unwrap();
    assert_eq!(state, AgentState::Unreachable { since: Wall(5), draining: false });
}

#[test]
fn a_hold_outlives_an_absence_takes_the_place_of_a_drain_and_ends_with_its_agent() {
    let (mut registry, mut leader) = (Registry::new(), Leader::of(1));
    leader.apply(&mut registry, Command::AdmitAgent { node: node(1) });
    let agent = AgentId::new(node(1), 1);
    let state = |state| Command::SetAgentState { agent, state };
    let set = |hold| Command::SetHold { agent, hold };
    let drain = |mark_gone| Some(Hold::Drain { grace_max_ms: 5_000, mark_gone, since: Wall(7) });
    assert!(registry.takes_tasks(agent));
    leader.apply(&mut registry, state(AgentState::Draining));
    assert_eq!(leader.apply(&mut registry, set(drain(false))), Outcome::Done);
    assert_eq!(registry.agent(agent), Some(AgentState::Active));
    assert!(!registry.takes_tasks(agent));
    leader.apply(&mut registry, state(AgentState::Unreachable { since: Wall(9), draining: false }));
    leader.apply(&mut registry, state(AgentState::Active));
    assert_eq!(registry.hold(agent), drain(false));
    let restored = Registry::from_snapshot(&registry.to_snapshot()).unwrap();
    assert_eq!(restored, registry);
    assert_eq!(leader.apply(&mut registry, set(Some(Hold::Deactivated))), Outcome::Done);
    assert!(refused(&leader.apply(&mut registry, set(Some(Hold::Unknown)))));
    assert_eq!(registry.hold(agent), Some(Hold::Deactivated));
    leader.apply(&mut registry, set(None));
    assert!(registry.takes_tasks(agent));

    // Of one that was given up on purpose that stays known, of another it does not.
    for (meant, kept) in [(drain(true), drain(true)), (drain(false), None)] {
        let mut registry = registry.clone();
        let mut leader = Leader::of(2);
        leader.apply(&mut registry, set(meant));
        leader.apply(&mut registry, state(AgentState::Gone { at: Wall(30) }));
        assert_eq!(registry.hold(agent), kept);
        assert!(refused(&leader.apply(&mut registry, set(None))));
    }
    let nobody = AgentId::new(node(2), 1);
    assert!(refused(&leader.apply(&mut registry, Command::SetHold { agent: nobody, hold: None })));
}
