//! What is on record of a framework.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    framework::FrameworkInfo,
    ids::{Principal, Subscription},
    role::Role,
    time::Wall,
    wishes::OfferWishes,
};
use serde::{Deserialize, Serialize};

/// What is on record of one framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkRecord {
    /// Who owns the id: the principal that first took it.
    pub principal: Principal,
    /// What it says of itself; without labels and addresses once it is closed.
    pub info: FrameworkInfo,
    /// Roles that want no offers.
    #[serde(default)]
    pub suppressed_roles: BTreeSet<Role>,
    /// What it wishes of offers, by role.
    #[serde(default)]
    pub wishes: BTreeMap<Role, OfferWishes>,
    /// Raised by every subscribe of a client's own.
    pub subscription: Subscription,
    /// The nonce of the subscribe that admitted it; empty when there was none.
    #[serde(default)]
    pub nonce: String,
    /// When its stream was lost; absent while it is (believed to be) subscribed.
    #[serde(default)]
    pub disconnected_at: Option<Wall>,
    /// Set when it has ended.
    #[serde(default)]
    pub closed: Option<Closing>,
}

impl FrameworkRecord {
    /// The framework says something else of itself.
    pub(super) fn update(
        &mut self,
        info: &FrameworkInfo,
        suppressed_roles: &BTreeSet<Role>,
        wishes: Option<&BTreeMap<Role, OfferWishes>>,
    ) {
        // Tasks run as the user that was named in the beginning.
        let user = std::mem::take(&mut self.info.user);
        self.info = FrameworkInfo { user, ..info.clone() };
        self.suppressed_roles.clone_from(suppressed_roles);
        match wishes {
            Some(wishes) => self.wishes.clone_from(wishes),
            None => self.wishes.retain(|role, _| info.roles.contains(role)),
        }
    }
}

/// How a framework ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// When.
    pub at: Wall,
    /// Why, for people.
    pub why: String,
}

/// What the registry knows of a framework id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// It exists.
    Live(&'a FrameworkRecord),
    /// It has ended, perhaps so long ago that nothing else is known of it.
    Closed,
    /// The id was never given out.
    Never,
}
