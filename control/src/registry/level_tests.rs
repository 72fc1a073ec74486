//! Voters of different releases over one log.

use std::collections::{BTreeMap, BTreeSet};

use meshos_alloc::{PastUse, Quota};
use meshos_protocol::{
    codec,
    framework::{Capabilities, FrameworkInfo},
    ids::{AgentId, ClusterId, FrameworkId, NodeId, Principal, ProposalId, Subscription, Term},
    maintenance::Unavailability,
    resources::Amount,
    role::Role,
    time::Wall,
    wishes::{AgentConstraint, OfferWishes, Predicate, Selector},
};
use serde_json::Value;

use super::{
    AgentState, Command, Entry, Hold, LEVEL, LEVEL_FIRST, NotUnderstood, Outcome, PastRecord,
    Planned, Registry,
};

fn entry(proposal: u64, command: Command) -> Entry {
    Entry { term: Term(1), proposal: ProposalId(proposal), command }
}

fn role() -> Role {
    Role::new("r").unwrap()
}

/// What a voter does whose release knows the registry up to a level; absent when it has stopped.
fn voter(known: u32, log: &[Entry]) -> (Registry, Option<NotUnderstood>) {
    let mut registry = Registry::new();
    for entry in log {
        if let Err(why) = entry.check_understood_at(known) {
            return (registry, Some(why));
        }
        registry.apply(entry);
    }
    (registry, None)
}

#[test]
fn an_older_voter_stops_at_the_raise_and_goes_on_once_it_is_upgraded() {
    let log = [
        entry(1, Command::SetWeight { role: role(), weight_millis: 2_000 }),
        entry(2, Command::RaiseLevel { level: 2 }),
        entry(3, Command::SetPriority { role: role(), priority: 5 }),
        entry(4, Command::SetWeight { role: role(), weight_millis: 3_000 }),
    ];
    let (newer, stopped) = voter(2, &log);
    assert_eq!((newer.level(), stopped), (2, None));
    let (older, stopped) = voter(1, &log);
    assert_eq!(stopped, Some(NotUnderstood::Level { level: 2, known: 1 }));
    // It has what the others had there, and the rest of the log makes it the same.
    assert_eq!(older, voter(2, &log[..1]).0);
    let mut upgraded = older;
    for entry in &log[1..] {
        assert_eq!(entry.check_understood(), Ok(()));
        upgraded.apply(entry);
    }
    assert_eq!(upgraded, newer);
    let why = NotUnderstood::Level { level: 2, known: 1 }.to_string();
    assert_eq!(
        why,
        "the cluster's registry is at level 2, this release knows it up to level 1: start the \
         release on this node that the other voters run"
    );
}

#[test]
fn a_record_that_nobody_announced_stops_a_voter_too() {
    let newer = serde_json::json!({ "t": "set_something", "role": "r" });
    let command: Command = serde_json::from_value(newer).unwrap();
    assert_eq!(entry(1, command).check_understood(), Err(NotUnderstood::Record));
    let newer = serde_json::json!({ "t": "resting", "until": 5 });
    let state: AgentState = serde_json::from_value(newer).unwrap();
    let agent = AgentId::new(NodeId::from_bits(1), 1);
    let state = entry(1, Command::SetAgentState { agent, state });
    assert_eq!(state.check_understood(), Err(NotUnderstood::Record));
    let newer = serde_json::json!({ "t": "resting", "until": 5 });
    let hold: Option<Hold> = serde_json::from_value(newer).unwrap();
    let hold = entry(1, Command::SetHold { agent, hold });
    assert_eq!(hold.check_understood(), Err(NotUnderstood::Record));
}

#[test]
fn a_wish_of_a_kind_that_nobody_announced_stops_a_voter_too() {
    let wish = |of: Value, is: Value| {
        let wishes = serde_json::json!({ "r": { "constraints": [[{ "of": of, "is": is }]] } });
        let command = serde_json::json!({
            "t": "set_wishes", "framework": FrameworkId(1), "wishes": wishes,
        });
        entry(1, serde_json::from_value(command).unwrap())
    };
    let kind = |name: &str| serde_json::json!({ "t": name, "more": 5 });
    let newer = [wish(kind("kernel"), kind("exists")), wish(kind("zone"), kind("near"))];
    for newer in newer {
        assert_eq!(newer.check_understood(), Err(NotUnderstood::Record));
        assert!(newer.command.novelty().starts_with("wishes of a kind"));
    }
    // What an earlier leader did not know it put on record by this name; all read it alike.
    for known in [wish(kind("unknown"), kind("exists")), wish(kind("zone"), kind("unknown"))] {
        assert_eq!(known.check_understood(), Ok(()));
        let again: Entry = codec::decode(&codec::encode(&known)).unwrap();
        assert_eq!(again, known);
    }
}

#[test]
fn a_level_never_falls() {
    let mut registry = Registry::new();
    assert_eq!(registry.level(), LEVEL_FIRST);
    assert_eq!(registry.apply(&entry(1, Command::RaiseLevel { level: 2 })), Outcome::Done);
    assert_eq!(registry.apply(&entry(2, Command::RaiseLevel { level: 1 })), Outcome::Done);
    assert_eq!(registry.level(), 2);
    assert_eq!(Registry::from_snapshot(&registry.to_snapshot()).unwrap().level(), 2);
}

#[test]
fn a_snapshot_says_which_level_it_takes_to_read_it() {
    let registry = Registry::new();
    let snapshot = registry.to_snapshot();
    let length = usize::try_from(u32::from_be_bytes(snapshot[..4].try_into().unwrap())).unwrap();
    let mut header: Value = codec::decode(&snapshot[4..4 + length]).unwrap();
    // Where releases that know no levels look for the version of the form.
    assert_eq!(header["version"], LEVEL_FIRST);
    header["version"] = (LEVEL + 1).into();
    let header = codec::encode(&header);
    let length_bytes = u32::try_from(header.len()).unwrap().to_be_bytes();
    let newer = [&length_bytes[..], &header, &snapshot[4 + length..]].concat();
    let why = Registry::from_snapshot(&newer).unwrap_err().to_string();
    assert!(why.starts_with("the cluster's registry is at level"), "{why}");
}

/// Each way in which operators hold an agent.
fn each_hold(agent: AgentId) -> [Command; 3] {
    let drain = Hold::Drain { grace_max_ms: 1, mark_gone: true, since: Wall(1) };
    [None, Some(Hold::Deactivated), Some(drain)].map(|hold| Command::SetHold { agent, hold })
}

/// One of each command but for holds, with everything in it that can be left out.
fn one_of_each() -> Vec<Command> {
    let (agent, framework) = (AgentId::new(NodeId::from_bits(1), 1), FrameworkId(1));
    let (subscription, at) = (Subscription(1), Wall(1));
    let info = FrameworkInfo {
        name: "n".to_owned(),
        user: "u".to_owned(),
        roles: BTreeSet::from([role()]),
        failover_timeout_ms: 1,
        capabilities: Capabilities::default(),
        hostname: "h".to_owned(),
        webui_url: "w".to_owned(),
        labels: BTreeMap::from([("label".to_owned(), "l".to_owned())]),
    };
    let new = Capabilities { gang_offers: true, region_aware: true, ..Capabilities::default() };
    let with_new = FrameworkInfo { capabilities: new, ..info.clone() };
    let quantities = "cpus:1".parse::<meshos_protocol::resources::Resources>().unwrap();
    let quantities = quantities.quantities();
    let limit = quantities.iter().map(|(name, amount)| (name.clone(), amount)).collect();
    let wishes =
        OfferWishes { minimum: vec![quantities.clone()], constraints: vec![every_constraint()] };
    let wishes = BTreeMap::from([(role(), wishes)]);
    let suppressed_roles = BTreeSet::from([role()]);
    let (principal, nonce) = (Principal::new("p").unwrap(), "n".to_owned());
    vec![
        Command::FormCluster { cluster: ClusterId::from_u128(1) },
        Command::AdmitAgent { node: agent.node },
        Command::SetAgentState { agent, state: AgentState::Active },
        Command::SetAgentState { agent, state: AgentState::Draining },
        Command::SetAgentState {
            agent,
            state: AgentState::Unreachable { since: at, draining: true },
        },
        Command::SetAgentState { agent, state: AgentState::Gone { at } },
        Command::AdmitFramework {
            principal,
            info: info.clone(),
            suppressed_roles: suppressed_roles.clone(),
            nonce,
        },
        Command::Resubscribe {
            framework,
            info: info.clone(),
            suppressed_roles: suppressed_roles.clone(),
        },
        Command::Resubscribe {
            framework,
            info: with_new,
            suppressed_roles: suppressed_roles.clone(),
        },
        Command::SetSuppressed { framework, roles: BTreeSet::from([role()]) },
        Command::Disconnect { framework, subscription, at },
        Command::Reconnect { framework, subscription },
        Command::CloseFramework { framework, at, why: "w".to_owned() },
        Command::SetWeight { role: role(), weight_millis: 1 },
        Command::SetQuota { role: role(), quota: Quota { guarantee: quantities, limit } },
        Command::SetPriority { role: role(), priority: 1 },
        Command::SetPolicy { policy: "drf".to_owned() },
        Command::SetWishes { framework, wishes: wishes.clone() },
        Command::UpdateFramework {
            framework,
            subscription,
            info,
            suppressed_roles,
            wishes: Some(wishes),
        },
        Command::NotePastUse { past: Box::new(past_use()) },
        maintenance_of(agent.node),
        Command::RaiseLevel { level: LEVEL },
    ]
}

fn maintenance_of(node: NodeId) -> Command {
    let planned = Planned {
        unavailability: Unavailability { start: Wall(1), duration_ms: Some(1) },
        hostname: "h".to_owned(),
        ip: "i".to_owned(),
        begun: Some(Wall(1)),
    };
    Command::SetMaintenance { nodes: BTreeMap::from([(node, Some(planned))]), replace: true }
}

fn past_use() -> PastRecord {
    let used = "cpus:1".parse::<meshos_protocol::resources::Resources>().unwrap().quantities();
    let frameworks = BTreeMap::from([(FrameworkId(1), used.clone())]);
    let past = PastUse { used: used.clone(), own: used, frameworks };
    PastRecord {
        policy: "fair-decay:1h".to_owned(),
        at: Wall(1),
        roles: BTreeMap::from([(role(), past)]),
    }
}

/// Each kind of what constraints look at, and of what must be true of it.
fn every_constraint() -> Vec<AgentConstraint> {
    let (text, number) = (|| "x".to_owned(), Amount::ZERO);
    let selectors = [
        Selector::Attribute { name: text() },
        Selector::Hostname,
        Selector::Region,
        Selector::Zone,
        Selector::Nothing,
    ];
    let predicates = [
        Predicate::Exists,
        Predicate::NotExists,
        Predicate::Equals { value: text() },
        Predicate::NotEquals { value: text() },
        Predicate::Matches { pattern: text() },
        Predicate::NotMatches { pattern: text() },
        Predicate::Less { than: number },
        Predicate::Greater { than: number },
        Predicate::Within { from: number, to: number },
        Predicate::Never,
    ];
    let of = selectors.map(|of| AgentConstraint { of, is: Predicate::Exists });
    let is = predicates.map(|is| AgentConstraint { of: Selector::Zone, is });
    of.into_iter().chain(is).collect()
}

/// The names of all fields in a value, those inside others after a dot, and of all kinds.
fn fields(value: &Value, inside: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = match value.as_str() {
                    Some(kind) if key == "t" && !inside.is_empty() => format!("{inside}t={kind}"),
                    _ => format!("{inside}{key}"),
                };
                fields(value, &format!("{name}."), found);
                found.push(name);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, inside, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whoever changes a line of this changes what voters of the release before make of the log: the
/// change needs a level of its own ([`LEVEL`], [`Command::level`]).
#[test]
fn what_each_level_knows() {
    let holds = each_hold(AgentId::new(NodeId::from_bits(1), 1));
    let lines = one_of_each().into_iter().chain(holds).map(|command| {
        let value = serde_json::to_value(&command).unwrap();
        let mut found = Vec::new();
        fields(&value, "", &mut found);
        found.retain(|name| name != "t");
        found.sort_unstable();
        found.dedup();
        let state = value["state"]["t"].as_str().unwrap_or_default();
        let name = value["t"].as_str().unwrap();
        format!("{} {name} {state}: {}", command.level(), found.join(" "))
    });
    let lines: Vec<String> = lines.collect();
    assert_eq!(lines.join("\n"), include_str!("levels.txt").trim_end());
}
