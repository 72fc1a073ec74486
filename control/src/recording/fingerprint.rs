//! Effects as one number.

use meshos_protocol::{codec, fnv::Fnv1a};

use crate::master::Effect;

/// A number that differs when the effects do, whatever their order or kind. Nobody has to be kept from
/// making two that are equal.
pub(super) fn fingerprint(effects: &[Effect]) -> u64 {
    let mut hash = Fnv1a::new();
    if !effects.is_empty() {
        codec::encode_into(effects, &mut hash);
    }
    hash.finish()
}
