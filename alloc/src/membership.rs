//! A framework in one of its roles: the unit that offers are made to.

use std::collections::BTreeMap;

use meshos_protocol::{framework::Capabilities, ids::FrameworkId, role::Role};

use crate::{
    arena::Key,
    explain::{SkipCounts, SkipRule},
    tree::Node,
};

/// Dates filters: a revival makes a new stamp, and filters with an older one do not refuse any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u64);

#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) framework: FrameworkId,
    pub(crate) role: Role,
    pub(crate) node: Key<Node>,
    /// The framework is registered with this role. Without that a membership exists only because
    /// tasks still hold resources under it.
    pub(crate) subscribed: bool,
    pub(crate) suppressed: bool,
    /// The framework uses GPUs: a copy, because every look at an agent asks for it.
    pub(crate) gpus: bool,
    /// The newest stamp: that of the last revival.
    pub(crate) stamp: Stamp,
    /// The first stamp: filters that are older belong to another who had the same key.
    pub(crate) born: Stamp,
    /// On how many agents it holds something.
    pub(crate) agents: usize,
    /// Which rules cost it how many looks at agents so far.
    pub(crate) skips: SkipCounts,
}

impl Membership {
    /// The rule by which no agent at all is offered, if there is one.
    pub(crate) fn silenced(&self, framework: &Framework) -> Option<SkipRule> {
        if !framework.active || !self.subscribed {
            Some(SkipRule::Inactive)
        } else if self.suppressed {
            Some(SkipRule::Suppressed)
        } else {
            None
        }
    }
}

/// A framework, or what is left of one whose tasks still run.
#[derive(Debug, Default)]
pub(crate) struct Framework {
    pub(crate) active: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) memberships: BTreeMap<Role, Key<Membership>>,
}
