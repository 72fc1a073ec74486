//! What holds between any two calls.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::resources::{Resources, ScalarQuantities};

use super::Allocator;
use crate::{
    arena::Key,
    demand::Demand,
    membership::Membership,
    tree::{Scope, counts},
};

/// What a membership holds, added up from the agents.
#[derive(Default)]
struct Held {
    agents: usize,
    held: ScalarQuantities,
    offered: ScalarQuantities,
}

impl Allocator {
    /// Asserts that the ledger adds up and that what is kept to find things quickly agrees with it.
    ///
    /// # Panics
    ///
    /// When something does not.
    pub fn check_invariants(&self) {
        let held = self.check_agents();
        let nothing = Held::default();
        for (key, membership) in self.memberships.iter() {
            let held = held.get(&key).unwrap_or(&nothing);
            assert_eq!(membership.agents, held.agents, "{membership:?}");
            assert!(membership.subscribed || held.agents > 0, "nobody needs {membership:?}");
            let framework = self.frameworks.get(&membership.framework);
            assert_eq!(
                framework.and_then(|framework| framework.memberships.get(&membership.role)),
                Some(&key),
                "{membership:?}"
            );
            let waits = framework.is_some_and(|found| membership.silenced(found).is_none());
            assert_eq!(self.tree.is_in(Scope::Waiting, membership.node), waits, "{membership:?}");
            assert_eq!(self.waiting.contains(key), waits, "{membership:?}");
            assert_eq!(self.wishing.contains(key), membership.wishes.is_some(), "{membership:?}");
            let fresh = self.tree.is_in(Scope::Fresh, membership.node);
            assert_eq!(self.fresh.contains(&key), fresh, "{membership:?}");
            let node = self.tree.node(membership.node);
            assert_eq!(node.held(), &held.held, "{membership:?}");
            assert_eq!(node.offered(), &held.offered, "{membership:?}");
        }
        let known: usize = self.frameworks.values().map(|entry| entry.memberships.len()).sum();
        assert_eq!(known, self.memberships.len(), "memberships belong to frameworks");
        self.tree.check_invariants();
        self.check_wishes();
    }

    fn check_wishes(&self) {
        let gangs = self.memberships.iter().filter_map(|(key, membership)| {
            let demand = membership.demand().filter(|demand| !demand.is_met())?;
            Some((demand.together_until()?, key))
        });
        assert_eq!(gangs.collect::<BTreeSet<_>>(), self.gangs, "gangs are found by their time");
        for (agent, holder) in &self.wanted_back {
            let holding = &self.agents[*agent].holdings()[holder];
            assert!(!holding.offered.is_empty(), "nothing is wanted back that is not offered");
        }
        for (key, membership) in self.memberships.iter() {
            let given = membership.demand().map(Demand::given).unwrap_or_default();
            for agent in given {
                let holding = &self.agents[agent].holdings()[&key];
                assert!(!holding.offered.is_empty(), "{membership:?}: offered by request");
            }
        }
    }

    /// Checks the agents one by one, and adds up who holds what of them.
    fn check_agents(&self) -> BTreeMap<Key<Membership>, Held> {
        let mut total = ScalarQuantities::new();
        let mut sums = BTreeMap::<_, Held>::new();
        let mut expiries = 0;
        for (key, page) in self.agents.iter() {
            page.check_invariants();
            page.filters.check_invariants(&self.memberships);
            total += &counted(page.total());
            assert_eq!(self.agent_keys.get(&page.id), Some(&key), "{}", page.id);
            assert_eq!(self.open.contains(key), page.is_open(), "{}", page.id);
            if let Some(at) = page.filters.next_expiry() {
                assert!(self.expiries.contains(&(at, key)), "{}", page.id);
                expiries += 1;
            }
            for (holder, holding) in page.holdings() {
                let sum = sums.entry(*holder).or_default();
                sum.agents += 1;
                sum.held += &counted(&holding.allocated);
                sum.held += &counted(&holding.offered);
                sum.offered += &counted(&holding.offered);
            }
        }
        assert_eq!(self.agents.len(), self.agent_keys.len(), "agents are found by their ids");
        assert_eq!(self.expiries.len(), expiries, "no other filters are waited for");
        assert_eq!(&total, self.tree.total(), "the total is the sum of the agents");
        sums
    }
}

/// What of resources shares and quota count.
fn counted(resources: &Resources) -> ScalarQuantities {
    resources.filter(counts).quantities()
}
