//! Offers that are wanted back: for those who are guaranteed more than they have, of those whose
//! role has met its limit or who have said since that they want something else, and of what somebody
//! else was faster to accept.

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Resources, ScalarQuantities},
    role::Role,
};

use super::Allocator;
use crate::{
    agent::{Agent, Holding},
    arena::Key,
    demand::{Budget, Demand},
    membership::Membership,
    options::OfferMode,
    quota::{Headroom, pool},
    tree::Moves,
};

/// All offers of an agent to a framework in a role are wanted back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescind {
    /// Whose.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// Of which agent.
    pub agent: AgentId,
    /// Why.
    pub cause: RescindCause,
    /// Who is guaranteed it.
    pub wanted_by: Option<(FrameworkId, Role)>,
}

/// Why offers are wanted back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RescindCause {
    /// Somebody who is guaranteed them wants them.
    Guarantee,
    /// The role exceeds its limit.
    Limit,
    /// Somebody else was faster.
    Taken,
    /// They are beyond what their framework has said since that it wants.
    NotRequested,
}

/// An agent and who is offered something of it.
pub(super) type Offered = (Key<Agent>, Key<Membership>);
/// Why offers are wanted back, and who is guaranteed them.
pub(super) type Wanted = (RescindCause, Option<Key<Membership>>);

impl Allocator {
    /// The offers that are wanted back and were not named before. The caller takes them back with
    /// [`Allocator::take_back_offered`]; until it does they stay held.
    pub fn take_rescinds(&mut self) -> Vec<Rescind> {
        if std::mem::take(&mut self.limit_exceeded) {
            self.enforce_limits();
        }
        let rescinds = std::mem::take(&mut self.rescinds_untold);
        let rescind = |((agent, holder), (cause, needy)): (Offered, Wanted)| {
            let membership = self.memberships.get(holder)?;
            Some(Rescind {
                framework: membership.framework,
                role: membership.role.clone(),
                agent: self.agents.get(agent)?.id,
                cause,
                wanted_by: needy.and_then(|needy| {
                    let needy = self.memberships.get(needy)?;
                    Some((needy.framework, needy.role.clone()))
                }),
            })
        };
        rescinds.into_iter().filter_map(rescind).collect()
    }

    fn want_back(&mut self, offered: Offered, wanted: Wanted) {
        if self.wanted_back.insert(offered) {
            self.rescinds_untold.insert(offered, wanted);
        }
    }

    /// The same for somebody who is guaranteed it, and has the next turn there.
    fn want_back_for(&mut self, offered: Offered, needy: Key<Membership>) {
        self.want_back(offered, (RescindCause::Guarantee, Some(needy)));
        self.agents[offered.0].filters.end_turn(needy, &self.memberships[needy]);
    }

    /// Nothing is offered there any more.
    pub(super) fn is_back(&mut self, offered: Offered) {
        if self.wanted_back.remove(&offered) {
            self.rescinds_untold.remove(&offered);
        }
    }

    /// Wants offers back from those who borrow what others are guaranteed, wait for and could have.
    pub(super) fn reclaim(&mut self) {
        if !self.tree.somebody_needy() {
            return;
        }
        self.reclaim_due = false;
        let mut lent = self.lent();
        if lent.is_empty() {
            return;
        }
        let mut needy = Vec::new();
        self.tree.first_needy(|key| {
            needy.push(key);
            false
        });
        // What is wanted back for one counts for the others: no role gets more than it lacks by it, and
        // nobody gives so much back that it lacks something itself.
        let mut moves = Moves::default();
        let mut budget = Budget::of_a_run();
        for key in needy {
            let mut short = self.tree.shortage(self.memberships[key].node, &moves);
            if short.is_empty() {
                continue;
            }
            if self.memberships[key].demand().and_then(Demand::together_until).is_some() {
                self.reclaim_for_gang(key, &short, &mut lent, (&mut moves, &mut budget));
                continue;
            }
            for (agent, holders) in &mut lent {
                if short.is_empty() {
                    break;
                }
                for holder in self.reclaim_of(*agent, holders, key, &mut short, &mut moves) {
                    holders.retain(|other| *other != holder);
                    self.want_back_for((*agent, holder), key);
                }
            }
            self.reclaim_headroom(key, &short, &mut lent, &mut moves);
        }
    }

    /// Who would have to give back what of an agent, so that somebody needy could have something that
    /// it lacks.
    fn reclaim_of(
        &self,
        agent: Key<Agent>,
        holders: &[Key<Membership>],
        key: Key<Membership>,
        short: &mut ScalarQuantities,
        moves: &mut Moves,
    ) -> Vec<Key<Membership>> {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        if !page.active || !page.offerable() || page.unsuited(agent, membership).is_some() {
            return Vec::new();
        }
        // What the first could spare may be of no use, and keep others of its role from sparing theirs.
        for first in 0..holders.len() {
            let mut spared = self.spared(agent, &holders[first..], moves);
            for holder in &spared {
                self.moves_less(agent, *holder, moves);
            }
            let wanted = self.wanted_of(agent, &spared, key, short, moves);
            if wanted > 0 {
                spared.truncate(wanted);
                return spared;
            }
        }
        Vec::new()
    }

    /// Wants offers back, wherever they are, that use up a limit above somebody needy, so that it could have
    /// something that it lacks and that is free elsewhere.
    fn reclaim_headroom(
        &mut self,
        key: Key<Membership>,
        short: &ScalarQuantities,
        lent: &mut [(Key<Agent>, Vec<Key<Membership>>)],
        moves: &mut Moves,
    ) {
        if short.is_empty() || !self.tree.has_limit() {
            return;
        }
        let node = self.memberships[key].node;
        let offers: Vec<Offered> = each_of(lent).collect();
        let widening = self.widening(key, &offers, moves);
        let mut after = moves.clone();
        widening.iter().for_each(|(_, role, amounts)| after.lose(role, amounts));
        let headroom = self.tree.headroom_after(node, &after);
        // Where it could have something if all of them came back.
        let Some(agent) =
            self.open.iter().find(|agent| self.lacks_of(*agent, key, short, &headroom).is_some())
        else {
            return;
        };
        for (index, (_, role, amounts)) in widening.iter().enumerate() {
            moves.lose(role, amounts);
            let headroom = self.tree.headroom_after(node, moves);
            let Some(gained) = self.lacks_of(agent, key, short, &headroom) else { continue };
            moves.gain(&self.memberships[key].role, &gained);
            for (offered, ..) in &widening[..=index] {
                for (_, holders) in lent.iter_mut().filter(|(of, _)| *of == offered.0) {
                    holders.retain(|other| *other != offered.1);
                }
                self.want_back_for(*offered, key);
            }
            return;
        }
    }

    /// Those of offers without which somebody needy might have more below its limits, and that can be spared
    /// together.
    pub(super) fn widening(
        &self,
        key: Key<Membership>,
        offers: &[Offered],
        moves: &Moves,
    ) -> Vec<(Offered, Role, ScalarQuantities)> {
        let node = self.memberships[key].node;
        let mut after = moves.clone();
        let mut widening = Vec::new();
        for (agent, holder) in offers {
            let (membership, amounts) =
                (&self.memberships[*holder], self.lent_amounts(*agent, *holder));
            let before = self.tree.headroom_after(node, &after);
            let mut without = after.clone();
            without.lose(&membership.role, &amounts);
            if self.tree.can_spare(membership.node, &amounts, &after)
                && self.tree.headroom_after(node, &without).exceeds(&before)
            {
                after = without;
                widening.push(((*agent, *holder), membership.role.clone(), amounts));
            }
        }
        widening
    }

    /// What somebody needy could have of what is free on an agent, if that is something it lacks.
    fn lacks_of(
        &self,
        agent: Key<Agent>,
        key: Key<Membership>,
        short: &ScalarQuantities,
        headroom: &Headroom,
    ) -> Option<ScalarQuantities> {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        if page.unsuited(agent, membership).is_some() {
            return None;
        }
        let portion = page.portion_with(key, membership, &Resources::new(), headroom.clone())?;
        let amounts = pool(&portion).quantities();
        let helps = amounts.iter().any(|(name, _)| !short.get(name).is_zero());
        helps.then_some(amounts)
    }

    fn reclaim_for_gang(
        &mut self,
        key: Key<Membership>,
        short: &ScalarQuantities,
        lent: &mut [(Key<Agent>, Vec<Key<Membership>>)],
        (moves, budget): (&mut Moves, &mut Budget),
    ) {
        let mut all_back = moves.clone();
        for (agent, holders) in lent.iter() {
            for holder in holders {
                let lent = self.lent_amounts(*agent, *holder);
                all_back.lose(&self.memberships[*holder].role, &lent);
            }
        }
        let offers: Vec<Offered> = each_of(lent).collect();
        let widening = self.widening(key, &offers, moves);
        let widens = |agent: Key<Agent>| widening.iter().any(|((of, _), ..)| *of == agent);
        // What is of no use to it is not given back, and keeps nobody from sparing something else.
        let is_of_use = |(agent, holders): &&(Key<Agent>, Vec<Key<Membership>>)| {
            let holdings = self.agents[*agent].holdings();
            let back: Resources = holders.iter().map(|it| pool(&holdings[it].offered)).sum();
            let available = self.available_to_gang(*agent, key, &back, &all_back);
            let (id, role) = (self.agents[*agent].id, &self.memberships[key].role);
            let demand = self.memberships[key].demand();
            widens(*agent)
                || demand.is_some_and(|demand| demand.cut(id, &available, role).is_some())
        };
        let spared: Vec<_> = lent
            .iter()
            .filter(is_of_use)
            .map(|(agent, holders)| (*agent, self.spared(*agent, holders, moves)))
            .collect();
        let back = self.wanted_of_gang(key, &spared, short, (moves, budget));
        for (agent, holders) in &spared {
            for holder in holders.iter().filter(|holder| !back.contains(&(*agent, **holder))) {
                self.moves_less(*agent, *holder, moves);
            }
        }
        for (agent, holder) in back {
            let gained = self.lent_amounts(agent, holder);
            moves.gain(&self.memberships[key].role, &gained);
            for (_, holders) in lent.iter_mut().filter(|(of, _)| *of == agent) {
                holders.retain(|other| *other != holder);
            }
            self.want_back_for((agent, holder), key);
        }
    }

    /// Those who can give back what they are offered of an agent, each beside those before it, as if
    /// all of them did.
    fn spared(
        &self,
        agent: Key<Agent>,
        holders: &[Key<Membership>],
        moves: &mut Moves,
    ) -> Vec<Key<Membership>> {
        let mut spared = Vec::with_capacity(holders.len());
        for holder in holders {
            let (membership, pool) =
                (&self.memberships[*holder], self.lent_amounts(agent, *holder));
            if self.tree.can_spare(membership.node, &pool, moves) {
                moves.lose(&membership.role, &pool);
                spared.push(*holder);
            }
        }
        spared
    }

    /// One of them keeps it.
    pub(super) fn moves_less(&self, agent: Key<Agent>, holder: Key<Membership>, moves: &mut Moves) {
        moves.keep(&self.memberships[holder].role, &self.lent_amounts(agent, holder));
    }

    /// What somebody is offered of the pool of an agent.
    fn lent_amounts(&self, agent: Key<Agent>, holder: Key<Membership>) -> ScalarQuantities {
        pool(&self.agents[agent].holdings()[&holder].offered).quantities()
    }

    /// How many of those who are offered something of an agent, from the first, would have to give
    /// it back so that somebody needy could have something that it lacks; nobody when that does not
    /// help. What it could have is taken from what it is short of, and all of that is among the moves then.
    fn wanted_of(
        &self,
        agent: Key<Agent>,
        holders: &[Key<Membership>],
        key: Key<Membership>,
        short: &mut ScalarQuantities,
        moves: &mut Moves,
    ) -> usize {
        let (page, membership) = (&self.agents[agent], &self.memberships[key]);
        let (mut back, mut gained) = (Resources::new(), ScalarQuantities::new());
        let (mut looked_at, mut wanted) = (0, 0);
        for holder in holders {
            looked_at += 1;
            back += &pool(&page.holdings()[holder].offered);
            moves.lose(&self.memberships[*holder].role, &self.lent_amounts(agent, *holder));
            let headroom = self.tree.headroom_after(membership.node, moves);
            let portion = page.portion_with(key, membership, &back, headroom);
            let portion = portion.map(|portion| pool(&portion).quantities()).unwrap_or_default();
            let more = portion.saturating_sub(&gained);
            if more.iter().any(|(name, _)| !short.get(name).is_zero()) {
                *short = short.saturating_sub(&more);
                (gained, wanted) = (portion, looked_at);
            }
            if short.is_empty() {
                break;
            }
        }
        for holder in &holders[wanted..looked_at] {
            self.moves_less(agent, *holder, moves);
        }
        moves.gain(&membership.role, &gained);
        wanted
    }

    /// Offers to those who are not needy, and do not become so without them.
    fn lent(&self) -> Vec<(Key<Agent>, Vec<Key<Membership>>)> {
        let mut lent = Vec::new();
        for (agent, page) in self.agents.iter().filter(|(_, page)| page.has_offers()) {
            if page.is_open() && self.options.offers == OfferMode::Optimistic {
                // Whoever could have it is offered it, too.
                continue;
            }
            let spared = |(holder, holding): (&Key<Membership>, &Holding)| {
                let pool = pool(&holding.offered);
                let lent = !pool.is_empty()
                    && !self.wanted_back.contains(&(agent, *holder))
                    && self.tree.can_spare(
                        self.memberships[*holder].node,
                        &pool.quantities(),
                        &Moves::default(),
                    );
                lent.then_some(*holder)
            };
            let holders: Vec<_> = page.holdings().iter().filter_map(spared).collect();
            if !holders.is_empty() {
                lent.push((agent, holders));
            }
        }
        lent
    }

    /// Wants offers back until all roles keep their limits, as far as offers can bring that about.
    pub(super) fn enforce_limits(&mut self) {
        let mut excesses = self.tree.excesses();
        let mut back = Vec::new();
        for (agent, page) in self.agents.iter().filter(|(_, page)| page.has_offers()) {
            let within = |limited: &Role, holder: Key<Membership>| {
                let role = &self.memberships[holder].role;
                limited == role || limited.is_ancestor_of(role)
            };
            let mut gone = Vec::new();
            let consumed = |limited: &Role, gone: &[Key<Membership>]| {
                page.consumed_by_offers(|it| within(limited, it) && !gone.contains(&it))
            };
            for (holder, holding) in page.holdings() {
                let pool = pool(&holding.offered);
                let helps = |(limited, excess): (&Role, &ScalarQuantities)| {
                    within(limited, *holder)
                        && pool.iter().any(|part| !excess.get(part.name()).is_zero())
                };
                if !excesses.iter().any(helps) {
                    continue;
                }
                let before = gone.clone();
                gone.push(*holder);
                for (limited, excess) in excesses.iter_mut().filter(|it| within(it.0, *holder)) {
                    let less = consumed(limited, &before).saturating_sub(&consumed(limited, &gone));
                    *excess = excess.saturating_sub(&less);
                }
            }
            back.extend(gone.into_iter().map(|holder| (agent, holder)));
        }
        for offered in back {
            self.want_back(offered, (RescindCause::Limit, None));
        }
    }

    /// Wants the offers of a membership back that hold more, or other things, than it wants now. What is
    /// part of something that is wanted together only is offered with all of it.
    pub(super) fn want_back_undemanded(&mut self, holder: Key<Membership>) {
        if self.memberships[holder].demand().is_none() {
            return;
        }
        for (agent, offered) in self.offered_to(holder) {
            if self.wanted_back.contains(&(agent, holder)) {
                continue;
            }
            let (id, role) = (self.agents[agent].id, self.memberships[holder].role.clone());
            let Some(demand) = self.memberships[holder].demand_mut() else { return };
            match demand.cut(id, &offered, &role) {
                Some((wanted, requested))
                    if wanted == offered && demand.together_until().is_none() =>
                {
                    demand.give(agent, requested);
                }
                Some(_) | None => {
                    self.want_back((agent, holder), (RescindCause::NotRequested, None));
                }
            }
        }
    }

    /// Wants the offers back that somebody else was faster to accept.
    pub(super) fn disappoint(&mut self, agent: Key<Agent>) {
        let holders: Vec<_> = self.agents[agent].disappointed().collect();
        for holder in holders {
            self.want_back((agent, holder), (RescindCause::Taken, None));
        }
    }
}

/// Each offer of those that are lent.
pub(super) fn each_of(
    lent: &[(Key<Agent>, Vec<Key<Membership>>)],
) -> impl Iterator<Item = Offered> {
    lent.iter().flat_map(|(agent, holders)| holders.iter().map(|holder| (*agent, *holder)))
}
