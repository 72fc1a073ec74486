//! The registry forgets only by its rules, and what it has once decided it does not take back.
//!
//! Every committed entry is applied here once more, and what was there before is held against what
//! is there after.

use std::collections::BTreeMap;

use meshos_control::registry::{AgentState, Command, Entry, FrameworkRecord, Limits, Registry};
use meshos_protocol::{
    ids::{AgentId, FrameworkId, NodeId},
    time::Wall,
};

use crate::{raft::LIMITS, world::World};

/// What the rule remembers from entry to entry.
#[derive(Debug)]
pub struct Memory {
    registry: Registry,
    entries: usize,
    newest_date: Wall,
    registrations: BTreeMap<NodeId, u32>,
    newest_framework: FrameworkId,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            registry: Registry::with_limits(LIMITS),
            entries: 0,
            newest_date: Wall(0),
            registrations: BTreeMap::new(),
            newest_framework: FrameworkId(0),
        }
    }
}

pub(super) fn check(world: &mut World) {
    let memory = &mut world.oracle.registry;
    for (entry, outcome) in &world.raft.log[memory.entries..] {
        let before = memory.registry.clone();
        let applied = memory.registry.apply(entry);
        assert_eq!(applied, *outcome, "{entry:?} has the same outcome wherever it is applied");
        memory.entries += 1;
        if let Some(date) = date_of(&entry.command) {
            memory.newest_date = memory.newest_date.max(date);
        }
        agents(memory, &before, entry);
        frameworks(memory, &before, entry);
        weights(memory, &before, entry);
    }
    let told = world.raft.registry();
    assert_eq!(memory.registry, *told, "the registry is what its entries make of it");
}

fn date_of(command: &Command) -> Option<Wall> {
    match command {
        Command::SetAgentState {
            state: AgentState::Unreachable { since: at, .. } | AgentState::Gone { at },
            ..
        }
        | Command::Disconnect { at, .. }
        | Command::CloseFramework { at, .. } => Some(*at),
        _ => None,
    }
}

fn gone(registry: &Registry) -> BTreeMap<AgentId, Wall> {
    let gone = |(id, state)| match state {
        AgentState::Gone { at } => Some((id, at)),
        _ => None,
    };
    registry.agents().filter_map(gone).collect()
}

fn agents(memory: &mut Memory, before: &Registry, entry: &Entry) {
    let Limits { agents_gone_max, agents_gone_kept, .. } = LIMITS;
    let after = &memory.registry;
    let kept = gone(after);
    assert!(kept.len() <= agents_gone_max, "too many gone agents are kept: {kept:?}");
    for (agent, state) in before.agents() {
        let now = after.agent(agent);
        let AgentState::Gone { at } = state else {
            assert!(
                now.is_some(),
                "{entry:?} made the registry forget {agent}, which is {state:?}"
            );
            continue;
        };
        if let Some(now) = now {
            assert_eq!(now, state, "{agent} is gone, which is final");
            continue;
        }
        let old = memory.newest_date.since(at) > agents_gone_kept;
        let crowded = kept.len() == agents_gone_max && kept.values().all(|other| *other >= at);
        assert!(old || crowded, "{agent}, gone since {at:?}, is forgotten: {kept:?} are kept");
    }
    for (agent, _) in after.agents().filter(|(agent, _)| before.agent(*agent).is_none()) {
        let newest = memory.registrations.entry(agent.node).or_default();
        assert!(agent.registration > *newest, "{agent} was given out before");
        *newest = agent.registration;
    }
}

fn frameworks(memory: &mut Memory, before: &Registry, entry: &Entry) {
    let after: BTreeMap<FrameworkId, &FrameworkRecord> = memory.registry.frameworks().collect();
    let closed = after.values().filter_map(|record| record.closed.as_ref().map(|it| it.at));
    let closed: Vec<Wall> = closed.collect();
    let most = LIMITS.frameworks_closed_max;
    assert!(closed.len() <= most, "too many closed frameworks are kept: {closed:?}");
    let known: BTreeMap<FrameworkId, &FrameworkRecord> = before.frameworks().collect();
    for (framework, record) in &known {
        match (after.get(framework), &record.closed) {
            (Some(now), end) => {
                assert_eq!(now.principal, record.principal, "{framework} has another owner");
                assert!(now.subscription >= record.subscription, "{framework} went back");
                assert!(end.is_none() || now.closed == *end, "{framework} ended and lives again");
            }
            (None, Some(end)) => assert!(
                closed.len() == most && closed.iter().all(|other| *other >= end.at),
                "{framework}, closed {:?}, is forgotten: those of {closed:?} are kept",
                end.at
            ),
            (None, None) => panic!("{entry:?} made the registry forget {framework}, which lives"),
        }
    }
    for framework in after.keys().filter(|framework| !known.contains_key(framework)) {
        assert!(*framework > memory.newest_framework, "{framework} was given out before");
        memory.newest_framework = *framework;
    }
}

fn weights(memory: &Memory, before: &Registry, entry: &Entry) {
    for (role, _) in before.weights() {
        let kept = memory.registry.weights().any(|(other, _)| other == role);
        let set = matches!(&entry.command, Command::SetWeight { role: other, .. } if other == role);
        assert!(kept || set, "{entry:?} made the registry forget the weight of {role}");
    }
}
