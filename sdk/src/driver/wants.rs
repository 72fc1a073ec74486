//! What the scheduler has said it wants of offers, and what of that the leader has yet to hear.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    demand::{Demands, StatedDemand},
    ids::AgentId,
    messages::scheduler::Call,
    resources::Resources,
    role::Role,
    task::TaskDescription,
    wishes::{OfferWishes, ResourceRequest},
};

/// What the scheduler has said it wants of offers.
#[derive(Debug, Default)]
pub(super) struct Wants {
    wishes: BTreeMap<Role, OfferWishes>,
    /// The wishes are not on record yet.
    wishes_untold: bool,
    /// Roles that are suppressed until they are.
    held: BTreeSet<Role>,
    /// Roles that are so no longer, which the leader has not confirmed.
    releasing: BTreeSet<Role>,
    demands: Demands,
    /// The roles whose demand was said after the newest subscribe, which did not carry it.
    said_since: BTreeSet<Role>,
}

impl Wants {
    /// What is known from the start. Roles with wishes are offered nothing before these are on record.
    pub(super) fn new(
        wishes: BTreeMap<Role, OfferWishes>,
        demand: &BTreeMap<Role, StatedDemand>,
    ) -> Self {
        let mut demands = Demands::default();
        for (role, StatedDemand { requests, together_within_ms }) in demand {
            demands.say(role, requests, *together_within_ms);
        }
        Self {
            wishes_untold: !wishes.is_empty(),
            held: wishes.keys().cloned().collect(),
            releasing: BTreeSet::new(),
            wishes,
            demands,
            said_since: BTreeSet::new(),
        }
    }

    /// Other wishes, in place of those before.
    pub(super) fn wish(&mut self, wishes: BTreeMap<Role, OfferWishes>) {
        self.wishes = wishes;
        self.wishes_untold = true;
    }

    /// The framework is in these roles from now on. Wishes that came on record with them stand in place of
    /// those before, unless other ones were said since.
    pub(super) fn in_roles(
        &mut self,
        roles: &BTreeSet<Role>,
        wishes: Option<BTreeMap<Role, OfferWishes>>,
    ) {
        if let Some(wishes) = wishes {
            self.wishes = wishes;
            self.wishes_untold = false;
            self.held.clear();
        }
        self.wishes.retain(|role, _| roles.contains(role));
        for set in [&mut self.held, &mut self.releasing, &mut self.said_since] {
            set.retain(|role| roles.contains(role));
        }
        self.demands.keep_roles(roles);
    }

    /// The call that tells the wishes, unless they are on record.
    pub(super) fn untold_wishes(&self) -> Option<Call> {
        self.wishes_untold.then(|| Call::Wish { wishes: self.wishes.clone() })
    }

    /// The wishes are on record, or never will be: the roles that were held back for them are so no
    /// longer, but for those that the scheduler has suppressed.
    pub(super) fn wishes_settled(&mut self, suppressed: &BTreeSet<Role>) {
        self.wishes_untold = false;
        self.releasing.append(&mut self.held);
        self.releasing.retain(|role| !suppressed.contains(role));
    }

    /// The scheduler suppresses these: they are not to be asked for.
    pub(super) fn suppressed(&mut self, suppressed: &BTreeSet<Role>) {
        self.releasing.retain(|role| !suppressed.contains(role));
    }

    /// The roles in which offers are to be asked for now.
    pub(super) fn releasing(&self) -> BTreeSet<Role> {
        self.releasing.clone()
    }

    /// Offers are made in these roles again; in all when there are none.
    pub(super) fn released(&mut self, roles: &BTreeSet<Role>) {
        self.releasing.retain(|role| !roles.is_empty() && !roles.contains(role));
    }

    /// The roles that a subscribe suppresses for the sake of their wishes.
    pub(super) fn held(&self) -> impl Iterator<Item = &Role> {
        self.held.iter().chain(&self.releasing)
    }

    /// Those of them whose wishes are not on record.
    pub(super) const fn held_for_wishes(&self) -> &BTreeSet<Role> {
        &self.held
    }

    /// A subscribe is sent: the demand goes along, and is heard in the roles that are on record.
    pub(super) fn subscribing(&mut self, on_record: &BTreeSet<Role>) -> Demands {
        self.said_since.retain(|role| !on_record.contains(role));
        self.demands.clone()
    }

    /// Another demand in a role, in place of the one before.
    pub(super) fn want(
        &mut self,
        role: &Role,
        requests: &[ResourceRequest],
        together_within_ms: Option<u64>,
        subscribed: bool,
    ) {
        self.demands.say(role, requests, together_within_ms);
        if !subscribed {
            self.said_since.insert(role.clone());
        }
    }

    /// The calls that tell the demands which no subscribe carried.
    pub(super) fn untold_demands(&mut self) -> Vec<Call> {
        let said = std::mem::take(&mut self.said_since);
        let call = |role: Role| {
            let demand = self.demands.get(&role).cloned().unwrap_or_default();
            let (requests, together_within_ms) = (demand.requests, demand.together_within_ms);
            Call::Request { role, requests, together_within_ms }
        };
        said.into_iter().map(call).collect()
    }

    /// These tasks are launched: so much less is wanted.
    pub(super) fn launched(&mut self, role: &Role, agent: AgentId, tasks: &[TaskDescription]) {
        let used: Resources = tasks.iter().map(|task| &task.resources).sum();
        self.demands.launched(role, agent, &used);
    }

    /// What was wanted together was not to be had in time.
    pub(super) fn unfulfilled(&mut self, role: &Role) {
        self.demands.unfulfilled(role);
    }
}
