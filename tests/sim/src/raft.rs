//! The raft group as a model: a log, terms and votes, but no messages.
//!
//! What the real group promises is modelled at its limits: a term has at most one leader, an entry
//! is committed only by a leader that a majority follows, a new leader has everything that was
//! committed. What it does not promise is dealt out by the dice: who leads, which of the old
//! leader's uncommitted entries survive, and how long a deposed leader believes in itself.

use std::collections::{BTreeMap, VecDeque};

use meshos_control::registry::{Entry, Limits, Outcome, Registry};
use meshos_protocol::ids::Term;

use crate::dice::Dice;

/// How many past states of the registry are kept, so that a leader can start from one of them.
const PAST_MAX: usize = 3;

/// Limits of the registry so low that it has to forget within a run.
pub const LIMITS: Limits =
    Limits { agents_gone_max: 2, frameworks_closed_max: 2, ..Limits::DEFAULT };

/// The group.
#[derive(Debug)]
pub struct Raft {
    /// The voters' nodes.
    pub voters: Vec<usize>,
    /// The committed entries with their outcomes.
    pub log: Vec<(Entry, Outcome)>,
    /// The newest states of the registry, the current one last.
    past: VecDeque<Registry>,
    /// The highest term that each voter has voted in or heard of; on its disk.
    pub votes: BTreeMap<usize, Term>,
    /// The newest leader.
    pub leader: Option<(Term, usize)>,
    /// What each leader proposed and nobody committed.
    proposed: BTreeMap<Term, VecDeque<Entry>>,
    /// Since when nobody leads.
    pub leaderless_since: Option<u64>,
}

impl Raft {
    /// A group of the given nodes that has formed a cluster.
    pub fn new(voters: Vec<usize>) -> Self {
        let votes = voters.iter().map(|voter| (*voter, Term(0))).collect();
        Self {
            voters,
            log: Vec::new(),
            past: VecDeque::from([Registry::with_limits(LIMITS)]),
            votes,
            leader: None,
            proposed: BTreeMap::new(),
            leaderless_since: Some(0),
        }
    }

    /// How many voters are a majority.
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// The highest term of all.
    pub fn term(&self) -> Term {
        self.votes.values().copied().max().unwrap_or_default()
    }

    /// The state of the registry as all voters will have it.
    pub fn registry(&self) -> &Registry {
        self.past.back().expect("there is always a newest state")
    }

    /// Makes `candidate` the leader of a new term, with the votes of `voters`. Some of what the
    /// leaders before it proposed turns out to be in its log.
    pub fn elect(&mut self, candidate: usize, voters: &[usize], dice: &mut Dice) -> Term {
        let term = self.term().next();
        for voter in voters {
            self.votes.insert(*voter, term);
        }
        for (_, entries) in std::mem::take(&mut self.proposed) {
            let survivors = dice.index(entries.len() + 1);
            for entry in entries.into_iter().take(survivors) {
                self.commit(entry);
            }
        }
        self.leader = Some((term, candidate));
        self.leaderless_since = None;
        term
    }

    /// A state of the registry that a new leader can start from, and the entries after it.
    pub fn start(&self, dice: &mut Dice) -> (Registry, Vec<(Entry, Outcome)>) {
        let lag = dice.index(self.past.len());
        let registry = self.past[self.past.len() - 1 - lag].clone();
        (registry, self.log[self.log.len() - lag..].to_vec())
    }

    /// Takes a proposal of a leader on.
    pub fn propose(&mut self, entry: Entry) {
        self.proposed.entry(entry.term).or_default().push_back(entry);
    }

    /// Whether the leader of `term` waits for something to be committed.
    pub fn has_proposed(&self, term: Term) -> bool {
        self.proposed.get(&term).is_some_and(|entries| !entries.is_empty())
    }

    /// Commits the oldest proposal of the leader of `term`. The caller has checked its majority.
    pub fn commit_next(&mut self, term: Term) -> Option<(Entry, Outcome)> {
        let entry = self.proposed.get_mut(&term)?.pop_front()?;
        Some(self.commit(entry))
    }

    fn commit(&mut self, entry: Entry) -> (Entry, Outcome) {
        let mut registry = self.registry().clone();
        let outcome = registry.apply(&entry);
        self.past.push_back(registry);
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        self.log.push((entry.clone(), outcome.clone()));
        (entry, outcome)
    }
}
