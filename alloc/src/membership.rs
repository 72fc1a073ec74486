//! A framework in one of its roles: the unit that offers are made to.

use std::collections::BTreeMap;

use meshos_protocol::{
    framework::Capabilities,
    ids::FrameworkId,
    resources::{Resource, Resources, ScalarQuantities},
    role::Role,
};

use crate::{
    agent::Agent,
    arena::{Key, KeySet},
    constraints::Constraints,
    demand::Demand,
    explain::SkipRule,
    min_allocatable::missing,
    tree::Node,
};

/// Dates filters: a revival makes a new stamp, and filters with an older one do not refuse any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u64);

#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) framework: FrameworkId,
    pub(crate) role: Role,
    pub(crate) node: Key<Node>,
    /// The framework is registered with this role. Without that a membership exists only because
    /// tasks still hold resources under it.
    pub(crate) subscribed: bool,
    pub(crate) suppressed: bool,
    /// What the framework understands: a copy, because every look at an agent asks for it.
    pub(crate) capabilities: Capabilities,
    /// What it wishes of offers; mostly nothing.
    pub(crate) wishes: Option<Box<Wishes>>,
    /// The newest stamp: that of the last revival.
    pub(crate) stamp: Stamp,
    /// The first stamp: filters that are older belong to another who had the same key.
    pub(crate) born: Stamp,
    /// On how many agents it holds something.
    pub(crate) agents: usize,
}

/// What a framework wishes of offers in one role.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// An offer holds at least one of these, unless there are none.
    pub(crate) minimum: Vec<ScalarQuantities>,
    pub(crate) constraints: Option<Constraints>,
    pub(crate) demand: Option<Demand>,
    /// The agents that the constraints have been checked for, and which of them passed.
    pub(crate) checked: KeySet<Agent>,
    pub(crate) passed: KeySet<Agent>,
}

impl Wishes {
    fn is_empty(&self) -> bool {
        self.minimum.is_empty() && self.constraints.is_none() && self.demand.is_none()
    }

    /// Whether an offer is large enough.
    pub(crate) fn is_enough(&self, offer: &Resources) -> bool {
        let enough = |minimum: &ScalarQuantities| {
            minimum.iter().all(|(name, amount)| offer.amount_of(name) >= amount)
        };
        self.minimum.is_empty() || self.minimum.iter().any(enough)
    }

    /// What an offer lacks to be large enough: to the nearest of the minimum sizes.
    pub(crate) fn missing(&self, offer: &Resources) -> ScalarQuantities {
        missing(self.minimum.iter().map(ScalarQuantities::iter), |name| offer.amount_of(name))
    }
}

impl Membership {
    /// The rule by which no agent at all is offered, if there is one.
    pub(crate) fn silenced(&self, framework: &Framework) -> Option<SkipRule> {
        if !framework.active || !self.subscribed {
            Some(SkipRule::Inactive)
        } else if self.suppressed {
            Some(SkipRule::Suppressed)
        } else if self.demand().is_some_and(Demand::is_expired) {
            Some(SkipRule::GangExpired)
        } else if self.demand().is_some_and(Demand::is_met) {
            Some(SkipRule::DemandMet)
        } else {
            None
        }
    }

    pub(crate) fn demand(&self) -> Option<&Demand> {
        self.wishes.as_ref()?.demand.as_ref()
    }

    pub(crate) fn demand_mut(&mut self) -> Option<&mut Demand> {
        self.wishes.as_mut()?.demand.as_mut()
    }

    /// Changes what it wishes.
    pub(crate) fn wish(&mut self, change: impl FnOnce(&mut Wishes)) {
        let mut wishes = self.wishes.take().unwrap_or_default();
        change(&mut wishes);
        self.wishes = Some(wishes).filter(|wishes| !wishes.is_empty());
    }

    /// Whether it understands a resource and may have it.
    pub(crate) fn may_have(&self, resource: &Resource) -> bool {
        let metadata = resource.metadata();
        metadata.is_allocatable_to(&self.role)
            && (!metadata.revocable || self.capabilities.revocable_resources)
            && (!metadata.shared || self.capabilities.shared_resources)
            && (self.capabilities.reservation_refinement
                || !metadata.reservation.as_ref().is_some_and(|level| level.is_refined()))
    }
}

/// A framework, or what is left of one whose tasks still run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Framework {
    pub(crate) active: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) memberships: BTreeMap<Role, Key<Membership>>,
}
