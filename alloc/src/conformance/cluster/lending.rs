//! What is guaranteed and not wanted is lent, and comes back when it is wanted: as offers, never as
//! tasks, and no more of it than is needed.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::AgentId,
    resources::{Resource, Resources, ScalarQuantities},
    role::Role,
};

use super::{
    Cluster,
    liveness::{Consumption, Stock},
};
use crate::{
    Rescind, RescindCause,
    conformance::account::{Member, is_pool},
};

impl Consumption<'_> {
    /// What a role and those above it lack of what they are guaranteed.
    fn shortage(&self, role: &Role) -> ScalarQuantities {
        let mut short = ScalarQuantities::new();
        for role in role.with_those_above() {
            for (name, guarantee) in
                self.quotas.get(&role).into_iter().flat_map(|quota| quota.guarantee.iter())
            {
                let lacking = guarantee.remaining_after(self.of(&role, name));
                short.add(name, lacking.remaining_after(short.get(name)));
            }
        }
        short
    }

    /// Whether a role has all that it is guaranteed when it loses so much.
    fn is_met_without(&self, role: &Role, lost: &ScalarQuantities) -> bool {
        self.quotas.get(role).is_none_or(|quota| {
            let left = |name| self.of(role, name).remaining_after(lost.get(name));
            quota.guarantee.iter().all(|(name, amount)| left(name) >= amount)
        })
    }

    fn can_spare(&self, role: &Role, lost: &ScalarQuantities) -> bool {
        role.with_those_above().all(|role| self.is_met_without(&role, lost))
    }

    fn has_limit(&self, role: &Role) -> bool {
        !self.room(role).is_empty()
    }
}

impl Cluster {
    /// What of the pool a member is offered of an agent now.
    fn lent_to(&self, agent: AgentId, member: &Member) -> Resources {
        let own = self
            .offers
            .iter()
            .filter(|(id, role, at, ..)| *at == agent && *id == member.0 && *role == member.1);
        own.map(|(.., offered, _)| offered.filter(is_pool)).sum()
    }

    /// Of the offers that are wanted back because somebody is guaranteed them: that one waits in a role
    /// that lacks something of it, those who give them back keep what they are guaranteed
    /// themselves, and the last of them is needed.
    pub(super) fn only_what_is_guaranteed_comes_back(&mut self, rescinds: &[Rescind]) {
        let back: Vec<(&Rescind, Member, Resources)> = rescinds
            .iter()
            .filter(|rescind| rescind.cause == RescindCause::Guarantee)
            .map(|rescind| {
                let needy = rescind.wanted_by.clone().expect("somebody is guaranteed it");
                let holder = (rescind.framework, rescind.role.clone());
                (rescind, needy, self.lent_to(rescind.agent, &holder))
            })
            .collect();
        if back.is_empty() {
            return;
        }
        let consumption = self.consumption();
        for (rescind, needy, pool) in &back {
            let total = self.allocator.agent(rescind.agent).map(|state| state.total);
            assert!(self.account.waits(needy), "nobody waits for it: {rescind:?}");
            assert!(self.account.suits(rescind.agent, &total.unwrap_or_default(), needy));
            let short = consumption.shortage(&needy.1);
            assert!(!short.is_empty(), "nobody lacks what it is guaranteed: {rescind:?}");
            assert!(!pool.is_empty(), "nothing is lent: {rescind:?}");
        }
        lenders_keep_their_own(&consumption, &back);
        // Whoever has refused a part of an agent may be given more of it than it needs: that part and
        // another, where the other would do.
        let plain = |rescind: &Rescind, needy: &Member| {
            self.account.takes_anything(needy)
                && !consumption.has_limit(&needy.1)
                && !self.account.has_refused(rescind.agent, needy, &Resources::new(), self.now)
        };
        for (_, needy, _) in &back {
            let of_role = || back.iter().filter(|(_, other, _)| other.1 == needy.1);
            let whole =
                of_role().all(|(it, needy, pool)| plain(it, needy) && self.least.is_met_by(pool));
            let pools: Vec<&Resources> = of_role().map(|(.., pool)| pool).collect();
            assert!(
                !whole || the_last_is_needed(&consumption, &needy.1, &pools),
                "more comes back for {needy:?} than is needed: {pools:?}"
            );
        }
        self.taken_back_for_guarantees += back.len();
    }

    /// When all has come back that was wanted back: nobody waits in a role that lacks what it is
    /// guaranteed while others are offered some of it that it could have, and could spare that.
    pub(super) fn guarantees_are_served(&self) {
        let consumption = self.consumption();
        if self.optimistic || self.quotas.is_empty() {
            // What is offered to few is offered to it as well then.
            return;
        }
        let short = |member: Member| (consumption.shortage(&member.1), member);
        let waiting = self.account.waiting().into_iter().map(short);
        let needy: Vec<_> = waiting.filter(|(short, _)| !short.is_empty()).collect();
        if needy.is_empty() {
            return;
        }
        let mut lent = BTreeMap::<AgentId, BTreeMap<Member, Resources>>::new();
        for (framework, role, agent, ..) in &self.offers {
            let holder = (*framework, role.clone());
            let pool = self.lent_to(*agent, &holder);
            if !pool.is_empty() && consumption.can_spare(role, &pool.quantities()) {
                lent.entry(*agent).or_default().insert(holder, pool);
            }
        }
        for Stock { agent, total, free } in self.stock() {
            for (holder, pool) in lent.get(&agent).into_iter().flatten() {
                for (short, member) in &needy {
                    if !self.account.suits(agent, &total, member) {
                        continue;
                    }
                    let room = consumption.room_without(&member.1, (&holder.1, pool));
                    let Some(portion) = self.portion(member, &(pool + &free), &room) else {
                        continue;
                    };
                    let helps =
                        |part: &Resource| is_pool(part) && !short.get(part.name()).is_zero();
                    let served = !portion.iter().any(helps)
                        || !self.account.asks_for(member, short, &portion)
                        || !self.account.wants(agent, member, &portion)
                        || self.account.refuses(agent, member, &portion, self.now)
                        || self.account.lets_others_go_first(agent, member);
                    assert!(
                        served,
                        "{member:?} lacks {short} and waits for {portion} of {agent}, lent to {holder:?}"
                    );
                }
            }
        }
    }
}

/// Whoever gives something back has what it is guaranteed after that, unless it goes to the same role.
fn lenders_keep_their_own(consumption: &Consumption<'_>, back: &[(&Rescind, Member, Resources)]) {
    let mut lost = BTreeMap::<Role, ScalarQuantities>::new();
    for (rescind, _, pool) in back {
        for role in rescind.role.with_those_above() {
            *lost.entry(role).or_default() += &pool.quantities();
        }
    }
    for (role, lost) in lost {
        let stays = |needy: &Member| needy.1 == role || role.is_ancestor_of(&needy.1);
        let some_stays = back.iter().any(|(_, needy, _)| stays(needy));
        assert!(
            some_stays || consumption.is_met_without(&role, &lost),
            "role {role} has less than it is guaranteed without {lost}"
        );
    }
}

/// Whether one of several offers is such that without it a role or one above it would still lack
/// something of what it is guaranteed.
fn the_last_is_needed(consumption: &Consumption<'_>, role: &Role, offers: &[&Resources]) -> bool {
    (0..offers.len()).any(|last| {
        let others = offers.iter().enumerate().filter(|(index, _)| *index != last);
        let others: Resources = others.map(|(_, offer)| *offer).sum();
        role.with_those_above().any(|role| {
            let guaranteed = consumption.quotas.get(&role).map(|quota| quota.guarantee.iter());
            guaranteed.into_iter().flatten().any(|(name, amount)| {
                consumption.of(&role, name).saturating_add(others.amount_of(name)) < amount
            })
        })
    })
}
