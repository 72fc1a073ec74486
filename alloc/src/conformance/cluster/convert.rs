//! Operations on what is offered and on what is free, and which of them must succeed.

use meshos_protocol::{operation::Conversion, resources::Resources};

use super::{Cluster, pick};
use crate::{ConversionError, conformance::conversions::Wanted};

impl Cluster {
    /// Does an operation to something of an offer.
    pub(super) fn convert_offered(&mut self, choice: usize, wanted: &Wanted) {
        let Some(index) = choice.checked_rem(self.offers.len()) else { return };
        let (framework, role, agent, offered, gang) = self.offers[index].clone();
        let Some(operation) = wanted.operation(&offered, &role) else { return };
        let Ok(conversion) = operation.conversion() else { return };
        let before = self.allocator.agent(agent).expect("an agent that is offered");
        let is_ours =
            |it: &meshos_protocol::resources::Resource| it.metadata().is_allocatable_to(&role);
        let shared = conversion.consumed.shared();
        let expected = if !conversion.converted.iter().all(is_ours) {
            Err(ConversionError::AnotherRole)
        } else if self.is_shared_with_others(agent, &shared, Some(index)) {
            Err(ConversionError::InUse)
        } else if conversion.apply(&before.total).is_some() {
            Ok(())
        } else {
            // The agent came back smaller than what is held of it, or it is a part of what comes whole.
            Err(ConversionError::NotOffered)
        };
        let found = self.allocator.convert_offered(agent, framework, &role, &conversion);
        if before.total.contains(&conversion.consumed) {
            assert_eq!(found, expected, "{conversion:?} of {offered} in role {role}");
        } else {
            // The agent came back without it: it may be in use as well, and either is a reason.
            assert!(found.is_err(), "{conversion:?} of {}", before.total);
        }
        self.converted(&before, &conversion, found.is_ok());
        if found.is_ok() {
            self.offers[index].3 = conversion.apply(&offered).expect("it is offered");
            // A part of the offer is used, so the gang is its framework's matter.
            self.gangs.answered(gang);
        }
    }

    /// Does an operation to something of an agent, which must be free.
    pub(super) fn convert_free(&mut self, choice: usize, wanted: &Wanted) {
        let Some(agent) = pick(&self.agents, choice) else { return };
        let before = self.allocator.agent(agent).expect("an agent of the list");
        let role = "z".parse().expect("a role");
        let Some(operation) = wanted.operation(&before.total, &role) else { return };
        let Ok(conversion) = operation.conversion() else { return };
        let shared = conversion.consumed.shared();
        let expected = if !before.free.contains(&conversion.consumed) {
            Err(ConversionError::NotFree)
        } else if self.is_shared_with_others(agent, &shared, None) {
            Err(ConversionError::InUse)
        } else {
            // A part of what comes whole is not to be had.
            conversion.apply(&before.total).map(drop).ok_or(ConversionError::NotFree)
        };
        let found = self.allocator.convert_free(agent, &conversion);
        assert_eq!(found, expected, "{conversion:?} of {}", before.free);
        self.converted(&before, &conversion, found.is_ok());
    }

    /// The agent has what it had, but for what has become something else.
    fn converted(&mut self, before: &crate::AgentState, conversion: &Conversion, done: bool) {
        let after = self.allocator.agent(before.agent).expect("it is still there");
        self.operations.0 += usize::from(done);
        self.operations.1 += usize::from(!done);
        if done {
            let total: Option<Resources> = conversion.apply(&before.total);
            assert_eq!(Some(after.total), total, "{conversion:?}");
        } else {
            assert_eq!(after, *before, "what is refused changes nothing: {conversion:?}");
        }
    }
}
