//! What frameworks wish of offers, and what they ask for.
//!
//! Wishes are on record, so that a new leader does not send what a framework cannot use. What it asks
//! for now is not: whoever resumes its subscription at the next leader says it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_alloc::validate_wishes;
use meshos_protocol::{
    codec,
    demand::{Demands, StatedDemand},
    ids::FrameworkId,
    messages::scheduler::CallError,
    role::Role,
    wishes::{OfferWishes, PATTERNS_MAX, Predicate, ResourceRequest},
};

use super::{
    calls::invalid,
    proposals::Caller,
    state::{Core, Cx},
};
use crate::registry::Command;

/// The most bytes that the wishes of a framework may have on record.
const WISHES_BYTES_MAX: usize = 8 * 1024;

/// The longest time for which something may be wanted together: a day.
const TOGETHER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How many regular expressions there are in the wishes of one role.
fn patterns_in(wishes: &OfferWishes) -> usize {
    let constraints = wishes.constraints.iter().flatten();
    let is_pattern =
        |is: &Predicate| matches!(is, Predicate::Matches { .. } | Predicate::NotMatches { .. });
    constraints.filter(|constraint| is_pattern(&constraint.is)).count()
}

/// Whether a framework in these roles may wish so; gateways ask before they subscribe it.
///
/// # Errors
/// Says which rule the wishes break.
pub fn judge_wishes(
    roles: &BTreeSet<Role>,
    wishes: &BTreeMap<Role, OfferWishes>,
) -> Result<(), String> {
    let bytes = codec::encode(wishes).len();
    if bytes > WISHES_BYTES_MAX {
        return Err(format!("the wishes have {bytes} bytes, at most {WISHES_BYTES_MAX} are kept"));
    }
    let patterns = wishes.values().map(patterns_in).sum::<usize>();
    if patterns > PATTERNS_MAX {
        return Err(format!(
            "the wishes have {patterns} patterns, at most {PATTERNS_MAX} are taken"
        ));
    }
    for (role, wishes) in wishes {
        if !roles.contains(role) {
            return Err(format!("role {role} is not among the framework's roles"));
        }
        validate_wishes(wishes).map_err(|error| format!("the wishes in role {role}: {error}"))?;
    }
    Ok(())
}

impl Core {
    pub(super) fn wish(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        caller: Caller,
        wishes: BTreeMap<Role, OfferWishes>,
    ) {
        let roles = self.wished_roles(framework).cloned().unwrap_or_default();
        let judged = judge_wishes(&roles, &wishes).map_err(invalid);
        if let Err(error) = judged.and_then(|()| self.may_propose()) {
            return self.answer(cx, caller, Err(error));
        }
        let wishes = wishes.into_iter().filter(|(_, wishes)| !wishes.is_empty()).collect();
        let command = Command::SetWishes { framework, wishes };
        self.record(cx, command, caller);
    }

    /// The allocator hears what is on record.
    pub(super) fn apply_wishes(&mut self, framework: FrameworkId) {
        let Some(record) = self.registry.framework(framework) else { return };
        let nothing = OfferWishes::default();
        for role in &record.info.roles {
            let wishes = record.wishes.get(role).unwrap_or(&nothing);
            // They were checked before they came on record, by a release that may have been laxer.
            // Without them the framework is sent what it cannot use, and declines it.
            if self.allocator.set_wishes(framework, role, wishes).is_err() {
                drop(self.allocator.set_wishes(framework, role, &nothing));
            }
        }
    }

    /// A subscribe says what its framework wants.
    pub(super) fn take_demand(&mut self, cx: &Cx<'_>, framework: FrameworkId, demand: &Demands) {
        let Some(record) = self.registry.framework(framework) else { return };
        let roles: Vec<Role> = record.info.roles.iter().cloned().collect();
        for role in &roles {
            let taken = match demand.get(role) {
                None => self.request(cx, framework, role, &[], None),
                Some(StatedDemand { requests, .. }) if requests.is_empty() => {
                    let met = self.allocator.want_nothing(framework, role);
                    met.map_err(|error| invalid(error.to_string()))
                }
                Some(StatedDemand { requests, together_within_ms }) => {
                    self.request(cx, framework, role, requests, *together_within_ms)
                }
            };
            if taken.is_err() {
                // A leader refused it before, and told so; it stands for nothing now.
                drop(self.request(cx, framework, role, &[], None));
            }
        }
    }

    pub(super) fn request(
        &mut self,
        cx: &Cx<'_>,
        framework: FrameworkId,
        role: &Role,
        requests: &[ResourceRequest],
        together_within_ms: Option<u64>,
    ) -> Result<(), CallError> {
        let until = together_within_ms.map(Duration::from_millis);
        let until = until.map(|within| cx.now.mono.after(within.min(TOGETHER_MAX)));
        self.allocator
            .set_demand(framework, role, requests, until)
            .map_err(|error| invalid(error.to_string()))
    }
}
