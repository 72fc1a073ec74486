//! A part of an agent becomes something else.

use meshos_protocol::{
    operation::Conversion,
    resources::{Resource, Resources},
};

use super::Agent;
use crate::{allocator::ConversionError, arena::Key, membership::Membership};

impl Agent {
    /// Converts a part of what a membership is offered.
    pub(crate) fn convert_offered(
        &mut self,
        key: Key<Membership>,
        conversion: &Conversion,
    ) -> Result<(), ConversionError> {
        let consumed = &conversion.consumed;
        let offered = self.holdings.get(&key).map(|holding| &holding.offered);
        let offered = offered.filter(|offered| offered.contains(consumed));
        let offered = offered.ok_or(ConversionError::NotOffered)?;
        // Offered to several at once, it may be another's by now.
        if self.optimistic && !self.free.contains(consumed) {
            return Err(ConversionError::NotOffered);
        }
        if self.is_shared_with_others(&consumed.shared(), Some(key))
            || self.is_shared_twice(&consumed.shared(), offered)
        {
            return Err(ConversionError::InUse);
        }
        let after = conversion.apply(offered).ok_or(ConversionError::NotOffered)?;
        let total = conversion.apply(&self.total).ok_or(ConversionError::NotOffered)?;
        if let Some(holding) = self.holdings.get_mut(&key) {
            holding.offered = after;
        }
        self.set_total(total);
        Ok(())
    }

    /// Converts a part of what is free.
    pub(crate) fn convert_free(&mut self, conversion: &Conversion) -> Result<(), ConversionError> {
        let consumed = &conversion.consumed;
        if !self.free.contains(consumed) {
            return Err(ConversionError::NotFree);
        }
        if self.is_shared_with_others(&consumed.shared(), None) {
            return Err(ConversionError::InUse);
        }
        let total = conversion.apply(&self.total).ok_or(ConversionError::NotFree)?;
        self.set_total(total);
        Ok(())
    }

    /// Whether one of these volumes is offered to one more than once: it would be left in another offer.
    fn is_shared_twice(&self, volumes: &Resources, offered: &Resources) -> bool {
        let amount = |of: &Resources, volume: &Resource| {
            let entry = of.iter().find(|it| it.metadata() == volume.metadata());
            entry.and_then(Resource::amount)
        };
        volumes.iter().any(|volume| match amount(&self.total, volume) {
            Some(there) => amount(offered, volume).is_some_and(|offered| offered > there),
            None => false,
        })
    }

    /// Whether one of these volumes is used by somebody, or offered to somebody but `key`.
    fn is_shared_with_others(&self, volumes: &Resources, key: Option<Key<Membership>>) -> bool {
        let touches = |held: &Resources| !held.intersection(volumes).is_empty();
        !volumes.is_empty()
            && self.holdings.iter().any(|(holder, holding)| {
                touches(&holding.allocated) || (Some(*holder) != key && touches(&holding.offered))
            })
    }
}
