//! The operations that the master knows.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, FrameworkId, OperationId, OperationUuid, Term},
    operation::{Conversion, OperationState},
    time::Mono,
};

use super::OperationKind;
use crate::master::proposals::Caller;

/// An operation that was handed to its agent.
#[derive(Debug, Clone)]
pub(in crate::master) struct InFlight {
    /// Whose it is, while that is there; absent for an operator's.
    pub(in crate::master) framework: Option<FrameworkId>,
    /// The framework's name for it.
    pub(in crate::master) id: Option<OperationId>,
    /// What it is.
    pub(in crate::master) kind: OperationKind,
    /// When this leader handed it on.
    pub(in crate::master) handed_at: Option<Mono>,
    /// What it makes of what; absent when an earlier leader handed it on.
    pub(in crate::master) conversion: Option<Conversion>,
    /// The operator that waits.
    pub(in crate::master) caller: Caller,
    /// What became of it: its framework has yet to acknowledge that.
    pub(in crate::master) told: Option<(OperationState, String)>,
}

/// What the master knows of operations.
#[derive(Debug, Default)]
pub(in crate::master) struct Operations {
    minted: u64,
    pub(super) by_agent: BTreeMap<AgentId, BTreeMap<OperationUuid, InFlight>>,
    /// Those that have an id.
    pub(super) named: BTreeMap<(FrameworkId, OperationId), (AgentId, OperationUuid)>,
    /// The agents of this term that carry operations out.
    pub(super) capable: BTreeSet<AgentId>,
    /// Asked for before their agents have reported.
    questions: BTreeMap<AgentId, BTreeSet<(FrameworkId, OperationId)>>,
    /// How many of those each framework has asked.
    askers: BTreeMap<FrameworkId, usize>,
    pub(super) questions_count: usize,
}

impl Operations {
    pub(in crate::master) fn is_capable(&self, agent: AgentId) -> bool {
        self.capable.contains(&agent)
    }

    pub(in crate::master) fn is_named(&self, framework: FrameworkId, id: &OperationId) -> bool {
        self.named.contains_key(&(framework, id.clone()))
    }

    /// How many operations of an agent are not settled.
    pub(in crate::master) fn count_of(&self, agent: AgentId) -> usize {
        self.by_agent.get(&agent).map_or(0, BTreeMap::len)
    }

    /// How many of them are a framework's.
    pub(in crate::master) fn count_of_framework(
        &self,
        agent: AgentId,
        framework: FrameworkId,
    ) -> usize {
        let entries = self.by_agent.get(&agent).into_iter().flat_map(BTreeMap::values);
        entries.filter(|entry| entry.framework == Some(framework)).count()
    }

    pub(in crate::master) fn mint(&mut self, term: Term) -> OperationUuid {
        self.minted += 1;
        OperationUuid { term, number: self.minted }
    }

    pub(in crate::master) fn insert(
        &mut self,
        agent: AgentId,
        uuid: OperationUuid,
        entry: InFlight,
    ) {
        if let (Some(framework), Some(id)) = (entry.framework, &entry.id) {
            self.named.insert((framework, id.clone()), (agent, uuid));
        }
        self.by_agent.entry(agent).or_default().insert(uuid, entry);
    }

    pub(super) fn get(&self, agent: AgentId, uuid: OperationUuid) -> Option<&InFlight> {
        self.by_agent.get(&agent)?.get(&uuid)
    }

    pub(super) fn get_mut(&mut self, agent: AgentId, uuid: OperationUuid) -> Option<&mut InFlight> {
        self.by_agent.get_mut(&agent)?.get_mut(&uuid)
    }

    pub(super) fn remove(&mut self, agent: AgentId, uuid: OperationUuid) -> Option<InFlight> {
        let entries = self.by_agent.get_mut(&agent)?;
        let entry = entries.remove(&uuid)?;
        if entries.is_empty() {
            self.by_agent.remove(&agent);
        }
        if let (Some(framework), Some(id)) = (entry.framework, &entry.id) {
            self.named.remove(&(framework, id.clone()));
        }
        Some(entry)
    }

    pub(super) fn of_agent(&self, agent: AgentId) -> Vec<OperationUuid> {
        self.by_agent.get(&agent).map(|it| it.keys().copied().collect()).unwrap_or_default()
    }

    pub(super) fn all_of_framework(&self, framework: FrameworkId) -> Vec<(AgentId, OperationUuid)> {
        let all = self.by_agent.iter().flat_map(|(agent, entries)| {
            entries.iter().map(move |(uuid, entry)| (*agent, *uuid, entry.framework))
        });
        let mine = all.filter(|(_, _, owner)| *owner == Some(framework));
        mine.map(|(agent, uuid, _)| (agent, uuid)).collect()
    }

    pub(super) fn ask(&mut self, agent: AgentId, key: (FrameworkId, OperationId)) {
        let framework = key.0;
        if self.questions.entry(agent).or_default().insert(key) {
            self.questions_count += 1;
            *self.askers.entry(framework).or_default() += 1;
        }
    }

    /// How many questions of a framework wait.
    pub(super) fn questions_of(&self, framework: FrameworkId) -> usize {
        self.askers.get(&framework).copied().unwrap_or(0)
    }

    /// A framework has ended: what it asked is of no interest any more.
    pub(super) fn forget_questions_of(&mut self, framework: FrameworkId) {
        let Some(count) = self.askers.remove(&framework) else { return };
        self.questions_count -= count;
        self.questions.retain(|_, asked| {
            asked.retain(|(owner, _)| *owner != framework);
            !asked.is_empty()
        });
    }

    pub(super) fn take_questions(
        &mut self,
        agent: AgentId,
    ) -> BTreeSet<(FrameworkId, OperationId)> {
        let taken = self.questions.remove(&agent).unwrap_or_default();
        self.questions_count -= taken.len();
        for (framework, _) in &taken {
            if let Some(count) = self.askers.get_mut(framework) {
                *count -= 1;
            }
        }
        self.askers.retain(|_, count| *count > 0);
        taken
    }

    pub(in crate::master) fn check_invariants(&self) {
        let mut named = 0;
        for (agent, entries) in &self.by_agent {
            assert!(!entries.is_empty(), "{agent}");
            for (uuid, entry) in entries {
                if let (Some(framework), Some(id)) = (entry.framework, &entry.id) {
                    let place = self.named.get(&(framework, id.clone()));
                    assert_eq!(place, Some(&(*agent, *uuid)), "{framework} {id}");
                    named += 1;
                } else {
                    assert!(entry.told.is_none(), "nobody acknowledges {uuid}");
                }
            }
        }
        assert_eq!(named, self.named.len());
        let questions: usize = self.questions.values().map(BTreeSet::len).sum();
        assert_eq!(questions, self.questions_count);
        assert_eq!(questions, self.askers.values().sum::<usize>());
    }
}
