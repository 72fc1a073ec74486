//! What frameworks have refused on one agent.
//!
//! A filter lives with its agent and costs nothing while nothing changes there. It ends when its
//! time has come, when the agent has more free than was refused, or when its framework revives;
//! the last needs no search, because revival changes the stamp that filters are compared with.

use std::{collections::BTreeMap, sync::Arc};

use meshos_protocol::{resources::Resources, time::Mono};

use crate::{
    arena::{Arena, Key, KeySet},
    explain::SkipRule,
    membership::{Membership, Stamp},
};

/// Filters that have lost their meaning are thrown out when there are this many and as many again
/// as memberships.
const SWEEP_FROM: usize = 64;

/// It is quicker to put so many in order than to go through all others before them.
const FEW: usize = 24;

#[derive(Debug, Clone)]
struct Filter {
    stamp: Stamp,
    refusal: Refusal,
}

/// What a framework said no to.
#[derive(Debug, Clone)]
enum Refusal {
    /// These resources or less, until then.
    Until(Mono, Arc<Resources>),
    /// Nothing in particular; but it has had its turn, and others go first.
    Turn,
}

/// How a membership that was offered a part of an agent stands to parts of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartOffered {
    /// It has not answered, or accepted.
    Last,
    /// It declined it: a part will not do.
    Declined,
    /// It was offered all there is after that. If it declines that as well, it was not for the size.
    WholeAfter,
}

/// How a membership stands to an agent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing<'a> {
    /// Nothing is between them.
    Open,
    /// It refused these resources or less, until then.
    Refused(Mono, &'a Arc<Resources>),
    /// It has had the agent and gave it back, or revived since it refused: others go first.
    TurnTaken {
        /// Whether it has revived since.
        revived: bool,
    },
}

/// The filters on one agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    by_membership: BTreeMap<Key<Membership>, Filter>,
    /// Who was offered a part of the agent last or has declined one, since when it is who it is, and how it
    /// stands to parts.
    parts: BTreeMap<Key<Membership>, (Stamp, PartOffered)>,
    /// At most the earliest time at which one ends: it may be too early, never too late.
    next_expiry: Option<Mono>,
    /// What was refused last. Frameworks refuse the same remainder one after the other, and share it.
    last: Arc<Resources>,
    /// Who refuses just that at present. Most looks end at it, without a search.
    refuse_last: KeySet<Membership>,
    /// Who refuses not because it said so, but because it let an offer lie.
    timed_out: KeySet<Membership>,
}

impl Filters {
    /// How a membership stands to this agent.
    pub(crate) fn standing(&self, key: Key<Membership>, membership: &Membership) -> Standing<'_> {
        let Some(filter) = self.filter(key) else { return Standing::Open };
        match &filter.refusal {
            // Left behind by one that had the key before.
            _ if filter.stamp < membership.born => Standing::Open,
            Refusal::Until(until, refused) if filter.stamp == membership.stamp => {
                Standing::Refused(*until, refused)
            }
            Refusal::Until(..) | Refusal::Turn => {
                Standing::TurnTaken { revived: filter.stamp != membership.stamp }
            }
        }
    }

    fn filter(&self, key: Key<Membership>) -> Option<&Filter> {
        // Mostly all have refused the same, and a search for another is spared.
        let unknown =
            self.refuse_last.len() == self.by_membership.len() && !self.refuse_last.contains(key);
        if unknown { None } else { self.by_membership.get(&key) }
    }

    /// What a membership refused, if it is what was refused here last.
    pub(crate) fn last_refused(&self, key: Key<Membership>) -> Option<&Arc<Resources>> {
        self.refuse_last.contains(key).then_some(&self.last)
    }

    /// Those who have refused what was refused here last, if that covers what is free, see `covers`.
    pub(crate) fn who_refuses<'a>(
        &'a self,
        covers: impl FnOnce(&'a Arc<Resources>) -> bool,
    ) -> Option<&'a KeySet<Membership>> {
        (!self.refuse_last.is_empty() && covers(&self.last)).then_some(&self.refuse_last)
    }

    /// Those of `waiting` who have not refused what was refused here last, when at least `many` and nearly everybody
    /// have and that covers what is free, see `covers`.
    pub(crate) fn few_left<'a>(
        &'a self,
        waiting: &KeySet<Membership>,
        many: usize,
        covers: impl FnOnce(&'a Arc<Resources>) -> bool,
    ) -> Option<Vec<Key<Membership>>> {
        if self.refuse_last.len() < many {
            return None;
        }
        let left: Vec<_> = waiting.without(self.who_refuses(covers)?).take(FEW + 1).collect();
        (left.len() <= FEW).then_some(left)
    }

    /// A membership has revived or gone: its refusals are over.
    pub(crate) fn outdate(&mut self, key: Key<Membership>) {
        self.refuse_last.remove(key);
        self.timed_out.remove(key);
    }

    /// Asserts that those refuse what was refused last who are found quickly.
    ///
    /// # Panics
    ///
    /// When one does not.
    pub(crate) fn check_invariants(&self, memberships: &Arena<Membership>) {
        for key in self.refuse_last.iter() {
            let standing = memberships.get(key).map(|membership| self.standing(key, membership));
            let Some(Standing::Refused(_, refused)) = standing else {
                panic!("{key:?} refuses nothing: {standing:?}");
            };
            assert!(Arc::ptr_eq(refused, &self.last), "{key:?} refuses {refused}");
        }
        for key in self.timed_out.iter() {
            let standing = memberships.get(key).map(|membership| self.standing(key, membership));
            let refuses = matches!(standing, Some(Standing::Refused(..)));
            assert!(refuses, "{key:?} has let no offer time out: {standing:?}");
        }
    }

    /// By which rule those are kept from the agent who refuse what is free.
    pub(crate) fn refusal_rule(&self, key: Key<Membership>) -> SkipRule {
        if self.timed_out.contains(key) { SkipRule::TimedOut } else { SkipRule::Refused }
    }

    /// Keeps `refused` or less from a membership until then; `timed_out`: it let an offer of that lie.
    pub(crate) fn refuse(
        &mut self,
        key: Key<Membership>,
        memberships: &Arena<Membership>,
        (refused, timed_out): (&Resources, bool),
        until: Mono,
    ) {
        if let Standing::Refused(longer, more) = self.standing(key, &memberships[key])
            && longer >= until
            && more.contains(refused)
        {
            return;
        }
        if !self.last.is_same(refused) {
            self.last = Arc::new(refused.clone());
            self.refuse_last.clear();
        }
        let refusal = Refusal::Until(until, Arc::clone(&self.last));
        self.put(key, memberships, refusal);
        self.refuse_last.insert(key);
        self.timed_out.set(key, timed_out);
        self.next_expiry = Some(self.next_expiry.map_or(until, |earliest| earliest.min(until)));
    }

    /// Lets others go first, once.
    pub(crate) fn pass(&mut self, key: Key<Membership>, memberships: &Arena<Membership>) {
        if let Standing::Open = self.standing(key, &memberships[key]) {
            self.put(key, memberships, Refusal::Turn);
        }
    }

    fn put(&mut self, key: Key<Membership>, memberships: &Arena<Membership>, refusal: Refusal) {
        if self.by_membership.len() >= SWEEP_FROM.max(2 * memberships.len()) {
            self.by_membership.retain(|key, filter| {
                memberships.get(*key).is_some_and(|membership| filter.stamp >= membership.born)
            });
        }
        self.outdate(key);
        self.by_membership.insert(key, Filter { stamp: memberships[key].stamp, refusal });
    }

    /// The membership is offered this agent: what it had refused before is over, but for parts of it.
    pub(crate) fn lift(&mut self, key: Key<Membership>) {
        if self.filter(key).is_some() {
            self.by_membership.remove(&key);
            self.outdate(key);
        }
    }

    /// The membership is offered a part of the agent.
    pub(crate) fn give_part(&mut self, key: Key<Membership>, memberships: &Arena<Membership>) {
        if self.parts.len() >= SWEEP_FROM.max(2 * memberships.len()) {
            let is_there = |key: &Key<Membership>, born| {
                memberships.get(*key).is_some_and(|membership| membership.born == born)
            };
            self.parts.retain(|key, (born, _)| is_there(key, *born));
        }
        self.parts.insert(key, (memberships[key].born, PartOffered::Last));
    }

    /// The membership is offered all there is.
    pub(crate) fn give_whole(&mut self, key: Key<Membership>, membership: &Membership) {
        if self.part_refused(key, membership) {
            self.parts.insert(key, (membership.born, PartOffered::WholeAfter));
        } else if !self.parts.is_empty() {
            self.parts.remove(&key);
        }
    }

    /// Whether a membership refuses these resources at present.
    pub(crate) fn refuses(
        &self,
        key: Key<Membership>,
        membership: &Membership,
        resources: &Resources,
    ) -> bool {
        let standing = self.standing(key, membership);
        matches!(standing, Standing::Refused(_, refused) if refused.contains(resources))
    }

    /// Somebody else was offered the agent meanwhile, and it wants it: its turn is there.
    pub(crate) fn end_turn(&mut self, key: Key<Membership>, membership: &Membership) {
        if let Standing::TurnTaken { .. } = self.standing(key, membership) {
            self.by_membership.remove(&key);
        }
    }

    /// It has declined what it was offered: if that was a part, another part will not do; if it was all there is, it was
    /// not for the size.
    pub(crate) fn refuse_part(&mut self, key: Key<Membership>) {
        match self.parts.get_mut(&key) {
            Some((_, offered @ PartOffered::Last)) => *offered = PartOffered::Declined,
            Some((_, PartOffered::WholeAfter)) => drop(self.parts.remove(&key)),
            Some((_, PartOffered::Declined)) | None => {}
        }
    }

    /// Whether a part will not do for it.
    pub(crate) fn part_refused(&self, key: Key<Membership>, membership: &Membership) -> bool {
        self.parts.get(&key).is_some_and(|(born, offered)| {
            *born == membership.born && !matches!(offered, PartOffered::Last)
        })
    }

    /// Nobody else wants the agent: those who let others go first may go again.
    pub(crate) fn end_turns(&mut self, memberships: &Arena<Membership>) {
        self.by_membership.retain(|key, filter| {
            matches!(filter.refusal, Refusal::Until(..))
                && memberships.get(*key).is_some_and(|membership| filter.stamp == membership.stamp)
        });
    }

    /// When to look for filters whose time has come.
    pub(crate) fn next_expiry(&self) -> Option<Mono> {
        self.next_expiry
    }

    /// Drops the filters whose time has come. Returns whether there were any.
    pub(crate) fn expire(&mut self, now: Mono) -> bool {
        let before = self.by_membership.len();
        let mut next: Option<Mono> = None;
        let (refuse_last, timed_out) = (&mut self.refuse_last, &mut self.timed_out);
        self.by_membership.retain(|key, filter| match filter.refusal {
            Refusal::Until(until, _) if until <= now => {
                refuse_last.remove(*key);
                timed_out.remove(*key);
                false
            }
            Refusal::Until(until, _) => {
                next = Some(next.map_or(until, |earliest| earliest.min(until)));
                true
            }
            Refusal::Turn => true,
        });
        self.next_expiry = next;
        self.by_membership.len() < before
    }
}

/// Remembers the last comparison, because neighbours in the order have mostly refused the same.
#[derive(Debug, Default)]
pub(crate) struct Covers<'a>(Option<(&'a Arc<Resources>, bool)>);

impl<'a> Covers<'a> {
    /// Whether `free` is all of it among what was refused. `free` must be the same in every call.
    pub(crate) fn check(&mut self, refused: &'a Arc<Resources>, free: &Resources) -> bool {
        match self.0 {
            Some((last, covers)) if Arc::ptr_eq(last, refused) => covers,
            _ => {
                let covers = refused.contains(free);
                self.0 = Some((refused, covers));
                covers
            }
        }
    }
}
