//! A part of an agent becomes something else.

use meshos_protocol::{operation::Conversion, resources::Resources};

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
        let after = offered.and_then(|offered| conversion.apply(offered));
        let after = after.ok_or(ConversionError::NotOffered)?;
        // Offered to several at once, it may be another's by now.
        if self.optimistic && !self.free.contains(consumed) {
            return Err(ConversionError::NotOffered);
        }
        if self.is_shared_with_others(&consumed.shared(), Some(key)) {
            return Err(ConversionError::InUse);
        }
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

    /// Whether one of these volumes is used by somebody, or offered to somebody but `key`.
    fn is_shared_with_others(&self, volumes: &Resources, key: Option<Key<Membership>>) -> bool {
        let touches = |held: &Resources| !held.intersection(volumes).is_empty();
        !volumes.is_empty()
            && self.holdings.iter().any(|(holder, holding)| {
                touches(&holding.allocated) || (Some(*holder) != key && touches(&holding.offered))
            })
    }
}
