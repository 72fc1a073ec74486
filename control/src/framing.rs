//! Values in a row: each a length (four bytes, big-endian) and that many bytes of MessagePack with named
//! fields. Small frames keep every single one within a decoder's limits, however many there are.

use meshos_protocol::codec;
use serde::Serialize;

/// What the length of a frame takes.
pub(crate) const LENGTH_BYTES: usize = 4;

/// Puts one frame behind the others.
///
/// # Panics
/// When a value takes 4 GB, which no record and no message does.
pub(crate) fn put<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    let from = bytes.len();
    bytes.extend_from_slice(&[0; LENGTH_BYTES]);
    codec::encode_into(value, &mut *bytes);
    let length = bytes.len() - from - LENGTH_BYTES;
    let length = u32::try_from(length).expect("one value is far below 4 GB");
    bytes[from..from + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}
