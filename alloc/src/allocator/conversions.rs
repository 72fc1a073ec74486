//! Conversions: a part of an agent becomes something else, such as reserved or a volume.

use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    operation::Conversion,
    resources::Resource,
    role::Role,
};

use super::Allocator;
use crate::{agent::Agent, arena::Key, tree::Charge};

/// Why nothing was converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// No such agent.
    #[error("the agent is not known")]
    UnknownAgent,
    /// The offer does not hold what would be consumed, or somebody else was faster to accept it.
    #[error("what the operation consumes is not in the offer")]
    NotOffered,
    /// It would be reserved for a role whose resources the framework may not have in this one.
    #[error("the operation reserves for another role than that of the offer")]
    AnotherRole,
    /// Somebody uses it or is offered it.
    #[error("what the operation consumes is not free on the agent")]
    NotFree,
    /// A shared volume that somebody else uses or is offered.
    #[error("the shared volume is in use")]
    InUse,
}

impl Allocator {
    /// Converts a part of what a framework is offered. What comes of it is offered to it in the
    /// place of what is consumed, to be accepted or given back with the rest.
    ///
    /// # Errors
    /// When the offer does not hold it, or others use what would end. Nothing is changed then.
    pub fn convert_offered(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        role: &Role,
        conversion: &Conversion,
    ) -> Result<(), ConversionError> {
        let agent = *self.agent_keys.get(&agent).ok_or(ConversionError::UnknownAgent)?;
        let holder = self.find_membership(framework, role).ok_or(ConversionError::NotOffered)?;
        let is_ours = |it: &Resource| it.metadata().is_allocatable_to(role);
        if !conversion.converted.iter().all(is_ours) {
            return Err(ConversionError::AnotherRole);
        }
        self.agents[agent].convert_offered(holder, conversion)?;
        let node = self.memberships[holder].node;
        self.tree.charge(node, &conversion.consumed, Charge::ReturnOffer);
        self.tree.charge(node, &conversion.converted, Charge::Convert);
        self.converted(agent, conversion);
        // What was reserved for a role above, and is not any more, counts for this one now.
        self.limit_exceeded |= self.tree.exceeds_limit(role);
        Ok(())
    }

    /// Converts a part of what nobody uses and nobody is offered.
    ///
    /// # Errors
    /// When it is not free. Nothing is changed then.
    pub fn convert_free(
        &mut self,
        agent: AgentId,
        conversion: &Conversion,
    ) -> Result<(), ConversionError> {
        let agent = *self.agent_keys.get(&agent).ok_or(ConversionError::UnknownAgent)?;
        self.agents[agent].convert_free(conversion)?;
        self.converted(agent, conversion);
        Ok(())
    }

    fn converted(&mut self, agent: Key<Agent>, conversion: &Conversion) {
        self.tree.change_total(&conversion.converted, &conversion.consumed);
        self.limits_moved |= !self.limited.is_empty();
        self.reservations_came(&conversion.converted);
        self.disappoint(agent);
        self.agent_changed(agent, true);
    }
}
