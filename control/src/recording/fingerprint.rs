//! Effects as one number.

use std::io;

use meshos_protocol::codec;

use crate::master::Effect;

/// Of the hash FNV-1a for 64 bits, <http://www.isthe.com/chongo/tech/comp/fnv/>: it needs no table and is
/// the same on every machine. Nobody has to be kept from making two that are equal.
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A number that differs when the effects do, whatever their order or kind.
pub(super) fn fingerprint(effects: &[Effect]) -> u64 {
    let mut hash = Hash(OFFSET_BASIS);
    if !effects.is_empty() {
        codec::encode_into(effects, &mut hash);
    }
    hash.0
}

struct Hash(u64);

impl io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
